"""The data model: what lineage.json and an event say, as frozen dataclasses. No disk, no clock, no network.

Reading is strict and driven by the type annotations: a value of another type or form raises a ``FormatError`` that
names its dotted path. The public contract with titles and descriptions is ``ckptkit/schemas/``; a test holds the two
together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self

from ckptkit.typed import Document, Form, Record, readers

LINEAGE = "ckptkit/lineage/1"
EVENT = "ckptkit/event/1"
STEP = "ckptkit/step/1"

IN_THE_RUN: Literal["in the run"] = "in the run"
AT_SAVE: Literal["at save"] = "at save"
DECLARED: Literal["declared"] = "declared"
ANOTHER_PROCESS = "saved by another process"
NO_START = "when this process began is not known"


MODEL_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
Observed = Literal["in the run", "at save", "declared"]
Relation = Literal["finetuned", "resumed", "merged", "quantized", "distilled", "previous"]
ContentKind = Literal["file", "directory", "memory", "remote"]
NonFinite = Literal["NaN", "Infinity", "-Infinity"]
ModelName = Annotated[str, Form(MODEL_NAME)]
VersionName = Annotated[str, Form(r"v(0{3}[1-9]|0{2}[1-9]\d|0[1-9]\d{2}|[1-9]\d{3,17})")]
Hex256 = Annotated[str, Form(r"[0-9a-f]{64}")]
Digest = Annotated[str, Form(r"sha256:[0-9a-f]{64}")]
GitId = Annotated[str, Form(r"[0-9a-f]{40}|[0-9a-f]{64}")]
Time = Annotated[
    str,
    Form(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d{1,6})?Z"),
]
RelativePath = Annotated[str, Form(r"(?s)(?!/)(?!(.*/)?\.\.?(/|$)).+")]


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
class Content(Record):
    """What a step read or wrote; ``rows`` are lines of text or records of a table where they could be counted."""

    path: str | None
    outside: bool
    kind: ContentKind
    digest: Digest | None
    files: int | None
    bytes: int | None
    rows: int | None
    source: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCode(Record):
    """The code of a step: commit of the work tree, whether it was dirty, and the tree id of commit + changes."""

    commit: GitId | None
    dirty: bool | None
    tree: GitId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Record):
    """One preparation of data, such as filtering, deduplication or tokenisation, as ``by`` recorded it.

    ``link`` tells whether its output is what the next step or the training read, ``reason`` why that is not so or not
    known; both None where nobody has followed the chain.
    """

    name: str
    by: Literal["ckptkit", "dvc", "huggingface"]
    params: Mapping[str, Any]
    command: tuple[str, ...] | None
    code: StepCode | None
    inputs: tuple[Content, ...]
    output: Content
    started: Time | None
    finished: Time | None
    seconds: float | None
    link: Literal["verified", "broken", "unverified"] | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset(Record):
    """One dataset. ``bytes`` and ``files`` count its content; ``changed_during_run`` is None when not known.

    ``sizes`` is a file that lists names and sizes where the content of a folder was not hashed.
    """

    name: ModelName
    path: str | None
    outside: bool
    kind: ContentKind
    digest: Digest | None
    files: int | None
    bytes: int | None
    manifest: RelativePath | None
    sizes: RelativePath | None = None
    source: Mapping[str, Any] | None
    steps: tuple[Step, ...]
    observed: Observed
    changed_during_run: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Omitted(Record):
    """A changed or untracked file whose content code.patch does not carry as it was, and why."""

    path: str
    bytes: int | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Submodule(Record):
    """A git submodule or embedded repository: its checked-out commit, and whether it holds changes of its own."""

    path: str
    commit: GitId | None
    dirty: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository(Record):
    """The git work tree. ``tree`` is the tree id of commit + changes + untracked files, less ``omitted``.

    ``directory`` is the project's place in the repository (``.`` when it is the top), ``unpushed`` the number of
    commits on no remote, None when there is no remote to ask about.
    """

    url: str | None
    commit: GitId | None
    branch: str | None
    directory: str
    dirty: bool | None
    tree: GitId | None
    patch: RelativePath | None
    omitted: tuple[Omitted, ...]
    unpushed: int | None
    submodules: tuple[Submodule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Module(Record):
    """A loaded module of the project: digest of its text, and of its syntax tree less positions and docstrings."""

    path: str
    sha256: Hex256 | None
    syntax: Hex256 | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Package(Record):
    """An installed distribution; ``imported`` is None where the training process was not observed."""

    name: str
    version: str
    imported: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Editable(Record):
    """A distribution installed in editable mode, with the folder that it is read from.

    ``path`` is only the last component, and ``outside`` true, where it lies outside of project and home.
    """

    name: str
    version: str
    path: str
    outside: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Lockfile(Record):
    """A lock file of the project and its digest."""

    path: str
    sha256: Hex256


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter(Record):
    """The Python that trained (or, saved by another process, that would)."""

    implementation: str
    version: str
    build: str | None
    kind: Literal["virtual environment", "conda", "system"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment(Record):
    """Python and its distributions; ``source`` says where they were read, such as ``this process``."""

    source: str
    python: Interpreter | None
    requirements: RelativePath | None
    packages: tuple[Package, ...]
    editable: tuple[Editable, ...]
    lockfiles: tuple[Lockfile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Code(Record):
    """Which code: repository, entry point and arguments, loaded project modules, environment."""

    observed: Observed
    repository: Repository | None
    entry_point: str | None
    orig_argv: tuple[str, ...] | None
    cwd: str | None
    modules: tuple[Module, ...] | None
    changed_during_run: tuple[str, ...] | None
    environment: Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Record):
    """Which hyperparameters: the file in the version, its digest, and the values that it resolves to.

    ``changed_during_run`` names given files that were written while it ran, None where that is not known.
    """

    observed: Observed
    file: RelativePath | None
    sha256: Hex256 | None
    values: Mapping[str, Any] | None
    seed: Any
    not_applicable: Mapping[str, str]
    changed_during_run: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform(Record):
    """Operating system, kernel release, machine type and C library."""

    system: str
    release: str
    machine: str
    distribution: str | None
    libc: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu(Record):
    """The processor: cores as counted by the system and as usable by the process."""

    model: str | None
    vendor: str | None
    physical: int | None
    logical: int | None
    usable: int | None
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory(Record):
    """Main memory in bytes; ``limit`` is the control group's, None without one."""

    total: int
    limit: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu(Record):
    """A GPU that is present; ``memory`` in bytes, ``compute_capability`` such as ``8.0``."""

    index: int
    name: str
    memory: int | None
    compute_capability: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision(Record):
    """Numerical precision: asked for, stored in the weights (parameters by dtype), in effect, raw switches."""

    requested: str | None
    weights: Mapping[str, int]
    effective: Mapping[str, str | None] | None
    flags: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Variables(Record):
    """Environment variables of the allow-list, when the process began and when it saved."""

    at_start: Mapping[str, str] | None
    at_save: Mapping[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute(Record):
    """Which compute: machine, accelerators, precision, determinism, threads, variables, ranks."""

    observed: Observed
    platform: Platform | None
    cpu: Cpu | None
    memory: Memory | None
    gpus: tuple[Gpu, ...] | None
    driver: str | None
    libraries: Mapping[str, str]
    precision: Precision
    determinism: Mapping[str, Any] | None
    threads: Mapping[str, Any] | None
    variables: Variables
    distributed: Mapping[str, Any] | None


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
class Run(Record):
    """The training that the version comes from; ``seconds`` is wall time, ``job`` the scheduler's names for it."""

    id: str
    step: int | None
    epoch: float | None
    started: Time | None
    finished: Time | None
    seconds: float | None
    job: Mapping[str, str] | None
    links: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool(Record):
    """The program that wrote the record."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage(Document):
    """lineage.json whole. ``unknown`` maps dotted paths to why the fact could not be had."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedFile(Record):
    """A file of a version as SHA256SUMS listed it, or of a dataset; ``bytes`` is None where nobody could tell."""

    path: RelativePath
    bytes: int | None
    sha256: Hex256


Stage = Literal["none", "staging", "production", "archived"]


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
