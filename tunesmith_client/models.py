"""Models: list, read, ask about photos, download."""

import mimetypes
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from tunesmith_client.downloads import Advance, Source, download
from tunesmith_client.pages import entries
from tunesmith_client.resources import Model, Page, Resource
from tunesmith_client.result_resources import Prediction
from tunesmith_client.transport import Transport, read

MOST_PHOTOS, MOST_BYTES = 32, 31 << 20
"""Of one request; its body may have 32 MiB with what separates the photos."""

Photo = tuple[str, tuple[str, bytes, str]]


class Predicted(Resource):
    """The answer to some photos."""

    classes: list[str]
    images: list[Prediction]


class Models:
    """``client.models``; an alias stands wherever an id does."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    def get(self, model_id: str) -> Model:
        """One model, by its id or an alias.

        Raises:
            NotFoundError: there is none.
        """
        return read(Model, self._http.get(f"/v1/models/{model_id}"))

    def list(self, *, limit: int | None = None, **filters: str | None) -> Iterator[Model]:
        """Models, newest first; filters are dataset_id, name and alias."""
        return entries(self._http, "/v1/models", Page[Model], filters, limit=limit)

    def predict(
        self, model_id: str, photos: Sequence[Path | str], *, top_k: int = 5
    ) -> Iterator[Prediction]:
        """What the model says of each photo, in their order; a few go in one request.

        Args:
            model_id: id or alias.
            photos: files on this machine, of 31 MiB at most.
            top_k: classes in ``top``, at most.

        Raises:
            OSError: a file cannot be read.
            ServiceError: no worker of the queue ``predict`` is there.
        """
        for batch in _batches([Path(photo) for photo in photos]):
            yield from self._predicted(model_id, batch, top_k).images

    def download(
        self,
        model_id: str,
        to: Path | str,
        *,
        file_format: Literal["safetensors", "onnx"] = "safetensors",
        advance: Advance | None = None,
    ) -> Path:
        """The model as a file, with the service's digest; see `tunesmith_client.downloads`."""
        path = f"/v1/models/{model_id}/download"
        source = Source(path=path, query={"format": file_format}, headers={})
        return download(self._http, source, Path(to), advance=advance)

    def _predicted(self, model_id: str, batch: Sequence[Photo], top_k: int) -> Predicted:
        def send() -> Predicted:
            path, query = f"/v1/models/{model_id}/predict", {"top_k": top_k}
            with self._http.streamed("POST", path, query=query, files=batch) as response:
                response.read()
                return read(Predicted, response)

        return self._http.repeated(send)


def _batches(photos: Sequence[Path]) -> Iterator[list[Photo]]:
    batch: list[Photo] = []
    for photo in photos:
        content = photo.read_bytes()
        if batch and (len(batch) == MOST_PHOTOS or _size(batch) + len(content) > MOST_BYTES):
            yield batch
            batch = []
        kind = mimetypes.guess_type(photo.name)[0] or "application/octet-stream"
        batch.append(("images", (photo.name, content, kind)))
    if batch:
        yield batch


def _size(batch: Sequence[Photo]) -> int:
    return sum(len(content) for _, (_, content, _) in batch)
