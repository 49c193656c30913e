"""The verb ``data diff``: the files that differ between the datasets of two versions, from their records alone."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ckptkit import checkpoint, inventory, references, roots
from ckptkit.errors import CkptkitError, FormatError, NotFoundError
from ckptkit.inventory import File
from ckptkit.record import Dataset, Event, Lineage
from ckptkit.registry import Version

Pair = tuple[File, File]


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """How the files of a dataset differ; ``same`` counts those of one content under one path.

    ``renamed`` have one content under two paths. Of ``unknown`` the content of one side, or both, was never hashed, and
    no sizes tell them apart.
    """

    same: int
    added: Sequence[File]
    removed: Sequence[File]
    changed: Sequence[Pair]
    renamed: Sequence[Pair]
    unknown: Sequence[Pair]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A dataset in two versions; None where one has none of that name.

    ``files`` is None where one side lists none, or where equal digests say it all; ``source`` has what was noted of the
    sources and differs, by key; ``reason`` says why a digest is not known.
    """

    before: Dataset | None
    after: Dataset | None
    files: Files | None
    source: Mapping[str, tuple[Any, Any]]
    reason: str | None

    @property
    def state(self) -> Literal["same", "different", "unknown", "added", "removed"]:
        """What it comes to. With equal digests it is the same wherever it lay; unknown content is never the same."""
        one, two, files = self.before, self.after, self.files
        if one is None or two is None:
            return "added" if one is None else "removed"
        if one.digest and two.digest:
            return "same" if one.digest == two.digest else "different"
        counts = ((one.files, two.files), (one.bytes, two.bytes))
        if any(None not in sides and sides[0] != sides[1] for sides in counts):
            return "different"
        return "different" if files and (files.added or files.removed or files.changed) else "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataDiff:
    """Two versions, and how each dataset of theirs differs, by name."""

    before: Version
    after: Version
    datasets: Mapping[str, Difference]

    @property
    def differs(self) -> bool:
        """Whether it is certain of any dataset that it is not the same."""
        return any(each.state not in {"same", "unknown"} for each in self.datasets.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """A version with its record and the digests that were added to it."""

    version: Version
    lineage: Lineage
    digested: Mapping[str, Event]

    def recorded(self, name: str) -> Dataset | None:
        return next((each for each in self.lineage.data if each.name == name), None)

    def known(self, name: str) -> Dataset | None:
        dataset = self.recorded(name)
        return inventory.known(dataset, self.digested.get(name)) if dataset else None

    def files(self, name: str) -> Iterator[File] | None:
        dataset = self.recorded(name)
        return inventory.files(self.version.path, dataset, self.digested.get(name)) if dataset else None


def data_diff(
    before: str, after: str, name: str | None = None, *, root: str | os.PathLike[str] | None = None
) -> DataDiff:
    """Compare the datasets of two versions, those of one name with each other. The data need not be at hand.

    Args:
        before: a reference such as ``penguins/1``.
        after: another one.
        name: only the dataset of this name.
        root: the registry root; see ``roots.default_root``.

    Raises:
        CkptkitError: one is no reference, or its record or a list of files is damaged.
        NotFoundError: a reference, or the name, names nothing.
    """
    home = roots.default_root(root, Path.cwd())
    one, two = _side(before, home), _side(after, home)
    names = dict.fromkeys(each.name for side in (one, two) for each in side.lineage.data)
    if name is not None and name not in names:
        words = f"neither {one.version.ref} nor {two.version.ref} has a dataset {name!r}"
        raise NotFoundError(words, f"their datasets are {', '.join(names) or 'none'}")
    datasets = {each: _difference(each, one, two) for each in names if name in {None, each}}
    return DataDiff(before=one.version, after=two.version, datasets=datasets)


def _side(ref: str, root: Path) -> _Side:
    found = references.find(ref, root=root, cwd=Path.cwd())
    try:
        lineage = checkpoint.read_lineage(found.version.path)
    except FormatError as error:
        where = found.version.path / checkpoint.LINEAGE
        raise CkptkitError(f"{where} {error.message}", f"see `ckptkit check {found.version.path}`") from error
    return _Side(version=found.version, lineage=lineage, digested=found.digested)


def _difference(name: str, one: _Side, two: _Side) -> Difference:
    before, after = one.known(name), two.known(name)
    lacking = (side for side, known in ((one, before), (two, after)) if known and known.digest is None)
    reasons = [side.lineage.unknown.get(f"data.{name}.digest", "its digest is not known") for side in lacking]
    noted = [(known.source if known else None) or {} for known in (before, after)]
    values = {key: (noted[0].get(key), noted[1].get(key)) for key in dict.fromkeys([*noted[0], *noted[1]])}
    is_same = before is not None and after is not None and before.digest is not None and before.digest == after.digest
    return Difference(
        before=before,
        after=after,
        files=None if is_same else _files(one.files(name), two.files(name), alone=_are_files(before, after)),
        source={key: sides for key, sides in values.items() if sides[0] != sides[1]},
        reason="; ".join(dict.fromkeys(reasons)) or None,
    )


def _are_files(*datasets: Dataset | None) -> bool:
    """Whether each is one file, which is compared with the other whatever its name is."""
    return all(each is not None and each.kind == "file" for each in datasets)


def _files(before: Iterator[File] | None, after: Iterator[File] | None, *, alone: bool) -> Files | None:
    if before is None or after is None:
        return None
    same, gone, new = 0, list[File](), list[File]()
    changed, unknown = list[Pair](), list[Pair]()
    for one, two in zip(before, after, strict=True) if alone else inventory.pairs(before, after):
        if two is None:
            gone += [one] if one else []
        elif one is None:
            new.append(two)
        elif (equal := _is_equal(one, two)) is None:
            unknown.append((one, two))
        elif equal:
            same += 1
        else:
            changed.append((one, two))
    renamed = list(_renamed(gone, new))
    left, came = ({pair[side].path for pair in renamed} for side in (0, 1))
    return Files(
        same=same,
        added=[file for file in new if file.path not in came],
        removed=[file for file in gone if file.path not in left],
        changed=changed,
        renamed=renamed,
        unknown=unknown,
    )


def _is_equal(one: File, two: File) -> bool | None:
    """Whether two files have one content; None where only their sizes, which are equal, or neither can be compared."""
    if one.sha256 and two.sha256:
        return one.sha256 == two.sha256
    return False if None not in {one.bytes, two.bytes} and one.bytes != two.bytes else None


def _renamed(gone: Sequence[File], new: Sequence[File]) -> Iterator[Pair]:
    """Files that went and files that came with the same content, each once, in the order of their paths."""
    places: dict[str, list[File]] = {}
    for file in reversed(gone):
        if file.sha256:
            places.setdefault(file.sha256, []).append(file)
    for file in new:
        if file.sha256 and places.get(file.sha256):
            yield places[file.sha256].pop(), file
