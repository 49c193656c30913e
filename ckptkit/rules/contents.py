"""A model's version folders against its history: which are copies, which were renamed by hand, which nobody knows."""

from collections.abc import Mapping
from dataclasses import dataclass

from ckptkit import history, names
from ckptkit.registry import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """A model, and what is in its folder beyond names and events.

    ``copies`` are the folders that hold what another one holds, which is named; ``moved`` the saved versions whose
    folder was renamed by hand, and how it is called; ``back`` those that were deleted and are here; ``unknown`` the
    further folders without a ``saved`` event, but for those of which the number was another version's. ``texts`` is
    what the event files say that cannot be read as events, and the files that stand where a link should, by path;
    ``links`` tells whether there are to be links.
    """

    model: Model
    copies: Mapping[str, str]
    moved: Mapping[str, str]
    back: tuple[str, ...]
    unknown: tuple[str, ...]
    texts: Mapping[str, str]
    links: bool


def compare(model: Model, digests: Mapping[str, str], texts: Mapping[str, str], *, links: bool) -> Contents:
    """What a model's folders come to.

    Args:
        model: the model as read.
        digests: those of the version folders whose SHA256SUMS could be read.
        texts: see ``Contents``.
        links: see ``Contents``.
    """
    saved, before = model.state.digests, history.told(model.events)
    known = {version: saved.get(version) or before.get(version) for version in digests}
    own = {version: digest for version, digest in digests.items() if digest in (known[version] or (digest,))}
    first: dict[str, str] = {}
    for version in sorted(own, key=lambda each: (each not in saved, names.folder_number(each))):
        first.setdefault(own[version], version)
    copies = {version: first[digest] for version, digest in own.items() if first[digest] != version}
    here = {digest: version for version, digest in digests.items() if version not in saved and version not in copies}
    gone = [(version, here.get(digest)) for version in saved.keys() - {*model.versions} for digest in saved[version]]
    back = tuple(version for version, event in model.state.deleted.items() if digests.get(version, "") == event.digest)
    return Contents(
        model=model,
        copies=copies,
        moved={version: place for version, place in sorted(gone) if place},
        back=back,
        unknown=tuple(
            version
            for version in model.unrecorded
            if version not in {*copies, *back} and (version in own or version not in digests)
        ),
        texts=texts,
        links=links,
    )
