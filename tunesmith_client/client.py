"""One service, and all that can be asked of it."""

from collections.abc import Mapping
from typing import Any, Self

from tunesmith_client.datasets import Datasets
from tunesmith_client.jobs import Jobs
from tunesmith_client.models import Models
from tunesmith_client.resources import Json
from tunesmith_client.results import Results
from tunesmith_client.transport import Retries, Transport, json_of
from tunesmith_client.uploads import Uploads


class Client:
    """A service by its address, with an API key where it asks for one.

    Requests that find no service, or one that is busy, are sent again after pauses; POSTs carry an
    ``Idempotency-Key``, so nothing is done twice. Not for several threads at once.

    Attributes:
        datasets: register, list, read, wait.
        uploads: archives of photos.
        jobs: submit, list, read, act on, watch, wait.
        results: curves, loss ledgers, plots.
        models: list, read, ask about photos, download.
    """

    def __init__(
        self, base_url: str, *, key: str | None = None, retries: Retries | None = None
    ) -> None:
        self._http = Transport(base_url, key=key, retries=retries or Retries())
        self.jobs = Jobs(self._http)
        self.datasets = Datasets(self._http, self.jobs)
        self.uploads = Uploads(self._http)
        self.results = Results(self._http)
        self.models = Models(self._http)

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Its connections are closed."""
        self.close()

    def close(self) -> None:
        """Its connections are closed."""
        self._http.close()

    def get(self, path: str, **query: Any) -> Json:  # noqa: ANN401 - query values
        """What any path answers as JSON, for all that has no method here.

        Raises:
            ProblemError: the service refused it.
            UnreachableError: no answer came.
        """
        return json_of(self._http.get(path, query))

    def post(
        self, path: str, body: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Json:
        """What any path answers to this body, as JSON.

        Raises:
            ProblemError: the service refused it.
            UnreachableError: no answer came.
        """
        return json_of(self._http.post(path, body, idempotency_key=idempotency_key))

    def download(self, path: str) -> bytes:
        """The bytes that any path answers.

        Raises:
            ProblemError: the service refused it.
            UnreachableError: no answer came.
        """
        return self._http.get(path).content
