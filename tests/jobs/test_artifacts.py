import hashlib
from pathlib import Path

import pytest

from jobs.artifacts import Artifacts, published, sha256_of


def test_a_published_file_has_its_whole_content_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "items.parquet"

    with published(file) as temporary:
        temporary.write_bytes(b"rows")
        assert not file.exists()

    assert file.read_bytes() == b"rows"
    assert list(file.parent.iterdir()) == [file]


def test_readers_see_the_old_file_until_the_new_one_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    file.write_bytes(b"old")

    with published(file) as temporary:
        temporary.write_bytes(b"n")
        assert file.read_bytes() == b"old"
        temporary.write_bytes(b"new")

    assert file.read_bytes() == b"new"


@pytest.mark.parametrize("error", [OSError(28, "no space left"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_file_and_nothing_else(
    error: BaseException, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoint"
    file.write_bytes(b"old")

    with pytest.raises(type(error)):
        _write_half(file, error)

    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def _write_half(file: Path, error: BaseException) -> None:
    with published(file) as temporary:
        temporary.write_bytes(b"ne")
        raise error


def test_publishing_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), published(tmp_path / "file"):
        pass

    assert list(tmp_path.iterdir()) == []


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    with published(tmp_path / "file") as one, published(tmp_path / "file") as other:
        one.write_bytes(b"one")
        other.write_bytes(b"other")

    assert (tmp_path / "file").read_bytes() == b"one"


def test_each_attempt_has_a_folder_of_its_own(artifacts: Artifacts) -> None:
    folders = {artifacts.attempt_folder("job_1", fence) for fence in (1, 2)}

    assert folders == {artifacts.root / "jobs" / "job_1" / name for name in ("a1", "a2")}


def test_the_database_keeps_names_relative_to_the_root(artifacts: Artifacts) -> None:
    file = artifacts.model_file("mdl_1")

    assert artifacts.relative(file) == "models/mdl_1.safetensors"
    assert artifacts.absolute("models/mdl_1.safetensors") == file
    with pytest.raises(ValueError, match="is not in the subpath"):
        artifacts.relative(Path("/etc/passwd"))


def test_a_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    content = b"x" * (2**20 + 1)
    (tmp_path / "file").write_bytes(content)

    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()
