"""Reading comments: every kind of source, every fault in words."""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from pathlib import Path

import datasets
import huggingface_hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distilora.data import hub
from distilora.data.records import PARTS
from distilora.data.sources import read_comments
from distilora.errors import DataError, HubError, MissingExtraError

ROWS = (
    ("you rotten liar", "hate"),
    ("what a day", "neither"),
    ("oh shut up", "offensive"),
    ("good, really", "neither"),
)


def write_csv(path: Path, *lines: str) -> str:
    path.write_bytes("\n".join(lines).encode("utf-8"))
    return str(path)


def framed_hash(texts: list[str], names: list[str], labels: list[int]) -> str:
    """Return the documented hash of comments without parts, written out by hand."""
    data = b"distilora comments 1\n"
    for strings in (texts, names, []):
        data += struct.pack("<Q", len(strings))
        data += b"".join(struct.pack("<Q", len(s.encode())) + s.encode() for s in strings)
    return hashlib.sha256(data + struct.pack(f"<{len(labels)}q", *labels)).hexdigest()


@pytest.fixture
def csv_path(tmp_path: Path) -> Path:
    return tmp_path / "comments.csv"


def refusal(source: str, **options: object) -> str:
    """Return the line that a source is refused with, without the folder."""
    with pytest.raises(DataError) as caught:
        read_comments(source, **options)  # type: ignore[arg-type]
    line = str(caught.value)
    assert "\n" not in line
    return line.replace(f"{Path(source).parent}/", "")


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "ndjson", "parquet"])
def test_every_kind_of_file_gives_the_same_comments(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"comments.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"text": [t for t, _ in ROWS], "label": [name for _, name in ROWS]}), path)
    elif kind in {"jsonl", "ndjson"}:
        path.write_text("\n".join(json.dumps({"text": t, "label": name}) for t, name in ROWS))
    else:
        mark = "\t" if kind == "tsv" else ","
        path.write_text("\n".join(f'"{text}"{mark}{name}' for text, name in (("text", "label"), *ROWS)))
    comments = read_comments(str(path))
    assert comments.texts == tuple(text for text, _ in ROWS)
    assert comments.label_names == ("hate", "neither", "offensive")
    assert comments.labels.tolist() == [0, 1, 2, 1]
    assert comments.row_numbers.tolist() == [1, 2, 3, 4]
    assert comments.sha256 == framed_hash([text for text, _ in ROWS], ["hate", "neither", "offensive"], [0, 1, 2, 1])


def test_the_sample_reads_without_a_fault_and_knows_its_positive_class() -> None:
    comments = read_comments("sample")
    assert not comments.faults
    assert comments.positive == ("toxic",)


def test_integers_are_ordered_by_number_and_names_alphabetically(csv_path: Path) -> None:
    numbers = read_comments(write_csv(csv_path, "text,label", "a,10", "b,9.0", "c,-1"))
    assert numbers.label_names == ("-1", "9", "10")
    names = read_comments(write_csv(csv_path, "text,label", "a,b", "b,C", "c,a"))
    assert names.label_names == ("a", "b", "C")


def test_given_names_are_ordered_by_the_numbers_they_name(csv_path: Path) -> None:
    source = write_csv(csv_path, "text,label", "a,0", "b,1.0", "c,zebra", "d,2")
    comments = read_comments(source, label_names={"2": "ant", "0": "zebra", "1": "bee"}, positive=["ant"])
    assert comments.label_names == ("zebra", "bee", "ant")
    assert comments.labels.tolist() == [0, 1, 0, 2]
    assert comments.positive == ("ant",)


def test_one_name_for_two_labels_joins_them(csv_path: Path) -> None:
    source = write_csv(csv_path, "text,label", "a,0", "b,1", "c,2")
    assert read_comments(source, label_names={"0": "bad", "1": "bad", "2": "good"}).labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize("given", [{}, {"0": "false", "1": "true"}, {"true": "true", "False": "false"}])
def test_true_and_false_are_labels_however_they_are_written(given: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "comments.jsonl"
    path.write_text('{"text": "a", "label": true}\n{"text": "b", "label": false}\n{"text": "c", "label": "TRUE"}')
    comments = read_comments(str(path), label_names=given)
    assert comments.label_names == ("false", "true")
    assert comments.labels.tolist() == [1, 0, 1]


def test_guessed_columns_are_said_aloud(csv_path: Path) -> None:
    comments = read_comments(write_csv(csv_path, "id,Tweet,CLASS,title", "1,a,x,t", "2,b,y,t"))
    assert comments.notes == ('text is taken from column "Tweet"', 'label is taken from column "CLASS"')


def test_two_good_guesses_for_a_column_are_refused_with_the_columns(csv_path: Path) -> None:
    source = write_csv(csv_path, "tweet,class,label", "a,0,x", "b,1,y")
    expected = (
        "comments.csv: the label could be any of class, label; name one with --label (columns: tweet, class, label)"
    )
    assert refusal(source) == expected


def test_a_named_column_that_is_not_there_gets_the_nearest_one(csv_path: Path) -> None:
    source = write_csv(csv_path, "tweet,class", "a,0", "b,1")
    expected = 'comments.csv: --text "tweets" is not a column; did you mean "tweet"? (columns: tweet, class)'
    assert refusal(source, text="tweets") == expected


def test_quoted_fields_may_hold_commas_quotation_marks_and_line_breaks(csv_path: Path) -> None:
    source = write_csv(csv_path, "\ufefftext,label", '"one, ""two""\nthree",x', "", "four,y")
    comments = read_comments(source)
    assert comments.texts == ('one, "two"\nthree', "four")
    assert comments.row_numbers.tolist() == [1, 2]


FAULTY_LINES = (
    (b" ,x", "text is empty"),
    (b",x", "text is empty"),
    (b"a,", "label is missing"),
    (b"a,b,c", "the header has 2 fields, this row 3; put texts with commas in quotation marks"),
    (b"a", "the header has 2 fields, this row 1; put texts with commas in quotation marks"),
    (b"caf\xe9,x", "byte 0xe9 at offset 20 is not UTF-8; save the file as UTF-8"),
    (b"a\0b,x", "character 2 is NUL; take it out"),
    (b'"a" b,x', "a quoted field goes on after its closing quotation mark; write a quotation mark within as two"),
    (b"a,0.5", "label 0.5 is a fraction; labels are whole numbers or names"),
    (b"a" * 1_000_001 + b",x", "text has 1,000,001 characters; allowed are 1,000,000"),
)


@pytest.mark.parametrize(("line", "problem"), FAULTY_LINES, ids=[problem[:20] for _, problem in FAULTY_LINES])
def test_a_faulty_line_is_refused_or_skipped_and_told_with_its_row(line: bytes, problem: str, csv_path: Path) -> None:
    csv_path.write_bytes(b"text,label\none,x\n" + line + b"\ntwo,y\n")
    advice = "see them with distilora data"
    assert refusal(str(csv_path)).startswith(f"comments.csv row 2: {problem}; 1 of 3 rows cannot be used: {advice}")
    comments = read_comments(str(csv_path), faults="skip")
    assert [(fault.row, fault.problem) for fault in comments.faults] == [(2, problem)]
    assert comments.row_numbers.tolist() == [1, 3]


def test_a_quotation_mark_that_is_never_closed_swallows_no_row_unseen(csv_path: Path) -> None:
    source = write_csv(csv_path, "label,text", "x,one", 'y,"two', "x,three", "y,four")
    assert refusal(source).startswith(
        "comments.csv row 2: a quoted field is never closed; write a quotation mark within it as two (lines 3 to 5); "
    )


def test_a_row_after_a_text_of_several_lines_is_told_with_its_line(csv_path: Path) -> None:
    source = write_csv(csv_path, "text,label", '"one\ntwo\nthree",x', ",y", "four,y")
    assert refusal(source).startswith("comments.csv row 2: text is empty (line 5); ")


def test_an_unknown_label_is_told_with_those_that_are_known(csv_path: Path) -> None:
    names = {"0": "hate", "1": "offensive", "2": "neither"}
    source = write_csv(csv_path, "text,label", "a,0", "b,offensve", "c,neither", "d,7")
    comments = read_comments(source, label_names=names, faults="skip")
    assert [fault.problem for fault in comments.faults] == [
        'label "offensve" is not one of hate, offensive, neither',
        'label "7" is not one of 0 = hate, 1 = offensive, 2 = neither',
    ]
    assert 'no row has the label "offensive"' in comments.notes


BAD_JSON = (
    ("[1]", "is [1]; a line must be a JSON object"),
    ("{oops}", "is not JSON: Expecting property name enclosed in double quotes at character 2"),
    ('{"text": 5, "label": "x"}', "text is 5; a text must be a string"),
    ('{"label": "x"}', "text is missing"),
    ('{"text": "a"}', "label is missing"),
    ('{"text": "a", "label": NaN}', "label is missing"),
    ('{"text": "a \\ud83d", "label": "x"}', "character 3 is U+D83D, half a surrogate pair; write the whole character"),
    ('{"text": "a", "label": "\\ud83d"}', 'label "\\ud83d": character 1 is U+D83D, half a surrogate pair; write the'),
    ("[" * 200_000, "is not JSON that can be read: "),
    ('{"text": 1' + "0" * 5000 + "}", "is not JSON that can be read: "),
)


@pytest.mark.parametrize(("line", "problem"), BAD_JSON, ids=[problem[:20] for _, problem in BAD_JSON])
def test_a_bad_line_of_json_is_told_with_its_row(line: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "comments.jsonl"
    path.write_text(f'{{"text": "one", "label": "x"}}\n{line}\n{{"text": "two", "label": "y"}}')
    comments = read_comments(str(path), faults="skip")
    assert [fault.row for fault in comments.faults] == [2]
    assert comments.faults[0].problem.startswith(problem)
    comments.faults[0].problem.encode("utf-8")


def test_parquet_keeps_nulls_floats_bad_bytes_and_class_names_apart(tmp_path: Path) -> None:
    texts = pa.array([b"one", b"tw\xffo", b"three", None, b"five"], pa.binary()).view(pa.string())
    features = {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["civil", "toxic"]}}}}
    table = pa.table({"text": texts, "label": [0.0, 1.0, None, 1.0, 1.0]})
    path = tmp_path / "comments.parquet"
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(features)}), path)
    comments = read_comments(str(path), faults="skip")
    assert comments.texts == ("one", "five")
    assert comments.label_names == ("civil", "toxic")
    assert [fault.problem for fault in comments.faults] == [
        "byte 0xff of a string is not UTF-8; write the file again with UTF-8 strings",
        "label is missing",
        "text is missing",
    ]


WHOLE_SOURCES = (
    ("comments.csv", b"", ": the file is empty; give it a header line and one row for each comment"),
    ("comments.csv", b"text,label\n", ": there is a header but no row; add one row for each comment"),
    ("comments.csv", b"text,label\na,x\nb,x\n", ': all 2 comments are "x"; a classifier needs at least two classes'),
    ("comments.csv", b"text;label\na;x\n", ": the header text;label is one column; a .csv file is separated by"),
    ("comments.csv", "text,label\na,x".encode("utf-16"), ": the file is UTF-16; save it as UTF-8"),
    ("comments.csv", b"PK\x03\x04\0\0", ": NUL at byte 4: not a text file; save it as UTF-8 text"),
    ("comments.csv", b"text,label\n ,x\n", " row 1: text is empty; none of its 1 rows can be used"),
    ("comments.csv", b"id,value\n1,2\n", ": no column looks like the text; name one with --text (columns: id, value)"),
    ("comments.csv", b"text,text\n1,2\n", ": the text could be any of text, text; name one with --text"),
    ("comments.tsv", b"text,label\na,x\n", ": the header text,label is one column; a .tsv file is separated by tabs"),
    ("comments.jsonl", b"\n", ": the file is empty; write one JSON object a line, one for each comment"),
    ("comments.jsonl", b"text\n", " row 1: is not JSON: Expecting value at character 1; write objects such as"),
    ("comments.parquet", b"text,label", ": not a readable Parquet file: "),
    ("comments.txt", b"text", ": is not a file that can be read; give a file that ends in .csv, .tsv, .jsonl"),
)


@pytest.mark.parametrize(("name", "content", "problem"), WHOLE_SOURCES)
def test_a_source_that_cannot_be_used_at_all_is_told_in_either_mode(
    name: str, content: bytes, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert refusal(str(path), faults="skip").startswith(name + problem)


def test_a_column_of_a_thousand_values_is_no_label(csv_path: Path) -> None:
    source = write_csv(csv_path, "text,label", *(f"text {n},name {n}" for n in range(1001)))
    assert 'column "label" has 1,001 different values in 1,001 rows, allowed are 1,000' in refusal(source)


def test_a_positive_class_that_is_none_gets_the_nearest_one(csv_path: Path) -> None:
    source = write_csv(csv_path, "text,label", "a,toxic", "b,civil")
    expected = 'comments.csv: --positive "toxik" is not a class; did you mean "toxic"? classes are civil, toxic'
    assert refusal(source, positive=["toxik"]) == expected.replace("? classes", "?; classes")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("gone.csv", "gone.csv: no such file; give the path of a file that ends in .csv, .tsv, .jsonl"),
        ("src", "src: is a folder; give a file that ends in .csv"),
        (
            "davidsn",
            '"davidsn" is no source of comments; did you mean "davidson"?; allowed are sample, ',
        ),
        ("x" * 5000, '"xxxxxxxxxx'),
    ],
)
def test_a_source_that_is_nowhere_is_told_with_what_is_allowed(
    source: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "src").mkdir()
    monkeypatch.chdir(tmp_path)
    assert refusal(source).startswith(expected)


def test_the_hash_tells_apart_what_a_plain_join_would_not(csv_path: Path) -> None:
    one = read_comments(write_csv(csv_path, "text,label", "ab,x", "c,y"))
    other = read_comments(write_csv(csv_path, "text,label", "a,x", "bc,y"))
    swapped = read_comments(write_csv(csv_path, "text,label", "ab,y", "c,x"))
    assert len({one.sha256, other.sha256, swapped.sha256}) == 3


def test_a_split_column_gives_the_parts(csv_path: Path) -> None:
    source = write_csv(csv_path, "text,label,split", "a,x,train", "b,y,test", "c,x,dev", "d,y,train")
    comments = read_comments(source)
    assert comments.parts == ("train", "test", "validation", "train")
    assert comments.notes[-1] == "the source's own split is used: 2 train, 1 validation, 1 test"


@pytest.mark.parametrize("other", ["fold 1", ""])
def test_a_split_column_with_other_values_is_left_alone(other: str, csv_path: Path) -> None:
    comments = read_comments(write_csv(csv_path, "text,label,split", "a,x,train", f"b,y,{other}"))
    assert comments.parts is None
    assert comments.notes[-1].startswith(f'column "split" is not used: it holds "{other}"')


def toy_dataset(part: str, *labels: int) -> datasets.Dataset:
    texts = [f"{part} {number}" for number in range(len(labels))]
    return datasets.Dataset.from_dict({"comment_text": texts, "label": list(labels)})


def test_a_data_set_of_the_hub_keeps_its_parts_and_names(monkeypatch: pytest.MonkeyPatch) -> None:
    splits = datasets.DatasetDict({"test": toy_dataset("test", 0, 1), "train": toy_dataset("train", 1, 0, 1)})
    monkeypatch.setattr(hub, "download", lambda *_, **__: splits)
    comments = read_comments("wiki_toxic")
    assert comments.texts == ("train 0", "train 1", "train 2", "test 0", "test 1")
    assert comments.parts == ("train", "train", "train", "test", "test")
    assert (comments.label_names, comments.positive) == (("not toxic", "toxic"), ("toxic",))


def test_class_names_of_the_hub_are_used_and_a_label_outside_them_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    classes = datasets.ClassLabel(names=["civil", "rude"])
    train = toy_dataset("train", 1, 0).cast_column("label", classes)
    test = toy_dataset("test", -1).cast_column("label", classes)
    splits = datasets.DatasetDict({"train": train, "test": test, "extra": train})
    monkeypatch.setattr(hub, "download", lambda *_, **__: splits)
    comments = read_comments("somebody/something:plain", faults="skip")
    assert comments.label_names == ("civil", "rude")
    assert comments.parts is None  # the test rows have no labels, so only train is left
    assert comments.faults[0].problem == 'label "-1" is not one of 0 = civil, 1 = rude (row 1 of test)'
    assert "splits left out: extra" in comments.notes


def test_the_balanced_copy_of_wiki_toxic_is_not_read(tmp_path: Path) -> None:
    datasets.disable_progress_bars()
    for part in (*PARTS, "balanced_train"):
        folder = tmp_path / "default" / part
        folder.mkdir(parents=True)
        toy_dataset(part, 0, 1).to_parquet(folder / "0000.parquet")
    files = dict(hub.NAMED_SOURCES["wiki_toxic"].data_files or {})
    splits = datasets.load_dataset(str(tmp_path), data_files=files, cache_dir=str(tmp_path / "cache"))
    assert {part: splits[part]["comment_text"][0] for part in splits} == {part: f"{part} 0" for part in PARTS}


def test_without_the_hub_one_line_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError) as caught:
        read_comments("davidson")
    line = str(caught.value)
    assert line.startswith("davidson: data set tdavidson/hate_speech_offensive is wanted and the hub cannot be reached")
    assert "download it elsewhere as CSV or Parquet and give the file, use --data sample" in line


@pytest.mark.parametrize(
    ("failure", "kind", "expected"),
    [
        (RuntimeError("Dataset scripts are no longer supported, but found x.py"), DataError, "needs a loading script"),
        (
            ValueError("Config name is missing.\nPick one of a, b"),
            DataError,
            "missing. Pick one of a, b; a configuration",
        ),
        (datasets.exceptions.DatasetNotFoundError("gone"), DataError, "the hub shows no data set some/thing"),
        (OSError(28, "No space left on device"), DataError, "No space left on device"),
        (TimeoutError(), HubError, "cannot be reached (TimeoutError)"),
    ],
)
def test_a_failure_on_the_hub_becomes_one_line(
    failure: Exception, kind: type[Exception], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(kind) as caught:
        read_comments("some/thing")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("library", "source"), [("pyarrow", "comments.parquet"), ("datasets", "davidson")])
def test_a_missing_library_is_told_with_the_command_that_brings_it(
    library: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "comments.parquet").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=f"{library} is not installed: run pip install"):
        read_comments(source)


PIECES = [
    b"text,label",
    b"text\tlabel",
    b"\n",
    b"\r",
    b"\r\n",
    b",",
    b'"',
    b"a",
    b"1",
    b"\xff",
    b"\0",
    b"\xef\xbb\xbf",
    b'{"text":',
]
PIECES += [b'"a"', b'"label":', b"}", b"null", b"PAR1", b"\xe2\x80\xa8", b" ", b"split", b"train"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=3)), st.sampled_from(["csv", "tsv", "jsonl", "parquet"]))
def test_no_bytes_whatever_end_in_anything_but_comments_or_one_line(
    tmp_path: Path, pieces: list[bytes], kind: str
) -> None:
    path = tmp_path / f"comments.{kind}"
    path.write_bytes(b"".join(pieces))
    try:
        comments = read_comments(str(path), faults="skip")
    except DataError as refused:
        line = str(refused)
    else:
        line = ""
        assert len(comments.texts) == len(comments.labels) == len(comments.row_numbers)
    assert "\n" not in line
    line.encode("utf-8")


def test_labels_are_indices_of_64_bits() -> None:
    assert read_comments("sample").labels.dtype == np.int64
