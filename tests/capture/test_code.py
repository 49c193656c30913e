"""The code axis whole, seen by a script of its own project."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import repositories
from repositories import git
from scripts import REPOSITORY, python

from ckptkit.record import ANOTHER_PROCESS, AT_SAVE, IN_THE_RUN

home, repo = repositories.home, repositories.repo

LOOKS = """
import json, os, pathlib, sys, time
import model
from ckptkit.capture import code, git, process
from ckptkit.capture.moment import Moment
project = pathlib.Path(__file__).parent
now = Moment(project=project, code=project, observed=sys.argv[1], started=process.started(), why="")
before, unknown = None, {}
if "start" in os.environ:
    tree = git.worktree(project, project=project, exclude=[], unknown=unknown)
    before = code.Before(at=time.time(), worktree=tree, unknown=dict(unknown), configs=())
time.sleep(1.1)  # a reflog has no parts of seconds
exec(os.environ.get("EDIT", ""))
found, files = code.code(now, exclude=[], python=None, unknown=unknown, before=before)
print(json.dumps([found.to_dict(), sorted(files), unknown]))
"""


@pytest.fixture
def look(repo: Path) -> Path:
    """A repository with a script that looks at itself, and a model that it loads."""
    (repo / "train.py").write_text(LOOKS)
    (repo / "model.py").write_text("def loss(x):\n    return x + 1\n")
    (repo / "conf.yaml").write_text("lr: 1\n")
    (repo / ".gitignore").write_text("__pycache__\nlocal.*\nout\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "train")
    return repo


def seen(
    look: Path, edit: str = "", *words: str, observed: str = IN_THE_RUN, **env: str
) -> tuple[dict[str, Any], list[str], dict[str, str]]:
    """The code, the names of its files, and what is not known, of a script that runs ``edit`` before it looks."""
    known = {name: os.environ[name] for name in ("HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_NOSYSTEM")}
    place = f"{REPOSITORY}"
    found, files, unknown = json.loads(
        python("train.py", observed, *words, cwd=look, PYTHONPATH=place, EDIT=edit, **known, **env)
    )
    return found, files, unknown


EDIT = "pathlib.Path('model.py').write_text('def loss(x):\\n    return x + 2\\n'); os.utime('model.py', (1e9, 1e9))"
COMMIT = "os.system('git commit -q --allow-empty -m later')"


def test_an_untouched_program_is_recorded_whole(look: Path) -> None:
    found, files, unknown = seen(look)
    assert (found["entry_point"], found["cwd"], found["orig_argv"][-2:]) == ("train.py", ".", ["train.py", IN_THE_RUN])
    assert [module["path"] for module in found["modules"]] == ["model.py", "train.py"]
    assert (found["repository"]["commit"], found["repository"]["dirty"]) == (git(look, "rev-parse", "HEAD"), False)
    assert (found["changed_functions"], found["changed_during_run"], found["at_start"]) == ({}, None, None)
    assert (found["sources"], found["foreign"], "code.patch" in files) == ([], [], False)
    assert "code.changed_during_run" in unknown, "without a start only functions are compared"
    found, _, _ = seen(look, start="1")
    assert (found["changed_functions"], found["changed_during_run"]) == ({}, [])


def test_an_edit_and_a_commit_while_it_ran_are_noticed(look: Path) -> None:
    head = git(look, "rev-parse", "HEAD")
    found, files, _ = seen(look, f"{EDIT}; {COMMIT}")
    assert (found["changed_functions"], found["changed_during_run"]) == ({"model.py": ["loss"]}, ["model.py"])
    assert (found["at_start"]["commit"], found["at_save"]) == (head, None)
    assert found["repository"]["dirty"] is True
    assert "code.patch" in files
    git(look, "reset", "-q", "--hard", head)
    found, files, _ = seen(look, f"{EDIT}; {COMMIT}", start="1")
    assert (found["changed_functions"], found["changed_during_run"]) == ({"model.py": ["loss"]}, ["model.py"])
    assert (found["at_start"]["commit"], found["at_save"]["dirty"]) == (head, True)
    assert (found["repository"]["commit"], found["repository"]["dirty"]) == (head, False), "what ran is recorded"
    assert "code.patch" not in files


def test_a_copy_of_the_code_beside_the_weights_is_no_change(look: Path) -> None:
    copy = "import shutil; os.makedirs('runs/1'); [shutil.copy(name, 'runs/1') for name in ('train.py', 'model.py')]"
    found, _, _ = seen(look, copy, start="1")
    assert found["changed_during_run"] == []
    found, _, _ = seen(look, "pathlib.Path('fresh.py').write_text('x = 1')", start="1")
    assert found["changed_during_run"] == ["fresh.py"]


def test_sources_that_git_ignores_are_kept_wherever_the_script_went(look: Path) -> None:
    """As Hydra changes the working directory, before the command line is looked at."""
    (look / "local.yaml").write_text("lr: 2\n")
    (look / "out").mkdir()
    (look / "out" / "conf.yaml").write_text("lr: 3\n")
    found, files, _ = seen(look, "os.chdir('out')", "conf.yaml", "--more=local.yaml")
    assert [source["path"] for source in found["sources"]] == ["local.yaml"]
    assert "code/local.yaml" in files
    (look / ".git").rename(look / ".away")
    found, files, unknown = seen(look, "os.chdir('out')", "conf.yaml")
    assert [source["path"] for source in found["sources"]] == ["conf.yaml", "model.py", "train.py"]
    assert (found["repository"], unknown["code.repository"]) == (None, "not in a git repository")


def test_another_process_tells_of_the_repository_alone(look: Path) -> None:
    found, _, unknown = seen(look, observed=AT_SAVE)
    assert found["repository"]["commit"] == git(look, "rev-parse", "HEAD")
    assert (found["modules"], found["changed_during_run"], found["sources"]) == (None, None, [])
    assert unknown["code.changed_during_run"] == ANOTHER_PROCESS
