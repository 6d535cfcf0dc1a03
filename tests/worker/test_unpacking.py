"""What unpacking writes, and what it never does."""

import io
import os
import shutil
import tarfile
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.errors import ArchiveInvalidError, ArchiveTooLargeError, DiskFullError
from jobs.source_limits import SourceLimits
from tests.archives import PETS, PHOTO, a_member, a_tar, a_zip, files_below, gzipped, of_each_format
from worker.left_out import LeftOut, in_words, left_out
from worker.unpacking import unpack

UNWRAPPED = {name.removeprefix("pets/") for name in PETS}
Unpack = Callable[..., Path]


@pytest.fixture
def unpacked(tmp_path: Path) -> Unpack:
    """Unpacks an archive in a folder of its own, and tells where the photos are."""
    dataset = tmp_path / "dataset"

    def run(
        content: bytes, *, tell: Callable[[float, int], None] = lambda *_: None, **limits: float
    ) -> Path:
        archive = tmp_path / "archive"
        archive.write_bytes(content)
        unpack(
            archive,
            dataset / "files",
            record=dataset / "unpacked.json",
            partial=dataset / ".files-1.partial",
            limits=SourceLimits().model_copy(update=limits),
            tell=tell,
        )
        assert {each.name for each in dataset.iterdir()} == {"files", "unpacked.json"}
        return dataset / "files"

    return run


def nothing_but_the_archive(tmp_path: Path) -> bool:
    found = {name for name in files_below(tmp_path) if name != "dataset/unpacked.json"}
    return found == {"archive"} and not (tmp_path / "dataset" / "files").exists()


@pytest.mark.parametrize(("kind", "content"), of_each_format().items())
def test_photos_come_out_of_each_kind_of_archive(
    unpacked: Unpack, kind: str, content: bytes
) -> None:
    assert files_below(unpacked(content)) == dict.fromkeys(UNWRAPPED, PHOTO), kind


@pytest.mark.parametrize("dialect", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_come_out_of_each_dialect_of_tar(
    unpacked: Unpack, dialect: int
) -> None:
    names = {f"{'folder/' * 15}a.jpg", f"b/{'n' * 90}.jpg", "c/ä漢😀.jpg"}

    assert set(files_below(unpacked(a_tar(names, format=dialect)))) == names


def test_names_of_a_mac_and_of_an_old_zip_are_read_as_they_were_meant(unpacked: Unpack) -> None:
    """Without the flag for UTF-8: macOS writes it all the same, DOS its own letters."""
    packed = a_zip(["c/aaa.jpg", "d/bb.jpg"])
    packed = packed.replace(b"aaa", "ä-".encode()).replace(b"bb", b"\x84\x94")

    assert set(files_below(unpacked(packed))) == {"c/ä-.jpg", "d/äö.jpg"}


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["pets/cat/1.jpg", "pets/dog/1.jpg"], ["cat/1.jpg", "dog/1.jpg"]),
        (["./pets/1.jpg", "./pets/2.jpg"], ["1.jpg", "2.jpg"]),
        (["home/ana/pets/cat/1.jpg", "home/ana/pets/dog/1.jpg"], ["cat/1.jpg", "dog/1.jpg"]),
        (["pets/train/cat/1.jpg", "pets/val/cat/2.jpg"], ["train/cat/1.jpg", "val/cat/2.jpg"]),
        (["pets/train/cat/1.jpg", "pets/train/dog/2.jpg"], ["train/cat/1.jpg", "train/dog/2.jpg"]),
        (["train/cat/1.jpg", "train/cat/2.jpg"], ["train/cat/1.jpg", "train/cat/2.jpg"]),
        (["cat/1.jpg", "2.jpg"], ["2.jpg", "cat/1.jpg"]),
        (["cat/1.jpg", "category/2.jpg"], ["cat/1.jpg", "category/2.jpg"]),
        (["pets/cat/1.jpg", "pets/dog/2.jpg", "README"], ["cat/1.jpg", "dog/2.jpg"]),
    ],
)
def test_folders_that_hold_everything_are_taken_off_unless_they_name_a_part(
    unpacked: Unpack, names: list[str], kept: list[str]
) -> None:
    assert sorted(files_below(unpacked(a_tar(names)))) == kept


def test_only_photos_are_written_and_the_rest_is_counted(unpacked: Unpack, tmp_path: Path) -> None:
    hidden = ["pets/.DS_Store", "__MACOSX/pets/._1.jpg", "pets/.cache/1.jpg"]
    members = [
        a_member("pets/link.jpg", tarfile.SYMTYPE, link="/etc/passwd"),
        a_member("pets/same.jpg", tarfile.LNKTYPE, link="pets/cat/0.jpg"),
        a_member("pets/pipe.jpg", tarfile.FIFOTYPE),
        a_member("pets/cat", tarfile.DIRTYPE),
    ]
    content = a_tar([*PETS, *hidden, "pets/labels.csv"], members=members)

    assert set(files_below(unpacked(content))) == UNWRAPPED

    found = left_out(tmp_path / "dataset" / "unpacked.json")
    assert {each.reason: each.count for each in found} == {
        **{"hidden": 3, "link": 2},
        **{"not_a_photo": 1, "special": 1},
    }
    assert in_words(found).startswith("3 hidden, 2 links, ")


def test_nothing_that_is_no_plain_file_is_ever_made(unpacked: Unpack) -> None:
    members = [
        a_member(f"pets/{number}.jpg", kind, link="../../outside")
        for number, kind in enumerate((b"1", b"2", b"3", b"4", b"6"))
    ]

    folder = unpacked(a_tar(PETS, members=members))

    for each in folder.rglob("*"):
        assert not each.is_symlink()
        assert each.is_dir() or (each.is_file() and each.stat().st_nlink == 1)
        assert not os.access(each, os.X_OK) or each.is_dir() or not each.stat().st_mode & 0o111


def test_a_link_cannot_lead_what_follows_out_of_the_folder(
    unpacked: Unpack, tmp_path: Path
) -> None:
    """First a link to a folder outside, then a file inside that folder."""
    outside = tmp_path / "outside"
    outside.mkdir()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(a_member("pets", tarfile.SYMTYPE, link=str(outside)))
        info = tarfile.TarInfo("pets/a.jpg")
        info.size = len(PHOTO)
        archive.addfile(info, io.BytesIO(PHOTO))

    folder = unpacked(buffer.getvalue())

    assert files_below(folder) == {"a.jpg": PHOTO}
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("name", ["../a.jpg", "/a.jpg", "cat/../../../a.jpg"])
@pytest.mark.parametrize("pack", [a_zip, a_tar])
def test_of_a_hostile_archive_nothing_is_left_anywhere(
    unpacked: Unpack, tmp_path: Path, pack: Callable[[list[str]], bytes], name: str
) -> None:
    with pytest.raises(ArchiveInvalidError):
        unpacked(pack([*PETS, name]))

    assert nothing_but_the_archive(tmp_path)


@pytest.mark.parametrize(
    "twice", [["a.jpg", "a.jpg"], ["a.jpg", "./a.jpg"], ["a.jpg", "a.jpg/b.jpg"],
              ["a.jpg/b.jpg", "a.jpg"]]
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_for_one_file_are_refused(
    unpacked: Unpack, tmp_path: Path, twice: list[str]
) -> None:
    contents = gzipped(_joined(*(a_tar([name]) for name in twice)))

    with pytest.raises(ArchiveInvalidError, match="two members"):
        unpacked(contents)
    assert nothing_but_the_archive(tmp_path)


def _joined(*tars: bytes) -> bytes:
    return b"".join(each[:1024] for each in tars) + bytes(1024)


def test_names_that_differ_in_case_or_in_normal_form_are_different_photos(
    unpacked: Unpack,
) -> None:
    forms = [unicodedata.normalize(form, "ä.jpg") for form in ("NFC", "NFD")]
    names = ["Cat/1.jpg", "cat/1.jpg", "cat/1.JPG", *forms]

    contents = {name: name.encode() for name in names}

    assert files_below(unpacked(a_tar(contents))) == contents


def test_a_name_that_is_not_utf8_is_kept_as_it_is(unpacked: Unpack) -> None:
    content = a_tar(["c/aa.jpg", "d/b.jpg"], format=tarfile.GNU_FORMAT)
    block = bytearray(content[:512])
    block[:8] = b"c/\xff\xfe.jpg"[:8]
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)

    folder = unpacked(bytes(block) + content[512:])

    assert os.fsencode(folder) + b"/c/\xff\xfe.jpg" in [
        os.fsencode(each) for each in folder.rglob("*.jpg")
    ]


def test_an_archive_beyond_the_limits_leaves_nothing(unpacked: Unpack, tmp_path: Path) -> None:
    with pytest.raises(ArchiveTooLargeError):
        unpacked(a_zip({"a.jpg": bytes(1000), "b.jpg": bytes(1000)}), max_unpacked_bytes=1500)

    assert nothing_but_the_archive(tmp_path)


def test_without_room_on_the_disk_nothing_is_left(unpacked: Unpack, tmp_path: Path) -> None:
    everything = shutil.disk_usage(tmp_path).total

    with pytest.raises(DiskFullError, match=str(everything)):
        unpacked(a_zip(), min_free_bytes=everything)
    assert nothing_but_the_archive(tmp_path)


def test_broken_off_it_leaves_nothing_and_begins_again(unpacked: Unpack, tmp_path: Path) -> None:
    def tell(_: float, photos: int) -> None:
        if photos == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpacked(a_tar(), tell=tell)
    assert nothing_but_the_archive(tmp_path)

    assert set(files_below(unpacked(a_tar()))) == UNWRAPPED


def test_what_a_killed_attempt_left_is_in_nobodys_way(unpacked: Unpack, tmp_path: Path) -> None:
    left = tmp_path / "dataset" / ".files-1.partial" / "pets" / "cat"
    left.mkdir(parents=True)
    (left / "0.jpg").write_bytes(b"half")

    assert files_below(unpacked(a_tar())) == dict.fromkeys(UNWRAPPED, PHOTO)


def test_photos_that_another_attempt_put_there_meanwhile_stay(
    unpacked: Unpack, tmp_path: Path
) -> None:
    there = tmp_path / "dataset" / "files"
    there.mkdir(parents=True)
    (there / "0.jpg").write_bytes(PHOTO)

    assert files_below(unpacked(a_tar())) == {"0.jpg": PHOTO}


def test_progress_only_grows_up_to_the_end(unpacked: Unpack) -> None:
    for kind, content in of_each_format({f"{n}.jpg": os.urandom(20_000) for n in range(9)}).items():
        told: list[float] = []
        shutil.rmtree(unpacked(content, tell=lambda share, _, told=told: told.append(share)).parent)
        assert told == sorted(told), kind
        assert told[-1] <= 1, kind


def test_where_no_archive_was_unpacked_nothing_was_left_out(tmp_path: Path) -> None:
    assert left_out(tmp_path / "none.json") == []


def test_what_was_left_out_is_said_in_words() -> None:
    found = [
        LeftOut(reason="not_a_photo", count=2, examples=["a.txt", "b.zip"]),
        LeftOut(reason="link", count=1, examples=["c.jpg"]),
    ]

    assert in_words(found) == "2 no photos, 1 links (such as 'a.txt', 'b.zip', 'c.jpg')"
