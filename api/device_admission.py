"""Whether a worker that is present owns as many devices as a job asks for."""

from api.references import invalid
from api.services import Services
from jobs import presence

_QUEUE = "train"


def check_devices(services: Services, wished: int) -> None:
    """A train worker that is present owns so many; where none is present, one may come that does.

    Raises:
        Problem: the largest one owns fewer, and the job would wait for ever.
    """
    workers = [each for each in presence.present(services.database) if each.queue == _QUEUE]
    most = max((worker.devices for worker in workers), default=wished)
    if wished > most:
        owned = f"{most} device{'' if most == 1 else 's'}"
        raise invalid(
            "/devices",
            "out_of_range",
            f"{wished} devices, but no train worker that is present owns more than {owned}; ask "
            f"for {most} at the most, or start one first: `tunesmith worker --devices "
            f"0-{wished - 1}`",
        )
