"""What trains: optimizers, schedulers and data loaders, read from the objects themselves; torch's states to files."""

import contextlib
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ckptkit.capture import attempt, objects
from ckptkit.disk import reason
from ckptkit.documents import finite
from ckptkit.errors import CkptkitError
from ckptkit.record import Component

_MOST = 100  # components of one kind
_DEPTH = 6  # of lists in lists, wrappers around wrappers, functions that hold functions
_INNER = {  # where those of Accelerate, Lightning, DeepSpeed, Apex, Keras, SAM and ZeRO keep what they wrap
    "optimizers": ("optimizer", "base_optimizer", "inner_optimizer", "optim"),
    "schedulers": ("scheduler",),
    "dataloaders": ("base_dataloader", "dataloader", "_dataloader"),
}
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, partial, type)
_LOADING = "batch_size drop_last num_workers persistent_workers prefetch_factor pin_memory timeout in_order"
_HOOKS = "worker_init_fn collate_fn"
_BY_PATH = "save it with its own library and pass the path among the weights"


def components(kind: str, given: object, unknown: dict[str, str]) -> tuple[Component, ...]:
    """What is recorded of optimizers, schedulers or data loaders; secrets in it are still there.

    Nothing is iterated, stepped or started, and nothing raises.

    Args:
        kind: ``optimizers``, ``schedulers`` or ``dataloaders``.
        given: one object, or lists and dicts of them, nested as trainers return them.
        unknown: takes the reason for each fact that could not be had.
    """
    items = attempt(unknown, f"config.{kind}", lambda: _items(given), list[tuple[str | None, Any]]())
    if len(items) > _MOST:
        unknown[f"config.{kind}"] = f"more than {_MOST} were given: the rest was left out"
    return tuple(_component(kind, *item, f"config.{kind}[{at}]", unknown) for at, item in enumerate(items[:_MOST]))


def _items(given: object) -> list[tuple[str | None, Any]]:
    return list(islice(_flat(given, None, _DEPTH), _MOST + 1))


def _flat(given: Any, name: str | None, depth: int) -> Iterator[tuple[str | None, Any]]:  # noqa: ANN401 - whatever was given
    """Each object with its name; a named tuple is one object, and so is Lightning's dict around a scheduler."""
    if given is None or not depth:
        return
    if isinstance(given, dict) and not ("scheduler" in given and given.keys() & {"interval", "frequency", "monitor"}):
        for key, item in given.items():
            yield from _flat(item, str(key), depth - 1)
    elif isinstance(given, list | tuple) and not hasattr(given, "_fields"):
        for item in given:
            yield from _flat(item, name, depth - 1)
    else:
        yield name, given


def _component(kind: str, name: str | None, item: object, where: str, unknown: dict[str, str]) -> Component:
    bare: tuple[Any, list[dict[str, Any]]] = (item, [])
    nothing: dict[str, Any] = {}
    inner, wrappers = attempt(unknown, f"{where}.type", lambda: _unwrapped(kind, item), bare)
    read = partial(_READERS[kind], item, inner, f"{where}.settings", unknown)
    settings = attempt(unknown, f"{where}.settings", read, nothing)
    plain = objects.Plain()
    shown = finite(plain.value(settings | ({"wrappers": wrappers} if wrappers else {})))
    if plain.cut:
        unknown[f"{where}.settings"] = f"it holds more than {objects.VALUES:,} values: the rest was left out"
    return Component(name=name, type=_type(inner), settings=shown)


def _unwrapped(kind: str, item: Any) -> tuple[Any, list[dict[str, Any]]]:  # noqa: ANN401 - whatever was given
    """The object inside of its wrappers; type and plain attributes of these, the outermost first."""
    wrappers: list[dict[str, Any]] = []
    while len(wrappers) < _DEPTH:
        held = item if isinstance(item, dict) else {name: getattr(item, name, None) for name in _INNER[kind]}
        inner = next((held[name] for name in _INNER[kind] if hasattr(held.get(name), "__dict__")), None)
        if inner is None:
            break
        wrappers.append(_object(item))
        item = inner
    return item, wrappers


def _object(item: object) -> dict[str, Any]:
    """The type of an object, and its public attributes that are numbers, texts, or None."""
    held = item if isinstance(item, dict) else getattr(item, "__dict__", {})
    public = [name for name in held if isinstance(name, str) and not name.startswith("_") and name != "type"]
    return {"type": _type(item), **{name: held[name] for name in public if _is_scalar(held[name])}}


def _is_optax(value: object) -> bool:
    return hasattr(value, "_fields") and hasattr(value, "update")


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _type(item: Any) -> str:  # noqa: ANN401 - whatever was given
    """The qualified name of a function, or of an object's class."""
    item = item.func if isinstance(item, partial) else item
    named: Any = item if isinstance(item, _FUNCTIONS) else type(item)
    return f"{named.__module__}.{named.__qualname__}".removeprefix("builtins.")


def _told(value: Any, told: set[int] | None = None) -> Any:  # noqa: ANN401 - any setting
    """A setting with functions by what they are made of, each once, and tensors of one element as numbers."""
    told = set() if told is None else told
    value = value.update if _is_optax(value) else value
    if isinstance(value, dict):
        return {key: _told(each, told) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_told(each, told) for each in value]
    if isinstance(value, _FUNCTIONS):
        made = {}
        if id(value) not in told:
            told.add(id(value))
            made = {name: _told(each, told) for name, each in _made_of(value) if _tells(each)}
        return {"function": _type(value), **made} if made else _type(value)
    return value.item() if hasattr(value, "numel") and value.numel() == 1 else value


def _made_of(function: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - one of _FUNCTIONS
    """What a partial was given, or what a function took from the one around it, as schedules do, by name."""
    if isinstance(function, partial):
        yield from [("arguments", list(function.args))] if function.args else []
        yield from function.keywords.items()
    elif isinstance(function, types.FunctionType):
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # not assigned yet
                yield name, cell.cell_contents


def _tells(value: object) -> bool:
    """Whether it is made of numbers, texts and functions: no model, and no data."""
    if isinstance(value, list | tuple) and len(value) <= _MOST:
        return all(_tells(each) for each in value)
    return _is_scalar(value) or isinstance(value, _FUNCTIONS) or bool(hasattr(value, "numel") and value.numel() == 1)


def _optimizer(item: Any, inner: Any, where: str, unknown: dict[str, str]) -> dict[str, Any]:  # noqa: ANN401 - of any library
    groups = getattr(item, "param_groups", None) or getattr(inner, "param_groups", None)  # ZeRO's inner one has a share
    if groups is not None:
        return {"groups": [_group(group, f"{where}.groups[{at}]", unknown) for at, group in enumerate(groups)]}
    return {"update": _told(inner)} if _is_optax(inner) else _configured(inner)


def _group(group: Mapping[str, Any], where: str, unknown: dict[str, str]) -> dict[str, Any]:
    parameters = group["params"]
    count = attempt(unknown, f"{where}.parameters", lambda: sum(int(each.numel()) for each in parameters), None)
    settings = {name: _told(value) for name, value in group.items() if name not in {"params", "param_names"}}
    return {**settings, "parameters": count, "tensors": len(parameters)}


def _scheduler(_item: object, inner: Any, *_: object) -> dict[str, Any]:  # noqa: ANN401 - of any library
    if isinstance(inner, _FUNCTIONS):
        made = _told(inner)
        return {} if isinstance(made, str) else {name: value for name, value in made.items() if name != "function"}
    if not hasattr(inner, "state_dict"):
        return _configured(inner)
    state = {
        name: _told(value) for name, value in inner.state_dict().items() if name not in {"_schedulers", "lr_lambdas"}
    }
    settings: dict[str, Any] = {"state": state}
    if parts := getattr(inner, "_schedulers", None):
        settings["schedulers"] = [{"type": _type(part), **_scheduler(part, part)} for part in parts]
    if lambdas := getattr(inner, "lr_lambdas", None):
        settings["lambdas"] = [_told(each) if isinstance(each, _FUNCTIONS) else _object(each) for each in lambdas]
    return settings


def _configured(inner: Any) -> dict[str, Any]:  # noqa: ANN401 - of any library
    for name in ("get_config", "get_params"):
        if callable(getattr(inner, name, None)):
            return dict(_told(getattr(inner, name)()))
    raise CkptkitError(f"{_type(inner)} does not tell its settings")


def _dataloader(_item: object, inner: Any, where: str, unknown: dict[str, str]) -> dict[str, Any]:  # noqa: ANN401 - of any library
    data = sys.modules.get("torch.utils.data")
    if data is None or not isinstance(inner, data.DataLoader):
        raise CkptkitError(f"{_type(inner)} does not tell how it loads")
    settings = {name: _told(getattr(inner, name)) for name in f"{_LOADING} {_HOOKS}".split() if hasattr(inner, name)}
    batches, sampler = inner.batch_sampler, inner.sampler
    if inner.batch_size is None and batches is not None:  # given whole: the sampler beside it is not in use
        sampler = _innermost(batches)
        sizes = {name: getattr(batches, name, None) for name in ("batch_size", "drop_last")}
        settings |= sizes | {"batch_sampler": _sampler(batches)}
    else:
        settings["sampler"] = _sampler(sampler)
    kinds = {data.RandomSampler: True, data.SequentialSampler: False}
    shuffle = next((yes for kind, yes in kinds.items() if isinstance(sampler, kind)), getattr(sampler, "shuffle", None))
    dataset = _dataset(inner.dataset, f"{where}.dataset", unknown)
    return {"dataset": dataset, "shuffle": shuffle, **settings, **_seed(inner)}


def _innermost(sampler: Any) -> Any:  # noqa: ANN401 - any iterable
    for _ in range(_DEPTH):
        held = getattr(sampler, "__dict__", {})
        sampler = held.get("batch_sampler") or held.get("sampler") or sampler
    return sampler


def _dataset(dataset: Any, where: str, unknown: dict[str, str], depth: int = _DEPTH) -> dict[str, Any]:  # noqa: ANN401 - the user's
    """The class of a dataset and of those that it is a part of, and their lengths, for which loaders ask them too."""
    told: dict[str, Any] = {"type": _type(dataset)}
    streams = sys.modules["torch.utils.data"].IterableDataset
    if hasattr(type(dataset), "__len__") and not isinstance(dataset, streams):
        told["samples"] = attempt(unknown, f"{where}.samples", lambda: len(dataset), None)
    inner = getattr(dataset, "__dict__", {}).get("dataset")  # of a Subset
    if inner is not None and depth:
        told["dataset"] = _dataset(inner, f"{where}.dataset", unknown, depth - 1)
    return told


def _sampler(sampler: Any, depth: int = _DEPTH) -> dict[str, Any]:  # noqa: ANN401 - any iterable
    told = _object(sampler)
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


_READERS: dict[str, Callable[..., Any]]
_READERS = {"optimizers": _optimizer, "schedulers": _scheduler, "dataloaders": _dataloader}


def write_state(given: object, folder: Path) -> dict[int, str]:
    """Write the states of torch's optimizers, as ``torch.load(..., weights_only=True)`` reads them, on the CPU.

    Args:
        given: what ``components`` was given as optimizers.
        folder: where the files go.

    Returns:
        The names of the files by the positions of their components: ``optimizer.pt``, or where there are several
        ``optimizer-<name>.pt``, by number where one has no name.

    Raises:
        CkptkitError: the state of one would load only by running code, is not torch's, or is spread over processes.
        OSError: the disk refuses.
    """
    items = _items(given)[:_MOST]
    written: dict[int, str] = {}
    for at, (name, item) in enumerate(items):
        state = _state(item)
        label = re.sub(r"[^A-Za-z0-9._-]+", "-", name or "").strip("-.")[:64]
        file = f"optimizer-{label}.pt" if label else "optimizer.pt" if len(items) == 1 else f"optimizer-{at + 1}.pt"
        if file in written.values():
            file = f"optimizer-{label}-{at + 1}.pt"
        sys.modules["torch"].save(state, folder / file)
        written[at] = file
    return written


def _state(item: Any) -> Any:  # noqa: ANN401 - whatever was given
    if "torch" not in sys.modules or not hasattr(item, "param_groups") or not hasattr(item, "state_dict"):
        raise CkptkitError(f"the state of a {_type(item)} cannot be saved: it is no optimizer of torch", _BY_PATH)
    try:
        state = item.state_dict()
    except Exception as error:  # ZeRO, before its parts are gathered
        raise CkptkitError(f"the state of the {_type(item)} cannot be had: {reason(error)}", _BY_PATH) from error
    return _loadable(state, "")


def _loadable(value: Any, where: str) -> Any:  # noqa: ANN401 - a state
    """The same in plain containers, with tensors on the CPU, and Python's numbers for NumPy's."""
    torch = sys.modules["torch"]
    if isinstance(value, Mapping):
        return {_loadable(key, where): _loadable(each, f"{where}.{key}") for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_loadable(each, f"{where}.{at}") for at, each in enumerate(value))
    if type(value) in {torch.Tensor, torch.nn.Parameter}:
        return value.detach().cpu()
    if hasattr(value, "dtype") and getattr(value, "shape", None) == () and not isinstance(value, torch.Tensor):
        return value.item()
    if type(value) in {torch.dtype, torch.device, bool, int, float, str, type(None)}:
        return value
    raise CkptkitError(
        f"the optimizer's state holds {where[1:]}, a {_type(value)}, which loads only by running code or in parts",
        "gather what is spread over processes with "
        "torch.distributed.checkpoint.state_dict.get_optimizer_state_dict, and pass the path of a file of it",
    )
