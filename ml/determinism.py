"""The same bits each time: what torch is asked for, and where it has nothing to give."""

import re
import warnings
from collections.abc import Callable
from typing import Any, TextIO

import torch

# modules whose settings torch declares to no type checker
_DETERMINISTIC: Any = torch.utils.deterministic
_CUDNN: Any = torch.backends.cudnn

_COMPLAINT = re.compile(r"(?is).*determinis")
_KERNEL = re.compile(r"(\S+) does not have a deterministic implementation")
_SENTENCE_END = re.compile(r"\.(?=\s|$)")


def prefer_repeatable_kernels() -> None:
    """Torch computes with kernels that repeat to the bit, and warns where it has none.

    On CUDA float32 is what its name says: no rounding to TF32 inside convolutions, either, as torch
    has it for products of matrices. Whoever wants speed has bf16 and fp16.
    """
    torch.use_deterministic_algorithms(True, warn_only=True)
    # memory that nobody has written yet is read by nobody, so filling it takes time for nothing
    _DETERMINISTIC.fill_uninitialized_memory = False
    _CUDNN.conv.fp32_precision = "ieee"


def tell_gaps(tell: Callable[[str], None]) -> None:
    """From now on each kernel that need not repeat is told in words, once, when it is first used.

    This holds for the whole process until `warnings.catch_warnings` is left, if that is entered.
    """
    show, told = warnings.showwarning, set[str]()

    def show_or_tell(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not _COMPLAINT.match(str(message)):
            show(message, category, filename, lineno, file, line)
            return
        gap = _gap(str(message))
        if gap not in told:
            told.add(gap)
            tell(gap)

    # without this Python would drop what comes from the same line of code again
    warnings.filterwarnings("always", _COMPLAINT.pattern, UserWarning)
    warnings.showwarning = show_or_tell


def _gap(complaint: str) -> str:
    kernel = _KERNEL.match(complaint)
    return kernel[1] if kernel else _SENTENCE_END.split(complaint)[0]
