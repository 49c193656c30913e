"""CK9, registry: whether history, aliases and what is derived from them agree with the folders."""

from collections.abc import Iterator

from ckptkit.registry import HISTORY, Model
from ckptkit.rules.base import Fault, Sealed, Tree, refused, rule, some

_REBUILD = "run `ckptkit index`"


@rule("CK901", "an event cannot be read", of=Model, fix="restore the file from a copy, such as git")
def event_unreadable(model: Model) -> Iterator[Fault]:
    """history/ says which versions were saved and where aliases went, one file for each event.

    An event that cannot be read is missing from that story.
    """
    for name, why in model.broken.items():
        yield refused(why, f"{HISTORY}/{name}")


@rule(
    "CK902",
    "a version has no saved event",
    of=Model,
    severity="warning",
    fix="run `ckptkit index`, which takes in whatever verifies",
)
def event_missing(model: Model) -> Iterator[Fault]:
    """The event that records a save is what a version's digest is held against, years later.

    Its absence means that a save was interrupted right at its end, or that a folder was copied here by hand.
    """
    saved = model.saved
    missing = [version for version in model.versions if version not in saved]
    if missing and not model.broken:
        yield Fault(f"no saved event for {some(missing)}", HISTORY)


@rule(
    "CK903",
    "a version is not the one that was saved",
    of=Sealed,
    fix="restore the version's folder from a copy, or find out who sealed it anew",
    unless=("CK202",),
)
def digest_differs(sealed: Sealed) -> Iterator[Fault]:
    """The digest of SHA256SUMS is not the one that was written into the history when the version was saved.

    Files may agree with SHA256SUMS and yet not be the ones that were saved: someone changed both.
    """
    digests = [event.digest for event in sealed.events if event.digest]
    if sealed.digest is not None and digests and sealed.digest not in digests:
        yield Fault(f"has the digest {sealed.digest[:19]}..., and {digests[0][:19]}... was saved")


@rule(
    "CK904",
    "two saves of one number",
    of=Model,
    fix="keep the folder whose digest is the right one, and remove the other event",
)
def number_twice(model: Model) -> Iterator[Fault]:
    """A number names one version for ever; two saved events with different digests make it name two.

    That happens where two copies of a registry went on separately and were merged by copying.
    """
    digests: dict[str, set[str]] = {}
    for event in model.events:
        if event.kind == "saved" and event.version and event.digest:
            digests.setdefault(event.version, set()).add(event.digest)
    for version, found in digests.items():
        if len(found) > 1:
            yield Fault(f"was saved {len(found)} times, with different digests", version)


@rule(
    "CK905",
    "a saved version is gone",
    of=Model,
    severity="warning",
    fix="restore the folder from a copy; the number is never used again",
)
def version_gone(model: Model) -> Iterator[Fault]:
    """The history records a save, and the folder is not there: it was removed by hand, or not copied along."""
    known = {*model.versions, *model.aliases.values()}
    gone = [version for version in model.saved if version not in known]
    if gone:
        yield Fault(f"saved and not there: {some(gone)}")


@rule(
    "CK906",
    "an alias stands on nothing",
    of=Model,
    fix="restore that version's folder from a copy",
)
def alias_dangling(model: Model) -> Iterator[Fault]:
    """Scripts ask for an alias to get a model; this one names a version that is not there."""
    for alias, version in model.aliases.items():
        if version not in model.versions:
            yield Fault(f"stands on {version}, which is not there", f"@{alias}")


@rule(
    "CK907",
    "an alias was moved in two places",
    of=Model,
    severity="warning",
    fix="set the alias once more, to the version that you mean",
)
def alias_forked(model: Model) -> Iterator[Fault]:
    """Two copies of the registry moved the alias from the same place, and were merged.

    The later move wins, which may not be the one that was meant.
    """
    for alias in model.moved_aliases:
        heads = model.alias_heads(alias)
        if len(heads) > 1:
            places = some([f"{event.version or 'nowhere'} ({event.time})" for event in heads])
            yield Fault(f"was moved to {places}", f"@{alias}")


@rule("CK908", "an alias link is not what the history says", of=Model, severity="warning", fix=_REBUILD)
def link_wrong(model: Model) -> Iterator[Fault]:
    """The links @NAME are there for cd and ls, and are derived from the history.

    Copies without links, and edits by hand, leave them missing or leading elsewhere.
    """
    if model.broken:
        return
    for alias, version in model.aliases.items():
        name = f"@{alias}"
        leads = model.links.get(name)
        if version not in model.versions:
            continue
        if name not in model.links:
            yield Fault(f"is missing; the alias stands on {version}", name)
        elif leads is None:
            yield Fault("is no link", name, "move it away, then run `ckptkit index`")
        elif leads.rstrip("/") != version:
            yield Fault(f"leads to {leads}, and the alias stands on {version}", name)
    for name in model.links:
        if name.removeprefix("@") not in model.aliases:
            yield Fault("is no alias in the history", name, "remove it, or set the alias")


@rule("CK909", "a derived file is out of date", of=Tree, severity="warning", fix=_REBUILD)
def index_stale(tree: Tree) -> Iterator[Fault]:
    """index.json and README.md of a registry repeat what folders and events say, for speed and for people.

    They hold no truth of their own, so they can be made again at any time.
    """
    for name, why in tree.stale.items():
        yield Fault(why, name)


@rule("CK910", "two models differ by case alone", of=Tree, fix="rename one of the two folders")
def models_alike(tree: Tree) -> Iterator[Fault]:
    """On the disks of macOS and Windows both names are the same folder, and a copy there merges the two models."""
    seen: dict[str, str] = {}
    for name in tree.models:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            yield Fault(f"differs from {other} by case alone", name)


RULES = (
    event_unreadable,
    event_missing,
    digest_differs,
    number_twice,
    version_gone,
    alias_dangling,
    alias_forked,
    link_wrong,
    index_stale,
    models_alike,
)
