"""Privacy: a different canary in every channel that a record has; none may be found anywhere in the registry."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from repositories import applied, observe

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
            "TORCHINDUCTOR_CACHE_DIR": f"/tmp/torchinductor_{USER}",
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
            ("rename", "m/2", "5", "--reason", token("rename")),
            ("delete", "m/5", "--yes", "--reason", f"of {token('delete')} in /scratch/{USER}"),
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


def test_no_canary_is_in_the_registry(tmp_path: Path) -> None:
    place = Place(tmp_path)
    said = (place.train() + place.verbs()).replace(str(place.root), "runs")  # where a version lies is told when asked
    texts = {"printed": said.encode(), **place.written()}
    seen = {name for name in texts if name.startswith("runs/.ckptkit/seen/")}  # where data lies on this machine
    assert len(seen) == 2
    assert found(texts, SECRETS) - {("token: module", name) for name in seen} == set()
    as_it_was = {name for name in texts if name.endswith("/code.patch")}  # or it would not apply, and be other code
    assert len(as_it_was) == 2
    private = {str(place.home): "home", USER: "user", HOST: "host"}
    assert {leak for leak in found(texts, private) if leak[1] not in seen | as_it_was} == set()
    assert "secrets were left out" in said


def test_secrets_that_are_to_be_kept_are_there(tmp_path: Path) -> None:
    place = Place(tmp_path)
    said = place.train("--keep-secrets")
    assert "code." not in said, "a secret of the code was left out"
    written = place.written()
    kept = {channel for channel, name in found(written, SECRETS) if name.startswith("runs/m/v0001/")}
    never = {"password: env file"}  # it is in a file for secrets that is not committed
    steps = {name for name in SECRETS.values() if " step" in name} | {"token: source", "token: shell"}
    events = {f"token: {verb}" for verb in ("describe", "alias", "stage", "eval", "delete", "rename")}
    assert set(SECRETS.values()) - kept == never | steps | events, "they have no such option"
    started = next(json.loads(path.read_text()) for path in place.root.glob(".ckptkit/started/*/started.json"))
    assert started["ended"]
    assert password("option") in started["code"]["orig_argv"]
    texts = {name: text for name, text in written.items() if "/seen/" not in name and not name.endswith("/code.patch")}
    assert found(texts, {str(place.home): "home", HOST: "host"}) == set()


PEM = ["-----BEGIN RSA " + "PRIVATE KEY-----", *(sha256(b"%d" % n).hexdigest() for n in range(3))]
PEM += ["-----END RSA " + "PRIVATE KEY-----"]
PLANTED = [
    f"login({token('planted')!r})",
    "AKIA" + "ABCDEFGHIJKLM234," + "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    f"url = https://me:{password('planted')}@host.example/x",
    "\n".join(PEM),
    f"password = '{password('named')}'",
]
FORMS = [token("planted"), "AKIA" + "ABCDEFGHIJKLM234", "wJalrXUtnFEMI", password("planted"), PEM[2]]
ORDINARY = ["a = 1", "", "tokenizer: bert", "\tx\r", "token = tokenizer.pad_token", "\0", "max_tokens=5", "- x", "+ y"]
LINES = st.lists(st.sampled_from([*ORDINARY, *ORDINARY, *PLANTED, *(f"line {n}" for n in range(8))]), max_size=12)
FILES = st.dictionaries(st.sampled_from(["a.py", "b.yaml", "c d.sh", "e.txt", "f.ipynb"]), LINES, max_size=4)


def write(folder: Path, files: dict[str, list[str]], end: str) -> None:
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()
    for name, lines in files.items():
        (folder / name).write_bytes(("\n".join(lines) + end).encode("latin-1"))


@given(before=FILES, after=FILES, ends=st.tuples(*[st.sampled_from(["", "\n", "\n\xff\n"])] * 2))
@settings(max_examples=30, deadline=None)
def test_a_patch_without_secrets_applies(
    tmp_path_factory: pytest.TempPathFactory,
    before: dict[str, list[str]],
    after: dict[str, list[str]],
    ends: tuple[str, str],
) -> None:
    """Whatever was planted where: it is in no patch, and what is not told to be left out comes back as it was."""
    folder = tmp_path_factory.mktemp("patch")
    (repo := folder / "repo").mkdir()
    git(repo, "init", "-q")
    write(repo, before, ends[0])
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "all", "--allow-empty")
    write(repo, after, ends[1])
    repository, patch, unknown = observe(repo)
    assert unknown.keys() <= {"code.repository.url", "code.repository.unpushed"}
    assert not [form for form in FORMS if form.encode() in patch]
    assert not [line for line in patch.split(b"\n") if line[:1] == b"+" and password("named").encode() in line]
    applied(repo, repository, patch, clone := folder / "clone")
    omitted = {each.path: each.reason for each in repository.omitted}
    for name in {*before, *after}:
        was, now, got = (path.read_bytes() if path.exists() else None for path in paths(repo, clone, name))
        if omitted.get(name, "").startswith("left out"):
            assert got == was
        elif name in omitted:
            assert got is not None
            assert now is not None
            assert got.count(b"\n") == now.count(b"\n")
            assert got != now
        else:
            assert got == now
        assert got == was or b"\0" not in (got or b"") or not [form for form in FORMS if form.encode() in (got or b"")]


def paths(repo: Path, clone: Path, name: str) -> tuple[Path, Path, Path]:
    """A file as it was committed, as it is, and as the patch makes it."""
    committed = clone.parent / "committed"
    if not committed.exists():
        git(repo, "worktree", "add", "-q", "--detach", str(committed))
    return committed / name, repo / name, clone / name
