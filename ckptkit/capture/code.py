"""Which code: repository, environment and loaded modules at one moment, held against what was there at the start."""

import os
import stat
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ckptkit import checkpoint, disk, redact
from ckptkit.capture import attempt, git, live, modules, packages, process, sources
from ckptkit.capture.moment import Moment
from ckptkit.record import (
    ANOTHER_PROCESS,
    IN_THE_RUN,
    Code,
    CodeState,
    Environment,
    Foreign,
    Module,
    Repository,
    Source,
)

_NOT_WATCHED = "the functions of loaded modules are those of their files; what else may have changed was not watched"
_WRITTEN = "some of it was written or touched while it ran; it is what it was, but may have been another in between"


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """The code when a run began.

    Attributes:
        at: when that was, in seconds since the epoch.
        worktree: the work tree.
        unknown: why facts of the work tree could not be had.
        configs: files of configuration, which are no code.
        modules: the project's modules that had been loaded, by path.
        sources: what of the code git does not hold, by its path in a version.
    """

    at: float
    worktree: git.Worktree
    unknown: Mapping[str, str]
    configs: Collection[Path]
    modules: Mapping[str, Module] = field(default_factory=dict)
    sources: Mapping[str, tuple[Source, bytes]] = field(default_factory=dict)


def begin(now: Moment, *, at: float, exclude: Sequence[Path], configs: Collection[Path]) -> Before:
    """Note the code when a run begins.

    Args:
        now: who looks.
        at: when the run began, in seconds since the epoch.
        exclude: files and folders that are no code.
        configs: files of configuration.
    """
    unknown: dict[str, str] = {}
    tree = git.worktree(now.code, project=now.project, exclude=exclude, unknown=unknown)
    none: tuple[Module, ...] = ()
    loaded = attempt({}, "code.modules", lambda: modules.modules(now.project, {}), none)
    return Before(
        at=at,
        worktree=tree,
        unknown=unknown,
        configs=configs,
        modules={each.path: each for each in loaded},
        sources=_sources(now, tree, None, {}),
    )


def code(
    now: Moment,
    *,
    exclude: Sequence[Path],
    python: str | None,
    unknown: dict[str, str],
    before: Before | None,
    begins: bool = False,
) -> tuple[Code, dict[str, bytes]]:
    """The code, and the files that belong to its record, by their paths in a version.

    Args:
        now: who looks.
        exclude: files and folders that are no code: the registry root, the weights, the declared data.
        python: the interpreter whose distributions are meant, where it is not found by itself.
        unknown: takes the reason of each fact that could not be had.
        before: what was there when the run began; it is what is recorded, where it was noted.
        begins: whether the run has just begun, so that ``before`` is what is there now.
    """
    own = now.observed == IN_THE_RUN
    said: dict[str, str] = {}
    if before is not None and begins:
        tree = before.worktree
    else:
        tree = git.worktree(now.code, project=now.project, exclude=exclude, unknown=said)
    ran, later = tree, dict(said)
    if before is not None and before.worktree.repository is not None:
        ran, said = before.worktree, dict(before.unknown)
    unknown |= said
    repository = _fresh(ran.repository, tree.repository, later, unknown)
    none_found: dict[str, bytes] = {}
    empty = Environment(source="unknown", python=None, requirements=None, packages=(), editable=(), lockfiles=())
    environment, files = attempt(
        unknown,
        "code.environment.packages",
        lambda: packages.environment(python=python, in_process=own, project=now.project, unknown=unknown),
        (empty, none_found),
    )
    if ran.patch:
        files[checkpoint.PATCH] = ran.patch
    found = Code(
        observed=now.observed,
        repository=repository,
        entry_point=None,
        orig_argv=None,
        cwd=None,
        modules=None,
        changed_during_run=None,
        environment=environment,
    )
    if not own:
        unknown["code.changed_during_run"] = ANOTHER_PROCESS
        return found, files
    found = _compared(_loaded(found, now, unknown), now, tree, before, exclude, unknown)
    kept = {**_sources(now, ran, found.cwd, unknown), **(before.sources if before else {})}
    files |= {name: copy for name, (_, copy) in kept.items()}
    return replace(found, sources=tuple(source for source, _ in kept.values())), files


def _fresh(
    ran: Repository | None, now: Repository | None, later: Mapping[str, str], unknown: dict[str, str]
) -> Repository | None:
    """What was recorded at the start, with the remote of now and what got pushed to it; ``later`` are the reasons."""
    if ran is None or now is None or ran.commit != now.commit:
        return ran
    for fact in ("code.repository.url", "code.repository.unpushed"):
        unknown.pop(fact, None)
        unknown |= {fact: later[fact]} if fact in later else {}
    return replace(ran, url=now.url, unpushed=now.unpushed)


def _loaded(found: Code, now: Moment, unknown: dict[str, str]) -> Code:
    """With what the process knows of itself."""
    this = attempt(unknown, "code.entry_point", lambda: process.process(now.project, unknown), None)
    own: tuple[Module, ...] | None = None
    foreign: tuple[Foreign, ...] | None = None
    return replace(
        found,
        entry_point=this.entry_point if this else None,
        orig_argv=this.orig_argv if this else None,
        cwd=this.cwd if this else None,
        modules=attempt(unknown, "code.modules", lambda: modules.modules(now.project, unknown), own),
        foreign=attempt(unknown, "code.foreign", lambda: modules.foreign(now.project, unknown), foreign),
    )


def _sources(
    now: Moment, ran: git.Worktree, cwd: str | None, unknown: dict[str, str]
) -> dict[str, tuple[Source, bytes]]:
    """What git does not hold of the code, by its path in a version."""
    held = None if ran.files is None else frozenset(ran.files)
    start = redact.found(cwd or ".", now.project)
    given = start if os.path.isdir(start) else Path()  # noqa: PTH112 - of a folder elsewhere but the name is recorded
    found, copies = sources.kept(now.project, held, sys.orig_argv, unknown, cwd=given)
    if "ipykernel" in sys.modules and not hasattr(sys.modules.get("__main__"), "__file__"):
        unknown["code.sources"] = "the cells of a notebook are not recorded"
    return {source.file: (source, copies[source.file]) for source in found}


def _compared(
    found: Code,
    now: Moment,
    tree: git.Worktree,
    before: Before | None,
    exclude: Sequence[Path],
    unknown: dict[str, str],
) -> Code:
    """With what changed since the run began, as far as that is known."""
    nothing: dict[str, tuple[str, ...]] = {}
    functions = attempt(unknown, "code.changed_functions", lambda: live.changed(now.project, unknown), nothing)
    if before is None:
        changed, why = (tuple(sorted(functions)) or None), _NOT_WATCHED
        commit = None
        if now.started is not None:
            since = now.started
            commit = attempt(unknown, "code.at_start", lambda: git.head_at(now.code, since), None)
        at_start = CodeState(commit=commit, dirty=None, tree=None) if commit else None
        at_save = None
    else:
        changed, why = changed_files(before, tree.files, project=now.project, exclude=exclude)
        others = [each.path for each in found.modules or () if before.modules.get(each.path, each) != each]
        if functions or others:
            changed = tuple(sorted({*(changed or ()), *functions, *others}))
        at_start, at_save = _state(before.worktree.repository), _state(tree.repository)
    if changed is None:
        partly = why == _NOT_WATCHED and "code.changed_functions" in unknown
        unknown["code.changed_during_run"] = (
            "not all loaded modules could be compared with their files" if partly else why
        )
    return replace(
        found,
        modules=_as_loaded(found.modules, before, functions, unknown),
        changed_during_run=changed,
        changed_functions=functions,
        at_start=at_start,
        at_save=at_save,
    )


def _as_loaded(
    found: tuple[Module, ...] | None,
    before: Before | None,
    functions: Mapping[str, Sequence[str]],
    unknown: dict[str, str],
) -> tuple[Module, ...] | None:
    """The modules as they were at the start; the digests of a file that is not what was loaded are not the module's."""
    if found is None:
        return None
    known = before.modules if before else {}
    edited = sorted(functions.keys() - known.keys())
    if edited:
        unknown["code.modules"] = f"not what was loaded, and so without digest: {', '.join(edited)}"
    return tuple(
        replace(each, sha256=None, syntax=None) if each.path in edited else known.get(each.path, each) for each in found
    )


def _state(repository: Repository | None) -> CodeState | None:
    if repository is None:
        return None
    return CodeState(commit=repository.commit, dirty=repository.dirty, tree=repository.tree)


def changed_files(
    before: Before, now: Mapping[str, str] | None, *, project: Path, exclude: Sequence[Path]
) -> tuple[tuple[str, ...] | None, str]:
    """Files of the work tree that were changed or removed, and new ones of Python; None, and why, if that is not known.

    Args:
        before: what was there when the run began.
        now: the ids of the files by their paths from the project; None where they are not known.
        project: the folder that paths are relative to.
        exclude: what is no code: registry, weights, data; configuration files are none either.
    """
    known = before.worktree.files
    if known is None or now is None:
        return None, _NOT_WATCHED
    others = {disk.real(path) for path in (*exclude, *before.configs)}

    def counts(path: str) -> bool:
        real = disk.real(project / path)
        return others.isdisjoint((real, *real.parents))

    gone = [path for path, was in known.items() if now.get(path) != was]
    held = {*known.values()}  # a copy of the code in the folder of a run is no other code
    come = [path for path, blob in now.items() if path not in known and path.endswith(".py") and blob not in held]
    changed = tuple(sorted(filter(counts, [*gone, *come])))
    if not changed and any(_is_written(f"{project}/{path}", before.at) and counts(path) for path in known):
        return None, _WRITTEN
    return changed, ""


def _is_written(path: str, since: float) -> bool:
    try:
        status = os.lstat(path)  # of a hundred thousand files
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and max(status.st_mtime, status.st_ctime) > since  # an mtime can be set
