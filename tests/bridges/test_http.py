"""The bridge to the web, against a real server: whole or absent, resumed, never of two states, and private."""

import base64
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from freezing import CANARY, Freeze, project
from web import MODIFIED, NOW, Page, Web, serve

import ckptkit
from ckptkit.bridges import http
from ckptkit.data import steps

BODY = b"".join(number.to_bytes(4, "big") for number in range(250_000))
LINES = b"text,label\na,0\nb,1\n"
USER = f"ada:{CANARY}@"
TOKEN = f"?year=2024&token={CANARY}"


@pytest.fixture
def freeze(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Freeze:
    return project(tmp_path, monkeypatch, capsys)


@pytest.fixture
def web() -> Iterator[Web]:
    with serve() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_PAUSE", 0.0)


def digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def ranges(web: Web) -> list[str | None]:
    return [headers["Range"] for _, headers in web.asked]


def test_a_file_with_its_record(freeze: Freeze, web: Web) -> None:
    headers = {"ETag": '"one"', "Last-Modified": MODIFIED, "Content-Type": "text/csv", "Set-Cookie": f"s={CANARY}"}
    web.pages["/train.csv"] = Page(body=LINES, headers=headers)
    done = freeze(web.at(f"/train.csv{TOKEN}", USER), "train.csv")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"train.csv  {digest(LINES)}\n"
    assert (done.folder / "train.csv").read_bytes() == LINES
    assert done.names() == ["pyproject.toml", "train.csv", "train.csv.lineage.json"]
    assert done.source("train.csv") == {
        "url": web.at("/train.csv?year=2024"),
        "final_url": web.at("/train.csv?year=2024"),
        "redirects": [],
        "headers": {"Content-Type": "text/csv", "Date": NOW, "ETag": '"one"', "Last-Modified": MODIFIED},
        "resumed": 0,
    }
    step = done.record("train.csv")["step"]
    assert step["command"] == ["ckptkit", "data", "snapshot", web.at("/train.csv?year=2024"), "train.csv"]
    assert (step["name"], step["by"], step["code"]) == ("snapshot", "ckptkit", None)
    (source,) = step["inputs"]
    for content, kind, path in ((source, "remote", None), (step["output"], "file", "train.csv")):
        assert (content["kind"], content["path"], content["digest"]) == (kind, path, digest(LINES))
        assert (content["files"], content["bytes"], content["rows"]) == (1, len(LINES), 2)


def test_it_is_the_first_step_of_a_chain(freeze: Freeze, web: Web) -> None:
    web.pages["/a.csv"] = Page(body=LINES)
    done = freeze(web.at("/a.csv"), "a.csv")
    path = done.folder / "a.csv"

    def link(now: str) -> str | None:
        (step,) = steps.follow(path, now, project=done.folder, where="steps", unknown={})
        return step.link

    assert link(digest(LINES)) == "verified"
    assert link(digest(b"edited")) == "broken"


def test_user_info_is_sent_to_its_own_server_alone(freeze: Freeze, web: Web) -> None:
    with serve() as other:
        other.pages["/b"] = Page(body=LINES, headers={})
        web.pages["/moved"] = Page(status=302, headers={"Location": other.at(f"/b{TOKEN}", USER)})
        web.pages["/a"] = Page(status=307, headers={"Location": "/moved"})
        done = freeze(web.at("/a", USER), "a.csv")
        assert done.code == 0
        expected = f"Basic {base64.b64encode(USER[:-1].encode()).decode()}"
        assert [headers["Authorization"] for _, headers in web.asked] == [expected, expected]
        assert [path for path, _ in other.asked] == [f"/b{TOKEN}"]
        assert other.asked[0][1]["Authorization"] is None
        facts = done.source("a.csv")
        assert (facts["url"], facts["final_url"]) == (web.at("/a"), other.at("/b?year=2024"))
        hops = [{"status": 307, "url": web.at("/moved")}, {"status": 302, "url": other.at("/b?year=2024")}]
        assert [{key: hop[key] for key in ("status", "url")} for hop in facts["redirects"]] == hops


def test_a_source_from_the_environment(freeze: Freeze, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.pages["/a"] = Page(body=LINES)
    monkeypatch.setenv("SOURCE", web.at("/a", USER))
    done = freeze("env:SOURCE", "a.csv")
    assert done.record("a.csv")["step"]["command"][3:] == ["env:SOURCE", "a.csv"]
    assert web.asked[0][1]["Authorization"].startswith("Basic ")
    assert freeze("env:NO_SUCH", "b.csv").code == 2


def test_names_that_are_not_ascii(freeze: Freeze, web: Web) -> None:
    web.pages["/%C3%BC%20b"] = Page(body=LINES)
    done = freeze(web.at("/ü b"), "ü.csv")
    assert done.code == 0
    assert done.record("ü.csv")["step"]["output"]["path"] == "ü.csv"


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("file:///etc/passwd", "file:// is not fetched over http"),
        ("ftp://localhost/a", "ftp:// is not fetched over http"),
        ("/a", "redirects more than 10 times"),
        (f"http://{USER}localhost:x/", "the URL cannot be read"),
        (f"http://{USER}[::1/", "the URL cannot be read"),
    ],
)
def test_redirects_that_are_not_followed(freeze: Freeze, web: Web, location: str, said: str) -> None:
    web.pages["/a"] = Page(status=302, headers={"Location": location})
    done = freeze(web.at("/a", USER), "a")
    assert (done.code, done.names()) == (2, ["pyproject.toml"])
    assert said in done.err
    assert done.err.count("\n") == 1


def test_no_redirect_leads_from_https_to_http(
    freeze: Freeze, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not here")
    certificate = tmp_path / "certificate.pem"
    command = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(
        ["openssl", *command.split(), "-keyout", certificate, "-out", tmp_path / "public.pem"],
        check=True,
        capture_output=True,
    )
    certificate.write_bytes(certificate.read_bytes() + (tmp_path / "public.pem").read_bytes())
    web.pages["/a"] = Page(body=LINES)
    with serve(certificate) as safe:
        safe.pages["/down"] = Page(status=301, headers={"Location": web.at("/a")})
        safe.pages["/a"] = Page(body=LINES)
        done = freeze(safe.at("/a", USER), "a.csv")
        assert (done.code, done.names()) == (2, ["pyproject.toml"])
        assert "certificate verify failed" in done.err
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "public.pem"))
        assert freeze(safe.at("/a", USER), "a.csv").code == 0
        done = freeze(safe.at("/down", USER), "b.csv")
    assert "redirects from https to http" in done.err
    assert web.asked == []


@pytest.mark.parametrize("cuts", [[400_000], [400_000, 1, 300_000]])
def test_a_cut_connection_is_resumed(freeze: Freeze, web: Web, cuts: list[int | None]) -> None:
    web.pages["/a"] = Page(body=BODY, cuts=[*cuts])
    done = freeze(web.at(f"/a{TOKEN}", USER), "a.bin")
    assert (done.code, done.err) == (0, "")
    assert (done.folder / "a.bin").read_bytes() == BODY
    assert done.source("a.bin")["resumed"] == len(cuts)
    assert ranges(web)[:2] == [None, "bytes=400000-"]
    assert [headers["If-Range"] for _, headers in web.asked] == [None, *['"one"'] * len(cuts)]


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (Page(ranges=False), "the server does not resume"),
        (Page(headers={"ETag": 'W/"weak"'}), "the server does not resume"),
        (Page(headers={"Last-Modified": NOW}), "the server does not resume"),
        (Page(headers={}), "the server does not resume"),
        (Page().then(headers={"ETag": '"two"'}), "the content changed at the source"),
        (
            Page().then(headers={"ETag": '"one"', "Content-Range": "bytes 7-999999/1000000"}),
            "the server does not resume",
        ),
        (Page().then(headers={"ETag": '"one"', "Content-Range": "bytes 400000-1/2"}), "the server does not resume"),
        (Page().then(headers={"ETag": '"two"', "Last-Modified": '"one"'}), "the server does not resume"),
    ],
    ids=["no ranges", "weak", "same second", "no validator", "changed", "other start", "other length", "untrue"],
)
def test_what_cannot_be_resumed_begins_anew(freeze: Freeze, web: Web, page: Page, why: str) -> None:
    page.body, page.cuts = BODY, [400_000]
    web.pages["/a"] = page
    done = freeze(web.at("/a", USER), "a.bin")
    assert done.err == f"ckptkit: warning: {why}: fetched anew from the start\n"
    assert (done.folder / "a.bin").read_bytes() == BODY
    assert done.source("a.bin")["resumed"] == 0


def test_a_date_that_is_a_strong_validator(freeze: Freeze, web: Web) -> None:
    web.pages["/a"] = Page(body=BODY, headers={"Last-Modified": MODIFIED}, cuts=[400_000])
    assert freeze(web.at("/a"), "a.bin").source("a.bin")["resumed"] == 1
    assert web.asked[1][1]["If-Range"] == MODIFIED


@pytest.mark.parametrize("new", [b"new", BODY[::-1] + b"longer"])
def test_content_that_changes_between_is_never_mixed(freeze: Freeze, web: Web, new: bytes) -> None:
    web.pages["/a"] = Page(body=BODY, cuts=[400_000]).then(body=new, headers={"ETag": '"two"'})
    done = freeze(web.at("/a", USER), "a.bin")
    assert "the content changed at the source: fetched anew" in done.err
    assert (done.folder / "a.bin").read_bytes() == new
    assert done.source("a.bin")["headers"]["ETag"] == '"two"'


def test_a_server_that_always_breaks_off_is_given_up_and_resumed_later(freeze: Freeze, web: Web) -> None:
    page = web.pages["/a"] = Page(body=BODY, cuts=[600_000, *[0] * 9])
    done = freeze(web.at("/a", USER), "a.bin")
    assert done.code == 2
    assert done.err == (
        f"ckptkit: {web.at('/a')}: the connection broke (hint: say the same again, and it goes on where it stopped)\n"
    )
    assert len(web.asked) == 6
    (draft,) = (name for name in done.names() if name != "pyproject.toml")
    assert draft.startswith(".a.bin.")
    page.cuts = []
    assert freeze(web.at("/a", USER), "a.bin").names() == ["a.bin", "a.bin.lineage.json", "pyproject.toml"]
    assert ranges(web)[-1] == "bytes=600000-"
    assert (done.folder / "a.bin").read_bytes() == BODY


def test_without_a_validator_nothing_is_kept(freeze: Freeze, web: Web) -> None:
    web.pages["/a"] = Page(body=BODY, headers={}, cuts=[600_000, *[0] * 9])
    done = freeze(web.at("/a", USER), "a.bin")
    assert (done.code, done.names()) == (2, ["pyproject.toml"])
    assert "(hint: say the same again later)" in done.err


def test_what_is_whole_but_not_published_is_not_fetched_again(freeze: Freeze, web: Web) -> None:
    page = web.pages["/a"] = Page(body=BODY)
    page.after = lambda _: Path("a.bin").write_text("of another")
    done = freeze(web.at("/a", USER), "a.bin")
    assert "is there already" in done.err
    assert (done.folder / "a.bin").read_text() == "of another"
    assert not (done.folder / "a.bin.lineage.json").exists()
    (done.folder / "a.bin").unlink()
    page.after = None
    assert freeze(web.at("/a", USER), "a.bin").code == 0
    assert ranges(web) == [None, "bytes=999999-"]
    assert (done.folder / "a.bin").read_bytes() == BODY


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_it_goes_on_by_the_same_command(freeze: Freeze, web: Web, number: signal.Signals) -> None:
    page = web.pages["/a"] = Page(body=BODY, cuts=[600_000], wait=60.0)
    words = [sys.executable, "-m", "ckptkit", "data", "snapshot", web.at("/a", USER), "a.bin"]
    env = os.environ | {"PYTHONPATH": str(Path(ckptkit.__file__).parents[1])}
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    end = time.monotonic() + 60
    while time.monotonic() < end and sum(path.stat().st_size for path in Path.cwd().rglob("a.bin")) < 600_000:
        time.sleep(0.02)
    assert "another process" in freeze(web.at("/a", USER), "a.bin").err
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert child.returncode == (130 if number == signal.SIGINT else -number)
    assert (out, err) == ("", "ckptkit: interrupted\n" if number == signal.SIGINT else "")
    assert not Path("a.bin").exists()
    page.wait = 0.0
    done = freeze(web.at("/a", USER), "a.bin")
    assert (done.code, done.names()) == (0, ["a.bin", "a.bin.lineage.json", "pyproject.toml"])
    assert ranges(web) == [None, "bytes=600000-"]
    assert (done.folder / "a.bin").read_bytes() == BODY


def test_a_silent_server_counts_as_broken(freeze: Freeze, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_PATIENCE", 0.3)
    page = web.pages["/a"] = Page(body=BODY, cuts=[400_000], wait=1.0)
    page.then(wait=0.0)
    assert freeze(web.at("/a", USER), "a.bin").source("a.bin")["resumed"] == 1
    web.pages["/mute"] = Page(body=b"", framing="none", wait=5.0, headers={"ETag": '"one"'})
    done = freeze(web.at("/mute", USER), "b")
    assert "nothing came for 0.3 s" in done.err


@pytest.mark.parametrize(
    ("status", "words"), [(404, "404 Not Found"), (500, "500 Internal Server Error"), (799, "799")]
)
def test_what_the_server_refuses(freeze: Freeze, web: Web, status: int, words: str) -> None:
    web.pages["/a"] = Page(status=status, body=CANARY.encode())
    done = freeze(web.at(f"/a{TOKEN}", USER), "a")
    hint = "(hint: check the URL, and who may read it)"
    assert done.err == f"ckptkit: {web.at('/a?year=2024')}: the server says {words} {hint}\n"
    assert (done.code, done.names()) == (2, ["pyproject.toml"])


def test_a_server_that_is_not_there(freeze: Freeze, web: Web) -> None:
    with serve() as gone:
        pass
    done = freeze(gone.at("/a", USER), "a")
    assert (done.code, done.names()) == (2, ["pyproject.toml"])
    assert "connection refused" in done.err
    assert web.asked == []


@pytest.mark.parametrize("said", [{}, {"Content-Length": "-5"}, {"Content-Length": "all"}])
def test_a_length_that_nobody_said(freeze: Freeze, web: Web, said: dict[str, str]) -> None:
    web.pages["/a"] = Page(body=BODY, framing="none", headers=said)
    done = freeze(web.at("/a", USER), "a.bin")
    assert "had it stopped too early, nobody would know" in done.err
    assert "step.inputs[0].bytes" in done.record("a.bin")["unknown"]


def test_chunks(freeze: Freeze, web: Web) -> None:
    web.pages["/a"] = Page(body=BODY, framing="chunked", cuts=[500_000])
    done = freeze(web.at("/a", USER), "a.bin")
    assert (done.code, done.err) == (0, "")
    assert (done.folder / "a.bin").read_bytes() == BODY
    assert done.source("a.bin")["resumed"] == 1


def test_an_encoding_that_was_not_asked_for(freeze: Freeze, web: Web) -> None:
    web.pages["/a"] = Page(body=BODY, headers={"Content-Encoding": "gzip"})
    done = freeze(web.at("/a", USER), "a.bin")
    assert web.asked[0][1]["Accept-Encoding"] == "identity"
    assert "the server sent it as gzip, unasked: it is stored so" in done.err
    assert (done.folder / "a.bin").read_bytes() == BODY


def test_a_full_disk_is_no_broken_connection(freeze: Freeze, web: Web) -> None:
    web.pages["/a"] = Page(body=BODY)
    words = f"ulimit -f 100; exec '{sys.executable}' -m ckptkit data snapshot {web.at('/a')} a.bin"
    env = os.environ | {"PYTHONPATH": str(Path(ckptkit.__file__).parents[1])}
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 2
    assert "cannot be written: file too large" in done.stderr
    assert len(web.asked) == 1
    assert freeze(web.at("/a", USER), "a.bin").source("a.bin")["resumed"] == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([f"https//{USER}host/a", "a"], "SOURCE is no URL"),
        ([f"http://{USER}", "a"], "the URL names no host"),
        ([f"http://ada:{CANARY}/{CANARY}@host/a", "a"], "the URL cannot be read"),
        (["http://localhost/a", "pyproject.toml"], "is there already"),
        (["http://localhost/a", "no/such/a"], "there is no folder"),
        (["http://localhost/a", "runs/a"], "lies in the registry root"),
        (["http://localhost/a", "a", "--unordered"], "--unordered is about the rows of a --query"),
    ],
)
def test_wrong_use(freeze: Freeze, words: list[str], said: str) -> None:
    Path("runs").mkdir()
    done = freeze(*words)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert said in done.err
    assert done.names() == ["pyproject.toml", "runs"]
