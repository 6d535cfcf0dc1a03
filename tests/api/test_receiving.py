"""What arrives goes to the disk, whatever its size; little of it is ever in memory."""

import tracemalloc
from collections.abc import Callable

import pytest

from api.content_digest import ContentDigest
from api.receiving import Arrival, MultipartBody, RawBody, Taker
from jobs.artifacts import Artifacts
from jobs.settings import Settings

MIB = 1 << 20
CHUNK = bytes(MIB // 16)
HEAD = b"PK\3\4" + bytes(60)
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="pets.zip"\r\n\r\n',
    b"\r\n--x--\r\n",
)


def raw(arrival: Arrival) -> Taker:
    return RawBody(arrival, ContentDigest({}))


def form(arrival: Arrival) -> Taker:
    return MultipartBody(arrival, ContentDigest({}), b"x")


@pytest.mark.parametrize(("make", "around"), [(raw, (b"", b"")), (form, FORM)])
def test_a_hundred_mebibytes_arrive_in_one_of_memory(
    artifacts: Artifacts,
    settings: Settings,
    make: Callable[[Arrival], Taker],
    around: tuple[bytes, bytes],
) -> None:
    arrival = Arrival(artifacts, settings)
    taker = make(arrival)

    tracemalloc.start()
    taker.feed(around[0] + HEAD)
    for _ in range(100 * MIB // len(CHUNK)):
        taker.feed(CHUNK)
    taker.feed(around[1])
    received = taker.finish()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert received.size_bytes == arrival.path.stat().st_size == 100 * MIB + len(HEAD)
    assert peak < MIB
    arrival.discard()
