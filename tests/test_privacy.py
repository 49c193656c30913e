"""Privacy: a different canary planted in every channel that a record has; none may be found anywhere in the registry."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
USER, HOST = "adalovelace", "analyticalengine"


def token(channel: str) -> str:
    """A token of a public form that tells its channel to nobody but this test."""
    letters = sha256(channel.encode()).hexdigest().translate({48 + digit: 103 + digit for digit in range(10)})
    return "hf_" + letters[:34]


def password(channel: str) -> str:
    """A secret without a form, known by the name of what holds it alone."""
    return "pw" + sha256(channel.encode()).hexdigest()[:12]


TOKENS = (
    *("argument", "url", "comment", "variable", "branch", "added", "untracked", "removed", "file name", "notebook"),
    *("message", "tag", "card", "base model", "metric", "link", "step parameter", "step command", "step name"),
    *("describe", "alias", "stage", "eval", "delete", "rename", "exception", "module", "parent", "remote", "requirement"),
    *("source", "copied", "lock", "config value", "config key", "data name", "raised", "shell"),
)
PASSWORDS = (
    *("option", "option with =", "nested", "variable", "remote", "env file", "literal", "query", "step", "settings"),
    *("wandb", "link", "lock", "requirement", "step url"),
)

TRAIN = """
import argparse, sys
from pathlib import Path
import ckptkit, extra, model, plugin

parser = argparse.ArgumentParser()
parser.add_argument("--api-key")
parser.add_argument("--url")
parser.add_argument("--note")
parser.add_argument("--keep-secrets", action="store_true")
options = parser.parse_args()
data = {"train": "data/train.csv", "outside": plugin.OUTSIDE}
kept = options.keep_secrets
run = ckptkit.start(model="m", config=["config.yaml", options], data=data, weights="model.bin", keep_secrets=kept)

class Optimizer:
    @property
    def param_groups(self):
        raise RuntimeError(plugin.RAISED)

Path("model.bin").write_bytes(b"weights")
run.save(
    "model.bin",
    optimizer=Optimizer(),
    **plugin.FACTS,
)
"""

SITE = """
import os, socket
found = os.uname()
os.uname = lambda: os.uname_result((found.sysname, "{host}", *found[2:]))
socket.gethostname = lambda: "{host}"
"""


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)


class Place:
    """A user's home with a project, whose files, names and settings hold canaries."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home" / USER
        self.project = self.home / "project"
        self.elsewhere = folder / "elsewhere" / USER / token("module")
        self.site = folder / "site"
        self.root = self.project / "runs"
        for made in (self.project / "data", self.elsewhere, self.site):
            made.mkdir(parents=True)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LOGNAME": USER,
            "USER": USER,
            "CKPTKIT_CACHE": str(self.home / "cache"),
            "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, self.site, self.elsewhere))),
            **{name: value for name, value in os.environ.items() if name.startswith("GIT_")},
            "XLA_FLAGS": f"--dump={self.home}/x --at=https://{USER}:{password('variable')}@proxy.example/x",
            "TORCH_LOGS": token("variable"),
            "MASTER_ADDR": f"{HOST}.example",
            "NCCL_COMM_ID": f"{HOST}:1",
            "HOSTNAME": HOST,
        }
        self._install()
        self._commit()
        self._change()

    def _install(self) -> None:
        (self.site / "sitecustomize.py").write_text(SITE.format(host=HOST))
        addresses = {
            "vcs": {
                "url": f"https://{USER}:{password('requirement')}@git.example/o/{token('requirement')}",
                "vcs_info": {"vcs": "git", "commit_id": "0" * 40},
            },
            "editable": {"url": f"file://{self.home}/editable", "dir_info": {"editable": True}},
            "wheel": {"url": f"file://{self.home}/wheels/wheel.whl", "archive_info": {}},
        }
        for name, address in addresses.items():
            (folder := self.site / f"{name}-1.0.dist-info").mkdir()
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            (folder / "direct_url.json").write_text(json.dumps(address))
            (folder / "RECORD").write_text("")
        (self.home / "editable").mkdir()
        facts = {
            "message": f"with {token('message')} in {self.home}",
            "tags": {"note": token("tag"), "place": f"/scratch/{USER}/x", "machine": HOST},
            "card": {"intended_use": f"see {token('card')} on {HOST}"},
            "base_models": [f"o/{token('base model')}"],
            "metrics": {f"loss {token('metric')}": 1.0},
            "links": [f"https://runs.example/{token('link')}?api_key={password('link')}"],
            "parents": [str(self.elsewhere / f"{token('parent')}.bin")],
        }
        (self.elsewhere / f"{token('parent')}.bin").write_bytes(b"parent")
        (self.elsewhere / "train.csv").write_text("a,b\n")
        raised = f"no {token('raised')} in {self.home} at {HOST}"
        (self.elsewhere / "plugin.py").write_text(
            f"OUTSIDE = {str(self.elsewhere / 'train.csv')!r}\nRAISED = {raised!r}\nFACTS = {facts!r}\n"
        )

    def _commit(self) -> None:
        files = {
            "train.py": TRAIN,
            "model.py": f'OLD = "{token("removed")}"\n',
            "net.py": "SIZE = 1\n",
            "conf.toml": "a = 1\n",
            ".gitignore": "runs/\ndata/\nignored.py\nmodel.bin\n",
        }
        for name, text in files.items():
            (self.project / name).write_text(text)
        git(self.project, "init", "-q", "-b", f"try-{token('branch')}")
        git(self.project, "add", ".")
        git(self.project, "commit", "-qm", "all")
        url = f"https://{USER}:{password('remote')}@git.example/o/{token('remote')}.git"
        git(self.project, "remote", "add", "origin", url)

    def _change(self) -> None:
        notebook = {"cells": [{"cell_type": "code", "source": [f'login("{token("notebook")}")\n']}]}
        config = f"lr: 0.1\nlogger:\n  api_key: {password('nested')}\n  wandb: {{key: {password('wandb')}}}\n"
        config += f"home: {self.home}/x\nhost: {HOST}\nname: {token('config value')}\n{token('config key')}: 1\n"
        files = {
            "model.py": "OLD = None\n",
            "net.py": f'SIZE = 1\nlogin("{token("added")}")\nPASSWORD = "{password("literal")}"\n',
            "conf.toml": f"a = 1\npassword = {password('settings')}\n",
            "extra.py": f"import ignored\nKEY = '{token('untracked')}'\n",
            "ignored.py": f"KEY = '{token('copied')}'\n",
            "a.ipynb": json.dumps(notebook),
            ".env": f"DB_PASSWORD={password('env file')}\n",
            f"{token('file name')}.txt": "x\n",
            "uv.lock": f'url = "https://{USER}:{password("lock")}@index.example/{token("lock")}"\n',
            "config.yaml": f"# {token('comment')}\n{config}",
            "raw.csv": "a,b\n1,2\n",
        }
        for name, text in files.items():
            (self.project / name).write_text(text)

    def run(self, *words: str, status: int = 0) -> str:
        """All that a command prints."""
        done = subprocess.run(
            [sys.executable, *words], cwd=self.project, env=self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    def train(self, *more: str) -> str:
        """Prepare the data with a step, train, and save."""
        url = f"https://{USER}:{password('step url')}@data.example/raw?X-Amz-Signature={token('source')}"
        step = ("-m", "ckptkit", "data", "step", f"clean {token('step name')}", "--in", "raw.csv", url, "--out")
        parameters = ("--param", f"api_key={password('step')}", "--param", f"note={token('step parameter')}")
        work = f"cp raw.csv data/train.csv; : {token('shell')}"
        command = ("--", "sh", "-c", work, "--token", token("step command"), f"--home={self.home}", HOST)
        said = self.run(*step, "data/train.csv", *parameters, *command)
        address = f"https://{USER}:{password('query')}@proxy.example/{token('url')}"
        options = ("--api-key", password("option"), "--url", address, "--note", token("argument"))
        return said + self.run("train.py", *options, *more)

    def verbs(self) -> str:
        """Everything else that writes, and what reads."""
        said = ""
        for words in (
            ("describe", "m", f"of {token('describe')} in {self.home}"),
            ("alias", "set", "m/1", "best", "--reason", f"for {token('alias')} on {HOST}"),
            ("stage", "m/1", "staging", "--reason", token("stage")),
            ("eval", "m/1", "--metric", "loss=2", "--reason", token("eval")),
            ("save", "model.bin", "--model", "m", "--config", "config.yaml", "--data", "train=data/train.csv"),
            ("rename", "m/2", "5", "--reason", token("rename")),
            ("delete", "m/5", "--yes", "--reason", f"of {token('delete')} in /scratch/{USER}"),
            ("show", "m/1"),
            ("show", "m/1", "--json"),
            ("list", "--json"),
            ("index",),
        ):
            said += self.run("-m", "ckptkit", *words)
        return said + self.run("-m", "ckptkit", "check", status=1)

    def record(self) -> bytes:
        """All names and bytes below the registry root but where this machine saw data last, which is paths."""
        found = sorted(path for path in self.root.rglob("*"))
        seen = self.root / ".ckptkit" / "seen"
        told = [path.read_bytes() for path in found if path.is_file() and seen not in path.parents]
        return b"\n".join([*(os.fsencode(path.relative_to(self.root)) for path in found), *told])


def test_no_canary_is_in_the_registry(tmp_path: Path) -> None:
    place = Place(tmp_path)
    said = place.train() + place.verbs()
    record = place.record() + (place.project / "data" / "train.csv.lineage.json").read_bytes()
    secrets = [token(channel) for channel in TOKENS] + [password(channel) for channel in PASSWORDS]
    names = dict(zip(secrets, [*TOKENS, *PASSWORDS], strict=True))
    for text in (record, said.encode()):
        assert [names[secret] for secret in secrets if secret.encode() in text] == []
        for private in (str(place.home), USER, HOST):
            around = text.find(private.encode())
            assert around == -1, text[max(0, around - 80) : around + 80]
    seen = b"".join(path.read_bytes() for path in (place.root / ".ckptkit" / "seen").rglob("*") if path.is_file())
    assert not [names[secret] for secret in secrets if secret.encode() in seen and names[secret] != "module"]
