"""A PostgreSQL of one's own, from Debian's package: made in a temporary folder, on a loopback port, ended by its id."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

USER, PASSWORD = "ada", "c4nary-p@ss/word"
_NOBODY = 65_534


def _program(name: str) -> str:
    """The program, and the newest where several are there."""
    found = shutil.which(name) or max(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), default=None)
    if found is None:
        pytest.skip("PostgreSQL is not here")
    return str(Path(found).resolve())


@contextlib.contextmanager
def serve() -> Iterator[int]:
    """Run a server as long as the context lasts; its port. Connections need the password of ``ada``."""
    initdb, postgres = _program("initdb"), _program("postgres")
    user = _NOBODY if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:  # pytest's folders are root's alone
        secret, log = Path(folder) / "password", Path(folder) / "log"
        secret.write_text(PASSWORD)
        for path in (folder, secret):
            os.chown(path, -1 if user is None else user, -1)
        words = ["-D", f"{folder}/data", "-U", USER, "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync"]
        words += ["--encoding=UTF8", "--locale=C.UTF-8"]
        subprocess.run([initdb, *words], check=True, capture_output=True, cwd=folder, user=user, group=user)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        words = ["-D", f"{folder}/data", "-p", str(port), "-h", "127.0.0.1", "-k", folder, "-F"]
        with log.open("wb") as file:
            server = subprocess.Popen(
                [postgres, *words, "-c", "timezone=Asia/Tokyo"],
                stdout=file,
                stderr=file,
                user=user,
                group=user,
                cwd=folder,
            )
        try:
            _wait(server, log)
            yield port
        finally:
            server.send_signal(signal.SIGINT)  # "fast": whoever is connected is sent away
            server.wait(60)


def _wait(server: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 60
    while "ready to accept connections" not in log.read_text():
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)
