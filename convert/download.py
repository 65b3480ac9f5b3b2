"""Downloads one file, goes on after an interruption, and checks what arrived."""

import hashlib
import http.client
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

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
        """Reads a URL; a fragment such as `#md5=...` or `#sha256=...` is the checksum, as pip writes it."""
        plain, fragment = urllib.parse.urldefrag(url)
        algorithm, _, digest = fragment.partition("=")
        if not digest:
            return cls(plain)
        if algorithm not in hashlib.algorithms_available:
            raise InputError(f"--source {url}: unknown checksum {algorithm!r}; use #md5=... or #sha256=...")
        return cls(plain, algorithm=algorithm, digest=digest.lower())

    @property
    def filename(self) -> str:
        return Path(urllib.parse.unquote(urllib.parse.urlsplit(self.url).path)).name or "download"


def checksum(path: Path, algorithm: str) -> str:
    """The hex digest of a file."""
    with path.open("rb") as file:
        digest = hashlib.new(algorithm)
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def download(remote: Remote, folder: Path, *, tries: int = 6, timeout: float = 30.0, wait: float = 1.0) -> Path:
    """Brings a file to `folder`, or finds it there.

    What a broken transfer left (`<name>.part`) is gone on with, by a range request; the name itself only ever holds a
    complete and checked file.

    Args:
        remote: what to bring.
        folder: where to, made if missing.
        tries: requests that may bring nothing new, one after the other.
        timeout: seconds without a byte.
        wait: seconds before the second try, doubled each time.

    Returns:
        The path of the file.

    Raises:
        InputError: if it cannot be had, or is not what was expected.
    """
    target = folder / remote.filename
    if target.exists():
        _check(target, remote, "delete it and try again")
        return target
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    failed = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _transfer(remote, part, timeout)
            break
        except urllib.error.HTTPError as error:
            raise InputError(f"{remote.url}: the server says {error.code} {error.reason}; check the address") from error
        except (OSError, http.client.HTTPException) as error:
            failed = 0 if part.exists() and part.stat().st_size > before else failed + 1
            if failed >= tries:
                raise InputError(
                    f"{remote.url}: {getattr(error, 'reason', error)}; run the same command again to go on from "
                    f"{part.stat().st_size if part.exists() else 0:,} bytes, or give a local zip with --source"
                ) from error
            time.sleep(wait * 2 ** max(failed - 1, 0))
    try:
        _check(part, remote, "it was discarded, try again")
    except InputError:
        part.unlink()
        raise
    part.rename(target)
    return target


def _transfer(remote: Remote, part: Path, timeout: float) -> None:
    """One request; appends to `part` what it lacks."""
    have = part.stat().st_size if part.exists() else 0
    if remote.size is not None and have >= remote.size:
        return
    request = urllib.request.Request(remote.url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing lies past what we have; the check decides whether it is whole
            return
        raise
    with response:
        if have and response.status != 206:  # the server does not do ranges
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else remote.size
        bar = tqdm(
            total=total, initial=have, unit="B", unit_scale=True, desc=remote.filename, disable=not sys.stderr.isatty()
        )
        if bar.disable:
            print(f"downloading {remote.url} from byte {have:,} of {total or 0:,}", flush=True)
        with part.open("ab" if have else "wb") as file, bar:
            while block := response.read(BLOCK):
                file.write(block)
                bar.update(len(block))
    if total is not None and part.stat().st_size < total:
        raise http.client.HTTPException(f"the transfer broke off at {part.stat().st_size:,} of {total:,} bytes")


def _check(path: Path, remote: Remote, advice: str) -> None:
    size = path.stat().st_size
    if remote.size is not None and size != remote.size:
        raise InputError(f"{path}: {size:,} bytes, expected {remote.size:,} of {remote.url}; {advice}")
    if remote.digest is not None and (found := checksum(path, remote.algorithm)) != remote.digest:
        raise InputError(f"{path}: {remote.algorithm} {found}, expected {remote.digest} of {remote.url}; {advice}")
