"""check: what is wrong with registries, models and versions, as findings; nothing is written, nothing is unpickled."""

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ckptkit import (
    checkpoint,
    disk,
    hashing,
    history,
    index,
    names,
    references,
    registry,
    roots,
    rules,
    settings,
    summary,
)
from ckptkit.errors import CkptkitError, FormatError, NotFoundError
from ckptkit.record import Lineage
from ckptkit.registry import Model
from ckptkit.rules import contents
from ckptkit.rules.base import Finding, Sealed, Tree, absent
from ckptkit.rules.verdict import Report, Verdict, excused, judge

_MANY = 200
"""So many versions are worth the start of worker processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One version to look at: where it is, how people call that place, what the history says, how hard to look."""

    folder: Path
    subject: str
    sealed: Sealed
    pruned: frozenset[str]
    digested: frozenset[str]
    deep: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """What was found in one version: its line of the index, and the bytes read of small and of large files.

    ``pruned`` tells whether files are not there that the history says were pruned, ``unhashed`` is how many large ones
    were not read.
    """

    findings: Sequence[Finding]
    verdict: Verdict
    digest: str | None
    row: Mapping[str, Any]
    small: int
    large: int
    pruned: bool
    unhashed: int


@dataclass(slots=True, kw_only=True)
class _Scope:
    """All that is to be checked, by real path, so that nothing is checked twice."""

    roots: dict[Path, tuple[str, tuple[Model, ...]]]
    models: dict[Path, tuple[Model, str]]
    jobs: dict[Path, _Job]


def check(
    *paths: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    deep: bool = False,
    progress: hashing.Progress | None = None,
    expect: Callable[[int], None] | None = None,
) -> Report:
    """Check registries, models and versions.

    Args:
        paths: registry roots, folders of models or of versions; without any, the default root.
        root: in place of the default root.
        select: prefixes of codes to report; all without any. They replace those of pyproject.toml.
        ignore: prefixes of codes to set aside, besides those of pyproject.toml.
        deep: hash every file again.
        progress: called with the number of bytes read since the last call.
        expect: called with the number of bytes that will be read.

    Raises:
        CkptkitError: a path does not exist or holds nothing of ckptkit's; a prefix matches no rule; pyproject.toml is
            not usable. A damaged tree raises nothing.
    """
    cwd = Path.cwd()
    wanted, ignored, reasons = rules.choice(disk.settings(cwd).table, select, ignore)
    scope = _scope(paths, root, cwd, deep=deep)
    if expect:
        expect(sum(_cost(job) for job in scope.jobs.values()))
    results = dict(zip(scope.jobs, _examine_all(list(scope.jobs.values()), progress), strict=True))
    findings = _in_order(scope, results)
    selected = [finding for finding in findings if finding.code in wanted]
    return Report(
        findings=tuple(rules.without_echoes([finding for finding in selected if finding.code not in ignored])),
        verdicts={scope.jobs[path].subject: result.verdict for path, result in results.items()},
        models=len(scope.models),
        ignored=Counter(finding.code for finding in selected if finding.code in ignored),
        reasons=reasons,
        unhashed=sum(result.unhashed for result in results.values()),
        pruned=sum(result.pruned for result in results.values()),
    )


def _scope(
    paths: Sequence[str | os.PathLike[str]], root: str | os.PathLike[str] | None, cwd: Path, *, deep: bool
) -> _Scope:
    scope = _Scope(roots={}, models={}, jobs={})
    for path in paths:
        shown = os.fspath(path).rstrip("/") or "/"
        try:
            _add(scope, cwd / disk.expand(path), shown, deep=deep)
        except NotFoundError as error:
            meant = _meant(os.fspath(path), root, cwd)
            raise CkptkitError(error.message, f"did you mean {meant}?" if meant else error.hint) from error
    if paths:
        return scope
    named = roots.named_root(root, cwd)
    home = named or roots.default_root(None, cwd)
    if named is None and not os.path.lexists(home):
        return scope
    if not os.path.isdir(home):  # noqa: PTH112 - Path.is_dir raises on a name that is too long
        what = "is not a folder" if os.path.lexists(home) else "does not exist"
        raise CkptkitError(
            f"the registry root {_shown(home, cwd)} {what}",
            "name it with --root DIR, $CKPTKIT_ROOT or root in [tool.ckptkit] of pyproject.toml",
        )
    _add_root(scope, home, _shown(home, cwd), deep=deep)
    return scope


def _shown(path: Path, cwd: Path) -> str:
    return os.fspath(path.relative_to(cwd)) if path.is_relative_to(cwd) else os.fspath(path)


def _meant(text: str, root: str | os.PathLike[str] | None, cwd: Path) -> str | None:
    """The path of the model or version that somebody named by its reference; None where it is none."""
    home = roots.default_root(root, cwd)
    try:
        if text in index.load(home)["models"]:
            return _shown(home / text, cwd)
        return _shown(references.find(text, root=home, cwd=cwd).version.path, cwd)
    except CkptkitError:
        return None


def _add(scope: _Scope, path: Path, shown: str, *, deep: bool) -> None:
    """Take a path into the scope as what it is: a version, a model or a registry root.

    Raises:
        NotFoundError: there is nothing.
        CkptkitError: it is none of these.
    """
    folder = disk.real(path)
    if not folder.is_dir():
        if os.path.lexists(folder):
            raise CkptkitError(f"{shown} is not a folder", _PLACES)
        raise NotFoundError(f"{shown} does not exist", _PLACES)
    if registry.is_version(folder):
        _add_versions(scope, registry.read_model(folder.parent), {folder.name: shown}, deep=deep)
    elif os.path.lexists(folder / registry.HOME) or os.path.lexists(folder / registry.INDEX):
        _add_root(scope, folder, shown, deep=deep)
    elif registry.is_model(folder):
        _add_model(scope, registry.read_model(folder), shown, deep=deep)
    elif any(registry.models(folder)):
        _add_root(scope, folder, shown, deep=deep)
    else:
        raise CkptkitError(
            f"no model version found in {shown}", "name a registry root, such as runs, or save a version first"
        )


_PLACES = "name a registry root, a model's folder or a version's folder"


def _add_root(scope: _Scope, root: Path, shown: str, *, deep: bool) -> None:
    real = disk.real(root)
    models = tuple(registry.models(real))
    scope.roots.setdefault(real, (shown, models))
    for model in models:
        _add_model(scope, model, f"{shown.rstrip('/')}/{model.name}", deep=deep)


def _add_model(scope: _Scope, model: Model, shown: str, *, deep: bool) -> None:
    scope.models.setdefault(disk.real(model.path), (model, shown))
    _add_versions(scope, model, {version: f"{shown}/{version}" for version in model.versions}, deep=deep)


def _add_versions(scope: _Scope, model: Model, shown: Mapping[str, str], *, deep: bool) -> None:
    """Take versions of a model into the scope, each with what the history says of it."""
    home, told, free = disk.real(model.path), history.told(model.events), model.last + 1
    for version, subject in shown.items():
        saved = model.state.digests.get(version, ())
        sealed = Sealed(
            ref=f"{model.name}/{version}",
            digest=None,
            saved=saved,
            told=told.get(version, frozenset()),
            free=names.version_name(free),
        )
        free += len(saved) > 1  # each of them is offered a number of its own
        job = _Job(
            folder=home / version,
            subject=subject,
            sealed=sealed,
            pruned=model.state.pruned.get(version, frozenset()),
            digested=frozenset(model.state.digested.get(version, ())),
            deep=deep,
        )
        scope.jobs.setdefault(job.folder, job)


def _cost(job: _Job) -> int:
    """The bytes that looking at a version reads."""
    total, above = 0, len(os.path.join(job.folder, ""))  # noqa: PTH118 - a str, many times
    for folder, _, files in os.walk(job.folder):
        for name in files:
            path = os.path.join(folder, name)  # noqa: PTH118
            try:
                size = os.lstat(path).st_size
            except OSError:
                continue
            is_read = job.deep or size <= checkpoint.HASHED_ALWAYS or checkpoint.is_record(path[above:])
            total += size if is_read else 0
    return total


def _examine_all(jobs: Sequence[_Job], progress: hashing.Progress | None) -> Iterator[_Result]:
    """Look at every version, in worker processes where there are many and it is safe to fork."""
    tell = progress or (lambda _: None)
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if len(jobs) < _MANY or workers < 2 or not _is_alone():  # noqa: PLR2004 - one worker is no help
        for job in jobs:
            result = _examine(job, progress)
            tell(result.small)
            yield result
        return
    yield from _examine_together(jobs, workers, tell)


def _examine_together(jobs: Sequence[_Job], workers: int, tell: hashing.Progress) -> Iterator[_Result]:
    import multiprocessing
    import signal
    from concurrent.futures import ProcessPoolExecutor

    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        try:
            # Workers are born deaf to Ctrl-C, which the terminal sends to all: their parent ends them.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                results = pool.map(_examine, jobs, chunksize=1 if jobs[0].deep else 16)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for result in results:
                tell(result.small + result.large)
                yield result
        except BaseException:  # nobody waits for the gigabytes under way
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            raise


def _is_alone() -> bool:
    """Whether this process has no other thread, whose locks a forked child would inherit held."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


def _examine(job: _Job, progress: hashing.Progress | None = None) -> _Result:
    found = checkpoint.read(job.folder, deep=job.deep, pruned=job.pruned, digested=job.digested, progress=progress)
    findings = rules.examine(found, job.subject)
    findings += rules.examine(replace(job.sealed, digest=found.digest), job.subject)
    sizes = [found.entries[path].bytes for path in found.hashed]
    large = sum(size for size in sizes if size > checkpoint.HASHED_ALWAYS)
    sealed = found.sums if isinstance(found.sums, Mapping) else {}
    return _Result(
        findings=findings,
        verdict=judge(found, findings),
        digest=found.digest,
        row=_row(found),
        small=sum(sizes) - large,
        large=large,
        pruned=any(path in sealed and absent(found, path) for path in job.pruned),
        unhashed=sum(path in found.entries and path not in found.hashed for path in sealed),
    )


def _row(found: checkpoint.Checkpoint) -> Mapping[str, Any]:
    if isinstance(found.lineage, Lineage) and found.digest:
        return summary.of(found.digest, found.lineage)
    return summary.read(found.path)


def _in_order(scope: _Scope, results: Mapping[Path, _Result]) -> Iterator[Finding]:
    """All findings: those of registries, then of models, then of versions by number; in each by code and place."""
    parts = {
        folder: {version: results[folder / version] for version in model.versions}
        for folder, (model, _) in scope.models.items()
    }
    told = {
        folder: _sorted(rules.examine(_contents(model, parts[folder]), shown))
        for folder, (model, shown) in scope.models.items()
    }
    for root, (shown, models) in scope.roots.items():
        folders = {model.name: disk.real(model.path) for model in models}
        stale = index.stale(
            root,
            models,
            {name: {version: part.row for version, part in parts[folder].items()} for name, folder in folders.items()},
            {
                name: excused(told[folder], {version: part.findings for version, part in parts[folder].items()})
                for name, folder in folders.items()
            },
        )
        tree = Tree(root=root, models=tuple(folders), stale=stale, texts=_texts(root, stale))
        yield from _sorted(rules.examine(tree, shown))
    for findings in told.values():
        yield from findings
    for result in results.values():
        yield from _sorted(result.findings)


def _sorted(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: (finding.code, finding.where, finding.line or 0))


def _contents(model: Model, part: Mapping[str, _Result]) -> contents.Contents:
    strange = [f"{registry.HISTORY}/{name}" for name in model.broken]
    strange += [name for name, target in model.links.items() if target is None]
    digests = {version: result.digest for version, result in part.items() if result.digest}
    return contents.compare(model, digests, _texts(model.path, strange), links=settings.has_links(model.path.parent))


def _texts(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """What those of some files say that can be read at all."""
    found = {}
    for name in names:
        with contextlib.suppress(FormatError):
            found[name] = disk.read_regular(folder / name).decode("utf-8", "backslashreplace")
    return found
