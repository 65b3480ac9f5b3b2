"""A file server on loopback that can break off, send wrong headers, and refuse."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """The behaviour of the server, and the requests it got.

    Attributes:
        content: of the only file, at any path.
        break_after: for each response but the last, bytes after which it breaks off.
        ranges: whether it supports range requests.
        status: status of every response, instead of 200 or 206.
        claim: Content-Length of every response, instead of the true one.
        hang_after: bytes after which a response hangs, if not 0.
        headers: further headers of every response.
        total: the size that Content-Range names, instead of the true one.
        shift: bytes by which an answered range begins later than asked for.
        asked: the Range header of every request.
        if_range: the If-Range header of every request.
    """

    content: bytes
    break_after: list[int] = field(default_factory=list)
    ranges: bool = True
    status: int = 0
    claim: int = 0
    hang_after: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    total: int = 0
    shift: int = 0
    asked: list[str | None] = field(default_factory=list)
    if_range: list[str | None] = field(default_factory=list)
    url: str = ""


@contextmanager
def serve(content: bytes, name: str = "images.zip") -> Iterator[Served]:
    served, over = Served(content), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            served.asked.append(wanted)
            served.if_range.append(self.headers.get("If-Range"))
            if served.status:
                self.send_error(served.status)
                return
            known = (None, served.headers.get("ETag"), served.headers.get("Last-Modified"))
            part = bool(wanted and served.ranges and served.if_range[-1] in known)
            start = int(str(wanted).removeprefix("bytes=").rstrip("-")) if part else 0
            size = served.total or len(served.content)
            if start and start >= len(served.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start += served.shift if part else 0
            body = served.content[start:]
            self.send_response(206 if part else 200)
            if part:
                self.send_header("Content-Range", f"bytes {start}-{len(served.content) - 1}/{size}")
            for name, value in served.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(served.claim or len(body)))
            self.end_headers()
            if served.hang_after:
                self.wfile.write(body[: served.hang_after])
                self.wfile.flush()
                over.wait(300)
                return
            self.wfile.write(body[: served.break_after.pop(0)] if served.break_after else body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False  # so that closing it waits for its threads
    served.url = f"http://127.0.0.1:{server.server_port}/{name}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()
