"""A file of what the steps of one kind took in each form, for later trainings of that kind."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ml.files import write_whole
from ml.theory.step_forms import Seen, StepForm


@dataclass(frozen=True, slots=True)
class StepTimes:
    """The times of steps of this kind, below a folder that all trainings share."""

    folder: Path
    kind: Mapping[str, str | int]
    """All that decides what a step takes."""

    @property
    def file(self) -> Path:
        """Where they are kept."""
        name = hashlib.sha256(json.dumps(self.kind, sort_keys=True).encode()).hexdigest()[:16]
        return self.folder / f"{name}.json"

    def read(self) -> dict[StepForm, Seen]:
        """What was seen last; nothing where the file is none of this version."""
        try:
            found = json.loads(self.file.read_bytes())["forms"]
            return {form: Seen(**times) for form, times in found.items()}
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return {}

    def write(self, seen: Mapping[StepForm, Seen]) -> None:
        """It is kept, or measured again by the next training where the disk takes no more."""
        forms = {form: asdict(times) for form, times in seen.items()}
        content = json.dumps({"kind": self.kind, "forms": forms}, indent=1)
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.file, content.encode())
