"""Redaction: secrets, credentials and private paths out of whatever is recorded, before it is recorded.

What is taken out leaves ``<redacted:kind>`` behind, never a hash: short secrets can be guessed from one. Two signs
count: the name of a value (``api_key``, by whole words, so that ``tokenizer`` and ``key_dim`` stay) and the public form
of a token (``hf_...``). Entropy alone is no sign: digests and commit ids are everywhere in a lineage. Redacting twice
changes nothing.
"""

import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_MARK = re.compile(r"<redacted:[a-z0-9-]+>")

# Public forms of tokens: kind, a text that must be there (looking for it first is far quicker), the whole form.
_TOKENS = (
    ("private-key", "-----BEGIN ", r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[\s\S]*?(?:-----END [A-Z0-9 -]+-----|\Z)"),
    ("huggingface", "hf_", r"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{30,}"),
    ("huggingface", "api_org_", r"(?<![A-Za-z0-9])api_org_[A-Za-z0-9]{30,}"),
    ("github", "gh", r"(?<![A-Za-z0-9])gh[opusr]_[A-Za-z0-9]{36,}"),
    ("github", "github_pat_", r"(?<![A-Za-z0-9])github_pat_\w{22,}"),
    ("gitlab", "gl", r"(?<![A-Za-z0-9])gl(?:pat|dt|rt|ptt|oas|cbt)-[\w-]{20,}"),
    ("aws", "A", r"(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])[A-Z2-7]{16}(?![A-Za-z0-9])"),
    ("google", "AIza", r"(?<![A-Za-z0-9])AIza[\w-]{35,}"),
    ("anthropic", "sk-ant-", r"(?<![A-Za-z0-9])sk-ant-[\w-]{16,}"),
    ("openai", "sk-", r"(?<![A-Za-z0-9])sk-(?:proj|svcacct|admin|or-v1)-[\w-]{20,}"),
    ("openai", "sk-", r"(?<![A-Za-z0-9])sk-(?=[A-Za-z]*\d)[A-Za-z0-9]{20,}"),
    ("slack", "xox", r"(?<![A-Za-z0-9])xox[abeprs]-[\w-]{10,}"),
    ("webhook", "hooks.slack.com/", r"https://hooks\.slack\.com/[\w/+-]+"),
    ("jwt", "eyJ", r"(?<![\w-])eyJ[\w-]{8,}\.eyJ[\w-]{8,}(?:\.[\w-]*)?"),
    ("npm", "npm_", r"(?<![A-Za-z0-9])npm_[A-Za-z0-9]{36,}"),
    ("pypi", "pypi-", r"(?<![A-Za-z0-9])pypi-AgE[\w-]{16,}"),
    ("databricks", "dapi", r"(?<![A-Za-z0-9])dapi[0-9a-f]{32}\w*(?:-\d)?"),
    ("bearer", "earer ", r"(?<=[Bb]earer )(?=[^\s\d]*\d)[\w.~+/-]{20,}=*"),
    ("wandb", "wandb_v1_", r"(?<![A-Za-z0-9])wandb_v1_\w{40,}"),
    ("wandb", "wandb", r"(?<=wandb login )[0-9a-f]{40}\b"),
    ("wandb", "wandb", r"(?<=wandb[=:])[0-9a-f]{40}\b"),
    ("wandb", "WANDB_API_KEY", r"(?<=WANDB_API_KEY)\W{1,4}[0-9a-f]{40}\b"),
)

# Names of values, cut into lower-case words with a space between them.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SECRET = re.compile(
    r"\b(?:apikey|authorization|authtoken|accesstoken|bearer|cookies?|credentials?|dsn|passcode|passphrase|passwd"
    r"|passwords?|privatekey|pwd|secrets?|secretkey|webhooks?|conn(?:ection)? str(?:ing)?"
    r"|(?:access|account|api|auth|client|comet|database|db|deploy|encryption|hf|huggingface|kaggle|license|master"
    r"|neptune|openai|priv|private|service|signing|ssh|storage|subscription|wandb) keys?"
    r"|(?:access|api|auth|azure|bot|comet|csrf|deploy|discord|github|gitlab|hf|hub|huggingface|kaggle|neptune|npm"
    r"|oauth|openai|personal|private|pypi|refresh|replicate|security|service|session|slack|telegram|wandb) tokens?"
    r"|(?:database|db|ftp|key|ldap|mail|mongo|mysql|pg|postgres|redis|smtp|user) pass)\b"
)
_VAGUE = re.compile(r"(?:.* )?(auth|pass|sas|session|signature|token)")  # a secret only where the value looks like one
_ABOUT = re.compile(  # a last word that makes the name one of something about a secret
    r"(?:.* )?(?:backend|column|count|dim|dir|env|expiry|field|file|folder|hint|ids?|index|layers?|len|length|manager"
    r"|names?|paths?|policy|provider|size|store|type)"
)
_ORDINARY = re.compile(r"|true|false|yes|no|none|null|\$\{.*\}|\$\w+|<redacted:[a-z0-9-]+>", re.IGNORECASE | re.DOTALL)
_SPECIAL_TOKEN = re.compile(r"[<\[{(].*[>\]})]", re.DOTALL)
_RANDOM = re.compile(
    r"(?<![A-Za-z0-9])(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{20,}"
    r"|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
)

_NAME_IN_LINE = re.compile(r"(?<![\w.-])([\w.-]{1,128})[\"']?\s{0,4}[:=]\s{0,4}")
_VALUE_IN_LINE = re.compile(r"\"[^\"]*\"|'[^']*'|[^\s\"',;&}]+")
_OPTION = re.compile(r"(?P<key>-{0,2}\+{0,2}[\w.-]+)=(?P<value>.*)", re.DOTALL)

_USER_INFO = re.compile(
    r"((?:https?|ssh|s?ftp)://)(?!git@)[^\s/?#\"'<>]{1,2048}@|(://)[^\s/?#\"'<>:@]{0,256}:[^\s/?#\"'<>]{0,2048}@"
)
_QUERY = re.compile(r"(?<![^\s\"'<>?])([^\s\"'<>?]+)\?([^\s\"'<>#]*)")
_SIGNED = re.compile(r"(?:sig|signature|key|x-(?:amz|goog|ms)-.*)", re.IGNORECASE)
_SCP = re.compile(r"(?:(?P<user>[^/]*)@)?(?P<host>[^/:@]{2,}|\[[^/\]]+\]):(?P<path>(?!:).+)")

_ALLOWED = re.compile(
    r"(?:TORCH|PYTORCH_|TRITON_|NCCL_|RCCL_|HCCL_|CUBLAS|CUDA_|CUDNN_|HIP_|HIPBLASLT_|HSA_|ROCBLAS_|MIOPEN_|FBGEMM_"
    r"|OMP_|GOMP_|KMP_|MKL_|OPENBLAS_|BLIS_|VECLIB_|NUMEXPR_|NUMBA_|ONEDNN_|DNNL_|NPY_|XLA_|TF_|JAX_|ACCELERATE_"
    r"|TRANSFORMERS_|LIBTPU_)\w*"
    r"|ATEN_CPU_CAPABILITY|DISABLE_ADDMM_CUDA_LT|NVIDIA_(?:TF32_OVERRIDE|VISIBLE_DEVICES|BUILD_ID|PYTORCH_VERSION)"
    r"|PL_GLOBAL_SEED|PL_SEED_WORKERS|FLASH_ATTENTION_DETERMINISTIC|ASCEND_LAUNCH_BLOCKING|USE_HUB_KERNELS"
    r"|HF_(?:HUB_OFFLINE|HOME|DATASETS_CACHE)|TOKENIZERS_PARALLELISM|KERAS_BACKEND|LOKY_MAX_CPU_COUNT"
    r"|GLIBC_TUNABLES|LD_LIBRARY_PATH|LD_PRELOAD|PYTHON(?:HASHSEED|PATH|OPTIMIZE)|LC_ALL|LANG|TZ"
)
_PLACE = re.compile(r"\b(?:addr|address|addresses|coordinator|endpoint|host|hostid|hostname|user)\b")
_HOSTS = frozenset(["TF_CONFIG", "NCCL_COMM_ID"])  # hold addresses though their names do not say so
_GPU_ID = re.compile(r"\b(GPU|MIG)-[0-9a-fA-F/-]{8,}")


def text(value: str, *, project: Path | None = None) -> str:
    """``value`` without tokens, URL credentials and private paths: the project is written ``.``, the home ``~``."""
    for kind, sign, form in _TOKENS:
        if sign in value:
            value = re.sub(form, f"<redacted:{kind}>", value)
    if "://" in value:
        value = _USER_INFO.sub(r"\1\2", value)
        value = _QUERY.sub(lambda found: found[1] if _is_signed(found) else found[0], value)
    pattern, names = _private_paths(_home(), project)
    if any(folder in value for folder in names):
        value = pattern.sub(lambda found: names[found[0]], value)
    return value


def argv(arguments: Sequence[str], *, project: Path | None = None) -> tuple[str, ...]:
    """A command line without secrets: ``--api-key X``, ``--api-key=X`` and ``api_key=X`` lose the X."""
    out: list[str] = []
    option: str | None = None
    for argument in arguments:
        shown = text(argument, project=project)
        mark = None if option is None or argument.startswith("--") else _mark(_kind(option), shown)
        out.append(mark or _assignments(shown))
        option = argument if argument.startswith("-") and "=" not in argument else None
    return tuple(out)


def values(value: Any, *, project: Path | None = None) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """The same mappings, lists and tuples with every string redacted, by its key and as ``text``."""
    return _walk(value, None, project)


def variables(env: Mapping[str, str], *, project: Path | None = None) -> dict[str, str]:
    """The environment variables that can change numbers, sorted by name; no other, and none that names a host."""
    out: dict[str, str] = {}
    for name in sorted(env):
        if not _ALLOWED.fullmatch(name) or name in _HOSTS or _PLACE.search(_words(name)):
            continue
        shown = text(env[name], project=project)
        shown = _mark(_kind(name), shown) or _assignments(shown)
        out[name] = _GPU_ID.sub(r"\1-<redacted:uuid>", shown)
    return out


def url(value: str) -> str | None:
    """A git remote without credentials, query and fragment; a local path is ``local``; None for what is no address."""
    value = value.strip()
    if "://" in value:
        try:
            parts = urlsplit(value)
        except ValueError:  # brackets that hold no address
            return None
        user, _, host = parts.netloc.rpartition("@")
        if parts.scheme == "file" or not host:
            return "local"
        kept = "git@" if user == "git" and "ssh" in parts.scheme else ""
        return text(f"{parts.scheme}://{kept}{host}{parts.path}")
    found = _SCP.fullmatch(value)
    if found:
        kept = "git@" if found["user"] == "git" else ""
        return text(f"{kept}{found['host']}:{found['path']}")
    return "local" if value else None


def path(value: Path, project: Path | None) -> tuple[str, bool]:
    """How a path is recorded, and whether it lies outside of project and home.

    Returns:
        The POSIX path relative to the project (``.`` for itself) or below ``~``, and False; or else the last component
        and True.
    """
    asked = os.path.abspath(value)  # noqa: PTH100 - Path.absolute keeps ".."
    for candidate in dict.fromkeys((asked, os.path.realpath(asked))):
        for base, name in _places(_home(), project):
            if candidate == base:
                return name, False
            if candidate.startswith(f"{base}/"):
                below = candidate[len(base) + 1 :]
                return (below if name == "." else f"{name}/{below}"), False
    return os.path.basename(asked) or "/", True  # noqa: PTH119 - a string already


def has_secret(value: str) -> bool:
    """Whether ``value`` holds something of the public form of a secret, or a URL with a password."""
    if any(sign in value and re.search(form, value) for _, sign, form in _TOKENS):
        return True
    if "://" not in value:
        return False
    passwords = (found[0] for found in _USER_INFO.finditer(value))
    return any(":" in found.partition("://")[2] for found in passwords) or any(
        _is_signed(found) for found in _QUERY.finditer(value)
    )


def count(value: str) -> int:
    """How many ``<redacted:...>`` marks stand in a text."""
    return len(_MARK.findall(value))


def _words(name: str) -> str:
    return " ".join(_WORD.findall(name)).lower()


@lru_cache(maxsize=4096)
def _kind(name: str) -> tuple[str, bool] | None:
    """The kind of secret that a value of this name is, and whether it is one whatever it looks like."""
    words = _words(name)
    if _ABOUT.fullmatch(words):
        return None
    if found := _SECRET.search(words):
        return ("token" if "token" in found[0] else found[0].replace(" ", "-")), True
    if found := _VAGUE.fullmatch(words):
        return found[1], False
    return None


def _mark(kind: tuple[str, bool] | None, value: str) -> str | None:
    """What takes the place of a value of that kind; None when it may stay."""
    if kind is None or _ORDINARY.fullmatch(value):
        return None
    word, certain = kind
    if word == "token" and _SPECIAL_TOKEN.fullmatch(value):  # <pad>, [CLS]
        return None
    if word == "pwd" and value.startswith(("/", "~", ".")):  # the working directory
        return None
    return f"<redacted:{word}>" if certain or _RANDOM.search(value) else None


def _walk(value: Any, kind: tuple[str, bool] | None, project: Path | None) -> Any:  # noqa: ANN401 - as values
    if isinstance(value, str):
        shown = text(value, project=project)
        return _mark(kind, shown) or shown
    if isinstance(value, Mapping):
        under = kind if kind and kind[1] else None  # all that stands below "credentials" is secret
        return {
            (text(key, project=project) if isinstance(key, str) else key): _walk(
                item, _kind(str(key)) or under, project
            )
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        items = [_walk(item, kind, project) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    return value


def _assignments(argument: str) -> str:
    whole = _OPTION.fullmatch(argument)
    mark = _mark(_kind(whole["key"]), whole["value"]) if whole else None
    if whole and mark:
        return f"{whole['key']}={mark}"
    out: list[str] = []
    done = 0
    for name in _NAME_IN_LINE.finditer(argument):
        kind = _kind(name[1])
        value = _VALUE_IN_LINE.match(argument, name.end()) if kind and name.end() >= done else None
        bare = value[0].strip("\"'") if value else ""
        mark = _mark(kind, bare)
        if value and mark:
            out += [argument[done : name.end()], value[0].replace(bare, mark)]
            done = value.end()
    return "".join([*out, argument[done:]])


def _is_signed(found: re.Match[str]) -> bool:
    names = (part.partition("=")[0] for part in re.split("[&;]", found[2]))
    return "://" in found[1] and any(_SIGNED.fullmatch(name) or _kind(name) for name in names)


def _home() -> str:
    return os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none


@lru_cache(maxsize=64)
def _places(home: str, project: Path | None) -> tuple[tuple[str, str], ...]:
    """Folders and how they are written, as given and with links resolved, the deeper of home and project first."""
    inside = dict.fromkeys(_variants(str(project or "")), ".")
    private = dict.fromkeys(_variants(home), "~")
    if any(one.startswith(f"{two}/") for one in private for two in inside):
        return tuple((private | inside).items())
    return tuple((inside | {folder: name for folder, name in private.items() if folder not in inside}).items())


def _variants(folder: str) -> list[str]:
    if not os.path.isabs(folder):  # noqa: PTH117 - a string already
        return []
    both = os.path.normpath(folder), os.path.realpath(folder)
    return [each for each in both if each.strip("/")]  # "/" would eat every path


@lru_cache(maxsize=64)
def _private_paths(home: str, project: Path | None) -> tuple[re.Pattern[str], dict[str, str]]:
    names = dict(_places(home, project))
    folders = "|".join(re.escape(folder) for folder in names)
    # A folder begins a path: at the start of a word, after -I or -L, or after file://; and ends at a component's end.
    return re.compile(rf"(?:(?<![\w.~/-])|(?<=(?<!\w)-[A-Za-z])|(?<=file://))(?:{folders})(?![\w-]|\.\w)"), names
