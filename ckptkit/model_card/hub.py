"""The YAML block of a model card, as the Hugging Face Hub reads it (https://huggingface.co/docs/hub/model-cards)."""

import re
from collections.abc import Mapping
from typing import Any

from ckptkit import documents, markdown
from ckptkit.model_card.results import measure
from ckptkit.record import Dataset, Lineage, Metric

_ORDER = ("language", "license", "license_name", "license_link", "library_name", "pipeline_tag", "tags", "datasets")
_RELATIONS = {"finetuned": "finetune", "merged": "merge", "quantized": "quantized"}
_HUB = re.compile(
    r"(hf://datasets/|https://huggingface\.co/datasets/)?([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)([/@].*)?", re.ASCII
)


def metadata(lineage: Lineage, said: Mapping[str, str], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """The block as plain values: guesses, over them an incoming README's keys, a person's answers, and the lineage.

    Args:
        lineage: the record of the version.
        said: a person's answers, none of them blank.
        theirs: the YAML keys of an incoming README.md.
    """
    datasets = [found for found in map(_hub_id, lineage.data) if found]
    guesses: dict[str, Any] = {"library_name": _library(lineage), "datasets": datasets}
    answers = {key: markdown.line(said[key]) for key in ("library_name", "pipeline_tag") if key in said}
    merged = guesses | dict(theirs) | answers | _licence(said, theirs) | _bases(lineage)
    merged["language"] = _languages(said, theirs)
    merged["tags"] = ["ckptkit", *(tag for tag in _listed(theirs.get("tags")) if tag != "ckptkit")]
    task = merged.get("pipeline_tag")
    merged["model-index"] = _model_index(lineage, task if isinstance(task, str) else "other")
    return {key: merged[key] for key in dict.fromkeys((*_ORDER, *merged)) if merged.get(key) not in (None, [])}


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - whatever stands in the YAML
    return value if isinstance(value, list) else [] if value is None else [value]


def _languages(said: Mapping[str, str], theirs: Mapping[str, Any]) -> list[Any]:
    if "language" in said:
        return re.findall(r"[a-z]+(?:-[a-z]+)*", said["language"].lower())
    # YAML 1.1 reads the code of Norwegian as false.
    return ["no" if each is False else each for each in _listed(theirs.get("language"))]


def _licence(said: Mapping[str, str], theirs: Mapping[str, Any]) -> dict[str, str | None]:
    """The licence as the Hub spells it: an SPDX id in lower case without its ending, or ``other`` and a name."""
    if "license" not in said:
        return {}
    word = re.sub(r"-(only|or-later)$", "", said["license"].strip().lower())
    if said["license"] == theirs.get("license"):
        return {"license": word}
    if re.fullmatch(r"[a-z0-9.+-]+", word):
        return {"license": word, "license_name": None, "license_link": None}
    return {"license": "other", "license_name": markdown.line(said["license"]), "license_link": None}


def _library(lineage: Lineage) -> str | None:
    """The Hub's name of the library that the files are for, where imports and files agree on one."""
    imported = {package.name.lower() for package in lineage.code.environment.packages if package.imported}
    formats = {file.format for file in lineage.weights.files}
    if "transformers" in imported and any(file.path == "config.json" for file in lineage.weights.files):
        return "transformers"
    if "torch" in imported and formats & {"safetensors", "torch"}:
        return "pytorch"
    return "sklearn" if "scikit-learn" in imported and formats & {"pickle", "joblib"} else None


def _hub_id(dataset: Dataset) -> str | None:
    """The id of a dataset on the Hub, where its path or source says that it is from there."""
    for text in (dataset.path, *(dataset.source or {}).values()):
        found = _HUB.fullmatch(text) if isinstance(text, str) else None
        if found and (found[1] or (dataset.kind == "remote" and text == dataset.path)):
            return found[2]
    return None


def _bases(lineage: Lineage) -> dict[str, Any]:
    """Models from elsewhere only: the reference of a parent here could be somebody else's id on the Hub."""
    ids = [markdown.line(base.id) for base in lineage.base_models]
    relations = {_RELATIONS.get(parent.relation or "") for parent in lineage.parents} - {None}
    if not ids:
        return {}
    base = {"base_model": ids[0] if len(ids) == 1 else ids}
    return base | {"base_model_relation": relations.pop()} if len(relations) == 1 else base


def _model_index(lineage: Lineage, task: str) -> list[dict[str, Any]]:
    """One entry with every finite metric, by dataset and split; empty without one."""
    results: dict[str, dict[str, Any]] = {}
    for name, metric in lineage.metrics.items():
        if isinstance(documents.finite(metric.value), str):
            continue
        where = _place(lineage, metric)
        result = results.setdefault(repr(where), {"task": {"type": task}, "dataset": where, "metrics": []})
        args = {key: value for key, value in (("n", metric.n), ("ci", list(metric.ci or ()))) if value}
        entry = {"type": markdown.line(measure(name, metric)), "value": metric.value}
        result["metrics"].append(entry | ({"args": args} if args else {}))
    return [{"name": f"{lineage.model}-{lineage.version}", "results": list(results.values())}] if results else []


def _place(lineage: Lineage, metric: Metric) -> dict[str, Any]:
    dataset = _evaluated_on(lineage, metric)
    place: dict[str, Any] = {"type": "other", "name": "not recorded"}
    if dataset:
        place = {"type": _hub_id(dataset) or "other", "name": dataset.name}
    if metric.split:
        place["split"] = markdown.line(metric.split)
    if dataset and dataset.digest:
        place["args"] = {"digest": dataset.digest}
    return place


def _evaluated_on(lineage: Lineage, metric: Metric) -> Dataset | None:
    """The dataset that is called as the metric's split, or the only one there is."""
    named = next((each for each in lineage.data if each.name == metric.split), None)
    return named or (lineage.data[0] if len(lineage.data) == 1 else None)
