"""The shipped templates: where they are, and the model card filled in from a lineage.

The card has the sections of Mitchell et al. 2018, "Model Cards for Model Reporting" (https://arxiv.org/abs/1810.03993),
below a YAML block for the Hugging Face Hub (https://huggingface.co/docs/hub/model-cards). Whatever comes from outside
goes through ``markdown`` or the YAML writer, and is text in the card, never markup.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptkit import checkpoint, documents, markdown
from ckptkit.errors import CkptkitError
from ckptkit.model_card import data, details, hub, results
from ckptkit.record import Lineage

if TYPE_CHECKING:
    from jinja2 import Template

SECTIONS = (
    "Model Details",
    "Intended Use",
    "Factors",
    "Metrics",
    "Evaluation Data",
    "Training Data",
    "Quantitative Analyses",
    "Ethical Considerations",
    "Caveats and Recommendations",
)
"""The sections of a model card, by the names and in the order of Mitchell et al. 2018, section 4."""

TO_FILL = re.compile(r"(?:- \*\*[^*]+:\*\* )?_To be filled: (.+)_\s*")
"""A whole line of a card that still waits for a person; group 1 says for what."""

# What only a person knows, and the section that asks for it.
_ASKED = {
    "developers": "Model Details",
    "license": "Model Details",
    "contact": "Model Details",
    "citation": "Model Details",
    "intended_use": "Intended Use",
    "users": "Intended Use",
    "out_of_scope": "Intended Use",
    "factors": "Factors",
    "ethical_considerations": "Ethical Considerations",
    "caveats": "Caveats and Recommendations",
}

HUMAN_KEYS = (*_ASKED, "summary", "model_type", "language", "library_name", "pipeline_tag")
"""What a person may say in a card; the last five are welcome and not asked for."""

_ABOVE = "See the part written by hand, above."


def directory(name: str) -> Path:
    """The folder of a shipped template, such as ``checkpoint``.

    Raises:
        CkptkitError: this installation lacks it.
    """
    package = Path(__file__).parent
    for home in (package, package.parent):  # in a wheel inside the package, in a source tree beside it
        folder = home / "templates" / name
        if (folder / "cookiecutter.json").is_file():
            return folder
    raise CkptkitError(f"the template {name!r} is not part of this installation", "install ckptkit again")


def card(lineage: Lineage, *, digest: str, human: Mapping[str, str], body: str | None) -> str:
    """The model card of a version.

    Args:
        lineage: the record of the version.
        digest: the version's digest, ``sha256:<hex>``.
        human: what a person says, by the keys of ``HUMAN_KEYS``.
        body: a README.md that came with the saved files; it becomes the part written by hand.

    Raises:
        CkptkitError: ``human`` has a key that is not one of ``HUMAN_KEYS``.
    """
    for key in human:
        if key not in HUMAN_KEYS:
            raise CkptkitError(f"{key!r} is no part of a model card", f"the parts are {', '.join(HUMAN_KEYS)}")
    return _template(directory("checkpoint")).render(cookiecutter=_variables(lineage, digest, human, body))


def unfilled(text: str) -> tuple[str, ...]:
    """The sections of a card that still wait for a person, in the order of ``SECTIONS``."""
    found = markdown.sections(text)
    return tuple(name for name in SECTIONS if any(map(TO_FILL.fullmatch, found.get(name.casefold(), ()))))


@cache
def _template(folder: Path) -> "Template":
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    jinja = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
    return jinja.from_string((folder / "{{ cookiecutter.version }}" / checkpoint.CARD).read_text(encoding="utf-8"))


@cache
def _questions() -> Mapping[str, str]:
    """The marked lines of what only a person knows: the defaults that cookiecutter offers for them."""
    defaults = json.loads((directory("checkpoint") / "cookiecutter.json").read_bytes())
    return {key: defaults[key] for key in _ASKED}


def _variables(lineage: Lineage, digest: str, human: Mapping[str, str], body: str | None) -> dict[str, str]:
    theirs, notes = _by_hand(body)
    said = {key: value for key, value in human.items() if value.strip()}
    if isinstance(theirs.get("license"), str):
        said.setdefault("license", theirs["license"])
    return _answers(said, notes) | {
        "model": lineage.model,
        "version": lineage.version,
        "created": lineage.created,
        "front_matter": documents.dump_yaml(hub.metadata(lineage, said, theirs)).rstrip("\n"),
        "introduction": _introduction(lineage, said, notes),
        "developed": details.developed(lineage),
        "digest": markdown.code(digest),
        "type": details.kind(lineage, said.get("model_type", "")),
        "origin": details.origin(lineage),
        "training": details.procedure(lineage),
        "usage": details.usage(lineage),
        "evaluation_factors": results.evaluation_factors(lineage),
        "metrics": results.measures(lineage),
        "evaluation_data": data.evaluation_data(lineage),
        "training_data": data.training_data(lineage),
        "results": results.results(lineage),
        "not_known": details.unknown(lineage),
    }


def _answers(said: Mapping[str, str], notes: str) -> dict[str, str]:
    """What a person says, else where in ``notes`` it stands, else the marked line that asks for it."""
    written = {name for name, lines in markdown.sections(notes).items() if any(line.strip() for line in lines)}
    answers = {}
    for key, section in _ASKED.items():
        if key in said:
            item = section == "Model Details"  # a list item there, paragraphs elsewhere
            answers[key] = markdown.text(said[key]) if item else markdown.prose(said[key])
        else:
            answers[key] = _ABOVE if section.casefold() in written else _questions()[key]
    return answers


def _introduction(lineage: Lineage, said: Mapping[str, str], notes: str) -> str:
    tags = ", ".join(f"{markdown.text(key)} = {markdown.text(value)}" for key, value in lineage.tags.items())
    parts = (
        markdown.prose(said.get("summary", "")),
        f"Message at save: {markdown.text(lineage.message)}" if lineage.message else "",
        f"Tags: {tags}" if tags else "",
        "Facts and figures below are those of [lineage.json](lineage.json), recorded when this version was saved.",
        f"## Written by Hand\n\n{notes}" if notes else "",
    )
    return "\n\n".join(filter(None, parts))


# Keys that ModelCard cannot load, or that would contradict the lineage: an incoming model-index is as often as not that
# of the base model, and of two entries the Hub shows all results under the name of the last.
_WITHHELD = ("model-index", "eval_results", "self", "ignore_metadata_errors")


def _by_hand(body: str | None) -> tuple[dict[str, Any], str]:
    """The YAML keys and the text of an incoming README.md; what of its YAML is not taken over stays in the text."""
    read = checkpoint.load_card((body or "").removeprefix("\ufeff").encode("utf-8", "backslashreplace"))
    notes = markdown.closed(read.body.strip("\r\n"))
    theirs = dict(read.front) if isinstance(read.front, Mapping) else {}
    withheld = {key: theirs.pop(key) for key in _WITHHELD if key in theirs}
    why, kept = "", ""
    if withheld:
        why, kept = "This part of its YAML block was not taken over:", documents.dump_yaml(withheld)
    elif isinstance(read.front, checkpoint.Unreadable):
        why = f"Its YAML block was not taken over, as it could not be used ({markdown.text(read.front.reason)}):"
        kept = read.text[: len(read.text) - len(read.body)]
    if kept:
        notes = f"{notes}\n\n{why}\n\n{markdown.fenced(kept.strip(), 'yaml')}".lstrip("\n")
    return theirs, notes
