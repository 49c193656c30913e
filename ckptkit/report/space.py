"""What ``delete``, ``prune``, ``rename`` and ``du`` have to say, as text and as JSON."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ckptkit.removal import Removal
from ckptkit.verbs.delete import Deletion
from ckptkit.verbs.du import ModelWeight, Usage, VersionWeight
from ckptkit.verbs.prune import Pruning
from ckptkit.verbs.rename import Renamed
from ckptkit.words import count, inert, size

_MOST = 4
"""Most names of files on a line."""


def deletion(done: Deletion) -> str:
    """The versions that are to be deleted, or were, for people."""
    return "\n".join(map(inert, [*_lines(done.removals, files=False), _freed(done, "delete")]))


def pruning(done: Pruning) -> str:
    """The files that are to be pruned, or were, for people."""
    lines = _lines(done.removals, files=True)
    if done.kept:
        lines.append(f"kept: {_some(done.kept)}")
    if done.stays:
        heaviest = _some(sorted(done.stays, key=done.stays.__getitem__, reverse=True))
        lines.append(f"stay in the others: {heaviest} ({size(sum(done.stays.values()))}); --drop GLOB takes such")
    lines += [f"left alone: {ref}: {why}" for ref, why in done.left.items()]
    lines.append(_freed(done, "prune") if done.removals else "nothing to prune")
    if done.is_undecided and done.removals:
        lines.append("this is what could go; say what stays, such as --keep-last 3 --keep-aliased")
    return "\n".join(map(inert, lines))


def _lines(removals: Sequence[Removal], *, files: bool) -> list[str]:
    """A line for each version, its bytes before it."""
    sizes = [size(removal.bytes) for removal in removals]
    width = max(map(len, sizes), default=0)
    lines = []
    for bytes_, removal in zip(sizes, removals, strict=True):
        marks = [removal.ref, *(f"@{alias}" for alias in removal.aliases), *([removal.stage] if removal.stage else [])]
        what = [_some([file.path for file in removal.files])] if files else []
        lines.append("  ".join([f"{bytes_:>{width}}", " ".join(marks), *what]))
    return lines


def _freed(done: Deletion | Pruning, verb: str) -> str:
    versions, weight = count(len(done.removals), "version"), size(done.freed)
    rest = sum(removal.bytes for removal in done.removals) - done.freed
    what = f"{versions} {verb}d: {weight} freed" if done.done else f"{versions} to {verb}: {weight} would come free"
    return f"{what}; {size(rest)} are shared with files that stay" if rest else what


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST
    return ", ".join(names[:_MOST]) + (f" and {more} more" if more > 0 else "")


def deletion_document(done: Deletion) -> dict[str, Any]:
    """The versions that are to be deleted, or were, as JSON types."""
    return {"schema": "ckptkit/deletion/1", **_document(done)}


def pruning_document(done: Pruning) -> dict[str, Any]:
    """The files that are to be pruned, or were, as JSON types."""
    facts = {
        "undecided": done.is_undecided,
        "kept": list(done.kept),
        "stays": dict(done.stays),
        "left": dict(done.left),
    }
    return {"schema": "ckptkit/pruning/1", **_document(done), **facts}


def _document(done: Deletion | Pruning) -> dict[str, Any]:
    versions = [
        {
            "version": removal.ref,
            "digest": removal.digest,
            "bytes": removal.bytes,
            "aliases": list(removal.aliases),
            "stage": removal.stage,
            "files": [file.to_dict() for file in removal.files],
        }
        for removal in done.removals
    ]
    return {"done": done.done, "versions": versions, "freed": done.freed, "warnings": list(done.warnings)}


def renamed(done: Renamed) -> str:
    """What was renamed to what, for people."""
    return inert(f"{done.before} is {done.after} now")


def renamed_document(done: Renamed) -> dict[str, Any]:
    """What was renamed to what, as JSON types."""
    facts = {"before": done.before, "after": done.after, "warnings": list(done.warnings)}
    return {"schema": "ckptkit/renamed/1", **facts}


def usage(found: Usage) -> str:
    """What the registry weighs, for people: runs stand where several versions come from one."""
    lines = [line for model in found.models for line in _model(model)]
    if found.private:
        lines.append((found.private, ".ckptkit (stages, trash and this machine's notes)"))
    once = f"; {size(found.shared)} more would be files that share their bytes" if found.shared else ""
    lines.append((found.bytes, f"in all{once}"))
    width = max(len(size(weight)) for weight, _ in lines)
    return "\n".join(inert(f"{size(weight):>{width}}  ") + inert(words) for weight, words in lines)


def _model(model: ModelWeight) -> Iterator[tuple[int, str]]:
    yield model.bytes, model.model
    for run in model.runs:
        several = len(run.versions) > 1
        if several:
            yield run.bytes, f"  run {run.run or 'not known'}"
        yield from _versions(run.versions, "    " if several else "  ")


def _versions(versions: Iterable[VersionWeight], indent: str) -> Iterator[tuple[int, str]]:
    for version in versions:
        aliases = [f"@{alias}" for alias in version.aliases]
        words = [version.ref, *aliases, *([version.stage] if version.stage else []), *["pruned"] * version.pruned]
        yield version.bytes, f"{indent}{' '.join(words)}"


def usage_document(found: Usage) -> dict[str, Any]:
    """What the registry weighs, as JSON types; all numbers are bytes."""
    from dataclasses import asdict

    return {"schema": "ckptkit/du/1", **asdict(found)}
