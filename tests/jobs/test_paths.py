import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.errors import SourceForbiddenError, SourceUnreachableError
from jobs.sources import paths
from jobs.sources.paths import list_photos, open_inside, peek_photos, resolve_inside


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "pets").mkdir(parents=True)
    (folder / "pets" / "cat.jpg").touch()
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "root-2"
    folder.mkdir()
    (folder / "secret.jpg").touch()
    return folder


@pytest.mark.parametrize("below", [".", "pets", "pets/", "pets/cat.jpg"])
def test_a_path_inside_a_root_is_real(below: str, root: Path) -> None:
    assert resolve_inside(f"{root}/{below}", [Path("/nowhere"), root]) == (root / below)


def test_a_link_within_the_root_is_followed(root: Path) -> None:
    (root / "link").symlink_to(root / "pets")

    assert resolve_inside(str(root / "link"), [root]) == root / "pets"


def test_a_path_outside_every_root_is_forbidden(root: Path, outside: Path) -> None:
    """The name of the folder outside begins with the root's own name."""
    with pytest.raises(SourceForbiddenError, match="is outside the allowed roots") as caught:
        resolve_inside(str(outside), [root])

    assert str(root) in str(caught.value)


def test_a_folder_outside_is_forbidden_whether_it_exists_or_not(root: Path) -> None:
    with pytest.raises(SourceForbiddenError):
        resolve_inside(str(root.parent / "nobody-knows"), [root])


@pytest.mark.parametrize(
    "path", ["pets", "./pets", "", "~/pets", "{root}/../root/pets", "{root}/\0"]
)
def test_a_path_that_is_not_plain_is_forbidden(path: str, root: Path) -> None:
    with pytest.raises(SourceForbiddenError, match="must be an absolute path"):
        resolve_inside(path.format(root=root), [root])


def test_a_path_that_the_disk_cannot_name_is_forbidden(root: Path) -> None:
    with pytest.raises(SourceForbiddenError):
        resolve_inside(f"{root}/\ud800", [root])


def test_a_link_out_of_the_root_is_forbidden(root: Path, outside: Path) -> None:
    (root / "folder").symlink_to(outside)
    (root / "file.jpg").symlink_to(outside / "secret.jpg")

    for name in ("folder", "file.jpg", "folder/secret.jpg"):
        with pytest.raises(SourceForbiddenError):
            resolve_inside(str(root / name), [root])


@pytest.mark.parametrize("name", ["missing", "x" * 300, "pets/cat.jpg/more", "loop", "loop/more"])
def test_a_path_inside_that_leads_nowhere_is_unreachable(name: str, root: Path) -> None:
    (root / "loop").symlink_to(root / "loop")

    with pytest.raises(SourceUnreachableError, match="does not exist"):
        resolve_inside(str(root / name), [root])


def test_without_roots_everything_is_forbidden_and_the_variable_is_named(root: Path) -> None:
    with pytest.raises(SourceForbiddenError, match="TUNESMITH_DATASET_ROOTS"):
        resolve_inside(str(root), [])


def test_photos_are_listed_by_their_path_in_code_point_order(root: Path) -> None:
    for name in ("b/1.jpg", "a/10.jpg", "a/2.PNG", "B.webp", "é.jpg", "a.jpeg"):
        (root / "pets" / name).parent.mkdir(exist_ok=True)
        (root / "pets" / name).touch()

    assert list_photos(root / "pets") == [
        "B.webp",
        "a.jpeg",
        "a/10.jpg",
        "a/2.PNG",
        "b/1.jpg",
        "cat.jpg",
        "é.jpg",
    ]


def test_hidden_names_and_other_files_are_left_out(root: Path) -> None:
    (root / ".git").mkdir()
    for name in (".git/a.jpg", ".hidden.jpg", "labels.csv", "README", "jpg", "movie.mp4"):
        (root / name).touch()

    assert list_photos(root) == ["pets/cat.jpg"]


def test_a_folder_named_like_a_photo_is_not_one(root: Path) -> None:
    (root / "folder.jpg").mkdir()

    assert list_photos(root) == ["pets/cat.jpg"]


def test_links_to_folders_are_not_followed(root: Path, outside: Path) -> None:
    (root / "out").symlink_to(outside)
    (root / "back").symlink_to(root)

    assert list_photos(root) == ["pets/cat.jpg"]


def test_of_listed_names_only_files_inside_are_opened(root: Path, outside: Path) -> None:
    (root / "pets" / "cat.jpg").write_text("cat")
    (root / "in.jpg").symlink_to(root / "pets" / "cat.jpg")
    (root / "out.jpg").symlink_to(outside / "secret.jpg")
    (root / "device.jpg").symlink_to("/dev/zero")
    (root / "broken.jpg").symlink_to(root / "missing.jpg")
    (root / "loop.jpg").symlink_to(root / "loop.jpg")
    os.mkfifo(root / "pipe.jpg")

    found = {name: _content(root / name, root) for name in list_photos(root)}

    nowhere = "the link leads to no file inside the allowed roots"
    assert found == {
        "broken.jpg": nowhere,
        "device.jpg": nowhere,
        "in.jpg": "cat",
        "loop.jpg": nowhere,
        "out.jpg": nowhere,
        "pets/cat.jpg": "cat",
        "pipe.jpg": "it is not a regular file",
    }


def _content(photo: Path, root: Path) -> str:
    try:
        with open_inside(photo, [root]) as file:
            return file.read().decode()
    except SourceForbiddenError as problem:
        return str(problem)


Swap = Callable[[Path, Path], None]


def _folder_for_link(root: Path, outside: Path) -> None:
    (root / "pets").rename(root / "away")
    (root / "pets").symlink_to(outside)


def _photo_for_link(root: Path, outside: Path) -> None:
    (root / "pets" / "secret.jpg").unlink()
    (root / "pets" / "secret.jpg").symlink_to(outside / "secret.jpg")


def _photo_for_pipe(root: Path, outside: Path) -> None:
    (root / "pets" / "secret.jpg").unlink()
    os.mkfifo(root / "pets" / "secret.jpg")


@pytest.mark.parametrize("swap", [_folder_for_link, _photo_for_link, _photo_for_pipe])
def test_what_takes_a_photos_place_once_it_was_looked_at_is_not_read(
    root: Path, outside: Path, monkeypatch: pytest.MonkeyPatch, swap: Swap
) -> None:
    """The attacker acts in the worst moment: between the look and the opening."""
    (root / "pets" / "secret.jpg").touch()
    really_open = paths._open_below

    def open_after_swap(below: Path, target: Path) -> int:
        swap(root, outside)
        return really_open(below, target)

    monkeypatch.setattr(paths, "_open_below", open_after_swap)

    with pytest.raises((OSError, SourceForbiddenError)):
        open_inside(root / "pets" / "secret.jpg", [root])


def test_a_name_that_is_not_utf8_is_listed(root: Path) -> None:
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.jpg")).touch()

    assert list_photos(root) == ["caf\udce9.jpg", "pets/cat.jpg"]


@pytest.mark.parametrize("name", ["missing", "pets/cat.jpg"])
def test_only_a_folder_can_be_listed(name: str, root: Path) -> None:
    with pytest.raises(SourceUnreachableError, match="is not a folder"):
        list_photos(root / name)


def test_a_look_at_a_small_folder_sees_all_of_it(root: Path) -> None:
    assert peek_photos(root) == (["pets/cat.jpg"], True)


def test_a_look_at_a_large_folder_sees_a_part(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.sources.paths._QUICK_LOOK_NAMES", 2)
    for number in range(3):
        (root / f"{number}.jpg").touch()

    names, complete = peek_photos(root)

    assert (len(names), complete) == (2, False)
