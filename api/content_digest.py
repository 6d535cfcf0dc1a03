"""Content-Digest (RFC 9530): what the bytes of a body must come to."""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping

from api.problems import Problem, at

HEADER = "Content-Digest"
WANTED = {"Want-Content-Digest": "sha-256=10, sha-512=9"}

_ALGORITHMS: Mapping[str, str] = {"sha-256": "sha256", "sha-512": "sha512"}
_MEMBER = re.compile(r"([a-z*][a-z0-9_.*-]{0,63})=:([A-Za-z0-9+/=]{0,200}):")


class ContentDigest:
    """The digests that a client sent with a body; those of its bytes are made while it comes."""

    def __init__(self, expected: Mapping[str, bytes]) -> None:
        self.expected = dict(expected)
        self._found = {name: hashlib.new(_ALGORITHMS[name]) for name in expected}

    @classmethod
    def of(cls, header: str | None) -> "ContentDigest":
        """What the header says; algorithms that nobody knows count as not sent.

        Raises:
            Problem: it is no Content-Digest, or has none of sha-256 and sha-512.
        """
        if header is None:
            return cls({})
        sent = {}
        for member in header.split(","):
            found = _MEMBER.fullmatch(member.strip())
            if found is None:
                raise _unusable(f"{header[:100]!r} is not like sha-256=:base64:")
            sent[found[1]] = found[2]
        expected = {name: _bytes(name, sent[name]) for name in _ALGORITHMS if name in sent}
        if not expected:
            raise _unusable(f"of {', '.join(sent)} none is sha-256 or sha-512")
        return cls(expected)

    def update(self, chunk: bytes | memoryview) -> None:
        """The body goes on with these bytes."""
        for digest in self._found.values():
            digest.update(chunk)

    def check(self) -> None:
        """The bytes so far are those that were meant.

        Raises:
            Problem: they are others.
        """
        for name, expected in self.expected.items():
            found = self._found[name].digest()
            if found != expected:
                raise Problem(
                    "digest_mismatch",
                    f"{HEADER} says {name}=:{_base64(expected)}:, "
                    f"but what arrived has {name}=:{_base64(found)}:",
                    headers=WANTED,
                )


def _bytes(name: str, text: str) -> bytes:
    size = hashlib.new(_ALGORITHMS[name]).digest_size
    try:
        value = base64.b64decode(text, validate=True)
    except binascii.Error:
        value = b""
    if len(value) != size:
        raise _unusable(f"{name}=:{text}: is not {size} bytes in base64")
    return value


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _unusable(detail: str) -> Problem:
    problem = at(f"/header/{HEADER}", "validation_failed", detail)
    problem.headers |= WANTED
    return problem
