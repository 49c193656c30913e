"""The sidecar of a step, ``OUT.lineage.json`` beside what the step wrote: where it is, read and written."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ckptkit import __version__, disk, documents
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.record import STEP, Sidecar, Step, Tool

SUFFIX = ".lineage.json"

LIMIT = 512 << 10
"""Most bytes of a sidecar: some 1,500 inputs. What a chain of them brings into a version stays readable."""


def path(output: Path) -> Path:
    """Where the sidecar of a file or folder is, whether or not there is one."""
    return output.with_name(f"{output.name}{SUFFIX}")


_SIBLINGS = 1_000
"""Most outputs of steps in one folder that are told apart from code."""


def family(paths: Iterable[Path]) -> list[Path]:
    """Data with what other steps made beside it, and the sidecars of all: none of it is code."""
    data = [each for each in paths if each.name]
    data += (made for folder in {each.parent for each in data} for made in outputs(folder)[:_SIBLINGS])
    return [*data, *map(path, data)]


def outputs(folder: Path) -> list[Path]:
    """What lies directly in a folder and has a sidecar, by name; nothing where it is no folder."""
    try:
        names = [name.removesuffix(SUFFIX) for name in os.listdir(folder) if name.endswith(SUFFIX)]
    except (OSError, ValueError):
        return []
    return [folder / name for name in sorted(names) if name and os.path.lexists(folder / name)]


def require_free(output: Path) -> None:
    """Refuse an output whose sidecar would take the place of a file that is not ckptkit's.

    Raises:
        CkptkitError: there is one.
    """
    file = path(output)
    try:
        if not os.path.lexists(file) or b'"ckptkit/step/' in disk.read_regular(file, LIMIT):
            return
    except FormatError:
        pass
    raise CkptkitError(f"{file}, which would hold the record, is not ckptkit's", "rename it, or the output")


def read(output: Path) -> Sidecar | None:
    """The sidecar of a file or folder; None where there is none.

    Raises:
        FormatError: it cannot be read, or is not of its format.
    """
    file = path(output)
    if not os.path.lexists(file):
        return None
    return Sidecar.from_dict(documents.load_json(disk.read_regular(file, LIMIT)))


def write(output: Path, step: Step, unknown: Mapping[str, str]) -> Sidecar:
    """Write the sidecar of what a step wrote, in place of an earlier one.

    Args:
        output: the file or folder that the step wrote.
        step: what is known of it.
        unknown: why the rest is not, by dotted path such as ``step.code``.

    Raises:
        CkptkitError: it is too large, or the disk refuses.
    """
    made = Sidecar(schema=STEP, step=step, unknown=unknown, tool=Tool(name="ckptkit", version=__version__))
    data = documents.dump_json(made.to_dict())
    if len(data) > LIMIT:
        words = f"the record of the step {step.name} would take {len(data):,} bytes; at most {LIMIT:,} are kept"
        raise CkptkitError(words, "name a folder as input in place of its files, and only parameters that decide")
    try:
        disk.replace(path(output), data)
    except OSError as error:
        raise CkptkitError(f"{path(output)} cannot be written: {disk.reason(error)}", disk.advice(error)) from error
    return made
