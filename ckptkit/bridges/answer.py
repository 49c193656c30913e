"""A question to a web server, asked on along its redirects; what of the answer may be recorded."""

import base64
import http
import string
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPMessage, HTTPResponse
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit

from ckptkit import __version__, redact
from ckptkit.bridges import shown
from ckptkit.errors import CkptkitError

if TYPE_CHECKING:
    from urllib.request import OpenerDirector

_REDIRECTS = 10
_MOVED = frozenset([301, 302, 303, 307, 308])
_SCHEMES = ("http", "https")
_TELLING = (  # headers that tell which content it is; none of the others is recorded
    *("Content-Type", "Content-Encoding", "Content-Disposition", "Content-MD5", "Date", "Digest", "ETag"),
    *("Last-Modified", "Repr-Digest", "X-Amz-Version-Id", "X-Goog-Generation", "X-Goog-Hash", "X-Linked-ETag"),
    "X-Repo-Commit",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server says in the end, at which URL, and the redirects that led there."""

    response: HTTPResponse
    url: str
    redirects: tuple[Mapping[str, Any], ...]


def ask(url: str, headers: Mapping[str, str], *, seconds: float) -> Answer:
    """Ask for a URL until an answer is no redirect.

    Args:
        url: an http or https URL; its user info is sent as Basic authentication, and to that server alone.
        headers: what is asked beside it.
        seconds: how long the server may be silent.

    Raises:
        CkptkitError: the URL is none, or a redirect leads from https to http, to another scheme, or on without end.
        OSError, HTTPException: the server cannot be reached, or does not speak HTTP.
    """
    from urllib.request import Request

    opener, first = _opener(), _split(url)
    here, redirects = first, list[Mapping[str, Any]]()
    while True:
        plain = here._replace(netloc=here.netloc.rpartition("@")[2], fragment="")
        request = Request(urlunsplit(plain), headers={"User-Agent": f"ckptkit/{__version__}", **headers})  # noqa: S310 - _split knows the scheme
        request.add_header("Accept-Encoding", "identity")
        if first.username is not None and _origin(here) == _origin(first):
            request.add_unredirected_header("Authorization", _basic(first))
        response: HTTPResponse = opener.open(request, timeout=seconds)
        target = response.headers["Location"]
        if response.status not in _MOVED or target is None:
            return Answer(response=response, url=urlunsplit(plain), redirects=tuple(redirects))
        response.close()
        there = _split(quote(target, safe=string.punctuation, encoding="iso-8859-1"), urlunsplit(plain))
        if here.scheme == "https" and there.scheme == "http":
            raise CkptkitError(f"{shown(url)} redirects from https to http", "ask for a URL that stays with https")
        if len(redirects) == _REDIRECTS:
            raise CkptkitError(f"{shown(url)} redirects more than {_REDIRECTS} times", "give the URL where it ends")
        step = {"status": response.status, "url": shown(urlunsplit(there)), "headers": telling(response.headers)}
        redirects.append(step)
        here = there


def _opener() -> "OpenerDirector":
    """What speaks http and https alone, over the proxies that the environment names."""
    from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler

    opener = OpenerDirector()
    for handler in (ProxyHandler(), HTTPHandler(), HTTPSHandler()):
        opener.add_handler(handler)
    return opener


def _split(url: str, base: str = "") -> SplitResult:
    try:
        parts = urlsplit(urljoin(base, url))
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


def telling(headers: HTTPMessage) -> dict[str, str]:
    """The headers that tell which content it is."""
    return {name: redact.text(value) for name in _TELLING if (value := headers.get(name)) is not None}


def refusal(response: HTTPResponse) -> str:
    """The status in the words of the standard: what a server calls it may be anything."""
    try:
        return f"the server says {response.status} {http.HTTPStatus(response.status).phrase}"
    except ValueError:
        return f"the server says {response.status}"
