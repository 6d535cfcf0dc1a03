"""What a client asks for when it registers a dataset; `spec` has the jobs that run on it.

A field that is not here is refused, never ignored.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Metadata = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]


class Spec(BaseModel):
    """Base of all specs: frozen, unknown fields refused, JSON types not coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PathSource(Spec):
    """A folder on the server, inside one of the allow-listed roots; it is read in place."""

    type: Literal["path"]
    path: str = Field(min_length=1, max_length=4096, description="absolute folder on the server")


class SampleSource(Spec):
    """Photos that the service draws itself, for a first run without any data."""

    type: Literal["sample"]
    photos_per_class: int = Field(
        default=60, ge=8, le=500, description="photos drawn for each class"
    )
    seed: int = Field(default=1, ge=0, le=2**32 - 1, description="seed of the drawing")


class UploadSource(Spec):
    """An archive that was sent before; its photos are unpacked into a folder of the dataset's."""

    type: Literal["upload"]
    upload_id: str = Field(
        min_length=1, max_length=64, description="id of an upload, as in `upl_…`"
    )


class UrlSource(Spec):
    """An archive on a web server, which the import downloads and then treats as an upload."""

    type: Literal["url"]
    url: str = Field(
        min_length=1,
        max_length=2048,
        description="http or https address of a .zip, .tar, .tar.gz, .tgz or .tar.zst",
    )
    sha256: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="SHA-256 that the archive must have, hexadecimal; unchecked without it",
    )


class StoreSource(Spec):
    """An archive, or all photos below a prefix, in an object store that the operator allowed."""

    type: Literal["s3", "gs", "az"]
    url: str = Field(
        min_length=1,
        max_length=2048,
        description="an archive such as `s3://bucket/pets.zip`, or a prefix that photos lie below",
    )


Source = Annotated[
    PathSource | SampleSource | UploadSource | UrlSource | StoreSource, Field(discriminator="type")
]


class RegexLabels(Spec):
    """The label is what a capture group of a regular expression finds in the name."""

    rule: Literal["regex"]
    pattern: str = Field(
        min_length=1, max_length=1000, description="Python's syntax, matched in linear time"
    )
    on: Literal["name", "path"] = Field(
        default="name", description="the file's name, or its path below the source"
    )
    group: (
        Annotated[int, Field(ge=1, le=100)] | Annotated[str, Field(min_length=1, max_length=100)]
    ) = Field(default=1, description="number (from 1) or name of the capture group")
    unmatched: Literal["error", "skip"] = Field(
        default="error", description="whether names without a match fail the import or are left out"
    )


class ParentFolderLabels(Spec):
    """The label is the name of the folder the file lies in."""

    rule: Literal["parent_folder"]


NameLabels = Annotated[RegexLabels | ParentFolderLabels, Field(discriminator="rule")]
"""Rules that need nothing but names."""

Match = Literal["path", "name", "stem"]
Column = Annotated[str, Field(min_length=1, max_length=200)]


def _below_source(path: str) -> str:
    parts = path.split("/")
    if "\\" in path or any(part.startswith(".") or not part for part in parts):
        raise ValueError(
            "name a file by its path below the source, with / and without names that begin "
            "with a dot"
        )
    return path


class CsvFile(Spec):
    """A CSV file in the source that names its photos: UTF-8, with a header, at most 64 MiB."""

    file: Annotated[str, AfterValidator(_below_source)] = Field(
        min_length=1, max_length=1024, description="the CSV file's path below the source"
    )
    path_column: Column = Field(default="path", description="column that names the photos")
    delimiter: Literal[",", ";", "\t", "|"] = Field(
        default=",", description="what separates the columns"
    )
    match: Match = Field(
        default="path",
        description="what the column holds: a photo's path below the source, its file name, or "
        "its file name without the extension",
    )
    unmatched: Literal["error", "skip"] = Field(
        default="error", description="whether photos without a row fail the import or are left out"
    )
    missing: Literal["error", "skip"] = Field(
        default="error", description="whether rows without a photo fail the import or are skipped"
    )


class CsvLabels(CsvFile):
    """The label is what a CSV file in the source says."""

    rule: Literal["csv"]
    label_column: Column = Field(default="label", description="column with the labels")


class ImageFolderLabels(Spec):
    """The layout that Hugging Face's datasets call an image folder.

    The label is in ``metadata.csv`` or ``metadata.jsonl`` beside or above the photos, whose
    ``file_name`` begins at the file's own folder; without any such file it is the photo's folder.
    """

    rule: Literal["imagefolder"]
    label_column: Column = Field(default="label", description="name of the labels in the metadata")
    unmatched: Literal["error", "skip"] = Field(
        default="error",
        description="whether photos without a label fail the import or are left out",
    )


class NoLabels(Spec):
    """The photos have no labels: a model can predict them, and nothing can be trained on them."""

    rule: Literal["none"]


Labels = Annotated[
    RegexLabels | ParentFolderLabels | CsvLabels | ImageFolderLabels | NoLabels,
    Field(discriminator="rule"),
]


class RandomSplit(Spec):
    """A seeded share of the sorted file list is kept for validation."""

    rule: Literal["random"]
    valid_fraction: float = Field(
        default=0.2, gt=0, lt=1, allow_inf_nan=False, description="share kept for validation"
    )
    seed: int = Field(default=42, ge=0, le=2**32 - 1, description="seed of the shuffle")
    stratify: bool = Field(default=True, description="keep each class's share equal in both parts")


class FolderSplit(Spec):
    """The first folder says the part: ``train``, ``valid`` and ``test``, or another usual name."""

    rule: Literal["folders"]


class CsvSplit(CsvFile):
    """A CSV file in the source says the part: ``train``, ``valid`` and ``test``, as folders do."""

    rule: Literal["csv"]
    part_column: Column = Field(default="part", description="column with the parts")


Split = Annotated[RandomSplit | FolderSplit | CsvSplit, Field(discriminator="rule")]


class DatasetSpec(Spec):
    """A source of photos, a rule that labels them and a rule that splits them."""

    name: str = Field(min_length=1, max_length=200, description="a name for people")
    source: Source
    labels: Labels
    split: Split = RandomSplit(rule="random")
    max_unreadable_fraction: Probability = Field(
        default=0.1, description="share of unreadable files above which the import fails"
    )
    metadata: Metadata = Field(default={}, description="your own keys and values")
