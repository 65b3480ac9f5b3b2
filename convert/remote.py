"""A file on a server: its address, and what is known of its content."""

import hashlib
import re
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from feedline.pipeline.errors import InputError

_CHECKSUM = "write #md5=... or #sha256=... and the digits, or leave it out"


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
            InputError: if it is not http or https, or the fragment is no checksum.
        """
        plain, mark, fragment = url.partition("#")
        try:
            parts = urllib.parse.urlsplit(plain)
        except ValueError as error:
            raise InputError(f"`source={url}`: is no URL ({error})") from error
        if parts.scheme == "file":
            raise InputError(f"`source={url}`: give the path itself: {urllib.parse.unquote(parts.path)}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(
                f"`source={url}`: only http:// and https:// are downloaded; get it with the program for it, and give "
                "the file"
            )
        if re.search(r"\{[^{}]*(\.\.|,)[^{}]*\}", plain):
            raise InputError(f"`source={url}`: several files are not downloaded; get them, and give their pattern")
        if "@" in parts.netloc:
            raise InputError("`source`: a URL with a name or a password is not taken; download it, and give the file")
        plain = urllib.parse.quote(plain, safe="%/:=&?~+!$,;'@()*[]")
        return cls(plain, None, *_parse_checksum(url, fragment)) if mark else cls(plain)

    @property
    def filename(self) -> str:
        """The last part of the URL's path."""
        return Path(urllib.parse.unquote(urllib.parse.urlsplit(self.url).path)).name or "download"

    @property
    def cache_name(self) -> str:
        """A name that no other URL has: `3f2a9c01-images.zip`."""
        return f"{hashlib.sha256(self.url.encode()).hexdigest()[:8]}-{self.filename[-150:]}"


def _parse_checksum(url: str, fragment: str) -> tuple[str, str]:
    algorithm, equals, digest = fragment.partition("=")
    algorithm, digest = algorithm.lower(), digest.lower()
    if not equals:
        raise InputError(f"`source={url}`: #{fragment} is no checksum; {_CHECKSUM}")
    if algorithm not in hashlib.algorithms_available or not hashlib.new(algorithm).digest_size:
        raise InputError(f"`source={url}`: unknown checksum {algorithm!r}; {_CHECKSUM}")
    digits = 2 * hashlib.new(algorithm).digest_size
    if not re.fullmatch(f"[0-9a-f]{{{digits}}}", digest):
        raise InputError(
            f"`source={url}`: {digest!r} is not the {digits} hexadecimal digits of {algorithm}; {_CHECKSUM}"
        )
    return algorithm, digest
