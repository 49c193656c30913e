"""Which data: datasets, and the steps that made them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ckptkit.record.code import CodeState
from ckptkit.record.forms import ContentKind, Digest, ModelName, Observed, RelativePath, Time
from ckptkit.typed import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Content(Record):
    """What a step read or wrote; ``rows`` are lines of text or records of a table where they could be counted."""

    path: str | None
    outside: bool
    kind: ContentKind
    digest: Digest | None
    files: int | None
    bytes: int | None
    rows: int | None
    source: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Record):
    """One preparation of data, such as filtering, deduplication or tokenisation, as ``by`` recorded it.

    ``link`` tells whether its output is what the next step or the training read, ``reason`` why that is not so or not
    known; both None where nobody has followed the chain.
    """

    name: str
    by: Literal["ckptkit", "dvc", "huggingface"]
    params: Mapping[str, Any]
    command: tuple[str, ...] | None
    code: CodeState | None
    inputs: tuple[Content, ...]
    output: Content
    started: Time | None
    finished: Time | None
    seconds: float | None
    link: Literal["verified", "broken", "unverified"] | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset(Record):
    """One dataset. ``bytes`` and ``files`` count its content; ``changed_during_run`` is None when not known.

    ``sizes`` is a file that lists names and sizes where the content of a folder was not hashed.
    """

    name: ModelName
    path: str | None
    outside: bool
    kind: ContentKind
    digest: Digest | None
    files: int | None
    bytes: int | None
    manifest: RelativePath | None
    sizes: RelativePath | None = None
    source: Mapping[str, Any] | None
    steps: tuple[Step, ...]
    observed: Observed
    changed_during_run: tuple[str, ...] | None
