"""Decoders as processes of their own: photos that ruin them, and the photos around those."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.settings import load_settings
from ml.errors import StoppedError
from tests.ml.difficult_photos import encoded, jpeg_of_many_scans, tiff_of_huge_tile
from tests.worker import poisoned_decoder
from worker import decoder_pool
from worker.decoder import DecodingLimits, PhotoFacts, PhotoOrder
from worker.decoder_pool import DecoderPool, UnusablePhotoError

LIMITS = DecodingLimits(max_pixels=20_000_000, max_bytes=10_000_000, cpu_s=2)
SEGFAULT = "it ruins the decoder, which was ended by SIGSEGV"
ENDLESS = "decoding it takes more than 2 s of computing"


def _photo(folder: Path, name: str) -> PhotoOrder:
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (40, 30), (200, 60, 50)).save(folder / name, "JPEG")
    return _order(folder / name)


def _order(path: Path) -> PhotoOrder:
    thumbnails = path.parent.parent / "thumbnails"
    thumbnails.mkdir(exist_ok=True)
    return PhotoOrder(
        path=path, roots=(path.parent,), thumbnails=thumbnails, item_id=f"itm_{path.name}"
    )


def _told(pool: DecoderPool, order: PhotoOrder) -> PhotoFacts | str:
    try:
        return pool.facts(order)
    except UnusablePhotoError as problem:
        return str(problem)


@pytest.fixture
def poisonable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoders that are started from now on may be poisoned."""
    monkeypatch.setattr(decoder_pool, "_PROGRAM", poisoned_decoder.PROGRAM)


def test_a_photo_is_decoded_and_its_thumbnails_are_there(tmp_path: Path) -> None:
    order = _photo(tmp_path / "photos", "red.jpg")

    with DecoderPool(LIMITS) as pool:
        facts = pool.facts(order)

    assert (facts.info.width, facts.info.height, facts.info.format) == (40, 30, "JPEG")
    assert facts.size_bytes == order.path.stat().st_size
    assert len(list(order.thumbnails.iterdir())) == 3


@pytest.mark.usefixtures("poisonable")
def test_a_photo_that_ruins_its_decoder_is_named_and_the_others_are_decoded(
    tmp_path: Path,
) -> None:
    names = ("a", "segfault", "b", "loop", "c", "hoard", "d", "killed_once", "e")
    orders = [_photo(tmp_path / "photos", f"{name}.jpg") for name in names]

    with DecoderPool(LIMITS) as pool, ThreadPoolExecutor(2) as threads:
        told = dict(zip(names, threads.map(lambda order: _told(pool, order), orders), strict=True))

    assert (told["segfault"], told["loop"]) == (SEGFAULT, ENDLESS)
    assert told["hoard"] == f"decoding it takes more than {LIMITS.memory_bytes:,} bytes of memory"
    # a decoder that the system killed, for want of memory perhaps, is no fault of the photo
    assert all(isinstance(told[name], PhotoFacts) for name in ("a", "b", "c", "d", "e"))
    assert isinstance(told["killed_once"], PhotoFacts)


def test_a_decoder_that_is_killed_before_it_has_begun_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = _photo(tmp_path / "photos", "red.jpg")
    killed = "import os; os.kill(os.getpid(), 9)"

    with DecoderPool(LIMITS) as pool:
        with monkeypatch.context() as patch:
            patch.setattr(decoder_pool, "_PROGRAM", killed)
            dead = decoder_pool._Decoder(LIMITS)
            dead._process.wait()
        pool._idle.put(dead)

        facts = pool.facts(photo)

    assert facts.info.format == "JPEG"


@pytest.mark.usefixtures("poisonable")
def test_a_fault_of_our_own_is_not_laid_upon_the_photo(tmp_path: Path) -> None:
    with (
        DecoderPool(LIMITS) as pool,
        pytest.raises(RuntimeError, match="a decoder ended with exit code 1"),
    ):
        pool.facts(_photo(tmp_path / "photos", "bug.jpg"))


def test_a_jpeg_that_takes_minutes_is_given_up_after_its_seconds(tmp_path: Path) -> None:
    """78 kB: 3000 passes over 4000 x 4000 pixels."""
    order = _photo(tmp_path / "photos", "scans.jpg")
    order.path.write_bytes(jpeg_of_many_scans(4000, scans=3000))

    with DecoderPool(LIMITS) as pool:
        assert _told(pool, order) == ENDLESS
        assert isinstance(pool.facts(_photo(tmp_path / "photos", "red.jpg")), PhotoFacts)


def test_who_waits_for_a_decoder_may_end_it_in_the_middle_of_its_photo(tmp_path: Path) -> None:
    order = _photo(tmp_path / "photos", "scans.jpg")
    order.path.write_bytes(jpeg_of_many_scans(4000, scans=3000))

    def stop() -> None:
        raise StoppedError("importing", "abandon")

    with DecoderPool(replace(LIMITS, cpu_s=3600), go_on=stop) as pool:
        with pytest.raises(StoppedError):
            pool.facts(order)
        assert _children() == set()


def _children() -> set[int]:
    """Our processes that decode."""
    return {
        int(child)
        for thread in Path("/proc/self/task").iterdir()
        for child in (thread / "children").read_text().split()
        if b"worker.decoder" in Path(f"/proc/{child}/cmdline").read_bytes()
    }


def test_a_photo_whose_decoding_asks_for_gigabytes_gets_none(tmp_path: Path) -> None:
    """A tile of 60000 x 60000 for a photo of 8 x 8."""
    order = _photo(tmp_path / "photos", "tile.tif")
    order.path.write_bytes(tiff_of_huge_tile(60_000))

    with DecoderPool(LIMITS) as pool:
        assert _told(pool, order) == "decoding it takes more memory than there is"


def test_the_largest_photo_that_is_allowed_fits_into_the_memory_that_is_allowed(
    tmp_path: Path,
) -> None:
    """In the mode that takes most: transparent, on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(Image.new("RGBA", (5000, 4000)), "PNG", exif=exif, compress_level=1)
    order = _photo(tmp_path / "photos", "large.png")
    order.path.write_bytes(content)

    with DecoderPool(LIMITS) as pool:
        facts = pool.facts(order)

    assert (facts.info.width, facts.info.height) == (4000, 5000)


def test_a_file_of_too_many_bytes_is_not_read(tmp_path: Path) -> None:
    order = _photo(tmp_path / "photos", "red.jpg")
    os.truncate(order.path, LIMITS.max_bytes + 1)

    with DecoderPool(LIMITS) as pool:
        assert _told(pool, order) == "10,000,001 bytes exceed the limit of 10,000,000 bytes"


def test_a_full_disk_is_no_fault_of_the_photo(tmp_path: Path) -> None:
    order = _photo(tmp_path / "photos", "red.jpg")
    order.thumbnails.rmdir()

    with DecoderPool(LIMITS) as pool, pytest.raises(FileNotFoundError):
        pool.facts(order)


def test_a_decoder_ends_with_whoever_started_it(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from tests.worker.test_decoders import LIMITS\n"
        "from worker.decoder_pool import _Decoder\n"
        "decoder = _Decoder(LIMITS)\n"
        "print(decoder._process.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert b"worker.decoder" in _command_line(pid)
        owner.kill()
    while not _is_gone(pid):
        threading.Event().wait(0.02)


def _command_line(pid: int) -> bytes:
    """Of a process that has begun, or is about to: the kernel tells it a moment later."""
    while not (command := Path(f"/proc/{pid}/cmdline").read_bytes()):
        threading.Event().wait(0.02)
    return command


def _is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return state.rsplit(")", 1)[1].split()[0] == "Z"


def test_a_decoder_knows_none_of_the_services_secrets(tmp_path: Path) -> None:
    with DecoderPool(LIMITS) as pool:
        pool.facts(_photo(tmp_path / "photos", "red.jpg"))
        decoder = pool._take()
        assert decoder is not None
        environment = Path(f"/proc/{decoder._process.pid}/environ").read_bytes()
        decoder.end()

    names = {variable.split(b"=")[0] for variable in environment.split(b"\0") if variable}
    assert names <= {b"PYTHONPATH", b"OPENBLAS_NUM_THREADS", b"LC_CTYPE"}


def test_the_decoders_limits_are_those_of_the_settings() -> None:
    """100 million pixels: what a decoder may take is 3.7 GB."""
    limits = DecodingLimits(
        max_pixels=load_settings().max_pixels, max_bytes=load_settings().max_photo_bytes, cpu_s=1
    )

    assert np.isclose(limits.memory_bytes, 3.74e9, rtol=0.01)
