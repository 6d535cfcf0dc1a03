"""Many files on their way to an object store, or from it; with a folder there is no way to go."""

from collections.abc import Callable, Sequence
from pathlib import Path

from jobs import leases
from ml.errors import StoppedError
from worker.context import Context
from worker.progress import ProgressWriter

KEEPING, FETCHING = "keeping", "fetching"

_AT_ONCE = 256


def keep_dataset(context: Context, dataset_id: str) -> None:
    """What an import has made outlives this machine, before anybody is told that it is there.

    Raises:
        LeaseLostError: the job belongs to another attempt.
        OSError: the store does not take it.
        StoppedError: the job must end.
    """
    artifacts = context.artifacts
    if not artifacts.store.is_apart:
        return
    made = [artifacts.items_file(dataset_id), artifacts.unpacking_file(dataset_id)]
    for folder in (artifacts.thumbnails_folder(dataset_id), artifacts.photos_folder(dataset_id)):
        made += sorted(folder.rglob("*"))
    files = [file for file in made if file.is_file()]
    context.tell(leases.enter_phase, KEEPING)
    writer = ProgressWriter(context, phase=KEEPING, span=(1.0, 1.0))
    _in_turn(context, writer, artifacts.store.keep, files)


def fetch(context: Context, files: Sequence[Path], *, before: str) -> None:
    """The files are on this machine, as far as the store has them; the phase is ``before`` again.

    Raises:
        LeaseLostError: the job belongs to another attempt.
        OSError: the store does not give them.
        StoppedError: the job must end.
    """
    store = context.artifacts.store
    if store.is_apart and not all(file.is_file() for file in files):
        context.tell(leases.enter_phase, FETCHING)
        writer = ProgressWriter(context, phase=FETCHING, span=(0.0, 0.0))
        _in_turn(context, writer, store.fetch, files)
        context.tell(leases.enter_phase, before)


def _in_turn(
    context: Context,
    writer: ProgressWriter,
    carry: Callable[[Sequence[Path]], object],
    files: Sequence[Path],
) -> None:
    for first in range(0, len(files), _AT_ONCE):
        if context.control.must_end:
            raise StoppedError(writer.phase, context.control.order.value)
        some = files[first : first + _AT_ONCE]
        carry(some)
        writer.count(first + len(some), len(files))
