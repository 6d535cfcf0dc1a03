"""Models that stay loaded in a process that predicts, the last used ones first to stay."""

from collections import OrderedDict
from pathlib import Path

from ml.backbones import ImageClassifier
from ml.model_file import ModelCard, load_model

Loaded = tuple[ImageClassifier, ModelCard]


class ModelCache:
    """Models by the digest of their file; at most so many bytes of weights, or a single model."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()

    def __len__(self) -> int:
        """Number of models that are loaded."""
        return len(self._loaded)

    @property
    def size_bytes(self) -> int:
        """The bytes of all weights together."""
        return sum(_size_bytes(model) for model, _ in self._loaded.values())

    def get(self, path: Path, digest: str) -> Loaded:
        """The model of this file, loaded now unless it is loaded already.

        Raises:
            CheckpointCorruptError: the file is no model.
        """
        if digest not in self._loaded:
            self._loaded[digest] = load_model(path)
        self._loaded.move_to_end(digest)
        while len(self._loaded) > 1 and self.size_bytes > self._most_bytes:
            self._loaded.popitem(last=False)
        return self._loaded[digest]


def _size_bytes(model: ImageClassifier) -> int:
    return sum(tensor.nbytes for tensor in model.state_dict().values())
