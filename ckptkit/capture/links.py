"""Links: the same run in another system, live in this process or given by its address. Nothing is imported or asked."""

import os
import re
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from ckptkit import redact
from ckptkit.capture import attempt, process
from ckptkit.errors import CkptkitError
from ckptkit.record import Link


def links(unknown: dict[str, str], *, project: Path | None = None) -> tuple[Link, ...]:
    """The runs that are live in this process: of wandb, MLflow and trackio, and the folders of TensorBoard writers.

    MLflow and trackio tell of the run of this thread alone; of MLflow, one that was made by its client is not seen.

    Args:
        unknown: takes the reason where a system that is loaded could not be read.
        project: the folder that paths are recorded relative to; that of the working directory without one.
    """
    failed: dict[str, str] = {}
    found: list[Link] = []
    none: tuple[Link, ...] = ()
    for system, live in _SYSTEMS.items():
        found += attempt(failed, system, partial(live, project), none)
    if any(link.id is None for link in found):
        failed["tensorboard"] = "a writer's folder is not on this disk, or the working directory has changed"
    if failed:
        unknown["run.links"] = "; ".join(f"{system}: {why}" for system, why in failed.items())
    return tuple(replace(link, id=link.id and redact.text(link.id)) for link in found)  # some are named by user or host


def _wandb(_: Path | None) -> tuple[Link, ...]:
    run = getattr(sys.modules.get("wandb"), "run", None)
    if run is None or run.disabled:
        return ()
    # An offline run is asked for no address: it would complain on stderr.
    return (Link(system="wandb", id=f"{run.project}/{run.id}", url=None if run.offline else _address(run.url)),)


def _mlflow(_: Path | None) -> tuple[Link, ...]:
    fluent = sys.modules.get("mlflow.tracking.fluent")
    run = fluent.active_run() if fluent else None
    if run is None:
        return ()
    server = _address(sys.modules["mlflow"].get_tracking_uri())
    place = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    return (Link(system="mlflow", id=run.info.run_id, url=f"{server.rstrip('/')}/{place}" if server else None),)


def _trackio(_: Path | None) -> tuple[Link, ...]:
    context = sys.modules.get("trackio.context_vars")
    run = _held(context, "current_run")
    if run is None:
        return ()
    space = _held(context, "current_space_id")
    url = f"https://huggingface.co/spaces/{space}" if space else _held(context, "current_server")
    return (Link(system="trackio", id=f"{run.project}/{run.name}", url=_address(url)),)


def _held(context: ModuleType | None, name: str) -> Any:  # noqa: ANN401 - whatever the variable holds
    variable = getattr(context, name, None)
    return None if variable is None else variable.get()


_WRITERS = ("tensorboard.summary.writer.event_file_writer", "tensorboardX.event_file_writer")


def _tensorboard(project: Path | None) -> tuple[Link, ...]:
    """The folders that a writer is at work on.

    A writer is known by its thread: that of torch opens its file anew for each write. TensorFlow's is native, and holds
    it open.
    """
    threads = [thread for thread in threading.enumerate() if type(thread).__module__ in _WRITERS]
    files = [_event_file(vars(thread)["_record_writer"]) for thread in threads]
    if "tensorflow" in sys.modules:
        import psutil

        opened = psutil.Process().open_files()
        files += [each.path for each in opened if ".tfevents." in each.path and getattr(each, "mode", "w") != "r"]
    home = project or process.project(Path.cwd())
    there = {Path(file).parent: Path(file).exists() for file in files}
    return tuple(
        Link(system="tensorboard", id=redact.path(folder, home)[0] if exists else None, url=None)
        for folder, exists in there.items()
    )


def _event_file(writer: Any) -> str:  # noqa: ANN401 - of either package
    """The file of tensorboardX's writer, or of tensorboard's, which is over its own kind of file or TensorFlow's."""
    if hasattr(writer, "_file_name"):
        return str(writer._file_name)  # noqa: SLF001 - nothing public tells it
    file = writer._writer  # noqa: SLF001 - the same
    return os.fsdecode(file.filename if hasattr(file, "filename") else file.name)


_SYSTEMS: Mapping[str, Callable[[Path | None], tuple[Link, ...]]] = {
    "wandb": _wandb,
    "mlflow": _mlflow,
    "trackio": _trackio,
    "tensorboard": _tensorboard,
}

_HOSTS = {"wandb.ai": "wandb", "comet.com": "comet", "clear.ml": "clearml"}
_MLFLOW = re.compile(r"(?:#|/ml)/experiments/")


def given(text: object) -> Link:
    """The link to a run by its address, without credentials; its system is guessed from it, else it is ``link``.

    Raises:
        CkptkitError: it is no http or https address.
    """
    url = text.strip() if isinstance(text, str) else ""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:  # brackets that hold no address
        host = ""
    if not host or not re.fullmatch(r"https?://\S+", url, re.IGNORECASE):
        raise CkptkitError(
            f"{redact.text(str(text))!r} is no address of a run",
            "give its URL, such as https://wandb.ai/team/project/runs/1a2b",
        )
    known = (system for name, system in _HOSTS.items() if host == name or host.endswith(f".{name}"))
    return Link(system=next(known, "mlflow" if _MLFLOW.search(url) else "link"), id=None, url=redact.text(url))


def _address(url: object) -> str | None:
    """An address as it may be recorded; None for what is none, such as a file or a database."""
    return redact.url(url) if isinstance(url, str) and url.startswith(("http://", "https://")) else None
