"""The answers of ``merge``, ``index`` and ``which``, as text and JSON."""

from dataclasses import asdict
from typing import Any

from ckptkit.verbs.index import Rebuilt
from ckptkit.verbs.merge import Merged
from ckptkit.verbs.which import Answer, Match
from ckptkit.words import count, inert

_MOST = 20
"""Most lines on one question that people are shown."""


def merged(done: Merged) -> str:
    """What ``merge`` did, for people."""
    lines = [f"copied: {count(len(done.copied), 'version')}, {count(len(done.events), 'event')}"]
    lines += [_arrow(old, new) for old, new in done.copied.items() if old not in done.renumbered]
    lines += [f"{_arrow(old, new)}: the number was another version's" for old, new in done.renumbered.items()]
    lines += [f"{_arrow(old, new)}: renumbered, as it was there" for old, new in done.followed.items()]
    lines += [f"{alias}: {old or 'nothing'} → {new or 'nothing'}" for alias, (old, new) in done.moves.items()]
    lines += [f"filled in: {ref}" for ref in done.filled]
    lines += [f"stays deleted: {ref}" for ref in done.deleted]
    lines += [f"not taken: {ref}: {why}" for ref, why in done.refused.items()]
    return "\n".join(map(inert, lines))


def _arrow(old: str, new: str) -> str:
    return old if old == new else f"{old} → {new}"


def merged_document(done: Merged) -> dict[str, Any]:
    """What ``merge`` did, as JSON types."""
    return {"schema": "ckptkit/merged/1", **asdict(done), "events": len(done.events)}


def rebuilt(done: Rebuilt) -> str:
    """What ``index`` found and changed, for people."""
    lines = [f"{count(done.models, 'model')}, {count(done.versions, 'version')}"]
    lines += [f"written: {name}" for name in done.written]
    lines += [f"link {words}: {link}" for link, words in done.links.items()]
    lines += [f"taken in: {ref}" for ref in done.taken_in]
    lines += [f"{ref} cannot be read: {why}" for ref, why in done.unreadable.items()]
    return "\n".join(map(inert, lines))


def rebuilt_document(done: Rebuilt) -> dict[str, Any]:
    """What ``index`` found and changed, as JSON types."""
    return {
        "schema": "ckptkit/rebuilt/1",
        "models": done.models,
        "versions": done.versions,
        "written": list(done.written),
        "links": dict(done.links),
        "taken_in": list(done.taken_in),
        "unreadable": dict(done.unreadable),
    }


def answer(found: Answer) -> str:
    """Which versions hold what was asked about, for people; of a folder's files, how many."""
    held: dict[tuple[str, str], list[Match]] = {}
    for match in found.matches:
        held.setdefault((match.root, match.ref), []).append(match)
    lines = []
    for (root, ref), matches in sorted(held.items(), key=lambda item: -len({match.file for match in item[1]})):
        prefix = f"{root}  " if len(found.roots) > 1 else ""
        if matches[0].file is None:
            lines += [f"{prefix}{ref}{f'/{match.path}' if match.path else ''}  {_state(match)}" for match in matches]
        else:
            share = f"{len({match.file for match in matches}):,} of {count(found.files, 'file')}"
            lines.append(f"{prefix}{ref}  {share}  {', '.join(dict.fromkeys(map(_state, matches)))}")
    if len(lines) > _MOST:
        lines[_MOST:] = [f"and {len(lines) - _MOST:,} more (--json has all)"]
    if found.unknown:
        shown = ", ".join(found.unknown[:_MOST]) + (", …" if len(found.unknown) > _MOST else "")
        lines.append(f"in no version: {len(found.unknown):,} of {count(found.files, 'file')}: {shown}")
    return "\n".join(map(inert, lines))


def _state(match: Match) -> str:
    return f"deleted on {match.deleted[:10]}" if match.state == "deleted" and match.deleted else match.state


def answer_document(found: Answer) -> dict[str, Any]:
    """Which versions hold what was asked about, as JSON types."""
    return {
        "schema": "ckptkit/which/1",
        "roots": list(found.roots),
        "sha256": found.sha256,
        "files": found.files,
        "unknown": list(found.unknown),
        "matches": [asdict(match) for match in found.matches],
    }
