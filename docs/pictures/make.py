"""Makes the pictures of techniques.md anew, by the requests that the page itself shows.

    make pictures

A stack of its own draws the sample photos, finds a rate and trains, as the page says; what a
command of the page keeps with ``-o`` is written beside this file. Two pictures show answers that
are no plots of the service: they are drawn in `drawn`. Where an answer on the page is not what
the service says, the difference is printed. Ten minutes at most on two cores; the pretrained
weights (14 MB) are downloaded unless ``TORCH_HOME`` has them.
"""

import base64
import io
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from rich.console import Console

from cli.stack import Stack
from docs.pictures import drawn
from tests import pages
from tests.pages import DOCS, Command
from tunesmith_client import Client, Json

FOLDER = Path(__file__).parent
PAGE = DOCS / "techniques.md"

_VARIABLE_OF = {"/v1/datasets": "DS", "/v1/lr-finds": "FIND", "/v1/fine-tunes": "JOB"}
_PHOTO = re.compile("data:image/jpeg;base64,([A-Za-z0-9+/=]+)")
_JPEG_QUALITY = 70
_LONGEST_WAIT_S = 90.0


class Reader:
    """Someone who types the page's commands one after the other."""

    def __init__(self, url: str, say: Callable[[str], None]) -> None:
        self._service = Client(url)
        self._http = httpx.Client(base_url=url, timeout=_LONGEST_WAIT_S)
        self._say = say
        self.names: dict[str, str] = {}

    def run(self, command: Command) -> None:
        """The command is answered; what it began has ended and what it keeps is in its file.

        Raises:
            RuntimeError: the service refused it, or a job did not succeed.
        """
        variable = _VARIABLE_OF.get(command.path)
        if variable in self.names:
            return
        self._say(str(command))
        response = self._answer(command.filled(self.names))
        if command.output is not None:
            (FOLDER / command.output).write_bytes(lighter(response.content))
            return
        answer = response.json()
        for difference in pages.differences(command.answer or pages.LEFT_OUT, answer):
            self._say(f"  the page is wrong: {difference}")
        if variable is not None:
            self.names[variable] = answer["id"]
            self._follow(answer.get("job_id") or answer["id"])

    def draw_the_others(self) -> None:
        """The pictures that are not plots of the service are in their files."""
        dataset = self.names["DS"]
        photos = [
            {**item, "photo": self._service.download(item["image"])}
            for item in drawn.chosen(self._items(dataset))
        ]
        _write("labels.svg", drawn.labels(photos))
        path = "/v1/explain/cross-entropy"
        (asked,) = (each.body or "" for each in pages.commands(PAGE) if each.path == path)
        answers = [self._service.post(path, body) for body in (json.loads(asked), drawn.ANY_LOSS)]
        _write("cross-entropy.svg", drawn.cross_entropy(*(each["samples"] for each in answers)))

    def _answer(self, command: Command) -> httpx.Response:
        response = self._http.request(
            command.method, command.path, headers=command.headers, content=command.body
        )
        if response.status_code == httpx.codes.ACCEPTED and command.output is not None:
            return self._answer(command)
        if not response.is_success:
            raise RuntimeError(f"{command}: {response.text}")
        return response

    def _follow(self, job_id: str) -> None:
        for _ in self._service.jobs.events(job_id):
            pass
        job = self._service.get(f"/v1/jobs/{job_id}")
        if job["state"] != "succeeded":
            raise RuntimeError(f"{job['type']} is {job['state']}: {job['error']}")

    def _items(self, dataset_id: str) -> list[Json]:
        path = f"/v1/datasets/{dataset_id}/items"
        page = self._service.get(path, limit=200)
        found: list[Json] = page["data"]
        while page["has_more"]:
            page = self._service.get(path, limit=200, after=page["next_cursor"])
            found += page["data"]
        return found


def lighter(picture: bytes) -> bytes:
    """The SVG with the photos in it as JPEGs of fewer bytes, enough for a page."""

    def smaller(match: re.Match[str]) -> str:
        kept = io.BytesIO()
        with Image.open(io.BytesIO(base64.b64decode(match[1]))) as photo:
            photo.save(kept, "JPEG", quality=_JPEG_QUALITY, optimize=True)
        return f"data:image/jpeg;base64,{base64.b64encode(kept.getvalue()).decode()}"

    return _PHOTO.sub(smaller, picture.decode()).encode()


def _write(name: str, formats: dict[str, bytes]) -> None:
    (FOLDER / name).write_bytes(lighter(formats["svg"]))


def make(say: Callable[[str], None]) -> None:
    """Every picture of the page is made anew, and nothing is left running."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-pictures-") as folder:
        private: dict[str, Any] = {"port": 0, "dataset_roots": (), "is_private": True}
        with Stack(Path(folder), report=say, **private) as stack:
            stack.wait_until_ready()
            reader = Reader(stack.url, say)
            for command in pages.commands(PAGE):
                reader.run(command)
            reader.draw_the_others()


if __name__ == "__main__":
    make(Console().print)
