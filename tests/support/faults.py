"""A proxy before an HTTP server that passes everything on, but for the faults that a test asks for."""

from __future__ import annotations

import gzip
import http.client
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOP = {"connection", "keep-alive", "transfer-encoding"}
CHUNK = 16_384


@dataclass
class Fault:
    """What happens to some requests in the place of an answer, or to their answer.

    Attributes:
        where: regular expression that the request's `METHOD path` is searched for.
        times: how many requests meet it; the others pass.
        status, code: an answer with this status, and S3's code of the error.
        cut_after: bytes of the answer's body after which the connection is cut; -1 for never, None before any answer.
        pause: seconds of rest after each 16 KiB of the answer's body.
        gzipped: whether a whole answer is compressed, as some servers in between do.
        when: says of each request that it would meet whether it does.
        met: how many requests have met it.
    """

    where: str
    times: int = 1_000_000
    status: int = 0
    code: str = ""
    cut_after: int | None = -1
    pause: float = 0.0
    gzipped: bool = False
    when: Callable[[str], bool] | None = None
    met: int = field(default=0, init=False)


class FaultyProxy:
    """The proxy; `faults` may change at any time, `seen` are the requests since `with_faults`.

    Args:
        target: port of the server on this machine; it may be given later.
    """

    def __init__(self, target: int = 0) -> None:
        self.target = target
        self.faults: list[Fault] = []
        self.seen: list[str] = []
        self._sent: list[tuple[str, int, int]] = []
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # a body would wait 40 ms for what acknowledges its headers

            def handle_any(self) -> None:
                proxy._handle(self)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PATCH = handle_any

            def log_message(self, *args: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # somebody hung up

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @contextmanager
    def with_faults(self, *faults: Fault) -> Iterator[None]:
        """Has these faults for the block, and none after it."""
        self.faults = list(faults)
        self.seen.clear()
        self._sent.clear()
        for fault in faults:
            fault.met = 0
        try:
            yield
        finally:
            self.faults = []

    def sent(self, where: str = ".") -> int:
        """Bytes of bodies of answers to the requests that have this expression, since `with_faults`."""
        with self._lock:
            return sum(size for request, _, size in self._sent if re.search(where, request))

    def statuses(self, where: str) -> list[int]:
        """Statuses of answers of the server behind to the requests that have this expression, likewise."""
        with self._lock:
            return [status for request, status, _ in self._sent if re.search(where, request)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _fault_for(self, request: str) -> Fault | None:
        with self._lock:
            self.seen.append(request)
            for fault in self.faults:
                if fault.met < fault.times and re.search(fault.where, request):
                    if fault.when is not None and not fault.when(request):
                        continue
                    fault.met += 1
                    return fault
        return None

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        fault = self._fault_for(f"{handler.command} {handler.path}")
        if fault is not None and fault.cut_after is None:
            _cut(handler)
        elif fault is not None and fault.status:
            text = f"<?xml version='1.0'?><Error><Code>{fault.code}</Code><Message>made up by a test</Message></Error>"
            content = b"" if handler.command == "HEAD" else text.encode()
            handler.send_response(fault.status)
            handler.send_header("Content-Type", "application/xml")
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)
        else:
            self._pass_on(handler, body, fault)

    def _pass_on(self, handler: BaseHTTPRequestHandler, body: bytes, fault: Fault | None) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.target, timeout=60)
        try:
            # Signatures hold the name that the client knows, so it stays.
            connection.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
            for name, value in handler.headers.items():
                if name.lower() not in HOP | {"expect"}:
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        gzipped = fault is not None and fault.gzipped and answer.status == 200
        if gzipped:
            content = gzip.compress(content)
        end = len(content) if fault is None or fault.cut_after in (-1, None) else min(fault.cut_after, len(content))
        with self._lock:
            # Before they are sent, as who receives them may ask for it at once.
            self._sent.append((f"{handler.command} {handler.path}", answer.status, end))
        handler.send_response(answer.status)
        if gzipped:
            handler.send_header("Content-Encoding", "gzip")
        for name, value in answer.getheaders():
            if name.lower() not in HOP | {"content-length", "date", "server"}:
                handler.send_header(name, value)
        told = answer.getheader("Content-Length")
        # As the server does: a client that was not told the length notices a cut otherwise.
        chunked = answer.chunked and handler.command != "HEAD"
        if chunked:
            handler.send_header("Transfer-Encoding", "chunked")
        else:
            handler.send_header("Content-Length", told or "0" if handler.command == "HEAD" else str(len(content)))
        handler.end_headers()
        if chunked and content:
            handler.wfile.write(b"%x\r\n" % len(content))
        for begin in range(0, end, CHUNK):
            handler.wfile.write(content[begin : min(begin + CHUNK, end)])
            if fault is not None and fault.pause:
                handler.wfile.flush()
                time.sleep(fault.pause)
        if end < len(content):
            _cut(handler)
        elif chunked:
            handler.wfile.write(b"\r\n0\r\n\r\n" if content else b"0\r\n\r\n")


def _cut(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)
