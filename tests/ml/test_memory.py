"""The high-water mark of a process, without the files that the kernel can take back."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ml.memory import peak_memory

FILE_BYTES = 64 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_pages_of_the_named_file_do_not_count(tmp_path: Path) -> None:
    file = tmp_path / "pixels.bin"
    file.write_bytes(bytes(FILE_BYTES))
    mapped = np.memmap(file, np.uint8, mode="r")
    assert mapped[:: 1 << 12].sum() == 0

    without = peak_memory(torch.device("cpu"), without="pixels.bin")
    # the later mark: looking takes memory, too
    with_file = peak_memory(torch.device("cpu"), without="another.bin")

    assert with_file is not None
    assert without is not None
    assert with_file.kind == "resident"
    assert with_file.peak_bytes - without.peak_bytes > 0.9 * FILE_BYTES
    assert 0 < without.peak_bytes < without.total_bytes
