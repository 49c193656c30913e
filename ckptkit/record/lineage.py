"""lineage.json whole: the four axes, weights, metrics and the run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Self

from ckptkit.record.code import Code
from ckptkit.record.compute import Compute
from ckptkit.record.config import Config
from ckptkit.record.data import Dataset
from ckptkit.record.forms import (
    LINEAGE,
    Digest,
    Hex256,
    ModelName,
    NonFinite,
    Relation,
    RelativePath,
    Time,
    VersionName,
)
from ckptkit.typed import Document, Form, Record, readers


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent(Record):
    """A version or file that this one was made from. ``ref`` is as it was called at save, ``digest`` is what counts.

    ``relation`` is None where nobody said how this one was made from it.
    """

    ref: str
    digest: Digest | None
    relation: Relation | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModel(Record):
    """A model from elsewhere, by its id there, with the revision when it is known."""

    id: str
    revision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFile(Record):
    """One saved file: size in bytes, digest, and what its header says."""

    path: RelativePath
    bytes: int
    sha256: Hex256
    format: str | None
    parameters: int | None
    dtypes: Mapping[str, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights(Record):
    """What was saved; ``identical_to`` is the reference of an earlier version with the same bytes."""

    files: tuple[WeightsFile, ...]
    parameters: int | None
    identical_to: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice(Record):
    """A metric over one part of the split, ``n`` its number of examples."""

    value: float | NonFinite
    n: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric(Record):
    """A result. In JSON a bare number stands for a metric with nothing but its value.

    ``slices`` maps factor to level to value; ``ci`` is a confidence interval.
    """

    value: float | NonFinite
    split: str | None = None
    n: int | None = None
    ci: tuple[float | NonFinite, ...] | None = None
    slices: Mapping[str, Mapping[str, Slice]] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, value: object, where: str = "") -> Self:
        """Read a bare number or an object; see ``Record.from_dict``."""
        if isinstance(value, Mapping):
            return super(Metric, cls).from_dict(value, where)
        return cls(value=readers(cls)["value"][0](value, where))

    def to_dict(self) -> Any:  # noqa: ANN401 - a number or an object
        """The bare value where there is nothing else to say, else an object without what is not known."""
        out = {key: kept for key, kept in super(Metric, self).to_dict().items() if kept not in (None, {})}
        return self.value if set(out) == {"value"} else out


@dataclass(frozen=True, slots=True, kw_only=True)
class Link(Record):
    """The same run in another system, such as ``wandb``: its id there, and its address where it has one."""

    system: str
    id: str | None
    url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment(Record):
    """An earlier part of a training that was resumed: its own times and compute.

    ``run`` is the id of its process's run, ``version`` the reference of the version that it ended in, None where it
    was restarted by a scheduler or launcher.
    """

    run: str
    version: str | None
    started: Time | None
    finished: Time | None
    seconds: float | None
    step: int | None
    job: Mapping[str, str] | None
    compute: Compute


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Record):
    """The training that the version comes from; ``seconds`` is wall time, ``job`` the scheduler's names for it.

    ``segments`` are the earlier parts of a resumed training, oldest first; the last part is this record's own.
    ``restarts`` is how often launcher or scheduler had started it again.
    """

    id: str
    step: int | None
    epoch: float | None
    started: Time | None
    finished: Time | None
    seconds: float | None
    job: Mapping[str, str] | None
    links: tuple[Link, ...]
    segments: tuple[Segment, ...] = ()
    restarts: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool(Record):
    """The program that wrote the record."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage(Document):
    """lineage.json whole. ``unknown`` maps dotted paths to why the fact could not be had.

    ``redacted`` counts what was left out as secret, by the dotted path in the record or the file of the version.
    """

    FORMAT: ClassVar[str] = LINEAGE

    schema: Annotated[str, Form(r"ckptkit/lineage/1")]
    model: ModelName
    version: VersionName
    created: Time
    message: str | None
    tags: Mapping[str, str]
    parents: tuple[Parent, ...]
    base_models: tuple[BaseModel, ...]
    data: tuple[Dataset, ...]
    code: Code
    config: Config
    compute: Compute
    weights: Weights
    metrics: Mapping[str, Metric]
    run: Run
    unknown: Mapping[str, str]
    tool: Tool
    redacted: Mapping[str, int] = field(default_factory=dict)
