"""CK2, integrity: whether the files of a version are those that were sealed."""

from collections.abc import Iterator, Mapping

from ckptkit.checkpoint import CARD, LINEAGE, SUMS, Checkpoint, Unreadable, is_record
from ckptkit.record import Lineage
from ckptkit.rules.base import Fault, absent, intact, refused, rule, some, unread

_CLOSED = "cannot be read"


@rule("CK201", "SHA256SUMS is missing", of=Checkpoint, fix="restore SHA256SUMS from a copy, such as git")
def sums_missing(found: Checkpoint) -> Iterator[Fault]:
    """SHA256SUMS seals a version: it lists every file with its digest, and its own digest names the version.

    Without it nobody can tell whether these are the files that were saved.
    """
    if absent(found, SUMS) and not absent(found, LINEAGE):
        yield Fault("is missing: nothing here can be verified", SUMS)


@rule(
    "CK202",
    "SHA256SUMS cannot be read",
    of=Checkpoint,
    fix="restore SHA256SUMS from a copy, such as git",
    unless=("CK114",),
)
def sums_malformed(found: Checkpoint) -> Iterator[Fault]:
    """One line of SHA256SUMS that is not `<hex>  ./<path>` makes the whole file untrustworthy.

    Usual causes are converted line ends and an edit by hand.
    """
    if why := unread(found, SUMS, found.sums):
        yield refused(why, SUMS)


def _sums(found: Checkpoint) -> Mapping[str, str]:
    return found.sums if isinstance(found.sums, Mapping) else {}


def _missing(found: Checkpoint) -> list[str]:
    """What is sealed and not there, but for what was pruned."""
    return [path for path in _sums(found) if absent(found, path) and path not in found.pruned]


def _is_clone(found: Checkpoint, missing: list[str]) -> bool:
    """Whether every saved file is absent and every record is there, as in a git clone."""
    saved = [path for path in _sums(found) if not is_record(path) and path not in found.pruned]
    return bool(missing) and missing == saved


@rule("CK203", "a sealed file is missing", of=Checkpoint, fix="restore the file from a copy", unless=("CK101", "CK903"))
def file_missing(found: Checkpoint) -> Iterator[Fault]:
    """A file that SHA256SUMS lists is not there: the version is no longer whole."""
    missing = _missing(found)
    if not _is_clone(found, missing):
        for path in missing:
            yield Fault(f"is listed in {SUMS} and not there", path)


@rule(
    "CK204",
    "the weights are not here",
    of=Checkpoint,
    severity="warning",
    fix="copy the weights here from where the version was saved; SHA256SUMS verifies them",
    unless=("CK903",),
)
def weights_absent(found: Checkpoint) -> Iterator[Fault]:
    """All records are there and all saved files are absent, as in a git clone that leaves weights out.

    What the records say still holds; only the model cannot be used from here. A deep check calls it an error.
    """
    missing = _missing(found)
    if _is_clone(found, missing):
        yield Fault(f"not here: {some(missing)}", "", severity="error" if found.deep else None)


@rule(
    "CK205",
    "a sealed file was changed",
    of=Checkpoint,
    fix="restore the file from a copy; to change a version, save a new one",
    unless=("CK102", "CK103", "CK104", "CK107", "CK114", "CK804", "CK903"),
)
def file_changed(found: Checkpoint) -> Iterator[Fault]:
    """The bytes of a file are not those that were sealed: a version never changes after it was saved.

    Either the disk or a copy damaged it, or someone edited it.
    """
    for path, sha256 in _sums(found).items():
        now = found.hashed.get(path)
        if isinstance(now, str) and now != sha256:
            yield Fault("its bytes are not those that were sealed", path)


@rule("CK206", "a saved file has another size", of=Checkpoint, fix="restore the file from a copy", unless=("CK804",))
def size_changed(found: Checkpoint) -> Iterator[Fault]:
    """A saved file is shorter or longer than it was: cut off by a full disk, or by a copy that was interrupted.

    This needs no hashing, so a quick check finds it in large files too.
    """
    if not isinstance(found.lineage, Lineage):
        return
    for file in found.lineage.weights.files:
        entry = found.entries.get(file.path)
        if entry is None or entry.kind != "file" or file.path in found.hashed or entry.bytes == file.bytes:
            continue
        yield Fault(f"has {entry.bytes:,} bytes, and had {file.bytes:,} when it was saved", file.path)


@rule(
    "CK207",
    "a file that is not sealed",
    of=Checkpoint,
    fix="move the file out of the version's folder",
    unless=("CK903", "CK904"),
)
def file_extra(found: Checkpoint) -> Iterator[Fault]:
    """A file in a version folder that SHA256SUMS does not list was put there after the save.

    Programs that load the folder may read it, and nothing vouches for it.
    """
    if isinstance(found.sums, Mapping):
        for path, entry in found.entries.items():
            if entry.kind == "file" and path not in found.sums and path not in {CARD, SUMS}:
                yield Fault(f"is not listed in {SUMS}", path)


@rule(
    "CK208",
    "a sealed file cannot be read",
    of=Checkpoint,
    fix="give yourself the right to read it: chmod u+r",
    unless=("CK102", "CK107"),
)
def file_closed(found: Checkpoint) -> Iterator[Fault]:
    """What this user may not read, or what a failing disk does not give, cannot be verified."""
    for path in found.entries:
        hashed, header = found.hashed.get(path), found.headers.get(path)
        if isinstance(hashed, Unreadable):
            yield refused(hashed, path)
        elif isinstance(header, Unreadable) and header.reason.startswith(_CLOSED):
            yield refused(header, path)


@rule(
    "CK209",
    "lineage.json names other saved files than SHA256SUMS",
    of=Checkpoint,
    fix="restore both files from one copy",
    unless=("CK903",),
)
def weights_disagree(found: Checkpoint) -> Iterator[Fault]:
    """lineage.json and SHA256SUMS are written by the same save and give each saved file the same digest.

    Where they differ, one of them is from another version or was made by hand.
    """
    if not isinstance(found.lineage, Lineage) or not isinstance(found.sums, Mapping) or not intact(found, LINEAGE):
        return
    recorded = {file.path: file.sha256 for file in found.lineage.weights.files}
    sealed = {path: sha256 for path, sha256 in found.sums.items() if not is_record(path)}
    for path in sorted(recorded.keys() | sealed.keys()):
        if path not in sealed:
            yield Fault(f"names {path}, which {SUMS} does not list", LINEAGE)
        elif path not in recorded:
            yield Fault(f"does not name {path}, which {SUMS} lists", LINEAGE)
        elif recorded[path] != sealed[path]:
            yield Fault(f"gives {path} another digest than {SUMS}", LINEAGE)


@rule(
    "CK210",
    "lineage.json is of another configuration",
    of=Checkpoint,
    fix="restore lineage.json, config.yaml and SHA256SUMS from one copy",
    unless=("CK903",),
)
def config_disagrees(found: Checkpoint) -> Iterator[Fault]:
    """lineage.json bears the digest of the configuration file that lies beside it.

    Where SHA256SUMS seals another one, the hyperparameters are not those of this record.
    """
    if isinstance(found.lineage, Lineage) and found.lineage.config.file and intact(found, LINEAGE):
        sealed = _sums(found).get(found.lineage.config.file)
        if sealed is not None and sealed != found.lineage.config.sha256:
            yield Fault(f"gives {found.lineage.config.file} another digest than {SUMS}", LINEAGE)


@rule(
    "CK211",
    "a dataset's digest is not that of its manifest",
    of=Checkpoint,
    fix="restore lineage.json, the manifest and SHA256SUMS from one copy",
    unless=("CK903",),
)
def manifest_disagrees(found: Checkpoint) -> Iterator[Fault]:
    """The digest of a dataset that is a folder is the SHA-256 of its manifest, so that anyone can recompute it.

    Where the sealed manifest has another one, it lists the files of other data.
    """
    if isinstance(found.lineage, Lineage) and intact(found, LINEAGE):
        for dataset in found.lineage.data:
            sealed = _sums(found).get(dataset.manifest or "")
            if sealed is not None and dataset.digest != f"sha256:{sealed}":
                yield Fault(f"gives {dataset.name} another digest than {dataset.manifest} has", LINEAGE)


RULES = (
    sums_missing,
    sums_malformed,
    file_missing,
    weights_absent,
    file_changed,
    size_changed,
    file_extra,
    file_closed,
    weights_disagree,
    config_disagrees,
    manifest_disagrees,
)
