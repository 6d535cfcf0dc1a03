"""What jobs leave: curves, the loss ledger, confusions, plots."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from tunesmith_client.downloads import Advance, Source, download
from tunesmith_client.pages import entries
from tunesmith_client.resources import Json, Page
from tunesmith_client.result_resources import LossCurve, LrCurve, PredictionRow, Sample, SamplePage
from tunesmith_client.transport import Transport, json_of, read

LedgerFormat = Literal["csv", "ndjson", "parquet"]

_MEDIA_TYPES: Mapping[LedgerFormat, str] = {
    "csv": "text/csv",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}


class Results:
    """``client.results``; all methods raise ConflictError while a job has no such result yet."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    def lr_curve(self, job_id: str) -> LrCurve:
        """The sweep of a learning-rate find, with every rule's rate and the recommendation."""
        return read(LrCurve, self._http.get(f"/v1/jobs/{job_id}/lr-curve"))

    def loss_curve(self, job_id: str, *, max_points: int | None = None) -> LossCurve:
        """Losses and rates per step, losses and metrics per epoch; of a running job, too."""
        query = {"max_points": max_points}
        return read(LossCurve, self._http.get(f"/v1/jobs/{job_id}/loss-curve", query))

    def samples(
        self,
        job_id: str,
        *,
        limit: int | None = None,
        **query: Any,  # noqa: ANN401 - query values
    ) -> Iterator[Sample]:
        """The photos of a loss ledger, worst first; pages are fetched as they are needed.

        Args:
            job_id: a fine-tune or an evaluation.
            limit: at most so many; absent: all.
            query: sort, split, expand, and filters such as label, predicted, correct, min_loss.
        """
        path = f"/v1/jobs/{job_id}/samples"
        return entries(self._http, path, SamplePage, query, limit=limit)

    def sample_page(self, job_id: str, **query: Any) -> SamplePage:  # noqa: ANN401 - query values
        """One page of the ledger, with what all rows that match come to."""
        return read(SamplePage, self._http.get(f"/v1/jobs/{job_id}/samples", query))

    def samples_file(
        self,
        job_id: str,
        to: Path | str,
        *,
        file_format: LedgerFormat = "csv",
        **query: Any,  # noqa: ANN401 - query values
    ) -> Path:
        """All rows that match as a file: CSV, JSON lines or Parquet."""
        headers = {"Accept": _MEDIA_TYPES[file_format]}
        source = Source(path=f"/v1/jobs/{job_id}/samples", query=query, headers=headers)
        return download(self._http, source, Path(to))

    def summary(self, job_id: str, **query: Any) -> Json:  # noqa: ANN401 - query values
        """Mean, quantiles and accuracy of the ledger, and how much of the loss few photos have."""
        return json_of(self._http.get(f"/v1/jobs/{job_id}/samples/summary", query))

    def confusion(self, job_id: str, *, split: str | None = None) -> Json:
        """The confusion matrix and the most confused pairs."""
        return json_of(self._http.get(f"/v1/jobs/{job_id}/confusion", {"split": split}))

    def classes(self, job_id: str, *, split: str | None = None) -> Json:
        """Precision, recall, F1 and mean loss of each class."""
        return json_of(self._http.get(f"/v1/jobs/{job_id}/classes", {"split": split}))

    def predictions(
        self,
        job_id: str,
        *,
        limit: int | None = None,
        **query: Any,  # noqa: ANN401 - query values
    ) -> Iterator[PredictionRow]:
        """What a prediction job says of each photo, the least sure first."""
        path = f"/v1/jobs/{job_id}/predictions"
        return entries(self._http, path, Page[PredictionRow], query, limit=limit)

    def plots(self, job_id: str) -> list[str]:
        """The names of the plots that a job of this type has."""
        found = json_of(self._http.get(f"/v1/jobs/{job_id}/plots"))
        return [entry["name"] for entry in found["data"]]

    def plot(
        self,
        job_id: str,
        name: str,
        to: Path | str,
        *,
        file_format: Literal["svg", "png", "json"] = "svg",
        split: str | None = None,
    ) -> Path:
        """A plot as a file; json is a Vega-Lite specification. One that is yet to be drawn is."""
        path = f"/v1/jobs/{job_id}/plots/{name}.{file_format}"
        source = Source(path=path, query={"split": split}, headers={})
        return download(self._http, source, Path(to))

    def script(self, job_id: str, to: Path | str, *, advance: Advance | None = None) -> Path:
        """The Python script that repeats the job's evaluation without the service."""
        source = Source(path=f"/v1/jobs/{job_id}/reproduce", query={"format": "script"}, headers={})
        return download(self._http, source, Path(to), advance=advance)
