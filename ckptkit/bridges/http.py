"""The bridge to the web: what an http(s) URL gives, resumed where a connection broke, never of two states at once."""

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path

from ckptkit import disk, documents, hashing
from ckptkit.bridges import Fetched, shown
from ckptkit.bridges.answer import Answer, ask, refusal, telling
from ckptkit.errors import CkptkitError, FormatError

_PATIENCE = 60.0  # seconds without a byte after which a connection counts as broken
_PAUSE = 1.0  # seconds before the second try without progress; twice as many before each further one
_TRIES = 5  # broken connections in a row without progress
_BLOCK = 1 << 18

_OK, _PARTIAL, _NO_SUCH_RANGE = 200, 206, 416
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


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
                hint = "say the same again" + (
                    ", and it goes on where it stopped" if is_resumable(content) else " later"
                )
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

    def attempt(self) -> Answer | None:
        """Ask once; the answer when the file is whole, None when what was there is of no use and was removed.

        Raises:
            OSError, HTTPException: the connection broke, or there was none.
        """
        known = self._known()
        size = self.size() if known else 0
        # The last byte is asked for again: an empty range is refused in words that differ between servers.
        offset = min(size, known.length - 1) if known and known.length else size
        asked = {"Range": f"bytes={offset}-", "If-Range": known.validator} if known and offset else {}
        answer = ask(self._url, asked, seconds=_PATIENCE)
        with answer.response as response:
            self.began = True
            if known and asked and response.status == _PARTIAL and _continues(response, known, offset):
                self._resumed += 1
                self._receive(response, offset, known.length)
                return answer
            if response.status != _OK and not (asked and response.status in {_PARTIAL, _NO_SUCH_RANGE}):
                raise CkptkitError(f"{shown(self._url)}: {refusal(response)}", "check the URL, and who may read it")
            self._begin_anew(response, known)
            if response.status != _OK:
                return None
            self._receive(response, 0, response.length)
            return answer

    def facts(self, answer: Answer) -> Fetched:
        """What is known of the content, now that it is whole."""
        headers = answer.response.headers
        doubts = {}
        if answer.response.status == _OK and answer.response.length is None and not answer.response.chunked:
            doubts["bytes"] = "the server did not say how many there are: had it stopped too early, nobody would know"
        encoding = headers["Content-Encoding"]
        if encoding not in {None, "identity"}:
            self._warnings.append(f"the server sent it as {encoding}, unasked: it is stored so")
        told = {
            "url": shown(self._url),
            "final_url": shown(answer.url),
            "redirects": list(answer.redirects),
            "headers": telling(headers),
            "resumed": self._resumed,
        }
        warnings = tuple(dict.fromkeys([*self._warnings, *doubts.values()]))
        return Fetched(source={"http": told}, is_copy=True, doubts=doubts, warnings=warnings)

    def size(self) -> int:
        """How many bytes have come."""
        return self._content.stat().st_size if self._content.exists() else 0

    def _known(self) -> _State | None:
        with contextlib.suppress(FormatError, KeyError, TypeError):
            return _State(**documents.load_json(disk.read_regular(_state_file(self._content))))
        return None

    def _begin_anew(self, response: HTTPResponse, known: _State | None) -> None:
        """Drop what came so far, the content first: a state without one is harmless; note what comes now."""
        if self.size():
            headers = response.headers
            same = known is None or known.validator in {headers["ETag"], headers["Last-Modified"]}
            why = "the server does not resume" if same else "the content changed at the source"
            self._warnings.append(f"{why}: fetched anew from the start")
        validator = _validator(response.headers)
        with _writing(self._content):
            self._content.unlink(missing_ok=True)
            _state_file(self._content).unlink(missing_ok=True)
            if response.status == _OK and validator is not None:
                state = {"validator": validator, "length": response.length}
                disk.write_new(_state_file(self._content), documents.dump_json(state))

    def _receive(self, response: HTTPResponse, offset: int, length: int | None) -> None:
        self._expect((length or 0) - self._expected)
        self._progress(offset - self._done)
        self._expected, self._done = length or 0, offset
        with _writing(self._content):
            file = self._content.open("r+b" if offset else "wb", buffering=0)
        with file:
            file.seek(offset)
            file.truncate()
            while block := response.read1(_BLOCK):
                view = memoryview(block)
                with _writing(self._content):
                    while view:
                        view = view[file.write(view) :]
                self._progress(len(block))
                self._done += len(block)
        if length is not None and self._done != length:
            raise ConnectionError


@contextlib.contextmanager
def _writing(content: Path) -> Iterator[None]:
    """Tell errors of the disk from those of the network, which are tried again."""
    try:
        yield
    except OSError as error:
        raise CkptkitError(f"{content} cannot be written: {disk.reason(error)}", disk.advice(error)) from error


def _continues(response: HTTPResponse, known: _State, offset: int) -> bool:
    """Whether a partial answer is the rest of what is there."""
    found = _RANGE.fullmatch(response.headers["Content-Range"] or "")
    if found is None or int(found[1]) != offset:
        return False
    if known.length is not None and found[2] not in {"*", str(known.length)}:
        return False
    said = response.headers["ETag" if known.validator.startswith('"') else "Last-Modified"]
    return said in {None, known.validator}


def _validator(headers: HTTPMessage) -> str | None:
    """What If-Range may compare: a strong ETag, or a date that is one (RFC 9110, 8.8.2.2 and 13.1.5)."""
    etag, modified = headers.get("ETag", ""), headers.get("Last-Modified")
    if etag.startswith('"'):
        return etag
    with contextlib.suppress(KeyError, TypeError, ValueError):  # a date is missing, or none
        if modified and parsedate_to_datetime(modified) < parsedate_to_datetime(headers["Date"]):
            return modified
    return None


def _why(error: OSError | HTTPException) -> str:
    cause = getattr(error, "reason", error)  # of a URLError
    if isinstance(cause, TimeoutError):
        return f"nothing came for {_PATIENCE:g} s"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    if isinstance(cause, OSError | HTTPException):  # whose text may be of the server
        return "the connection broke"
    return "cannot be reached"
