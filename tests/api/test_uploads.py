"""Archives sent to the service: kept once, checked, limited, each owner's own."""

import base64
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from jobs import keys, verbs
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.keys import Scope
from jobs.settings import Settings
from tests.api.given import get, problem
from tests.archives import PETS, a_tar, a_zip, gzipped, of_each_format

BINARY = {"Content-Type": "application/octet-stream"}
PATH = "/v1/uploads"


def send(client: TestClient, body: bytes, **headers: str) -> dict[str, Any]:
    response = client.post(PATH, content=body, headers={**BINARY, **headers})
    assert response.status_code == 201, response.text
    sent: dict[str, Any] = response.json()
    return sent


def digest_of(body: bytes, algorithm: str = "sha-256") -> str:
    value = hashlib.new(algorithm.replace("-", ""), body).digest()
    return f"{algorithm}=:{base64.b64encode(value).decode()}:"


def kept(artifacts: Artifacts) -> list[Path]:
    return sorted(artifacts.uploads_folder().glob("*")) if artifacts.root.exists() else []


def dataset(upload_id: str, **changes: object) -> dict[str, Any]:
    source = {"type": "upload", "upload_id": upload_id}
    return {"name": "pets", "source": source, "labels": {"rule": "parent_folder"}, **changes}


@pytest.fixture
def limited(settings: Settings) -> Iterator[Callable[..., TestClient]]:
    """Makes clients of a service with other limits."""
    opened: list[TestClient] = []

    def make(**limits: int) -> TestClient:
        app = create_app(settings.model_copy(update=limits))
        client = TestClient(app, base_url="http://127.0.0.1")
        opened.append(client.__enter__())
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.mark.parametrize(("kind", "body"), of_each_format().items())
def test_an_archive_of_each_kind_is_known_by_its_bytes(
    client: TestClient, artifacts: Artifacts, kind: str, body: bytes
) -> None:
    upload = send(client, body)

    assert upload["format"] == kind
    assert upload["size_bytes"] == len(body)
    assert upload["digest"] == f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert get(client, upload["links"]["self"]) == upload
    assert artifacts.upload_file(upload["id"]).read_bytes() == body
    assert kept(artifacts) == [artifacts.upload_file(upload["id"])]


def test_the_answer_says_where_the_upload_is_and_until_when(client: TestClient) -> None:
    response = client.post(PATH, content=a_zip(), headers={"Content-Type": "application/zip"})

    assert response.headers["location"] == f"{PATH}/{response.json()['id']}"
    assert response.json()["created_at"][:7] <= response.json()["expires_at"][:7]
    assert response.json()["expires_at"] > response.json()["last_used_at"]


def test_a_form_with_one_file_is_the_same_as_the_file(
    client: TestClient, artifacts: Artifacts
) -> None:
    body = a_zip()

    response = client.post(PATH, files={"file": ("C:\\my\\pets.zip", body)})

    upload = response.json()
    assert response.status_code == 201, response.text
    assert upload["filename"] == "pets.zip"
    assert artifacts.upload_file(upload["id"]).read_bytes() == body


@pytest.mark.parametrize("step", [1, 7, 4096])
def test_a_form_may_arrive_in_pieces_of_any_size(
    client: TestClient, artifacts: Artifacts, step: int
) -> None:
    body = a_zip({"a.jpg": b"\r\n--x\r\n--xyz--" * 50})
    form = form_of(body)

    def pieces() -> Iterator[bytes]:
        for place in range(0, len(form), step):
            yield form[place : place + step]

    headers = {"Content-Type": 'multipart/form-data; boundary="xyz"'}
    response = client.post(PATH, content=pieces(), headers=headers)

    assert response.status_code == 201, response.text
    assert artifacts.upload_file(response.json()["id"]).read_bytes() == body


def form_of(body: bytes, *, head: str = "", times: int = 1) -> bytes:
    part = (
        f'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n{head}\r\n'
    ).encode()
    return (part + body + b"\r\n") * times + b"--xyz--\r\n"


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (form_of(a_zip(), times=2), "two files"),
        (form_of(a_zip())[:-9], "last boundary"),
        (b"--xyz--\r\n", "no file"),
        (
            b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--xyz--',
            "'a' is no file",
        ),
        (b"--abc\r\n", "boundary"),
        (b"--xyz\r\n" + b"A: b\r\n" * 50, "header"),
        (b"--xyz\r\nA: " + b"b" * 100_000, "header"),
    ],
)
def test_a_form_that_is_not_one_file_is_refused(
    client: TestClient, artifacts: Artifacts, form: bytes, said: str
) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=xyz"}
    response = client.post(PATH, content=form, headers=headers)

    assert problem(response, 422, "validation_failed")["detail"].count(said), response.text
    assert kept(artifacts) == []


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
        ({"Content-Type": "application/json"}, 415, "unsupported_media_type"),
        ({"Content-Type": "multipart/form-data"}, 422, "validation_failed"),
        ({"Content-Type": "application/x-tar"}, 422, "archive_invalid"),
        ({"Content-Digest": "md5=:AAAA:"}, 422, "validation_failed"),
        ({"Content-Digest": "sha-256=:AAAA:"}, 422, "validation_failed"),
        ({"Content-Digest": "sha-256=abc"}, 422, "validation_failed"),
        ({"Idempotency-Key": "k"}, 422, "validation_failed"),
    ],
)
def test_what_the_headers_say_wrongly_is_refused_and_nothing_kept(
    client: TestClient, artifacts: Artifacts, sent: dict[str, str], status: int, code: str
) -> None:
    response = client.post(PATH, content=a_zip(), headers={**BINARY, **sent})

    problem(response, status, code)
    assert kept(artifacts) == []


@pytest.mark.parametrize("body", [b"", b"no archive", b"\xff\xd8\xff" * 400, b"Rar!\x1a\x07" * 99])
def test_what_is_no_archive_is_refused_by_its_first_bytes(
    client: TestClient, artifacts: Artifacts, body: bytes
) -> None:
    response = client.post(PATH, content=body, headers=BINARY)

    assert "zip, tar, tar.gz, tar.zst" in problem(response, 422, "archive_invalid")["detail"]
    assert kept(artifacts) == []


@pytest.mark.parametrize("algorithm", ["sha-256", "sha-512"])
def test_a_digest_is_checked_and_both_values_told(
    client: TestClient, artifacts: Artifacts, algorithm: str
) -> None:
    body = a_zip()
    send(client, body, **{"Content-Digest": digest_of(body, algorithm)})

    headers = {**BINARY, "Content-Digest": digest_of(b"other", algorithm)}
    detail = problem(client.post(PATH, content=body, headers=headers), 400, "digest_mismatch")

    assert digest_of(b"other", algorithm) in detail["detail"]
    assert digest_of(body, algorithm) in detail["detail"]
    assert len(kept(artifacts)) == 1


def test_a_form_has_a_digest_of_its_own_and_its_file_another(client: TestClient) -> None:
    body = a_zip()
    form = form_of(body, head=f"Content-Digest: {digest_of(body)}\r\n")
    headers = {"Content-Type": "multipart/form-data; boundary=xyz"}

    right = client.post(PATH, content=form, headers={**headers, "Content-Digest": digest_of(form)})
    of_whole = client.post(
        PATH, content=form, headers={**headers, "Content-Digest": digest_of(body)}
    )
    wrong = form_of(body, head=f"Content-Digest: {digest_of(form)}\r\n")
    of_part = client.post(PATH, content=wrong, headers=headers)

    assert right.status_code == 201, right.text
    problem(of_whole, 400, "digest_mismatch")
    problem(of_part, 400, "digest_mismatch")


def test_equal_bytes_are_stored_once_and_stay_until_nobody_has_them(
    client: TestClient, artifacts: Artifacts
) -> None:
    first, second = send(client, a_zip()), send(client, a_zip())
    files = [artifacts.upload_file(each["id"]) for each in (first, second)]
    assert first["id"] != second["id"]
    assert files[0].samefile(files[1])

    assert client.delete(first["links"]["self"]).status_code == 204

    assert kept(artifacts) == [files[1]]
    assert files[1].read_bytes() == a_zip()
    assert client.delete(second["links"]["self"]).status_code == 204
    assert kept(artifacts) == []
    assert client.get(first["links"]["self"]).status_code == 404


def test_more_than_the_limit_is_refused_whether_it_was_announced_or_not(
    limited: Callable[..., TestClient], artifacts: Artifacts
) -> None:
    client = limited(max_upload_bytes=1000)
    body = a_tar({"a.jpg": bytes(4 << 20)})

    announced = client.post(PATH, content=body, headers=BINARY)
    secretly = client.post(PATH, content=iter([body]), headers=BINARY)
    just = client.post(PATH, content=a_zip(["a.jpg"]), headers=BINARY)

    for response in (announced, secretly):
        assert "TUNESMITH_MAX_UPLOAD_BYTES" in problem(response, 413, "payload_too_large")["detail"]
    assert just.status_code == 201
    assert len(kept(artifacts)) == 1


def test_without_room_on_the_disk_nothing_is_taken_in(
    limited: Callable[..., TestClient], artifacts: Artifacts
) -> None:
    everything = shutil.disk_usage(artifacts.root.parent).total

    response = limited(min_free_bytes=everything).post(PATH, content=a_zip(), headers=BINARY)

    assert str(everything) in problem(response, 507, "disk_full")["detail"]
    assert kept(artifacts) == []


def test_one_key_keeps_one_upload(client: TestClient, artifacts: Artifacts) -> None:
    body = a_zip()
    headers = {"Idempotency-Key": "pets-1", "Content-Digest": digest_of(body)}

    first, second = (
        client.post(PATH, content=body, headers={**BINARY, **headers}) for _ in range(2)
    )
    other = {**BINARY, **headers, "Content-Digest": digest_of(b"x")}

    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert len(kept(artifacts)) == 1
    problem(client.post(PATH, content=b"x", headers=other), 422, "idempotency_key_reused")


def test_the_body_of_an_upload_is_as_long_as_it_is(client: TestClient) -> None:
    """Other requests stop at 32 MiB."""
    upload = send(client, a_tar({"a.jpg": bytes(40 << 20)}))

    assert upload["size_bytes"] > 40 << 20
    too_much = client.post("/v1/datasets", content=bytes(40 << 20), headers=BINARY)
    problem(too_much, 413, "payload_too_large")


def test_uploads_are_listed_newest_first(client: TestClient) -> None:
    sent = [send(client, a_zip([f"{number}.jpg"]))["id"] for number in range(3)]

    page = get(client, f"{PATH}?limit=2")
    rest = get(client, f"{PATH}?limit=2&after={page['next_cursor']}")

    assert [each["id"] for each in page["data"] + rest["data"]] == sent[::-1]


def test_two_owners_may_send_the_same_file_and_never_meet(
    locked: TestClient, database: Database, artifacts: Artifacts
) -> None:
    ana, ben = (
        {"Authorization": f"Bearer {secret}"} for secret in map(_key_of(database), ("ana", "ben"))
    )
    first = locked.post(PATH, content=a_zip(), headers={**BINARY, **ana}).json()
    second = locked.post(PATH, content=a_zip(), headers={**BINARY, **ben}).json()
    of_ana = first["links"]["self"]

    assert [each["id"] for each in locked.get(PATH, headers=ben).json()["data"]] == [second["id"]]
    assert locked.get(of_ana, headers=ben).status_code == 404
    assert locked.delete(of_ana, headers=ben).status_code == 404
    foreign = locked.post("/v1/datasets", json=dataset(first["id"]), headers=ben)
    unknown = locked.post("/v1/datasets", json=dataset("upl_none"), headers=ben)
    assert (
        problem(foreign, 422, "validation_failed")["detail"].replace(first["id"], "upl_none")
        == problem(unknown, 422, "validation_failed")["detail"]
    )
    own = locked.post("/v1/datasets", json=dataset(second["id"]), headers=ben)
    assert own.status_code == 202, own.text


def _key_of(database: Database) -> Callable[[str], str]:
    def make(owner: str) -> str:
        with database.write() as connection:
            scopes = {Scope.DATASETS_WRITE}
            return keys.create(connection, name="k", scopes=scopes, owner=owner).secret

    return make


def test_a_key_that_may_only_read_sends_nothing(locked: TestClient, database: Database) -> None:
    with database.write() as connection:
        secret = keys.create(connection, name="k", scopes={Scope.READ}, owner="ana").secret

    response = locked.post(PATH, content=a_zip(), headers={**BINARY, "X-API-Key": secret})

    problem(response, 403, "forbidden")


def test_an_upload_stays_while_a_dataset_imports_it(client: TestClient, database: Database) -> None:
    upload = send(client, a_zip())
    registered = client.post("/v1/datasets", json=dataset(upload["id"])).json()

    refused = client.delete(upload["links"]["self"])

    assert registered["id"] in problem(refused, 409, "upload_in_use")["detail"]
    verbs.cancel(database, registered["job_id"])
    assert client.delete(upload["links"]["self"]).status_code == 204


def test_what_names_in_an_upload_tell_is_refused_at_once(client: TestClient) -> None:
    upload = send(client, a_zip(["pets/1.jpg", "pets/2.jpg", "readme.txt"]))["id"]
    several = send(client, a_zip())["id"]
    regex = {"rule": "regex", "pattern": "^(x)"}

    def refused(body: dict[str, Any], code: str) -> dict[str, Any]:
        return problem(client.post("/v1/datasets", json=body), 422, code)

    unwrapped = refused(dataset(upload), "labels_unmatched")
    assert "'1.jpg'" in unwrapped["detail"]
    refused(dataset(several, labels=regex), "labels_unmatched")
    refused(dataset(several, split={"rule": "folders"}), "too_few_images")
    empty = send(client, a_zip(["readme.txt"]))["id"]
    assert refused(dataset(empty), "too_few_images")["errors"][0]["pointer"] == "/source/upload_id"


def test_a_broken_archive_is_refused_before_its_import_is_queued(client: TestClient) -> None:
    cut = send(client, a_zip()[:-30])["id"]
    hostile = send(client, gzipped(a_tar(["../../etc/a.jpg"])))["id"]

    for upload_id in (cut, hostile):
        response = client.post("/v1/datasets", json=dataset(upload_id))
        found = problem(response, 422, "archive_invalid")
        assert found["errors"][0]["pointer"] == "/source/upload_id"


def test_an_archive_beyond_the_limits_is_refused_before_its_import_is_queued(
    limited: Callable[..., TestClient],
) -> None:
    client = limited(max_archive_members=len(PETS) - 1)
    upload = send(client, a_zip())["id"]

    response = client.post("/v1/datasets", json=dataset(upload))

    assert "more than 7 members" in problem(response, 422, "archive_too_large")["detail"]


def test_without_room_for_its_photos_a_dataset_is_not_registered(
    limited: Callable[..., TestClient], artifacts: Artifacts, client: TestClient
) -> None:
    upload = send(client, a_zip())["id"]
    everything = shutil.disk_usage(artifacts.root.parent).total

    response = limited(min_free_bytes=everything).post("/v1/datasets", json=dataset(upload))

    problem(response, 507, "disk_full")


def test_an_upload_whose_file_is_gone_is_told_apart(
    client: TestClient, artifacts: Artifacts
) -> None:
    upload = send(client, a_zip())["id"]
    os.unlink(artifacts.upload_file(upload))

    response = client.post("/v1/datasets", json=dataset(upload))

    assert "send it again" in problem(response, 422, "source_unreachable")["detail"]
