"""Private paths, the user's name and the host's."""

import os
from pathlib import Path

import pytest
from canaries import LOCAL, TOKENS, on_host

from ckptkit import redact
from ckptkit.redact import places


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (home := tmp_path / "home" / "me").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    return home


def test_project_and_home_are_written_short(home: Path) -> None:
    project = home / "p"
    assert redact.text(f"{project}/a.py:{home}/b {project} -I{project}/inc file://{home}/c", project=project) == (
        "./a.py:~/b . -I./inc file://~/c"
    )
    assert redact.text(f"in {home}, and in {home}.") == "in ~, and in ~."


def test_names_that_only_begin_alike_are_left(home: Path) -> None:
    for other in (f"{home}2/x", f"{home}-old/x", f"{home}.bak", f"/mnt{home}/x", f"{home.parent}/you"):
        assert redact.text(other) == other


def test_links_to_project_and_home_are_seen_through(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (real := tmp_path / "scratch" / "p").mkdir(parents=True)
    (home / "p").symlink_to(real)
    for project in (home / "p", real):
        assert redact.text(f"{real}/x {home}/y", project=project) == "./x ~/y"
        assert redact.path(real / "x", project) == ("x", False)
        assert redact.path(project, project) == (".", False)
    assert redact.path(home / "p" / "x", home / "p") == ("x", False)
    assert redact.text(f"{home}/p/x", project=home / "p") == "./x"
    (tmp_path / "me").symlink_to(home)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert redact.text(f"{home}/x {tmp_path}/me/x") == "~/x ~/x"


def test_paths(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project := home / "p" / "data").mkdir(parents=True)
    project = project.parent
    monkeypatch.chdir(project)
    assert redact.path(Path("data/x.csv"), project) == ("data/x.csv", False)
    assert redact.path(Path("data/../y.csv"), project) == ("y.csv", False)
    assert redact.path(home / "d" / "x.csv", project) == ("~/d/x.csv", False)
    assert redact.path(home, project) == ("~", False)
    assert redact.path(tmp_path / "d" / "x.csv", project) == ("x.csv", True)
    assert redact.path(Path("/"), project) == ("/", True)
    assert redact.path(project / "x", None) == ("~/p/x", False)
    (project / "data" / "big").symlink_to("/usr")
    assert redact.path(project / "data" / "big", project) == ("data/big", False), "as it is called in the project"


def test_a_root_as_home_or_project_eats_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/")
    for project in (None, Path("/")):
        assert redact.text("/usr/lib /x", project=project) == "/usr/lib /x"
        assert redact.path(Path("/srv/data/x.csv"), project) == ("x.csv", True)


def test_a_project_around_the_home_does_not_tell_the_users_name(home: Path) -> None:
    assert redact.text(f"{home}/x {home.parent}/y", project=home.parent) == "~/x ./y"
    assert redact.path(home / "x", home.parent) == ("~/x", False)


def test_the_user_in_a_path(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "alice")
    told = "/scratch/alice/x file:///mnt/alice ../alice/y /u/alice, /x/alice.lab /x/alice2 hf://alice/m alice/b"
    left = "/scratch/<user>/x file:///mnt/<user> ../<user>/y /u/<user>, /x/alice.lab /x/alice2 hf://alice/m alice/b"
    assert redact.text(told) == left
    assert redact.text(left) == left
    assert redact.argv(["--data", "/scratch/alice/x"]) == ("--data", "/scratch/<user>/x")
    assert redact.path(Path("/scratch/alice"), home) == ("<user>", True)
    told = "/scratch/tmp/torchinductor_alice/x:/scratch/tmp/pytest-of-alice /tmp/x-alice2 /models/distil-alice"
    left = "/scratch/tmp/torchinductor_<user>/x:/scratch/tmp/pytest-of-<user> /tmp/x-alice2 /models/distil-alice"
    assert redact.text(told) == redact.text(left) == left
    for name in ("root", "al", "data"):
        monkeypatch.setenv("LOGNAME", name)
        assert redact.text(f"/scratch/{name}/x") == f"/scratch/{name}/x"


def test_a_home_may_bear_another_name_than_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "root")
    for home in ("/home/alice", "/Users/alice"):
        monkeypatch.setenv("HOME", home)
        assert redact.text(f"{home}/x /scratch/alice/x") == "~/x /scratch/<user>/x"
    monkeypatch.setenv("HOME", "/srv/penguins")
    assert redact.text("/scratch/penguins/x") == "/scratch/penguins/x"


def test_a_path_may_hold_a_token(home: Path) -> None:
    token, mark = next((token, f"<redacted:{kind}>") for token, kind in TOKENS.items() if kind == "huggingface")
    assert redact.path(home / "p" / f"{token}.csv", home / "p") == (f"{mark}.csv", False)
    assert redact.path(Path(f"/srv/{token}"), home) == (mark, True)


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999_999)
    places._account.cache_clear()
    assert redact.text("/scratch/alice/x") == "/scratch/alice/x"
    places._account.cache_clear()


def test_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    on_host(monkeypatch, "node17.lab.example")
    told = "node17:29500 http://node17.lab.example/x runs/Nov05_12-00-00_node17 node171 my-node17 node17.py"
    left = "<host>:29500 http://<host>/x runs/Nov05_12-00-00_<host> node171 my-node17 <host>.py"
    assert redact.text(told) == left
    assert redact.text(left) == left
    for host in ("gpu", "localhost", "1234567", "model", "redacted"):
        on_host(monkeypatch, host)
        assert redact.text(f"{host} <redacted:token>") == (
            "<host> <redacted:token>" if host == "redacted" else f"{host} <redacted:token>"
        )


@pytest.mark.parametrize(
    "name", ["master_addr", "master-addr", "host", "db.host", "hostname", "rdzv_endpoint", "host_name"]
)
def test_addresses_by_their_names(name: str) -> None:
    assert redact.values({name: "node9:29500"}) == {name: "<redacted:host>"}
    assert redact.argv([f"--{name}", "node9"]) == (f"--{name}", "<redacted:host>")
    assert redact.argv([f"--{name}=node9"]) == (f"--{name}=<redacted:host>",)
    for local in LOCAL:
        assert redact.values({name: local}) == {name: local}
        assert redact.argv([f"--{name}={local}"]) == (f"--{name}={local}",)
    assert redact.values({"master_port": "29500", "ghost": "x", "host_count": "two", name: 3})[name] == 3
    assert redact.values({"ghost": "x", "host_count": "two"}) == {"ghost": "x", "host_count": "two"}
    assert redact.text("https://x.example/?host=a") == "https://x.example/?host=a"
