import copy
import dataclasses
import json
import re
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from lineages import EARLIER, lineage, step

from ckptkit.errors import FormatError
from ckptkit.record import Event, Lineage, Metric, Sidecar
from ckptkit.typed import Record

SCHEMAS = Path(__file__).parent.parent / "ckptkit" / "schemas"
RECORDS: dict[str, type[Record]] = {"lineage": Lineage, "event": Event, "step": Sidecar}


def schema(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    return loaded


VALIDATORS = {name: Draft202012Validator(schema(name)) for name in RECORDS}
PARTS = {
    (name, top): Draft202012Validator({"$defs": whole["$defs"], "properties": {top: part}})
    for name in RECORDS
    for whole in [schema(name)]
    for top, part in whole["properties"].items()
}


def rich() -> dict[str, Any]:
    """A lineage in which nothing is empty and nothing stands twice."""
    whole = lineage(
        base_models=[{"id": "google-bert/bert-base-uncased", "revision": "86b5e0934494"}],
        code__repository__patch="code.patch",
        code__repository__omitted=[{"path": "big.bin", "bytes": 9, "reason": "too large"}],
        code__repository__submodules=[{"path": "lib", "commit": "c3" * 32, "dirty": False}],
        code__environment__editable=[{"name": "own", "version": "1.0", "path": ".", "outside": False}],
        code__environment__lockfiles=[{"path": "uv.lock", "sha256": "07" * 32}],
        compute__memory__limit=1 << 30,
        compute__gpus=[{"index": 0, "name": "NVIDIA A100", "memory": 1, "compute_capability": "8.0"}],
        compute__precision__effective={"matmul": "tf32", "conv": None},
        run__job={"id": "17"},
        run__links=[{"system": "wandb", "id": "1", "url": "https://example.org/run/1"}],
        unknown={"compute.driver": "nvidia-smi is not installed"},
    )
    listed = {"manifest": "data/train.sha256", "sizes": "data/train.sizes"}
    whole["data"][0] |= {**listed, "source": {"url": "x"}, "steps": [step()]}
    whole["config"]["changed_during_run"] = ["config.yaml"]
    whole["metrics"]["diverged"] = "NaN"
    whole["metrics"]["plain"] = 0.5
    whole["metrics"]["accuracy"] |= {"ci": [0.9, "Infinity"], "slices": {"species": {"Adelie": {"value": 1, "n": 27}}}}
    whole["code"]["environment"]["packages"] = whole["code"]["environment"]["packages"][:1]
    whole["config"]["values"] = {"lr": 0.3}
    whole["redacted"] = {"config.values": 1}
    _enrich(whole["code"], whole["config"], whole["compute"], whole["run"])
    return whole


def _enrich(code: Any, config: Any, compute: Any, run: Any) -> None:
    """Fill in what is empty in most records."""
    state = {"commit": "c3" * 20, "dirty": True, "tree": "d4" * 20}
    code["repository"]["bundle"] = "code.bundle"
    code["foreign"] = [{"name": "remote", "path": "remote.py", "outside": True, "sha256": "31" * 32}]
    code["sources"] = [{"path": "local.py", "file": "code/local.py", "sha256": "32" * 32}]
    code |= {"changed_functions": {"train.py": ["loss"]}, "at_start": state, "at_save": state | {"dirty": False}}
    origin = {"kind": "vcs", "url": "https://example.org/a", "commit": "c5", "sha256": None, "subdirectory": "lib"}
    environment = code["environment"]
    known = {"local": "2.0+cpu", "mapped": True, "record": "33" * 32, "origin": origin}
    environment["packages"] = [environment["packages"][0] | known]
    environment["python"]["flags"] = {"optimize": 1}
    environment["editable"][0] |= {"url": "https://example.org/own", "code": state}
    environment["lockfiles"][0]["differs"] = [{"name": "numpy", "locked": ["1.0"], "installed": "2.0"}]
    environment["requirements_vcs"] = "requirements-vcs.txt"
    conda = {"name": "mkl", "version": "2026", "build": "h0", "channel": "main", "sha256": "34" * 32, "md5": "35" * 16}
    environment["conda"] = [conda]
    component = {"name": "main", "type": "torch.optim.sgd.SGD", "settings": {"lr": 0.3}, "file": "optimizer.pt"}
    config |= {"optimizers": [component], "schedulers": [component], "dataloaders": [component]}
    config["generators"] = {"at_start": {"torch.initial_seed": 7}, "at_save": {"random": f"sha256:{'36' * 32}"}}
    compute["cpu"] |= {"stepping": "family 25", "affinity": "0-3", "quota": 1.5}
    compute["gpus"][0] |= {"multiprocessors": 108, "vbios": "92.00", "ecc": True, "mig": False}
    compute["container"] = {"kind": "docker", "image": "ours:7"}
    compute |= {"gpus_in_use": compute["gpus"], "files": {"nccl.conf": "37" * 32}}
    machine = {name: compute[name] for name in ("platform", "cpu", "memory", "gpus", "driver", "libraries")}
    compute["ranks"] = [{"ranks": "1-7", **machine}]
    times = {name: run[name] for name in ("started", "finished", "seconds", "step", "job")}
    run["segments"] = [{"run": "r1", "version": "penguins/v0001", **times, "compute": copy.deepcopy(compute)}]
    run["restarts"] = 1


def sidecar() -> dict[str, Any]:
    """The file beside the output of a step."""
    tool = {"name": "ckptkit", "version": "0.1.0"}
    return {"schema": "ckptkit/step/1", "step": step(), "unknown": {"step.output.rows": "is binary"}, "tool": tool}


def event() -> dict[str, Any]:
    """An event that has the fields of all kinds, none of them empty."""
    measured = rich()
    return {
        "schema": "ckptkit/event/1",
        "id": "20261124T100002.123456Z-0a1b2c3d",
        "time": "2026-11-24T10:00:02.123456Z",
        "kind": "evaluated",
        "model": "penguins",
        "version": "v0002",
        "digest": f"sha256:{'a1' * 32}",
        "alias": "champion",
        "stage": "production",
        "text": "the one in the paper",
        "was": "v0001",
        "became": "birds",
        "previous": "20261123T100002.123456Z-0a1b2c3d",
        "settles": ["20261123T100003.123456Z-0a1b2c3d"],
        "files": [{"path": "model.safetensors", "bytes": 416, "sha256": "18" * 32}],
        **{part: measured[part] for part in ("metrics", "data", "code", "compute")},
        "unknown": {"code.repository.patch": "an event keeps none"},
        "reason": "better on every island",
    }


DOCUMENTS = {"lineage": rich(), "event": event(), "step": sidecar()}

TYPES: tuple[Any, ...] = (
    *(None, True, 1, -1, 0.5, "", "text", "NaN", [], ["text"], {}, {"key": "text"}),
    *([1], {"key": 1}, [None], {"key": None}, ["NaN"], {"key": {"key": {"value": 1}}}),
)
WORDS = (  # what comes close to the forms
    *("NaN", "Infinity", "nan", "main\n", "in the run", "at save\n", "declared", "file", "conda", "resumed"),
    *(
        "v0001",
        "v1",
        "v0000",
        "v00001",
        "v10000",
        "v\u0660\u0660\u0660\u0661",
        "ckptkit/lineage/1",
        "ckptkit/event/1",
        "penguins\n",
    ),
    *("a" * 64, "a" * 40, "A" * 64, "a" * 63, f"sha256:{'a' * 64}", f"sha256:{'a' * 64}\n", f"SHA256:{'a' * 64}"),
    *("a/b", "a//b", "a/./b", "a/../b", "..", ".", "../a", "/a", "a/", "a/..", ".a", "a..", "a\nb", "a\n", "./a\n"),
    *("2026-11-24T10:00:02Z", "2026-11-24T10:00:02.1Z", "2026-11-24T10:00:02.1234567Z", "2026-11-24 10:00:02Z"),
    *("2026-13-24T10:00:02Z", "2026-11-32T10:00:02Z", "2026-11-24T24:00:00Z", "2026-11-24T10:00:02+00:00"),
    *("2026-11-24T10:00:02Z\n", "٢٠٢٦-11-24T10:00:02Z", "20261124T100002.123456Z-0a1b2c3d", "a" * 96, "a" * 97, "a.b"),
)


def valid(name: str, changed: dict[str, Any], pointer: tuple[str | int, ...]) -> bool:
    """Whether the schema accepts a document in which only what stands at ``pointer`` may be wrong."""
    if len(pointer) == 1:
        return VALIDATORS[name].is_valid(changed)
    top = str(pointer[0])
    return PARTS[name, top].is_valid({top: changed[top]})


def pointers(value: Any, here: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where everything in a JSON document stands, but for the document itself."""
    children: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*here, key)
        yield from pointers(child, (*here, key))


def stands_twice(name: str, pointer: tuple[str | int, ...]) -> bool:
    """Whether the same part is changed elsewhere: an event's axes in the lineage, a segment's compute in the whole."""
    return pointer[3:4] == ("compute",) or (name == "event" and pointer[0] in {"code", "compute"} and len(pointer) > 1)


def mutations(whole: dict[str, Any], pointer: tuple[str | int, ...]) -> Iterator[dict[str, Any]]:
    """The document without what stands at ``pointer``, with one key more in it, and with other things in its place."""
    changed = copy.deepcopy(whole)
    parent: Any = changed
    for key in pointer[:-1]:
        parent = parent[key]
    value = parent.pop(pointer[-1])
    yield changed
    if isinstance(parent, list):
        parent.insert(int(pointer[-1]), value)
    if isinstance(value, dict):
        parent[pointer[-1]] = value | {"a key of a later release": {"any": ["thing"]}}
        yield changed
    for other in (*TYPES, *WORDS) if isinstance(value, str) else TYPES:
        parent[pointer[-1]] = other
        yield changed


def is_refused(name: str, document: object) -> bool:
    try:
        RECORDS[name].from_dict(document)
    except FormatError:
        return True
    return False


@pytest.mark.parametrize("name", RECORDS)
def test_the_schema_is_a_schema_also_in_the_terms_of_draft_07(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    Draft7Validator.check_schema(schema(name))
    assert schema(name)["$id"] == f"urn:ckptkit:schema:{name}:1"


@pytest.mark.parametrize("name", RECORDS)
def test_a_complete_document_is_accepted_by_both(name: str) -> None:
    assert [error.message for error in VALIDATORS[name].iter_errors(DOCUMENTS[name])] == []
    assert RECORDS[name].from_dict(DOCUMENTS[name]).to_dict() == DOCUMENTS[name]


def test_a_record_of_an_earlier_release_is_accepted_by_both() -> None:
    assert VALIDATORS["lineage"].is_valid(EARLIER)
    assert Lineage.from_dict(EARLIER).to_dict() == lineage()


@pytest.mark.parametrize(
    ("name", "pointer"),
    [(name, pointer) for name in RECORDS for pointer in pointers(DOCUMENTS[name]) if not stands_twice(name, pointer)],
    ids=lambda value: value if isinstance(value, str) else "/".join(map(str, value)),
)
def test_a_changed_document_is_refused_by_both_or_by_neither(name: str, pointer: tuple[str | int, ...]) -> None:
    refused = 0
    for changed in mutations(DOCUMENTS[name], pointer):
        expected = is_refused(name, changed)
        assert valid(name, changed, pointer) is not expected, changed
        refused += expected
    free = ("seed", "values", "params", "source", "flags", "determinism", "threads", "settings", "at_start", "at_save")
    assert refused or not {*free}.isdisjoint(map(str, pointer)), "nothing is refused here"


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("value", [None, [], "text", 1, {}])
def test_something_else_is_refused_by_both(name: str, value: object) -> None:
    assert is_refused(name, value)
    assert not VALIDATORS[name].is_valid(value)


def definitions(name: str) -> Iterator[tuple[type[Record], dict[str, Any]]]:
    """Every record that a document is made of, with its part of the schema."""
    whole = schema(name)
    seen: set[type[Record]] = set()
    waiting = [RECORDS[name]]
    while waiting:
        record = waiting.pop()
        if record in seen:
            continue
        seen.add(record)
        part = whole if record is RECORDS[name] else whole["$defs"][record.__name__]
        yield record, part["anyOf"][-1] if record is Metric else part
        waiting += [each for kind in get_type_hints(record).values() for each in records(kind)]


def records(kind: Any) -> Iterator[type[Record]]:
    if isinstance(kind, type) and issubclass(kind, Record):
        yield kind
    for argument in get_args(kind):
        yield from records(argument)


@pytest.mark.parametrize("name", RECORDS)
def test_names_and_what_is_required_agree(name: str) -> None:
    defined = {"$schema", "$id", "Observed", "NonFinite"}
    for record, part in definitions(name):
        fields = [field for field in dataclasses.fields(record) if field.name != "extra"]
        assert list(part["properties"]) == [field.name for field in fields]
        assert part["required"] == [
            field.name
            for field in fields
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        ]
        assert part.get("additionalProperties", True) is True
        defined.add(record.__name__)
        for prose in (part, *part["properties"].values()):
            assert prose["title"]
            assert prose["description"].endswith(".")
    leftover = {key for key, part in schema(name)["$defs"].items() if "properties" in part} - defined
    assert not leftover


def test_what_both_schemas_define_is_the_same_but_for_the_prose() -> None:
    ours, theirs = (json.loads(json.dumps(schema(name)["$defs"]), object_hook=bare) for name in ("event", "lineage"))
    assert set(ours) - set(theirs) == {"SealedFile"}
    assert {key: part for key, part in ours.items() if key in theirs} == {
        key: theirs[key] for key in ours if key in theirs
    }


def bare(part: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key != "description" or isinstance(value, dict)}


def portable(form: str) -> str:
    r"""A form that Python and ECMA 262 read alike: ``\d`` and ``.`` differ, and Python's ``$`` ends before \n."""
    shared = form.removeprefix("(?s)").replace(r"\d", "[0-9]").replace(".*", r"[\s\S]*").replace(".+", r"[\s\S]+")
    return rf"^(?:{shared})$(?!\n)"


@pytest.mark.parametrize("name", RECORDS)
def test_the_patterns_are_those_of_the_record(name: str) -> None:
    whole = schema(name)
    compared = 0
    for record, part in definitions(name):
        for field, kind in get_type_hints(record, include_extras=True).items():
            if field not in part["properties"]:  # extra, and what belongs to the class
                continue
            wanted = sorted(forms(kind))
            found = sorted(patterns(part["properties"][field], whole))
            assert found == wanted, f"{record.__name__}.{field}"
            compared += len(wanted)
    assert compared > 5


def forms(kind: Any) -> Iterator[str]:
    """The forms of strings and the words that a type allows, less those of records in it."""
    if get_origin(kind) is Annotated:
        form = str(get_args(kind)[1])
        yield form if re.fullmatch(r"[a-z/1]+", form) else portable(form)
    elif get_origin(kind) is Literal:
        yield from get_args(kind)
    elif get_origin(kind) in {types.UnionType, Union, tuple, Mapping}:
        for argument in get_args(kind):
            yield from forms(argument)


def patterns(part: Any, whole: dict[str, Any]) -> Iterator[str]:
    if isinstance(part, list):
        for each in part:
            yield from patterns(each, whole)
    elif isinstance(part, dict):
        if "$ref" in part:
            target = whole["$defs"][part["$ref"].rpartition("/")[2]]
            if "properties" not in target and not any("properties" in each for each in target.get("anyOf", [])):
                yield from patterns(target, whole)
        yield from ([part["pattern"]] if "pattern" in part else [])
        yield from ([part["const"]] if "const" in part else [])
        yield from (word for word in part.get("enum", []) if word is not None)
        yield from patterns([part.get(key) for key in ("anyOf", "items", "additionalProperties")], whole)
