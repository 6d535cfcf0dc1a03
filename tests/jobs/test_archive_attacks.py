"""Archives made to do harm: each attack is made, and meets the word that refuses it.

What is written to the disk, and what is not, is in the worker's tests.
"""

import io
import os
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard

from jobs.errors import ArchiveInvalidError, ArchiveTooLargeError, JobsError
from jobs.source_limits import SourceLimits
from jobs.sources.archive_member import Member
from jobs.sources.archives import opened
from jobs.sources.zip_archive import read_zip
from tests.archives import PETS, a_member, a_tar, a_zip, gzipped, of_each_format, zstandarded

LIMITS = SourceLimits()
Read = Callable[..., list[tuple[str, str, bytes]]]
"""Bytes of an archive, and limits: name, kind and content of each member."""


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads all members of an archive, with their contents."""

    def run(content: bytes, **limits: float) -> list[tuple[str, str, bytes]]:
        file = tmp_path / "archive"
        file.write_bytes(content)
        chosen = LIMITS.model_copy(update=limits)
        with opened(file, chosen) as archive:
            return [(each.name, each.kind, _content(each)) for each in archive.members()]

    return run


def _content(member: Member) -> bytes:
    return b"".join(iter(lambda: member.read(1000), b""))


def refused(
    read: Callable[..., object], content: bytes, kind: type[JobsError] = ArchiveInvalidError
) -> str:
    with pytest.raises(kind) as problem:
        read(content)
    return str(problem.value)


# --- names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/etc/cron.d/a.jpg", "absolute"),
        ("//server/share/a.jpg", "absolute"),
        ("../a.jpg", "upwards"),
        ("pets/../../a.jpg", "upwards"),
        ("pets/cat/..", "upwards"),
        ("C:/windows/a.jpg", "drive letter"),
        ("c:a.jpg", "drive letter"),
        ("pets/a\n.jpg", "control character"),
        ("pets/a\x1b[2J.jpg", "control character"),
        ("pets/a\x7f.jpg", "control character"),
        ("pets/a\x85.jpg", "control character"),
        ("a" * 256 + ".jpg", "255 bytes"),
        ("ä" * 128 + ".jpg", "255 bytes"),
        ("a/" * 600 + "a.jpg", "1024 bytes"),
    ],
)
@pytest.mark.parametrize("pack", [a_zip, a_tar])
def test_a_name_that_nobody_should_write_refuses_the_archive(
    read: Read, pack: Callable[[list[str]], bytes], name: str, why: str
) -> None:
    said = refused(read, pack(["good.jpg", name]))

    assert why in said
    assert "\n" not in said
    assert "\x1b" not in said
    assert len(said) < 500


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE])
def test_a_name_is_refused_whatever_it_names(read: Read, kind: bytes) -> None:
    assert "upwards" in refused(read, a_tar([], members=[a_member("../a", kind, link="b")]))


def test_backslashes_separate_folders_in_a_zip_and_are_refused_in_a_tar(read: Read) -> None:
    """Windows' own tools pack them so; in a tar they are what somebody put there."""
    (member,) = read(a_zip([r"pets\cat\1.jpg"]))
    assert member[0] == "pets/cat/1.jpg"

    assert "upwards" in refused(read, a_zip([r"pets\..\..\a.jpg"]))
    assert "absolute" in refused(read, a_zip([r"\\server\a.jpg"]))
    assert "backslash" in refused(read, a_tar([r"pets\cat\1.jpg"]))


def test_a_nul_in_a_name_is_not_its_end(read: Read) -> None:
    """The part before it alone would look harmless."""
    as_zip = a_zip(["good.jpgX../a.jpg"]).replace(b"good.jpgX", b"good.jpg\0")
    record = b"19 path=a.jpg\0.exe\n"

    assert "control character" in refused(read, as_zip)
    assert "control character" in refused(read, pax(record) + a_tar(["b.jpg"]))


def pax(*records: bytes, size: int | None = None) -> bytes:
    """An extended header with these records."""
    content = b"".join(records)
    info = tarfile.TarInfo("./PaxHeaders/x")
    info.type, info.size = tarfile.XHDTYPE, len(content) if size is None else size
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)


# --- what is no file ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "is_told"),
    [
        (tarfile.SYMTYPE, "link"),
        (tarfile.LNKTYPE, "link"),
        (tarfile.CHRTYPE, "special"),
        (tarfile.BLKTYPE, "special"),
        (tarfile.FIFOTYPE, "special"),
        (tarfile.DIRTYPE, "folder"),
    ],
)
def test_in_a_tar_what_is_no_file_has_no_content(read: Read, kind: bytes, is_told: str) -> None:
    member = a_member("pets/a.jpg", kind, link="/etc/passwd")

    assert read(a_tar([], members=[member])) == [("pets/a.jpg", is_told, b"")]


def test_content_behind_a_link_is_not_taken_for_one(read: Read) -> None:
    """What one reader takes for content would be a header to another."""
    member = a_member("pets/a.jpg", tarfile.LNKTYPE, link="b")
    member.size = 1024

    assert "no" in refused(read, a_tar([], members=[member])[:512] + b"x" * 1024 + bytes(1024))


@pytest.mark.parametrize(("mode", "is_told"), [(0o120777, "link"), (0o020666, "special")])
def test_in_a_zip_links_and_devices_are_known_by_their_mode(
    read: Read, mode: int, is_told: str
) -> None:
    info = zipfile.ZipInfo("a.jpg")
    info.external_attr = mode << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, "/etc/passwd")

    assert read(buffer.getvalue()) == [("a.jpg", is_told, b"")]


def test_sparse_files_are_refused_in_every_dialect(read: Read) -> None:
    old = tarfile.TarInfo("a.jpg")
    old.type = tarfile.GNUTYPE_SPARSE
    new = pax(b"22 GNU.sparse.major=1\n")

    assert "--sparse" in refused(read, a_tar([], members=[old]))
    assert "--sparse" in refused(read, new + a_tar(["a.jpg"]))


# --- bombs ----------------------------------------------------------------------------------


def test_a_small_archive_that_unpacks_to_much_is_stopped_by_its_ratio(read: Read) -> None:
    bomb = {"a.jpg": bytes(65 << 20)}

    for kind, packed in of_each_format(bomb).items():
        if kind == "tar":
            continue
        said = refused(read, packed, ArchiveTooLargeError)
        assert "100 times its size" in said, kind


def test_more_bytes_than_allowed_are_never_unpacked(
    read: Read,
) -> None:
    for packed in of_each_format({"a.jpg": bytes(50_000), "b.jpg": bytes(50_000)}).values():
        with pytest.raises(ArchiveTooLargeError, match="99999 bytes"):
            read(packed, max_unpacked_bytes=99_999)


def test_more_members_than_allowed_are_refused(
    read: Read,
) -> None:
    for kind, packed in of_each_format().items():
        assert len(read(packed, max_archive_members=len(PETS))) == len(PETS), kind
        with pytest.raises(ArchiveTooLargeError, match="more than 7 members"):
            read(packed, max_archive_members=len(PETS) - 1)


def test_a_directory_of_millions_of_entries_is_not_taken_into_memory(
    tmp_path: Path,
) -> None:
    """The end of the archive says there is one entry."""
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", *[0] * 16)
    file = tmp_path / "many.zip"
    number = 1_000_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, number * len(entry), 0, 0)
    file.write_bytes(entry * number + end)

    tracemalloc.start()
    with file.open("rb") as stream, pytest.raises(ArchiveTooLargeError, match="1000 members"):
        next(read_zip(stream, most_members=1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 4 << 20


def test_entries_that_share_their_bytes_are_refused(read: Read) -> None:
    """One compressed block under many names: what 42 MB unpack to 281 TB with."""
    name = b"a.jpg"
    content = a_zip({"a.jpg": bytes(100_000)})
    start = content.index(b"PK\1\2")
    entry = content[start : content.index(b"PK\5\6")]
    second = entry.replace(name, b"b.jpg")
    size = len(entry) + len(second)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2, 2, size, start, 0)

    assert "overlaps" in refused(read, content[:start] + entry + second + end)


def test_an_inner_archive_is_a_file_like_any_other(
    read: Read,
) -> None:
    inner = a_zip({"b.jpg": bytes(1000)})

    assert read(a_zip({"inner.zip": inner})) == [("inner.zip", "file", inner)]


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_huge_header_is_refused_before_it_is_read(tmp_path: Path, kind: bytes) -> None:
    """A gigabyte of header is a megabyte of gzip."""
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, 1 << 30
    file = tmp_path / "a.tar"
    with file.open("wb") as stream:
        stream.write(info.tobuf(tarfile.GNU_FORMAT))
        stream.truncate(1 << 30)

    tracemalloc.start()
    with opened(file, LIMITS) as archive, pytest.raises(ArchiveInvalidError, match="header of"):
        next(archive.members())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 4 << 20


def test_many_headers_before_one_member_take_no_more_memory_than_one(tmp_path: Path) -> None:
    value = b"x" * 500_000
    file = tmp_path / "a.tar"
    with file.open("wb") as stream:
        for number in range(60):
            record = b"comment%d=%b\n" % (number, value)
            stream.write(pax(b"%d %b" % (len(record) + 7, record)))
        stream.write(a_tar(["a.jpg"]))

    tracemalloc.start()
    with opened(file, LIMITS) as archive:
        names = [member.name for member in archive.members()]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert names == ["a.jpg"]
    assert peak < 8 << 20


def test_a_window_that_would_take_a_gigabyte_is_refused(read: Read) -> None:
    wish = zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=True)
    stream = zstandard.ZstdCompressor(compression_params=wish).compressobj()
    packed = stream.compress(a_tar()) + stream.flush()

    assert "memory" in refused(read, packed)


# --- broken and misleading ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.zst"])
def test_an_archive_cut_anywhere_is_never_taken_for_a_whole_one(read: Read, kind: str) -> None:
    whole = of_each_format({f"{n}.jpg": os.urandom(700) for n in range(4)})[kind]
    # the padding behind a tar's end mark may be missing
    end = len(whole) if kind != "tar" else len(whole.rstrip(b"\0")) + 512

    for cut in range(len(whole) % 37, end, 37):
        refused(read, whole[:cut])


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.zst"])
def test_an_archive_with_flipped_bits_is_refused_or_read_and_nothing_else(
    read: Read, kind: str
) -> None:
    whole = of_each_format({"a.jpg": os.urandom(300), "b/c.jpg": b"x" * 300})[kind]

    # nobody looks at the padding behind the end of a tar
    for place in range(len(whole.rstrip(b"\0"))):
        broken = bytearray(whole)
        broken[place] ^= 0x41
        with suppress(ArchiveInvalidError, ArchiveTooLargeError):
            read(bytes(broken))


def test_a_photo_whose_bytes_changed_in_a_zip_is_refused_by_its_checksum(read: Read) -> None:
    content = b"stored as it is, so that it is easily found"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.jpg", content)

    said = refused(read, buffer.getvalue().replace(b"easily", b"EASILY"))

    assert "'a.jpg' is damaged" in said


def test_an_encrypted_photo_is_told_as_such(read: Read) -> None:
    plain = bytearray(a_zip(["a.jpg"]))
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        plain[plain.index(mark) + offset] |= 1

    assert "without a password" in refused(read, bytes(plain))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_without_bounds_is_refused(read: Read, method: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a.jpg", bytes(1000))

    assert f"method {method}" in refused(read, buffer.getvalue())


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xd8\xff\xe0 a photo", gzipped(b"no tar" * 999), zstandarded(b"no tar" * 999)],
    # named, for gzip writes the time, and the processes of a test run must collect the same names
    ids=["nothing", "photo", "gzip", "zstandard"],
)
def test_what_is_no_archive_is_refused(read: Read, content: bytes) -> None:
    refused(read, content)


def test_a_part_of_a_larger_archive_is_refused(read: Read) -> None:
    member = a_member("a.jpg", b"M")

    assert "volume" in refused(read, a_tar([], members=[member]))


@pytest.mark.parametrize(
    "record",
    [b"5 a=\n", b"0 path=a\n", b"99 path=a\n", b"-9 path=a\n", b"path=a\n", b"8 path\n", b"\n"],
)
def test_a_damaged_header_is_refused(read: Read, record: bytes) -> None:
    if record == b"5 a=\n":
        assert read(pax(record) + a_tar(["a.jpg"]))
        return
    refused(read, pax(record) + a_tar(["a.jpg"]))


@pytest.mark.parametrize("size", [b"-1", b"1e3", b"", b"9" * 30])
def test_a_size_that_is_no_number_is_refused(read: Read, size: bytes) -> None:
    record = b"size=" + size + b"\n"
    length = len(record) + 3

    refused(read, pax(b"%d %b" % (length, record)) + a_tar(["a.jpg"]))


def test_a_negative_size_does_not_lead_backwards(read: Read) -> None:
    """One reader went in circles for ever."""
    block = bytearray(tarfile.TarInfo("a.jpg").tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 12
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)

    assert "number" in refused(read, bytes(block) + bytes(1024))
