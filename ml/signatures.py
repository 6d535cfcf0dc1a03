"""What a file is by its first bytes, when no decoder takes it for a photo."""

from dataclasses import dataclass
from typing import BinaryIO

_LOOKED_AT_BYTES = 512
_FTYP = slice(4, 8)
_BRAND = slice(8, 12)
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"})


@dataclass(frozen=True, slots=True)
class _Signature:
    begin: bytes
    name: str


_PHOTOS = (
    _Signature(b"\xff\xd8\xff", "JPEG"),
    _Signature(b"\x89PNG", "PNG"),
    _Signature(b"GIF8", "GIF"),
    _Signature(b"RIFF", "WebP"),
    _Signature(b"II*\0", "TIFF"),
    _Signature(b"MM\0*", "TIFF"),
    _Signature(b"BM", "BMP"),
    _Signature(b"\0\0\0\x0cjP  ", "JPEG 2000"),
)
_OTHERS = (
    _Signature(b"version https://git-lfs", "a Git LFS pointer; fetch the photo that it stands for"),
    _Signature(b"%PDF", "a PDF"),
    _Signature(b"%!PS", "PostScript"),
    _Signature(b"8BPS", "a Photoshop document; save it as PNG"),
    _Signature(b"PK\3\4", "a zip archive"),
    _Signature(b"\x1f\x8b", "a gzip archive"),
    _Signature(b"\0\0\1\0", "an icon"),
    _Signature(b"\xff\x0a", "JPEG XL; convert it to PNG"),
    _Signature(b"\0\0\0\x0cJXL ", "JPEG XL; convert it to PNG"),
)
_MARKUP = ((b"<svg", "an SVG drawing"), (b"<html", "a web page"), (b"<?xml", "an XML document"))


def unreadable_reason(file: BinaryIO) -> str:
    """Why no decoder takes the file, read from its beginning, for a photo."""
    file.seek(0)
    begin = file.read(_LOOKED_AT_BYTES)
    if not begin:
        return "the file is empty"
    if not begin.strip(b"\0"):
        return "the file holds zeros only, at least at its beginning"
    if begin[_FTYP] == b"ftyp":
        return _of_media_container(begin[_BRAND])
    for photo in _PHOTOS:
        if begin.startswith(photo.begin):
            return f"it begins like a {photo.name} file, but is damaged or cut off"
    other = _other(begin)
    return "not an image of a format Pillow can identify" if other is None else f"it is {other}"


def _of_media_container(brand: bytes) -> str:
    if brand in _HEIC_BRANDS:
        return "HEIC is not supported; convert it to JPEG"
    if brand in {b"avif", b"avis"}:
        return "it begins like an AVIF file, but is damaged or cut off"
    return "it is a film or of a kind that holds films"


def _other(begin: bytes) -> str | None:
    lower = begin.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for other in _OTHERS:
        if begin.startswith(other.begin):
            return other.name
    if lower.startswith(b"<"):
        return next((name for mark, name in _MARKUP if mark in lower), None)
    return None
