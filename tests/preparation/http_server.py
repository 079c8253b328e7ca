"""An HTTP server whose next answers a test chooses."""

from __future__ import annotations

import hashlib
import re
import socket
import struct
import threading
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

BODY = np.random.default_rng(0).bytes(50_000)


OTHER = np.random.default_rng(1).bytes(48_000)


SHA256 = hashlib.sha256(BODY).hexdigest()


HTML = b"\n<!DOCTYPE HTML><title>Sign in</title>" + b" " * 300


FIRST = None
"""The Range header of a request for the whole file."""


class Handler(BaseHTTPRequestHandler):
    """Does what the next step of the server's script says; with no step left, what a good server does."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.seen.append(self.headers["Range"])
        self.server.requests.append(self)
        step = self.server.script.pop(0) if self.server.script else serve
        step(self)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """What it serves, its script, and the Range header of each request so far."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = BODY
        self.script: list[Callable[[Handler], None]] = []
        self.seen: list[str | None] = []
        self.requests: list[Handler] = []
        self.done = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/set.zip"

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is part of the tests."""


def answer(handler: Handler, status: int, headers: dict[str, str], body: bytes = b"") -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def serve(
    handler: Handler,
    *,
    until: int | None = None,
    most: int | None = None,
    heeds_range: bool = True,
    shift: int = 0,
    then: Callable[[Handler], None] | None = None,
) -> None:
    """A good server, or one that breaks off at `until`, states and sends `most` bytes at a time, and so on."""
    server, body = handler.server, handler.server.body
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers["Range"] or "")
    start = int(asked[1]) if asked and heeds_range else None
    if start is not None and start >= len(body):
        return answer(handler, 416, {"Content-Range": f"bytes */{len(body)}", "Content-Length": "4"}, b"none")
    first = max(0, (start or 0) + shift)
    body = body[first:][:most]
    headers = {"Content-Length": str(len(body))}
    if start is not None:
        headers["Content-Range"] = f"bytes {first}-{first + len(body) - 1}/{len(server.body)}"
    answer(handler, 200 if start is None else 206, headers, body[: until and until - first])
    if then:
        then(handler)
    return None


def reset(handler: Handler) -> None:
    """End the connection with an error instead of orderly."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def stall(handler: Handler) -> None:
    handler.wfile.flush()
    if not handler.server.done.wait(10):
        handler.server.script.append(status(410))  # nobody hung up


def status(code: int) -> Callable[[Handler], None]:
    return partial(answer, status=code, headers={"Content-Length": "0"})


def page(handler: Handler) -> None:
    answer(handler, 200, {"Content-Length": str(len(HTML)), "Content-Type": "text/html"}, HTML)


def chunked(handler: Handler, whole: bool = True) -> None:
    parts = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (BODY[:20_000], BODY[20_000:])]
    answer(handler, 200, {"Transfer-Encoding": "chunked"}, b"".join([*parts, b"0\r\n\r\n"] if whole else parts[:1]))
