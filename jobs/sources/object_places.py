"""Places in object stores as clients write them: an archive, or a prefix that photos lie below.

Workers read them with the operator's credentials, so the operator says which may be read.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.errors import SourceForbiddenError

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.zst")

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket and what lies in it; ``key`` has no ``/`` at its ends, and may be empty."""

    protocol: str
    bucket: str
    key: str
    is_archive: bool

    @property
    def path(self) -> str:
        """Bucket and key, as fsspec names them."""
        return f"{self.bucket}/{self.key}" if self.key else self.bucket


def place_of(protocol: str, url: str, roots: Sequence[str]) -> Place:
    """The place that the address names, inside one of the allowed roots.

    Raises:
        SourceForbiddenError: it is outside, of another protocol, or has another form.
    """
    allowed = ", ".join(roots) or "none: start the service with TUNESMITH_REMOTE_ROOTS"
    scheme, separator, path = url.partition("://")
    if scheme != protocol or not separator:
        raise SourceForbiddenError(f"{_shown(url)} must begin with {protocol}://")
    bucket, _, key = path.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise SourceForbiddenError(f"{_shown(url)} names no bucket, as in {protocol}://bucket/key")
    if "::" in url or not key.isprintable() or {".", ".."} & set(key.split("/")):
        raise SourceForbiddenError(
            f"{_shown(url)} has '::', a control character, or a step that is . or .."
        )
    place = f"{protocol}://{bucket}/{key}".rstrip("/")
    if not any(place == root or place.startswith(f"{root}/") for root in roots):
        raise SourceForbiddenError(f"{_shown(url)} is outside the allowed places ({allowed})")
    return Place(protocol, bucket, key.strip("/"), key.lower().endswith(ARCHIVE_SUFFIXES))


def _shown(url: str) -> str:
    return repr(url if len(url) <= _SHOWN_CHARACTERS else f"{url[:_SHOWN_CHARACTERS]}…")
