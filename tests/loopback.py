"""A real HTTP server on this machine with one file, and the ways in which servers fail."""

import contextlib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Edit = Callable[[int, dict[str, str]], tuple[int, dict[str, str]]]


@dataclass
class Request:
    """What was asked for, and how much of the body was sent."""

    path: str
    headers: dict[str, str]
    sent: int = 0


class Loopback:
    """Serves ``content`` under every path while its ``with`` block lasts."""

    def __init__(self) -> None:
        self.content = b""
        self.status = 200  # anything else: no body
        self.etag: str | None = '"first"'
        self.last_modified: str | None = None
        self.reason: str | None = None  # beside the status; None: what it is usually called
        self.ranges = True  # whether parts can be asked for
        self.says_length = True
        self.cut_after: int | None = None  # bytes of a body, after which the connection is closed
        self.pause = 0.0  # s, after every 10 kB
        self.silent = False  # takes requests and never answers
        self.edit: Edit = lambda status, headers: (status, headers)  # the last word on every answer but an error
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(server: Loopback) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            self.close_connection = True
            request = Request(self.path, dict(self.headers))
            server.requests.append(request)
            if server.silent:
                server.closing.wait()
                return
            start = self._start()
            if server.status != 200 or start > len(server.content):
                self.send_error(server.status if server.status != 200 else 416)
                return
            if self._send_head(start) >= 300:
                return
            with contextlib.suppress(OSError):  # the other side has gone
                self._send_body(server.content[start:], request)

        def _start(self) -> int:
            """Where the answer begins."""
            found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            same = self.headers.get("If-Range", server.etag or server.last_modified)
            return int(found[1]) if found and server.ranges and same == (server.etag or server.last_modified) else 0

        def _send_head(self, start: int) -> int:
            total = len(server.content)
            headers = {"Date": self.date_time_string()}
            if start:
                headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
            if server.says_length:
                headers["Content-Length"] = str(total - start)
            if server.etag:
                headers["ETag"] = server.etag
            if server.last_modified:
                headers["Last-Modified"] = server.last_modified
            status, headers = server.edit(206 if start else 200, headers)
            self.send_response_only(status, server.reason)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            return status

        def _send_body(self, body: bytes, request: Request) -> None:
            end = len(body) if server.cut_after is None else server.cut_after
            for first in range(0, end, 10_000):
                piece = body[first : min(first + 10_000, end)]
                self.wfile.write(piece)
                request.sent += len(piece)
                if server.pause and server.closing.wait(server.pause):
                    return

    return Handler
