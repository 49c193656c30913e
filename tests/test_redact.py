"""Redaction: one planted canary for each form of secret, and the names of the field that must survive.

The canaries are put together when the tests run, so that no scanner takes this file for a leak.
"""

import os
import re
import string
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptkit import redact

A40 = (string.ascii_letters + string.digits)[20:60]
HEX = "0123456789abcdef" * 4


def canary(*parts: str) -> str:
    return "".join(parts)


TOKENS = {
    canary("h", "f_", A40[:34]): "huggingface",
    canary("api", "_org_", A40[:34]): "huggingface",
    canary("g", "hp_", A40[:36]): "github",
    canary("g", "ho_", A40[:36]): "github",
    canary("g", "hs_", A40[:36]): "github",
    canary("github", "_pat_", "11ABCDEFG0", "abcdefghij_", A40): "github",
    canary("gl", "pat-", A40[:20]): "gitlab",
    canary("AK", "IA", "ABCDEFGHIJKLM234"): "aws",
    canary("AS", "IA", "ABCDEFGHIJKLM234"): "aws",
    canary("AI", "za", A40[:35]): "google",
    canary("s", "k-ant-", "api03-", A40): "anthropic",
    canary("s", "k-proj-", A40): "openai",
    canary("s", "k-svcacct-", A40): "openai",
    canary("s", "k-admin-", A40): "openai",
    canary("s", "k-", A40, "7"): "openai",
    canary("xo", "xb-", "123456789012-", A40[:24]): "slack",
    canary("https://hooks.", "slack.com/services/", "T0/B0/", A40[:24]): "webhook",
    canary("ey", "JhbGciOiJIUzI1NiJ9", ".", "ey", "JzdWIiOiIxIn0abc", ".", A40): "jwt",
    canary("np", "m_", A40[:36]): "npm",
    canary("py", "pi-", "AgEIcHlwaS5vcmc", A40): "pypi",
    canary("da", "pi", HEX[:32]): "databricks",
    canary("wan", "db_v1_", A40, A40): "wandb",
    canary("-----BEGIN RSA ", "PRIVATE KEY-----\n", A40, "\n-----END RSA PRIVATE KEY-----"): "private-key",
    canary("-----BEGIN ", "PRIVATE KEY-----\n", A40): "private-key",
}


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_is_found_wherever_it_stands(token: str) -> None:
    mark = f"<redacted:{TOKENS[token]}>"
    assert redact.text(token) == mark
    assert redact.text(f'key: "{token}"' if "BEGIN" not in token else token).count(mark) == 1
    assert redact.has_secret(f"+export X={token}")
    assert redact.values({"notes": [f"see {token}"]}) == {"notes": [f"see {mark}"]}
    assert redact.argv(["run", f"--x={token}"]) == ("run", f"--x={mark}")
    assert redact.text(redact.text(token)) == mark
    assert redact.text(token).count("<redacted:") == 1


def test_wandb_keys_are_known_by_what_stands_before_them() -> None:
    assert redact.text(f"wandb login {HEX[:40]}") == "wandb login <redacted:wandb>"
    assert HEX[:40] not in redact.text(f"export WANDB_API_KEY={HEX[:40]}")
    assert HEX[:40] not in redact.text(f'"WANDB_API_KEY": "{HEX[:40]}"')
    assert redact.has_secret(f"WANDB_API_KEY={HEX[:40]}")
    pin = f"git+https://github.com/wandb/wandb@{HEX[:40]}"
    assert redact.text(pin) == pin


@pytest.mark.parametrize(
    "text",
    [
        HEX,
        HEX[:40],
        f"sha256:{HEX}",
        "hf_hub_download",
        "hf_model",
        "sk-learn",
        "risk-adjusted-loss-function-2",
        "task-abcdefghijklmnopqrstuvwxyz1",
        "gpt2-medium-finetuned-on-something-quite-long",
        "AKIAnotakey",
        "the bearer of good news",
        "facebook/opt-125m",
        "https://huggingface.co/docs?page=2&limit=10",
        "git@github.com:me/repo.git",
        "ssh://git@github.com/me/repo.git",
        "hydra://model@v1",
        "a@b.example",
        "x://y",
        "",
    ],
)
def test_what_only_looks_a_little_like_a_secret_stays(text: str) -> None:
    assert redact.text(text) == text
    assert not redact.has_secret(text)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("https://me:pw@host/x", "https://host/x"),
        ("https://someone@host/y", "https://host/y"),
        ("postgresql+psycopg://u:p@db:5432/x", "postgresql+psycopg://db:5432/x"),
        ("redis://:p@ss@cache/0", "redis://cache/0"),
        ("ssh://alice@host/r.git", "ssh://host/r.git"),
        ("get https://s3.example/b/k?X-Amz-Credential=a&X-Amz-Signature=b now", "get https://s3.example/b/k now"),
        ("https://a.blob.example/c?sv=1&sig=abc", "https://a.blob.example/c"),
        ("https://g.example/c?X-Goog-Signature=abc#part", "https://g.example/c#part"),
        ("https://x.example/?api_key=abc", "https://x.example/"),
    ],
)
def test_urls_lose_user_and_signature(text: str, left: str) -> None:
    assert redact.text(text) == left
    assert redact.text(left) == left
    assert redact.has_secret(text) == (left not in {"https://host/y", "ssh://host/r.git"}), "a user's name is none"


SECRETS = """
password passwd db_password PASSWORD smtpPassword passphrase api_key apiKey APIKey api-key OPENAI_API_KEY hf_token
HF_TOKEN HUGGING_FACE_HUB_TOKEN access_token accessToken auth-token bearer_token refresh.token github_token
client_secret clientSecret secret secrets private_key priv_key ssh_key secret_key aws_secret_access_key access_key
account_key db_pass database_pass key_pass credentials credential cookie cookies dsn sentry_dsn webhook webhook_url
connection_string conn_str connectionString authorization wandb_key KAGGLE_KEY service_key pwd
"""
SECRET_NAMES = SECRETS.split()


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_named_secret_is_taken_out(name: str) -> None:
    kept = redact.values({name: "hunter2"})[name]
    assert kept.startswith("<redacted:")
    assert "hunter2" not in kept
    for arguments in ([f"--{name}", "hunter2"], [f"--{name}=hunter2"], [f"{name}=hunter2"], [f"+a.{name}=hunter2"]):
        assert "hunter2" not in " ".join(redact.argv(["train.py", *arguments]))
        assert " ".join(redact.argv(["train.py", *arguments])).count("<redacted:") == 1


SURVIVORS = """
tokenizer tokenizer_name max_tokens num_tokens tokens_per_batch num_key_value_heads monkey key_dim key query_key
pass_through passes first_pass eos_token pad_token pad_token_id token_type_ids unk_token image_token cls_token
token author secretary sha sha256 digest keys keyboard hotkey primary_key sort_key cache_key attention_key
secret_layers_count bypass compass passage compassion auth_type signature serving_signature session
password_file secret_name token_dropout cookiecutter tokenization detokenize credentials_path design hash
"""


@pytest.mark.parametrize("name", SURVIVORS.split())
@pytest.mark.parametrize("value", ["<pad>", "word", "[CLS]", "bert-base-uncased", "greedy"])
def test_names_of_the_field_survive(name: str, value: str) -> None:
    assert redact.values({name: value}) == {name: value}
    assert redact.argv([f"--{name}", value]) == (f"--{name}", value)
    assert redact.argv([f"--{name}={value}"]) == (f"--{name}={value}",)


def test_a_token_that_looks_random_goes_and_a_word_stays() -> None:
    random = canary("Zx9", A40[:27])
    assert redact.values({"token": random}) == {"token": "<redacted:token>"}
    assert redact.values({"session": "123e4567-e89b-12d3-a456-426614174000"}) == {"session": "<redacted:session>"}
    assert redact.values({"token": "<|reserved_special_token_250|>"}) == {"token": "<|reserved_special_token_250|>"}
    assert redact.values({"bot_token": "<bot>"}) == {"bot_token": "<bot>"}


@pytest.mark.parametrize("value", [3, 0.5, True, None, [1, 2], {"n": 3}])
def test_numbers_are_never_secrets(value: object) -> None:
    config = {"secret_layers": value, "token": value, "password": value, "api_key": value}
    assert redact.values(config) == config


@pytest.mark.parametrize("value", ["", "true", "None", "null", "${oc.env:HF_TOKEN}", "$HF_TOKEN", "${HF_TOKEN}"])
def test_references_and_empty_values_say_how_it_was_given(value: str) -> None:
    assert redact.values({"api_key": value}) == {"api_key": value}


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
    ("text", "left"),
    [
        ("run with password=hunter2, then", "run with password=<redacted:password>, then"),
        ("# db password: a,b;c&d}e", "# db password: <redacted:password>"),
        ("API_KEY=hunter2 and 'secret': 'x y'", "API_KEY=<redacted:api-key> and 'secret': '<redacted:secret>'"),
        ("the API key: hunter2\nlr: 1", "the API key: <redacted:api-key>\nlr: 1"),
        ("Authorization: Bearer hunter2", "Authorization: <redacted:authorization>"),
        (r'{"password": "a\"b", "lr": 1}', '{"password": "<redacted:password>", "lr": 1}'),
        ("password=a,lr=1 password=a&lr=1", "password=<redacted:password>,lr=1 password=<redacted:password>&lr=1"),
    ],
)
def test_assignments_in_free_text(text: str, left: str) -> None:
    assert redact.text(text) == redact.assignments(text) == left
    assert redact.text(left) == left


@pytest.mark.parametrize(
    "text",
    [
        *(
            "tokens: 128",
            "secret sauce",
            "password-protected",
            "key: value",
            "max_tokens=5",
            "token: word",
            "new key: x",
        ),
        *("credentials:\n  - 1", "password: ${oc.env:X} # x", "password: ???", "api_key: null", "secret=$(cat x)"),
        *("pad_token=<pad>", "num_key_value_heads: 8", "private_key: |"),
    ],
)
def test_free_text_about_secrets_and_of_the_field_survives(text: str) -> None:
    assert redact.text(text) == text


# --- variables ---


def test_only_variables_that_change_numbers_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    env = {
        "OMP_NUM_THREADS": "2",
        "PYTHONPATH": "/home/me/p/src:/home/me/lib:/opt/x",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "CUDA_VISIBLE_DEVICES": "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6,MIG-11-22-33-44",
        "TORCHINDUCTOR_FREEZING": "1",
        "LC_ALL": "C",
        "HF_TOKEN": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "USER": "me",
        "HOSTNAME": "node1",
        "DATABASE_URL": "x",
        "NCCL_HOSTID": "node1",
        "TF_CONFIG": '{"cluster": {"worker": ["node1:1"]}}',
        "JAX_COORDINATOR_ADDRESS": "node1:1",
        "TORCH_API_KEY": "x",
        "XLA_FLAGS": "--xla_dump_to=/home/me/dump",
    }
    assert redact.variables(env, project=Path("/home/me/p")) == {
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "CUDA_VISIBLE_DEVICES": "GPU-<redacted:uuid>,MIG-<redacted:uuid>",
        "LC_ALL": "C",
        "OMP_NUM_THREADS": "2",
        "PYTHONPATH": "./src:~/lib:/opt/x",
        "TORCHINDUCTOR_FREEZING": "1",
        "TORCH_API_KEY": "<redacted:api-key>",
        "XLA_FLAGS": "--xla_dump_to=~/dump",
    }


# --- addresses ---


LOCAL = [
    "localhost",
    "127.0.0.1",
    "::1",
    "[::1]:29500",
    "0.0.0.0:1",
    "localhost:29500",
    "http://127.0.0.1:8000/v1",
    "5",
]


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


# --- paths ---


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


# --- user and host ---


def on_host(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", host, "6", "x", "x86_64")))


def test_the_user_in_a_path(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "alice")
    told = "/scratch/alice/x file:///mnt/alice ../alice/y /u/alice, /x/alice.lab /x/alice2 hf://alice/m alice/b"
    left = "/scratch/<user>/x file:///mnt/<user> ../<user>/y /u/<user>, /x/alice.lab /x/alice2 hf://alice/m alice/b"
    assert redact.text(told) == left
    assert redact.text(left) == left
    assert redact.argv(["--data", "/scratch/alice/x"]) == ("--data", "/scratch/<user>/x")
    assert redact.path(Path("/scratch/alice"), home) == ("<user>", True)
    for name in ("root", "al", "data"):
        monkeypatch.setenv("LOGNAME", name)
        assert redact.text(f"/scratch/{name}/x") == f"/scratch/{name}/x"


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999_999)
    redact.places._account.cache_clear()
    assert redact.text("/scratch/alice/x") == "/scratch/alice/x"
    redact.places._account.cache_clear()


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


# --- properties ---

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
