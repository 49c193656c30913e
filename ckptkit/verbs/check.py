"""check: what is wrong with registries, models and versions, as findings; nothing is written, nothing is unpickled."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckptkit import checkpoint, disk, hashing, index, references, registry, roots, rules
from ckptkit.errors import CkptkitError, NotFoundError
from ckptkit.record import Event, Lineage
from ckptkit.registry import Model
from ckptkit.rules.base import Finding, Sealed, Tree
from ckptkit.rules.verdict import Report, Verdict, judge

_MANY = 200
"""So many versions are worth the start of worker processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One version to look at: where it is, how people call that place, its saved events, how hard to look."""

    folder: Path
    subject: str
    events: tuple[Event, ...]
    deep: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """What was found in one version: its line of the index, and the bytes read of small and of large files."""

    findings: Sequence[Finding]
    verdict: Verdict
    summary: Mapping[str, Any]
    small: int
    large: int


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
    wanted, ignored, reasons = _choice(disk.settings(cwd).table, select, ignore)
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
    )


def _choice(
    settings: Mapping[str, Any], select: Sequence[str], ignore: Sequence[str]
) -> tuple[frozenset[str], frozenset[str], dict[str, str]]:
    """The codes to report, the codes to set aside, and why those of pyproject.toml are."""
    table = settings.get("check", {})
    where = "[tool.ckptkit.check] in pyproject.toml"
    if not isinstance(table, Mapping):
        raise CkptkitError(f"{where} is not a table", 'write select = ["CK2"] in it, for example')
    listed, excused = table.get("select", []), table.get("ignore", {})
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise CkptkitError(f"select in {where} is not a list of codes", 'write select = ["CK2", "CK8"]')
    if not isinstance(excused, Mapping) or not all(isinstance(why, str) and why.strip() for why in excused.values()):
        raise CkptkitError(f"ignore in {where} gives no reasons", 'write ignore = { CK404 = "why" }')
    reasons = {code: why for prefix, why in excused.items() for code in sorted(rules.chosen([prefix]))}
    wanted = rules.chosen(select or listed) or frozenset(rule.code for rule in rules.RULES)
    return wanted, rules.chosen(ignore) | reasons.keys(), reasons


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
    folder = Path(os.path.realpath(path))
    if not folder.is_dir():
        if os.path.lexists(folder):
            raise CkptkitError(f"{shown} is not a folder", _PLACES)
        raise NotFoundError(f"{shown} does not exist", _PLACES)
    if registry.is_version(folder):
        parent = folder.parent
        events = _saved(registry.read_model(parent)) if (parent / registry.HISTORY).is_dir() else {}
        _add_version(scope, folder, shown, events, deep=deep)
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
    real = Path(os.path.realpath(root))
    models = tuple(registry.models(real))
    scope.roots.setdefault(real, (shown, models))
    for model in models:
        _add_model(scope, model, f"{shown.rstrip('/')}/{model.name}", deep=deep)


def _add_model(scope: _Scope, model: Model, shown: str, *, deep: bool) -> None:
    scope.models.setdefault(Path(os.path.realpath(model.path)), (model, shown))
    events = _saved(model)
    for version in model.versions:
        _add_version(scope, model.path / version, f"{shown}/{version}", events, deep=deep)


def _saved(model: Model) -> Mapping[str, list[Event]]:
    """All saved events by version; more than one where registries were merged."""
    found: dict[str, list[Event]] = {}
    for event in model.events:
        if event.kind == "saved" and event.version:
            found.setdefault(event.version, []).append(event)
    return found


def _add_version(scope: _Scope, folder: Path, shown: str, events: Mapping[str, Sequence[Event]], *, deep: bool) -> None:
    real = Path(os.path.realpath(folder))
    job = _Job(folder=real, subject=shown, events=tuple(events.get(real.name, ())), deep=deep)
    scope.jobs.setdefault(real, job)


def _cost(job: _Job) -> int:
    """The bytes that looking at a version reads."""
    total = 0
    for folder, _, files in os.walk(job.folder):
        for name in files:
            try:
                size = os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - a str, many times
            except OSError:
                continue
            total += size if job.deep or size <= checkpoint.HASHED_ALWAYS else 0
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
        # Workers are born deaf to Ctrl-C, which the terminal sends to all: their parent ends them.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            results = pool.map(_examine, jobs, chunksize=1 if jobs[0].deep else 16)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        try:
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
    found = checkpoint.read(job.folder, deep=job.deep, progress=progress)
    findings = rules.examine(found, job.subject)
    findings += rules.examine(Sealed(digest=found.digest, events=job.events), job.subject)
    sizes = [found.entries[path].bytes for path in found.hashed]
    large = sum(size for size in sizes if size > checkpoint.HASHED_ALWAYS)
    return _Result(
        findings=findings,
        verdict=judge(found, findings),
        summary=_summary(found, job.events[0].id if job.events else None),
        small=sum(sizes) - large,
        large=large,
    )


def _summary(found: checkpoint.Checkpoint, event: str | None) -> Mapping[str, Any]:
    if isinstance(found.lineage, Lineage) and found.digest:
        return index.summary(event, found.digest, found.lineage)
    return index.summarise(found.path, event)


def _in_order(scope: _Scope, results: Mapping[Path, _Result]) -> Iterator[Finding]:
    """All findings: those of registries, then of models, then of versions by number; in each by code and place."""
    for root, (shown, models) in scope.roots.items():
        tree = Tree(root=root, models=tuple(model.name for model in models), stale=_stale(root, models, results))
        yield from _sorted(rules.examine(tree, shown))
    for model, shown in scope.models.values():
        yield from _sorted(rules.examine(model, shown))
    for result in results.values():
        yield from _sorted(result.findings)


def _sorted(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: (finding.code, finding.where, finding.line or 0))


def _stale(root: Path, models: Sequence[Model], results: Mapping[Path, _Result]) -> dict[str, str]:
    """Why a derived file of a registry is not what was read; see ``index.stale``."""
    found = {
        model.name: {name: results[Path(os.path.realpath(model.path / name))] for name in model.versions}
        for model in models
    }
    return index.stale(
        root,
        models,
        {name: {version: result.summary for version, result in part.items()} for name, part in found.items()},
        {name: [version for version, result in part.items() if _is_damaged(result)] for name, part in found.items()},
    )


def _is_damaged(result: _Result) -> bool:
    return any(
        finding.severity == "error" and finding.code.startswith(("CK1", "CK2", "CK9")) for finding in result.findings
    )
