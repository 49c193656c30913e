"""CK7, model card: whether README.md can be shown, says what people need, and speaks of this version."""

import re
from collections.abc import Iterator, Mapping

from ckptkit import templates
from ckptkit.checkpoint import CARD, Card, Checkpoint, Unreadable
from ckptkit.model_card.results import measure
from ckptkit.record import Lineage
from ckptkit.rules.base import Fault, refused, rule, some

_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
_DIGEST = re.compile(r"^- \*\*Digest:\*\*.*?(sha256:[0-9a-f]{64})", re.MULTILINE)

# The licences that the Hugging Face Hub knows by id, as of August 2026.
# https://huggingface.co/docs/hub/repositories-licenses
LICENCES = frozenset(
    """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
    afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0
    lgpl lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl
    openmdw-1.0 openmdw-1.1 openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr
    deepfloyd-if-license fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4
    grok2-community gemma unknown other
    """.split()  # noqa: SIM905 - a hundred words
)


@rule(
    "CK701",
    "the card has no YAML block",
    of=Card,
    fix="begin the file with a line ---, the block, and a line ---",
    unless=("CK114",),
)
def no_block(card: Card) -> Iterator[Fault]:
    """Licence, tags and results stand in a YAML block between two lines ---, at the very beginning of the card.

    Where anything comes before it, or the second line is missing, every reader passes over it without a word.
    """
    if card.front is None:
        yield Fault("has no YAML block that a reader would see", line=1)


@rule(
    "CK702",
    "the card's YAML block is broken",
    of=Card,
    fix="mend the YAML between the two lines ---",
    unless=("CK114",),
)
def broken_block(card: Card) -> Iterator[Fault]:
    """A block that is not YAML, or not a mapping, makes readers of the card fail or ignore it."""
    if isinstance(card.front, Unreadable):
        yield refused(card.front)


@rule(
    "CK703",
    "the card lacks sections",
    of=Card,
    severity="warning",
    fix="add the sections as headings; one that does not apply can say why",
    unless=("CK701", "CK702"),
)
def sections_missing(card: Card) -> Iterator[Fault]:
    """A model card has the nine sections of Mitchell et al. 2018, section 4.

    A reader then finds the same answers in each card, and sees which are not given.
    """
    present = {heading.casefold() for heading in _HEADING.findall(card.body)}
    missing = [name for name in templates.SECTIONS if name.casefold() not in present]
    if missing:
        yield Fault(f"has no section {some(missing, len(missing))}")


@rule(
    "CK704",
    "the card waits to be filled",
    of=Card,
    severity="warning",
    fix="write what only you know in place of the lines _To be filled: ..._",
)
def sections_unfilled(card: Card) -> Iterator[Fault]:
    """What a model is for, whom it may harm and what was not tested, only people can say.

    An empty promise in a published card is worse than none.
    """
    if names := list(templates.unfilled(card.body)):
        many = f"{len(names)} sections wait" if len(names) > 1 else "1 section waits"
        yield Fault(f"{many} to be filled: {some(names, len(names))}")


@rule(
    "CK705",
    "the card names no licence",
    of=Card,
    severity="warning",
    fix="add license: ID to the YAML block, such as license: apache-2.0",
)
def no_licence(card: Card) -> Iterator[Fault]:
    """Without a licence nobody else may use the model, whatever was meant."""
    if isinstance(card.front, Mapping) and not card.front.get("license"):
        yield Fault("names no licence")


@rule(
    "CK706",
    "the licence is not one of the Hub's ids",
    of=Card,
    severity="warning",
    fix="write the Hub's id in lower case, or license: other with license_name and license_link",
)
def foreign_licence(card: Card) -> Iterator[Fault]:
    """The Hugging Face Hub takes licences by its own list of ids and refuses a card with any other word.

    SPDX spelling such as Apache-2.0 is not among them.
    """
    front = card.front if isinstance(card.front, Mapping) else {}
    given = front.get("license")
    for licence in given if isinstance(given, list) else [given] if given else []:
        if licence not in LICENCES:
            yield Fault(f"{licence!r} is no licence that the Hub knows")
        elif licence == "other" and not (front.get("license_name") and front.get("license_link")):
            yield Fault("license: other needs license_name and license_link")


@rule(
    "CK707",
    "the card is of another version",
    of=Checkpoint,
    fix="put the card of this version here, or write the digest that `sha256sum SHA256SUMS` prints",
    unless=("CK114", "CK202", "CK903"),
)
def other_digest(found: Checkpoint) -> Iterator[Fault]:
    """The card bears the digest of the version that it describes.

    Another one means that a card was copied from elsewhere, so its numbers are not about these weights.
    """
    if isinstance(found.card, Card) and found.digest is not None:
        said = _DIGEST.search(found.card.text)
        if said and said[1] != found.digest:
            yield Fault(
                f"speaks of {said[1][:19]}..., and this version is {found.digest[:19]}...",
                CARD,
                line=found.card.text.count("\n", 0, said.start()) + 1,
            )


@rule(
    "CK708",
    "the card gives other results",
    of=Checkpoint,
    fix="write the values that lineage.json records; a later measurement does not belong into this version's results",
    unless=("CK102", "CK103", "CK205", "CK903"),
)
def other_results(found: Checkpoint) -> Iterator[Fault]:
    """The results in the card's YAML block are what the Hub shows; they are those that lineage.json records.

    A card may be edited after the save, and a number in it is easily improved by accident.
    """
    card, lineage = found.card, found.lineage
    if not isinstance(card, Card) or not isinstance(lineage, Lineage):
        return
    recorded: dict[object, list[object]] = {}
    for name, metric in lineage.metrics.items():
        recorded.setdefault(measure(name, metric), []).append(metric.value)
    for kind, value in _results(card.front):
        if kind in recorded and value not in recorded[kind]:
            yield Fault(f"gives {kind} as {value}; lineage.json records {some(list(map(str, recorded[kind])))}", CARD)


def _results(front: object) -> Iterator[tuple[object, object]]:
    """Name and value of every metric in the ``model-index`` of a YAML block, whatever shape it has."""
    for index in _list(front, "model-index"):
        for result in _list(index, "results"):
            for metric in _list(result, "metrics"):
                if isinstance(metric, Mapping) and isinstance(metric.get("type"), str):
                    yield metric["type"], metric.get("value")


def _list(value: object, key: str) -> list[object]:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, list) else []


RULES = (
    no_block,
    broken_block,
    sections_missing,
    sections_unfilled,
    no_licence,
    foreign_licence,
    other_digest,
    other_results,
)
