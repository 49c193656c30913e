"""save, end to end: what is published, what is refused, what is never lost."""

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from disks import is_one
from safetensors.numpy import load_file, save_file

import ckptkit
from ckptkit import checkpoint, staging
from ckptkit.cli import main
from ckptkit.errors import CkptkitError
from ckptkit.verbs.check import check
from ckptkit.verbs.rename import rename


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committed git project with a config, data, and weights that git ignores; also the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    (tmp_path / "config.yaml").write_text("# mine\nlr: 0.3\nseed: 7\noptimizer: {name: sgd, momentum: 0.9}\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_text("a,b\n1,2\n")
    (tmp_path / "data" / "many").mkdir()
    (tmp_path / "data" / "many" / "x y.txt").write_text("x")
    (tmp_path / "train.py").write_text("print()\n")
    (tmp_path / ".gitignore").write_text("*.safetensors\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "all")
    save_file({"w": np.arange(6, dtype=np.float32).reshape(2, 3)}, tmp_path / "model.safetensors")
    return tmp_path


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def save(weights: Any = "model.safetensors", **facts: Any) -> ckptkit.Version:
    version = ckptkit.save(weights, **({"model": "m"} | facts))
    assert version is not None
    return version


def verified(version: ckptkit.Version) -> ckptkit.Version:
    subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"], cwd=version.path, check=True)
    found = checkpoint.read(version.path, deep=True)
    assert found.hashed == found.sums
    assert {path for path, entry in found.entries.items() if entry.kind != "folder"} == {
        *found.sums,
        "README.md",
        "SHA256SUMS",
    }
    assert found.digest == version.digest
    return version


def test_everything_given_is_recorded(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    version = verified(
        save(
            model="penguins",
            config="config.yaml",
            data={"train": "data/train.csv", "many": Path("data/many")},
            metrics={"acc": {"value": 0.9, "split": "test", "n": 10}, "loss": float("nan")},
            aliases=["candidate"],
            tags={"purpose": "baseline", "n": 3},
            base_models=["google/vit@abc"],
            step=10,
            epoch=1.5,
            message="first",
            card={"license": "mit"},
        )
    )
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "penguins/v0001" in err
    assert (version.path / "config.yaml").read_bytes() == (project / "config.yaml").read_bytes()
    assert version.config == {"lr": 0.3, "seed": 7, "optimizer": {"name": "sgd", "momentum": 0.9}}
    assert version.metrics == {"acc": {"value": 0.9, "split": "test", "n": 10}, "loss": "NaN"}
    lineage = version.lineage
    assert lineage["tags"] == {"purpose": "baseline", "n": "3"}
    assert lineage["base_models"] == [{"id": "google/vit", "revision": "abc"}]
    assert (lineage["run"]["step"], lineage["run"]["epoch"], lineage["message"]) == (10, 1.5, "first")
    assert lineage["config"]["seed"] == 7
    assert lineage["code"]["observed"] == "in the run"
    assert lineage["code"]["repository"]["commit"] == git(project, "rev-parse", "HEAD")
    assert lineage["code"]["repository"]["dirty"] is False
    assert lineage["weights"]["parameters"] == 6
    assert lineage["compute"]["precision"]["weights"] == {"F32": 6}
    train, many = lineage["data"]
    assert train["digest"] == "sha256:" + sha256(project / "data/train.csv")
    assert many["digest"] == "sha256:" + sha256(version.path / "data" / "many.sha256")
    assert many["files"] == 1
    assert (project / "runs" / "penguins" / "@candidate").resolve() == version.path.resolve()
    assert "license: mit" in (version.path / "README.md").read_text()
    assert version.digest in (version.path / "README.md").read_text()


def sha256(path: Path) -> str:
    return subprocess.run(["sha256sum", str(path)], check=True, capture_output=True, text=True).stdout.split()[0]


def test_what_is_declared_never_makes_the_tree_dirty(project: Path) -> None:
    (project / "data" / "train.csv").write_text("changed")
    (project / "data" / "new.csv").write_text("new")
    (project / "weights.bin").write_bytes(b"w")
    first = save("weights.bin", data={"train": "data/train.csv", "new": "data/new.csv"})
    assert first.lineage["code"]["repository"]["dirty"] is False
    second = save("weights.bin", data={"train": "data/train.csv"})
    assert second.lineage["code"]["repository"]["dirty"] is True
    assert b"new.csv" in (second.path / "code.patch").read_bytes()
    assert b"weights.bin" not in (second.path / "code.patch").read_bytes()
    assert b"runs/" not in (second.path / "code.patch").read_bytes()


def test_a_changed_config_file_is_in_the_patch(project: Path) -> None:
    (project / "config.yaml").write_text("lr: 0.1\n")
    version = save(config="config.yaml", aliases=[])
    assert b"config.yaml" in (version.path / "code.patch").read_bytes()


@dataclass
class Training:
    lr: float = 0.1
    name: str = "no"
    where: Path = Path("x")


@pytest.mark.parametrize(
    ("config", "values"),
    [
        ({"lr": 1e-5, "flag": "on"}, {"lr": 1e-5, "flag": "on"}),
        (Training(), {"lr": 0.1, "name": "no", "where": "x"}),
        (argparse.Namespace(dtype=np.dtype("float32"), seed=np.int64(3)), {"dtype": "dtype('float32')", "seed": 3}),
        ([{"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}], {"a": {"b": 3, "c": 2}}),
    ],
    ids=["dict", "dataclass", "namespace", "merged"],
)
@pytest.mark.usefixtures("project")
def test_config_objects(config: Any, values: dict[str, Any]) -> None:
    version = save(config=config)
    assert version.config == values
    assert yaml.safe_load((version.path / "config.yaml").read_text()) == values


def test_secrets_leave_no_trace(project: Path) -> None:
    canary = "hf_" + "aB3" * 12
    (project / "config.yaml").write_text(f"lr: 1\nhub_token: {canary}\n")
    (project / "notes.py").write_text(f"TOKEN = '{canary}'\n")
    version = save(
        config=["config.yaml", {"api_key": canary}],
        message=f"with {canary}",
        tags={"t": canary},
        card={"contact": canary},
    )
    for path in (project / "runs").rglob("*"):
        assert path.is_symlink() or path.is_dir() or canary.encode() not in path.read_bytes(), path
    assert version.config["lr"] == 1
    assert "redacted" in version.config["hub_token"]


def test_no_private_path_is_recorded(project: Path, private_home: Path) -> None:
    version = save(
        data={"train": str(project / "data" / "train.csv")}, config={"where": str(project), "home": str(private_home)}
    )
    for path in version.path.rglob("*"):
        if path.is_file():
            assert str(project).encode() not in path.read_bytes(), path.name
            assert str(private_home).encode() not in path.read_bytes(), path.name
    assert not re.search(rf"\b{re.escape(os.uname().nodename)}\b", (version.path / "lineage.json").read_text())


@pytest.mark.usefixtures("project")
def test_state_dicts_are_written_as_safetensors() -> None:
    version = verified(save({"a": np.ones((2, 2), np.float16), "b": {"c": np.zeros(3)}}))
    assert set(load_file(version.path / "model.safetensors")) == {"a", "b.c"}
    assert version.lineage["compute"]["precision"]["weights"] == {"F16": 4, "F64": 3}
    assert version.lineage["weights"]["parameters"] == 7


@pytest.mark.parametrize("facts", [{"model": "no/name"}, {"model": "now"}, {"root": "model.safetensors"}])
def test_weights_in_memory_outlive_a_failed_save(project: Path, facts: dict[str, str]) -> None:
    with pytest.raises(CkptkitError, match=r"unsaved-.*\.safetensors") as caught:
        save({"a": np.ones(2)}, **facts)
    kept = next(project.glob("unsaved-*.safetensors"))
    assert kept.name in caught.value.message
    assert load_file(kept)["a"].tolist() == [1, 1]


def test_after_a_training_whatever_else_is_wrong_is_recorded_and_warned_about(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "bad.yaml").write_text("a: 1\na: 2\n")
    version = verified(
        save(
            config="bad.yaml",
            data={"gone": "data/gone.csv", "bad/name": "data/train.csv", "fine": "data/train.csv"},
            metrics={"fine": 1, "bad": "high"},
            aliases=["latest", "fine"],
            parents=["nobody/v0001"],
            step="many",
            epoch=-1,
            card={"nonsense": "x"},
            tags=3,
        )
    )
    unknown = version.lineage["unknown"]
    for where in (
        "config.values",
        "data.gone",
        "data.bad/name",
        "metrics.bad",
        "run.step",
        "run.epoch",
        "card.nonsense",
        "tags",
    ):
        assert where in unknown
    assert any(where.startswith("aliases") for where in unknown)
    assert any(where.startswith("parents") for where in unknown)
    assert [dataset["name"] for dataset in version.lineage["data"]] == ["fine"]
    assert version.metrics == {"fine": 1}
    assert capsys.readouterr().err.count("warning") >= 9


@pytest.mark.usefixtures("project")
def test_weights_older_than_the_process_are_another_process_s() -> None:
    os.utime("model.safetensors", (1_600_000_000, 1_600_000_000))
    lineage = save().lineage
    assert {lineage[axis]["observed"] for axis in ("code", "config", "compute")} == {"at save"}
    assert lineage["run"]["finished"].startswith("2020-09-13")
    for where in ("code.entry_point", "code.orig_argv", "compute.determinism", "compute.threads", "compute.variables"):
        assert lineage["unknown"][where] == "saved by another process"
    assert lineage["code"]["orig_argv"] is None
    assert lineage["code"]["modules"] is None


@pytest.mark.usefixtures("project")
def test_parents() -> None:
    first = save()
    second = save(parents=[first, "m@latest:resumed", ("m/1", "previous"), Path("model.safetensors")])
    assert [(parent["ref"], parent["relation"]) for parent in second.lineage["parents"]] == [
        ("m/v0001", None),
        ("m/v0001", "resumed"),
        ("m/v0001", "previous"),
        ("model.safetensors", None),
    ]
    assert second.lineage["parents"][0]["digest"] == first.digest


@pytest.mark.usefixtures("project")
def test_one_process_is_one_run() -> None:
    assert save(step=1).lineage["run"]["id"] == save(step=2).lineage["run"]["id"]


def test_an_incoming_readme_becomes_the_hand_written_part(project: Path) -> None:
    (project / "out").mkdir()
    (project / "out" / "README.md").write_text("# My words\n\nthey stay\n")
    (project / "out" / "w.bin").write_bytes(b"w")
    text = (verified(save("out")).path / "README.md").read_text()
    assert "they stay" in text
    assert "Intended Use" in text


def test_move(project: Path) -> None:
    (project / "out" / "sub").mkdir(parents=True)
    (project / "out" / "w.bin").write_bytes(b"w")
    (project / "out" / "sub" / "x.bin").write_bytes(b"x")
    (project / "out" / "log.txt").write_text("log")
    verified(save("out", move=True, exclude=["*.txt"]))
    assert [path.name for path in (project / "out").rglob("*")] == ["log.txt"]
    verified(save("model.safetensors", move=True))
    assert not (project / "model.safetensors").exists()
    assert project.is_dir()


def test_a_disk_that_fills_leaves_nothing_and_harms_nothing(project: Path) -> None:
    (project / "big.bin").write_bytes(os.urandom(300_000))
    save()
    before = sorted(str(path) for path in (project / "runs").rglob("*") if path.name != "lock")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(CkptkitError, match="too large"):
            save("big.bin", move=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(str(path) for path in (project / "runs").rglob("*") if path.name != "lock") == before
    assert (project / "big.bin").stat().st_size == 300_000


@pytest.mark.usefixtures("project")
def test_only_the_first_rank_of_a_world_saves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for framework in ("torch", "jax", "tensorflow", "mpi4py"):  # that another test may have loaded
        monkeypatch.delitem(sys.modules, framework, raising=False)
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_NTASKS", "4")
    assert save().lineage["run"]["job"]["id"] == "77"
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    save()
    monkeypatch.setitem(sys.modules, "horovod", argparse)
    assert ckptkit.save("model.safetensors", model="m") is None
    assert "rank 1 of 2" in capsys.readouterr().err
    assert ckptkit.save("model.safetensors", model="m", all_ranks=True) is not None


REFUSED = [
    (["missing.bin"], "missing.bin"),
    (["empty.bin"], "empty"),
    (["empty"], "nothing to save"),
    (["fifo"], "neither a file nor a folder"),
    (["model.safetensors", "--model", "a/b"], "no name for a model"),
    (["model.safetensors", "--model", "now"], "no name for a model"),
    (["model.safetensors", "--model", "m\n"], "no name for a model"),
    (["model.safetensors", "--alias", "latest"], "reserved"),
    (["model.safetensors", "--alias", "a b"], "no name for an alias"),
    (["model.safetensors", "--data", "train=gone.csv"], "gone.csv"),
    (["model.safetensors", "--data", "a/b=config.yaml"], "no name for a dataset"),
    (["model.safetensors", "--data", "config.yaml"], "--data"),
    (["model.safetensors", "--data", "all=."], "registry root"),
    (["model.safetensors", "--config", "gone.yaml"], "gone.yaml"),
    (["model.safetensors", "--config", "twice.yaml"], "twice"),
    (["model.safetensors", "--config", "bomb.yaml"], "200,000"),
    (["model.safetensors", "--config", "list.yaml"], "list.yaml"),
    (["model.safetensors", "--config", "junk.yaml"], "junk.yaml"),
    (["model.safetensors", "--config", "fifo"], "fifo"),
    (["model.safetensors", "--metric", "acc=high"], "no metric"),
    (["model.safetensors", "--metrics", "words.json"], "acc"),
    (["model.safetensors", "--parent", "m@nobody"], "no model"),
    (["model.safetensors", "--parent", "./gone.bin"], "gone.bin"),
    (["model.safetensors", "--step", "x"], "--step"),
    (["model.safetensors", "--step", "-1"], "no step"),
    (["model.safetensors", "--epoch", "nan"], "no epoch"),
    (["model.safetensors", "--card", "nonsense=1"], "no part of a model card"),
    (["model.safetensors", "--as", "../x"], "--as"),
    (["config.yaml"], "ckptkit writes that name"),
    (["."], "registry root"),
    (["model.safetensors", "--root", "config.yaml"], "not a folder"),
    (["model.safetensors", "--nonsense"], "--nonsense"),
]


@pytest.fixture
def bad_files(project: Path) -> Iterator[None]:
    (project / "empty.bin").touch()
    (project / "empty").mkdir()
    os.mkfifo(project / "fifo")
    (project / "twice.yaml").write_text("a: 1\nb: {c: 1, c: 2}\n")
    levels = ["a: &a [x,x,x,x,x,x,x,x,x]"] + [
        f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    (project / "bomb.yaml").write_text("\n".join(levels))
    (project / "list.yaml").write_text("- a\n")
    (project / "junk.yaml").write_bytes(b"\x00\xff\xfe")
    (project / "words.json").write_text('{"acc": "high"}')
    yield
    (project / "fifo").unlink()


@pytest.mark.usefixtures("bad_files")
@pytest.mark.parametrize(
    ("words", "said"), REFUSED, ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None
)
def test_the_command_line_refuses_in_one_line(
    project: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = words if "--model" in words else [*words, "--model", "m"]
    assert main(["save", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert said in err
    assert "hint: " in err
    assert not (project / "runs").exists()


def test_the_command_line_is_honest_about_the_process(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            [
                "save",
                "model.safetensors",
                "--model",
                "m",
                "--config",
                "config.yaml",
                "--metric",
                "test/acc=0.5",
                "--json",
            ]
        )
        == 0
    )
    saved = json.loads(capsys.readouterr().out)
    assert saved["ref"] == "m/v0001"
    lineage = json.loads((project / saved["path"] / "lineage.json").read_bytes())
    assert lineage["code"]["observed"] == "at save"
    assert lineage["code"]["orig_argv"] is None
    assert lineage["metrics"] == {"test/acc": {"value": 0.5, "split": "test"}}
    assert lineage["config"]["seed"] == 7
    assert main(["save", "model.safetensors", "--model", "m", "--as", "weights.safetensors"]) == 0
    ref, path, digest = capsys.readouterr().out.split()
    assert (ref, digest[:7]) == ("m/v0002", "sha256:")
    assert (project / path / "weights.safetensors").is_file()


@pytest.mark.usefixtures("project")
def test_names_that_differ_by_case_alone_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    save(model="Penguins", aliases=["best"])
    for words in (["--model", "penguins"], ["--model", "Penguins", "--alias", "Best"]):
        assert main(["save", "model.safetensors", *words]) == 2
        assert "case alone" in capsys.readouterr().err


def test_a_model_that_has_another_name_now_is_not_revived_unsaid(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save()
    rename("m", "whales")
    before = sorted(project.glob("runs/*/*"))
    capsys.readouterr()
    assert main(["save", "model.safetensors", "--model", "m"]) == 2
    assert "the model m is called whales now (hint: --model whales)" in capsys.readouterr().err
    assert sorted(project.glob("runs/*/*")) == before
    assert save().ref == "m/v0002"
    assert "warning: the model m is called whales now" in capsys.readouterr().err
    save()
    assert main(["save", "model.safetensors", "--model", "whales"]) == 0
    assert "now" not in capsys.readouterr().err


def test_no_git_and_no_proc_and_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "w.bin").write_bytes(b"w")
    lineage = save("w.bin").lineage
    assert lineage["code"]["repository"] is None
    assert "code.repository" in lineage["unknown"]


def test_move_never_takes_from_a_version(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    version = save()
    elsewhere = tmp_path_factory.mktemp("other")
    for weights in (version.path, version.path / "model.safetensors"):
        for root in (None, elsewhere):
            with pytest.raises(CkptkitError, match="cannot be moved"):
                save(str(weights), move=True, root=root)
    verified(version)
    assert save(str(version.path / "model.safetensors")).ref == "m/v0002"
    assert not (project / "unsaved").exists()


def test_move_does_not_reach_through_links(project: Path) -> None:
    for name in ("out", "base"):
        (project / name).mkdir()
        (project / name / f"{name}.bin").write_bytes(name.encode())
    (project / "out" / "linked").symlink_to("../base")
    version = verified(save("out", move=True))
    assert (version.path / "linked" / "base.bin").read_bytes() == b"base"
    assert (project / "base" / "base.bin").exists()
    assert not (project / "out" / "out.bin").exists()


@pytest.mark.parametrize("text", [b"x" * 5_000_000, b"caf\xe9"])
def test_move_keeps_a_readme_that_the_card_does_not_hold(project: Path, text: bytes) -> None:
    (project / "out").mkdir()
    (project / "out" / "README.md").write_bytes(text)
    (project / "out" / "w.bin").write_bytes(b"w")
    version = save("out", move=True)
    assert "card" in version.lineage["unknown"]
    assert (project / "out" / "README.md").read_bytes() == text


@pytest.mark.usefixtures("project")
def test_weights_in_memory_are_sealed_like_all_others() -> None:
    version = save({"a": np.ones(2)})
    modes = {path.stat().st_mode & 0o777 for path in version.path.iterdir() if path.name != "README.md"}
    assert modes == {0o444}


def test_a_checkpoint_that_is_no_state_dict_is_kept_when_it_is_refused(project: Path) -> None:
    with pytest.raises(CkptkitError, match=r"'arch', a str.*kept in unsaved-"):
        save({"model": {"w": np.ones(2)}, "arch": "resnet"})
    assert len(list(project.glob("unsaved-*"))) == 1


def test_weights_kept_by_many_processes_at_once_are_all_kept(project: Path) -> None:
    code = "import ckptkit, numpy; ckptkit.save({'a': numpy.ones(2)}, model='no/name')"
    workers = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) for _ in range(5)]
    assert [worker.wait(60) for worker in workers] == [1] * 5
    assert len(list(project.glob("unsaved-*"))) == 5


WRONG: dict[str, Any] = {
    "data": ["train.csv", ["a"], 5],
    "aliases": [None, 5, "candidate"],
    "parents": [None, 5],
    "base_models": [None, 5],
    "metrics": [None, [1], {"a": 10**5000}, {"a": 1j}],
    "tags": [None, 5, {1: 2}],
    "config": [5, None, object(), [None]],
    "message": [5, None, ["a"]],
    "card": [5, {"license": None}],
    "exclude": [None, 5],
}


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_after_a_training_wrong_arguments_never_raise(name: str, value: Any) -> None:
    verified(save(**{name: value}))


@pytest.mark.usefixtures("project")
def test_aliases_that_differ_by_case_alone_are_not_both_set() -> None:
    assert "aliases[1]" in save(aliases=["best", "Best"]).lineage["unknown"]


def test_without_a_working_directory(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path_factory.mktemp("gone")
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert save(str(project / "model.safetensors"), root=str(project / "runs")).ref == "m/v0001"
    with pytest.raises(CkptkitError, match="working directory is gone"):
        save(str(project / "model.safetensors"))


@pytest.mark.parametrize("closing", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams(project: Path, closing: str) -> None:
    code = "import ckptkit; ckptkit.save('model.safetensors', model='m')"
    subprocess.run(["bash", "-c", f'"{sys.executable}" -c "{code}" {closing}'], check=True, stdout=subprocess.DEVNULL)
    assert (project / "runs" / "m" / "v0001").is_dir()


def test_move_refuses_what_is_still_written_to(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "big.bin").write_bytes(b"x" * 1000)
    real = staging.Stage.seal

    def late(stage: staging.Stage) -> str:  # a training that had not ended
        with (project / "big.bin").open("ab") as file:
            file.write(b"more")
        return real(stage)

    monkeypatch.setattr(staging.Stage, "seal", late)
    with pytest.raises(CkptkitError, match="changed while it was saved"):
        save("big.bin", move=True)
    assert (project / "big.bin").read_bytes().endswith(b"more")
    assert not list((project / "runs").glob("m/v*"))
    assert os.listdir(project / "runs" / "m" / "history") == []


@pytest.mark.parametrize("root", ["x\0y", "\ud800x", b"rb", 5])
def test_roots_that_are_no_paths_are_refused_and_the_weights_kept(project: Path, root: Any) -> None:
    with pytest.raises(CkptkitError, match="kept in"):
        save({"a": np.ones(2)}, root=root)
    assert len(list(project.glob("unsaved-*"))) == 1


@pytest.mark.usefixtures("project")
def test_numbers_that_no_reader_holds() -> None:
    assert "run.step" in save(step=10**5000).lineage["unknown"]
    assert "run.epoch" in save(epoch=1e300).lineage["unknown"]
    Path("huge.yaml").write_text(f"a: 0x{'f' * 4000}\n")
    assert "config.values" in save(config="huge.yaml").lineage["unknown"]


@pytest.mark.parametrize("option", ["path", "--data", "--root"])
def test_loops_of_links_are_refused(project: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "loop").symlink_to("loop")
    words = {
        "path": ["loop"],
        "--data": ["model.safetensors", "--data", "d=loop"],
        "--root": ["model.safetensors", "--root", "loop/x"],
    }
    assert main(["save", *words[option], "--model", "m"]) == 2
    assert "hint: " in capsys.readouterr().err


@pytest.mark.usefixtures("project")
def test_one_tag_that_has_no_words_costs_that_tag_alone() -> None:
    class Mute:
        def __str__(self) -> str:
            raise RuntimeError("no words")

    lineage = save(tags={"a": Mute(), "b": 1, "password": "hunter2"}).lineage
    assert lineage["tags"] == {"b": "1", "password": "<redacted:password>"}
    assert "tags.a" in lineage["unknown"]


def test_a_reproduction_is_told_and_takes_no_room(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "big.bin").write_bytes(os.urandom(100_000))
    first = save("big.bin")
    assert first.lineage["weights"]["identical_to"] is None
    assert "same bytes" not in capsys.readouterr().err
    (project / "big.bin").rename(project / "again.bin")
    second = verified(save("again.bin"))
    assert second.lineage["weights"]["identical_to"] == first.ref
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"; the same bytes as {first.ref}\n" in err  # by the same run
    other = ckptkit.start(model="penguins").save("again.bin")
    assert other is not None
    assert f"; the same bytes as {first.ref}: a reproduction\n" in capsys.readouterr().err
    assert is_one(first.path / "big.bin", second.path / "again.bin")
    other = verified(save("again.bin", model="other"))
    assert other.lineage["weights"]["identical_to"] == first.ref
    assert (project / "again.bin").stat().st_nlink == 1
    assert not check(str(project / "runs"), deep=True, select=["CK1", "CK2", "CK8", "CK9"]).findings
    shutil.rmtree(first.path)
    verified(second)


def test_manifests_of_the_same_data_are_one_file(project: Path) -> None:
    for number in range(60):
        (project / "data" / "many" / f"{number}.txt").write_text(f"{number}")
    manifests = [save(data={"many": "data/many"}).path / "data" / "many.sha256" for _ in range(2)]
    assert manifests[0].stat().st_size >= 4096
    assert is_one(*manifests)


def test_a_reproduction_is_moved_like_all_else(project: Path) -> None:
    first = save({"w": np.ones(5000)})
    (project / "again.safetensors").write_bytes((first.path / "model.safetensors").read_bytes())
    second = verified(save("again.safetensors", move=True))
    assert not (project / "again.safetensors").exists()
    assert is_one(first.path / "model.safetensors", second.path / "again.safetensors")
    third = verified(save({"w": np.ones(5000)}))
    assert is_one(first.path / "model.safetensors", third.path / "model.safetensors")
    assert third.lineage["weights"]["identical_to"] == first.ref


def test_a_file_name_that_is_no_text_is_printed_as_its_bytes(project: Path) -> None:
    (project / "out").mkdir()
    name = b"\xff\xfe.bin"
    (project / "out" / os.fsdecode(name)).write_bytes(b"w")
    save("out")
    out = subprocess.run(
        [sys.executable, "-m", "ckptkit", "path", "m", name], check=True, capture_output=True, cwd=project
    ).stdout
    assert out.endswith(b"/m/v0001/\xff\xfe.bin\n")


def test_data_that_takes_too_long_has_no_digest_until_later(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["save", "model.safetensors", "--model", "m", "--data", "many=data/many", "--data-budget"]
    for words in ("-1", "soon", "nan", "1e999"):
        assert main([*asked[:-1], f"--data-budget={words}"]) == 2
        assert capsys.readouterr().err.startswith(f"ckptkit: {words!r} is no time for hashing (hint: ")
    assert not (project / "runs").exists()
    assert main([*asked, "0s"]) == 0
    assert "warning: data.many has no digest: hashing took longer than 0 s" in capsys.readouterr().err
    version = project / "runs" / "m" / "v0001"
    assert (version / "data" / "many.sizes").read_text() == "1  ./x y.txt\n"
    (finding,) = check(str(version), select=["CK302"]).findings
    assert finding.hint == "run `ckptkit data digest m/v0001 many` where the data is"
    assert main(["data", "digest", "m/v0001", "many"]) == 0
    assert check(str(version), select=["CK302"]).findings == ()


def test_a_ready_manifest_is_declared_and_its_bytes_are_read_on_demand(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["save", "model.safetensors", "--model", "m", "--data", "many=data/many", "--manifest", "many=ready"]
    (project / "ready").write_text(f"{'0' * 64}  x y.txt\n")
    assert main(asked) == 0
    (many,) = json.loads((project / "runs/m/v0001/lineage.json").read_bytes())["data"]
    assert (many["observed"], many["files"], many["bytes"]) == ("declared", 1, 1)
    assert (project / "runs/m/v0001/data/many.sha256").read_text() == f"{'0' * 64}  ./x y.txt\n"
    capsys.readouterr()
    assert main([*asked, "--deep"]) == 2
    assert "data/many is not what its manifest says: x y.txt (hint: " in capsys.readouterr().err
