"""CSV files and JSON lines that name photos: what they say, and which line is wrong."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jobs.dataset_spec import CsvLabels, CsvSplit, ImageFolderLabels, Match
from jobs.errors import LabelFileInvalidError
from jobs.sources import label_files
from jobs.sources.label_files import FolderFiles, ReadFiles, rows
from jobs.sources.label_tables import LabelTable, label_table, part_table

NAMES = ("cats/a.jpg", "dogs/b.jpg")


def in_csv(text: str | bytes, **rule: Any) -> LabelTable[str]:  # noqa: ANN401
    """The labels of ``labels.csv``."""
    content = text if isinstance(text, bytes) else text.encode()
    asked = CsvLabels.model_validate({"rule": "csv", "file": "labels.csv", **rule})
    table = label_table(asked, NAMES, ReadFiles({"labels.csv": content}))
    assert table is not None
    return table


def in_metadata(contents: Mapping[str, str], **rule: Any) -> LabelTable[str] | None:  # noqa: ANN401
    """The labels of an image folder with these files."""
    asked = ImageFolderLabels.model_validate({"rule": "imagefolder", **rule})
    files = ReadFiles({name: text.encode() for name, text in contents.items()})
    return label_table(asked, NAMES, files)


# --- CSV ------------------------------------------------------------------------------------


def test_each_photo_has_the_label_of_its_row() -> None:
    table = in_csv("path,label\ncats/a.jpg,cat\ndogs/b.jpg,dog\n")

    assert [table.value(name) for name in (*NAMES, "c.jpg")] == ["cat", "dog", None]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("\ufeffpath,label\ncats/a.jpg,big cat\n", {}),
        ('path,label\r\n"cats/a.jpg","big cat"\r\n', {}),
        ("path,label\n\n./cats//a.jpg,big cat\n\n", {}),
        ("n,Label,path\n1,big cat,cats/a.jpg", {"label_column": "Label"}),
        ("path;label\ncats/a.jpg;big cat\n", {"delimiter": ";"}),
        ("path\tlabel\ncats/a.jpg\tbig cat\n", {"delimiter": "\t"}),
        ("image,label\na.jpg,big cat\n", {"path_column": "image", "match": "name"}),
        ("id,label\na,big cat\n", {"path_column": "id", "match": "stem"}),
    ],
)
def test_usual_ways_of_writing_say_the_same(text: str, rule: dict[str, Any]) -> None:
    assert in_csv(text, **rule).value("cats/a.jpg") == "big cat"


def test_quoted_fields_keep_delimiters_quotes_and_lines() -> None:
    table = in_csv('path,label\ncats/a.jpg,"a ""cat"", or\nso"\n')

    assert table.value("cats/a.jpg") == 'a "cat", or\nso'


def test_letters_of_labels_count_as_they_are() -> None:
    table = in_csv("path,label\ncats/a.jpg, =Caté 🐈 \ndogs/b.jpg,\n")

    assert [table.value(name) for name in NAMES] == [" =Caté 🐈 ", ""]


@pytest.mark.parametrize(
    ("text", "rule", "field", "message"),
    [
        ("path,label\na.jpg,x\na.jpg,x\n", {}, "path_column",
         "labels.csv, line 3: 'a.jpg' has a row already: labels.csv, line 2"),
        ("path,label\na.jpg,x\n./a.jpg,y\n", {}, "path_column", "line 3: './a.jpg' has a row"),
        ("path,class\na.jpg,x\n", {}, "label_column",
         "line 1: there is no column 'label'; between ',' stand 'path', 'class'"),
        ("path;label\na.jpg;x\n", {}, "path_column",
         "line 1: there is no column 'path'; between ',' stand 'path;label'"),
        ("path,label,label\n", {}, "label_column", "more than one column 'label'"),
        ("", {}, "path_column", "no column 'path'; between ',' stand nothing"),
        ("path,label\na.jpg\n", {}, "file", "line 2: it has 1 fields, and the header has 2"),
        ("path,label\na.jpg,x,y\n", {}, "file", "line 2: it has 3 fields, and the header has 2"),
        ('path,label\na.jpg,"x\n', {}, "file", "line 2: unexpected end of data"),
        ('path,label\na.jpg,"x" y\n', {}, "file", "line 2: ',' expected after '\"'"),
        (b"path,label\na.jpg,caf\xe9\n", {}, "file", "line 2: it is not encoded in UTF-8"),
        (b"\xff\xfep\0a\0", {}, "file", "line 1: it is not encoded in UTF-8"),
        ("path,label\na.jpg,x\0y\n", {}, "label_column", "cannot have the character U+0000"),
        (f"path,label\na.jpg,{'x' * 4097}\n", {}, "label_column", "at most 4096 characters"),
        (f"path,label\na.jpg,{'x' * 200_000}\n", {}, "file", "line 2: field larger than"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_with_its_line(
    text: str | bytes, rule: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(LabelFileInvalidError) as caught:
        in_csv(text, **rule)

    assert message in str(caught.value)
    assert caught.value.field == field
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../cats/a.jpg", "/cats/a.jpg", "cats/../cats/a.jpg", "cats\\a.jpg"]
)
def test_rows_match_listed_names_and_nothing_else(path: str) -> None:
    table = in_csv(f"path,label\n{path},x\n")

    assert [table.value(name) for name in NAMES] == [None, None]
    with pytest.raises(LabelFileInvalidError, match=r"line 2: .* names no photo of the source"):
        table.require_photos(NAMES)


def test_rows_without_a_photo_are_counted() -> None:
    table = in_csv("path,label\ncats/a.jpg,x\nno.jpg,x\nnone.jpg,y\n")

    with pytest.raises(LabelFileInvalidError, match=r"line 3: 'no.jpg' .* \(and 1 more rows\)"):
        table.require_photos(NAMES)
    table.require_photos([*NAMES, "no.jpg", "none.jpg"])


def test_more_rows_than_are_read_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_files, "MOST_ROWS", 2)
    in_csv("path,label\na.jpg,x\nb.jpg,x\n")

    with pytest.raises(LabelFileInvalidError, match="line 4: it has more than 2 rows"):
        in_csv("path,label\na.jpg,x\nb.jpg,x\nc.jpg,x\n")


# --- parts ----------------------------------------------------------------------------------


def _number(cell: str) -> int:
    return int(cell)


@pytest.mark.parametrize("match", ["path", "name"])
def test_values_come_in_the_order_of_the_photos(match: Match) -> None:
    rule = CsvSplit(rule="csv", file="p.csv", match=match)
    text = b"path,part\nb,2\na,1\n"

    table = part_table(rule, ReadFiles({"p.csv": text}), _number)

    assert table.values(rule, ["a", "b"]) == [1, 2]


def test_a_value_that_is_none_is_said_with_its_line() -> None:
    rule = CsvSplit(rule="csv", file="p.csv")

    with pytest.raises(
        LabelFileInvalidError, match=r"p.csv, line 2: 'x': invalid literal"
    ) as wrong:
        part_table(rule, ReadFiles({"p.csv": b"path,part\na,x\n"}), _number)

    assert wrong.value.field == "part_column"


def test_photos_without_a_part_are_refused_or_left_out() -> None:
    rule = CsvSplit(rule="csv", file="p.csv")
    skipping = rule.model_copy(update={"unmatched": "skip"})
    table = part_table(rule, ReadFiles({"p.csv": b"path,part\na,1\n"}), _number)

    with pytest.raises(
        LabelFileInvalidError, match=r"p.csv: 1 of 2 photos have no row, such as 'b'"
    ):
        table.values(rule, ["a", "b"])
    assert table.values(skipping, ["a", "b"]) == [1, None]
    with pytest.raises(LabelFileInvalidError, match="2 of 2 photos have no row"):
        table.values(skipping, ["b", "c"])


# --- image folders --------------------------------------------------------------------------


def test_metadata_names_photos_from_its_own_folder() -> None:
    table = in_metadata(
        {
            "cats/metadata.csv": "file_name,label\na.jpg,cat\n",
            "metadata.csv": "file_name,label\ndogs/b.jpg,dog\n",
            "elsewhere/metadata.csv": "file_name,label\nc.jpg,no photo lies here\n",
        }
    )

    assert table is not None
    assert [table.value(name) for name in (*NAMES, "elsewhere/c.jpg")] == ["cat", "dog", None]


@pytest.mark.parametrize("path", ["/a.jpg", "../cats/a.jpg", "/cats/a.jpg"])
def test_metadata_leads_nowhere_but_below_its_folder(path: str) -> None:
    table = in_metadata({"cats/metadata.csv": f"file_name,label\n{path},x\n"})

    assert table is not None
    assert [table.value(name) for name in NAMES] == [None, None]


def test_without_metadata_there_is_no_table() -> None:
    assert in_metadata({"labels.csv": "file_name,label\n"}) is None


def test_json_lines_hold_texts_and_whole_numbers() -> None:
    lines = [{"file_name": "cats/a.jpg", "label": 3}, {"file_name": "dogs/b.jpg", "label": "dog"}]
    text = "\n\n".join(map(json.dumps, lines))

    table = in_metadata({"metadata.jsonl": text})

    assert table is not None
    assert [table.value(name) for name in NAMES] == ["3", "dog"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: it is no JSON"),
        ("[" * 100_000, "line 2: it is no JSON"),
        ("1" * 5000, "line 2: it is no JSON"),
        ("[1]", "line 2: it is no JSON object"),
        ('{"file_name": "b.jpg"}', "line 2: 'label' is 'None'; it must be a text"),
        ('{"file_name": "b.jpg", "label": true}', "line 2: 'label' is 'True'"),
        ('{"file_name": ["b.jpg"], "label": "x"}', "line 2: 'file_name' is"),
        ('{"file_name": "a.jpg", "label": "x"}', "line 2: 'a.jpg' has a row already"),
    ],
)
def test_json_lines_that_cannot_be_used_are_said_with_their_line(line: str, message: str) -> None:
    first = '{"file_name": "a.jpg", "label": "x"}'

    with pytest.raises(LabelFileInvalidError, match=message):
        in_metadata({"metadata.jsonl": f"{first}\n{line}"})


def test_one_folder_has_one_metadata_file_that_is_read() -> None:
    with pytest.raises(LabelFileInvalidError, match=r"metadata\.jsonl lies beside it"):
        in_metadata({"metadata.csv": "", "metadata.jsonl": ""})
    with pytest.raises(LabelFileInvalidError, match=r"parquet: it is not read; write it as"):
        in_metadata({"cats/metadata.parquet": ""})


def test_the_column_of_the_labels_can_be_named() -> None:
    table = in_metadata({"metadata.csv": "file_name,breed\ncats/a.jpg,x\n"}, label_column="breed")

    assert table is not None
    assert table.value("cats/a.jpg") == "x"


# --- folders --------------------------------------------------------------------------------


def read(files: FolderFiles, name: str) -> list[tuple[str, ...]]:
    return [row.values for row in rows(files, name, {"path_column": "path"})]


def test_a_file_in_the_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path\na.jpg\n")

    assert read(FolderFiles(tmp_path, (tmp_path,)), "labels.csv") == [("a.jpg",)]


def test_no_file_outside_the_roots_is_read(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside.csv"
    root.mkdir()
    outside.write_text("path\nsecret\n")
    (root / "link.csv").symlink_to(outside)
    os.mkfifo(root / "pipe.csv")

    for name in ("link.csv", "../outside.csv", "none.csv", "pipe.csv", "."):
        with pytest.raises(LabelFileInvalidError, match="no such file below the source"):
            read(FolderFiles(root, (root,)), name)


@pytest.mark.parametrize("text", ["path\n" + "a\n" * 10, "x" * 30])
def test_a_file_with_more_bytes_than_are_read_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.csv").write_text(text)

    with pytest.raises(LabelFileInvalidError, match="more than 20 bytes"):
        read(FolderFiles(tmp_path, (tmp_path,), most_bytes=20), "labels.csv")
