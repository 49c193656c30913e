"""The edge towards Python: the verbs as functions. Nothing on stdout; ``save`` writes one line to stderr."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptkit import redact
from ckptkit.bar import Bar
from ckptkit.capture.intake import Request
from ckptkit.errors import CkptkitError
from ckptkit.registry import Version
from ckptkit.words import inert

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from ckptkit.capture.session import Start
    from ckptkit.data.preparation import Preparation

Paths = str | os.PathLike[str]


def save(  # noqa: PLR0913 - keyword arguments, each a fact of its own
    weights: Paths | Sequence[Paths] | Mapping[str, Any] | object,
    *,
    model: str,
    config: object = None,
    data: Mapping[str, object] | None = None,
    manifests: Mapping[str, Paths] | None = None,
    data_budget: float | str | None = None,
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
    optimizer: object = None,
    optimizer_state: bool = False,
    scheduler: object = None,
    dataloader: object = None,
    not_applicable: Mapping[str, str] | None = None,
    links: str | Sequence[str] = (),
    bundle: bool = False,
    keep_secrets: bool = False,
    run: "Run | None" = None,
) -> Version | None:
    """Save what a training made as one immutable model version, with the record of how it came to be.

    Args:
        weights: a file or folder, several of them, or weights in memory: a dict of arrays or tensors, or a torch module
            (written as model.safetensors; needs the package safetensors).
        model: the registered model; made when it is new.
        config: the hyperparameters: a path to YAML or JSON, a dict, dataclass, ``argparse.Namespace``, OmegaConf,
            pydantic or ml_collections object; or a list of them, later ones overriding.
        data: the datasets by name: paths of files or folders, arrays, data frames.
        manifests: by the name of a dataset, a file that ``sha256sum`` wrote: it stands in for hashing.
        data_budget: how long data may be hashed, in seconds or as ``"5m"``; what is not done by then is recorded by
            names and sizes, and ``ckptkit data digest REF NAME`` adds its digest later. Data that was hashed before and
            is unchanged takes none of it.
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
        optimizer: the optimizer, several of them in a list, or by name in a dict: its class and parameter groups.
        optimizer_state: save the state of torch optimizers too, as files of their own that
            ``torch.load(weights_only=True)`` reads.
        scheduler: the learning rate's schedule, or several: its class and state.
        dataloader: what the batches came from, or several: batch size, sampler, workers.
        not_applicable: of hyperparameters that there are none of, the reason: ``{"batch_size": "full batch"}``.
        links: addresses of the same run elsewhere, besides those of wandb, MLflow, trackio and TensorBoard, which are
            found.
        bundle: store the commits that are on no remote, with their history and all that it holds.
        keep_secrets: leave tokens and passwords where they are found; else a mark stands in their place.
        run: what ``start`` returned.

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
    request = Request(
        weights=[weights] if isinstance(weights, str | os.PathLike) else weights,
        model=model,
        from_training=True,
        config=config,
        data=data if data is not None else {},
        manifests=manifests or {},
        data_budget=data_budget,
        start=run.noted if run is not None else None,
        optimizer=optimizer,
        optimizer_state=optimizer_state,
        scheduler=scheduler,
        dataloader=dataloader,
        not_applicable=not_applicable or {},
        links=links,
        bundle=bundle,
        keep_secrets=keep_secrets,
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
    with Bar() as bar:
        saved = save_verb(request, progress=bar, expect=bar.expect if bar.is_shown else None)
    version = saved.version
    _tell("; ".join([f"saved {version.ref} in {shown(version.path)} ({version.digest[:15]}…)", *saved.notes]))
    for words in saved.warnings:
        _tell(f"warning: {words}")
    return version


def start(
    *,
    model: str | None = None,
    config: object = None,
    data: Mapping[str, object] | None = None,
    weights: Paths | Sequence[Paths] = (),
    root: Paths | None = None,
    keep_secrets: bool = False,
) -> "Run":
    """Note, at the top of a training script, what is there: the declared data, the work tree and the configuration.

    Names and paths are checked at once, and the data is hashed in the background, at low priority, while training runs.
    ``Run.save`` then records what of it changed meanwhile, file by file; a digest is of what is there by then. Paths
    stay those of the working directory at the start.

    What is there is noted below the root too (``.ckptkit/started/``), and once more when the process ends: so
    ``ckptkit save`` at the command line knows which process trained, by the weights or the model that it named.

    Args:
        model: the registered model that will be saved.
        config: the hyperparameters, as ``save`` takes them. Files count as they are now.
        data: the datasets by name, as ``save`` takes them.
        weights: the files or folders that the training will write, for a save by another process.
        root: the registry root.
        keep_secrets: leave tokens and passwords in what is noted.

    Raises:
        CkptkitError: a name, a path, the configuration or the root cannot be used.
    """
    from ckptkit.verbs.start import start as start_verb

    begun = start_verb(
        model=model,
        config=config,
        data=data,
        weights=[weights] if isinstance(weights, str | os.PathLike) else weights,
        root=root,
        keep_secrets=keep_secrets,
    )
    for words in begun.warnings:
        _tell(f"warning: {words}")
    return Run(
        model=begun.model,
        config=begun.config,
        data=begun.data,
        root=begun.root,
        noted=begun.start,
        keep_secrets=keep_secrets,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A training that said when it started; ``noted`` is what was there then."""

    model: str | None
    config: object
    data: Mapping[str, object]
    root: Path
    noted: "Start"
    keep_secrets: bool = False

    def save(
        self,
        weights: Paths | Sequence[Paths] | Mapping[str, Any] | object,
        *,
        model: str | None = None,
        data: Mapping[str, object] | None = None,
        **facts: Any,  # noqa: ANN401 - those of save
    ) -> Version | None:
        """Save a version of this run; see ``ckptkit.save``.

        Args:
            weights: what the training made.
            model: in place of the one that the run was started with.
            data: further datasets.
            facts: whatever else ``save`` takes; a ``config`` is in place of the one that the run was started with.

        Raises:
            CkptkitError: as ``save``.
        """
        noted, config = self.noted, self.config
        others: Any = {} if data is None else data
        if "config" in facts:
            noted, config = replace(noted, config=None, files={}), facts.pop("config")
        return save(
            weights,
            model=model or self.model or "",
            config=config,
            data={**self.data, **others} if isinstance(others, Mapping) else others,
            run=replace(self, noted=noted),
            **{"root": self.root, "keep_secrets": self.keep_secrets, **facts},
        )


def _tell(words: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # stderr is closed: nobody listens
        sys.stderr.write(f"ckptkit: {redact.tokens(inert(words))}\n")


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


def digest(what: object, *, executor: "Executor | None" = None, cache: bool = True) -> str:
    """The digest by which a dataset is recorded: ``sha256:`` and 64 hexadecimal digits.

    Args:
        what: the path of a file or folder, or an object in memory.
        executor: hashes the files of a folder in place of this process, such as ``client.get_executor()`` of dask; its
            workers see them under the same absolute paths.
        cache: whether the digests of unchanged files are taken from the cache.

    Raises:
        CkptkitError: there is no such file, it cannot be read or changed while it was hashed, a folder holds no file,
            or something that no dataset may hold; or the object is of a type that has no digest.
    """
    if isinstance(what, str | os.PathLike):
        from ckptkit import content

        return content.digest(os.fsdecode(what), cached=cache, executor=executor).digest
    from ckptkit.data import memory

    try:
        return memory.digest(what)[0]
    except memory.UnsupportedError as error:
        raise CkptkitError(f"the object has no digest: {error}", "write it to a file, and give its path") from error


@contextlib.contextmanager
def data_step(
    name: str,
    *,
    inputs: object,
    output: Paths,
    params: Mapping[str, object] | None = None,
    root: Paths | None = None,
) -> "Iterator[Preparation]":
    """Wrap one step of preparation, and write ``OUT.lineage.json`` beside its output once it has succeeded.

    ``save`` follows these records from the declared data back to its sources. What the block puts into ``params`` of
    the step that it gets is recorded too; after an exception nothing is.

    Args:
        name: what the step does, such as ``deduplicate``.
        inputs: what it reads: a path of a file or folder, a URL, an object in memory, or a list of them. They are
            hashed before the block runs, and again after it.
        output: the file or folder that the block writes.
        params: its parameters.
        root: the registry root, where no output may lie.

    Yields:
        The step, with its ``params``.

    Raises:
        CkptkitError: an input cannot be read, or the output may not lie there or was not written.
    """
    from ckptkit import roots
    from ckptkit.data import preparation

    step = preparation.begin(
        name,
        inputs=inputs if isinstance(inputs, list | tuple) else [inputs],
        output=output,
        params=params or {},
        command=None,
        root=roots.default_root(root, Path.cwd()),
    )
    yield step
    done = preparation.finish(step)
    for words in done.warnings:
        _tell(f"warning: {words}")
    _tell(f"the record of {step.name} is {shown(done.path)}")
