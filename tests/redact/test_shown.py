"""What may be shown of values, command lines and addresses."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from canaries import A40, SECRET_NAMES, TOKENS, canary, on_host
from hypothesis import given
from hypothesis import strategies as st

from ckptkit import redact


def test_values_keep_their_shape() -> None:
    config: dict[Any, Any] = {
        "model": {"layers": (1, 2), "name": "x"},
        "credentials": {"user": "bob", "parts": ["a", 3]},
        "passwords": ["one", "two"],
        7: "seven",
    }
    mark = "<redacted:credentials>"
    assert redact.values(config) == {
        "model": {"layers": (1, 2), "name": "x"},
        "credentials": {"user": mark, "parts": [mark, 3]},
        "passwords": ["<redacted:passwords>"] * 2,
        7: "seven",
    }
    assert isinstance(redact.values(config)["model"]["layers"], tuple)


def test_lines_for_a_shell() -> None:
    line = "PGPASSWORD=x1 psql -h db --password hunter2 -c 'select 1' && curl -u bob:pw https://example.org/x"
    told = redact.argv(["sh", "-c", line])[2]
    assert not {"x1", "hunter2", "bob", "pw"} & set(re.findall(r"\w+", told))
    assert "psql -h db" in told
    assert "-c 'select 1'" in told
    assert redact.argv(["curl", "-u", "bob:pw"]) == ("curl", "-u", "<redacted:user>")
    plain = "grep -v '^$' data/a.txt | sort -u > \"my out.txt\""
    assert redact.argv(["sh", "-c", plain]) == ("sh", "-c", plain)
    assert redact.argv(redact.argv(["sh", "-c", line])) == redact.argv(["sh", "-c", line])


def test_command_lines() -> None:
    assert redact.argv(
        [
            "train.py",
            "--api-key",
            "abc",
            "--use-auth-token",
            "--lr",
            "0.1",
            "--password",
            "--verbose",
            "--env=HF_TOKEN=abc",
        ]
    ) == (
        *("train.py", "--api-key", "<redacted:api-key>", "--use-auth-token", "--lr", "0.1"),
        *("--password", "--verbose", "--env=HF_TOKEN=<redacted:token>"),
    )
    assert redact.argv(['{"api_key": "abc", "lr": 1}', "sh -c 'HF_TOKEN=abc python x'", "--password=two words"]) == (
        '{"api_key": "<redacted:api-key>", "lr": 1}',
        "sh -c 'HF_TOKEN=<redacted:token> python x'",
        "--password=<redacted:password>",
    )
    assert redact.argv(["-H", "Authorization: Bearer " + A40 + "1"])[1].count(A40) == 0


@pytest.mark.parametrize(
    ("remote", "recorded"),
    [
        ("https://github.com/o/r.git", "https://github.com/o/r.git"),
        ("https://me:pw@github.com/o/r.git?x=1#y", "https://github.com/o/r.git"),
        ("https://x-access-token:abc@[::1]:8443/r", "https://[::1]:8443/r"),
        ("ssh://git@host:2222/o/r.git", "ssh://git@host:2222/o/r.git"),
        ("ssh://alice:pw@host/r.git", "ssh://host/r.git"),
        ("git@github.com:o/r.git", "git@github.com:o/r.git"),
        ("alice@host.example:r.git", "host.example:r.git"),
        ("user:pw@host.example:o/r.git", "host.example:o/r.git"),
        ("host.example:o/r.git", "host.example:o/r.git"),
        ("file:///home/me/r.git", "local"),
        ("/srv/git/r.git", "local"),
        ("../r.git", "local"),
        ("C:/git/r", "local"),
        ("ext::sh -c x", "local"),
        ("https://[broken/r", None),
        ("", None),
    ],
)
def test_url(remote: str, recorded: str | None) -> None:
    assert redact.url(remote) == recorded
    if recorded not in {None, "local"}:
        assert redact.url(str(recorded)) == recorded


def test_secrets_are_kept_where_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    on_host(monkeypatch, "node17")
    address = f"https://me:{A40}@node17/x?sig=abc"
    with redact.keeping_secrets(yes=True):
        for token in TOKENS:
            assert redact.text(token) == token
            assert not redact.has_secret(token)
        assert redact.text(f"password=x {address} /home/me/y") == f"password=x https://me:{A40}@<host>/x?sig=abc ~/y"
        assert redact.values({"api_key": "x", "host": "node9"}) == {"api_key": "x", "host": "<redacted:host>"}
        line = ("curl", "--token", "x", "-u", "a:b", "--password=y")
        assert redact.argv(line) == line
        assert redact.variables({"TORCH_API_KEY": "x", "CUDA_VISIBLE_DEVICES": f"GPU-{'0' * 12}"}) == {
            "TORCH_API_KEY": "x",
            "CUDA_VISIBLE_DEVICES": "GPU-<redacted:uuid>",
        }
        assert redact.url(address) == f"https://me:{A40}@<host>/x?sig=abc"
        assert redact.url("me:pw@h.example:o/r.git") == "me:pw@h.example:o/r.git"
        assert redact.url("alice@h.example:o/r.git") == "h.example:o/r.git"
        assert redact.url("ssh://alice@h.example/r.git") == "ssh://h.example/r.git"
        with redact.keeping_secrets(yes=False):
            assert redact.text("password=x") == "password=<redacted:password>"
        assert redact.text("password=x") == "password=x"
    assert redact.text("password=x") == "password=<redacted:password>"


def test_marks_are_counted_by_where_they_stand() -> None:
    mark = "<redacted:token>"
    lineage = {
        "message": f"{mark} {mark}",
        "a": {"b": {"c": {"d": [mark, "<redacted:host>", "<redacted:uuid>"]}, mark: 1}},
        "n": 1,
        "unknown": {"config.values": mark},
    }
    files = {"code.patch": f"+{mark}\n".encode() + b"\xff", "x": b""}
    assert redact.counted(lineage, files) == {
        "a.b": 1,
        "a.b.c": 1,
        "code.patch": 1,
        "message": 2,
        "unknown.config.values": 1,
    }
    assert redact.counted({}, {}) == {}


PIECES = st.sampled_from(
    [
        *TOKENS,
        *SECRET_NAMES,
        "=",
        ":",
        " ",
        "--",
        '"',
        "'",
        "://",
        "@",
        "?",
        "&",
        "/",
        "~",
        ".",
        ",",
        "}",
        "sig",
        "hunter2",
        "/alice",
        "node17",
        "host",
        "/home/me",
        "Bearer ",
        "${",
    ]
)


@given(st.lists(PIECES | st.text(max_size=4), max_size=12).map("".join))
def test_redacting_twice_changes_nothing(value: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("LOGNAME", "alice")
        on_host(monkeypatch, "node17")
        project = Path("/home/me")
        once = redact.text(value, project=project)
        assert redact.text(once, project=project) == once
        line = redact.argv(["--x", value, "--host", value])
        assert redact.argv(line) == line
        config = redact.values({"password": value, "x": [value], "host": value})
        assert redact.values(config) == config


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "a=",
        "://",
        "://a",
        "ey",
        "eyJ-",
        canary("-----BEGIN ", "PRIVATE KEY-----"),
        canary("-----BEGIN ", "PRIVATE KEY-----\n", A40, "\n"),
        canary(A40, "\n-----END "),
        canary(A40, "\n' ", "PRIVATE KEY"),
        "wandb.login(",
        "wandb_",
        "machine a login ",
        "username': 'a',",
        "AKIA",
        "-----BEGIN ",
        "/home",
        " ",
        "a.",
        "'",
        '":',
        "wandb",
        "sk-",
        "?&",
        "password='\"",
        'key="\\',
    ],
)
def test_time_grows_with_the_length_only(piece: str) -> None:
    value = piece * (200_000 // len(piece))
    began = time.perf_counter()
    redact.text(value, project=Path("/home/me"))
    redact.argv([value])
    redact.values({"token": value})
    assert time.perf_counter() - began < 5
