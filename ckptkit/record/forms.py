"""The forms of single values: names, digests, times, and the words that the record uses."""

from typing import Annotated, Literal

from ckptkit.typed import Form

LINEAGE = "ckptkit/lineage/1"
EVENT = "ckptkit/event/1"
STEP = "ckptkit/step/1"
STARTED = "ckptkit/started/1"

IN_THE_RUN: Literal["in the run"] = "in the run"
AT_SAVE: Literal["at save"] = "at save"
DECLARED: Literal["declared"] = "declared"
ANOTHER_PROCESS = "saved by another process"
NO_START = "when this process began is not known"

MODEL_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
Observed = Literal["in the run", "at save", "declared"]
Relation = Literal["finetuned", "resumed", "merged", "quantized", "distilled", "previous"]
ContentKind = Literal["file", "directory", "memory", "remote"]
NonFinite = Literal["NaN", "Infinity", "-Infinity"]
ModelName = Annotated[str, Form(MODEL_NAME)]
VersionName = Annotated[str, Form(r"v(0{3}[1-9]|0{2}[1-9]\d|0[1-9]\d{2}|[1-9]\d{3,17})")]
Hex256 = Annotated[str, Form(r"[0-9a-f]{64}")]
Digest = Annotated[str, Form(r"sha256:[0-9a-f]{64}")]
GitId = Annotated[str, Form(r"[0-9a-f]{40}|[0-9a-f]{64}")]
Time = Annotated[
    str,
    Form(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d{1,6})?Z"),
]
RelativePath = Annotated[str, Form(r"(?s)(?!/)(?!(.*/)?\.\.?(/|$)).+")]

Stage = Literal["none", "staging", "production", "archived"]
