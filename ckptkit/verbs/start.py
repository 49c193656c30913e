"""start: what is there when a training begins, noted for its saves, and on this machine for one by another process."""

import atexit
import contextvars
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ckptkit import disk, names, redact, roots, started
from ckptkit.capture import attempt, config, hardware, intake, noted, observation, ranks, session
from ckptkit.capture.moment import moment, new_run
from ckptkit.data import datasets
from ckptkit.record import Compute


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A run that began: what was given, in the forms that a save takes, and what was there."""

    model: str | None
    config: Sequence[object]
    data: Mapping[str, object]
    root: Path
    start: session.Start
    warnings: tuple[str, ...]


def start(
    *,
    model: str | None,
    config: object,
    data: Mapping[str, object] | None,
    weights: Sequence[str | os.PathLike[str]],
    root: str | os.PathLike[str] | None,
    keep_secrets: bool,
) -> Begun:
    """Note what is there; see ``ckptkit.start``.

    Raises:
        CkptkitError: a name, a path, the configuration or the root cannot be used.
    """
    with redact.keeping_secrets(keep_secrets):
        return _start(model, config, data, weights, root)


def _start(
    model: str | None,
    config: object,
    data: Mapping[str, object] | None,
    weights: Sequence[str | os.PathLike[str]],
    root: str | os.PathLike[str] | None,
) -> Begun:
    cwd = Path.cwd()
    home = roots.default_root(root, cwd)
    roots.require_root(home)
    if model is not None:
        names.require_unlike(names.require_model(model), os.listdir(home) if home.is_dir() else (), "model")
    declared = datasets.declared({} if data is None else data, home)
    paths = {value: name for name, value in declared.items() if isinstance(value, Path)}
    given = intake.sources(config)
    sources = [cwd / disk.expand(each) if isinstance(each, str | os.PathLike) else each for each in given]
    outputs = [cwd / disk.expand(each) for each in weights]
    again, other = _reads_again(), ranks.other_rank() is not None
    begun = session.begin(
        moment(from_training=True, modified=None, cwd=cwd),
        run=new_run(),
        data={} if again or other else paths,
        sources=sources,
        cwd=cwd,
        exclude=[home, *outputs, *paths],
    )
    unwritten: dict[str, str] = {}
    if not again:
        attempt(unwritten, "run", lambda: _note(begun, model, sources, outputs, home, other=other), None)
    return Begun(
        model=model,
        config=sources,
        data=declared,
        root=home,
        start=begun,
        warnings=tuple(f"the start is not noted on disk: {why}" for why in unwritten.values()),
    )


def _reads_again() -> bool:
    """Whether a worker of multiprocessing reads the script once more, for its functions; then it is no other run."""
    processes = sys.modules.get("multiprocessing.process")
    return processes is not None and getattr(processes.current_process(), "_inheriting", False)


def _note(
    begun: session.Start,
    model: str | None,
    sources: Sequence[object],
    outputs: Sequence[Path],
    root: Path,
    *,
    other: bool,
) -> None:
    """Note the run on disk now, and again when its process ends; a rank that will not save notes its machine alone."""
    roots.open_root(root)
    notes = started.folder(root) / "ranks"
    if other:
        _note_machine(begun, notes, hardware.hardware({}))
        return
    project = begun.now.project
    resolved = config.resolve(sources, project=project, unknown={}, strict=False)
    process, main = os.getpid(), sys.modules["__main__"]
    script = getattr(main, "__file__", None)

    def write(ended: float | None) -> Compute:
        unknown: dict[str, str] = {}
        seen = observation.observe(
            begun.now,
            exclude=[root, *outputs, *begun.data],
            python=None,
            unknown=unknown,
            before=begun.code,
            notes=notes,
            begins=ended is None,
        )
        run, files = noted.note(
            begun, seen, root=root, model=model, weights=outputs, resolved=resolved, ended=ended, unknown=unknown
        )
        started.write(root, run, files)
        return seen.compute

    def end() -> None:
        if os.getpid() == process:  # not in a fork
            if script is not None:
                main.__file__ = script  # which Python takes away once the script has run
            attempt({}, "run", again, None)

    def again() -> None:
        if started.is_there(root, begun.id):  # else somebody removed it
            write(time.time())

    _note_machine(begun, notes, write(None))
    atexit.register(contextvars.copy_context().run, end)  # with secrets kept, if they are


def _note_machine(begun: session.Start, notes: Path, machine: hardware.Hardware | Compute) -> None:
    """Note the machine of a rank, where this is one of several."""
    if begun.now.started is not None and ranks.distributed():
        facts = {name: getattr(machine, name) for name in ("platform", "cpu", "memory", "gpus", "driver", "libraries")}
        ranks.note(notes, begun.now.started, facts)
