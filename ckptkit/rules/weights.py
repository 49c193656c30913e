"""CK8, weights safety: whether the saved files can be loaded without running code, and are what they claim."""

from collections.abc import Iterator

from ckptkit.checkpoint import LINEAGE, Checkpoint, Unreadable
from ckptkit.pickles import HOSTILE, LISTED
from ckptkit.record import Lineage
from ckptkit.rules.base import Fault, intact, refused, rule
from ckptkit.weights import Header


def _dangerous(found: Checkpoint) -> Iterator[tuple[str, Header]]:
    for path, header in found.headers.items():
        if isinstance(header, Header) and header.dangers:
            yield path, header


@rule(
    "CK801",
    "a saved file is a pickle",
    of=Checkpoint,
    severity="warning",
    fix="save tensors and arrays as safetensors, and scikit-learn estimators with skops",
    unless=("CK802",),
)
def pickled(found: Checkpoint) -> Iterator[Fault]:
    """Loading a pickle runs whatever code it names, and it loads only under the libraries that wrote it.

    Fine for your own use; nobody else should have to trust it. What it imports was learnt without loading it.
    torch.load(..., weights_only=True) refuses whatever is more than tensors and plain values.
    """
    for path, header in _dangerous(found):
        hint = "load it with weights_only=True and never without" if header.dangers == (LISTED,) else ""
        yield Fault("; ".join(header.dangers), path, hint)


@rule(
    "CK802",
    "a pickle would run foreign code",
    of=Checkpoint,
    fix="do not load this file; find out where it came from",
)
def hostile(found: Checkpoint) -> Iterator[Fault]:
    """The pickle imports something that no model needs, such as os.system or eval, or hides what it imports.

    Loading it would run that, with all your rights.
    """
    for path, header in _dangerous(found):
        if any(danger.startswith(HOSTILE) for danger in header.dangers):
            yield Fault("; ".join(header.dangers), path)


@rule(
    "CK803",
    "a saved file is not what it claims",
    of=Checkpoint,
    fix="restore the file from a copy, or save it again",
    unless=("CK205", "CK206", "CK208"),
)
def broken_header(found: Checkpoint) -> Iterator[Fault]:
    """The header of the file is refused: it is cut off, describes bytes that are not there, or has a false extension.

    A strict reader refuses it too, and a lenient one may load something else.
    """
    for path, header in found.headers.items():
        if isinstance(header, Unreadable):
            yield refused(header, path)


@rule(
    "CK804",
    "a Git LFS pointer stands in place of the weights",
    of=Checkpoint,
    fix="run git lfs pull in the repository",
)
def lfs_pointer(found: Checkpoint) -> Iterator[Fault]:
    """The repository was cloned without its large files: this small text only says where the weights are."""
    for path, header in found.headers.items():
        if isinstance(header, Header) and header.format == "git-lfs pointer":
            yield Fault("is a Git LFS pointer, not the weights", path)


@rule(
    "CK805",
    "lineage.json describes other weights",
    of=Checkpoint,
    fix="restore the file and lineage.json from one copy",
    unless=("CK903",),
)
def header_differs(found: Checkpoint) -> Iterator[Fault]:
    """Numbers of parameters and dtypes in lineage.json were read from the files when they were saved.

    A file whose header says otherwise is another one.
    """
    if not isinstance(found.lineage, Lineage):
        return
    for file in found.lineage.weights.files:
        header = found.headers.get(file.path)
        if not isinstance(header, Header) or not intact(found, LINEAGE, file.path):
            continue
        for name, said, now in (
            ("parameters", file.parameters, header.parameters),
            ("dtypes", file.dtypes, header.dtypes),
        ):
            if said is not None and now is not None and said != now:
                yield Fault(f"gives {file.path} other {name} than its header: {said}, not {now}", LINEAGE)


RULES = (pickled, hostile, broken_header, lfs_pointer, header_differs)
