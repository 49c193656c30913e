"""The patch: what is redacted in it, and what is left out of it."""

import hashlib
from pathlib import Path

import repositories
from repositories import applied, git, modify, observe

from ckptkit.record import Omitted

home, repo = repositories.home, repositories.repo
TOKEN = "hf_" + "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3z"


def test_secrets_in_added_lines_are_redacted(repo: Path, tmp_path: Path) -> None:
    (repo / "with space.py").write_text(f'a = 1\nlogin(token="{TOKEN}")\npath = "{Path.home()}/x"\r\nend')
    (repo / "train.py").write_text((repo / "train.py").read_text() + f"{TOKEN}\n")
    (repo / "ordinary.py").write_text("token = tokenizer.pad_token\nsecret = False\n")
    repository, patch, _ = observe(repo)
    assert TOKEN.encode() not in patch
    omitted = {each.path: each.reason for each in repository.omitted}
    assert omitted == dict.fromkeys(["train.py", "with space.py"], "redacted: holds a secret")
    assert applied(repo, repository, patch, tmp_path / "clone") != repository.tree
    clone = tmp_path / "clone"
    kept = f'a = 1\nlogin(token="<redacted:huggingface>")\npath = "{Path.home()}/x"\r\nend'
    assert (clone / "with space.py").read_bytes() == kept.encode()
    assert (clone / "ordinary.py").read_text() == (repo / "ordinary.py").read_text()
    git(repo, "add", "-A")
    assert git(repo, "write-tree") == repository.tree


def test_files_with_a_secret_elsewhere_are_left_out(repo: Path, tmp_path: Path) -> None:
    odd = 'o"dd\n\xfc.py'
    for name in (odd, "context.py", "gone.py"):
        (repo / name).write_text(f"a = 1\n{TOKEN}\nb = 1\n")
    (repo / "turned.py").write_text(TOKEN)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "a mistake")
    (repo / odd).write_text("a = 1\n\nb = 1\n")
    (repo / "context.py").write_text(f"a = 2\n{TOKEN}\nb = 1\n")
    (repo / "gone.py").unlink()
    (repo / "turned.py").unlink()
    (repo / "turned.py").symlink_to("train.py")
    body = "\n".join(hashlib.sha256(bytes([number])).hexdigest() for number in range(5))
    (repo / "key.txt").write_text(f"-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\n")
    modify(repo)
    repository, patch, _ = observe(repo)
    omitted = {each.path: each.reason for each in repository.omitted}
    names = [odd, "context.py", "gone.py", "turned.py", "key.txt"]
    assert omitted == dict.fromkeys(names, "left out: holds a secret")
    assert {each.path: each.bytes for each in repository.omitted}["gone.py"] is None
    assert TOKEN.encode() not in patch
    assert body.splitlines()[2].encode() not in patch
    assert patch.count(b"diff --git") == 1
    applied(repo, repository, patch, tmp_path / "clone")


def test_binary_files_that_hold_a_secret_are_left_out(repo: Path, tmp_path: Path) -> None:
    token, filler = TOKEN.encode(), bytes(range(256)) * 8
    old = {"was.bin": filler + token + filler, "delta.bin": filler * 4}
    new = {"was.bin": filler, "delta.bin": filler * 2 + token + filler * 2}
    new |= {"new.bin": b"\0" + token, "wide.bin": TOKEN.encode("utf-16"), "plain.text": b"a = 1\n" + token}
    (repo / ".gitattributes").write_text("*.text -diff\n")
    for content in (old, new):
        for name, data in content.items():
            (repo / name).write_bytes(data)
        if content is old:
            git(repo, "add", "-A")
            git(repo, "commit", "-qm", "a mistake")
    (repo / "fine.bin").write_bytes(filler + b"hf_hub and others")
    (repo / "weights.bin").unlink()
    repository, patch, _ = observe(repo)
    assert {each.path: (each.bytes, each.reason) for each in repository.omitted} == {
        name: (len(data), "left out: holds a secret") for name, data in new.items()
    }
    assert patch.count(b"diff --git") == patch.count(b"GIT binary patch") == 2
    applied(repo, repository, patch, tmp_path / "clone")
    assert (tmp_path / "clone" / "fine.bin").read_bytes() == filler + b"hf_hub and others"


def test_all_that_changed_may_be_secret(repo: Path) -> None:
    (repo / "key.txt").write_text("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n")
    repository, patch, _ = observe(repo)
    assert (repository.dirty, repository.patch, patch) == (True, None, b"")
    assert repository.tree != git(repo, "rev-parse", "HEAD^{tree}")


UNTOUCHED = """
token = tokenizer.encode(x)
password = getpass.getpass("Password: ")
password = input("Password: ", "x")
secret = os.environ["X"]
api_key = os.environ.get("API_KEY", "")
api_key: "SecretStr" = None
client = Client(token=token, secret=secret, key=lambda x: x, pad_token="<pad>", max_tokens=5)
columns = ["password", "secret", "x"]
row.get("key", "x"), row.get("password", default), find("password", "x")
parser.add_argument("--api-key", help="x", default=None)
parser.add_argument("--tokenizer", default="x", help="no api-key")
client = Client(
    "password",
    token=(
        "x"
    ),
)
ENV_HF_TOKEN = "HF_TOKEN"
STORAGE_KEY_SEPARATOR = ","
headers = {"Authorization": f"Bearer {token}"}
PASSWORD = "password"
if password == "": pass
"""
REDACTED = """
password = "{}"
def connect(password: str = '{}', port=1):
os.environ["API_KEY"] = "{}"
login(api_key="{}", key="x")
headers = {{"Authorization": "{}", "x": "y"}}
self.secret_key = b"{}"
os.environ.get("API_KEY", '{}')
os.environ.setdefault("API_KEY", "{}")
parser.add_argument(
    "-k", "--api-key", type=str, help="the key (of x)",
    default="{}",
)
API_KEY = (
    "{}"
)
PASSWORD = \\
    "{}"
"""
MARKS = [f"<redacted:{kind}>" for kind in ("password", "password", "api-key", "api-key", "authorization", "secret")]
MARKS += [*["<redacted:api-key>"] * 4, "<redacted:password>"]


def test_literals_assigned_to_a_secrets_name_are_redacted(repo: Path, tmp_path: Path) -> None:
    before = (repo / "train.py").read_text()
    (repo / "train.py").write_text(f"{UNTOUCHED}{REDACTED.format(*['hunter2'] * len(MARKS))}{before}")
    (repo / "ordinary.py").write_text(UNTOUCHED)
    (repo / "a.ipynb").write_text('"password = \\"hunter2\\"\\n",\n"p = getpass(\\"Password: \\")\\n"\n')
    (repo / "a.yaml").write_text(
        "password: hunter2 too # x\r\napi_key: ${oc.env:KEY}\ntokenizer: bert\n# db password: hunter2\n"
    )
    (repo / "run.sh").write_text("API_KEY=hunter2 python x --password=$PASSWORD\nexport PASSWORD=$(cat x)\n")
    repository, patch, _ = observe(repo)
    assert b"hunter2" not in patch
    reasons = {each.path: each.reason for each in repository.omitted}
    assert reasons == dict.fromkeys(["a.ipynb", "a.yaml", "run.sh", "train.py"], "redacted: holds a secret")
    applied(repo, repository, patch, tmp_path / "clone")
    names = ("train.py", "ordinary.py", "a.ipynb", "a.yaml", "run.sh")
    kept = {name: (tmp_path / "clone" / name).read_bytes().decode() for name in names}
    assert kept["train.py"] == f"{UNTOUCHED}{REDACTED.format(*MARKS)}{before}"
    assert kept["ordinary.py"] == UNTOUCHED
    assert kept["a.ipynb"].splitlines()[0] == '"password = \\"<redacted:password>\\"\\n",'
    assert kept["a.yaml"] == (
        "password: <redacted:password> # x\r\napi_key: ${oc.env:KEY}\ntokenizer: bert\n"
        "# db password: <redacted:password>\n"
    )
    assert kept["run.sh"].startswith("API_KEY=<redacted:api-key> python x --password=$PASSWORD\nexport PASSWORD=$(cat")


def test_an_old_password_around_a_change_keeps_nothing_out(repo: Path, tmp_path: Path) -> None:
    (repo / "old.py").write_text('password = "hunter2"\nsecret = "hunter2"\n')
    git(repo, "commit", "-qam", "a test")
    (repo / "old.py").write_text('password = "hunter2"\nx = 1\n')
    repository, patch, _ = observe(repo)
    assert repository.omitted == ()
    assert applied(repo, repository, patch, tmp_path / "clone") == repository.tree


def test_files_that_are_there_for_secrets_are_left_out_until_they_are_committed(repo: Path) -> None:
    names = [".env", ".env.local", "conf/prod.env", "id_rsa.old", "key.pem", "staged.env"]
    (repo / "conf").mkdir()
    for name in [*names, "environment.py"]:
        (repo / name).write_text("DB_PASSWORD=hunter2supersecret\n")
    git(repo, "add", "-f", "staged.env")
    repository, patch, _ = observe(repo)
    assert {each.path: each.reason for each in repository.omitted} == dict.fromkeys(names, "may hold secrets")
    assert patch.count(b"diff --git") == 1
    git(repo, "add", "-f", ".env")
    git(repo, "commit", "-qm", "on purpose")
    (repo / ".env").write_text("DB_PASSWORD=hunter2supersecret\nAPI_KEY=abc def\nLR=1\n")
    repository, patch, _ = observe(repo)
    assert {each.path: each.reason for each in repository.omitted}[".env"] == "redacted: holds a secret"
    assert b"+API_KEY=<redacted:api-key>\n+LR=1\n" in patch


def test_a_token_in_a_files_name(repo: Path) -> None:
    (repo / f"log {TOKEN}.txt").write_text("x")
    (repo / f"{TOKEN}.bin").write_bytes(bytes(range(256)))
    (repo / f"large {TOKEN}").write_bytes(b"x" * 1_000_001)
    modify(repo)
    repository, patch, _ = observe(repo)
    assert TOKEN.encode() not in patch
    assert patch.count(b"diff --git") == 1
    why = "left out: its name holds a secret"
    assert {each.path: (each.bytes, each.reason) for each in repository.omitted} == {
        "log <redacted:huggingface>.txt": (1, why),
        "<redacted:huggingface>.bin": (256, why),
        "large <redacted:huggingface>": (1_000_001, "over 1 MB"),
    }


def test_pointers_of_large_file_storage_are_told(repo: Path, tmp_path: Path) -> None:
    pointer = r"version https://git-lfs.github.com/spec/v1\noid sha256:%s\n"
    git(repo, "config", "--global", "filter.lfs.clean", f"printf '{pointer}' $(sha256sum | cut -c 1-64)")
    git(repo, "config", "--global", "filter.lfs.required", "true")
    (repo / ".gitattributes").write_text("*.bin filter=lfs\n")
    (repo / "gone.bin").write_bytes(b"x")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "attributes")
    (repo / "gone.bin").unlink()
    (repo / "new.bin").write_bytes(b"x" * 100)
    (repo / "weights.bin").write_bytes(b"y")
    repository, patch, _ = observe(repo)
    reason = "kept by Git LFS: the patch holds its pointer"
    assert repository.omitted == (
        Omitted(path="new.bin", bytes=100, reason=reason),
        Omitted(path="weights.bin", bytes=1, reason=reason),
    )
    assert b"+oid sha256:" in patch
    git(repo, "config", "--global", "--remove-section", "filter.lfs")  # the true one leaves a pointer as it is
    assert applied(repo, repository, patch, tmp_path / "clone") == repository.tree
