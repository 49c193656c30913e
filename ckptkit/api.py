"""The edge towards Python: the verbs as functions. Nothing on stdout; ``save`` writes one line to stderr."""

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ckptkit.capture.intake import Request
from ckptkit.registry import Version
from ckptkit.words import inert

Paths = str | os.PathLike[str]


def save(  # noqa: PLR0913 - keyword arguments, each a fact of its own
    weights: Paths | Sequence[Paths] | Mapping[str, Any] | object,
    *,
    model: str,
    config: object = None,
    data: Mapping[str, object] | None = None,
    metrics: Mapping[str, object] | None = None,
    aliases: Sequence[str] = (),
    only_if: str | None = None,
    keep_last: int | None = None,
    keep_best: str | Sequence[str] | None = None,
    parents: Sequence[object] = (),
    base_models: Sequence[str] = (),
    tags: Mapping[str, object] | None = None,
    step: int | None = None,
    epoch: float | None = None,
    message: str | None = None,
    card: Mapping[str, object] | None = None,
    exclude: Sequence[str] = (),
    move: bool = False,
    root: Paths | None = None,
    all_ranks: bool = False,
) -> Version | None:
    """Save what a training made as one immutable model version, with the record of how it came to be.

    Args:
        weights: a file or folder, several of them, or weights in memory: a dict of arrays or tensors, or a torch module
            (written as model.safetensors; needs the package safetensors).
        model: the registered model; made when it is new.
        config: the hyperparameters: a path to YAML or JSON, a dict, dataclass, ``argparse.Namespace``, OmegaConf,
            pydantic or ml_collections object; or a list of them, later ones overriding.
        data: the datasets by name: paths of files or folders, arrays, data frames.
        metrics: the results by name: numbers, or ``{"value", "split", "n", "ci", "slices"}``.
        aliases: names that move to this version, such as ``candidate``.
        only_if: they move only if this version is better in a metric, such as ``val_loss:min``, than the one on which
            they stand by then; also where other processes save at the same time.
        keep_last: of this run, only so many of the newest versions keep their weights; the record of the others stays.
        keep_best: the best of this run by a metric, such as ``val_loss:min``, keeps its weights too. Versions that
            bear an alias or a stage always do.
        parents: versions or files that this one was made from; a pair with the relation, or ``"REF:RELATION"``.
        base_models: ids of models from elsewhere, with ``@REVISION`` where known.
        tags: free facts.
        step: optimizer steps so far.
        epoch: epochs so far.
        message: one line on why this version is.
        card: answers to what only people know, such as ``license`` or ``intended_use``.
        exclude: shell patterns of files that are left out of folders.
        move: remove the weights from where they are, once the version is published.
        root: the registry root.
        all_ranks: save on every rank of a distributed training, not on the first alone.

    Returns:
        The version; None on the ranks that do not save.

    Raises:
        CkptkitError: weights, model name or root cannot be used. Whatever else is wrong is warned about and recorded
            as unknown. Weights in memory are first written to the working directory, and the message names the file.
    """
    from ckptkit import state_dict
    from ckptkit.capture import ranks
    from ckptkit.verbs.save import save as save_verb

    state_dict.refuse_sharded(weights)
    rank = None if all_ranks else ranks.other_rank()
    if rank is not None:
        _tell(f"not saving {model}: this is {rank} (all_ranks=True saves on every one)")
        return None
    saved = save_verb(
        Request(
            weights=[weights] if isinstance(weights, str | os.PathLike) else weights,
            model=model,
            from_training=True,
            config=config,
            data=data if data is not None else {},
            metrics=metrics if metrics is not None else {},
            aliases=aliases,
            only_if=only_if,
            keep_last=keep_last,
            keep_best=keep_best,
            parents=parents,
            base_models=base_models,
            tags=tags or {},
            step=step,
            epoch=epoch,
            message=message,
            card=card or {},
            exclude=[exclude] if isinstance(exclude, str) else exclude,
            move=move,
            root=root,
        )
    )
    version = saved.version
    _tell("; ".join([f"saved {version.ref} in {shown(version.path)} ({version.digest[:15]}…)", *saved.notes]))
    for words in saved.warnings:
        _tell(f"warning: {words}")
    return version


def _tell(words: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # stderr is closed: nobody listens
        sys.stderr.write(f"ckptkit: {inert(words)}\n")


def shown(path: Path) -> str:
    """A path as short as it gets: relative where there is a working directory that it is below."""
    with contextlib.suppress(OSError, ValueError):
        return os.fspath(path.relative_to(Path.cwd()))
    return os.fspath(path)


def path(
    ref: Version | str,
    file: str | None = None,
    *,
    root: Paths | None = None,
    at: str | None = None,
    verify: bool = True,
) -> Path:
    """The verified path of a version's folder, or of one file in it.

    Args:
        ref: a reference such as ``penguins@champion``.
        file: the path of a file in the version.
        root: the registry root.
        at: read the reference as of this time, RFC 3339 or a date.
        verify: compare the bytes with SHA256SUMS first, by way of the hash cache.

    Raises:
        CkptkitError: it names nothing, or the bytes are not those that were saved.
    """
    from ckptkit.verbs.path import path as path_verb

    return path_verb(ref.ref if isinstance(ref, Version) else ref, file, root=root, at=at, verify=verify)


def versions(model: str | None = None, *, root: Paths | None = None) -> list[Version]:
    """All versions of a model, or of all models, by model and number; one without a digest is damaged and left out.

    Args:
        model: the registered model; None for all.
        root: the registry root.

    Raises:
        CkptkitError: there is no such model or root.
    """
    from ckptkit.verbs.list import versions as versions_verb

    return versions_verb(model, root=root)
