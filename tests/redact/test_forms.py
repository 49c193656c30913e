"""Secrets known by their form: one planted canary for each, and what only looks a little like one."""

import pytest
from canaries import FOLLOWING, HEX, TOKENS, canary

from ckptkit import redact


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_is_found_wherever_it_stands(token: str) -> None:
    mark = f"<redacted:{TOKENS[token]}>"
    assert redact.text(token) == mark
    assert redact.text(f'key: "{token}"' if "BEGIN" not in token else token).count(mark) == 1
    assert redact.has_secret(f"+export X={token}")
    assert redact.values({"notes": [f"see {token}"]}) == {"notes": [f"see {mark}"]}
    assert redact.argv(["run", f"--x={token}"]) == ("run", f"--x={mark}")
    assert redact.text(redact.text(token)) == mark
    if "PRIVATE KEY" not in token and "://" not in token:
        assert redact.text(f"a\\n{token}") == f"a\\n{mark}", "a line of its own, in JSON"
        assert redact.text(f"a%3D{token}") == f"a%3D{mark}"
    assert redact.text(token).count("<redacted:") == 1


@pytest.mark.parametrize(("before", "secret", "kind"), FOLLOWING)
def test_a_secret_is_known_by_what_stands_before_it(before: str, secret: str, kind: str) -> None:
    for after in ("", '"', ' and "more"'):
        told = redact.text(f"{before}{secret}{after}")
        assert told == f"{before}<redacted:{kind}>{after}"
        assert redact.text(told) == told


def test_a_key_in_a_program_takes_nothing_else_along() -> None:
    body = "\n".join(HEX for _ in range(20))
    key = canary("-----BEGIN RSA ", f"PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----")
    assert redact.text(f'KEY = """{key}"""\nlr = 1\n') == 'KEY = """<redacted:private-key>"""\nlr = 1\n'
    marks = canary('BEGIN = "-----BEGIN ', 'PRIVATE KEY-----"\nEND_LINE = "-----END ', 'PRIVATE KEY-----"\nlr = 1\n')
    assert redact.text(marks) == marks
    said = canary('if "-----BEGIN ', 'PRIVATE KEY-----" in text:\n    raise ValueError(text)\n')
    assert redact.text(said) == said


@pytest.mark.parametrize(
    "text",
    [
        HEX,
        HEX[:40],
        f"sha256:{HEX}",
        f"git+https://github.com/wandb/wandb@{HEX[:40]}",
        f"wandb-{HEX[:8]}.dist",
        f"run-20261105_120000-{HEX[:8]}",
        f"model@{HEX[:12]}",
        "123e4567-e89b-12d3-a456-426614174000",
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
        "checkpoint-12000/model-00001-of-00004.safetensors",
        "epoch=12-step=34567-val_loss=0.1234.ckpt",
        "meta-llama/Llama-3.1-8B-Instruct",
        "mistralai/Mixtral-8x7B-Instruct-v0.1",
        "google/gemma-2-27b-it",
        "stabilityai/stable-diffusion-xl-base-1.0",
        "sentence-transformers/all-MiniLM-L6-v2",
        "openai/whisper-large-v3",
        "ghost_attention_and_other_things_that_are_long_enough_to_count",
        "sk_learn_pipeline_with_a_long_name",
        "task_test_set_accuracy_of_the_ensemble",
        "top_k_live_evaluation",
        "glue-mnli-matched-validation-set-2",
        "AdamW(lr=0.001, betas=(0.9, 0.999), weight_decay=0.01)",
        "A" * 40,
        "ACGT" * 20,
        "SG.nmr",
        "data.2026-11-05T12:00:00.parquet",
        "r8_large_backbone",
        "xai-explanations",
        "npm_install",
        "do_v1_of_the_model",
        "pypi-mirror",
        "dapi_client",
        "1234567890:12",
        "0.1.2.dev3+gabcdef0.d20261105",
        "torch==2.14.1+cu130",
        "cuda:0",
        "the sig=0.05 level",
        "s3://bucket/key/with/parts.csv",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI public keys are public",
        "sort -k 2 --key=1,2",
        "a Q~ b",
        "https://hub.docker.com/r/pytorch/pytorch/tags?name=cuda",
        "https://www.kaggle.com/c/titanic/data?select=train.csv",
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
        ("HTTPS://pw@host/z", "HTTPS://host/z"),
        ("postgresql+psycopg://u:p@db:5432/x", "postgresql+psycopg://db:5432/x"),
        ("redis://:p@ss@cache/0", "redis://cache/0"),
        ("ssh://alice@host/r.git", "ssh://host/r.git"),
        ("get https://s3.example/b/k?X-Amz-Credential=a&X-Amz-Signature=b now", "get https://s3.example/b/k now"),
        ("https://a.blob.example/c?sv=1&sig=abc", "https://a.blob.example/c"),
        ("https://g.example/c?X-Goog-Signature=abc#part", "https://g.example/c#part"),
        ("https://x.example/?api_key=abc", "https://x.example/"),
        (f"https://x.example/y?X-Amz-Signature={next(iter(TOKENS))}", "https://x.example/y"),
        ("git+https://oauth2:abc@git.example/r@v1", "git+https://git.example/r@v1"),
        ("git+https://abc@git.example/r@v1 ", "git+https://git.example/r@v1 "),
    ],
)
def test_urls_lose_user_and_signature(text: str, left: str) -> None:
    assert redact.text(text) == left
    assert redact.text(left) == left
    assert redact.has_secret(text) == (
        left not in {"https://host/y", "HTTPS://host/z", "ssh://host/r.git", "git+https://git.example/r@v1 "}
    ), "a user's name is none"
