"""Fills the files of an entry: a few threads make its photos in order, or sooner what is wanted."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future

from ml.images import Rgb
from ml.pixel_files import GrowingFiles


class PixelBuild:
    """Every photo is made once, by whoever comes to it first; everybody else waits for that.

    The first failure ends the build: whoever asks for a photo afterwards is told that one.
    """

    def __init__(
        self,
        files: GrowingFiles,
        make: Callable[[int], Rgb],
        order: Iterable[int],
        *,
        count: int,
        threads: int,
        on_whole: Callable[[], None],
    ) -> None:
        """Begins at once.

        Args:
            files: Where the photos go.
            make: Called by any thread, for each position that the files do not have.
            order: Every position from 0 to ``count``, those first that are wanted first.
            count: Photos in all, at least 1.
            threads: How many make photos beside those who ask for one.
            on_whole: Called once, when all photos are in the files.
        """
        self._files = files
        self._make = make
        self._count = count
        self._on_whole = on_whole
        self._order = iter(order)
        self._lock = threading.Lock()
        self._photos: dict[int, Future[None]] = {}
        self._ended: queue.SimpleQueue[Future[None]] = queue.SimpleQueue()
        self._made = 0
        self._failure: BaseException | None = None
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name="presize", daemon=True) for _ in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def photo(self, position: int) -> Rgb:
        """The photo; it is made now, or waited for.

        Raises:
            Exception: The first that the making of any photo has raised.
        """
        claimed = self._claim(position)
        if claimed is not None:
            self._fulfil(position, claimed)
        if self._failure is not None:
            raise self._failure
        self._photos[position].result()
        return self._files.photo(position)

    def all_made(self) -> Iterator[int]:
        """How many are made, told for each photo as it comes, until all are.

        Raises:
            Exception: As ``photo``.
        """
        for done in range(1, self._count + 1):
            self._ended.get().result()
            yield done

    def close(self) -> None:
        """No photo is made any more; what was begun is ended."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                position = next(self._order, None)
            if position is None:
                return
            claimed = self._claim(position)
            if claimed is not None:
                self._fulfil(position, claimed)

    def _claim(self, position: int) -> Future[None] | None:
        """A promise to be fulfilled by the caller; None where somebody else does."""
        with self._lock:
            if position in self._photos:
                return None
            claimed: Future[None] = Future()
            self._photos[position] = claimed
            return claimed

    def _fulfil(self, position: int, claimed: Future[None]) -> None:
        try:
            if not self._files.adopt(position):
                self._files.add(position, self._make(position))
            if self._is_last():
                self._on_whole()
        except BaseException as error:  # noqa: BLE001  # raised again by whoever asks for a photo
            self._failure = self._failure or error
            self._stop.set()
            claimed.set_exception(error)
        else:
            claimed.set_result(None)
        self._ended.put(claimed)

    def _is_last(self) -> bool:
        with self._lock:
            self._made += 1
            return self._made == self._count
