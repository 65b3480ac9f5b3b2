"""Downloads one file: resumes after an interruption, and checks the result."""

import contextlib
import errno
import fcntl
import hashlib
import http.client
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from feedline.convert.remote import Remote
from feedline.pipeline.errors import InputError

BLOCK = 1 << 20
PASSING = {408, 425, 429, 500, 502, 503, 504}  # statuses after which the same request may succeed


class _Restart(http.client.HTTPException):
    """What is there of the file cannot be continued; it was deleted."""


def checksum(path: Path, algorithm: str) -> str:
    """The hex digest of a file."""
    with path.open("rb") as file:
        digest = hashlib.new(algorithm)
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def download(remote: Remote, folder: Path, *, tries: int = 6, timeout: float = 30.0, wait: float = 1.0) -> Path:
    """Downloads a file into `folder`, unless it is there already.

    Its name there begins with a hash of the URL: another server's `images.zip` is another file. An incomplete file
    (`.part`) is resumed with a range request, if the server says that it is still the same file. The name itself is
    only ever given to a complete and checked file.

    Args:
        remote: what to download.
        folder: where to, created if missing.
        tries: requests in a row that may bring no new bytes.
        timeout: seconds without a byte.
        wait: seconds before the second try, doubled each time.

    Returns:
        The path of the file.

    Raises:
        InputError: if the download fails, or its size or checksum is wrong.
    """
    target = folder / remote.cache_name
    if _is_same(folder / remote.filename, remote):  # of before names had a hash
        return folder / remote.filename
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(target.with_name(target.name + ".lock"), remote):
        if target.exists():
            _check(target, remote, "delete it and try again")
            return target
        part = target.with_name(target.name + ".part")
        _transfer_with_retries(remote, part, tries, timeout, wait)
        try:
            _check(part, remote, "it was deleted, try again")
        except InputError:
            _forget(part)
            raise
        part.rename(target)
        _state_file(part).unlink(missing_ok=True)
    return target


@contextlib.contextmanager
def _lock(path: Path, remote: Remote) -> Iterator[None]:
    """Holds a lock, so that two builds do not write one file. The kernel releases it when the process ends."""
    while True:
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for another process that downloads {remote.url}", flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
            if not path.exists() or path.stat().st_ino != os.fstat(file.fileno()).st_ino:
                continue  # who held it has removed it
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _transfer_with_retries(remote: Remote, part: Path, tries: int, timeout: float, wait: float) -> None:
    failures = 0  # in a row, without a new byte
    if not _can_resume(part, remote):
        _forget(part)
    while True:
        before = _size(part)
        try:
            return _transfer(remote, part, timeout)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if refused := _is_final(error, remote):
                raise refused from error
            failures = 0 if _size(part) > before else failures + 1
            if failures >= tries:
                raise InputError(
                    f"{remote.url}: {getattr(error, 'reason', error)}; run the same command again to resume from "
                    f"{_size(part):,} bytes, or give a local file with `source`"
                ) from error
            time.sleep(wait * 2 ** max(failures - 1, 0))


def _is_final(error: Exception, remote: Remote) -> Exception | None:
    """The error to raise, if trying again is of no use."""
    if isinstance(error, InputError):
        return error
    if isinstance(error, urllib.error.HTTPError):
        if error.code in PASSING:
            return None
        return InputError(f"{remote.url}: the server says {error.code} {error.reason}; check the address")
    if isinstance(error, (ValueError, http.client.InvalidURL)):
        return InputError(f"{remote.url}: not a URL that can be read ({error}); check the address")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
        return error
    return None


def _transfer(remote: Remote, part: Path, timeout: float) -> None:
    """Sends one request, and appends what `part` lacks."""
    start, state = _size(part), _read_state(part)
    if remote.size is not None and start >= remote.size:
        return
    headers = {"Range": f"bytes={start}-"} if start else {}
    if start and state.get("validator"):
        headers["If-Range"] = state["validator"]
    try:
        response = urllib.request.urlopen(urllib.request.Request(remote.url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:
            _check_complete(error.headers, part, start)
            return
        raise
    with response:
        _check_type(response, remote)
        if response.status == 206:
            total = _check_range(response.headers, part, start, state.get("length"))
        else:  # the file has changed, or the server ignores ranges: it sends the whole
            start, total = 0, _number(response.headers.get("Content-Length"))
            _write_state(part, response.headers, remote)
        total = total or remote.size
        _append(response, part, start, total, remote)
    if total is not None and _size(part) < total:
        raise http.client.HTTPException(f"the transfer broke off at {_size(part):,} of {total:,} bytes")


def _check_complete(headers: Message, part: Path, start: int) -> None:
    """After "range not satisfiable": the file is complete if the server names its size, and it is that."""
    match = re.fullmatch(r"bytes \*/(\d+)", headers.get("Content-Range", ""))
    if match is None or int(match[1]) != start:
        _forget(part)
        raise _Restart("the server has a shorter file now")


def _check_range(headers: Message, part: Path, start: int, length: int | None) -> int | None:
    """Checks that an answer continues the file, and returns the size of the whole if it is known."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
    if match is None or int(match[1]) != start or (length and match[2] not in ("*", str(length))):
        _forget(part)
        raise _Restart("the server sent another range than was asked for")
    return _number(match[2])


def _check_type(response: http.client.HTTPResponse, remote: Remote) -> None:
    if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        where = f" (from {response.geturl()})" if response.geturl() != remote.url else ""
        raise InputError(
            f"{remote.url}: the server sent a web page{where}, not a file; open the address in a browser, download the "
            "file, and give that with `source`"
        )


def _append(response: IO[bytes], part: Path, start: int, total: int | None, remote: Remote) -> None:
    """Writes a response to `part` from byte `start` on, with a progress bar on a terminal and a line elsewhere."""
    bar = tqdm(
        total=total, initial=start, unit="B", unit_scale=True, desc=remote.filename, disable=not sys.stderr.isatty()
    )
    if bar.disable:
        print(f"downloading {remote.url} from byte {start:,} of {total or 0:,}", flush=True)
    with part.open("ab" if start else "wb") as file, bar:
        while block := response.read(BLOCK):
            file.write(block)
            bar.update(len(block))


def _state_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _write_state(part: Path, headers: Message, remote: Remote) -> None:
    """Keeps what tells this state of the file on the server from a later one: a strong ETag, else its time."""
    etag = headers.get("ETag", "")
    state = {
        "url": remote.url,
        "validator": etag if etag.startswith('"') else headers.get("Last-Modified", ""),
        "length": _number(headers.get("Content-Length")),
    }
    part.write_bytes(b"")
    _state_file(part).write_text(json.dumps(state))


def _read_state(part: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        state = json.loads(_state_file(part).read_text())
        return state if isinstance(state, dict) else {}
    return {}


def _can_resume(part: Path, remote: Remote) -> bool:
    """Whether a run may continue what an earlier one left: only if a change on the server would be noticed."""
    state = _read_state(part)
    return bool(state.get("validator") or (state and remote.digest))


def _forget(part: Path) -> None:
    for path in (part, _state_file(part)):
        path.unlink(missing_ok=True)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _size(path: Path) -> int:
    """Bytes of a file; 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def _is_same(path: Path, remote: Remote) -> bool:
    """Whether a file has the known size and checksum of a remote one."""
    if remote.digest is None or not path.is_file() or remote.size not in (None, _size(path)):
        return False
    return checksum(path, remote.algorithm) == remote.digest


def _check(path: Path, remote: Remote, advice: str) -> None:
    size = _size(path)
    if remote.size is not None and size != remote.size:
        raise InputError(f"{path}: {size:,} bytes, expected {remote.size:,} of {remote.url}; {advice}")
    if remote.digest is not None and (digest := checksum(path, remote.algorithm)) != remote.digest:
        raise InputError(f"{path}: {remote.algorithm} {digest}, expected {remote.digest} of {remote.url}; {advice}")
