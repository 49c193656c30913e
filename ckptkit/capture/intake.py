"""What a save was given, made usable: strict before anything is lost, kind after a training has ended."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from ckptkit import comparison, disk, names, redact, retention, settings, templates
from ckptkit.capture import config, facts, links, metrics
from ckptkit.capture.session import Start
from ckptkit.comparison import Goal
from ckptkit.data import sidecar
from ckptkit.errors import CkptkitError
from ckptkit.record import BaseModel, Link, Metric
from ckptkit.retention import Policy

T = TypeVar("T")
D = TypeVar("D")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be saved, as it was given.

    ``weights`` is a sequence of paths, or a state dict or module in memory. With ``from_training`` a training has just
    ended: only unusable weights, model name or root raise, and whatever else is wrong is recorded as unknown.
    ``config`` is a file or object, or a list of them, later ones overriding; ``only_if`` is the metric in which the
    version has to be better to take ``aliases``, such as ``val_loss:min``; ``keep_last`` and ``keep_best`` say which
    versions of the run keep their weights. ``manifests`` stand in for hashing, by dataset, unless ``deep`` holds the
    bytes against them; ``data_budget`` is how long data may be hashed, in seconds or as ``5m``; ``start`` is what was
    there when the run began. ``optimizer``, ``scheduler`` and ``dataloader`` are objects, or several of them, and
    ``optimizer_state`` asks for a file of the optimizer's; ``not_applicable`` says of a hyperparameter why there is
    none; ``bundle`` asks for the commits that are on no remote. ``metrics_file``, ``python`` and ``run``, the id of the
    run that another process began, are the command line's.
    """

    weights: object
    model: object
    from_training: bool
    config: object = None
    data: Any = field(default_factory=dict)
    manifests: Any = field(default_factory=dict)
    deep: bool = False
    data_budget: object = None
    start: Start | None = None
    optimizer: object = None
    optimizer_state: bool = False
    scheduler: object = None
    dataloader: object = None
    not_applicable: Any = field(default_factory=dict)
    links: object = ()
    bundle: bool = False
    keep_secrets: bool = False
    run: str | None = None
    metrics: Any = field(default_factory=dict)
    metrics_file: Path | None = None
    aliases: object = ()
    only_if: object = None
    keep_last: int | None = None
    keep_best: object = None
    parents: object = ()
    base_models: object = ()
    tags: Mapping[str, object] = field(default_factory=dict)
    card: Mapping[str, object] = field(default_factory=dict)
    step: object = None
    epoch: object = None
    message: object = None
    exclude: Sequence[str] = ()
    rename: str | None = None
    move: bool = False
    root: str | os.PathLike[str] | None = None
    python: str | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths of the weights; none when they are in memory."""
        if not isinstance(self.weights, Sequence):
            return ()
        return tuple(disk.expand(item) for item in self.weights)

    @property
    def data_paths(self) -> tuple[Path, ...]:
        """The declared data that lies on disk, with what steps made beside it and their records."""
        if not isinstance(self.data, Mapping):
            return ()
        return tuple(
            sidecar.family(disk.expand(item) for item in self.data.values() if isinstance(item, str | os.PathLike))
        )


class Guard:
    """Lets the first fault of a strict save through, and notes those of a kind one.

    Attributes:
        unknown: dotted path in lineage.json to the reason why nothing stands there.
        warnings: the same for people.
        notes: what people should know of the save, and is no fault.
    """

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self.unknown: dict[str, str] = {}
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def take(self, where: str, default: D, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | D:
        """What ``work`` returns; ``default`` where it fails and the save is kind.

        Raises:
            CkptkitError: it failed and the save is strict.
        """
        try:
            return work(*args, **kwargs)
        except CkptkitError as error:
            if self.strict:
                raise CkptkitError(error.message, error.hint) from error
            self.note(where, error.message)
        except Exception as error:
            if self.strict:
                raise
            self.note(where, disk.reason(error))
        return default

    def note(self, where: str, words: str) -> None:
        """Record that something given could not be used."""
        self.unknown[where] = words
        self.warnings.append(f"{where}: {words}")

    def each(self, where: str, items: object, read: Callable[[Any], T]) -> tuple[T, ...]:
        """Every item as ``read`` returns it, less those that it refuses; None is no item, a lone text is one."""
        given = enumerate(self.take(where, (), _listed, items))
        found = (self.take(f"{where}[{position}]", None, read, item) for position, item in given)
        return tuple(item for item in found if item is not None)


def _listed(items: object) -> tuple[object, ...]:
    if items is None:
        return ()
    if isinstance(items, list | tuple | set | frozenset):
        return tuple(items)
    if isinstance(items, str | os.PathLike):
        return (items,)
    raise CkptkitError(f"a {type(items).__name__} is no list", 'give a list, such as ["candidate"]')


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """The given facts in the forms of the record; ``answers`` are what people say in the card.

    ``goal`` is what decides whether the aliases are taken, ``keep`` what is pruned of the run; None for nothing.
    """

    config: config.Resolved
    metrics: Mapping[str, Metric]
    aliases: tuple[str, ...]
    goal: Goal | None
    keep: Policy | None
    base_models: tuple[BaseModel, ...]
    tags: Mapping[str, str]
    step: int | None
    epoch: float | None
    message: str | None
    answers: Mapping[str, str]
    not_applicable: Mapping[str, str]
    links: tuple[Link, ...]


def read(request: Request, guard: Guard, project: Path, cwd: Path) -> Intake:
    """Read all that was given but weights, data and parents.

    Args:
        request: what was given.
        guard: what becomes of faults.
        project: the folder that paths are recorded relative to.
        cwd: where the settings are looked for.

    Raises:
        CkptkitError: something is wrong and the save is strict.
    """
    aliases = tuple(dict.fromkeys(guard.each("aliases", request.aliases, names.require_alias)))
    goal = guard.take("aliases", None, _goal, request, aliases, cwd)
    return Intake(
        config=_config(request, guard, project),
        metrics=_metrics(request, guard),
        aliases=aliases if goal or request.only_if is None else (),
        goal=goal,
        keep=guard.take("keep", None, _keep, request, cwd),
        base_models=guard.each("base_models", request.base_models, facts.base_model),
        tags=guard.take("tags", {}, _texts, request.tags, guard, "tags", project),
        step=guard.take("run.step", None, facts.step, request.step),
        epoch=guard.take("run.epoch", None, facts.epoch, request.epoch),
        message=guard.take("message", None, facts.message, request.message, project),
        answers=guard.take("card", {}, _answers, request.card, guard, project),
        not_applicable=guard.take("config.not_applicable", {}, _reasons, request.not_applicable, guard, project),
        links=guard.each("run.links", request.links, links.given),
    )


def _goal(request: Request, aliases: Sequence[str], cwd: Path) -> Goal | None:
    if request.only_if is None:
        return None
    if not aliases:
        raise CkptkitError("a condition without an alias decides nothing", "name the alias, such as --alias best")
    return comparison.parse_goal(str(request.only_if), settings.directions(cwd))


def _reasons(given: Any, guard: Guard, project: Path) -> dict[str, str]:  # noqa: ANN401 - whatever was given
    if not isinstance(given, Mapping):
        raise CkptkitError(f"a {type(given).__name__} is no names and reasons", 'write {"batch_size": "full batch"}')
    found = {}
    for name, why in given.items():
        where = f"config.not_applicable.{redact.text(str(name))}"
        found[str(name)] = guard.take(where, None, _reason, name, why)
    shown: dict[str, str] = redact.values({name: why for name, why in found.items() if why}, project=project)
    return shown


def _reason(name: object, why: object) -> str:
    if not isinstance(why, str) or not why.strip() or not str(name).strip():
        raise CkptkitError(
            f"{redact.text(str(name))!r} does not apply, and no reason is given", "say why in a few words"
        )
    return why


_STAGES = ("staging", "production", "archived")


def _keep(request: Request, cwd: Path) -> Policy | None:
    if request.keep_last is None and request.keep_best is None:
        return None
    return retention.policy(
        keep_last=request.keep_last,
        keep_best=[str(goal) for goal in _listed(request.keep_best)],
        keep_aliased=True,
        keep_stages=_STAGES,
        directions=settings.directions(cwd),
    )


def _config(request: Request, guard: Guard, project: Path) -> config.Resolved:
    where, before = "config.values", len(guard.warnings)
    if request.start is not None and request.start.config is not None:  # files, as they were read when the run began
        guard.warnings += request.start.config.warnings
        return request.start.config
    given = guard.take(where, (), sources, request.config)
    nothing = config.Resolved(values=None, text=None, seed=None)
    found = guard.take(
        where, nothing, config.resolve, given, project=project, unknown=guard.unknown, strict=guard.strict
    )
    if given and where in guard.unknown and len(guard.warnings) == before:
        guard.warnings.append(f"{where}: {guard.unknown[where]}")
    guard.warnings += found.warnings
    return found


def sources(given: Any) -> tuple[object, ...]:  # noqa: ANN401 - whatever was given as config
    """The configuration files and objects."""
    if given is None:
        return ()
    return tuple(given) if isinstance(given, list | tuple) and not hasattr(given, "_fields") else (given,)


def _metrics(request: Request, guard: Guard) -> Mapping[str, Metric]:
    found: dict[str, Metric] = {}
    if request.metrics_file is not None:
        found |= metrics.read(config.load(request.metrics_file, "metrics")[0])
    if guard.strict:
        return found | metrics.read(request.metrics)
    refused: dict[str, str] = {}
    found |= guard.take("metrics", {}, metrics.read, request.metrics, refused)
    for where, words in refused.items():
        guard.note(where, words)
    return found


def _texts(given: Any, guard: Guard, where: str, project: Path) -> dict[str, str]:  # noqa: ANN401 - whatever was given
    if not isinstance(given, Mapping):
        raise CkptkitError(f"{where} of type {type(given).__name__}: not names and texts", "write K=V")
    texts = {str(key): guard.take(f"{where}.{key}", None, str, value) for key, value in given.items()}
    shown: dict[str, str] = redact.values(
        {key: text for key, text in texts.items() if text is not None}, project=project
    )
    return shown


def _answers(given: Mapping[str, object], guard: Guard, project: Path) -> dict[str, str]:
    answers = _texts(given, guard, "card", project)
    for key in [key for key in answers if key not in templates.HUMAN_KEYS]:
        words = f"{key!r} is no part of a model card"
        if guard.strict:
            raise CkptkitError(words, f"the parts are {', '.join(templates.HUMAN_KEYS)}")
        guard.note(f"card.{key}", words)
        del answers[key]
    return answers
