"""The bridge to the web: what an http(s) URL gives, resumed where a connection broke, never of two states at once."""  # noqa: A005 - the name of what it speaks

import base64
import contextlib
import http
import re
import string
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit

from ckptkit import __version__, disk, documents, hashing, redact
from ckptkit.bridges import Fetched, shown
from ckptkit.errors import CkptkitError, FormatError

if TYPE_CHECKING:
    from urllib.request import OpenerDirector

_PATIENCE = 60.0  # seconds without a byte after which a connection counts as broken
_PAUSE = 1.0  # seconds before the second try without progress; twice as many before each further one
_TRIES = 5  # broken connections in a row without progress
_REDIRECTS = 10
_BLOCK = 1 << 18

_MOVED = frozenset([301, 302, 303, 307, 308])
_OK, _PARTIAL, _NO_SUCH_RANGE = 200, 206, 416
_SCHEMES = ("http", "https")
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_TELLING = (  # headers that tell which content it is; none of the others is recorded
    *("Content-Type", "Content-Encoding", "Content-Disposition", "Content-MD5", "Date", "Digest", "ETag"),
    *("Last-Modified", "Repr-Digest", "X-Amz-Version-Id", "X-Goog-Generation", "X-Goog-Hash", "X-Linked-ETag"),
    "X-Repo-Commit",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What a server says in the end, at which URL, and the redirects that led there."""

    response: HTTPResponse
    url: str
    redirects: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """Of which state of the source a partial file is the beginning: its strong validator, and its length."""

    validator: str
    length: int | None


def fetch(url: str, content: Path, *, expect: hashing.Progress, progress: hashing.Progress) -> Fetched:
    """Bring what a URL gives into the file ``content``, which may hold the beginning from an earlier try.

    A broken connection is resumed (RFC 9110, If-Range) where the server can, and begun anew where it cannot.

    Args:
        url: an http or https URL; its user info is sent as Basic authentication, and to that server alone.
        content: the file.
        expect: called with the number of bytes to come.
        progress: called with the number of bytes that came since the last call.

    Raises:
        CkptkitError: the server cannot be reached, says no, redirects to what is not followed, or the connection
            breaks again and again; or the disk refuses.
    """
    transfer = _Transfer(url, content, expect, progress)
    failures = furthest = 0
    while True:
        try:
            answer = transfer.attempt()
            if answer is not None:
                return transfer.facts(answer)
        except (OSError, HTTPException) as error:
            reached = transfer.size()
            failures = 0 if reached > furthest else failures + 1
            furthest = max(reached, furthest)
            if not transfer.began or failures == _TRIES:
                hint = "say the same again: it goes on where it stopped" if is_resumable(content) else "try again later"
                raise CkptkitError(f"{shown(url)}: {_why(error)}", hint) from error
            time.sleep(_PAUSE * (2**failures - 1))


def is_resumable(content: Path) -> bool:
    """Whether an interrupted ``fetch`` of this file can go on where it stopped."""
    return _state_file(content).exists()


def _state_file(content: Path) -> Path:
    return content.with_name(f"{content.name}.state")


class _Transfer:
    """A URL on its way into a file, over as many connections as it takes."""

    def __init__(self, url: str, content: Path, expect: hashing.Progress, progress: hashing.Progress) -> None:
        self.began = False
        self._url, self._content = url, content
        self._expect, self._progress = expect, progress
        self._expected = self._done = self._resumed = 0
        self._warnings: list[str] = []

    def attempt(self) -> _Answer | None:
        """Ask once; the answer when the file is whole, None when what was there is of no use and was removed.

        Raises:
            OSError, HTTPException: the connection broke, or there was none.
        """
        known = self._known()
        size = self.size() if known else 0
        # The last byte is asked for again: an empty range is refused in words that differ between servers.
        offset = min(size, known.length - 1) if known and known.length else size
        answer = _ask(self._url, {"Range": f"bytes={offset}-", "If-Range": known.validator} if known and offset else {})
        with answer.response as response:
            self.began = True
            if known and offset and response.status == _PARTIAL and _continues(response, known, offset):
                self._resumed += 1
                self._receive(response, offset, known.length)
                return answer
            if offset:
                self._warn_of_new_start(response, known)
            if offset and response.status in {_PARTIAL, _NO_SUCH_RANGE}:
                self._remove()
                return None
            if response.status != _OK:
                raise CkptkitError(f"{shown(self._url)}: {_refusal(response)}", "check the URL, and who may read it")
            self._remove()
            self._note(response)
            self._receive(response, 0, response.length)
        return answer

    def facts(self, answer: _Answer) -> Fetched:
        """What is known of the content, now that it is whole."""
        headers = answer.response.headers
        doubts = {}
        if answer.response.status == _OK and headers["Content-Length"] is None and not answer.response.chunked:
            doubts["bytes"] = "the server did not say how many there are: had it stopped too early, nobody would know"
        encoding = headers["Content-Encoding"]
        if encoding not in {None, "identity"}:
            self._warnings.append(f"the server sent it as {encoding}, unasked: it is stored so")
        told = {
            "url": shown(self._url),
            "final_url": shown(answer.url),
            "redirects": list(answer.redirects),
            "headers": _telling(headers),
            "resumed": self._resumed,
        }
        warnings = (*self._warnings, *doubts.values())
        return Fetched(source={"http": told}, is_copy=True, doubts=doubts, warnings=warnings)

    def size(self) -> int:
        """How many bytes have come."""
        return self._content.stat().st_size if self._content.exists() else 0

    def _known(self) -> _State | None:
        with contextlib.suppress(FormatError, KeyError, TypeError):
            return _State(**documents.load_json(disk.read_regular(_state_file(self._content))))
        return None

    def _note(self, response: HTTPResponse) -> None:
        validator = _validator(response.headers)
        if validator is not None:
            state = {"validator": validator, "length": response.length}
            disk.write_new(_state_file(self._content), documents.dump_json(state))

    def _remove(self) -> None:
        """The content first: a state without one is harmless."""
        self._content.unlink(missing_ok=True)
        _state_file(self._content).unlink(missing_ok=True)

    def _warn_of_new_start(self, response: HTTPResponse, known: _State | None) -> None:
        same = known is not None and known.validator in {response.headers["ETag"], response.headers["Last-Modified"]}
        why = "the server does not resume" if same else "the content changed at the source"
        self._warnings.append(f"{why}: fetched anew from the start")

    def _receive(self, response: HTTPResponse, offset: int, length: int | None) -> None:
        self._expect((length or 0) - self._expected)
        self._progress(offset - self._done)
        self._expected, self._done = length or 0, offset
        try:
            file = self._content.open("r+b" if offset else "wb", buffering=0)
        except OSError as error:
            raise _unwritable(self._content, error) from error
        with file:
            file.seek(offset)
            file.truncate()
            while block := response.read1(_BLOCK):
                try:
                    view = memoryview(block)
                    while view:
                        view = view[file.write(view) :]
                except OSError as error:
                    raise _unwritable(self._content, error) from error
                self._progress(len(block))
                self._done += len(block)
        if length is not None and self._done != length:
            raise ConnectionError


def _unwritable(content: Path, error: OSError) -> CkptkitError:
    return CkptkitError(f"{content} cannot be written: {disk.reason(error)}", disk.advice(error))


def _ask(url: str, headers: Mapping[str, str]) -> _Answer:
    """Follow redirects to an answer that is none."""
    from urllib.request import Request

    opener, first = _opener(), _split(url)
    here, redirects = first, list[Mapping[str, Any]]()
    while True:
        plain = here._replace(netloc=here.netloc.rpartition("@")[2], fragment="")
        request = Request(urlunsplit(plain), headers={"User-Agent": f"ckptkit/{__version__}", **headers})  # noqa: S310 - _split knows the scheme
        request.add_header("Accept-Encoding", "identity")
        if first.username is not None and _origin(here) == _origin(first):
            request.add_unredirected_header("Authorization", _basic(first))
        response: HTTPResponse = opener.open(request, timeout=_PATIENCE)
        target = response.headers["Location"]
        if response.status not in _MOVED or target is None:
            return _Answer(response=response, url=urlunsplit(plain), redirects=tuple(redirects))
        response.close()
        there = _split(urljoin(urlunsplit(plain), quote(target, safe=string.punctuation, encoding="iso-8859-1")))
        if here.scheme == "https" and there.scheme == "http":
            raise CkptkitError(f"{shown(url)} redirects from https to http", "ask for a URL that stays with https")
        if len(redirects) == _REDIRECTS:
            raise CkptkitError(f"{shown(url)} redirects more than {_REDIRECTS} times", "give the URL where it ends")
        step = {"status": response.status, "url": shown(urlunsplit(there)), "headers": _telling(response.headers)}
        redirects.append(step)
        here = there


def _opener() -> "OpenerDirector":
    """What speaks http and https alone, over the proxies that the environment names."""
    from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler

    opener = OpenerDirector()
    for handler in (ProxyHandler(), HTTPHandler(), HTTPSHandler()):
        opener.add_handler(handler)
    return opener


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # ValueError: no number
    except ValueError:
        raise CkptkitError("the URL cannot be read", "a / or @ in a password is written %2F or %40") from None
    if parts.scheme not in _SCHEMES:
        raise CkptkitError(f"{parts.scheme}:// is not fetched over http", "give or ask for an http(s) URL")
    if not parts.hostname:
        raise CkptkitError("the URL names no host", "write https://host/path")
    path, query = (quote(part, safe=string.punctuation) for part in (parts.path, parts.query))
    return parts._replace(path=path or "/", query=query)


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port


def _basic(parts: SplitResult) -> str:
    """RFC 7617."""
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _continues(response: HTTPResponse, known: _State, offset: int) -> bool:
    """Whether a partial answer is the rest of what is there."""
    found = _RANGE.fullmatch(response.headers["Content-Range"] or "")
    if found is None or int(found[1]) != offset:
        return False
    if known.length is not None and found[2] not in {"*", str(known.length)}:
        return False
    said = response.headers["ETag" if known.validator.startswith('"') else "Last-Modified"]
    return said in {None, known.validator}


def _validator(headers: Mapping[str, str]) -> str | None:
    """What If-Range may compare: a strong ETag, or a date that is one (RFC 9110, 8.8.2.2 and 13.1.5)."""
    etag, modified = headers.get("ETag", ""), headers.get("Last-Modified")
    if etag.startswith('"'):
        return etag
    with contextlib.suppress(KeyError, TypeError, ValueError):  # a date is missing, or none
        if modified and parsedate_to_datetime(modified) < parsedate_to_datetime(headers["Date"]):
            return modified
    return None


def _telling(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: redact.text(value) for name in _TELLING if (value := headers.get(name)) is not None}


def _refusal(response: HTTPResponse) -> str:
    """In our words: what a server calls its answer may be anything."""
    try:
        return f"the server says {response.status} {http.HTTPStatus(response.status).phrase}"
    except ValueError:
        return f"the server says {response.status}"


def _why(error: OSError | HTTPException) -> str:
    cause = getattr(error, "reason", error)  # of a URLError
    if isinstance(cause, TimeoutError):
        return f"nothing came for {_PATIENCE:g} s"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    if isinstance(cause, OSError | HTTPException):  # whose text may be of the server
        return "the connection broke"
    return "cannot be reached"
