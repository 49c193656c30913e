"""Which code: repository, entry point, loaded modules, environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ckptkit.record.forms import GitId, Hex256, Observed, RelativePath
from ckptkit.typed import Record


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
class CodeState(Record):
    """Code at one moment: commit of the work tree, whether it was dirty, and the tree id of commit + changes."""

    commit: GitId | None
    dirty: bool | None
    tree: GitId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository(Record):
    """The git work tree. ``tree`` is the tree id of commit + changes + untracked files, less ``omitted``.

    ``directory`` is the project's place in the repository (``.`` when it is the top), ``unpushed`` the number of
    commits on no remote, None when there is no remote to ask about; ``bundle`` is a file with these commits.
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
    bundle: RelativePath | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Module(Record):
    """A loaded module of the project: digest of its file, and of its syntax tree less positions and docstrings."""

    path: str
    sha256: Hex256 | None
    syntax: Hex256 | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign(Record):
    """A loaded module from outside of project, installed distributions and standard library, such as a hub's kernel.

    ``path`` is only the last component, and ``outside`` true, where it lies outside of project and home.
    """

    name: str
    path: str
    outside: bool
    sha256: Hex256 | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(Record):
    """A file of the project that git does not hold: a copy of it is ``file`` in the version, secrets left out.

    ``sha256`` is that of the file as it lay in the project.
    """

    path: str
    file: RelativePath
    sha256: Hex256


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin(Record):
    """Where a distribution came from, when not from an index (PEP 610): a commit, an archive, or a folder."""

    kind: Literal["vcs", "archive", "folder"]
    url: str | None
    commit: str | None
    sha256: Hex256 | None
    subdirectory: str | None


_ALWAYS = ("name", "version", "imported")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package(Record):
    """An installed distribution; ``imported`` and ``mapped`` are None where the training process was not observed.

    ``local`` is the version with its local label where only the package itself tells it (``2.13.0+cu130``), ``mapped``
    whether a shared library of it was in the process, ``record`` the SHA-256 of its RECORD, the list of its files;
    ``origin`` is None for what came from an index.
    """

    name: str
    version: str
    imported: bool | None
    local: str | None = None
    mapped: bool | None = None
    record: Hex256 | None = None
    origin: Origin | None = None

    def to_dict(self) -> dict[str, Any]:
        """The distribution as JSON types, without what there is nothing to say of: there are hundreds."""
        return {key: kept for key, kept in super(Package, self).to_dict().items() if kept is not None or key in _ALWAYS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Editable(Record):
    """A distribution installed in editable mode, with the folder that it is read from.

    ``path`` is only the last component, and ``outside`` true, where it lies outside of project and home. ``url`` and
    ``code`` are the remote and the state of the git work tree there; None where it is none.
    """

    name: str
    version: str
    path: str
    outside: bool
    url: str | None = None
    code: CodeState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockDifference(Record):
    """A distribution whose installed version the lock file does not name; ``locked`` is empty where it names none."""

    name: str
    locked: tuple[str, ...]
    installed: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lockfile(Record):
    """A lock file of the project, its digest, and where it disagrees with what is installed (None: not compared)."""

    path: str
    sha256: Hex256
    differs: tuple[LockDifference, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CondaPackage(Record):
    """A package of a conda environment, as conda-meta tells it; ``channel`` by its name, never its address."""

    name: str
    version: str
    build: str | None
    channel: str | None
    sha256: Hex256 | None
    md5: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter(Record):
    """The Python that trained (or, saved by another process, that would); ``flags`` are those that are set."""

    implementation: str
    version: str
    build: str | None
    kind: Literal["virtual environment", "conda", "system"] | None
    flags: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment(Record):
    """Python and its distributions; ``source`` says where they were read, such as ``this process``.

    ``requirements`` installs from an index, ``requirements_vcs`` holds what came from commits, archives and folders.
    """

    source: str
    python: Interpreter | None
    requirements: RelativePath | None
    packages: tuple[Package, ...]
    editable: tuple[Editable, ...]
    lockfiles: tuple[Lockfile, ...]
    requirements_vcs: RelativePath | None = None
    conda: tuple[CondaPackage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Code(Record):
    """Which code: repository, entry point and arguments, loaded modules, environment.

    Where a run said when it starts, ``repository`` is what was there then, and ``at_save`` what was there at the save;
    ``changed_functions`` names, by path, the functions whose loaded code is not what their file holds.
    """

    observed: Observed
    repository: Repository | None
    entry_point: str | None
    orig_argv: tuple[str, ...] | None
    cwd: str | None
    modules: tuple[Module, ...] | None
    changed_during_run: tuple[str, ...] | None
    environment: Environment
    foreign: tuple[Foreign, ...] | None = None
    sources: tuple[Source, ...] = ()
    changed_functions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    at_start: CodeState | None = None
    at_save: CodeState | None = None
