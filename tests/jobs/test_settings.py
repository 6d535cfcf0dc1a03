import os
from pathlib import Path

import pytest

from jobs.client_key import client_key
from jobs.settings import SettingsError, child_environment, load_settings


def test_without_a_variable_everything_has_a_value() -> None:
    settings = load_settings()

    assert settings.database_url.startswith("sqlite:////")
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert (settings.lease_s, settings.renew_s, settings.sweep_s) == (30.0, 10.0, 5.0)
    assert settings.dataset_roots == ()
    assert settings.compute_threads >= 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("PORT", "many"),
        ("LEASE_S", "0"),
        ("DEVICE", "gpu"),
        ("DEVICE", "cuda:x"),
        ("LOG_LEVEL", "loud"),
        ("MAX_LOST", "0"),
        ("HOST", "example.org"),
        ("MAX_PIXELS", "5"),
    ],
)
def test_a_wrong_value_is_named_with_its_variable(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"TUNESMITH_{name}", value)

    with pytest.raises(SettingsError, match=rf"^TUNESMITH_{name}: .*\(got '{value}'\)$"):
        load_settings()


def test_every_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_PORT", "-1")
    monkeypatch.setenv("TUNESMITH_THREADS", "-1")

    with pytest.raises(SettingsError, match=r"TUNESMITH_THREADS.*; TUNESMITH_PORT"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://ana:secret@db/tunesmith"),
        ("DATABASE_URL", "tunesmith.db"),
        ("DATABASE_URL", "postgresql+asyncpg://ana:secret@db/tunesmith"),
        ("DATABASE_URL", "postgresql://ana:x@y:secret/z@db/tunesmith"),
        ("REDIS_URL", "http://:secret@redis"),
        ("ARTIFACT_STORE", "s3://ana:secret@bucket"),
        ("ARTIFACT_STORE", "file:///srv/secret"),
        ("ARTIFACT_ENDPOINT", "http://ana:secret@minio:9000"),
        ("ARTIFACT_ENDPOINT", "minio:9000/secret"),
    ],
)
def test_a_wrong_address_is_named_without_its_password(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"TUNESMITH_{name}", value)

    with pytest.raises(SettingsError, match=f"^TUNESMITH_{name}: ") as caught:
        load_settings()

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_common_address_of_postgresql_names_one_driver(scheme: str) -> None:
    settings = load_settings(
        database_url=f"{scheme}://ana:p%40ss@db:5432/tunesmith?sslmode=require"
    )

    assert settings.database_url == (
        "postgresql+psycopg://ana:p%40ss@db:5432/tunesmith?sslmode=require"
    )


def test_roots_are_separated_by_colons_and_real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    monkeypatch.setenv("TUNESMITH_DATASET_ROOTS", f"{tmp_path}/link::{tmp_path}/more")

    assert load_settings().dataset_roots == (tmp_path / "photos", tmp_path / "more")


def test_a_root_in_the_home_of_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_DATASET_ROOTS", "~no-such-user/photos")

    with pytest.raises(SettingsError, match=r"^TUNESMITH_DATASET_ROOTS"):
        load_settings()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_the_service_binds_a_loopback_address(host: str) -> None:
    assert load_settings(host=host).host == host


def test_requests_need_keys_on_every_bind_but_a_loopback_one() -> None:
    assert not load_settings().needs_keys
    assert load_settings(auth="keys").needs_keys
    assert load_settings(host="192.168.1.7").needs_keys


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "8.8.8.8"])  # noqa: S104 - refused
def test_keys_are_off_on_a_loopback_address_only(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_AUTH", "off")

    assert not load_settings(host="::1").needs_keys
    with pytest.raises(SettingsError, match=r"^TUNESMITH_AUTH: .*is not a loopback address"):
        load_settings(host=host)


def test_the_names_of_the_host_are_the_bind_address_and_those_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TUNESMITH_ALLOWED_HOSTS", "Photos.example.org, box:[fd00::1]")

    allowed = ("photos.example.org", "box", "fd00::1")
    assert load_settings().allowed_hosts == allowed
    assert load_settings(host="192.168.1.7").host_names == {"192.168.1.7", *allowed}
    assert load_settings(host="0.0.0.0").host_names == set(allowed)  # noqa: S104 - every address
    assert load_settings(host="::").host_names == set(allowed)


@pytest.mark.parametrize("names", ["*", "a.example,*.b.example", "http//x", "[fd00::x]"])
def test_only_whole_host_names_are_allowed(names: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_ALLOWED_HOSTS", names)

    with pytest.raises(SettingsError, match=r"^TUNESMITH_ALLOWED_HOSTS: "):
        load_settings()


def test_children_get_the_same_settings_and_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_API_KEY", "tsk_secret")
    monkeypatch.setenv("TUNESMITH_ADMIN_KEY_FILE", str(tmp_path / "other"))
    settings = load_settings(
        allowed_hosts=("box", "fd00::1"), dataset_roots=(tmp_path,), admin_key_file=None
    )

    environment = child_environment(settings)

    assert client_key() == "tsk_secret"
    assert "tsk_secret" not in environment.values()
    monkeypatch.delenv("TUNESMITH_ADMIN_KEY_FILE")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


def test_a_lease_is_longer_than_the_time_between_renewals() -> None:
    assert load_settings(lease_s=2, renew_s=1).renew_s == 1

    with pytest.raises(SettingsError, match=r"TUNESMITH_RENEW_S: .*below TUNESMITH_LEASE_S"):
        load_settings(lease_s=2, renew_s=2)


def test_what_is_handed_over_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_PORT", "8001")

    assert load_settings().port == 8001
    assert load_settings(port=8002).port == 8002


def test_the_artifact_folder_is_absolute() -> None:
    assert load_settings(artifacts=Path("somewhere")).artifacts.is_absolute()


def test_settings_name_the_threads_that_are_used() -> None:
    assert load_settings(threads=3).compute_threads == 3


@pytest.mark.parametrize(
    ("quota", "threads"),
    [("max 100000\n", 4), ("250000 100000\n", 2), ("50000 100000\n", 1), ("900000 100000\n", 4)],
)
def test_a_job_computes_on_the_cores_that_it_may_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, threads: int
) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    monkeypatch.setattr("jobs.device_settings._QUOTA", file)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 5})
    monkeypatch.delenv("TUNESMITH_THREADS", raising=False)

    assert load_settings().compute_threads == threads

    file.unlink()
    assert load_settings().compute_threads == 4


def test_an_object_store_is_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_ARTIFACTS", "s3://models/tunesmith")

    with pytest.raises(SettingsError, match=r"^TUNESMITH_ARTIFACTS: .*TUNESMITH_ARTIFACT_STORE"):
        load_settings()


def test_an_endpoint_is_for_s3_alone() -> None:
    with pytest.raises(SettingsError, match=r"^TUNESMITH_ARTIFACT_ENDPOINT: .*is for S3"):
        load_settings(artifact_store="gs://models", artifact_endpoint="http://minio:9000")


def test_an_object_store_that_is_named_by_nothing_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_ARTIFACT_STORE", "")
    monkeypatch.setenv("TUNESMITH_ARTIFACT_ENDPOINT", "")
    none = load_settings()
    monkeypatch.setenv("TUNESMITH_ARTIFACT_STORE", "s3://models/tunesmith/")

    assert none.artifact_store is none.artifact_endpoint is None
    assert load_settings().artifact_store == "s3://models/tunesmith"
