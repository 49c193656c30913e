"""Faults at system calls: which calls of a command change files below a folder, and the command with one of them hit.

strace counts the calls of each thread by name; only those of the thread that Python's main runs in are hit. A process
that is killed at a call has not made it, so the state before each change is seen once.
"""

import functools
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

WRITING = (
    "openat",
    *("write", "writev", "pwrite64", "copy_file_range", "sendfile", "ioctl", "ftruncate", "fallocate"),
    *("fsync", "fdatasync", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"),
    *("unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "chmod", "fchmod", "fchmodat", "utimensat"),
)
"""System calls that may change the file system."""

_LINE = re.compile(r"(\d+) +(\w+)\((.*)")
_TO_WRITE = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One system call of a process: its name, the how manieth of that name it is, and what it was done to."""

    name: str
    number: int
    words: str

    def __str__(self) -> str:
        return f"{self.name} #{self.number} ({self.words})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of a command: its exit code (-9: killed), its words on stderr, and whether the fault hit the call."""

    code: int
    stderr: str
    hit: bool


@functools.cache
def obstacle() -> str:
    """Why no fault can be injected here; empty where one can."""
    words = ["strace", "-qq", "-f", "-o", os.devnull, "-e", "inject=mkdir:error=EIO:when=1", "true"]
    try:
        tried = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        return "strace is not installed (it is Debian's package strace)"
    return f"strace cannot trace here: {(tried.stderr.splitlines() or ['?'])[0]}" if tried.returncode else ""


@functools.cache
def _fast() -> Sequence[str]:
    """The option with which untraced calls cost nothing, where kernel and strace know it."""
    words = ["strace", "-qq", "-f", "--seccomp-bpf", "-o", os.devnull, "-e", "trace=mkdir", "true"]
    tried = subprocess.run(words, capture_output=True, check=False)
    return () if tried.returncode or tried.stderr else ("--seccomp-bpf",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracer:
    """Runs ``python -m ckptkit`` under strace; ``bytecode`` is where Python keeps the compiled modules."""

    bytecode: Path

    def changes(self, words: Sequence[str], folder: Path) -> list[Call]:
        """Run a command in a folder and list its calls that changed something there.

        Bytecode that is not there yet is written meanwhile, so the list is steady from the second time on.
        """
        code, stderr, lines = self._run(words, folder, _fast(), f"trace={','.join(WRITING)}")
        assert code == 0, f"{' '.join(words)}: {stderr}"
        main = lines[0].split()[0]
        others = [line for line in lines if not line.startswith(main) and _changes(line, folder)]
        assert not others, f"calls of other threads change files: {others[:3]}"
        return [call for call, line in _calls(lines, folder) if _changes(line, folder)]

    def kill(self, words: Sequence[str], folder: Path, call: Call) -> Run:
        """Run a command that is killed with SIGKILL as it makes a call."""
        return self._hit(words, folder, call, (), "signal=KILL")  # no signal is sent where untraced calls cost nothing

    def fail(self, words: Sequence[str], folder: Path, call: Call, error: str) -> Run:
        """Run a command of which a call fails with an error such as ``ENOSPC``."""
        return self._hit(words, folder, call, _fast(), f"error={error}")

    def _hit(self, words: Sequence[str], folder: Path, call: Call, fast: Sequence[str], fault: str) -> Run:
        expressions = f"trace={call.name}", f"inject={call.name}:{fault}:when={call.number}"
        code, stderr, lines = self._run(words, folder, fast, *expressions)
        made = {made.number: line for made, line in _calls(lines, folder)}
        return Run(code=code, stderr=stderr, hit=_is_below(folder, made.get(call.number, "")))

    def _run(
        self, words: Sequence[str], folder: Path, fast: Sequence[str], *expressions: str
    ) -> tuple[int, str, list[str]]:
        """The exit code, the words on stderr, and the lines of the trace."""
        steady = {"PYTHONPYCACHEPREFIX": os.fspath(self.bytecode), "PYTHONHASHSEED": "0"}
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        with tempfile.NamedTemporaryFile(suffix=".strace") as log:
            strace = ["strace", "-qq", "-f", "-y", "-o", log.name, *fast]
            strace += [word for expression in expressions for word in ("-e", expression)]
            done = subprocess.run(
                [*strace, sys.executable, "-m", "ckptkit", *words],
                cwd=folder,
                env=inherited | steady,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=120,
                check=False,
            )
            lines = Path(log.name).read_text(errors="replace").splitlines()
        return done.returncode, done.stderr.decode(errors="replace"), lines


def _calls(lines: Sequence[str], folder: Path) -> Iterator[tuple[Call, str]]:
    """The calls of the main thread with their lines of the trace."""
    counts: Counter[str] = Counter()
    main = lines[0].split()[0]
    for line in lines:
        read = _LINE.match(line)
        if read and read[1] == main:
            counts[read[2]] += 1
            yield Call(name=read[2], number=counts[read[2]], words=read[3].replace(os.fspath(folder), "")[:160]), line


def _changes(line: str, folder: Path) -> bool:
    """Whether a call changed something below a folder."""
    done = _is_below(folder, line) and " = -1 " not in line
    return done and ("openat(" not in line or bool(_TO_WRITE.search(line)))


def _is_below(folder: Path, line: str) -> bool:
    """Whether a path in a folder is an argument, as text or as the descriptor of an open file."""
    return any(f"{mark}{folder}/" in line for mark in '"<')
