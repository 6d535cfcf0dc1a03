"""The peers' side: a script of `benchmarks/peers`, run in their own environment."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from process_memory import peak_of_tree

from tunesmith_client import Json

PEERS = Path(__file__).parent / "peers"
TUNED = {"MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TRIM_THRESHOLD_": "8000000000"}
"""What a user may set for glibc, as our trainers do."""


@dataclass(frozen=True, slots=True)
class Peers:
    """The interpreter that has the peers installed."""

    python: Path
    scripts: Path = PEERS

    def run(self, script: str, *arguments: str, environment: dict[str, str] | None = None) -> Json:
        """What the script told, with ``peak_mib`` of its processes.

        Raises:
            SystemExit: the script failed; its last lines say why.
        """
        command = [str(self.python), str(self.scripts / script), *arguments]
        with (
            subprocess.Popen(  # our own script
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                # a peer's own caches and settings, with ours on top
                env=os.environ | (environment or {}),  # noqa: TID251  # handed on, not read
            ) as process,
            peak_of_tree(process.pid) as peak,
        ):
            out, errors = process.communicate()
        if process.returncode:
            raise SystemExit(f"{script} failed:\n" + "\n".join(errors.splitlines()[-15:]))
        told: Json = json.loads(out.splitlines()[-1])
        return told | {"peak_mib": round(peak.mib)}

    def versions(self) -> Json:
        """Of the packages that are compared."""
        names = ("fastai", "torch", "torchvision", "torch-lr-finder", "lightning")
        code = (
            "import json, importlib.metadata as m; "
            f"print(json.dumps({{n: m.version(n) for n in {names!r}}}))"
        )
        answer = subprocess.run(  # our own line
            [str(self.python), "-c", code], capture_output=True, text=True, check=True
        )
        found: Json = json.loads(answer.stdout)
        return found
