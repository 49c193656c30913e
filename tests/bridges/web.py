"""A web server of one's own on 127.0.0.1, which does as each test says: redirects, cuts, changes, is slow."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MODIFIED = "Sat, 21 Nov 2026 10:00:00 GMT"
NOW = "Wed, 25 Nov 2026 10:00:00 GMT"


@dataclass(kw_only=True)
class Page:
    """What a path gives. ``cuts`` are, for each request, after how many bytes of the answer the connection breaks."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"ETag": '"one"', "Last-Modified": MODIFIED})
    ranges: bool = True
    framing: str = "length"
    cuts: list[int | None] = field(default_factory=list)
    wait: float = 0.0
    after: Callable[["Page"], object] | None = None

    def then(self, **changes: Any) -> "Page":
        """The same page, which becomes another once it was asked for."""

        def change(page: Page) -> None:
            page.after = None
            for name, value in changes.items():
                setattr(page, name, value)

        self.after = change
        return self


@dataclass(kw_only=True)
class Web:
    """The server's pages by path, and what it was asked, in order."""

    url: str
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[tuple[str, Message]] = field(default_factory=list)

    def at(self, path: str, user_info: str = "") -> str:
        return f"{self.url.replace('://', f'://{user_info}')}{path}"


@contextlib.contextmanager
def serve(certificate: Path | None = None) -> Iterator[Web]:
    """Run a server as long as the context lasts, over TLS with a certificate."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    web = Web(url=f"{scheme}://localhost:{server.server_address[1]}")
    server.__dict__["web"] = web
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        del timestamp
        return NOW

    def do_GET(self) -> None:
        web: Web = self.server.__dict__["web"]
        path = self.path.partition("?")[0]
        web.asked.append((self.path, self.headers))
        page = web.pages.get(path) or Page(status=404, body=b"no such page")
        body, headers, status = page.body, dict(page.headers), page.status
        offset = self._offset(page)
        if offset:
            status, body = 206, body[offset:]
            headers.setdefault("Content-Range", f"bytes {offset}-{len(page.body) - 1}/{len(page.body)}")
        cut = page.cuts.pop(0) if page.cuts else None
        if page.after is not None:
            page.after(page)
        self.close_connection = True
        with contextlib.suppress(ConnectionError):
            self._answer(page, status, headers, body, cut)

    def _offset(self, page: Page) -> int:
        asked = self.headers["Range"]
        condition = self.headers["If-Range"]
        fits = condition in {None, page.headers.get("ETag"), page.headers.get("Last-Modified")}
        return int(asked.removeprefix("bytes=").removesuffix("-")) if asked and page.ranges and fits else 0

    def _answer(self, page: Page, status: int, headers: dict[str, str], body: bytes, cut: int | None) -> None:
        self.send_response(status, "c4nary in the reason")
        for name, value in headers.items():
            self.send_header(name, value)
        if page.framing == "length":
            self.send_header("Content-Length", str(len(body)))
        elif page.framing == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        whole = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if page.framing == "chunked" else body
        self.wfile.write(whole[:cut])
        self.wfile.flush()
        time.sleep(page.wait)
        if cut is not None:
            self.connection.shutdown(socket.SHUT_RDWR)
