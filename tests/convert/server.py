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
        asked: the Range header of every request.
    """

    content: bytes
    break_after: list[int] = field(default_factory=list)
    ranges: bool = True
    status: int = 0
    claim: int = 0
    hang_after: int = 0
    asked: list[str | None] = field(default_factory=list)
    url: str = ""


@contextmanager
def serve(content: bytes, name: str = "images.zip") -> Iterator[Served]:
    served, over = Served(content), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            served.asked.append(wanted)
            if served.status:
                self.send_error(served.status)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and served.ranges else 0
            if start >= len(served.content):
                self.send_error(416)
                return
            body = served.content[start:]
            self.send_response(206 if wanted and served.ranges else 200)
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
