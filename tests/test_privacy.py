"""Privacy: a different canary in every channel that a record has; none may be found anywhere in the registry."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import HOST, SECRETS, USER, Place, found, git, password, token
from repositories import applied, observe


def test_no_canary_is_in_the_registry(tmp_path: Path) -> None:
    place = Place(tmp_path)
    said = place.train()
    place.env["SLURM_RESTART_COUNT"] = "1"
    said += place.train() + place.verbs()
    said = said.replace(str(place.root), "runs")  # where a version lies is told when asked
    texts = {"printed": said.encode(), **place.written()}
    seen = {name for name in texts if name.startswith("runs/.ckptkit/seen/")}  # where data lies on this machine
    assert len(seen) == 2
    assert found(texts, SECRETS) - {("token: module", name) for name in seen} == set()
    as_it_was = {name for name in texts if name.endswith("/code.patch")}  # or it would not apply, and be other code
    assert len(as_it_was) == 5
    resumed = json.loads((place.root / "m" / "v0002" / "lineage.json").read_text())
    assert resumed["run"]["segments"][0]["job"]["name"] == "<redacted:huggingface>"
    assert any(name.endswith("/code/ignored.py") for name in texts)
    assert any(name.endswith("/requirements-vcs.txt") for name in texts)
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
