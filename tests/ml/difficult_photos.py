"""Makes photo files as cameras, editors and attackers make them, byte by byte where need be."""

import io
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

PNG_BEGIN = b"\x89PNG\r\n\x1a\n"
GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6


def encoded(image: Image.Image, kind: str, **how: object) -> bytes:
    """The image as a file of this kind."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    checksum = struct.pack(">I", zlib.crc32(name + body))
    return struct.pack(">I", len(body)) + name + body + checksum


def png(
    width: int, height: int, *, depth: int = 8, kind: int = GREY, rows: bytes, before: bytes = b""
) -> bytes:
    """A PNG whose header says this, whatever its rows (each begins with a filter) really are."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    picture = chunk(b"IDAT", zlib.compress(rows))
    return PNG_BEGIN + chunk(b"IHDR", header) + before + picture + chunk(b"IEND", b"")


def png_with_text(name: bytes, text_bytes: int) -> bytes:
    """One white pixel, and a compressed chunk of so much text (or colour profile)."""
    packed = zlib.compress(b"a" * text_bytes, 9)
    prefix = b"key\0\1\0\0\0" if name == b"iTXt" else b"key\0\0"
    return png(1, 1, rows=b"\0\xff", before=chunk(name, prefix + packed))


def jpeg_of_many_scans(side_px: int, *, scans: int) -> bytes:
    """A progressive JPEG that tells the same detail over and over: 31 bytes for each pass.

    Each costs a decoder a walk over all blocks of the picture.
    """
    whole = encoded(Image.new("L", (side_px, side_px), 128), "JPEG", progressive=True)
    *parts, last, end = _segments(whole)
    return b"".join([*parts, last * (1 + scans), end])


def _segments(jpeg: bytes) -> Iterator[bytes]:
    """The parts between markers: a scan's data belongs to its own."""
    yield jpeg[:2]
    begin = 2
    while jpeg[begin : begin + 2] != b"\xff\xd9":
        is_scan = jpeg[begin + 1] == 0xDA
        end = begin + 2 + int.from_bytes(jpeg[begin + 2 : begin + 4], "big")
        while is_scan and (jpeg[end] != 0xFF or jpeg[end + 1] == 0):
            end += 1
        yield jpeg[begin:end]
        begin = end
    yield jpeg[begin:]


def tiff_of_huge_tile(side_px: int) -> bytes:
    """A photo of 8 x 8 pixels in one deflated tile that claims to be that large."""
    fields = {256: 8, 257: 8, 258: 8, 259: 8, 262: 1, 277: 1, 322: side_px, 323: side_px}
    content_begins = 8 + 2 + 12 * (len(fields) + 2) + 4
    fields |= {324: content_begins, 325: 100}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, fields[tag]) for tag in sorted(fields))
    directory = struct.pack("<H", len(fields)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(100)
