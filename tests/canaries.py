"""Canaries: one of each form of secret, and names of what holds one.

They are put together when the tests run, so that no scanner takes this file for a leak.
"""

import os
import string

import pytest

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
    canary("g", "hu_", A40[:36]): "github",
    canary("g", "hr_", A40[:36]): "github",
    canary("gl", "rt-", A40[:20]): "gitlab",
    canary("AK", "IA", "ABCDEFGHIJKLM234", ",", A40): "aws",
    canary("GOC", "SPX-", A40[:28]): "google",
    canary("ya", "29.", A40): "google",
    canary("s", "k-or-v1-", HEX): "openai",
    canary("xa", "pp-1-", "A0B1C2D3-1234567890-", HEX): "slack",
    canary("https://dis", "cord.com/api/webhooks/", "123456789/", A40): "webhook",
    canary("https://acme.web", "hook.office.com/webhookb2/", A40, "@b/IncomingWebhook/c/d"): "webhook",
    canary("12345678", "90:A", "A", A40[:33]): "telegram",
    canary("S", "G.", A40[:22], ".", A40, "abc"): "sendgrid",
    canary("s", "k_live_", A40[:24]): "stripe",
    canary("r", "k_test_", A40[:24]): "stripe",
    canary("wh", "sec_", A40[:32]): "stripe",
    canary("Abc8", "Q~", A40[:34]): "azure",
    canary("r", "8_", A40[:37]): "replicate",
    canary("gs", "k_", A40, A40[:12]): "groq",
    canary("tg", "p_v1_", A40, "-x"): "together",
    canary("ese", "cret_", A40[:26]): "anyscale",
    canary("ap", "h0_", A40): "anyscale",
    canary("KG", "AT_", HEX[:32]): "kaggle",
    canary("eyJhcGl", "fYWRkcmVzcyI6", "Imh0dHBzOi8vYXBwLm5lcHR1bmUuYWkifQ=="): "neptune",
    canary("nv", "api-", A40, A40[:24]): "nvidia",
    canary("pp", "lx-", A40, A40[:8]): "perplexity",
    canary("xa", "i-", A40, A40): "xai",
    canary("ls", "v2_pt_", HEX[:32], "_", HEX[:10]): "langsmith",
    canary("pc", "sk_", A40, "_", A40[:20]): "pinecone",
    canary("dc", "kr_pat_", A40[:27]): "docker",
    canary("do", "p_v1_", HEX): "digitalocean",
    canary("snt", "rys_", A40, A40): "sentry",
    canary("hv", "s.", A40): "vault",
    canary("AT", "ATT3", A40, A40): "atlassian",
    canary("AGE-SECRET", "-KEY-1", A40.upper()[:29] * 2): "private-key",
    canary(
        "-----BEGIN PGP ",
        "PRIVATE KEY BLOCK-----\nVersion: GnuPG v2 (GNU)\n\n",
        A40,
        "\n-----END PGP PRIVATE KEY BLOCK-----",
    ): ("private-key"),
    canary("-----BEGIN ", "PRIVATE KEY-----\\n", A40, "\\n-----END ", "PRIVATE KEY-----"): "private-key",
    canary(A40, "\n", A40, "=\n-----END EC ", "PRIVATE KEY-----"): "private-key",
    canary("-----BEGIN RSA ", "PRIVATE KEY-----\n", A40, "\n-----END RSA PRIVATE KEY-----"): "private-key",
    canary("-----BEGIN ", "PRIVATE KEY-----\n", A40): "private-key",
}


SECRETS = """
password passwd db_password PASSWORD smtpPassword passphrase api_key apiKey APIKey api-key OPENAI_API_KEY hf_token
HF_TOKEN HUGGING_FACE_HUB_TOKEN access_token accessToken auth-token bearer_token refresh.token github_token
client_secret clientSecret secret secrets private_key priv_key ssh_key secret_key aws_secret_access_key access_key
account_key db_pass database_pass key_pass credentials credential cookie cookies dsn sentry_dsn webhook webhook_url
connection_string conn_str connectionString authorization wandb_key KAGGLE_KEY service_key pwd
"""
SECRET_NAMES = SECRETS.split()


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


def on_host(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", host, "6", "x", "x86_64")))


# Secrets that are known by what stands before them: that, the secret, the kind.
FOLLOWING = [
    ("wandb login ", HEX[:40], "wandb"),
    ('wandb.login(key="', HEX[:40], "wandb"),
    ("wandb.login(relogin=True, key='", HEX[:40], "wandb"),
    ('wandb.login("', HEX[:40], "wandb"),
    ("wandb:\n  api_key: ", HEX[:40], "wandb"),
    ('{"username": "ada", "key": "', HEX[:32], "kaggle"),
    ('{\n  "username": "ada",\n  "key": "', HEX[:32], "kaggle"),
    ("\\n", canary("-----BEGIN ", "PRIVATE KEY-----\\n", A40), "private-key"),
    ("AccountName=ada;AccountKey=", A40 + A40 + "abcdef==", "azure"),
    ("SharedAccessSignature sr=x&sig=", A40 + "abc%3D", "azure"),
    ("machine api.example\n  login user\n  password ", "hunter2", "password"),
    ("curl -H 'x: Bearer ", A40 + "1", "bearer"),
    ("discord: ", canary("MTk4NjIyNDgzNDcxOTI1MjQ4", ".Cl2FMQ.", A40[:27]), "discord"),
    ("COMET_API_KEY=", A40[:25], "api-key"),
    ("MISTRAL_API_KEY=", A40[:32], "api-key"),
    ("export AWS_SECRET_ACCESS_KEY=", A40, "secret"),
    ("MODAL_TOKEN_SECRET=", A40, "token"),
]
