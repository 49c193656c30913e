"""Redaction: secrets, private paths, user and host names out of whatever is recorded, before it is recorded.

What is taken out leaves ``<redacted:kind>`` behind, never a hash: short secrets can be guessed from one. Two signs
count: the name of a value (``api_key``, by whole words, so that ``tokenizer`` and ``key_dim`` stay) and the public form
of a token (``hf_...``). Entropy alone is no sign: digests and commit ids are everywhere in a lineage. Redacting twice
changes nothing.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_MARK = re.compile(r"<redacted:[a-z0-9-]+>")
_keeping = ContextVar("keeping", default=False)

# Public forms of tokens: kind, a text that must be there (looking for it first is far quicker), the whole form.
_TOKENS = (
    ("private-key", "-----BEGIN ", r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[\s\S]*?(?:-----END [A-Z0-9 -]+-----|\Z)"),
    ("webhook", "hooks.slack.com/", r"https://hooks\.slack\.com/[\w/+-]+"),
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
    r"|passwords?|pgpassword|privatekey|pwd|sshpass|secrets?|secretkey|webhooks?|conn(?:ection)? str(?:ing)?"
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
_SIGNS = ("auth", "bearer", "conn", "cookie", "credential", "dsn", "key", "pass", "pwd", "secret", "token", "webhook")
_NAME_IN_LINE = re.compile(
    r"(?<![\w.-])([A-Za-z]{1,32} (?i:key|token)|[\w.-]{1,128})[\"']?[^\S\n]{0,4}(?::=?|==?)[^\S\n]{0,4}"
)
_VALUE_IN_LINE = re.compile(  # quoted, a reference, or a word with the , ; & } that neither end it nor lead to a name
    r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|\$?\{[^{}\n]*\}|\$\{\{[^{}\n]*\}\}"
    r"|(?:(?:Basic|Bearer|Token) )?[\"']?(?:[^\s\"',;&}]|[,;&}](?=[^\s\"',;&}])(?![\w.-]{1,128}[\"']? ?[:=]))+"
)
_OPTION = re.compile(r"(?P<key>-{0,2}\+{0,2}[\w.-]+)=(?P<value>.*)", re.DOTALL)

_SHELL_WORD = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\s\"']+")

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
_ADDRESS = re.compile(r"\b(?:addr(?:s|ess|esses)?|endpoints?|host(?:s|id|names?)?)\b")
_PLACE = re.compile(rf"{_ADDRESS.pattern}|\b(?:coordinator|user)\b")
_NO_HOST = re.compile(  # an address that every machine has, or a number
    r"(?:\w+://)?(?:localhost|127(?:\.\d+){3}|0\.0\.0\.0|::1?|\[::1?\])(?::\d+)?(?:/\S*)?|[-+]?\d*\.?\d*(?:e[-+]?\d+)?",
    re.IGNORECASE,
)
_COMMON = re.compile(  # users and hosts of these names tell nobody's name, and the words are needed
    r"admin|data|docker|gpu|guest|home|host|jovyan|local|localhost(?:\..*)?|main|master|models?|node|nobody|opt|projects?"
    r"|root|runner|runs|scratch|server|share|src|srv|test|tmp|train|ubuntu|users?|usr|var|vscode|work|worker|workspace",
    re.IGNORECASE,
)
_OPEN = (None, ("host", False))  # kinds of what a URL may carry
_HOSTS = frozenset(["TF_CONFIG", "NCCL_COMM_ID"])  # hold addresses though their names do not say so
_GPU_ID = re.compile(r"\b(GPU|MIG)-[0-9a-fA-F/-]{8,}")


@contextlib.contextmanager
def keeping_secrets(yes: bool) -> Iterator[None]:  # noqa: FBT001 - the name of the function says what it is
    """While this lasts, secrets stay where they are, if so asked; paths, users and hosts do not."""
    token = _keeping.set(yes)
    try:
        yield
    finally:
        _keeping.reset(token)


def text(value: str, *, project: Path | None = None) -> str:
    """``value`` without secrets, private paths, and the names of this user and host.

    Tokens of a public form and what is assigned to a secret's name (``password=...``, ``api key: ...``) leave a mark,
    URLs lose their credentials; the project is written ``.``, the home ``~``, the user in a path ``<user>``, the host
    ``<host>``.
    """
    value = assignments(tokens(value))
    pattern, names = _private_paths(_home(), project)
    if any(folder in value for folder in names):
        value = pattern.sub(lambda found: names[found[0]], value)
    return _anonymous(value)


def tokens(value: str) -> str:
    """``value`` without tokens of a public form, and URLs in it without credentials."""
    if _keeping.get():
        return value
    for kind, sign, form in _TOKENS:
        if sign in value:
            value = re.sub(form, f"<redacted:{kind}>", value)
    if "://" in value:
        value = _USER_INFO.sub(r"\1\2", value)
        value = _QUERY.sub(lambda found: found[1] if _is_signed(found) else found[0], value)
    return value


def assignments(value: str) -> str:
    """``value`` without what stands after ``=`` or ``:`` and a name whose values are always secret."""
    return _assigned(value, certain=True) if may_assign(value) else value


def may_assign(value: str) -> bool:
    """Whether a secret's name can stand in a text at all."""
    lower = value.lower()
    return not _keeping.get() and any(sign in lower for sign in _SIGNS)


def literal(name: str, value: str) -> str | None:
    """What takes the place of a literal in source code that is assigned to ``name``; None when it may stay."""
    kind = _kind(name)
    if kind is None or not kind[1] or _bare(name.rpartition(".")[2]) == _bare(value):  # PASSWORD = "password"
        return None
    return _mark(kind, value)


def argv(arguments: Sequence[str], *, project: Path | None = None) -> tuple[str, ...]:
    """A command line as ``text``; ``--api-key X``, ``--api-key=X``, ``api_key=X`` lose the X, ``--host X`` too."""
    return tuple(_options([text(argument, project=project) for argument in arguments]))


def _options(words: Sequence[str]) -> Iterator[str]:
    """The words of a command line, as they may be shown; one of several words is a line for a shell."""
    option: str | None = None
    for shown in words:
        mark = None if option is None or shown.startswith("--") else _mark(_kind(option), shown.strip("\"'"))
        is_user = option in {"-u", "--user"} and ":" in shown and not _keeping.get()
        if is_user and any(word.rpartition("/")[2] == "curl" for word in words):
            mark = "<redacted:user>"
        told = mark or _option(shown)
        if (told == shown or option == "-c") and len(parts := _SHELL_WORD.findall(shown)) > 1:
            redacted = _options(parts)
            told = _SHELL_WORD.sub(lambda _, redacted=redacted: next(redacted), shown)  # type: ignore[misc]
        yield told
        option = shown if shown.startswith("-") and "=" not in shown else None


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
        shown = _mark(_kind(name), shown) or _option(shown)
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
    return _anonymous(f"/{os.path.basename(asked)}")[1:] or "/", True  # noqa: PTH119 - a string already


def has_secret(value: str) -> bool:
    """Whether ``value`` holds something of the public form of a secret, or a URL with a password."""
    if _keeping.get():
        return False
    if any(sign in value and re.search(form, value) for _, sign, form in _TOKENS):
        return True
    if "://" not in value:
        return False
    passwords = (found[0] for found in _USER_INFO.finditer(value))
    return any(":" in found.partition("://")[2] for found in passwords) or any(
        _is_signed(found) for found in _QUERY.finditer(value)
    )


_SECRETS = re.compile(r"<redacted:(?!host>|uuid>)[a-z0-9-]+>")


def counted(lineage: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, int]:
    """How many marks of secrets stand in a record, by dotted path of up to three parts, and in files, by their names.

    Args:
        lineage: the record as JSON types.
        files: the contents of files.
    """
    found: dict[str, int] = {}
    queue: list[tuple[str, Any]] = [("", lineage)]
    while queue:
        where, value = queue.pop()
        if isinstance(value, Mapping):
            deep = where.count(".") >= 2  # noqa: PLR2004 - three parts
            for key, each in value.items():
                queue.append((where if deep else f"{where}.{key}" if where else str(key), each))
                queue.append((where, str(key)))
        elif isinstance(value, list | tuple):
            queue += [(where, each) for each in value]
        elif isinstance(value, str) and (number := len(_SECRETS.findall(value))):
            found[where] = found.get(where, 0) + number
    for name, content in files.items():
        if b"<redacted:" in content:
            found[name] = len(_SECRETS.findall(content.decode("utf-8", "replace")))
    return {where: number for where, number in sorted(found.items()) if number}


def _words(name: str) -> str:
    return " ".join(_WORD.findall(name)).lower()


def _bare(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


@lru_cache(maxsize=4096)
def _kind(name: str) -> tuple[str, bool] | None:
    """The kind of secret that a value of this name is, and whether it is one whatever it looks like."""
    words = _words(name)
    if not _ABOUT.fullmatch(words):
        if found := _SECRET.search(words):
            return ("token" if "token" in found[0] else found[0].replace(" ", "-")), True
        if found := _VAGUE.fullmatch(words):
            return found[1], False
    if _ADDRESS.search(words) and not _ABOUT.fullmatch(words.removesuffix(" name")):
        return "host", False
    return None


def _mark(kind: tuple[str, bool] | None, value: str) -> str | None:
    """What takes the place of a value of that kind; None when it may stay."""
    if kind is None or _ORDINARY.fullmatch(value):
        return None
    word, certain = kind
    if word == "host":
        return None if _NO_HOST.fullmatch(value) else "<redacted:host>"
    if _keeping.get():
        return None
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


def _option(argument: str) -> str:
    whole = _OPTION.fullmatch(argument)
    mark = _mark(_kind(whole["key"]), whole["value"]) if whole else None
    return f"{whole['key']}={mark}" if whole and mark else _assigned(argument, certain=False)


def _assigned(value: str, *, certain: bool) -> str:
    out: list[str] = []
    done = 0
    for name in _NAME_IN_LINE.finditer(value):
        kind = _kind(name[1])
        if kind is None or name.end() < done or (certain and not kind[1]):
            continue
        found = _VALUE_IN_LINE.match(value, name.end())
        bare = found[0].strip("\"'") if found else ""
        mark = _mark(kind, bare)
        if found and mark:
            out += [value[done : name.end()], found[0].replace(bare, mark)]
            done = found.end()
    return "".join([*out, value[done:]])


def _is_signed(found: re.Match[str]) -> bool:
    names = (part.partition("=")[0] for part in re.split("[&;]", found[2]))
    return "://" in found[1] and any(_SIGNED.fullmatch(name) or _kind(name) not in _OPEN for name in names)


def _anonymous(value: str) -> str:
    user, hosts = _user(), _hosts(os.uname().nodename)
    if user and user in value:  # a URL's path is no path of this machine
        form = rf"(?<![\w+.-])(?!file:)[A-Za-z][\w+.-]{{0,20}}://[^\s\"']*|(?<=/){re.escape(user)}(?![\w-]|\.\w)"
        value = re.sub(form, lambda found: found[0] if "://" in found[0] else "<user>", value)
    if any(host in value for host in hosts):
        form = rf"{_MARK.pattern}|(?<![A-Za-z0-9<-])(?:{'|'.join(map(re.escape, hosts))})(?![A-Za-z0-9-])"
        value = re.sub(form, lambda found: found[0] if found[0].startswith("<") else "<host>", value)
    return value


def _user() -> str:
    name = os.environ.get("LOGNAME") or os.environ.get("USER") or _account()
    return "" if len(name) < len("eve") or _COMMON.fullmatch(name) else name


@lru_cache(maxsize=1)
def _account() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container
        return ""


@lru_cache(maxsize=8)
def _hosts(node: str) -> tuple[str, ...]:
    """The names of this host that are told from ordinary words, the longest first."""
    both = dict.fromkeys((node, node.partition(".")[0]))
    return tuple(name for name in both if len(name) > len("gpu") and not (name.isdigit() or _COMMON.fullmatch(name)))


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
    return re.compile(
        rf"(?:(?<![\w.~/-])(?<!<host>|<user>)|(?<=(?<!\w)-[A-Za-z])|(?<=file://))(?:{folders})(?![\w-]|\.\w)"
    ), names
