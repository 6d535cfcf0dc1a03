"""Decoders, as many as are asked at once; a photo that ruins one is named, and the next go on."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing import Pipe
from types import TracebackType

import structlog

from ml.errors import StoppedError
from worker.decoder import Answer, DecodingLimits, PhotoFacts, PhotoOrder

# as a program of its own the module would not be the one that orders and answers are of
_PROGRAM = "from worker.decoder import main; main()"
_DEATHS = 2
_LOOK_S = 0.5
_NO_DECODER = (EOFError, ConnectionError)

log = structlog.get_logger(__name__)


class UnusablePhotoError(Exception):
    """A photo cannot be used, for this reason."""


class DecoderPool:
    """Processes that decode photos; each is asked by one thread at a time.

    Args:
        limits: what one photo may take.
        go_on: called twice a second while a decoder is waited for; where it raises
            `StoppedError` the decoder ends in the middle of its photo.
    """

    def __init__(self, limits: DecodingLimits, *, go_on: Callable[[], None] = lambda: None) -> None:
        self._limits = limits
        self._go_on = go_on
        self._idle: queue.SimpleQueue[_Decoder] = queue.SimpleQueue()

    def __enter__(self) -> "DecoderPool":
        """No decoder has been started yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """All decoders have ended."""
        while (decoder := self._take()) is not None:
            decoder.end()

    def facts(self, order: PhotoOrder) -> PhotoFacts:
        """What the photo is, its thumbnails being there.

        Raises:
            StoppedError: ``go_on`` said so.
            UnusablePhotoError: it cannot be read, or two decoders died of it.
            OSError: its thumbnails cannot be written.
        """
        for _ in range(_DEATHS):
            decoder = self._take() or _Decoder(self._limits)
            try:
                answer = decoder.ask(order, self._go_on)
            except _NO_DECODER:
                exit_code = decoder.end()
                log.warning("decoder_died", photo=str(order.path), exit_code=exit_code)
                if exit_code == -signal.SIGXCPU:
                    break
                continue
            self._idle.put(decoder)
            return _facts(answer)
        raise UnusablePhotoError(self._cause(exit_code))

    def _take(self) -> "_Decoder | None":
        with contextlib.suppress(queue.Empty):
            return self._idle.get_nowait()
        return None

    def _cause(self, exit_code: int) -> str:
        if exit_code == -signal.SIGXCPU:
            return f"decoding it takes more than {self._limits.cpu_s} s of computing"
        if exit_code >= 0:
            raise RuntimeError(f"a decoder ended with exit code {exit_code}")
        return f"it ruins the decoder, which was ended by {signal.Signals(-exit_code).name}"


def _facts(answer: Answer) -> PhotoFacts:
    if isinstance(answer, str):
        raise UnusablePhotoError(answer)
    if isinstance(answer, OSError):
        raise answer
    return answer


class _Decoder:
    """One process and the pipe to it."""

    def __init__(self, limits: DecodingLimits) -> None:
        self._pipe, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                # it may be dead before it could be told anything
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), json.dumps(asdict(limits))],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # no password of ours, an allocator that gives memory back, no idle threads
                env={"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"},
            )

    def ask(self, order: PhotoOrder, go_on: Callable[[], None]) -> Answer:
        """What the decoder makes of the photo.

        Raises:
            EOFError, ConnectionError: it died.
            StoppedError: ``go_on`` said so; it has ended.
        """
        self._pipe.send(order)
        try:
            while not self._pipe.poll(_LOOK_S):
                go_on()
        except StoppedError:
            self._process.kill()
            self.end()
            raise
        answer: Answer = self._pipe.recv()
        return answer

    def end(self) -> int:
        """The process has ended, with this exit code."""
        self._pipe.close()
        return self._process.wait()
