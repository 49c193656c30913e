"""Secrets known by the name of what holds them, and the names of the field that must survive."""

import pytest
from canaries import A40, SECRET_NAMES, canary

from ckptkit import redact


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
pass_through passes first_pass eos_token pad_token pad_token_id token_type_ids unk_token image_token cls_token token
author secretary sha sha256 digest keys keyboard hotkey primary_key sort_key cache_key attention_key
secret_layers_count bypass compass passage compassion auth_type signature serving_signature session api_version
author authentic authors authored_by pass_rate max_pass num_passes pass_k session_length signature_def
tokenizer_config tokens_seen tokens_per_second total_tokens num_image_tokens special_tokens mask_token bos_token
sep_token keyframe keypoints key_padding_mask num_key_value_groups key_bias kv_cache_key idempotency_key foreign_key
partition_key label_key feature_keys dict_key key_size rope_key keyed public_key monkeypatch turkey key_value_memory
sorted_by_key password_file secret_name storage_key_separator api_key_variable token_dropout cookiecutter
tokenization detokenize credentials_path design hash
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


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("run with password=hunter2, then", "run with password=<redacted:password>, then"),
        ("# db password: a,b;c&d}e", "# db password: <redacted:password>"),
        ("API_KEY=hunter2 and 'secret': 'x y'", "API_KEY=<redacted:api-key> and 'secret': '<redacted:secret>'"),
        ("the API key: hunter2\nlr: 1", "the API key: <redacted:api-key>\nlr: 1"),
        ("Authorization: Bearer hunter2", "Authorization: <redacted:authorization>"),
        ("Authorization: token hunter2", "Authorization: <redacted:authorization>"),
        ("os.environ['HF_TOKEN'] = 'hunter2'", "os.environ['HF_TOKEN'] = '<redacted:token>'"),
        (
            r'{"a": "{\"password\": \"hunter2\", \"lr\": 1}"}',
            r'{"a": "{\"password\": \"<redacted:password>\", \"lr\": 1}"}',
        ),
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


@pytest.mark.parametrize(
    "config",
    [
        {"wandb": {"key": "hunter2"}},
        {"logger": {"comet": {"api": {"key": "hunter2"}}}},
        {"hub": {"token": "hunter2"}},
        {"db": {"pass": "hunter2"}},
        {"openai": [{"key": "hunter2"}]},
        {"secret_santa": "hunter2"},  # one value too many is lost rather than a secret told
        {"contraseña": "hunter2"},
    ],
)
def test_a_name_is_read_together_with_the_one_above_it(config: dict[str, object]) -> None:
    assert "hunter2" not in str(redact.values(config))


@pytest.mark.parametrize(
    "config",
    [
        {"attention": {"key": "x", "query": "y"}},
        {"sort": {"key": "date"}},
        {"special": {"token": "<s>"}},
        {"first": {"pass": "greedy"}},
        {"tokenizer": {"token": "word"}},
        {"host": {"scheme": "x", "ports": "y"}},
    ],
)
def test_names_of_the_field_survive_below_others(config: dict[str, object]) -> None:
    assert redact.values(config) == config
