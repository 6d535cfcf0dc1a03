"""Where a dataset's photos come from, as `Datasets.register` takes it."""

from urllib.parse import urlsplit

from tunesmith_client.resources import Json, Upload


def folder(path: str) -> Json:
    """A folder of the *server's*, which its operator has allowed."""
    return {"type": "path", "path": path}


def drawn(*, photos_per_class: int = 60, seed: int = 1) -> Json:
    """Photos that the service draws itself."""
    return {"type": "sample", "photos_per_class": photos_per_class, "seed": seed}


def uploaded(upload: Upload | str) -> Json:
    """An archive that was sent before, or its id."""
    return {"type": "upload", "upload_id": upload if isinstance(upload, str) else upload.id}


def web_archive(url: str, *, sha256: str | None = None) -> Json:
    """An archive on a web server, which must have this SHA-256 where one is given."""
    return {"type": "url", "url": url} | ({} if sha256 is None else {"sha256": sha256})


def store(url: str) -> Json:
    """An archive, or photos below a prefix, in an object store: ``s3://…``, ``gs://…``, ``az://…``."""
    return {"type": urlsplit(url).scheme, "url": url}
