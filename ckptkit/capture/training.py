"""What trains: optimizers, schedulers and data loaders, unwrapped and read from the objects themselves."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any

from ckptkit import redact
from ckptkit.capture import attempt, loaders, objects
from ckptkit.capture.callables import FUNCTIONS, attributes, called, is_optax, qualified, setting
from ckptkit.documents import finite
from ckptkit.errors import CkptkitError
from ckptkit.record import Component

_MOST = 100  # components of one kind
_NAME = 200  # characters
_DEPTH = 6  # of lists in lists, wrappers around wrappers
_INNER = {  # where those of Accelerate, Lightning, DeepSpeed, Apex, Keras, SAM and ZeRO keep what they wrap
    "optimizers": ("optimizer", "base_optimizer", "inner_optimizer", "optim"),
    "schedulers": ("scheduler",),
    "dataloaders": ("base_dataloader", "dataloader", "_dataloader"),
}


def components(kind: str, given: object, unknown: dict[str, str]) -> tuple[Component, ...]:
    """What is recorded of optimizers, schedulers or data loaders; secrets in it are still there.

    Nothing is iterated, stepped or started, and nothing raises.

    Args:
        kind: ``optimizers``, ``schedulers`` or ``dataloaders``.
        given: one object, or lists and dicts of them, nested as trainers return them.
        unknown: takes the reason for each fact that could not be had.
    """
    found = attempt(unknown, f"config.{kind}", lambda: items(given, _MOST + 1), list[tuple[str | None, Any]]())
    if len(found) > _MOST:
        unknown[f"config.{kind}"] = f"more than {_MOST} were given: the rest was left out"
    return tuple(_component(kind, *item, f"config.{kind}[{at}]", unknown) for at, item in enumerate(found[:_MOST]))


def items(given: object, most: int = _MOST) -> list[tuple[str | None, Any]]:
    """The first ``most`` objects, in the order of their components, each with its name where it has one."""
    return list(islice(_flat(given, None, _DEPTH), most))


def _flat(given: Any, name: str | None, depth: int) -> Iterator[tuple[str | None, Any]]:  # noqa: ANN401 - whatever was given
    """Each object with its name; a named tuple is one object, and so is Lightning's dict around a scheduler."""
    if given is None or not depth:
        return
    if isinstance(given, dict) and not ("scheduler" in given and given.keys() & {"interval", "frequency", "monitor"}):
        for key, item in given.items():
            yield from _flat(item, redact.text(str(key))[:_NAME], depth - 1)
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
    return Component(name=name, type=qualified(inner), settings=shown)


def _unwrapped(kind: str, item: Any) -> tuple[Any, list[dict[str, Any]]]:  # noqa: ANN401 - whatever was given
    """The object inside of its wrappers; type and plain attributes of these, the outermost first."""
    wrappers: list[dict[str, Any]] = []
    while len(wrappers) < _DEPTH:
        held = item if isinstance(item, dict) else {name: getattr(item, name, None) for name in _INNER[kind]}
        inner = next((held[name] for name in _INNER[kind] if hasattr(held.get(name), "__dict__")), None)
        if inner is None:
            break
        wrappers.append(attributes(item))
        item = inner
    return item, wrappers


def _optimizer(item: Any, inner: Any, where: str, unknown: dict[str, str]) -> dict[str, Any]:  # noqa: ANN401 - of any library
    groups = getattr(item, "param_groups", None) or getattr(inner, "param_groups", None)  # ZeRO's inner one has a share
    if groups is not None:
        return {"groups": [_group(group, f"{where}.groups[{at}]", unknown) for at, group in enumerate(groups)]}
    return {"update": setting(inner)} if is_optax(inner) else _configured(inner)


def _group(group: Mapping[str, Any], where: str, unknown: dict[str, str]) -> dict[str, Any]:
    parameters = group["params"]
    count = attempt(unknown, f"{where}.parameters", lambda: sum(int(each.numel()) for each in parameters), None)
    settings = {name: setting(value) for name, value in group.items() if name not in {"params", "param_names"}}
    return {**settings, "parameters": count, "tensors": len(parameters)}


def _scheduler(_item: object, inner: Any, *_: object) -> dict[str, Any]:  # noqa: ANN401 - of any library
    if isinstance(inner, type) or hasattr(inner, "param_groups") or hasattr(inner, "parameters"):
        raise CkptkitError(f"{qualified(inner)} is no scheduler")
    if isinstance(inner, FUNCTIONS):
        made = setting(inner)
        return {} if isinstance(made, str) else {name: value for name, value in made.items() if name != "function"}
    if not hasattr(inner, "state_dict"):
        return _configured(inner)
    state = {
        name: setting(value) for name, value in inner.state_dict().items() if name not in {"_schedulers", "lr_lambdas"}
    }
    settings: dict[str, Any] = {"state": state}
    if parts := getattr(inner, "_schedulers", None):
        settings["schedulers"] = [{"type": qualified(part), **_scheduler(part, part)} for part in parts]
    if lambdas := getattr(inner, "lr_lambdas", None):
        settings["lambdas"] = [called(each) for each in lambdas]
    return settings


def _configured(inner: Any) -> dict[str, Any]:  # noqa: ANN401 - of any library
    for name in ("get_config", "get_params"):
        if callable(getattr(inner, name, None)):
            return {key: setting(value) for key, value in getattr(inner, name)().items()}
    raise CkptkitError(f"{qualified(inner)} does not tell its settings")


def _dataloader(_item: object, inner: object, where: str, unknown: dict[str, str]) -> dict[str, Any]:
    return loaders.settings(inner, where, unknown)


_READERS: dict[str, Callable[..., Any]]
_READERS = {"optimizers": _optimizer, "schedulers": _scheduler, "dataloaders": _dataloader}
