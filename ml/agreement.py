"""One listener for all processes that train together: the first one's."""

from ml.progress import Command, EpochReport, Listener, StepReport
from ml.ranks import Ranks
from ml.training_state import TrainingState


def heard_by_all(listener: Listener, ranks: Ranks) -> Listener:
    """The listener of the first process: it alone is told, and all do what it commands."""
    return listener if ranks.is_alone else _Shared(listener, ranks)


class _Shared:
    """Every process must ask for commands at the same points."""

    def __init__(self, listener: Listener, ranks: Ranks) -> None:
        self._listener = listener
        self._ranks = ranks

    def phase(self, name: str) -> None:
        if self._ranks.is_first:
            self._listener.phase(name)

    def presized(self, done: int, total: int) -> None:
        if self._ranks.is_first:
            self._listener.presized(done, total)

    def step(self, report: StepReport) -> None:
        if self._ranks.is_first:
            self._listener.step(report)

    def epoch(self, report: EpochReport) -> None:
        if self._ranks.is_first:
            self._listener.epoch(report)

    def checkpoint(self, state: TrainingState) -> None:
        if self._ranks.is_first:
            self._listener.checkpoint(state)

    def warning(self, code: str, detail: str) -> None:
        if self._ranks.is_first:
            self._listener.warning(code, detail)

    def command(self) -> Command:
        return self._ranks.agreed(
            self._listener.command() if self._ranks.is_first else Command.CONTINUE
        )
