"""CK1, layout: the files and names that a version folder consists of, and whether they can be read."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ckptkit import names
from ckptkit.checkpoint import CARD, CONFIG, LINEAGE, SUMS, Checkpoint, Unreadable
from ckptkit.errors import CkptkitError
from ckptkit.record import LINEAGE as SCHEMA
from ckptkit.record import Lineage
from ckptkit.registry import Model
from ckptkit.rules.base import Fault, Texts, absent, refused, rule, unread

_VIOLATIONS = 20
"""Most violations of the schema that are told one by one."""

_SHOWN = 60
_VERSION_LIKE = re.compile(r"v[0-9]+", re.ASCII | re.IGNORECASE)
_MARK = "<<<<<<< "
_GIVEN = frozenset({"metrics", "parents", "base_models", "tags", "message", "card", "aliases", "run.step", "run.epoch"})


@rule(
    "CK101",
    "lineage.json is missing",
    of=Checkpoint,
    fix="restore the folder from a copy; a record that was lost cannot be made again from the weights",
)
def lineage_missing(found: Checkpoint) -> Iterator[Fault]:
    """lineage.json says which data, code, configuration and compute made this checkpoint.

    Without it the weights are there and nobody can say where they come from.
    """
    if absent(found, LINEAGE):
        both = absent(found, SUMS)
        yield Fault(f"is missing, and so is {SUMS}: nothing here tells of a version" if both else "is missing", LINEAGE)


@rule(
    "CK102",
    "lineage.json cannot be read",
    of=Checkpoint,
    fix="restore the file from a copy, such as git",
    unless=("CK114",),
)
def lineage_unreadable(found: Checkpoint) -> Iterator[Fault]:
    """A lineage.json that is cut off, not JSON, or closed to this user answers no question.

    The usual causes are an interrupted copy and an edit by hand.
    """
    if why := unread(found, LINEAGE, found.raw):
        yield refused(why, LINEAGE)


def _is_newer(raw: Any) -> bool:  # noqa: ANN401 - any JSON
    family, _, number = SCHEMA.rpartition("/")
    said = raw.get("schema") if isinstance(raw, Mapping) else None
    later = re.fullmatch(rf"{family}/([1-9][0-9]{{0,8}})", said) if isinstance(said, str) else None
    return later is not None and int(later[1]) > int(number)


@rule("CK103", "lineage.json is not of its schema", of=Checkpoint, fix="restore the file from a copy, such as git")
def lineage_invalid(found: Checkpoint) -> Iterator[Fault]:
    """Whatever reads a record relies on its public schema, ckptkit/schemas/lineage.schema.json.

    A key that is missing or a value of another form means that the file was written or edited by something else.
    Each violation is told with its JSON pointer.
    """
    entry = found.entries.get(LINEAGE)
    if entry is None or entry.kind != "file" or unread(found, LINEAGE, found.raw) or _is_newer(found.raw):
        return
    if isinstance(found.lineage, Lineage):
        return
    try:
        told = list(_violations(found.raw))
    except RecursionError:  # values nested nearly as deep as JSON may be
        told = []
    for message in told[:_VIOLATIONS]:
        yield Fault(message, LINEAGE)
    if len(told) > _VIOLATIONS:
        yield Fault(f"has {len(told) - _VIOLATIONS} more violations of its schema", LINEAGE)
    if not told:
        yield refused(found.lineage or Unreadable(reason="is null, not an object"), LINEAGE)


def _violations(raw: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    """One sentence for each place at which a document violates the schema, in the order of the places."""
    import importlib.resources
    import json

    import jsonschema

    schema = json.loads((importlib.resources.files("ckptkit") / "schemas" / "lineage.schema.json").read_bytes())
    places: dict[tuple[str, ...], list[jsonschema.ValidationError]] = {}
    for error in jsonschema.Draft202012Validator(schema).iter_errors(raw):
        places.setdefault(tuple(map(str, error.absolute_path)), []).append(error)
    for _, errors in sorted(places.items()):
        error = jsonschema.exceptions.best_match(errors)
        steps = "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in error.absolute_path)
        yield f"{steps or 'the document'}: {_in_words(error)}"


def _in_words(error: Any) -> str:  # noqa: ANN401 - jsonschema is imported only where it is needed
    if error.validator in {"required", "additionalProperties", "minItems", "maxItems", "uniqueItems"}:
        return str(error.message)[:200]
    shown = repr(error.instance)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
    wanted = {
        "type": f"is not of type {error.validator_value}",
        "enum": f"is not one of {error.validator_value}",
        "const": f"is not {error.validator_value!r}",
        "pattern": f"is no {error.schema.get('title')} ({error.schema.get('description')})",
    }
    return f"{shown} {wanted.get(error.validator, f'violates {error.validator} {error.validator_value!r:.100}')}"


@rule(
    "CK104",
    "lineage.json is of a newer format",
    of=Checkpoint,
    fix="install a newer release of ckptkit",
)
def lineage_newer(found: Checkpoint) -> Iterator[Fault]:
    """The file says that it is of a format that came after this release, which could only misread it.

    Nothing need be wrong with the file.
    """
    if isinstance(found.lineage, Unreadable) and not isinstance(found.raw, Unreadable) and _is_newer(found.raw):
        yield refused(found.lineage, LINEAGE)


@rule(
    "CK105",
    "README.md is missing",
    of=Checkpoint,
    severity="warning",
    fix="restore the model card from a copy, such as git, or write a new one",
)
def card_missing(found: Checkpoint) -> Iterator[Fault]:
    """README.md is the model card: what the model is for, how it was measured, and what not to use it for.

    Every version is saved with one.
    """
    if absent(found, CARD) and not (absent(found, LINEAGE) and absent(found, SUMS)):
        yield Fault("is missing", CARD)


@rule("CK106", "README.md cannot be read", of=Checkpoint, fix="save the model card as UTF-8 text")
def card_unreadable(found: Checkpoint) -> Iterator[Fault]:
    """A model card that is not UTF-8 text, or that this user may not open, is shown by nothing."""
    if why := unread(found, CARD, found.card):
        yield refused(why, CARD)


@rule(
    "CK107",
    "config.yaml cannot be read",
    of=Checkpoint,
    fix="restore the file from a copy, such as git",
    unless=("CK114",),
)
def config_unreadable(found: Checkpoint) -> Iterator[Fault]:
    """config.yaml holds every hyperparameter; what is not YAML, or says one key twice, says none for certain."""
    if why := unread(found, CONFIG, found.config):
        yield refused(why, CONFIG)


@rule("CK108", "a record that lineage.json names is missing", of=Checkpoint, fix="restore the file from a copy")
def record_missing(found: Checkpoint) -> Iterator[Fault]:
    """lineage.json refers to the files beside it: configuration, requirements, patch and manifests of datasets.

    One that is neither there nor listed in SHA256SUMS was never sealed with the version.
    """
    if not isinstance(found.lineage, Lineage):
        return
    code = found.lineage.code
    named = [
        found.lineage.config.file,
        code.environment.requirements,
        code.repository.patch if code.repository else None,
        *(path for dataset in found.lineage.data for path in (dataset.manifest, dataset.sizes)),
    ]
    listed = found.sums if isinstance(found.sums, Mapping) else {}
    for path in named:
        if path and absent(found, path) and path not in listed:
            yield Fault(f"is named in {LINEAGE} and not there", path)


@rule(
    "CK109",
    "something that is neither file nor folder",
    of=Checkpoint,
    fix="put a copy of the file in its place, or remove it",
)
def wrong_kind(found: Checkpoint) -> Iterator[Fault]:
    """A version is plain files in plain folders, so that it can be copied anywhere and stays what it was.

    A link leads out of what is sealed; a pipe or a device holds no content at all.
    """
    for path, entry in found.entries.items():
        if entry.kind == "link":
            yield Fault("is a link", path)
        elif entry.kind == "other":
            yield Fault("is a pipe, socket or device", path)


@rule("CK110", "a folder cannot be listed", of=Checkpoint, fix="give yourself the right to read it: chmod u+rX")
def unlistable(found: Checkpoint) -> Iterator[Fault]:
    """What this user may not list cannot be checked, and a check that passes over it would say too much."""
    for path, entry in found.entries.items():
        if entry.kind == "unreadable":
            yield Fault("cannot be listed", "" if path == "." else path)


@rule(
    "CK111",
    "a version folder is misnamed",
    of=Model,
    fix="rename it to v and at least four digits, such as v0001, or move it out of the model's folder",
)
def misnamed_version(model: Model) -> Iterator[Fault]:
    """Versions are folders called v0001, v0002 and so on, past v9999 with more digits.

    A folder called v1, V0001 or v00001 looks like one and is seen by no command; on some disks it would even collide
    with the real one.
    """
    for name in model.others:
        if names.folder_number(name):
            yield Fault("bears a version's name and is not a folder", name)
        elif _VERSION_LIKE.fullmatch(name):
            yield Fault("is no version's name", name)


@rule("CK112", "a model's name is not allowed", of=Model, fix="rename the model's folder")
def misnamed_model(model: Model) -> Iterator[Fault]:
    """A model's folder is also its name in references, paths and URLs, on every file system.

    So it is made of letters, digits, dots, dashes and underscores, and means nothing else anywhere.
    """
    try:
        names.require_model(model.name)
    except CkptkitError as error:
        yield Fault(error.message, hint=f"rename the folder; {error.hint}")


@rule(
    "CK113",
    "something given at save was not recorded",
    of=Lineage,
    severity="warning",
    fix="save again with what was refused put right",
)
def not_recorded(lineage: Lineage) -> Iterator[Fault]:
    """At the end of a training a wrong argument never costs the version: it is published, and the reason kept.

    A metric, parent or tag that was given and is not here may be missed later.
    """
    for fact, reason in lineage.unknown.items():
        if _GIVEN & {fact, re.split(r"[.\[]", fact)[0]}:
            yield Fault(f"{fact} was given and is not recorded: {reason}")


@rule(
    "CK114",
    "git left a conflict in a file",
    of=Texts,
    fix="take one side whole, in this folder: `git checkout --ours -- .`, or --theirs",
)
def conflict(texts: Texts) -> Iterator[Fault]:
    """A merge by git wrote both sides into the file, between lines of <<<<<<< and >>>>>>>; neither can be read so.

    Versions and events never change, so two sides of one are two that were saved under one name, and of a mixture of
    both nothing can be verified.
    """
    for path, text in texts.files.items():
        at = f"\n{text}".find(f"\n{_MARK}")
        if at >= 0:
            yield Fault("holds a conflict that git left", path, texts.mend, line=text.count("\n", 0, at) + 1)


RULES = (
    lineage_missing,
    lineage_unreadable,
    lineage_invalid,
    lineage_newer,
    card_missing,
    card_unreadable,
    config_unreadable,
    record_missing,
    wrong_kind,
    unlistable,
    misnamed_version,
    misnamed_model,
    not_recorded,
    conflict,
)
