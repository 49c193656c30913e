import shutil
from pathlib import Path

import pytest
from registries import publish

from ckptkit import index, references
from ckptkit.errors import CkptkitError, NotFoundError
from ckptkit.registry import Version


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    publish(root)
    publish(root, aliases=["champion", "7"])
    publish(root)
    publish(root, "whales", message="another model")
    return root


def resolve(root: Path, ref: str) -> Version:
    return references.resolve(root, index.load(root), ref, cwd=root.parent)


@pytest.mark.parametrize(
    ("ref", "version"),
    [
        ("penguins", "penguins/v0003"),
        ("penguins@latest", "penguins/v0003"),
        ("penguins@LATEST", "penguins/v0003"),
        ("penguins@champion", "penguins/v0002"),
        ("penguins@7", "penguins/v0002"),
        ("penguins/v0002", "penguins/v0002"),
        ("penguins/2", "penguins/v0002"),
        ("penguins/v2", "penguins/v0002"),
        ("./runs/penguins/v0001", "penguins/v0001"),
        ("./runs/penguins/@champion", "penguins/v0002"),
        ("./runs/../runs/whales/v0001/", "whales/v0001"),
    ],
)
def test_what_a_reference_names(root: Path, ref: str, version: str) -> None:
    found = resolve(root, ref)
    assert found.ref == version
    assert found.path == root / version
    assert found.digest == index.load(root)["models"][found.path.parent.name]["versions"][found.path.name]["digest"]


def test_an_absolute_path_and_one_below_the_home(root: Path, private_home: Path) -> None:
    assert resolve(root, str(root / "penguins" / "v0001")).ref == "penguins/v0001"
    shutil.copytree(root / "penguins", private_home / "seals")
    assert resolve(root, "~/seals/v0001").ref == "seals/v0001"


def test_a_digest_may_be_cut_to_eight_digits(root: Path) -> None:
    digest = resolve(root, "penguins/2").digest
    assert resolve(root, digest).ref == "penguins/v0002"
    assert resolve(root, digest[: len("sha256:") + 8]).ref == "penguins/v0002"
    assert resolve(root, f"sha256:{digest[7:].upper()}").ref == "penguins/v0002"


def test_a_digest_that_two_versions_bear_names_the_first(root: Path) -> None:
    shutil.copytree(root / "whales" / "v0001", root / "whales" / "v0002")
    digest = resolve(root, "whales/1").digest
    assert resolve(root, digest).ref == "whales/v0001"


def test_a_digest_that_could_be_two_is_refused() -> None:
    versions = {f"v000{end}": {"digest": f"sha256:{'a' * 63}{end}", "event": None} for end in (1, 2)}
    known = {"models": {"penguins": {"aliases": {}, "versions": versions}}}
    with pytest.raises(CkptkitError, match="penguins/v0001 or penguins/v0002") as caught:
        references.resolve(Path("runs"), known, "sha256:aaaaaaaa", cwd=Path())
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("seals", "no model 'seals'"),
        ("Penguins", "no model 'Penguins'"),
        ("penguins@candidate", "no alias @candidate on penguins"),
        ("penguins@Champion", "no alias @Champion on penguins"),
        ("penguins/9", "no version penguins/v0009"),
        ("sha256:00000000", "no version with the digest"),
        ("./runs", "is no version folder"),
        ("./nowhere", "no folder"),
        ("", "no model ''"),
    ],
)
def test_what_names_nothing_is_not_found(root: Path, ref: str, words: str) -> None:
    with pytest.raises(NotFoundError, match=words) as caught:
        resolve(root, ref)
    assert caught.value.exit_code == 1
    assert caught.value.hint


@pytest.mark.parametrize("ref", ["penguins/champion", "penguins/", "penguins/0", "penguins/v0001/x", "sha256:abc"])
def test_what_is_no_reference_is_wrong_use(root: Path, ref: str) -> None:
    with pytest.raises(CkptkitError) as caught:
        resolve(root, ref)
    assert caught.value.exit_code == 2
    assert caught.value.hint


def test_the_newest_is_the_highest_number(root: Path) -> None:
    shutil.copytree(root / "penguins" / "v0001", root / "penguins" / "v10000")
    shutil.copytree(root / "penguins" / "v0001", root / "penguins" / "v9999")
    assert resolve(root, "penguins").ref == "penguins/v10000"


def test_a_version_without_its_sums_is_damaged(root: Path) -> None:
    sums = root / "penguins" / "v0003" / "SHA256SUMS"
    sums.chmod(0o600)
    sums.unlink()
    (root / "index.json").unlink()
    with pytest.raises(CkptkitError, match="penguins/v0003 is damaged"):
        resolve(root, "penguins")
    with pytest.raises(NotFoundError, match="is no version folder"):
        resolve(root, "./runs/penguins/v0003")


def test_an_alias_of_a_version_that_is_gone_is_not_found(root: Path) -> None:
    shutil.rmtree(root / "penguins" / "v0002")
    with pytest.raises(NotFoundError, match="penguins/v0002 is not there any more"):
        resolve(root, "penguins@champion")


def test_a_model_without_a_version_is_not_found(root: Path) -> None:
    shutil.rmtree(root / "whales" / "v0001")
    with pytest.raises(NotFoundError, match="has no version"):
        resolve(root, "whales")


@pytest.mark.parametrize(
    "ref", ["./loop", "./loop/x", "~nobody-of-that-name/x", "./a\0b", "/" + "a" * 5000, "./\ud800"]
)
def test_a_path_that_cannot_be_one_is_not_found(root: Path, ref: str) -> None:
    (root.parent / "loop").symlink_to("loop")
    with pytest.raises(NotFoundError, match="no folder"):
        resolve(root, ref)


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """Versions of which the second has the least loss and the third the most accuracy; the last two diverged."""
    root = tmp_path / "runs"
    publish(root, metrics={"val/loss": 0.5, "train/loss": 0.1, "accuracy": 0.8})
    publish(root, metrics={"val/loss": 0.25, "train/loss": 0.2, "accuracy": 0.8})
    publish(root, metrics={"val/loss": 0.25, "accuracy": 0.9}, aliases=["best"])
    publish(root, metrics={"val/loss": "NaN", "accuracy": "NaN", "f1": "NaN"})
    publish(root, metrics={})
    return root


@pytest.mark.parametrize(
    ("ref", "version"),
    [
        ("penguins@best:val/loss:min", "penguins/v0002"),
        ("penguins@best:val/loss:max", "penguins/v0001"),
        ("penguins@best:accuracy:max", "penguins/v0003"),
        ("penguins@best:accuracy:min", "penguins/v0001"),
        ("penguins@best", "penguins/v0003"),
    ],
)
def test_the_best(scored: Path, ref: str, version: str) -> None:
    assert resolve(scored, ref).ref == version
    assert references.resolve(scored, index.load(scored), ref, cwd=scored, model="whales", exact=True).ref == version


def test_a_direction_may_be_in_the_settings(scored: Path) -> None:
    with pytest.raises(CkptkitError, match="least or the greatest accuracy is the best") as caught:
        resolve(scored, "penguins@best:accuracy")
    assert (caught.value.exit_code, "accuracy:min" in caught.value.hint) == (2, True)
    settings = '[tool.ckptkit.metrics]\naccuracy = "max"\nloss = "min"\n'
    (scored.parent / "pyproject.toml").write_text(settings)
    assert resolve(scored, "penguins@best:accuracy").ref == "penguins/v0003"
    assert resolve(scored, "penguins@best:accuracy:min").ref == "penguins/v0001"
    assert resolve(scored, "penguins@best:val/loss").ref == "penguins/v0002"


def test_a_version_that_cannot_be_read_is_not_the_best(scored: Path) -> None:
    (scored / "penguins" / "v0002" / "lineage.json").unlink()
    (scored / "index.json").unlink()
    assert resolve(scored, "penguins@best:val/loss:min").ref == "penguins/v0003"


def test_where_no_version_has_the_metric_those_there_are_told(scored: Path) -> None:
    for metric in ("auc", "f1"):
        with pytest.raises(NotFoundError, match=f"no version of penguins has a value of '{metric}'") as caught:
            resolve(scored, f"penguins@best:{metric}:max")
        assert caught.value.hint == "metrics here: val/loss, train/loss, accuracy, f1"
    with pytest.raises(CkptkitError, match="the metric 'loss' of penguins could be val/loss or train/loss") as wrong:
        resolve(scored, "penguins@best:loss:min")
    assert wrong.value.exit_code == 2
    publish(scored, "whales", metrics={})
    with pytest.raises(NotFoundError, match="no version of whales") as none:
        resolve(scored, "whales@best:loss:min")
    assert none.value.hint == "metrics here: none yet"


def test_the_best_as_of_a_time(scored: Path) -> None:
    saved = [references.find(f"penguins/{number}", root=scored, cwd=scored).saved for number in (1, 2)]
    times = [event.time for event in saved if event]
    for time, version in zip(times, ("penguins/v0001", "penguins/v0002"), strict=True):
        found = references.find("penguins@best:val/loss:min", root=scored, cwd=scored, at=time)
        assert found.version.ref == version
