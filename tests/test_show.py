import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lineages import lineage
from registries import publish

from ckptkit.capture.metrics import read
from ckptkit.checkpoint import Unreadable
from ckptkit.documents import dump_json
from ckptkit.errors import CkptkitError, NotFoundError
from ckptkit.record import Dataset, Event, Lineage
from ckptkit.references import find
from ckptkit.registry import new_event, read_model
from ckptkit.report.screen import screen, shown_document
from ckptkit.verbs.describe import describe
from ckptkit.verbs.prune import prune
from ckptkit.verbs.show import show
from ckptkit.verbs.stage import stage


@pytest.fixture
def root(tmp_path: Path) -> Path:
    publish(tmp_path / "runs", aliases=["old"])
    publish(tmp_path / "runs", aliases=["champion", "best"])
    return tmp_path / "runs"


@pytest.fixture
def version(root: Path) -> Path:
    return root / "penguins" / "v0002"


def rewrite(file: Path, data: bytes) -> None:
    file.unlink()
    file.write_bytes(data)


@pytest.mark.parametrize("is_index_there", [True, False])
@pytest.mark.parametrize("ref", ["penguins", "penguins@champion", "penguins/2", "./runs/penguins/v0002"])
def test_what_is_shown(
    root: Path, version: Path, ref: str, monkeypatch: pytest.MonkeyPatch, *, is_index_there: bool
) -> None:
    monkeypatch.chdir(root.parent)
    if not is_index_there:
        (root / "index.json").unlink()
    shown = show(ref, root=root)
    assert shown.version.ref == "penguins/v0002"
    assert shown.version.path == version
    assert shown.asked == ref
    assert shown.aliases == ("best", "champion")
    assert shown.saved == read_model(root / "penguins").state.saved["v0002"].time
    assert isinstance(shown.lineage, Lineage)
    assert shown.lineage.version == "v0002"
    assert shown.damage is None


def test_a_copy_somewhere_else_is_shown_without_its_event(version: Path, tmp_path: Path) -> None:
    shutil.copytree(version, tmp_path / "here" / "copy")
    shown = show(str(tmp_path / "here" / "copy"), root=tmp_path / "nowhere")
    assert (shown.version.ref, shown.saved, shown.aliases, shown.damage) == ("here/copy", None, (), None)
    assert isinstance(shown.lineage, Lineage)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is not JSON"),
        (b'{"schema": "ckptkit/lineage/1",', "is not JSON"),
        (b"\x00\xff\xfe", "is not UTF-8"),
        (b"{}", "is missing"),
        (b"[]", "is not an object"),
        (b'{"schema": "ckptkit/lineage/2"}', "is newer than"),
        (b"[" * 100_000, "is nested too deeply"),
    ],
)
def test_a_record_that_cannot_be_read_says_why(root: Path, version: Path, data: bytes, words: str) -> None:
    rewrite(version / "lineage.json", data)
    shown = show("penguins", root=root)
    assert isinstance(shown.lineage, Unreadable)
    assert words in shown.lineage.reason
    assert shown.damage == "lineage.json is not as it was sealed at save"
    assert shown.aliases == ("best", "champion")


def test_a_record_that_was_edited_is_shown_as_damaged(root: Path, version: Path) -> None:
    text = (version / "lineage.json").read_text()
    rewrite(version / "lineage.json", text.replace("lower learning rate", "higher").encode())
    shown = show("penguins", root=root)
    assert isinstance(shown.lineage, Lineage)
    assert shown.lineage.message == "higher"
    assert shown.damage == "lineage.json is not as it was sealed at save"


def test_sums_that_were_not_sealed_are_damage(root: Path, version: Path) -> None:
    text = (version / "SHA256SUMS").read_text()
    rewrite(version / "SHA256SUMS", "".join(text.splitlines(keepends=True)[1:]).encode())
    assert show("penguins", root=root).damage == "SHA256SUMS is not the one that was sealed at save"
    rewrite(version / "SHA256SUMS", b"junk\n")
    damage = show("penguins", root=root).damage
    assert damage is not None
    assert damage.startswith("SHA256SUMS: is not of the form")


def test_the_weights_are_not_opened(root: Path, version: Path) -> None:
    (version / "model.safetensors").unlink()
    assert show("penguins", root=root).damage is None


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", ["lineage.json", "SHA256SUMS"])
@pytest.mark.parametrize("odd", ["fifo", "loop", "/dev/zero", "folder", "nothing"])
def test_something_odd_in_a_files_place_is_reported(root: Path, version: Path, name: str, odd: str) -> None:
    (version / name).unlink()
    if odd == "fifo":
        os.mkfifo(version / name)
    elif odd == "folder":
        (version / name).mkdir()
    elif odd != "nothing":
        (version / name).symlink_to(odd.replace("loop", name))
    shown = show("penguins", root=root)
    assert name in (shown.damage or "")
    assert isinstance(shown.lineage, Unreadable) is (name == "lineage.json")
    (root / "index.json").unlink()
    if name == "SHA256SUMS":
        with pytest.raises(CkptkitError, match="penguins/v0002 is damaged"):
            show("penguins", root=root)
    else:
        assert isinstance(show("penguins", root=root).lineage, Unreadable)


def test_an_unreadable_record_is_reported(root: Path, version: Path) -> None:
    (version / "lineage.json").chmod(0)
    if os.access(version / "lineage.json", os.R_OK):
        pytest.skip("this user reads everything")
    shown = show("penguins", root=root)
    assert isinstance(shown.lineage, Unreadable)
    assert "permission denied" in shown.lineage.reason


def test_broken_events_leave_the_rest(root: Path) -> None:
    for event in (root / "penguins" / "history").iterdir():
        event.write_bytes(b"\x00")
    shown = show("penguins/2", root=root)
    assert shown.saved is None
    assert shown.damage is None


def test_what_names_nothing_is_not_found(root: Path) -> None:
    with pytest.raises(NotFoundError, match="no model 'seals'"):
        show("seals", root=root)
    with pytest.raises(NotFoundError, match="no registry at"):
        show("penguins", root=root / "nowhere")


def measured(root: Path, version: str, metrics: dict[str, float]) -> Event:
    digest = find(f"penguins/{version}", root=root, cwd=root).version.digest
    event = new_event("evaluated", "penguins", version, digest=digest, metrics=read(metrics))
    (root / "penguins" / "history" / f"{event.id}.json").write_bytes(dump_json(event.to_dict()))
    return event


def test_what_the_history_says_of_it(root: Path) -> None:
    nothing = show("penguins/2", root=root)
    assert (nothing.stage, nothing.text, nothing.evaluations, nothing.pruned) == (None, None, (), ())
    stage("penguins/2", "production", root=root)
    describe("penguins/2", "the one", root=root)
    describe("penguins", "all of them", root=root)
    events = measured(root, "v0002", {"accuracy": 0.5}), measured(root, "v0002", {"accuracy": 0.75})
    measured(root, "v0001", {"accuracy": 0.25})
    shown = show("penguins/2", root=root)
    assert (shown.stage, shown.text, shown.evaluations) == ("production", "the one", events)
    assert shown.damage is None
    then = show("penguins@champion", at=events[0].time, root=root)
    assert (then.stage, then.text, then.evaluations) == ("production", "the one", events[:1])
    assert shown.saved is not None
    then = show("penguins@latest", at=shown.saved, root=root)
    assert (then.version.ref, then.stage, then.text, then.evaluations) == ("penguins/v0002", None, None, ())
    with pytest.raises(CkptkitError, match="is no time"):
        show("penguins", at="soon", root=root)


def test_pruned_files_are_told_until_they_are_back(root: Path, version: Path) -> None:
    data = (version / "model.safetensors").read_bytes()
    prune("penguins", keep_last=1, keep_aliased=False, force=True, root=root)
    assert show("penguins/1", root=root).pruned == ("model.safetensors",)
    assert show("penguins/1", root=root).damage is None
    assert show("penguins/2", root=root).pruned == ()
    (version.parent / "v0001" / "model.safetensors").write_bytes(data)
    assert show("penguins/1", root=root).pruned == ()


def test_a_digest_that_was_added_later(root: Path) -> None:
    known = lineage()["data"][0]
    why = {"data.penguins.digest": "there was no time", "data.val.digest": "no time for this"}
    data = [known | {"digest": None}, known | {"name": "val", "digest": None}]
    version = publish(root, data=data, unknown=why)

    def tell(**facts: Any) -> Event:
        facts |= {"digest": version.digest, "data": (Dataset.from_dict(known),)}
        event = new_event("digested", "penguins", "v0003", **facts)
        (root / "penguins" / "history" / f"{event.id}.json").write_bytes(dump_json(event.to_dict()))
        return event

    def text() -> str:
        return screen(show("penguins/3", root=root), now=datetime.now(UTC), width=200, colour=False)

    assert "data.penguins.digest: there was no time" in text()
    event = tell()
    for ref in ("penguins/3", str(version.path)):
        assert dict(show(ref, root=root).digested) == {"penguins": event}
    assert f"sha256:b2b2b2b2…  1 file, 15 kB · unchanged while it ran · hashed later, on {event.time[:10]}" in text()
    assert "val  data/penguins.csv  no digest  1 file, 15 kB" in text()
    assert "there was no time" not in text()
    assert "data.val.digest: no time for this" in text()
    assert shown_document(show("penguins/3", root=root))["digested"] == {"penguins": event.to_dict()}
    tell(unknown={"data.penguins.digest": "is of what was written after the save: a"})
    assert "data.penguins.digest: is of what was written after the save: a" in text()
