"""Comments without labels: every kind of file, what falls out of them, and what must not be among them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distilora.cli import main
from distilora.config import DataSettings
from distilora.data.unlabelled import UnlabelledTexts, read_unlabelled, unlabelled_from_settings, without_known
from distilora.errors import DataError

ROWS = ("you rotten liar", "what a day", "", "You  ROTTEN liar", "oh, shut up")
LEFT = ("you rotten liar", "what a day", "oh, shut up")


def written(path: Path, rows: tuple[str, ...] = ROWS, *, column: str = "comment") -> str:
    """Write texts as a file of the kind that its name ends in, and return its path."""
    match path.suffix:
        case ".parquet":
            pq.write_table(pa.table({column: list(rows)}), path)
        case ".jsonl" | ".ndjson":
            path.write_text("\n".join(json.dumps({column: text}) for text in rows))
        case ".txt":
            path.write_bytes("\r\n".join(rows).encode())
        case _:
            mark = "\t" if path.suffix == ".tsv" else ","
            path.write_text("\n".join(f'{number}{mark}"{text}"' for number, text in (("id", column), *enumerate(rows))))
    return str(path)


def refusal(path: str, column: str | None = None) -> str:
    """Return the line that a file is refused with, without its folder."""
    with pytest.raises(DataError) as caught:
        read_unlabelled(path, column=column)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{Path(path).parent}/", "")


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "ndjson", "parquet", "txt"])
def test_every_kind_of_file_gives_the_same_texts_each_once_and_tells_what_fell_out(kind: str, tmp_path: Path) -> None:
    path = written(tmp_path / f"more.{kind}")
    found = read_unlabelled(path, column=None)
    assert (found.source, found.texts, len(found)) == (path, LEFT, 3)
    assert found.notes[-1] == f"{path}: left out: 1 empty, 1 repeated"
    assert found.notes[:-1] == (() if kind == "txt" else (f'{path}: text is taken from column "comment"',))
    assert found.sha256 == read_unlabelled(written(tmp_path / "again.txt", LEFT), column=None).sha256
    assert found.sha256 != read_unlabelled(written(tmp_path / "other.txt", LEFT[::-1]), column=None).sha256


def test_a_named_column_is_read_and_is_no_guess(tmp_path: Path) -> None:
    path = written(tmp_path / "more.csv", LEFT, column="remark")
    assert read_unlabelled(path, column="remark").texts == LEFT
    assert read_unlabelled(path, column="remark").notes == ()


@pytest.mark.parametrize(
    ("name", "content", "column", "line"),
    [
        ("more.csv", b"id,text\n1,a\n", "txt", 'more.csv: --set data.unlabelled_text "txt" is not a column; did you'),
        ("more.csv", b"id,words\n1,a\n", None, "looks like the text; name one with --set data.unlabelled_text (colu"),
        ("more.csv", b"text\n\xff\n", None, "more.csv row 1: byte 0xff at offset 5 is not UTF-8; save the file as U"),
        ("more.txt", b"fine\n\xff\nfine too\n", None, "more.txt row 2: byte 0xff at offset 5 is not UTF-8; save the"),
        ("more.txt", b"fine\nno \0\n", None, "row 2: character 4 is NUL; take it out; 1 of 2 rows cannot be used: m"),
        ("more.txt", b"\n \n", None, "more.txt: none of its 2 rows holds a text; give it one comment a row"),
        ("more.txt", b"fine\n", "text", "more.txt: a .txt file has one comment a line and no columns: leave out --"),
        ("more.txt", "fine".encode("utf-16"), None, "more.txt: the file is UTF-16; save it as UTF-8"),
        ("more.txt", None, None, "more.txt: no such file; give the path of a file that ends in .csv, .tsv, .jsonl, "),
        ("more.csv", None, None, "more.csv: no such file"),
        ("more.docx", b"", None, "more.docx: is not a file that can be read without labels; give the path of a file"),
        ("more.jsonl", b'{"text": 5}\n', None, "more.jsonl row 1: text is 5; a text must be a string; 1 of 1 rows"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_says_what_to_do(
    name: str, content: bytes | None, column: str | None, line: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert line in refusal(str(tmp_path / name), column)


def test_rows_that_cannot_be_used_are_left_out_and_told_where_the_data_say_so(tmp_path: Path) -> None:
    path = tmp_path / "more.txt"
    path.write_bytes(b"fine\n\xff\nfine too\n\n")
    found = read_unlabelled(str(path), column=None, faults="skip")
    assert found.texts == ("fine", "fine too")
    assert found.notes == (f"{path}: left out: 1 empty, 1 not usable",)


def test_no_text_that_is_known_stays_and_case_and_white_space_make_no_difference() -> None:
    read = UnlabelledTexts("more.txt", ("Go away", "stay", "STAY here"), sha256="a")
    left = without_known(read, ["go\tAWAY ", "stay  here", "another"], where="validation and test rows")
    assert left.texts == ("stay",)
    assert left.notes == ("more.txt: left out, because validation and test rows have them: 2",)
    assert left.sha256 not in {"", "a"}
    assert without_known(read, ["another"]) is read


def test_a_file_of_known_texts_alone_is_refused() -> None:
    read = UnlabelledTexts("more.txt", ("Go away",), sha256="")
    with pytest.raises(DataError, match=r"more.txt: the labelled comments have every text of it; give a file of oth"):
        without_known(read, ["go away"])


def test_the_settings_name_the_column_else_it_is_that_of_the_comments_where_the_file_has_it(tmp_path: Path) -> None:
    path = tmp_path / "more.csv"
    path.write_text("verdict,words,text\nfine,a,b\n")
    taken = {
        column: unlabelled_from_settings(DataSettings(unlabelled=str(path), **column_of(column)))
        for column in ("given", "comments", "absent", "guessed")
    }
    assert {name: found and found.texts for name, found in taken.items()} == {
        "given": ("a",), "comments": ("a",), "absent": ("b",), "guessed": ("b",)
    }  # fmt: skip
    assert unlabelled_from_settings(DataSettings()) is None
    lines = written(tmp_path / "more.txt")
    found = unlabelled_from_settings(DataSettings(unlabelled=lines, text="text"))
    assert found is not None
    assert found.texts == LEFT


def column_of(case: str) -> dict[str, str]:
    return {
        "given": {"unlabelled_text": "words", "text": "text"},
        "comments": {"text": "words"},
        "absent": {"text": "comment"},
        "guessed": {},
    }[case]


def test_compare_takes_a_file_of_comments_without_labels(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["distilora", "compare", "--help"])
    with pytest.raises(SystemExit):
        main()
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--unlabelled FILE" in told
    assert "which the teacher labels" in told
