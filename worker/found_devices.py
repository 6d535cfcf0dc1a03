"""`python -m worker.found_devices`: what the tensor library sees here, as JSON on one line."""

import json
import sys

import torch


def found() -> dict[str, object]:
    """The library's version, its threads, and each GPU; ``error`` is null where it computes."""
    return {
        "version": torch.__version__,
        "built_for_cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "gpus": [
            {"name": torch.cuda.get_device_name(number), "error": _error(number)}
            for number in range(torch.cuda.device_count())
        ],
    }


def _error(number: int) -> str | None:
    try:
        torch.ones(2, device=f"cuda:{number}").sum().item()
    except RuntimeError as problem:
        # a GPU that this build has no code for is listed, but computes nothing
        return str(problem).splitlines()[0]
    return None


if __name__ == "__main__":
    sys.stdout.write(json.dumps(found()) + "\n")
