import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from lineages import lineage
from registries import publish

from ckptkit import checkpoint, documents, index, registry
from ckptkit.errors import CkptkitError
from ckptkit.record import Dataset, Event, SealedFile
from ckptkit.report.findings import text
from ckptkit.rules.verdict import Report
from ckptkit.verbs import check as module
from ckptkit.verbs.alias import move
from ckptkit.verbs.check import check
from ckptkit.verbs.delete import delete
from ckptkit.verbs.index import index as rebuild
from ckptkit.verbs.rename import rename

WEIGHTS = {"weights.txt": b"0.1 0.2"}
LARGE = bytes(checkpoint.HASHED_ALWAYS + 1)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two versions of one model and one of another, below the working directory."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "runs"
    save(root, aliases=["champion"])
    save(root, files={"weights.bin": LARGE})
    save(root, "whales")
    return root


def save(root: Path, model: str = "penguins", **given: Any) -> None:
    """A version without faults, but for its card."""
    values = {"seed": 7, "lr": 0.3}
    text = documents.dump_yaml(values).encode()
    facts: dict[str, Any] = {"files": WEIGHTS, "config__values": values} | given
    digest = hashlib.sha256(text).hexdigest()
    publish(root, model, config__sha256=digest, code__environment__requirements=None, **facts)


def codes(report: Report) -> set[str]:
    return {finding.code for finding in report.findings}


def damage(root: Path) -> None:
    """One error: config.yaml of penguins/v0001 is not what was sealed."""
    config = root / "penguins" / "v0001" / "config.yaml"
    config.chmod(0o644)
    config.write_bytes(config.read_bytes() + b"# a word more\n")


def tell(root: Path, kind: str, version: str | None, model: str = "penguins", **facts: Any) -> Event:
    """One more event, with the digest of the version if it is there."""
    folder = root / model
    if version and (folder / version).is_dir():
        facts.setdefault("digest", registry.digest_of(folder / version))
    event = registry.new_event(kind, model, version, **facts)
    (folder / "history" / f"{event.id}.json").write_bytes(documents.dump_json(event.to_dict()))
    return event


def settle(root: Path) -> None:
    """What every writing command does at its end."""
    index.write(root, index.build(root))


def told(*codes: str) -> dict[str, list[tuple[str, str, str]]]:
    """Path, message and hint of all findings but those about cards, by code; or of some."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for finding in check(select=codes, ignore=["CK7"]).findings:
        found.setdefault(finding.code, []).append((finding.path, finding.message, finding.hint))
    return found


def test_a_registry_a_model_a_version_and_an_alias(root: Path) -> None:
    damage(root)
    whole, model = check("runs"), check("runs/penguins/")
    version, alias = check("runs/penguins/v0001"), check(root / "penguins" / "@champion")
    assert (whole.versions, whole.models) == (3, 2)
    assert (model.versions, model.models) == (2, 1)
    assert [version.versions, alias.versions] == [1, 1]
    assert all("CK205" in codes(report) for report in (whole, model, version, alias))
    assert {finding.path for finding in whole.findings if finding.code == "CK205"} == {
        "runs/penguins/v0001/config.yaml"
    }
    assert list(alias.verdicts) == [f"{root}/penguins/@champion"]


def test_nothing_is_checked_twice(root: Path) -> None:
    damage(root)
    report = check("runs", "runs/penguins", root / "penguins" / "v0001", "runs/penguins/@champion")
    assert (report.versions, report.models) == (3, 2)
    assert [finding.code for finding in report.findings].count("CK205") == 1


def test_the_default_root(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(check().verdicts) == ["runs/penguins/v0001", "runs/penguins/v0002", "runs/whales/v0001"]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert check().verdicts == {}
    assert next(iter(check(root=root).verdicts)) == f"{root}/penguins/v0001"


def test_versions_are_in_the_order_of_their_numbers(root: Path) -> None:
    folder = root / "penguins"
    for name in ("v9999", "v10000"):
        shutil.copytree(folder / "v0001", folder / name)
    assert [path.split("/")[-1] for path in check("runs/penguins").verdicts] == ["v0001", "v0002", "v9999", "v10000"]


@pytest.mark.parametrize("path", ["none", "empty", "empty/file", "runs/none"])
def test_what_is_not_there_or_not_ours_is_refused(root: Path, tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "file").touch()
    with pytest.raises(CkptkitError, match=f"{path} |in {path}") as caught:
        check(root, path)
    assert caught.value.hint


@pytest.mark.parametrize("how", ["option", "variable", "setting"])
@pytest.mark.usefixtures("root")
def test_a_root_that_was_named_and_is_not_there_is_refused(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "variable":
        monkeypatch.setenv("CKPTKIT_ROOT", "typo")
    elif how == "setting":
        (tmp_path / "pyproject.toml").write_text('[tool.ckptkit]\nroot = "typo"\n')
    with pytest.raises(CkptkitError, match="the registry root typo does not exist") as caught:
        check(root="typo" if how == "option" else None)
    assert caught.value.exit_code == 2
    (tmp_path / "typo").touch()
    with pytest.raises(CkptkitError, match="the registry root typo is not a folder"):
        check(root="typo" if how == "option" else None)
    assert check("runs").versions == 3


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("penguins", "runs/penguins"),
        ("penguins/1", "runs/penguins/v0001"),
        ("penguins/v0002", "runs/penguins/v0002"),
        ("penguins@champion", "runs/penguins/v0001"),
    ],
)
def test_a_reference_is_answered_with_its_path(root: Path, given: str, meant: str) -> None:
    assert check(meant).versions
    with pytest.raises(CkptkitError, match=f"{given} does not exist") as caught:
        check(given)
    assert (caught.value.hint, caught.value.exit_code) == (f"did you mean {meant}?", 2)
    with pytest.raises(CkptkitError) as caught:
        check(given, root=root / "penguins" / "v0001")
    assert caught.value.hint.startswith("name a registry root")


def test_select_and_ignore(root: Path) -> None:
    damage(root)
    assert codes(check(select=["CK2"])) == {"CK205"}
    assert codes(check(select=["ck2", "CK701"], ignore=["CK205"])) == {"CK701"}
    assert codes(check(ignore=["CK7"])) == {"CK205"}
    with pytest.raises(CkptkitError, match="no rule's code begins with 'CK0'"):
        check(select=["CK0"])


def test_pyproject_selects_and_ignores_with_reasons(root: Path, tmp_path: Path) -> None:
    damage(root)
    settings = tmp_path / "pyproject.toml"
    settings.write_text('[tool.ckptkit.check]\nselect = ["CK2", "CK7"]\nignore = { CK701 = "cards come later" }\n')
    report = check()
    assert codes(report) == {"CK205"} | codes(check(select=["CK7"], ignore=["CK701"]))
    assert report.ignored == {"CK701": 3}
    assert report.reasons == {"CK701": "cards come later"}
    assert codes(check(select=["CK205"])) == {"CK205"}
    settings.write_text("[tool.ckptkit.check.ignore]\nCK = 'all of them'\n")
    assert codes(check()) == set()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('check = "all"', "is not a table"),
        ('check = { select = "CK2" }', "is not a list"),
        ("check = { select = [2] }", "is not a list"),
        ('check = { ignore = ["CK404"] }', "gives no reasons"),
        ('check = { ignore = { CK404 = " " } }', "gives no reasons"),
        ('check = { ignore = { CK0 = "none" } }', "no rule's code begins with 'CK0'"),
    ],
)
def test_settings_that_mean_nothing_are_refused(root: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.ckptkit]\n{text}\n")
    with pytest.raises(CkptkitError, match=message):
        check(root)


def test_what_is_ignored_does_not_make_an_axis_complete(root: Path) -> None:
    damage(root)
    report = check(ignore=["CK205"])
    assert report.verdicts["runs/penguins/v0001"]["config"] == "broken"
    assert report.overall["config"] == "broken"
    assert check(select=["CK7"]).overall["config"] == "broken"


def test_a_deep_check_hashes_large_files(root: Path) -> None:
    weights = root / "penguins" / "v0002" / "weights.bin"
    weights.chmod(0o644)
    weights.write_bytes(LARGE[:-1] + b"x")
    assert "CK205" not in codes(check())
    told: list[int] = []
    expected: list[int] = []
    report = check(deep=True, progress=told.append, expect=expected.append)
    assert [finding.where for finding in report.findings if finding.code == "CK205"] == ["weights.bin"]
    assert len(LARGE) <= sum(told) <= sum(expected)


def test_records_are_expected_to_be_hashed_whatever_their_size(tmp_path: Path) -> None:
    publish(tmp_path, files={"data/train.sha256": LARGE, "w.bin": LARGE})
    told, expected = list[int](), list[int]()
    check(tmp_path, progress=told.append, expect=expected.append)
    assert len(LARGE) <= sum(told) <= sum(expected) < 2 * len(LARGE)


def test_absent_weights_are_a_warning_and_an_error_in_a_deep_check(root: Path) -> None:
    (root / "whales" / "v0001" / "weights.txt").unlink()
    quick, deep = check("runs/whales", select=["CK2"]), check("runs/whales", select=["CK2"], deep=True)
    assert [(finding.code, finding.severity) for finding in quick.findings] == [("CK204", "warning")]
    assert [(finding.code, finding.severity) for finding in deep.findings] == [("CK204", "error")]
    assert [quick.failed(strict=False), quick.failed(strict=True), deep.failed(strict=False)] == [False, True, True]


def test_no_axis_that_was_observed_late_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "runs", config__observed="declared", compute__observed="at save")
    report = check()
    assert report.overall == {"data": "complete", "code": "partial", "config": "partial", "compute": "partial"}
    late = [finding.message for finding in report.findings if finding.code == "CK408"]
    assert late == ["config, compute not observed in the run but declared or at save"]


def test_every_axis_of_a_version_that_cannot_be_verified_is_broken(root: Path) -> None:
    (root / "whales" / "v0001" / "SHA256SUMS").unlink()
    assert set(check("runs/whales").overall.values()) == {"broken"}
    assert check("runs/whales").verdicts.keys() == {"runs/whales/v0001"}


def test_a_version_that_was_sealed_anew_is_found_by_its_event(root: Path) -> None:
    damage(root)
    folder = root / "penguins" / "v0001"
    sums = subprocess.run(
        ["sh", "-c", "find . -type f ! -name README.md ! -name SHA256SUMS | LC_ALL=C sort | xargs sha256sum"],
        cwd=folder,
        capture_output=True,
        check=True,
    ).stdout
    (folder / "SHA256SUMS").chmod(0o644)
    (folder / "SHA256SUMS").write_bytes(sums)
    assert codes(check("runs/penguins/v0001", select=["CK2", "CK5", "CK9"])) == {"CK903"}


def test_a_version_folder_far_from_its_registry(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "penguins" / "v0001", tmp_path / "my copy")
    report = check("my copy", select=["CK1", "CK2", "CK9"])
    assert report.findings == ()
    assert report.versions == 1


def test_folders_that_are_not_ours_are_left_alone(root: Path) -> None:
    (root / "tensorboard").mkdir()
    (root / "tensorboard" / "events.out").touch()
    (root / "loop").symlink_to(".")
    assert codes(check(ignore=["CK7"])) == set()


def test_damage_is_not_told_again_as_a_stale_index(root: Path) -> None:
    (root / "penguins" / "v0001" / "lineage.json").unlink()
    assert codes(check(ignore=["CK7"])) == {"CK101"}


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": "ckptkit/index/1", "models": {"penguins": 3}}'])
def test_an_index_that_is_none_is_stale(root: Path, text: str) -> None:
    (root / "index.json").write_text(text)
    assert codes(check(ignore=["CK7"])) == {"CK909"}


JUNK = {
    "nothing": b"",
    "binary": bytes(range(256)),
    "null": b"null",
    "list": b"[1, 2]",
    "cut": b'{"schema": "ckptkit/lineage/1", "data"',
    "deep": b"[" * 100_000,
    "nearly too deep": b'{"data": ' + b"[" * 960 + b"]" * 960 + b"}",
    "bomb": b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b, *d]\n",
    "front": b"---\n- a list\n---\n",
}
FILES = ("lineage.json", "config.yaml", "README.md", "SHA256SUMS", "weights.txt")


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("name", FILES)
def test_junk_in_a_file_is_a_finding(root: Path, name: str, junk: str) -> None:
    before = check("runs/penguins/v0001")
    file = root / "penguins" / "v0001" / name
    file.chmod(0o644)
    file.write_bytes(JUNK[junk])
    report = check("runs/penguins/v0001", deep=True)
    new = [finding for finding in report.findings if finding not in before.findings]
    if name != "README.md":
        assert {(finding.where, finding.code) for finding in new} == {(name, new[0].code)}
    assert report.failed(strict=False)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["fifo", "loop", "endless device", "terminal", "folder"])
def test_what_is_no_file_is_a_finding_and_nothing_hangs(root: Path, name: str, kind: str) -> None:
    file = root / "penguins" / "v0001" / name
    file.unlink()
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to({"loop": name, "endless device": "/dev/zero", "terminal": "/dev/tty"}[kind])
    found = [finding for finding in check("runs/penguins/v0001", deep=True).findings if finding.code < "CK7"]
    assert len(found) == 1, found
    assert found[0].where == ("" if found[0].code == "CK204" else name)


@pytest.mark.timeout(20)
def test_history_may_be_anything(root: Path) -> None:
    history = root / "penguins" / "history"
    os.mkfifo(history / "pipe.json")
    (history / "folder.json").mkdir()
    (history / "loop.json").symlink_to("loop.json")
    (history / "junk.json").write_bytes(bytes(range(256)))
    assert [finding.where for finding in check(ignore=["CK7"]).findings] == [
        f"history/{name}.json" for name in ("folder", "junk", "loop", "pipe")
    ]


def test_a_check_writes_nothing(root: Path) -> None:
    def state() -> list[tuple[str, int, int]]:
        paths = sorted(root.rglob("*"))
        return [(str(path), path.lstat().st_mtime_ns, path.lstat().st_mode) for path in paths]

    damage(root)
    (root / "index.json").unlink()
    before = state()
    check(deep=True)
    assert state() == before


def copy_over(source: Path, target: Path) -> None:
    """What rsync does: what is in both is replaced, nothing is removed."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir() and not path.is_symlink():
            place.mkdir(exist_ok=True)
        else:
            place.unlink(missing_ok=True)
            shutil.copy2(path, place, follow_symlinks=False)


def renumber(root: Path, was: str, version: str) -> None:
    tell(root, "renumbered", version, was=was, digest=registry.digest_of(root / "penguins" / was))
    (root / "penguins" / was).rename(root / "penguins" / version)
    settle(root)


def test_a_registry_copied_over_another_is_told_once_and_can_be_mended(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "cluster", symlinks=True)
    save(root, files={"weights.txt": b"here", "vocab.txt": b"a b"})
    save(tmp_path / "cluster", files={"weights.txt": b"there"})
    for place, version in ((root, "v0003"), (tmp_path / "cluster", "v0002")):
        tell(place, "alias", version, alias="champion", previous=last(place, "@champion"))
        settle(place)
    mine = tmp_path / "mine"
    shutil.copytree(root / "penguins" / "v0003", mine)
    copy_over(tmp_path / "cluster", root)
    found = told()
    assert found.keys() == {"CK904", "CK907"}
    assert [(path, hint.partition(";")[0]) for path, _, hint in found["CK904"]] == [
        ("runs/penguins/v0003", "keep the one that is here: `ckptkit rename penguins/v0003 v0004`")
    ]
    assert "`ckptkit alias set penguins@champion VERSION`" in found["CK907"][0][2]

    (root / "penguins" / "v0003" / "vocab.txt").unlink()  # of the other one
    rename("penguins/v0003", "v0004", root=root)
    assert told().keys() == {"CK905", "CK907"}
    mine.rename(root / "penguins" / "v0003")
    move("penguins@champion", "v0002", root=root)
    assert told() == {}


def last(root: Path, chain: str) -> str:
    return registry.read_model(root / "penguins").state.heads[chain][-1].id


def git(folder: Path, *words: str) -> int:
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, check=False).returncode


def test_a_merge_by_git_is_told_as_what_it_is(root: Path, tmp_path: Path) -> None:
    cluster = tmp_path / "cluster"
    assert git(root, "init", "-b", "main") + git(root, "add", ".") + git(root, "commit", "-m", "two") == 0
    assert git(tmp_path, "clone", "runs", "cluster") == 0
    for place in (root, cluster):
        save(place, message=f"on {place.name}")
        assert git(place, "add", ".") + git(place, "commit", "-m", place.name) == 0
    assert git(root, "pull", "--no-rebase", str(cluster), "main") == 1
    found = told()
    assert {path for path, _, _ in found.pop("CK114")} == {
        "runs/index.json",
        *(f"runs/penguins/v0003/{name}" for name in ("lineage.json", "SHA256SUMS")),
    }
    assert found == {}
    assert {hint for path, _, hint in told("CK114")["CK114"] if "index" in path} == {"run `ckptkit index`"}

    assert git(root / "penguins" / "v0003", "checkout", "--ours", "--", ".") == 0
    settle(root)
    assert told().keys() == {"CK904"}


def test_a_version_that_was_renumbered_checks_clean(root: Path) -> None:
    renumber(root, "v0001", "v0007")
    (root / "penguins" / "@champion").unlink()
    (root / "penguins" / "@champion").symlink_to("v0007")
    assert told() == {}
    assert told("CK9") == {}
    damage_seal(root / "penguins" / "v0007")
    assert [path for path, _, _ in told("CK9")["CK903"]] == ["runs/penguins/v0007/SHA256SUMS"]


def damage_seal(folder: Path) -> None:
    """Another seal over the same files, which holds as well."""
    sums = folder / "SHA256SUMS"
    sums.chmod(0o644)
    sums.write_bytes(b"".join(reversed(sums.read_bytes().splitlines(keepends=True))))


def test_a_folder_that_was_renamed_by_hand_is_told_once(root: Path) -> None:
    (root / "penguins" / "v0001").rename(root / "penguins" / "v0005")
    found = told()
    assert [message for _, message, _ in found.pop("CK902")] == ["no saved event for v0005, which was v0001"]
    assert found == {}
    rebuild(root)
    assert told() == {}


def test_a_version_that_is_gone_is_mended_by_delete(root: Path) -> None:
    shutil.rmtree(root / "penguins" / "v0002")
    (found,) = told()["CK905"]
    assert found[1:] == (
        "saved and not there: v0002",
        "restore it from a copy, or record that it is gone: `ckptkit delete penguins/v0002`",
    )
    delete("penguins/v0002", root=root)
    assert told() == {}


def test_what_is_left_of_a_model_without_versions_is_no_finding(root: Path) -> None:
    tell(root, "deleted", "v0001", "whales")
    shutil.rmtree(root / "whales" / "v0001")
    settle(root)
    assert told() == {}
    tell(root, "renamed", "v0001", "whales", became="orcas")
    settle(root)
    assert told() == {}


def test_a_deleted_version_that_came_back(root: Path) -> None:
    tell(root, "deleted", "v0002")
    settle(root)
    (found,) = told().pop("CK912")
    assert found[0] == "runs/penguins/v0002"
    assert "`ckptkit index` takes it in, `ckptkit delete penguins/v0002` deletes it" in found[2]
    damage_seal(root / "penguins" / "v0002")
    other = told()
    assert other.keys() == {"CK903"}
    assert "`ckptkit rename penguins/v0002 v0003`" in other["CK903"][0][2]
    (root / "penguins" / "v0002").rename(root / "penguins" / "v0003")
    rebuild(root)
    assert told() == {}


def test_a_number_that_was_given_again_after_a_deletion(root: Path, tmp_path: Path) -> None:
    """A copy that did not know of the deletion went on, and was put over the registry."""
    shutil.copytree(root, tmp_path / "copy", symlinks=True)
    save(root, files={"weights.txt": b"here"})
    delete("penguins/3", root=root)
    save(tmp_path / "copy", files={"weights.txt": b"there"})
    copy_over(tmp_path / "copy", root)
    found = told()
    assert [hint.partition(";")[0] for _, _, hint in found.pop("CK904")] == [
        "keep the one that is here: `ckptkit rename penguins/v0003 v0004`"
    ]
    assert found == {}
    rename("penguins/3", "v0004", root=root)
    assert told() == {}
    assert list(registry.read_model(root / "penguins").state.deleted) == ["v0003"]


def test_an_alias_on_a_version_that_was_deleted(root: Path) -> None:
    tell(root, "deleted", "v0001")
    shutil.rmtree(root / "penguins" / "v0001")
    settle(root)
    found = told()
    assert found == {
        "CK906": [
            (
                "runs/penguins/@champion",
                "stands on v0001, which was deleted",
                "move the alias: `ckptkit alias set penguins@champion VERSION`",
            )
        ]
    }


def test_a_copy_is_told_by_its_original(root: Path) -> None:
    folder = root / "penguins"
    for name in ("v0005", "v0009"):
        shutil.copytree(folder / "v0002", folder / name)
    rebuild(root)
    found = told()
    assert [(path, message) for path, message, _ in found.pop("CK913")] == [
        ("runs/penguins/v0005", "is the same version as v0002"),
        ("runs/penguins/v0009", "is the same version as v0002"),
    ]
    assert found == {}
    shutil.rmtree(folder / "v0001")
    shutil.copytree(folder / "v0002", folder / "v0001")
    settle(root)
    assert [path for path, _, _ in told("CK903")["CK903"]] == ["runs/penguins/v0001/SHA256SUMS"]
    assert len(told()["CK913"]) == 2
    for name in ("v0005", "v0009"):
        delete(f"penguins/{name}", root=root)
    assert told().keys() == {"CK903"}


def test_two_words_of_one_version_are_a_fork_unless_they_agree(root: Path) -> None:
    for words in ("good", "better"):
        tell(root, "described", "v0001", text=words)
        tell(root, "described", None, text="all penguins")
        tell(root, "stage", "v0002", stage="production")
    settle(root)
    found = told()
    assert [(path, hint) for path, _, hint in found.pop("CK911")] == [
        ("runs/penguins/v0001", "say what you mean: `ckptkit describe penguins/v0001 TEXT`")
    ]
    assert found == {}
    tell(root, "described", None, text="some penguins")
    assert {path for path, _, _ in told()["CK911"]} == {"runs/penguins", "runs/penguins/v0001"}
    tell(root, "deleted", "v0001")
    shutil.rmtree(root / "penguins" / "v0001")
    assert {path for path, _, _ in told()["CK911"]} == {"runs/penguins"}


def prune(root: Path, version: str, *paths: str) -> None:
    tell(root, "pruned", version, files=tuple(SealedFile(path=path, bytes=None, sha256="a" * 64) for path in paths))
    for path in paths:
        (root / "penguins" / version / path).unlink()
    settle(root)


@pytest.mark.parametrize("deep", [False, True])
def test_what_was_pruned_is_no_damage(root: Path, *, deep: bool) -> None:
    before = check(deep=deep)
    prune(root, "v0002", "weights.bin")
    after = check(deep=deep)
    assert [(after.pruned, before.pruned), (after.findings, after.verdicts)] == [
        (1, 0),
        (before.findings, before.verdicts),
    ]
    assert text(after, width=None, colour=False).splitlines()[-2].startswith("3 versions checked, 1 pruned: ")
    (root / "penguins" / "v0002" / "config.yaml").unlink()
    assert "CK203" in codes(check(deep=deep))


def test_what_was_pruned_in_part_is_still_a_clone_without_the_rest(root: Path) -> None:
    save(root, files={"weights.txt": b"0.1", "optimizer.bin": b"state"})
    prune(root, "v0003", "optimizer.bin")
    assert told() == {}
    (root / "penguins" / "v0003" / "weights.txt").unlink()
    assert [message for _, message, _ in told()["CK204"]] == ["not here: weights.txt"]


def test_what_was_pruned_and_is_here_again_has_to_verify(root: Path) -> None:
    weights = root / "penguins" / "v0001" / "weights.txt"
    whole = weights.read_bytes()
    prune(root, "v0001", "weights.txt")
    weights.write_bytes(b"other")
    assert told().keys() == {"CK205"}
    weights.write_bytes(whole)
    assert told() == {}
    assert check().pruned == 0


def test_links_that_are_switched_off_are_no_finding(root: Path, tmp_path: Path) -> None:
    link = root / "penguins" / "@champion"
    link.unlink()
    assert told().keys() == {"CK908"}
    (tmp_path / "pyproject.toml").write_text("[tool.ckptkit]\nlinks = false\n")
    assert told() == {}
    link.symlink_to("v0002")
    assert told() == {}


def test_what_stands_in_a_links_place_is_told_as_what_it_is(root: Path) -> None:
    link = root / "penguins" / "@champion"
    link.unlink()
    link.write_text("v0001")
    assert "as git leaves it where it makes no links" in told()["CK908"][0][1]
    link.write_text("notes")
    assert [message for _, message, _ in told()["CK908"]] == ["is no link"]
    link.unlink()
    shutil.copytree(root / "penguins" / "v0001", link)
    ((_, message, hint),) = told()["CK908"]
    assert (message, hint.partition(",")[0]) == ("is no link", "run `ckptkit index`")
    rebuild(root)
    assert told() == {}


def test_large_files_that_were_not_hashed_are_counted(root: Path) -> None:
    assert (check(root).unhashed, check(root, deep=True).unhashed) == (1, 0)


def many(root: Path, count: int) -> None:
    """Further versions of penguins with the bytes of the first."""
    folder = root / "penguins"
    digest = registry.read_model(folder).state.saved["v0001"].digest
    for number in range(3, count + 1):
        version = f"v{number:04d}"
        shutil.copytree(folder / "v0001", folder / version)
        event = registry.new_event("saved", "penguins", version, digest=digest)
        (folder / "history" / f"{event.id}.json").write_bytes(documents.dump_json(event.to_dict()))
    index.write(root, index.build(root))


def test_workers_find_what_one_process_finds(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many(root, 12)
    for number in (1, 7):
        (root / "penguins" / f"v{number:04d}" / "lineage.json").unlink()
    alone = check()
    monkeypatch.setattr(module, "_MANY", 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    told: list[int] = []
    expected: list[int] = []
    together = check(progress=told.append, expect=expected.append)
    assert together == alone
    assert 0 < sum(told) <= sum(expected)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="whether it is safe to fork cannot be told here")
def test_an_interrupt_ends_the_workers_too(root: Path) -> None:
    many(root, 4)
    script = (
        "import os, sys, time\n"
        "def endless(job, progress=None):\n    print(os.getpid(), flush=True)\n    time.sleep(60)\n"
        "from ckptkit.verbs import check as module\n"
        "module._MANY = 2\n"
        "os.sched_getaffinity = lambda _: {0, 1}\n"
        "module._examine = endless\n"
        "try:\n    module.check()\nexcept KeyboardInterrupt:\n    sys.exit(130)\n"
    )
    home = Path(module.__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(home)},
    )
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    begun = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert errors == b""
    assert time.monotonic() - begun < 20
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_a_digest_that_was_added_later_counts(root: Path) -> None:
    data = {**lineage()["data"][0], "digest": None}
    for _ in range(2):
        save(root, data=[data, {**data, "name": "val"}], unknown={"data.penguins.digest": "there was no time"})
    hint = "run `ckptkit data digest penguins/v0003 penguins` where the data is"
    third, fourth = (f"runs/penguins/{version}/lineage.json" for version in ("v0003", "v0004"))
    lacks = (third, "the dataset penguins has no digest: there was no time", hint)
    before = told("CK302")["CK302"]
    assert (before[0], [path for path, _, _ in before]) == (lacks, [third, third, fourth, fourth])
    tell(root, "digested", "v0003", data=(Dataset.from_dict(lineage()["data"][0]),))
    settle(root)
    assert told("CK302")["CK302"] == before[1:]
    assert told("CK9") == {}
    assert [finding.message for finding in check("runs/penguins/v0003", select=["CK302"]).findings] == [before[1][1]]
