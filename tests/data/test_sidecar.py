import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from lineages import step

from ckptkit.data import sidecar
from ckptkit.errors import CkptkitError, FormatError, NewerFormatError
from ckptkit.record import Step

SCHEMA = json.loads((Path(__file__).parents[2] / "ckptkit" / "schemas" / "step.schema.json").read_text())


def written(output: Path, **facts: Any) -> Path:
    sidecar.write(output, Step.from_dict(step() | facts), {"step.output.rows": "a reason"})
    return sidecar.path(output)


@pytest.mark.parametrize("name", ["kept.jsonl", "tokens", "näme with\nnewline", "\udce9"])
def test_it_is_beside_its_output_and_read_back_whole(tmp_path: Path, name: str) -> None:
    file = written(tmp_path / name)
    assert file == tmp_path / f"{name}.lineage.json"
    jsonschema.validate(json.loads(file.read_bytes()), SCHEMA)
    found = sidecar.read(tmp_path / name)
    assert found is not None
    assert found.step.to_dict() == step()
    assert found.unknown == {"step.output.rows": "a reason"}
    assert os.listdir(tmp_path) == [file.name]


def test_without_one_there_is_none(tmp_path: Path) -> None:
    assert sidecar.read(tmp_path / "kept.jsonl") is None
    assert sidecar.read(tmp_path / ("n" * 250)) is None


def test_a_later_one_takes_its_place(tmp_path: Path) -> None:
    written(tmp_path / "out")
    written(tmp_path / "out", name="again")
    found = sidecar.read(tmp_path / "out")
    assert found is not None
    assert found.step.name == "again"


def test_one_that_nobody_would_read_is_not_written(tmp_path: Path) -> None:
    written(tmp_path / "out")
    with pytest.raises(CkptkitError, match="would take 801,313 bytes"):
        written(tmp_path / "out", params={"words": ["word"] * 50_000})
    found = sidecar.read(tmp_path / "out")
    assert found is not None
    assert found.step.params == {"least": 5}


def test_a_disk_that_refuses_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CkptkitError, match="cannot be written: no such file or directory"):
        written(tmp_path / "gone" / "out")


def test_a_file_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    sidecar.require_free(tmp_path / "out")
    file = written(tmp_path / "out")
    file.write_text(file.read_text()[:40])  # a damaged one is ours
    sidecar.require_free(tmp_path / "out")
    refused = pytest.raises(CkptkitError, match="which would hold the record, is not ckptkit's")
    file.write_text("{}")
    with refused:
        sidecar.require_free(tmp_path / "out")
    file.unlink()
    file.mkdir()
    with refused:
        sidecar.require_free(tmp_path / "out")


def test_what_is_damaged_is_refused_and_nothing_blocks(tmp_path: Path) -> None:
    file = written(tmp_path / "out")
    whole = file.read_text()
    for text, error in (
        (whole[:-20], FormatError),
        (whole.replace("filter.py", "filter.py\x00").replace('"least": 5', '"least": 5, "least": 6'), FormatError),
        (whole.replace('"name": "filter"', '"name": 7'), FormatError),
        (whole.replace("step/1", "step/2"), NewerFormatError),
        ("[]", FormatError),
    ):
        file.write_text(text)
        with pytest.raises(error):
            sidecar.read(tmp_path / "out")
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(FormatError, match="is not a regular file"):
        sidecar.read(tmp_path / "out")


def test_what_steps_made_beside_data_belongs_to_it(tmp_path: Path) -> None:
    for name in ("tokens", "kept.txt", "kept.txt.lineage.json", "gone.lineage.json", "notes.md"):
        (tmp_path / name).touch()
    names = {path.name for path in sidecar.family([tmp_path / "tokens", Path("/")])}
    assert names == {"tokens", "tokens.lineage.json", "kept.txt", "kept.txt.lineage.json"}
