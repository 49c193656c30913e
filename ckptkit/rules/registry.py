"""CK9, registry: whether history, aliases and what is derived from them agree with the folders."""

from collections.abc import Iterator, Mapping

from ckptkit import history, names
from ckptkit.record import Event
from ckptkit.registry import HISTORY, Model
from ckptkit.rules.base import Fault, Sealed, Tree, refused, rule, some
from ckptkit.rules.contents import Contents

_REBUILD = "run `ckptkit index`"


@rule("CK901", "an event cannot be read", of=Model, fix="restore the file from a copy, such as git", unless=("CK114",))
def event_unreadable(model: Model) -> Iterator[Fault]:
    """history/ says which versions were saved and where aliases went, one file for each event.

    An event that cannot be read is missing from that story.
    """
    for name, why in model.broken.items():
        yield refused(why, f"{HISTORY}/{name}")


@rule(
    "CK902",
    "a version has no saved event",
    of=Contents,
    severity="warning",
    fix="run `ckptkit index`, which takes in whatever verifies",
)
def event_missing(contents: Contents) -> Iterator[Fault]:
    """The event that records a save is what a version's digest is held against, years later.

    Its absence means that a save was interrupted right at its end, or that a folder was copied or renamed here by hand.
    """
    if contents.unknown and not contents.model.broken:
        was = {version: f"{version}, which was {before}" for before, version in contents.moved.items()}
        yield Fault(f"no saved event for {some([was.get(version, version) for version in contents.unknown])}", HISTORY)


@rule(
    "CK903",
    "a version is not the one that was saved",
    of=Sealed,
    fix="restore the version's folder from a copy, or find out who sealed it anew",
    unless=("CK202",),
)
def digest_differs(sealed: Sealed) -> Iterator[Fault]:
    """The digest of SHA256SUMS is not the one that was written into the history when the version was saved.

    Files may agree with SHA256SUMS and yet not be the ones that were saved: someone changed both, or copied another
    registry over this one, in which the number is another version's.
    """
    known = sealed.saved or tuple(sorted(sealed.told))
    if sealed.digest is not None and known and sealed.digest not in known:
        yield Fault(
            f"has the digest {sealed.digest[:19]}..., and {known[0][:19]}... was saved",
            hint=f"restore the folder from a copy; a version of its own can be kept: {_keep(sealed)}",
        )


@rule(
    "CK904",
    "two saves of one number",
    of=Sealed,
    fix="give the version that is here another number, and restore the other one from its copy",
    unless=("CK114", "CK903"),
)
def number_twice(sealed: Sealed) -> Iterator[Fault]:
    """A number names one version for ever, also a deleted one; saves of different digests make it name two.

    That happens where two copies of a registry went on separately and one was copied over the other, or git merged
    them, instead of `ckptkit merge`, which would have given one of the two another number.
    """
    if len(sealed.saved) > 1:
        others = [f"{digest[:19]}..." for digest in sealed.saved if digest != sealed.digest]
        yield Fault(
            f"was saved {len(sealed.saved)} times, with different digests; not here: {some(others)}",
            "",
            f"keep the one that is here: {_keep(sealed)}; then restore the other one, if it was not deleted",
        )


def _keep(sealed: Sealed) -> str:
    """What gives a version a number of its own; a command does that where a version was saved under the number."""
    if sealed.saved:
        return f"`ckptkit rename {sealed.ref} {sealed.free}`"
    version = sealed.ref.partition("/")[2]
    return f"`mv {version} {sealed.free}` in the model's folder, then `ckptkit index`"


@rule(
    "CK905",
    "a saved version is gone",
    of=Contents,
    severity="warning",
    fix="restore the folder from a copy, or record that it is gone with `ckptkit delete`",
)
def version_gone(contents: Contents) -> Iterator[Fault]:
    """The history records a save, and the folder is not there: it was removed by hand, or not copied along."""
    model = contents.model
    known = {*model.versions, *model.state.deleted, *model.state.aliases.values(), *contents.moved}
    gone = [version for version in model.state.saved if version not in known]
    if gone:
        mend = f"restore it from a copy, or record that it is gone: `ckptkit delete {model.name}/{gone[0]}`"
        yield Fault(f"saved and not there: {some(gone)}", hint=mend + ", and so for the others" * (len(gone) > 1))


@rule(
    "CK906",
    "an alias stands on nothing",
    of=Contents,
    fix="restore that version's folder from a copy, or move the alias",
)
def alias_dangling(contents: Contents) -> Iterator[Fault]:
    """Scripts ask for an alias to get a model; this one names a version that is not there."""
    model = contents.model
    known = {*model.versions, *contents.moved}
    for alias, version in model.state.aliases.items():
        if version in known:
            continue
        move = f"`ckptkit alias set {model.name}@{alias} VERSION`"
        if version in model.state.deleted:
            yield Fault(f"stands on {version}, which was deleted", f"@{alias}", f"move the alias: {move}")
        else:
            mend = f"restore {model.name}/{version} from a copy, or move the alias: {move}"
            yield Fault(f"stands on {version}, which is not there", f"@{alias}", mend)


@rule(
    "CK907",
    "an alias was moved in two places",
    of=Model,
    severity="warning",
    fix="set the alias once more, to the version that you mean",
    unless=("CK906",),
)
def alias_forked(model: Model) -> Iterator[Fault]:
    """Two copies of the registry moved the alias from the same place, and were merged.

    The later move wins, which may not be the one that was meant.
    """
    for heads, places in _forks(model):
        if (alias := heads[-1].alias) is not None:
            mend = f"set it to the one that you mean: `ckptkit alias set {model.name}@{alias} VERSION`"
            yield Fault(f"was moved to {places}", f"@{alias}", mend)


@rule(
    "CK908",
    "an alias link is not what the history says",
    of=Contents,
    severity="warning",
    fix=_REBUILD,
    unless=("CK907",),
)
def link_wrong(contents: Contents) -> Iterator[Fault]:
    """The links @NAME are there for cd and ls, and are derived from the history.

    Copies without links, and edits by hand, leave them missing or leading elsewhere. Where no links can be made,
    `links = false` in `[tool.ckptkit]` of pyproject.toml says that none are to be there.
    """
    model = contents.model
    if model.broken or not contents.links:
        return
    for alias, version in model.state.aliases.items():
        name = f"@{alias}"
        leads = model.links.get(name)
        if version not in model.versions:
            continue
        if name not in model.links:
            yield Fault(f"is missing; the alias stands on {version}", name)
        elif leads is None:
            yield _no_link(name, contents.texts.get(name))
        elif leads.rstrip("/") != version:
            yield Fault(f"leads to {leads}, and the alias stands on {version}", name)
    for name, target in model.links.items():
        if name.removeprefix("@") not in model.state.aliases:
            mend = "move it away, or set the alias" if target is None else f"{_REBUILD}, or set the alias"
            yield Fault("is no alias in the history", name, mend)


def _no_link(name: str, text: str | None) -> Fault:
    if text is not None and names.folder_number(text.strip().rstrip("/")):
        return Fault(
            f"is a file that says {text.strip()}, as git leaves it where it makes no links",
            name,
            f"remove it and {_REBUILD}, or set links = false in [tool.ckptkit] of pyproject.toml",
        )
    return Fault("is no link", name, f"{_REBUILD}, which replaces it if it equals a version; else move it away first")


@rule("CK909", "a derived file is out of date", of=Tree, severity="warning", fix=_REBUILD, unless=("CK114",))
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


@rule(
    "CK911",
    "a stage or description was set in two places",
    of=Model,
    severity="warning",
    fix="set it once more, to what you mean",
)
def words_forked(model: Model) -> Iterator[Fault]:
    """Two copies of the registry said different things of one version, or of the model, and were merged.

    The later word holds, which may not be the one that was meant; the other is in the history.
    """
    now = history.renumbered(model.events)
    for heads, words in _forks(model):
        last = heads[-1]
        version = history.number(last, now)
        if last.kind == "alias" or (version and version not in model.versions):
            continue
        ref = f"{model.name}/{version}" if version else model.name
        verb, value = ("stage", "STAGE") if last.kind == "stage" else ("describe", "TEXT")
        what = "put into the stages" if last.kind == "stage" else "described as"
        yield Fault(f"was {what} {words}", version or "", f"say what you mean: `ckptkit {verb} {ref} {value}`")


@rule(
    "CK912",
    "a deleted version is here",
    of=Contents,
    severity="warning",
    fix="keep it with `ckptkit index`, or delete it with `ckptkit delete`",
)
def version_back(contents: Contents) -> Iterator[Fault]:
    """It came back with a copy or a backup, or was deleted in another registry, which was merged; here it lives on."""
    model = contents.model
    for version in contents.back if not model.broken else ():
        yield Fault(
            f"was deleted on {model.state.deleted[version].time[:10]} and is here",
            version,
            f"`ckptkit index` takes it in, `ckptkit delete {model.name}/{version}` deletes it",
        )


@rule(
    "CK913", "two folders are one version", of=Contents, severity="warning", fix="delete the copy with `ckptkit delete`"
)
def version_copied(contents: Contents) -> Iterator[Fault]:
    """A version's folder was copied under another number; both hold the same files, under the same seal.

    Its digest then no longer says which of the two is meant. A copy for a change of one's own belongs elsewhere.
    """
    for version, original in contents.copies.items():
        mend = f"delete the copy: `ckptkit delete {contents.model.name}/{version}`"
        yield Fault(f"is the same version as {original}", version, mend)


def _forks(model: Model) -> Iterator[tuple[tuple[Event, ...], str]]:
    """The heads of each chain that ends in different ways, and in words how."""
    now = history.renumbered(model.events)
    for heads in model.state.heads.values():
        ends = [_end(event, now) for event in heads]
        if len(set(ends)) > 1:
            yield heads, some([f"{end} ({event.time})" for end, event in zip(ends, heads, strict=True)])


def _end(event: Event, now: Mapping[str, str]) -> str:
    if event.kind == "alias":
        return history.number(event, now) or "nowhere"
    return event.stage or "none" if event.kind == "stage" else repr((event.text or "")[:60])


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
    words_forked,
    version_back,
    version_copied,
)
