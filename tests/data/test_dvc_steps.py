"""The chain of stages, from a dvc.lock as DVC 3.67.1 wrote it."""

from pathlib import Path

import pytest
from tracked import HASHES, agreed, put

from ckptkit.data import pointers
from ckptkit.record import Step

MD5 = HASHES["md5"]
DATA = "2d82def154a3530dbd98181300de3564.dir"
LOCK = f"""schema: '2.0'
stages:
  tok@a:
    cmd: mkdir -p tok/a && cp src/d.csv tok/a/t.csv
    deps:
    - path: src/d.csv
      hash: md5
      md5: {MD5}
      size: 11
    outs:
    - path: tok/a
      hash: md5
      md5: 62df0c3c1a5eb1edae91ec3429fc855b.dir
      size: 11
      nfiles: 1
  filter:
    cmd: mkdir -p out && cp data/a.csv out/f.csv
    deps:
    - path: data
      hash: md5
      md5: {DATA}
      size: 201
      nfiles: 16
    - path: s3://bucket/words.txt
      etag: abc
      size: 4
    params:
      more.yaml:
        frac: 0.25
      params.yaml:
        clean:
          min: 3
          api_key: abc
          langs:
          - no
          - en
        frac: 0.5
        lang: no
        lr: 1e-05
    outs:
    - path: out/f.csv
      hash: md5
      md5: {MD5}
      size: 11
  dedup:
    cmd:
    - cp ../out/f.csv d.csv
    - echo done --api-key XYZ123SECRET
    deps:
    - path: ../out/f.csv
      hash: md5
      md5: {MD5}
      size: 11
    outs:
    - path: d.csv
      hash: md5
      md5: {MD5}
      size: 11
"""
PIPELINE = """stages:
  dedup:
    wdir: src
    cmd: [x]
    outs:
    - d.csv
  tok:
    foreach: [a, b]
    do:
      cmd: x
      outs:
      - tok/${item}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    put(tmp_path, {"dvc.lock": LOCK, "dvc.yaml": PIPELINE, ".dvc/config": "", "tok/a/t.csv": "hello a.csv"})
    return tmp_path


def chain(project: Path, name: str) -> list[Step]:
    path = project / name
    found = pointers.find(path, project)
    steps = pointers.steps(path, project, agreed(path, project) if found and path.exists() else found)
    for step in steps:
        assert Step.from_dict(step.to_dict()) == step
    return list(steps)


def test_the_chain_from_its_sources_on(project: Path) -> None:
    steps = chain(project, "tok/a")
    assert [(step.name, step.by, step.link, step.reason) for step in steps] == [
        ("filter", "dvc", "verified", None),
        ("dedup", "dvc", "verified", None),
        ("tok@a", "dvc", "verified", None),
    ]
    first, second, last = steps
    assert first.command == ("mkdir -p out && cp data/a.csv out/f.csv",)
    assert first.params == {
        "clean": {"min": 3, "api_key": "<redacted:api-key>", "langs": ["no", "en"]},
        "frac": 0.5,
        "lang": "no",
        "lr": 1e-05,
        "more.yaml:frac": 0.25,
    }
    data, words = first.inputs
    assert (data.path, data.kind, data.files, data.bytes, data.digest) == ("data", "directory", 16, 201, None)
    assert data.source == {"dvc": {"md5": DATA, "size": 201, "nfiles": 16}}
    assert (words.path, words.kind, words.source) == (
        None,
        "remote",
        {"dvc": {"size": 4}, "url": "s3://bucket/words.txt"},
    )
    assert second.command == ("cp ../out/f.csv d.csv && echo done --api-key <redacted:api-key>",)
    assert (second.inputs[0].path, second.output.path, second.output.files) == ("out/f.csv", "src/d.csv", 1)
    assert last.output.path == "tok/a"


def test_a_part_of_an_output_and_a_folder_around_outputs(project: Path) -> None:
    *_, last = chain(project, "tok/a/t.csv")
    assert (last.name, last.link) == ("tok@a", "unverified")
    assert "does not list its files" in str(last.reason)
    *_, last = chain(project, "tok")
    assert (last.name, last.link) == ("tok@a", "unverified")
    assert "a part of the dataset" in str(last.reason)


def test_links_that_do_not_fit(project: Path) -> None:
    (project / "tok/a/t.csv").write_text("edited")
    *_, last = chain(project, "tok/a")
    assert last.link == "broken"
    assert str(last.reason).startswith("has the MD5 ")
    read = f"../out/f.csv\n      hash: md5\n      md5: {MD5}"
    put(project, {"dvc.lock": LOCK.replace(read, "../out/f.csv\n      md5: x")})
    first, *_ = chain(project, "tok/a")
    assert (first.name, first.link) == ("filter", "unverified")
    put(project, {"dvc.lock": LOCK.replace(read, read.replace(MD5, "ab" * 16))})
    first, *_ = chain(project, "tok/a")
    assert (first.link, first.reason) == ("broken", f"it wrote the MD5 {MD5}, dedup read {'ab' * 16}")


def test_content_that_is_absent_leaves_its_last_link_open(project: Path) -> None:
    *_, last = chain(project, "src/d.csv")
    assert (last.name, last.link) == ("dedup", "unverified")


def test_a_circle_of_stages_ends(tmp_path: Path) -> None:
    stage = "  {0}:\n    cmd: x\n    deps:\n    - path: {1}\n    outs:\n    - path: {0}\n"
    put(tmp_path, {"dvc.lock": f"schema: '2.0'\nstages:\n{stage.format('a', 'b')}{stage.format('b', 'a')}"})
    assert [step.name for step in chain(tmp_path, "a")] == ["b", "a"]


def test_a_long_chain(tmp_path: Path) -> None:
    stage = "  s{0}:\n    cmd: x\n    deps:\n    - path: f{1}\n    outs:\n    - path: f{0}\n"
    stages = "".join(stage.format(number, number - 1) for number in range(1, 1501))
    put(tmp_path, {"dvc.lock": f"schema: '2.0'\nstages:\n{stages}"})
    names = [step.name for step in chain(tmp_path, "f1500")]
    assert names == [f"s{number}" for number in range(1, 1501)]


def test_stages_of_one_file_whose_outputs_lie_elsewhere(tmp_path: Path) -> None:
    stage = "  {0}:\n    cmd: x\n    deps:\n    - path: ../{1}\n    outs:\n    - path: {2}\n"
    lock = f"schema: '2.0'\nstages:\n{stage.format('last', 'far', 'z')}{stage.format('first', 'raw', '../far')}"
    put(tmp_path, {"deep/pipe/dvc.lock": lock})
    assert [step.name for step in chain(tmp_path, "deep/pipe/z")] == ["first", "last"]
