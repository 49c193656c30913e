"""The process probe: real children, real scripts; launchers and schedulers as the variables they set."""

import os
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from ckptkit.capture import process as probe
from ckptkit.record import Module

REPOSITORY = Path(__file__).parents[2]


def python(script: Path | str, *arguments: str, cwd: Path, **env: str) -> str:
    """What a training script run by this Python prints."""
    return subprocess.run(
        [sys.executable, "-W", "error", script, *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": "/no/home", "PYTHONPATH": str(REPOSITORY), **env},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name in {"RANK", "WORLD_SIZE", "JOB_ID"} or name.startswith(
            ("SLURM_", "PMI_", "OMPI_", "PBS_", "LSB_", "KUBE")
        ):
            monkeypatch.delenv(name)


# --- run ---


def test_run_passes_input_environment_and_folder(tmp_path: Path) -> None:
    out = probe.run(
        ["sh", "-c", 'cat; echo "$NAME"; pwd'], seconds=20, cwd=tmp_path, env={"NAME": "x"}, stdin=b"in " * 100_000
    )
    assert out == b"in " * 100_000 + f"x\n{tmp_path}\n".encode()


def test_run_says_why_there_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def words(script: str) -> str:
        with pytest.raises(probe.ProbeError) as raised:
            probe.run(["sh", "-c", script], seconds=20)
        return raised.value.message

    assert words("echo >&2; echo 'bad flag' >&2; echo more >&2; exit 3") == "sh failed with exit status 3: bad flag"
    assert words("kill -9 $$") == "sh failed with signal SIGKILL"
    with pytest.raises(probe.ProbeError, match=r"^no-such-program is not installed$"):
        probe.run(["no-such-program"], seconds=1)
    with pytest.raises(probe.ProbeError, match=r"^sh cannot be run: no such file or directory$"):
        probe.run(["sh"], seconds=1, cwd=tmp_path / "gone")
    monkeypatch.setattr(probe, "OUTPUT_LIMIT", 1 << 20)
    with pytest.raises(probe.ProbeError, match=r"^yes printed more than 1 MB$"):
        probe.run(["yes"], seconds=20)


def is_gone(group: int) -> bool:
    for _ in range(100):  # the killed are reaped by the system in its own time
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("script", ["sleep 60 & echo $!; sleep 60", "sleep 60 & echo $!", "exec >&-; sleep 60"])
def test_run_kills_the_whole_session_when_the_time_is_over(script: str, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(probe.ProbeError, match=r"^sh timed out after 0.3 s$"):
        probe.run(["sh", "-c", f"echo $$ > leader; {script}"], seconds=0.3, cwd=tmp_path)
    assert time.monotonic() - began < 10
    leader = int((tmp_path / "leader").read_text())
    assert is_gone(leader), "background jobs too"


def test_run_works_while_the_interpreter_ends(tmp_path: Path) -> None:
    body = "import atexit; from ckptkit.capture import process\n"
    body += "atexit.register(lambda: print(process.run(['echo', 'x'], seconds=20)))"
    assert python("-c", body, cwd=tmp_path) == "b'x\\n'\n"


# --- how the process began ---

ENTRY = """
import json, os, pathlib, sys
os.environ["OMP_NUM_THREADS"] = "7"
from ckptkit.capture import process
unknown = {}
found = process.process(pathlib.Path(sys.argv[1]), unknown)
print(json.dumps({name: getattr(found, name) for name in found.__slots__} | {"unknown": unknown}))
"""


def entry(output: str) -> dict[str, object]:
    import json

    found = json.loads(output)
    assert isinstance(found, dict)
    return found


def test_script_module_and_command_are_named(tmp_path: Path) -> None:
    (tmp_path / "sub" / "pkg").mkdir(parents=True)
    script = tmp_path / "sub" / "train.py"
    for file in (script, tmp_path / "sub" / "pkg" / "__main__.py", tmp_path / "sub" / "pkg" / "fit.py"):
        file.write_text(ENTRY)
    found = entry(python(script, str(tmp_path), "--api-key", "xyz", cwd=script.parent, OMP_NUM_THREADS="3", OTHER="x"))
    assert found["entry_point"] == "sub/train.py"
    assert found["cwd"] == "sub"
    assert found["orig_argv"] == [
        *(Path(sys.executable).name, "-W", "error"),
        *("./sub/train.py", ".", "--api-key", "<redacted:api-key>"),
    ]
    assert found["variables_at_start"] == {"OMP_NUM_THREADS": "3", "PYTHONPATH": str(REPOSITORY)}
    assert found["unknown"] == {}
    started = found["started"]
    assert isinstance(started, float)
    assert 0 <= time.time() - started < 30
    assert entry(python("-m", "pkg", str(tmp_path), cwd=script.parent))["entry_point"] == "-m pkg"
    assert entry(python("-m", "pkg.fit", str(tmp_path), cwd=script.parent))["entry_point"] == "-m pkg.fit"
    assert entry(python("-c", ENTRY, str(tmp_path), cwd=script.parent))["entry_point"] == "-c"


def test_start_time_agrees_with_psutil() -> None:
    psutil = pytest.importorskip("psutil", reason="psutil is not installed")
    started = probe.process(REPOSITORY, {}).started
    assert started is not None
    assert abs(started - psutil.Process().create_time()) < 2  # psutil counts from a boot time in whole seconds


def test_notebooks_and_embedded_interpreters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(sys, "argv", ["host-program"])
    unknown: dict[str, str] = {}
    assert probe.process(tmp_path, unknown).entry_point is None
    assert "the main module names no file" in unknown["code.entry_point"]
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert probe.process(tmp_path, {}).entry_point == "interactive"
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    assert probe.process(tmp_path, {}).entry_point == "notebook"
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "try.ipynb"))
    assert probe.process(tmp_path, {}).entry_point == "try.ipynb"


def test_a_removed_working_directory_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (gone := tmp_path / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    unknown: dict[str, str] = {}
    assert probe.process(tmp_path, unknown).cwd is None
    assert unknown == {"code.cwd": "no such file or directory"}


def test_overwritten_variables_are_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "setproctitle", types.ModuleType("setproctitle"))
    unknown: dict[str, str] = {}
    assert probe.process(tmp_path, unknown).variables_at_start is None
    assert "setproctitle" in unknown["compute.variables.at_start"]


def test_project_is_the_nearest_root_or_the_folder_itself(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert probe.project(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    (tmp_path / "a" / "pyproject.toml").touch()
    assert probe.project(tmp_path / "a" / "b") == tmp_path / "a"


# --- loaded modules ---


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], Path]:
    """Write a module and put it where an import would."""

    def loaded(file: Path, source: str) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
        module = types.ModuleType(name := f"ckptkit_test_{len(sys.modules)}")
        module.__file__ = str(file)
        monkeypatch.setitem(sys.modules, name, module)
        return file

    return loaded


def test_only_the_projects_own_sources_are_modules(tmp_path: Path, load: Callable[[Path, str], Path]) -> None:
    project = tmp_path / "p"
    load(project / "pkg" / "model.py", "x = 1\n")
    load(project / "train.py", "y = 1\n")
    load(project / "native.so", "")
    load(project / ".venv" / "lib" / "python3.11" / "site-packages" / "lib.py", "")
    load(project / "venv2" / "odd" / "lib.py", "")
    (project / "venv2" / "pyvenv.cfg").touch()
    load(project / "conda" / "lib" / "lib.py", "")
    (project / "conda" / "conda-meta").mkdir()
    load(tmp_path / "p2" / "other.py", "")
    (tmp_path / "link").symlink_to(project)
    load(tmp_path / "link" / "linked.py", "")
    unknown: dict[str, str] = {}
    assert [module.path for module in probe.modules(project, unknown)] == ["linked.py", "pkg/model.py", "train.py"]
    assert [module.path for module in probe.modules(tmp_path / "link", unknown)] == [
        "linked.py",
        "pkg/model.py",
        "train.py",
    ]
    assert unknown == {}


def test_the_main_script_is_a_module_and_ckptkit_is_not(tmp_path: Path) -> None:
    script = tmp_path / "train"  # an executable script without a suffix
    script.write_text(
        "import helper, pathlib\nfrom ckptkit.capture import process\n"
        "print(*(module.path for module in process.modules(pathlib.Path('.'), {})))\n"
    )
    (tmp_path / "helper.py").touch()
    assert python("train", cwd=tmp_path, PYTHONPATH=f"{REPOSITORY}") == "helper.py train\n"
    (tmp_path / "ckptkit").symlink_to(REPOSITORY / "ckptkit")
    assert python("train", cwd=tmp_path, PYTHONPATH=f"{tmp_path}") == "helper.py train\n"


def digests(load: Callable[[Path, str], Path], file: Path, source: str) -> Module:
    load(file, source)
    [module] = probe.modules(file.parent, {})
    return module


def test_syntax_ignores_what_does_not_compute(tmp_path: Path, load: Callable[[Path, str], Path]) -> None:
    file = tmp_path / "m.py"
    first = digests(load, file, 'def f(a, b=2):\n    """Doc."""\n    return a + b\n')
    quiet = digests(
        load, file, '"""New."""\n# why\n\ndef f(\n    a, b=2,\n):\n    """Other."""\n    return (a + b)  # sum\n'
    )
    loud = digests(load, file, 'def f(a, b=2):\n    """Doc."""\n    return a - b\n')
    assert len({first.sha256, quiet.sha256, loud.sha256}) == 3
    assert first.syntax == quiet.syntax is not None
    assert loud.syntax != first.syntax


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("x = None", "x = ''"),
        ("x = 1", "x = 1.0"),
        ("x = '1'", "x = b'1'"),
        ("f(a, *b)", "f(a, b)"),
        ("x = {**a}", "x = {None: a}"),
        ("def f():\n    'doc'", "def f():\n    'doc'\n    return 1"),
        ("def f(a, /): 0", "def f(a): 0"),
        ("x[1:]", "x[:1]"),
        ("async def f(): 0", "def f(): 0"),
        ("del x", "x"),
    ],
)
def test_syntax_tells_different_programs_apart(
    one: str, two: str, tmp_path: Path, load: Callable[[Path, str], Path]
) -> None:
    assert digests(load, tmp_path / "m.py", one).syntax != digests(load, tmp_path / "m.py", two).syntax


def test_syntax_is_stable_between_releases(tmp_path: Path, load: Callable[[Path, str], Path]) -> None:
    found = digests(
        load, tmp_path / "m.py", 'class A(B):\n    def f(self, *, k: int = 1) -> str:\n        return f"{k!r:>3}"\n'
    )
    assert found.syntax == "0b4ced8b072968edb425a224d3511f71d709169533ee9206d840d62faa15dbea"


def test_sources_that_cannot_be_parsed_or_read_keep_what_is_known(
    tmp_path: Path, load: Callable[[Path, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(tmp_path / "broken.py", "def (:\n")
    load(tmp_path / "deep.py", "x = " + "-" * 20_000 + "1\n")
    load(tmp_path / "escape.py", 'x = "\\d"\n')  # warned about; warnings are errors here
    load(tmp_path / "gone.py", "").unlink()
    unknown: dict[str, str] = {}
    found = {module.path: module for module in probe.modules(tmp_path, unknown)}
    assert found["broken.py"].sha256
    assert (found["broken.py"].syntax, found["deep.py"].syntax) == (None, None)
    assert found["escape.py"].syntax
    assert found["gone.py"] == Module(path="gone.py", sha256=None, syntax=None)
    assert unknown == {"code.modules": "gone.py cannot be read: no such file or directory"}
    monkeypatch.setattr(probe, "SYNTAX_LIMIT", 16)
    found = {module.path: module for module in probe.modules(tmp_path, {})}
    assert found["escape.py"].syntax, "the smallest are looked at first"
    assert all(module.sha256 for module in found.values() if module.path != "gone.py")


def test_stand_ins_among_the_modules_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Trap(types.ModuleType):
        def __getattr__(self, name: str) -> str:
            raise AssertionError(name)

    for number, odd in enumerate((None, 3, Trap("trap"), types.SimpleNamespace(__file__=7))):
        monkeypatch.setitem(sys.modules, f"ckptkit_test_odd_{number}", odd)
    unknown: dict[str, str] = {}
    assert probe.modules(tmp_path, unknown) == ()
    assert unknown == {}


# --- jobs and ranks ---


@pytest.mark.parametrize(
    ("variables", "job"),
    [
        ({}, None),
        (
            {"SLURM_JOB_ID": "71", "SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_NAME": "fit"},
            {"scheduler": "slurm", "id": "71", "name": "fit", "array_id": "70", "array_index": "0"},
        ),
        (
            {"PBS_JOBID": "9[3].head.example", "PBS_ARRAY_INDEX": "3"},
            {"scheduler": "pbs", "id": "9[3]", "array_index": "3"},
        ),
        ({"LSB_JOBID": "5", "LSB_JOBINDEX": "0"}, {"scheduler": "lsf", "id": "5"}),
        ({"SGE_ROOT": "/sge", "JOB_ID": "4", "SGE_TASK_ID": "undefined"}, {"scheduler": "sge", "id": "4"}),
        ({"JOB_ID": "4"}, None),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),
        (
            {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "2"},
            {"scheduler": "kubernetes", "array_index": "2"},
        ),
    ],
)
def test_job(variables: dict[str, str], job: dict[str, str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert probe.job() == job


TORCHRUN = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
SRUN = {"SLURM_JOB_ID": "1", "SLURM_PROCID": "1", "SLURM_NTASKS": "4"}
MPIRUN = {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4"}
PMI = {"PMI_RANK": "2", "PMI_SIZE": "4"}


@pytest.mark.parametrize(
    ("variables", "loaded", "words"),
    [
        (TORCHRUN, "torch", "rank 1 of 4 (torchrun)"),
        (TORCHRUN, None, None),
        (TORCHRUN | {"RANK": "0"}, "torch", None),
        ({"RANK": "1", "WORLD_SIZE": "1"}, "torch", None),
        ({"RANK": "x", "WORLD_SIZE": "4"}, "torch", None),
        (MPIRUN, "mpi4py", "rank 3 of 4 (mpi)"),
        (MPIRUN, None, None),
        (PMI, "torch", "rank 2 of 4 (pmi)"),
        (SRUN, "torch", None),
        (SRUN | {"SLURM_ARRAY_TASK_ID": "7"}, "torch", None),
        (SRUN | PMI, "torch", None),
        (SRUN | PMI, "mpi4py", "rank 2 of 4 (pmi)"),
    ],
)
def test_other_rank(
    variables: dict[str, str], loaded: str | None, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch", "torch.distributed", "jax", "tensorflow", "horovod", "mpi4py"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if loaded:
        monkeypatch.setitem(sys.modules, loaded, types.ModuleType(loaded))
    assert probe.other_rank() == words


def test_ranks_are_told_by_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch.distributed", raising=False)
    assert probe.distributed() is None
    for name, value in (TORCHRUN | SRUN).items():
        monkeypatch.setenv(name, value)
    assert probe.distributed() == {
        "torchrun": {"rank": 1, "world_size": 4, "local_rank": 1},
        "slurm": {"rank": 1, "world_size": 4},
    }


GROUP = """
import os, pathlib, sys, torch.distributed as dist
from ckptkit.capture import process
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=int(sys.argv[2]), world_size=2)
print(process.other_rank(), process.distributed()["torch.distributed"])
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.torch
def test_an_initialised_group_decides(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    script = tmp_path / "train.py"
    script.write_text(GROUP)
    # Variables of a launcher that has nothing to do with the group say the opposite.
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
    ranks = [
        subprocess.Popen(
            [sys.executable, script, tmp_path / "store", str(rank)],
            env={**env, "RANK": str(1 - rank), "WORLD_SIZE": "2"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = [rank.communicate(timeout=120)[0] for rank in ranks]
    assert said == [
        "None {'rank': 0, 'world_size': 2, 'backend': 'gloo'}\n",
        "rank 1 of 2 (torch.distributed) {'rank': 1, 'world_size': 2, 'backend': 'gloo'}\n",
    ]
