"""The interpreter: which Python is meant, its build and flags, and the kind of environment it runs in."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ckptkit import redact
from ckptkit.capture.command import ProbeError, run
from ckptkit.record import Interpreter

SECONDS = 20.0
"""How long another interpreter may take to say what it is."""

_FACTS = (
    "import json, platform as p, sys; print(json.dumps(dict(implementation=p.python_implementation(),"
    " version=p.python_version(), banner=sys.version, prefix=sys.prefix, base_prefix=sys.base_prefix,"
    " path=[folder for folder in sys.path if folder])))"
)
_NEVER_UNSET = "int_max_str_digits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """What an interpreter says of itself; ``flags`` only where it is this process, whose flags trained."""

    implementation: str
    version: str
    banner: str
    prefix: str
    base_prefix: str
    path: Sequence[str]
    flags: Mapping[str, int] = field(default_factory=dict)

    def recorded(self) -> Interpreter:
        """What the record holds of it."""
        kind: Literal["virtual environment", "conda", "system"] = "system"
        if self.prefix != self.base_prefix:
            kind = "virtual environment"
        elif Path(self.prefix, "conda-meta").is_dir():
            kind = "conda"
        build = redact.text(" ".join(self.banner.partition(" ")[2].split()))
        return Interpreter(
            implementation=self.implementation, version=self.version, build=build or None, kind=kind, flags=self.flags
        )


def training() -> Python:
    """This process's interpreter, where this process trained: with the flags that are set (``sys.flags``)."""
    flags = {name: int(getattr(sys.flags, name)) for name in sys.flags.__match_args__ if name != _NEVER_UNSET}
    return _own({name: value for name, value in flags.items() if value})


def meant(asked: str | None, project: Path, unknown: dict[str, str]) -> tuple[str, Python | None]:
    """Where the distributions are read when another process trained, and what the interpreter there says.

    Args:
        asked: an interpreter, or an environment's folder; None for the active environment's, else ckptkit's own.
        project: how paths are shown.
        unknown: takes the reason where an interpreter does not answer.
    """
    if asked is not None:
        source = f"--python {redact.path(Path(asked), project)[0] if os.sep in asked else asked}"
        try:
            return source, _other(asked)
        except ProbeError as error:
            unknown["code.environment"] = f"{source}: {redact.text(error.message, project=project)}"
            return source, None
    variable = next((name for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if os.environ.get(name)), None)
    if variable is None:
        return "the interpreter of ckptkit", _own({})
    try:
        return f"${variable}", _other(os.environ[variable])
    except ProbeError as error:
        unknown["code.environment.source"] = f"${variable}: {redact.text(error.message, project=project)}"
        return f"the interpreter of ckptkit, as that of ${variable} does not work", _own({})


def _own(flags: Mapping[str, int]) -> Python:
    import platform

    return Python(
        implementation=platform.python_implementation(),
        version=platform.python_version(),
        banner=sys.version,
        prefix=sys.prefix,
        base_prefix=sys.base_prefix,
        path=sys.path,
        flags=flags,
    )


def _other(where: str) -> Python:
    """What the interpreter says that is named, or lies at a path or in an environment's folder.

    Raises:
        ProbeError: there is none, or it does not answer.
    """
    import shutil

    folder = Path(where)
    executable = shutil.which(folder / "bin" / "python" if folder.is_dir() else folder)
    if executable is None:
        raise ProbeError("there is no such interpreter")
    executable = os.path.abspath(executable)  # noqa: PTH100 - resolving the link would leave the environment
    prefix = os.path.realpath(Path(executable).parent.parent)
    if prefix == os.path.realpath(sys.prefix) and os.path.realpath(executable) == os.path.realpath(sys.executable):
        return _own({})
    # Not -I: training saw the user's site-packages and PYTHONPATH. Not here: a json.py beside us would be imported.
    said = run([executable, "-c", _FACTS], seconds=SECONDS, cwd=Path("/"))
    try:
        return Python(**json.loads(said.splitlines()[-1]))
    except (ValueError, TypeError, IndexError):
        raise ProbeError("it does not answer as Python does") from None
