"""Addresses in object stores, and what the operator allows of them."""

import pytest

from jobs.errors import SourceForbiddenError
from jobs.settings import SettingsError, load_settings
from jobs.sources.object_places import place_of

ROOTS = ("s3://photos/pets", "gs://all")


@pytest.mark.parametrize(
    ("protocol", "url", "path", "is_archive"),
    [
        ("s3", "s3://photos/pets", "photos/pets", False),
        ("s3", "s3://photos/pets/", "photos/pets", False),
        ("s3", "s3://photos/pets/cats", "photos/pets/cats", False),
        ("s3", "s3://photos/pets/all.ZIP", "photos/pets/all.ZIP", True),
        ("s3", "s3://photos/pets/all.zip/", "photos/pets/all.zip", False),
        ("gs", "gs://all", "all", False),
        ("gs", "gs://all/a.tgz", "all/a.tgz", True),
        ("gs", "gs://all/a.tar.zst", "all/a.tar.zst", True),
    ],
)
def test_a_name_tells_an_archive_from_a_prefix(
    protocol: str, url: str, path: str, is_archive: bool
) -> None:
    place = place_of(protocol, url, ROOTS)

    assert (place.path, place.is_archive) == (path, is_archive)


@pytest.mark.parametrize(
    ("protocol", "url"),
    [
        ("s3", "s3://photos"),
        ("s3", "s3://photos/petsitter"),
        ("s3", "s3://all"),
        ("gs", "s3://photos/pets"),
        ("gs", "gs://all\n"),
        ("gs", "gs://all/a\x00"),
        ("gs", "gs://all/./a"),
        ("gs", "gs://all/../a"),
        ("gs", "gs://all?versionId=1"),
        ("gs", "gs://all::file://etc"),
        ("gs", "gs:/all"),
    ],
)
def test_what_lies_elsewhere_is_refused(protocol: str, url: str) -> None:
    with pytest.raises(SourceForbiddenError):
        place_of(protocol, url, ROOTS)


@pytest.mark.parametrize(
    "roots", ["file:///photos", "http://photos", "memory://photos", "s3://", "photos", "s3://a*"]
)
def test_only_object_stores_can_be_allowed(monkeypatch: pytest.MonkeyPatch, roots: str) -> None:
    monkeypatch.setenv("TUNESMITH_REMOTE_ROOTS", roots)

    with pytest.raises(SettingsError, match=r"TUNESMITH_REMOTE_ROOTS: .*s3://bucket"):
        load_settings()


def test_roots_and_targets_are_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_REMOTE_ROOTS", "s3://photos/pets/, az://box")
    monkeypatch.setenv("TUNESMITH_PRIVATE_TARGETS", "nas.local 10.0.0.0/8,[::1], fd12::/64")

    settings = load_settings()

    assert settings.remote_roots == ("s3://photos/pets", "az://box")
    assert settings.private_targets == ("nas.local", "10.0.0.0/8", "[::1]", "fd12::/64")


@pytest.mark.parametrize("targets", ["http://nas.local", "nas.local:8080", "10.0.0.0/33", "a/b"])
def test_a_target_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, targets: str) -> None:
    monkeypatch.setenv("TUNESMITH_PRIVATE_TARGETS", targets)

    with pytest.raises(SettingsError, match="TUNESMITH_PRIVATE_TARGETS"):
        load_settings()
