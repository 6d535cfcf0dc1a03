"""What an import costs: photos per second, memory with many files, and uploads.

    TUNESMITH_THREADS=1 .venv/bin/python benchmarks/imports.py --photos DIR
    … --out                  also benchmarks/results/imports.json
    … --only photos upload   these parts (`many` takes a quarter of an hour and 3 GB of disk)
    … --short                a try of every part

What is compared runs in turn in one go on one machine, so the ratios say something where the
seconds do not; close other programs all the same. An import decodes every photo to its end,
writes three thumbnails, and takes the SHA-256 and a fingerprint; what it is compared with decodes
the same files by Pillow alone, in one process. The stack ends with this program.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import httpx
from machine import command_line, machine_facts
from PIL import Image
from stack_memory import peak_memory

from cli.stack import Stack
from jobs.sources.paths import IMAGE_SUFFIXES
from jobs.sources.sample import sample_plan
from ml.sample.photos import write_photo
from tunesmith_client import Client, Json

RESULTS = Path(__file__).parent / "results"
_MIB = 1 << 20
_FILES_IN_A_FOLDER = 1000
_SIDE_PX = 48


def main() -> None:
    """The numbers are printed and, if wanted, written."""
    asked = _asked()
    measured: Json = {
        "command": command_line(),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine_facts(),
    }
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder:
        root = Path(folder) / "photos"
        root.mkdir()
        with (
            Stack(
                Path(folder) / "data", port=0, dataset_roots=(root,), report=print, is_private=True
            ) as stack,
            Client(stack.url) as client,
        ):
            stack.wait_until_ready()
            measured["threads"] = stack.settings.compute_threads
            parts = {
                "photos": lambda: _throughput(client, root, asked),
                "upload": lambda: _upload(stack, asked),
                "many": lambda: _memory(client, root, asked),
            }
            for name in asked.only:
                measured[name] = parts[name]()
                print(name, json.dumps(measured[name], indent=1), flush=True)
    if asked.out:
        file = RESULTS / "imports.json"
        file.write_text(json.dumps(measured, indent=1) + "\n")
        print(f"written: {file}")


# --- photos per second ----------------------------------------------------------------------


def _throughput(client: Client, root: Path, asked: argparse.Namespace) -> Json:
    """Photos per second of an import and of Pillow alone, in turn."""
    folder = root / "real"
    photos = _photos(folder, asked)
    pillow, whole = [], []
    for _ in range(asked.times):
        pillow.append(len(photos) / _decoded_s(photos))
        whole.append(len(photos) / _import_s(client, folder))
    ratios = [theirs / ours for theirs, ours in zip(pillow, whole, strict=True)]
    return {
        "photos": len(photos),
        "megapixels_each": round(median(_megapixels(photo) for photo in photos), 3),
        "pillow_photos_per_s": _spread(pillow),
        "import_photos_per_s": _spread(whole),
        "import_takes_times_as_long": _spread(ratios),
    }


def _photos(folder: Path, asked: argparse.Namespace) -> list[Path]:
    """Photos of the client's, as often as it takes to have enough, or drawn ones."""
    folder.mkdir()
    if asked.photos is None:
        for photo in sample_plan(photos_per_class=asked.count // 6 + 1, seed=1)[: asked.count]:
            write_photo(folder / photo.name, drawn_class=photo.drawn_class, seed=photo.seed)
    else:
        given = sorted(f for f in asked.photos.rglob("*") if f.suffix.lower() in IMAGE_SUFFIXES)
        for number in range(asked.count):
            source = given[number % len(given)]
            name = f"class{number % 2}_{number}{source.suffix}"
            shutil.copyfile(source, folder / name)
    return sorted(folder.iterdir())


def _decoded_s(photos: list[Path]) -> float:
    began_s = time.perf_counter()
    for photo in photos:
        with Image.open(photo) as image:
            image.convert("RGB").load()
    return time.perf_counter() - began_s


def _megapixels(photo: Path) -> float:
    with Image.open(photo) as image:
        return image.width * image.height / 1e6


def _import_s(client: Client, folder: Path) -> float:
    """Seconds from the import's first moment to its last, the decoders' start among them."""
    job = _imported(client, folder)
    began, ended = (datetime.fromisoformat(job[name]) for name in ("started_at", "finished_at"))
    return (ended - began).total_seconds()


def _imported(client: Client, folder: Path) -> Json:
    body = {
        "name": "benchmark",
        "source": {"type": "path", "path": str(folder)},
        "labels": {"rule": "regex", "pattern": r"^(.+)_\d+\.\w+$"},
    }
    created = client.post("/v1/datasets", body)
    for _ in client.jobs.events(created["job_id"]):
        pass
    job = client.get(f"/v1/jobs/{created['job_id']}")
    if job["state"] != "succeeded":
        raise SystemExit(f"the import failed: {job['error']}")
    return job


# --- memory with many files -----------------------------------------------------------------


def _memory(client: Client, root: Path, asked: argparse.Namespace) -> Json:
    """Peak MiB of the processes of an import, with few small files and with many."""
    found: Json = {"files": [], "seconds": [], "peak_mib": []}
    for count in (asked.many // 10, asked.many):
        folder = root / f"small-{count}"
        _small_files(folder, count)
        began_s = time.perf_counter()
        with peak_memory() as mib:
            _imported(client, folder)
        found["files"].append(count)
        found["seconds"].append(round(time.perf_counter() - began_s, 1))
        found["peak_mib"].append({role: round(peak) for role, peak in sorted(mib.items())})
    few, many = (peak["trainer"] for peak in found["peak_mib"])
    found["kib_for_each_further_file"] = round(
        1024 * (many - few) / (found["files"][1] - found["files"][0]), 2
    )
    return found


def _small_files(folder: Path, count: int) -> None:
    """JPEG files that differ, some kilobyte each, a thousand in a folder."""
    for number in range(count):
        inside = folder / f"{number // _FILES_IN_A_FOLDER}"
        inside.mkdir(parents=True, exist_ok=True)
        noise = os.urandom(_SIDE_PX * _SIDE_PX * 3)
        image = Image.frombytes("RGB", (_SIDE_PX, _SIDE_PX), noise)
        image.save(inside / f"class{number % 2}_{number}.jpg", quality=30)


# --- uploads --------------------------------------------------------------------------------


def _upload(stack: Stack, asked: argparse.Namespace) -> Json:
    """Seconds of an upload, and of writing the same bytes to the same disk, in turn."""
    archive = stack.settings.artifacts.parent / "benchmark.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("class_1.jpg", os.urandom(asked.upload_mib * _MIB))
    written, sent = [], []
    for _ in range(asked.times):
        written.append(asked.upload_mib / _written_s(archive))
        sent.append(asked.upload_mib / _sent_s(stack.url, archive))
    ratios = [disk / ours for disk, ours in zip(written, sent, strict=True)]
    return {
        "mib": asked.upload_mib,
        "disk_mib_per_s": _spread(written),
        "upload_mib_per_s": _spread(sent),
        "upload_takes_times_as_long": _spread(ratios),
    }


def _written_s(archive: Path) -> float:
    """Seconds to write the file's bytes, which are in memory, until they are on the disk."""
    copy, content = archive.with_suffix(".copy"), archive.read_bytes()
    began_s = time.perf_counter()
    with copy.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    took_s = time.perf_counter() - began_s
    copy.unlink()
    return took_s


def _sent_s(url: str, archive: Path) -> float:
    with httpx.Client(base_url=url, timeout=600) as http:
        began_s = time.perf_counter()
        answer = http.post(
            "/v1/uploads", content=_pieces(archive), headers={"Content-Type": "application/zip"}
        )
        took_s = time.perf_counter() - began_s
        answer.raise_for_status()
        # equal bytes are stored once: the next one is to be written again
        http.delete(f"/v1/uploads/{answer.json()['id']}").raise_for_status()
    return took_s


def _pieces(archive: Path) -> Iterator[bytes]:
    with archive.open("rb") as file:
        while piece := file.read(_MIB):
            yield piece


# --- numbers --------------------------------------------------------------------------------


def _spread(values: list[float]) -> Json:
    return {
        "median": round(median(values), 2),
        "least": round(min(values), 2),
        "most": round(max(values), 2),
    }


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = ("photos", "upload", "many")
    parser.add_argument("--photos", type=Path, help="folder of photos; else they are drawn")
    parser.add_argument("--out", action="store_true", help=f"write JSON to {RESULTS.name}/, too")
    parser.add_argument("--short", action="store_true", help="small numbers, to try it out")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="these parts")
    asked = parser.parse_args()
    for name, (usual, short) in _NUMBERS.items():
        setattr(asked, name, short if asked.short else usual)
    return asked


_NUMBERS = {"times": (3, 3), "count": (600, 120), "many": (100_000, 1000), "upload_mib": (512, 32)}
"""The usual and the short number of each."""


if __name__ == "__main__":
    main()
