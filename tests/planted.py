"""A user's project in which every channel that a record has holds a canary of its own, and what is done there."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
USER, HOST = "adalovelace", "analyticalengine"


def token(channel: str) -> str:
    """A token of a public form that tells its channel to nobody but this test."""
    letters = sha256(channel.encode()).hexdigest().translate({48 + digit: 103 + digit for digit in range(10)})
    return "hf_" + letters[:34]


def password(channel: str) -> str:
    """A secret without a form, known by the name of what holds it alone."""
    digest = sha256(channel.encode()).hexdigest()
    return digest[:40] if channel == "wandb" else f"pw{digest[:12]}"


TOKENS = (
    *("argument", "url", "comment", "variable", "branch", "added", "untracked", "removed", "file name", "notebook"),
    *("message", "tag", "card", "base model", "metric", "link", "step parameter", "step command", "step name"),
    *("describe", "alias", "stage", "eval", "delete", "rename", "module", "parent", "remote", "requirement"),
    *("source", "copied", "lock", "config value", "config key", "raised", "shell", "refused", "not applicable", "job"),
    *("revision", "base model by name", "split", "slice", "level", "optimizer", "optimizer name"),
)
PASSWORDS = (
    *("option", "option with =", "nested", "variable", "remote", "env file", "literal", "query", "step", "settings"),
    *("wandb", "link", "lock", "requirement", "step url", "optimizer", "base model", "fallback"),
)

TRAIN = """
import argparse, sys
from pathlib import Path
import ckptkit, extra, model, plugin

parser = argparse.ArgumentParser()
parser.add_argument("--api-key")
parser.add_argument("--url")
parser.add_argument("--note")
parser.add_argument("--hub-token")
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
class Other:
    param_groups = [{"params": [], **plugin.SETTINGS}]

run.save(
    "model.bin",
    optimizer={"raises": Optimizer(), plugin.NAME: Other()},
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
            "TORCHINDUCTOR_CACHE_DIR": str(folder / "tmp" / f"torchinductor_{USER}"),
            "SLURM_JOB_ID": "1",
            "SLURM_JOB_NAME": token("job"),
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
            "base_models": [
                f"o/{token('base model')}@{token('revision')}",
                {"id": f"o/{token('base model by name')}"},
                f"https://{USER}:{password('base model')}@models.example/o/m",
            ],
            "metrics": {
                f"loss {token('metric')}": 1.0,
                f"loss {token('refused')}": "none",
                token("split"): {"f1": 1.0},
                "acc": {"value": 1.0, "slices": {token("slice"): {token("level"): {"value": 1.0}}}},
            },
            "not_applicable": {"batch_size": f"see {token('not applicable')}"},
            "links": [f"https://runs.example/{token('link')}?api_key={password('link')}"],
            "parents": [str(self.elsewhere / f"{token('parent')}.bin")],
        }
        (self.elsewhere / f"{token('parent')}.bin").write_bytes(b"parent")
        (self.elsewhere / "train.csv").write_text("a,b\n")
        settings = {"api_key": password("optimizer"), "note": token("optimizer"), "cache": f"{self.home}/c"}
        raised = f"no {token('raised')} in {self.home} at {HOST}"
        (self.elsewhere / "plugin.py").write_text(
            f"OUTSIDE = {str(self.elsewhere / 'train.csv')!r}\nRAISED = {raised!r}\nFACTS = {facts!r}\n"
            f"NAME = {token('optimizer name')!r}\nSETTINGS = {settings!r}\n"
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
            "net.py": f'SIZE = 1\nlogin("{token("added")}")\nPASSWORD = "{password("literal")}"\n'
            f'KEY = os.environ.get("API_KEY", "{password("fallback")}")\n',
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

    def run(self, *words: str) -> str:
        """All that a command prints."""
        done = subprocess.run(
            [sys.executable, *words], cwd=self.project, env=self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
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
        options = (
            "--api-key",
            password("option"),
            "--url",
            address,
            "--note",
            token("argument"),
            f"--hub-token={password('option with =')}",
        )
        return said + self.run("train.py", *options, *more)

    def verbs(self) -> str:
        """Everything else that writes, and what reads."""
        said = ""
        for words in (
            ("describe", "m", f"of {token('describe')} in {self.home}"),
            ("alias", "set", "m@best", "1", "--reason", f"for {token('alias')} on {HOST}"),
            ("stage", "m/1", "staging", "--reason", token("stage")),
            ("eval", "m/1", "--metric", "loss=2", "--reason", token("eval")),
            ("save", "model.bin", "--model", "m", "--config", "config.yaml", "--data", "train=data/train.csv"),
            ("rename", "m/3", "5", "--reason", token("rename")),
            ("delete", "m/5", "--yes", "--reason", f"of {token('delete')} in /scratch/{USER}"),
            ("save", "model.bin", "--model", "m", "--config", "config.yaml"),
            ("show", "m/1"),
            ("show", "m/1", "--json"),
            ("list", "--json"),
            ("index",),
            ("check",),
        ):
            said += self.run("-m", "ckptkit", *words)
        return said

    def written(self) -> dict[str, bytes]:
        """The names and contents of all files below the registry root, and of what a step wrote beside its output."""
        found = [path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink()]
        found += (self.project / "data").glob("*.lineage.json")
        names = {path: os.path.relpath(path, self.project) for path in found}
        return {name: os.fsencode(name) + b"\n" + path.read_bytes() for path, name in names.items()}


SECRETS = {token(channel): f"token: {channel}" for channel in TOKENS}
SECRETS |= {password(channel): f"password: {channel}" for channel in PASSWORDS}


def found(texts: dict[str, bytes], signs: dict[str, str]) -> set[tuple[str, str]]:
    return {(what, name) for name, text in texts.items() for sign, what in signs.items() if sign.encode() in text}
