import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from registries import publish

from ckptkit import index, registry
from ckptkit.cli import main
from ckptkit.errors import CkptkitError, NotFoundError
from ckptkit.report import space
from ckptkit.verbs.check import check
from ckptkit.verbs.prune import Pruning, prune
from ckptkit.verbs.stage import stage

FILES = {"model.bin": b"the weights", "parts/optimizer.bin": b"moments"}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "runs"
    for loss in (0.5, 0.25, 0.75):
        publish(root, files=FILES, metrics={"loss": loss})
    return root


def saved(root: Path) -> dict[str, list[str]]:
    """The saved files that are there, by version."""
    return {
        str(folder.relative_to(root)): [path for path in FILES if (folder / path).exists()]
        for folder in sorted(root.glob("*/v*"))
    }


def refs(done: Pruning) -> list[str]:
    return [removal.ref for removal in done.removals]


def test_weights_go_and_the_record_stays(root: Path) -> None:
    records = {path.name for path in (root / "penguins" / "v0001").iterdir()} - {"model.bin", "parts"}
    done = prune("penguins", keep_last=1, keep_best=["loss:min"], reason="room", root=root)
    assert (refs(done), done.kept, done.freed, done.done) == (
        ["penguins/v0001"],
        ("penguins/v0002", "penguins/v0003"),
        18,
        True,
    )
    assert saved(root) == {"penguins/v0001": [], "penguins/v0002": [*FILES], "penguins/v0003": [*FILES]}
    assert {path.name for path in (root / "penguins" / "v0001").iterdir()} == records
    event = registry.read_model(root / "penguins").events[-1]
    digest = registry.digest_of(root / "penguins" / "v0001")
    assert (event.kind, event.version, event.digest, event.reason) == ("pruned", "v0001", digest, "room")
    assert {file.path: file.bytes for file in event.files} == {"model.bin": 11, "parts/optimizer.bin": 7}
    assert index.load(root) == index.build(root)
    sums = (root / "penguins" / "v0001" / "SHA256SUMS").read_text()
    assert all(file.sha256 in sums for file in event.files)
    assert {finding.code for finding in check(root, select=["CK2", "CK9"]).findings} <= {"CK210"}


def test_a_second_time_nothing_is_left_to_prune(root: Path) -> None:
    prune("penguins", keep_last=1, root=root)
    events = registry.read_model(root / "penguins").events
    again = prune("penguins", keep_last=1, root=root)
    assert (again.removals, again.done) == ((), False)
    assert registry.read_model(root / "penguins").events == events
    assert "nothing to prune" in space.pruning(again)


def test_some_files_go_and_later_the_others(root: Path) -> None:
    done = prune("penguins", keep_last=1, drop=["optim*"], root=root)
    assert done.stays == {"penguins/v0001/model.bin": 11, "penguins/v0002/model.bin": 11}
    assert [*saved(root).values()] == [["model.bin"], ["model.bin"], [*FILES]]
    done = prune("penguins", keep_last=2, root=root)
    assert [file.path for removal in done.removals for file in removal.files] == ["model.bin"]
    assert index.build(root)["models"]["penguins"]["versions"]["v0001"]["pruned"] == sorted(FILES)


def test_what_is_read_beside_weights_stays_and_is_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    beside = {"config.json": b"{}", "tokenizer.json": b"{" + b" " * 2_000_000 + b"}", "tokenizer.model": b"pieces"}
    for number in (1, 2):
        publish(root, "whales", files={**FILES, **beside}, tags={"number": str(number)})
    assert main(["prune", "whales", "--keep-last", "1", "--yes"]) == 0
    out = capsys.readouterr().out
    told = (
        "stay in the others: whales/v0001/tokenizer.json, whales/v0001/tokenizer.model, whales/v0001/config.json (2 MB)"
    )
    assert told in out
    assert all((root / "whales" / "v0001" / path).read_bytes() == data for path, data in beside.items())
    assert saved(root)["whales/v0001"] == []
    assert main(["prune", "whales", "--keep-last", "1", "--yes", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["versions"], document["stays"]) == (
        [],
        {"whales/v0001/config.json": 2, "whales/v0001/tokenizer.json": 2_000_002, "whales/v0001/tokenizer.model": 6},
    )
    prune("whales", keep_last=1, drop=["*"], root=root)
    assert not any((root / "whales" / "v0001" / path).exists() for path in beside)
    assert (root / "whales" / "v0001" / "lineage.json").exists()


@pytest.mark.parametrize("drop", [[], ["optimizer*"]])
def test_what_could_go_is_no_decided_plan(root: Path, drop: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    before = saved(root)
    words = [word for glob in drop for word in ("--drop", glob)]
    assert main(["prune", "penguins", *words, "--yes", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["undecided"], document["done"], len(document["versions"])) == (True, False, 3)
    assert main(["prune", "penguins", *words, "--keep-last", "2", "--dry-run", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["undecided"], document["done"], len(document["versions"])) == (False, False, 1)
    assert saved(root) == before


@pytest.mark.parametrize("words", [["prune", "penguins", "--keep-last", "1"], ["delete", "penguins/1"]])
def test_a_no_is_a_plan_that_was_not_done(
    root: Path, words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved(root)
    monkeypatch.setattr("sys.stdin", Terminal("n\n" * 2))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main([*words, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["done"], document["versions"][0]["version"]) == (False, "penguins/v0001")
    assert main(words) == 1
    assert capsys.readouterr().out == ""
    assert saved(root) == before


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("dry_run", [True, False])
def test_without_a_policy_nothing_goes(root: Path, capsys: pytest.CaptureFixture[str], *, dry_run: bool) -> None:
    publish(root, "whales", files=FILES, aliases=["champion"])
    before = saved(root)
    assert main(["prune", *["--dry-run"] * dry_run]) == 0
    out = capsys.readouterr().out
    assert all(ref in out for ref in before)
    assert "@champion" in out
    assert "4 versions to prune: 72 B would come free" in out
    assert "say what stays" in out
    assert main(["prune", "penguins", "--yes"]) == 0
    assert "whales" not in capsys.readouterr().out
    assert saved(root) == before


def test_a_dry_run_removes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = saved(root)
    assert main(["prune", "penguins", "--keep-last", "1", "--dry-run", "--yes", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["done"], document["freed"]) == ("ckptkit/pruning/1", False, 36)
    assert [version["version"] for version in document["versions"]] == ["penguins/v0001", "penguins/v0002"]
    assert document["kept"] == ["penguins/v0003"]
    assert saved(root) == before


def test_nothing_goes_without_consent(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = saved(root)
    words = ["prune", "penguins", "--keep-best", "loss:min"]
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert (out, "penguins/v0001  model.bin, parts/optimizer.bin" in err, "add --yes" in err) == ("", True, True)
    assert saved(root) == before
    assert main([*words, "--yes"]) == 0
    assert "2 versions pruned: 36 B freed" in capsys.readouterr().out
    assert saved(root)["penguins/v0002"] == [*FILES]


@pytest.mark.parametrize("facts", [{"keep_aliased": True}, {"keep_stages": ["production"]}])
def test_what_is_in_use_goes_only_when_told(root: Path, facts: dict[str, Any]) -> None:
    stage("penguins/1", "production", root=root)
    publish(root, files=FILES, aliases=["champion"])
    refused = "penguins/v0001 is production" if "keep_aliased" in facts else "penguins/v0004 is @champion"
    before = saved(root)
    with pytest.raises(CkptkitError, match=refused):
        prune("penguins", root=root, **facts)
    assert saved(root) == before
    assert refs(prune("penguins", dry_run=True, root=root, **facts))
    prune("penguins", keep_aliased=True, keep_stages=["production"], root=root)
    assert [ref for ref, paths in saved(root).items() if paths] == ["penguins/v0001", "penguins/v0004"]
    prune("penguins", keep_last=1, force=True, root=root)
    assert [ref for ref, paths in saved(root).items() if paths] == ["penguins/v0004"]


def test_each_model_by_itself(root: Path) -> None:
    publish(root, "whales", files=FILES)
    publish(root, "whales", files=FILES)
    assert refs(prune(every=True, keep_last=1, root=root)) == ["penguins/v0001", "penguins/v0002", "whales/v0001"]


def test_what_is_not_the_one_that_was_saved_is_left_alone(root: Path) -> None:
    for version, text in (("v0001", "0" * 64 + "  ./model.bin\n"), ("v0002", "<<<<<<< HEAD\n")):
        sums = root / "penguins" / version / "SHA256SUMS"
        sums.unlink()
        sums.write_text(text)
    (root / "penguins" / "v0003" / "lineage.json").unlink()
    shutil.copytree(root / "penguins" / "v0001", root / "penguins" / "v0007")
    publish(root, files=FILES)
    publish(root, files=FILES)
    before = saved(root)
    done = prune("penguins", keep_last=1, root=root)
    assert refs(done) == ["penguins/v0008"]
    assert set(done.left) == {f"penguins/{version}" for version in ("v0001", "v0002", "v0003", "v0007")}
    assert {ref: paths for ref, paths in saved(root).items() if ref in done.left} == {
        ref: before[ref] for ref in done.left
    }
    assert "left alone: penguins/v0001: is not the one that was saved" in space.pruning(done)


def test_files_that_are_not_here_are_no_loss(root: Path) -> None:
    """As in a git clone: the records are there, the weights are not."""
    for path in FILES:
        (root / "penguins" / "v0001" / path).unlink()
    assert refs(prune("penguins", keep_last=1, root=root)) == ["penguins/v0002"]


def test_what_a_link_leads_to_stays(root: Path, tmp_path: Path) -> None:
    folder = root / "penguins" / "v0001"
    shutil.move(folder / "parts", tmp_path / "parts")
    (folder / "parts").symlink_to(tmp_path / "parts")
    shutil.move(folder / "model.bin", tmp_path / "model.bin")
    (folder / "model.bin").symlink_to(tmp_path / "model.bin")
    assert refs(prune("penguins", keep_last=1, root=root)) == ["penguins/v0002"]
    assert (tmp_path / "parts" / "optimizer.bin").read_bytes() == FILES["parts/optimizer.bin"]
    assert (folder / "model.bin").is_symlink()


def test_a_changed_lineage_names_no_other_files(root: Path) -> None:
    lineage = root / "penguins" / "v0001" / "lineage.json"
    text = lineage.read_text()
    lineage.unlink()
    lineage.write_text(text.replace("model.bin", "notes.txt"))
    (lineage.parent / "notes.txt").write_text("mine")
    (root / "index.json").unlink()
    done = prune("penguins", keep_last=1, root=root)
    assert [file.path for file in done.removals[0].files] == ["parts/optimizer.bin"]
    assert (lineage.parent / "notes.txt").read_text() == "mine"


def test_shared_bytes_come_free_with_their_last_link(root: Path) -> None:
    first, second, third = (root / "penguins" / f"v000{number}" / "model.bin" for number in (1, 2, 3))
    for path in (second, third):
        path.unlink()
        path.hardlink_to(first)
    done = prune("penguins", keep_last=1, root=root)
    assert (done.freed, sum(removal.bytes for removal in done.removals)) == (14, 36)
    assert "2 versions pruned: 14 B freed; 22 B are shared with files that stay" in space.pruning(done)
    assert third.read_bytes() == FILES["model.bin"]


def test_more_than_was_agreed_to_does_not_go(root: Path) -> None:
    def agree(_: Pruning) -> bool:
        publish(root, files=FILES)
        stage("penguins/1", "staging", root=root)
        return True

    done = prune("penguins", keep_last=1, root=root, agree=agree)
    assert refs(done) == ["penguins/v0002"]
    assert [ref for ref, paths in saved(root).items() if paths] == [
        "penguins/v0001",
        "penguins/v0003",
        "penguins/v0004",
    ]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"model": "seals"}, "no model 'seals'"),
        ({"keep_last": 1}, "wants a model, or --all"),
        ({"model": "penguins", "every": True}, "wants a model, or --all"),
        ({"model": "penguins", "keep_best": ["los:min"]}, "cannot be told which version has the best los"),
        ({"model": "penguins", "keep_best": ["loss"]}, "loss"),
        ({"model": "penguins", "keep_stages": ["live"]}, "'live' is no stage"),
    ],
)
def test_what_cannot_be_followed_is_refused(root: Path, facts: dict[str, Any], said: str) -> None:
    before = saved(root)
    with pytest.raises(CkptkitError, match=said) as caught:
        prune(root=root, **facts)
    assert caught.value.hint
    assert saved(root) == before


def test_directions_may_be_in_the_project(root: Path, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.ckptkit.metrics]\nloss = "max"\n')
    assert prune("penguins", keep_best=["loss"], root=root).kept == ("penguins/v0003",)


def test_where_there_is_no_registry(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no registry at"):
        prune(root=tmp_path / "nowhere")
