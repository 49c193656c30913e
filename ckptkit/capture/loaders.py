"""Data loaders of torch: dataset, sampler, workers, read from the object, which is neither iterated nor started."""

import contextlib
import sys
from typing import Any

from ckptkit.capture import attempt
from ckptkit.capture.callables import attributes, called, qualified, setting
from ckptkit.errors import CkptkitError

_DEPTH = 6  # of samplers around samplers, datasets around datasets
_LOADING = "batch_size drop_last num_workers persistent_workers prefetch_factor pin_memory timeout in_order"
_HOOKS = "worker_init_fn collate_fn"


def settings(inner: Any, where: str, unknown: dict[str, str]) -> dict[str, Any]:  # noqa: ANN401 - whatever was given
    """The settings of a data loader.

    Args:
        inner: the loader, without what wraps it.
        where: the dotted path of the settings.
        unknown: takes the reason for each that could not be had.

    Raises:
        CkptkitError: it is no data loader of torch.
    """
    data = sys.modules.get("torch.utils.data")
    if data is None or not isinstance(inner, data.DataLoader):
        raise CkptkitError(f"{qualified(inner)} does not tell how it loads")
    told = {name: setting(getattr(inner, name)) for name in _LOADING.split() if hasattr(inner, name)}
    told |= {name: called(getattr(inner, name)) for name in _HOOKS.split() if hasattr(inner, name)}
    batches, sampler = inner.batch_sampler, inner.sampler
    if inner.batch_size is None and batches is not None:  # given whole: the sampler beside it is not in use
        sampler = _innermost(batches)
        sizes = {name: getattr(batches, name, None) for name in ("batch_size", "drop_last")}
        told |= sizes | {"batch_sampler": _sampler(batches)}
    else:
        told["sampler"] = _sampler(sampler)
    kinds = {data.RandomSampler: True, data.SequentialSampler: False}
    shuffle = next((yes for kind, yes in kinds.items() if isinstance(sampler, kind)), getattr(sampler, "shuffle", None))
    dataset = _dataset(inner.dataset, f"{where}.dataset", unknown)
    return {"dataset": dataset, "shuffle": shuffle, **told, **_seed(inner)}


def _innermost(sampler: Any) -> Any:  # noqa: ANN401 - any iterable
    for _ in range(_DEPTH):
        held = getattr(sampler, "__dict__", {})
        sampler = held.get("batch_sampler") or held.get("sampler") or sampler
    return sampler


def _dataset(dataset: Any, where: str, unknown: dict[str, str], depth: int = _DEPTH) -> dict[str, Any]:  # noqa: ANN401 - the user's
    """The class of a dataset and of those that it is a part of, and their lengths, for which loaders ask them too."""
    told: dict[str, Any] = {"type": qualified(dataset)}
    streams = sys.modules["torch.utils.data"].IterableDataset
    if hasattr(type(dataset), "__len__") and not isinstance(dataset, streams):
        told["samples"] = attempt(unknown, f"{where}.samples", lambda: len(dataset), None)
    inner = getattr(dataset, "__dict__", {}).get("dataset")  # of a Subset
    if inner is not None and depth:
        told["dataset"] = _dataset(inner, f"{where}.dataset", unknown, depth - 1)
    return told


def _sampler(sampler: Any, depth: int = _DEPTH) -> dict[str, Any]:  # noqa: ANN401 - any iterable
    told = attributes(sampler)
    with contextlib.suppress(Exception):  # RandomSampler asks the dataset
        told["num_samples"] = int(sampler.num_samples)
    for name in ("batch_sampler", "sampler"):
        inner = getattr(sampler, "__dict__", {}).get(name)
        if inner is not None and depth:
            told[name] = _sampler(inner, depth - 1)
    return told | _seed(sampler)


def _seed(drawing: Any) -> dict[str, Any]:  # noqa: ANN401 - a data loader or a sampler
    generator: Any = getattr(drawing, "generator", None)
    return {"generator_seed": int(generator.initial_seed())} if hasattr(generator, "initial_seed") else {}
