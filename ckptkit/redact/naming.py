"""Secrets known by the name of what holds them, matched by whole words, so that ``tokenizer`` and ``key_dim`` stay.

The words are those of the keyword plugin of detect-secrets (https://github.com/Yelp/detect-secrets) and more.
"""

import re
from functools import lru_cache

from ckptkit.redact.keeping import keeping

Kind = tuple[str, bool] | None
"""The kind of secret that a value is by its name, and whether it is one whatever it looks like; None for no secret."""

# Names of values, cut into lower-case words with a space between them.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SECRET = re.compile(
    r"\b(?:apikey|authorization|authtoken|accesstoken|bearer|cookies?|credentials?|dsn|passcode|passphrase|passwd"
    r"|passwords?|pgpassword|privatekey|pwd|sshpass|secrets?|secretkey|webhooks?|conn(?:ection)? str(?:ing)?"
    r"|contrasena|contrase a|mot de passe"
    r"|(?:access|account|anthropic|api|auth|client|cohere|comet|database|db|deploy|encryption|groq|hf|huggingface|kaggle"
    r"|license|master|mistral|neptune|openai|priv|private|sas|service|signing|ssh|storage|subscription|wandb) keys?"
    r"|(?:access|anyscale|api|auth|azure|bot|comet|csrf|databricks|deploy|discord|github|gitlab|hf|hub|huggingface"
    r"|kaggle|modal|neptune|npm|oauth|openai|personal|private|pypi|refresh|replicate|sas|security|service|session|slack"
    r"|telegram|wandb) tokens?"
    r"|(?:database|db|ftp|key|ldap|mail|mongo|mysql|pg|postgres|redis|smtp|user) pass)\b"
)
_VAGUE = re.compile(r"(?:.* )?(auth|pass|sas|session|signature|token)")  # a secret only where the value looks like one
_ABOUT = re.compile(  # a last word that makes the name one of something about a secret
    r"(?:.* )?(?:backend|column|count|dim|dir|env|expiry|field|file|folder|hint|ids?|index|layers?|len|length|manager"
    r"|names?|paths?|policy|provider|separator|size|store|type|variable)"
)
# What tells nothing: no value, one to be given (???, ***), a reference, the sign of a block in YAML, what was redacted.
_ORDINARY = re.compile(
    r"[?*~.]*|[|>][-+]?|true|false|yes|no|none|null|\$\{.*\}|\$\w+|\$\(.*|<redacted:[a-z0-9-]+>",
    re.IGNORECASE | re.DOTALL,
)
_SPECIAL_TOKEN = re.compile(r"[<\[{(].*[>\]})]", re.DOTALL)
_RANDOM = re.compile(
    r"(?<![A-Za-z0-9])(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{20,}"
    r"|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
)

# Every secret name holds one of these; looking for them first is far quicker.
_SIGNS = (
    "auth",
    "bearer",
    "conn",
    "cookie",
    "contrase",
    "credential",
    "dsn",
    "key",
    "pass",
    "pwd",
    "secret",
    "token",
    "webhook",
)
_NAME_IN_LINE = re.compile(
    r"(?<![\w.-])([A-Za-z]{1,32} (?i:key|token)|[\w.-]{1,128})\\?[\"']?\]?[^\S\n]{0,4}(?::=?|==?)[^\S\n]{0,4}"
)
_VALUE_IN_LINE = re.compile(  # quoted, a reference, or a word with the , ; & } that neither end it nor lead to a name
    r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|\$?\{[^{}\n]*\}|\$\{\{[^{}\n]*\}\}"
    r"|\\\"[^\"\\\n]*\\\"|\\'[^'\\\n]*\\'"
    r"|(?:(?i:basic|bearer|token) )?[\"']?(?:[^\s\"',;&}]|[,;&}](?=[^\s\"',;&}])(?![\w.-]{1,128}[\"']? ?[:=]))+"
)
ADDRESS = re.compile(r"\b(?:addr(?:s|ess|esses)?|endpoints?|host(?:s|id|names?)?)\b")
_NO_HOST = re.compile(  # an address that every machine has, or a number
    r"(?:\w+://)?(?:localhost|127(?:\.\d+){3}|0\.0\.0\.0|::1?|\[::1?\])(?::\d+)?(?:/\S*)?|[-+]?\d*\.?\d*(?:e[-+]?\d+)?",
    re.IGNORECASE,
)


def assignments(value: str) -> str:
    """``value`` without what stands after ``=`` or ``:`` and a name whose values are always secret."""
    return assigned(value, certain=True) if may_assign(value) else value


def may_assign(value: str) -> bool:
    """Whether a secret's name can stand in a text at all."""
    lower = value.lower()
    return not keeping.get() and any(sign in lower for sign in _SIGNS)


def literal(name: str, value: str) -> str | None:
    """What takes the place of a literal in source code that is assigned to ``name``; None when it may stay."""
    kind = kind_of(name)
    names_one = _bare(name).endswith(_bare(value)) and kind_of(value)  # PASSWORD = "password", ENV_TOKEN = "HF_TOKEN"
    if kind is None or not kind[1] or names_one:
        return None
    return mark(kind, value)


def words(name: str) -> str:
    """The lower-case words of a name, with a space between them."""
    return " ".join(_WORD.findall(name)).lower()


def _bare(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


@lru_cache(maxsize=4096)
def kind_of(name: str) -> Kind:
    """The kind of secret that a value of this name is."""
    named = words(name)
    if not _ABOUT.fullmatch(named):
        if found := _SECRET.search(named):
            return ("token" if "token" in found[0] else found[0].replace(" ", "-")), True
        if found := _VAGUE.fullmatch(named):
            return found[1], False
    if ADDRESS.search(named) and not _ABOUT.fullmatch(named.removesuffix(" name")):
        return "host", False
    return None


def mark(kind: Kind, value: str) -> str | None:
    """What takes the place of a value of that kind; None when it may stay."""
    if kind is None or _ORDINARY.fullmatch(value):
        return None
    word, certain = kind
    if word == "host":
        return None if _NO_HOST.fullmatch(value) else "<redacted:host>"
    if keeping.get():
        return None
    if word == "token" and _SPECIAL_TOKEN.fullmatch(value):  # <pad>, [CLS]
        return None
    if word == "pwd" and value.startswith(("/", "~", ".")):  # the working directory
        return None
    return f"<redacted:{word}>" if certain or _RANDOM.search(value) else None


def assigned(value: str, *, certain: bool) -> str:
    """``value`` without what is assigned in it to names of secrets and hosts; ``certain``: always secret ones alone."""
    out: list[str] = []
    done = 0
    for name in _NAME_IN_LINE.finditer(value):
        kind = kind_of(name[1])
        if kind is None or name.end() < done or (certain and not kind[1]):
            continue
        found = _VALUE_IN_LINE.match(value, name.end())
        bare = found[0].strip("\\\"'") if found else ""
        told = mark(kind, bare)
        if found and told:
            out += [value[done : name.end()], found[0].replace(bare, told)]
            done = found.end()
    return "".join([*out, value[done:]])
