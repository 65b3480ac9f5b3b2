"""Downloads one file: resumes after an interruption, and checks the result."""

import hashlib
import http.client
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tqdm import tqdm

from feedline.pipeline.errors import InputError

BLOCK = 1 << 20


@dataclass(frozen=True)
class Remote:
    """A file on a server.

    Attributes:
        url: http or https.
        size: bytes, if known.
        algorithm, digest: a checksum that hashlib knows, e.g. ("md5", "90d5..."), if known.
    """

    url: str
    size: int | None = None
    algorithm: str = "md5"
    digest: str | None = None

    @classmethod
    def parse(cls, url: str) -> "Remote":
        """Reads a URL. A fragment such as `#md5=...` or `#sha256=...` is the checksum, as in pip.

        Raises:
            InputError: if hashlib lacks the algorithm.
        """
        plain, fragment = urllib.parse.urldefrag(url)
        algorithm, _, digest = fragment.partition("=")
        if not digest:
            return cls(plain)
        if algorithm not in hashlib.algorithms_available:
            raise InputError(f"`source={url}`: unknown checksum {algorithm!r}; use #md5=... or #sha256=...")
        return cls(plain, algorithm=algorithm, digest=digest.lower())

    @property
    def filename(self) -> str:
        """The last part of the URL's path."""
        return Path(urllib.parse.unquote(urllib.parse.urlsplit(self.url).path)).name or "download"


def checksum(path: Path, algorithm: str) -> str:
    """The hex digest of a file."""
    with path.open("rb") as file:
        digest = hashlib.new(algorithm)
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def download(remote: Remote, folder: Path, *, tries: int = 6, timeout: float = 30.0, wait: float = 1.0) -> Path:
    """Downloads a file into `folder`, unless it is there already.

    An incomplete file (`<name>.part`) is resumed with a range request. The name itself is only ever given to a complete
    and checked file.

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
    target = folder / remote.filename
    if target.exists():
        _check(target, remote, "delete it and try again")
        return target
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    _transfer_with_retries(remote, part, tries, timeout, wait)
    try:
        _check(part, remote, "it was deleted, try again")
    except InputError:
        part.unlink()
        raise
    part.rename(target)
    return target


def _transfer_with_retries(remote: Remote, part: Path, tries: int, timeout: float, wait: float) -> None:
    failures = 0  # in a row, without a new byte
    while True:
        before = _size(part)
        try:
            return _transfer(remote, part, timeout)
        except urllib.error.HTTPError as error:
            raise InputError(f"{remote.url}: the server says {error.code} {error.reason}; check the address") from error
        except (OSError, http.client.HTTPException) as error:
            failures = 0 if _size(part) > before else failures + 1
            if failures >= tries:
                raise InputError(
                    f"{remote.url}: {getattr(error, 'reason', error)}; run the same command again to resume from "
                    f"{_size(part):,} bytes, or give a local zip with `source`"
                ) from error
            time.sleep(wait * 2 ** max(failures - 1, 0))


def _transfer(remote: Remote, part: Path, timeout: float) -> None:
    """Sends one request, and appends what `part` lacks."""
    start = _size(part)
    if remote.size is not None and start >= remote.size:
        return
    request = urllib.request.Request(remote.url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # there is nothing after these bytes; the check tells whether they are all
            return
        raise
    with response:
        if response.status != 206:  # the server ignores ranges and sends the whole file
            start = 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdigit() else remote.size
        _append(response, part, start, total, remote)
    if total is not None and _size(part) < total:
        raise http.client.HTTPException(f"the transfer broke off at {_size(part):,} of {total:,} bytes")


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


def _size(path: Path) -> int:
    """Bytes of a file; 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def _check(path: Path, remote: Remote, advice: str) -> None:
    size = _size(path)
    if remote.size is not None and size != remote.size:
        raise InputError(f"{path}: {size:,} bytes, expected {remote.size:,} of {remote.url}; {advice}")
    if remote.digest is not None and (digest := checksum(path, remote.algorithm)) != remote.digest:
        raise InputError(f"{path}: {remote.algorithm} {digest}, expected {remote.digest} of {remote.url}; {advice}")
