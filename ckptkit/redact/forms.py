"""Secrets known by their form wherever they stand: tokens of services, private keys, what a URL carries.

Most forms are those of gitleaks (https://github.com/gitleaks/gitleaks, its default rules); those of services that
train, keep or run models are added.
"""

import re

from ckptkit.redact.keeping import keeping
from ckptkit.redact.naming import kind_of

_SHORTEST = len("xoxb-0123456789")  # of all tokens; most of what is looked at is shorter
_PEM = r"-----{}[ A-Z0-9]{{0,40}}PRIVATE KEY(?: BLOCK)?-----"
_LINE = r"[A-Za-z0-9+/]{16,}={0,2}"  # of a key
_END = r"(?:\\[nr]|[\s\"',]){1,16}"  # of a line, as it stands in a file or in a literal

# Those that begin anywhere: kind, a text that must be there (looking for it first is far quicker), the form.
_ANYWHERE = (
    (
        "private-key",  # whole, or its beginning; nothing between two constants of a program
        "PRIVATE KEY",
        rf"{_PEM.format('BEGIN')}(?:(?:(?!-----BEGIN)[^{{}}\[\]_;])*?{_PEM.format('END')}|(?:{_END}{_LINE})+)",
    ),
    ("private-key", "PRIVATE KEY", rf"(?:(?<![A-Za-z0-9+/]){_LINE}{_END}){{1,64}}{_PEM.format('END')}"),
    ("webhook", "hooks.slack.com/", r"https://hooks\.slack\.com/[\w/+-]+"),
    ("webhook", "/api/webhooks/", r"https://(?:\w{1,16}\.)?discord(?:app)?\.com/api/webhooks/\d+/[\w-]+"),
    ("webhook", ".webhook.office.com/", r"https://[\w-]{1,64}\.webhook\.office\.com/webhookb2/[\w@/-]+"),
)

# Those that begin a word.
_TOKENS = (
    ("private-key", "AGE-SECRET-KEY-", r"AGE-SECRET-KEY-1[0-9A-Z]{58,}"),
    ("huggingface", "hf_", r"hf_[A-Za-z0-9]{30,}"),
    ("huggingface", "api_org_", r"api_org_[A-Za-z0-9]{30,}"),
    *(("github", f"gh{letter}_", rf"gh{letter}_[A-Za-z0-9]{{36,}}") for letter in "oprsu"),
    ("github", "github_pat_", r"github_pat_\w{22,}"),
    ("gitlab", "gl", r"gl(?:pat|dt|rt|ptt|oas|cbt|ft|imt|soat)-[\w-]{20,}"),
    (
        "aws",  # with the secret beside it, as in the file that the console gives
        "A",
        r"(?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])[A-Z2-7]{16}(?![A-Za-z0-9])(?:[\"',:;\s]{1,4}[A-Za-z0-9/+]{40}(?![\w/+=]))?",
    ),
    ("google", "AIza", r"AIza[\w-]{35,}"),
    ("google", "GOCSPX-", r"GOCSPX-[\w-]{28,}"),
    ("google", "ya29.", r"ya29\.[\w-]{20,}"),
    ("anthropic", "sk-ant-", r"sk-ant-[\w-]{16,}"),
    ("openai", "sk-", r"sk-(?:proj|svcacct|admin|or-v1)-[\w-]{20,}"),
    ("openai", "sk-", r"sk-(?=[A-Za-z]*\d)[A-Za-z0-9]{20,}"),
    ("slack", "xox", r"xox[abeoprs]-[\w-]{10,}"),
    ("slack", "xapp-", r"xapp-\d-[A-Z0-9]+-\d+-[A-Za-z0-9]{20,}"),
    ("neptune", "eyJhcGlfYWRkcmVzcyI6", r"eyJhcGlfYWRkcmVzcyI6[\w+/-]{20,}={0,2}"),  # {"api_address":
    ("jwt", "eyJ", r"eyJ[\w-]{8,1024}\.eyJ[\w-]{8,}(?:\.[\w-]*)?"),
    ("npm", "npm_", r"npm_[A-Za-z0-9]{36,}"),
    ("pypi", "pypi-", r"pypi-AgE[\w-]{16,}"),
    ("databricks", "dapi", r"dapi[0-9a-f]{32}\w*(?:-\d)?"),
    ("wandb", "wandb_v1_", r"wandb_v1_\w{40,}"),
    ("discord", "iscord", r"[MNO][\w-]{23,25}\.[\w-]{6}\.[\w-]{27,38}(?![\w.-])"),
    ("telegram", ":A", r"\d{8,10}:A[\w-]{34}(?![\w-])"),
    ("sendgrid", "SG.", r"SG\.[\w-]{22}\.[\w-]{43,}"),
    *(("stripe", f"k_{mode}_", rf"[rs]k_{mode}_[A-Za-z0-9]{{10,}}") for mode in ("live", "test")),
    ("stripe", "whsec_", r"whsec_[A-Za-z0-9+/]{24,}={0,2}"),
    ("azure", "Q~", r"[\w~.]{3}\dQ~[\w~.-]{31,}"),
    ("replicate", "r8_", r"r8_[A-Za-z0-9]{37,}"),
    ("groq", "gsk_", r"gsk_[A-Za-z0-9]{40,}"),
    ("together", "tgp_v1_", r"tgp_v1_[\w-]{40,}"),
    ("anyscale", "esecret_", r"esecret_[A-Za-z0-9]{20,}"),
    ("anyscale", "aph0_", r"aph0_[\w+/=-]{20,}"),
    ("kaggle", "KGAT_", r"KGAT_[0-9a-zA-Z]{32,}"),
    ("nvidia", "nvapi-", r"nvapi-[\w-]{40,}"),
    ("perplexity", "pplx-", r"pplx-[A-Za-z0-9]{40,}"),
    ("xai", "xai-", r"xai-[A-Za-z0-9]{60,}"),
    ("langsmith", "lsv2_", r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-zA-Z]{10,}"),
    ("pinecone", "pcsk_", r"pcsk_\w{40,}"),
    ("docker", "dckr_", r"dckr_(?:pat|oat)_[\w-]{20,}"),
    ("digitalocean", "_v1_", r"do[opr]_v1_[0-9a-zA-Z]{64,}"),
    ("sentry", "sntry", r"sntry[su]_[\w+/=-]{40,}"),
    ("vault", "hv", r"hv[bs]\.[\w-]{24,}"),
    ("atlassian", "ATATT3", r"ATATT3[\w=-]{60,}"),
)

# Those that are known by what stands before them, which stays: kind, a text, what stands before, the form.
_FOLLOWING = (
    ("bearer", "earer ", r"[Bb]earer ", r"(?=[^\s\d]*\d)[\w.~+/-]{20,}=*"),
    ("wandb", "wandb", r"wandb(?: login |[=:]|[\s\"':{_.\\]{1,32}(?:api[_.-]?)?key\W{1,8})", r"[0-9a-f]{40}\b"),
    (
        "wandb",
        "wandb.login",
        r"wandb\.login\([^)\n]{0,80}?(?:(?<=\()|\bkey\s{0,4}=\s{0,4})\\?[\"']",
        r"[0-9a-f]{40}\b",
    ),
    ("wandb", "WANDB_API_KEY", r"WANDB_API_KEY", r"\W{1,6}[0-9a-f]{40}\b"),
    (
        "kaggle",
        "username",
        r"\\?[\"']username\\?[\"']\s?:\s?\\?[\"'][^\"'\n]{1,64}[\"']\s?,\s*\\?[\"']key\\?[\"']\s?:\s?\\?[\"']",
        r"[0-9a-f]{32}\b",
    ),
    ("azure", "Key=", r"\b(?:AccountKey|SharedAccessKey)=", r"[A-Za-z0-9+/]{42,}={0,2}"),
    ("azure", "sig=", r"\bsig=", r"[\w%+/-]{40,}(?:%3[Dd]|=)(?![\w%<])"),
    (
        "password",
        "machine ",
        r"\bmachine\s{1,8}\S{1,256}\s{1,8}login\s{1,8}\S{1,256}\s{1,8}password\s{1,8}",
        r"[^\s<][^\s\"\']*",
    ),
)
_BEGIN = r"(?<![A-Za-z0-9])|(?<=\\[nrt])|(?<=%[0-9A-F][0-9A-F])"  # of a word, also in JSON and in a URL
_FORMS = (
    *((kind, sign, f"()(?:{form})") for kind, sign, form in _ANYWHERE),
    *((kind, sign, rf"()(?:{_BEGIN})(?:{form})") for kind, sign, form in _TOKENS),
    *((kind, sign, rf"({before})(?:{form})") for kind, sign, before, form in _FOLLOWING),
)

_USER_INFO = re.compile(
    r"((?i:https?|ssh|s?ftp)://)(?!git@)[^\s/?#\"'<>]{1,2048}@|(://)[^\s/?#\"'<>:@]{0,256}:[^\s/?#\"'<>]{0,2048}@"
)
_QUERY = re.compile(r"(?<![^\s\"'<>?])([^\s\"'<>?]+)\?([^\s\"'<>#]*)")
_SIGNED = re.compile(r"(?:sig|signature|key|x-(?:amz|goog|ms)-.*)", re.IGNORECASE)
_OPEN = (None, ("host", False))  # kinds of what a URL may carry


def tokens(value: str) -> str:
    """``value`` without tokens of a public form, and URLs in it without credentials."""
    if keeping.get() or (len(value) < _SHORTEST and "://" not in value):
        return value
    if "://" in value:
        value = _USER_INFO.sub(r"\1\2", value)
        value = _QUERY.sub(lambda found: found[1] if _is_signed(found) else found[0], value)
    for kind, sign, form in _FORMS:
        if sign in value:
            value = re.sub(form, rf"\1<redacted:{kind}>", value)
    return value


def has_secret(value: str) -> bool:
    """Whether ``value`` holds something of the public form of a secret, or a URL with a password."""
    if keeping.get():
        return False
    if any(sign in value and re.search(form, value) for _, sign, form in _FORMS):
        return True
    if "://" not in value:
        return False
    passwords = (found[0] for found in _USER_INFO.finditer(value))
    return any(":" in found.partition("://")[2] for found in passwords) or any(
        _is_signed(found) for found in _QUERY.finditer(value)
    )


def _is_signed(found: re.Match[str]) -> bool:
    names = (part.partition("=")[0] for part in re.split("[&;]", found[2]))
    return "://" in found[1] and any(_SIGNED.fullmatch(name) or kind_of(name) not in _OPEN for name in names)
