"""The note of a run as a save by another process reads it: from elsewhere, moved, and with something gone."""

import os
import subprocess
import sys
import time
from pathlib import Path

import trainings
from trainings import environment, lineages, runs, save, train

project = trainings.project


def test_a_run_of_a_project_below_that_is_saved_from_above(project: Path) -> None:
    sub = project / "sub"
    (sub / "data").mkdir(parents=True)
    (sub / "data" / "train").write_text("the one that was read\n")
    (sub / "pyproject.toml").write_text("")
    text = (
        "import ckptkit; from pathlib import Path\n"
        f"ckptkit.start(model='m', data={{'train': 'data/train'}}, weights='w.bin', root={str(project / 'runs')!r})\n"
        "Path('w.bin').write_bytes(b'weights')"
    )
    subprocess.run([sys.executable, "-c", text], cwd=sub, env=environment(), check=True)
    done = save(project, path="sub/w.bin")
    assert "the training was the run" in done.stderr, done.stderr
    (data,) = lineages(project)[0]["data"]
    assert (data["kind"], data["changed_during_run"]) == ("file", [])


def test_a_project_that_moved_with_its_runs(project: Path, tmp_path: Path) -> None:
    assert train(project).returncode == 0
    project.rename(tmp_path / "elsewhere")
    os.chdir(tmp_path / "elsewhere")
    done = save(tmp_path / "elsewhere")
    assert "the training was the run" in done.stderr
    (lineage,) = lineages(tmp_path / "elsewhere")
    assert (lineage["data"][0]["path"], lineage["config"]["values"]) == ("data/train", {"lr": 0.3, "seed": 7})


def test_data_that_is_gone_is_told(project: Path) -> None:
    assert train(project).returncode == 0
    (project / "data").rename(project / "away")
    done = save(project)
    assert done.returncode == 0
    assert "data.train: it is not where the run had it any more" in done.stderr
    assert lineages(project)[0]["data"] == []


def test_weights_that_a_link_leads_to(project: Path) -> None:
    assert train(project).returncode == 0
    (project / "last").symlink_to("out")
    assert "the training was the run" in save(project, path="last/model.bin").stderr


def test_weights_that_only_somebody_says_are_the_run_s(project: Path) -> None:
    assert train(project).returncode == 0
    later = time.time() + 60
    os.utime(project / "out" / "model.bin", (later, later))
    done = save(project)
    assert "not known which process trained: the weights were written after the run" in done.stderr
    assert save(project, "--run", runs(project)[0]).returncode == 0
    lineage = lineages(project)[1]
    assert {lineage[axis]["observed"] for axis in ("code", "config", "compute")} == {"declared"}
    assert "had ended" in lineage["unknown"]["run.id"]


def test_secrets_that_a_run_kept_are_not_passed_on_unasked(project: Path) -> None:
    text = (project / "train.py").read_text().replace("ckptkit.start(", "ckptkit.start(keep_secrets=True, ")
    (project / "train.py").write_text(text)
    assert train(project).returncode == 0
    done = save(project)
    assert (done.returncode, lineages(project)) == (2, [])
    assert "noted secrets as they are (hint: save with --keep-secrets)" in done.stderr
    assert save(project, "--keep-secrets").returncode == 0


def test_outside_of_git_what_is_kept_is_the_code_of_the_start(project: Path, tmp_path: Path) -> None:
    (project / ".git").rename(tmp_path / "aside")
    before = (project / "model.py").read_text()
    more = "Path('model.py').write_text('SIZE = 9')\nrun.save('out/model.bin')"
    assert train(project, more).returncode == 0
    (lineage,) = lineages(project)
    assert (project / "runs" / "m" / "v0001" / "code" / "model.py").read_text() == before
    module = next(each for each in lineage["code"]["modules"] if each["path"] == "model.py")
    assert module["sha256"] == next(each["sha256"] for each in lineage["code"]["sources"] if each["path"] == "model.py")
    assert lineage["code"]["changed_during_run"] == ["model.py"]
