"""What else is written: events, the record beside the output of a step, and that of a run which began."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from ckptkit.record.code import Code
from ckptkit.record.compute import Compute
from ckptkit.record.config import Config
from ckptkit.record.data import Dataset, Step
from ckptkit.record.forms import EVENT, STARTED, STEP, Digest, Hex256, ModelName, RelativePath, Stage, Time, VersionName
from ckptkit.record.lineage import Link, Metric, Tool
from ckptkit.typed import Document, Form, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedFile(Record):
    """A file of a version as SHA256SUMS listed it, or of a dataset; ``bytes`` is None where nobody could tell."""

    path: RelativePath
    bytes: int | None
    sha256: Hex256


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Document):
    """One thing that happened to a model; which fields it has depends on its kind.

    - ``saved``: a version was published.
    - ``alias``, ``stage``, ``described``: an alias now stands on ``version`` (None: nowhere), a version is in
      ``stage``, a version or (without one) the model is described by ``text`` (None: by nothing). ``previous`` is the
      event that this one followed, ``settles`` are further ones where the history had forked.
    - ``evaluated``: ``metrics`` of a version were measured later, on ``data``, by ``code``, on ``compute``.
    - ``digested``: the content of a version's dataset, whose digest was not known at the save, is ``data``, with its
      ``files`` unless they are very many.
    - ``pruned``, ``deleted``: ``files`` of a version, or all of it, were removed.
    - ``renumbered``: the version that was ``was`` is ``version`` now.
    - ``renamed``: the model that was called ``was`` is called ``model`` now; under its old name one is left that says
      what it ``became``, with its highest version.

    Kinds that this release does not know are kept and otherwise left alone.
    """

    FORMAT: ClassVar[str] = EVENT

    schema: Annotated[str, Form(r"ckptkit/event/1")]
    id: Annotated[str, Form(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8}")]
    time: Time
    kind: str
    model: ModelName
    version: VersionName | None = None
    digest: Digest | None = None
    alias: Annotated[str, Form(r"[A-Za-z0-9_-]{1,128}")] | None = None
    stage: Stage | None = None
    text: str | None = None
    was: str | None = None
    became: ModelName | None = None
    previous: str | None = None
    settles: tuple[str, ...] = ()
    files: tuple[SealedFile, ...] = ()
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    data: tuple[Dataset, ...] = ()
    code: Code | None = None
    compute: Compute | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The event as JSON types, without what does not apply to its kind."""
        return {key: kept for key, kept in super(Event, self).to_dict().items() if kept not in (None, [], {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar(Document):
    """The file beside the output of a step, whole. ``unknown`` maps dotted paths to why the fact could not be had."""

    FORMAT: ClassVar[str] = STEP

    schema: Annotated[str, Form(r"ckptkit/step/1")]
    step: Step
    unknown: Mapping[str, str]
    tool: Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedData(Record):
    """A declared dataset on disk when a run began; ``listing`` is the file beside that holds the state of its files."""

    name: ModelName
    path: str
    listing: RelativePath


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Document):
    """What a run noted of itself when it began, and once more when its process ended, for a save by another process.

    Attributes:
        id: the run's id.
        project: the project, from the registry root or below ``~``; None where either would name a user or host.
        model: the registered model that it said it would save.
        weights: the paths that it said it would write, as paths are recorded; of those elsewhere a digest.
        began: when it said that it starts.
        started: when its process began; None where the system does not tell.
        ended: when its process ended by itself; None while it runs, and where it was killed.
        secrets_kept: whether secrets stand here as they were found.
        code: the repository as of the start; what only the end can tell, such as modules and changes, as of then.
        compute: as of the end, where the process came to tell it.
        tree: the git ids of the work tree's files at the start, by their paths from the project; None without git.
        config: as of the start.
        configs: SHA-256 of the files of configuration, by path as it is recorded.
        data: the declared data that lay on disk.
        job: the scheduler's names.
        links: the same run in other systems.
        restarts: how often it had been started again.
        unknown: dotted paths in the record of a version to why the fact could not be had.
        tool: what wrote it.
    """

    FORMAT: ClassVar[str] = STARTED

    schema: Annotated[str, Form(r"ckptkit/started/1")]
    id: str
    project: str | None
    model: ModelName | None
    weights: tuple[str, ...]
    began: Time
    started: Time | None
    ended: Time | None
    secrets_kept: bool
    code: Code
    compute: Compute
    tree: Mapping[str, str] | None
    config: Config
    configs: Mapping[str, str | None]
    data: tuple[StartedData, ...]
    job: Mapping[str, str] | None
    links: tuple[Link, ...]
    restarts: int | None
    unknown: Mapping[str, str]
    tool: Tool
