"""What a run notes of itself when it begins, and a save by another process that reads it."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import trainings
from trainings import TRAIN, git, lineages, runs, save, train

project = trainings.project


def test_a_save_by_another_process_knows_the_run_that_trained(project: Path) -> None:
    assert train(project).returncode == 0
    done = save(project)
    assert done.returncode == 0, done.stderr
    (run,) = runs(project)
    assert f"the training was the run {run}" in done.stderr
    (lineage,) = lineages(project)
    code, compute, config = lineage["code"], lineage["compute"], lineage["config"]
    assert {axis["observed"] for axis in (code, compute, config, *lineage["data"])} == {"in the run"}
    assert (code["entry_point"], code["orig_argv"][1:]) == ("train.py", ["train.py", "--lr", "0.3"])
    assert {each["path"] for each in code["modules"]} == {"train.py", "model.py"}
    assert code["changed_during_run"] == []
    assert compute["variables"]["at_start"] is not None
    assert compute["threads"]
    assert (config["values"], config["seed"]) == ({"lr": 0.3, "seed": 7}, 7)
    assert config["generators"]["at_start"]["random"].startswith("sha256:")
    (data,) = lineage["data"]
    assert (data["name"], data["path"], data["changed_during_run"]) == ("train", "data/train", [])
    assert lineage["run"]["id"] == run
    assert 0 < lineage["run"]["seconds"] < 60
    assert not [fact for fact, why in lineage["unknown"].items() if why == "saved by another process"]
    assert (project / "runs" / "m" / "v0001" / "requirements.txt").read_text()


def test_what_the_version_records_is_the_code_of_the_start(project: Path) -> None:
    (project / "model.py").write_text("SIZE = 4\n\ndef loss():\n    return 1\n")
    more = "Path('model.py').write_text('SIZE = 5')\nrun.save('out/model.bin')"
    assert train(project, more).returncode == 0
    (lineage,) = lineages(project)
    code = lineage["code"]
    assert code["changed_during_run"] == ["model.py"]
    assert code["changed_functions"]["model.py"] == ["loss"]
    assert code["at_start"]["tree"] == code["repository"]["tree"] != code["at_save"]["tree"]
    patch = (project / "runs" / "m" / "v0001" / "code.patch").read_text()
    assert "+SIZE = 4" in patch
    assert "SIZE = 5" not in patch


def test_a_commit_made_while_it_ran_is_not_what_ran(project: Path) -> None:
    before = git(project, "rev-parse", "HEAD")
    more = (
        "import subprocess; Path('notes.md').write_text('x'); subprocess.run(['git', 'add', '.'], check=True)\n"
        "subprocess.run(['git', '-c', 'user.name=a', '-c', 'user.email=a@b', 'commit', '-qm', 'x'], check=True)\n"
        "run.save('out/model.bin')"
    )
    assert train(project, more).returncode == 0
    code = lineages(project)[0]["code"]
    assert code["repository"]["commit"] == code["at_start"]["commit"] == before
    assert code["at_save"]["commit"] == git(project, "rev-parse", "HEAD") != before


def test_a_run_that_was_killed(project: Path) -> None:
    assert train(project, "os.kill(os.getpid(), 9)").returncode == -signal.SIGKILL
    assert save(project).returncode == 0
    (lineage,) = lineages(project)
    assert lineage["code"]["entry_point"] == "-c"
    assert lineage["code"]["changed_during_run"] == []  # nothing on disk differs from the start
    assert "whose end was not noted" in lineage["unknown"]["code.modules"]
    (project / "model.py").write_text("SIZE = 5\n")
    assert save(project).returncode == 0
    code = lineages(project)[1]["code"]
    assert code["changed_during_run"] is None
    assert lineages(project)[1]["unknown"]["code.changed_during_run"].startswith("model.py changed after the run began")
    assert "SIZE = 5" not in str(list(project.glob("runs/m/v0002/code.patch")))


def test_data_and_configuration_that_changed_since(project: Path) -> None:
    assert train(project).returncode == 0
    (project / "data" / "train" / "a").write_text("changed")
    (project / "config.yaml").write_text("lr: 9\n")
    assert save(project).returncode == 0
    (lineage,) = lineages(project)
    (data,) = lineage["data"]
    assert (data["observed"], data["changed_during_run"]) == ("at save", None)
    assert lineage["unknown"]["data.train.changed_during_run"].startswith("a changed after the run began")
    assert lineage["config"]["values"] == {"lr": 0.3, "seed": 7}
    assert lineage["config"]["changed_during_run"] == []  # it was as at the start when the run ended


def test_a_configuration_that_changed_before_the_end(project: Path) -> None:
    assert train(project, "Path('config.yaml').write_text('lr: 9')").returncode == 0
    (project / "config.yaml").write_text("lr: 0.3\nseed: 7\n")
    assert save(project).returncode == 0
    assert lineages(project)[0]["config"]["changed_during_run"] == ["config.yaml"]
    assert train(project, "os.kill(os.getpid(), 9)").returncode == -signal.SIGKILL
    (project / "config.yaml").write_text("lr: 9\n")
    assert save(project).returncode == 0
    assert lineages(project)[1]["config"]["changed_during_run"] is None  # before the end or after it


def test_a_configuration_that_is_given_at_the_save_is_of_the_save(project: Path) -> None:
    assert train(project).returncode == 0
    (project / "other.yaml").write_text("lr: 1\n")
    assert save(project, "--config", "other.yaml").returncode == 0
    config = lineages(project)[0]["config"]
    assert (config["observed"], config["values"]) == ("at save", {"lr": 1})


def test_weights_that_were_written_before_or_after_are_not_the_run_s(project: Path) -> None:
    assert train(project).returncode == 0
    for seconds in (-60, 60):
        moved = time.time() + seconds
        os.utime(project / "out" / "model.bin", (moved, moved))
        assert "the training was the run" not in save(project).stderr
    assert {each["code"]["observed"] for each in lineages(project)} == {"at save"}
    done = save(project, "--run", runs(project)[0])
    assert "the training was the run" in done.stderr
    assert "had ended" in done.stderr
    os.utime(project / "out" / "model.bin", (time.time() - 60,) * 2)
    before = save(project, "--run", runs(project)[0])
    assert (before.returncode, before.stderr.count("\n")) == (2, 1)
    assert "were written before the run" in before.stderr


def test_of_several_runs_the_newest_that_fits(project: Path) -> None:
    for _ in range(2):
        assert train(project).returncode == 0
    first, second = runs(project)
    assert second in save(project).stderr
    assert first in save(project, "--run", first).stderr


def test_of_runs_at_once_the_one_that_named_the_weights(project: Path) -> None:
    other = "ckptkit.start(model='m', weights='other/model.bin')"
    assert train(project, f"{other}; ckptkit.start(model='m', weights='outer')").returncode == 0
    first, second, _ = runs(project)
    (project / "other").mkdir()
    (project / "out" / "model.bin").rename(project / "other" / "model.bin")
    assert second in save(project, path="other/model.bin").stderr
    assert second in save(project, path="other").stderr  # the folder around it
    (project / "other" / "model.bin").rename(project / "out" / "model.bin")
    assert first in save(project).stderr
    assert train(project, "os.kill(os.getpid(), 9)").returncode == -signal.SIGKILL
    (project / "out" / "model.bin").rename(project / "third.bin")
    os.utime(project / "third.bin", (time.time() + 60,) * 2)
    assert "the training was the run" not in save(project, path="third.bin").stderr  # the killed one named others


@pytest.mark.parametrize("given", ["20261125T000000.000000Z-00000000", "../../m", "x"])
def test_a_run_that_is_not_there(project: Path, given: str) -> None:
    assert train(project).returncode == 0
    done = save(project, "--run", given)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert runs(project)[0] in done.stderr
    assert lineages(project) == []


def test_a_note_that_cannot_be_read(project: Path) -> None:
    assert train(project).returncode == 0
    (run,) = runs(project)
    (project / "runs/.ckptkit/started" / run / "started.json").write_text('{"schema": "ckptkit/started/1"}')
    done = save(project, "--run", run)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert save(project).returncode == 0
    assert lineages(project)[0]["code"]["observed"] == "at save"


def test_a_root_that_cannot_take_the_note_stops_no_training(project: Path) -> None:
    (project / "runs").mkdir()
    (project / "runs" / ".ckptkit").mkdir()
    (project / "runs" / ".ckptkit" / "started").write_text("in the way")
    done = train(project, "run.save('out/model.bin')")
    assert done.returncode == 0
    assert "the start is not noted on disk" in done.stderr
    assert lineages(project)[0]["code"]["changed_during_run"] == []


def test_a_root_that_was_removed_stays_so(project: Path) -> None:
    assert train(project, "import shutil; shutil.rmtree('runs')").returncode == 0
    assert not (project / "runs").exists()


def test_data_outside_of_the_project_is_not_what_bears_its_name_inside(project: Path, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a").write_text("outside")
    (project / "train").mkdir()
    (project / "train" / "a").write_text("inside")
    assert train(project, "ckptkit.start(weights='out/model.bin', data={'set': '../train'})").returncode == 0
    assert save(project).returncode == 0
    (lineage,) = lineages(project)
    assert lineage["data"] == []
    assert lineage["unknown"]["data.set.changed_during_run"].startswith("it lies outside of project and home")


def test_workers_that_read_the_script_again_are_no_runs(project: Path) -> None:
    more = "if __name__ == '__main__': multiprocessing.get_context('spawn').Pool(1).map(abs, [1])"
    (project / "train.py").write_text(f"import multiprocessing\n{TRAIN}{more}")
    assert train(project).returncode == 0
    (run,) = runs(project)
    assert json.loads((project / "runs/.ckptkit/started" / run / "started.json").read_text())["ended"]


def test_the_machines_of_all_ranks_are_known_to_a_save_by_another_process(project: Path) -> None:
    (project / "torch.py").write_text("")  # what counts is that a framework is loaded
    (project / "train.py").write_text(f"import torch{TRAIN}")
    for rank in "10":
        assert train(project, RANK=rank, WORLD_SIZE="2", TORCHELASTIC_RUN_ID="a").returncode == 0
    assert save(project).returncode == 0
    assert [each["ranks"] for each in lineages(project)[0]["compute"]["ranks"]] == ["1"]


def test_a_fork_that_ends_is_not_the_end_of_the_run(project: Path) -> None:
    more = "child = os.fork()\nif not child: sys.exit()\nos.waitpid(child, 0)\nos.kill(os.getpid(), 9)"
    assert train(project, more).returncode == -signal.SIGKILL
    (run,) = runs(project)
    assert json.loads((project / "runs/.ckptkit/started" / run / "started.json").read_text())["ended"] is None


def test_a_job_that_its_scheduler_started_again_has_segments(project: Path) -> None:
    job = {"SLURM_JOB_ID": "77"}
    for env in (job, job | {"SLURM_RESTART_COUNT": "1"}, {"SLURM_JOB_ID": "78", "SLURM_RESTART_COUNT": "1"}):
        assert train(project, "run.save('out/model.bin')", **env).returncode == 0
    assert train(project, "run.save('out/model.bin')", SLURM_RESTART_COUNT="1", **job).returncode == 0
    _, again, other, next_one = lineages(project)
    assert [each["job"]["restarts"] for each in next_one["run"]["segments"] if "restarts" in each["job"]] == []
    (segment,) = again["run"]["segments"]
    assert segment["job"]["id"] == "77"
    assert segment["seconds"] > 0
    assert segment["compute"]["cpu"]
    assert again["run"]["restarts"] == 1
    assert other["run"]["segments"] == []
