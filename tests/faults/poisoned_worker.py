"""``python -m tests.faults.poisoned_worker``: a worker whose fine-tunes may be poison.

Trainers import this module, too, before they look for their runner.
"""

from jobs.job import JobType
from worker import trainer

trainer.RUNNERS[JobType.FINE_TUNE] = "tests.faults.poison"

if __name__ == "__main__":
    from worker.app import main

    main()
