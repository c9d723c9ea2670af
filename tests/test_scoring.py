"""Files of comments in, the same files with labels and probabilities out."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distilora.bundles.bundle import Bundle, open_bundle
from distilora.bundles.predictions import Predictions
from distilora.bundles.storage import read_bundle
from distilora.errors import BundleError, DataError, MissingExtraError
from distilora.scoring import progress
from distilora.scoring.reading import Chunk
from distilora.scoring.scoring import ScoreSummary, predicted, score_file
from tiny_bundle import save_tiny_bundle

FORMS = ("csv", "tsv", "jsonl", "parquet")
TEXTS = ("you are a stupid idiot", "thank you, dear people", 'he said "no"\nand left', "very nice " * 12, "né 🙂")
ADDED = ["label", "probability_civil", "probability_toxic", "positive_probability", "cut"]
WORDS = ("you", "are", "not", "very", "nice", "stupid", "people", "thank", "dog", "hate")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(save_tiny_bundle(tmp_path_factory.mktemp("bundles") / "odd"), threads=1)


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def read_rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_bytes().splitlines()]
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True))


def write_many(path: Path, *, rows: int) -> Path:
    """Return a file of random comments, every seventh without a text."""
    draw = random.Random(0)  # noqa: S311
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(1, 20))) * (number % 7 > 0) for number in range(rows)]
    return write_rows(path, [{"id": number, "text": text} for number, text in enumerate(texts)])


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class StoppedBundle(Bundle):
    """A bundle during whose work somebody presses Ctrl-C, after so many chunks."""

    chunks = 20

    def predict_stream(self, chunks: Iterable[Sequence[str]], **options: Any) -> Generator[Predictions, None, None]:
        yield from islice(super().predict_stream(chunks, **options), self.chunks)
        raise KeyboardInterrupt


def score_until_stopped(bundle: Bundle, source: Path, out: Path, *, chunks: int = 20, **options: Any) -> None:
    stopped = StoppedBundle(read_bundle(bundle.path), threads=1)
    stopped.chunks = chunks
    with pytest.raises(KeyboardInterrupt):
        score_file(stopped, source, out, chunk_rows=16, **options)


# What is written


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("out_form", FORMS)
def test_every_form_goes_to_every_form_with_its_columns_in_order_and_the_answers_behind(
    bundle: Bundle, tmp_path: Path, form: str, out_form: str
) -> None:
    rows = [{"id": str(number), "text": text, "note": "=a,b\t;"} for number, text in enumerate(TEXTS)]
    source = write_rows(tmp_path / f"in.{form}", rows)
    summary = score_file(bundle, source, tmp_path / f"out.{out_form}", chunk_rows=2)
    written = read_rows(summary.out)
    assert [list(row) for row in written] == [["id", "text", "note", *ADDED]] * len(TEXTS)
    assert [{key: row[key] for key in ("id", "text", "note")} for row in written] == rows
    for row, answer in zip(written, bundle.predict(TEXTS), strict=True):
        assert row["label"] == answer.label
        assert float(row["probability_toxic"]) == pytest.approx(answer.probabilities["toxic"], abs=2e-6)
        assert float(row["positive_probability"]) == pytest.approx(answer.positive_probability, abs=2e-6)
        assert str(row["cut"]).lower() == str(answer.cut).lower()
    assert summary.labels == {name: [row["label"] for row in written].count(name) for name in bundle.labels}
    assert (summary.rows, summary.scored, summary.rejected, summary.rejects, summary.cut) == (5, 5, 0, None, 1)


def test_json_lines_keep_every_object_as_it_is_written_late_keys_and_long_numbers_too(
    bundle: Bundle, tmp_path: Path
) -> None:
    source = tmp_path / "in.jsonl"
    lines = ['{"text": "a dog"}'] * 100 + ['{"n": 1.50, "text":"a\\u00e9 dog",  "late": [1e400, {"x": null}] }  ']
    source.write_text("\n".join(lines))
    score_file(bundle, source, tmp_path / "out.jsonl")
    last = (tmp_path / "out.jsonl").read_text().splitlines()[-1]
    assert last.startswith('{"n": 1.50, "text":"a\\u00e9 dog",  "late": [1e400, {"x": null}] , "label": "')
    assert json.loads(last)["cut"] is False


def test_parquet_keeps_types_and_metadata(bundle: Bundle, tmp_path: Path) -> None:
    table = pa.table(
        {
            "when": pa.array([1, None, 3], pa.timestamp("ms")),
            "text": pa.array(["a dog", None, "you idiot"], pa.large_string()),
            "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
            "votes": [[1, 2], [], None],
        }
    ).replace_schema_metadata({"origin": "made up"})
    pq.write_table(table, tmp_path / "in.parquet")
    summary = score_file(bundle, tmp_path / "in.parquet", tmp_path / "out.parquet")
    written = pq.read_table(summary.out)
    assert written.schema.metadata[b"origin"] == b"made up"
    assert written.select(table.column_names).equals(table.take([0, 2]))
    assert [str(written.schema.field(name).type) for name in ADDED] == ["string", "float", "float", "float", "bool"]
    assert summary.rejects is not None
    (reject,) = read_rows(summary.rejects)
    assert (reject["row"], reject["problem"]) == (2, "text is missing")
    assert reject["values"]["kind"] == "y"


def test_values_that_csv_lacks_are_written_as_json(bundle: Bundle, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "a dog", "tags": ["x", 1], "n": null, "ok": true, "half": "\\ud83d"}\n')
    score_file(bundle, source, tmp_path / "out.csv")
    (row,) = read_rows(tmp_path / "out.csv")
    assert [row[name] for name in ("tags", "n", "ok", "half")] == ['["x", 1]', "", "true", "\\ud83d"]


def test_a_bundle_without_positive_classes_adds_no_positive_probability(tmp_path: Path) -> None:
    plain = open_bundle(save_tiny_bundle(tmp_path / "plain", labels=("a", "100 %", "c"), positive=()), threads=1)
    source = write_rows(tmp_path / "in.jsonl", [{"text": "a dog"}])
    score_file(plain, source, tmp_path / "out.jsonl")
    (row,) = read_rows(tmp_path / "out.jsonl")
    assert list(row) == ["text", "label", "probability_a", "probability_100 %", "probability_c", "cut"]


def test_threshold_and_rule_for_long_texts_are_the_bundle_s(bundle: Bundle, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in.csv", [{"text": text} for text in TEXTS])
    score_file(bundle, source, tmp_path / "out.csv", threshold=1.0, long_texts="windows")
    expected = bundle.predict(TEXTS, threshold=1.0, long_texts="windows")
    written = read_rows(tmp_path / "out.csv")
    assert [row["label"] for row in written] == [answer.label for answer in expected] == ["civil"] * len(TEXTS)
    assert float(written[3]["probability_toxic"]) == pytest.approx(expected.probabilities[3, 1], abs=2e-6)


# What cannot be read


BAD_CSV = b'text,n\na dog,1\n\n,2\n"a\n"" cat",3\ncaf\xe9,4\na,b,5\n"a" b,6\nnul\0,7\nhe is nice,8\n"never closed,9\n'


def test_rows_that_cannot_be_read_are_counted_named_and_kept(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(BAD_CSV)
    summary = score_file(bundle, tmp_path / "in.csv", tmp_path / "out.csv", chunk_rows=2)
    assert [row["n"] for row in read_rows(tmp_path / "out.csv")] == ["1", "3", "8"]
    assert summary.rejects == tmp_path / "out.csv.rejects.jsonl"
    rejects = read_rows(summary.rejects)
    assert [(reject["row"], reject["place"], reject["raw"]) for reject in rejects] == [
        (2, "line 4", ",2"),
        (4, "line 7", "caf\\xe9,4"),
        (5, "line 8", "a,b,5"),
        (6, "line 9", '"a" b,6'),
        (7, "line 10", "nul\0,7"),
        (9, "line 12", '"never closed,9'),
    ]
    words = ("empty", "0xe9", "3", "closing quotation mark", "NUL", "never closed")
    assert all(word in reject["problem"] for word, reject in zip(words, rejects, strict=True))
    assert (summary.rows, summary.scored, summary.rejected) == (9, 3, 6)


PIECES = st.sampled_from(
    [b"text", b"a dog", b",", b"\t", b"\n", b"\r\n", b"\r", b'"', b'{"text": "a"}\n', b"{", b"}", b"\xff", b"\0", b" "]
)


@given(st.lists(PIECES, max_size=25).map(b"".join), st.sampled_from(["csv", "tsv", "jsonl"]), st.integers(1, 4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_row_is_ever_lost(bundle: Bundle, tmp_path: Path, content: bytes, form: str, chunk_rows: int) -> None:
    header = b"" if form == "jsonl" else b"text\tn\n" if form == "tsv" else b"text,n\n"
    source, out = tmp_path / f"in.{form}", tmp_path / f"out.{form}"
    source.write_bytes(header + content)
    try:
        summary = score_file(bundle, source, out, chunk_rows=chunk_rows, replace=True)
    except DataError:
        assert form == "jsonl"  # no object in its first lines, or none with a text
        return
    rejects = read_rows(summary.rejects) if summary.rejects else []
    assert summary.rows == summary.scored + summary.rejected
    assert (summary.scored, summary.rejected) == (len(read_rows(out)), len(rejects))
    assert not [name for name in names_in(tmp_path) if name.startswith(".")]


def test_without_rejects_there_is_no_rejects_file_not_even_an_old_one(bundle: Bundle, tmp_path: Path) -> None:
    source, out = write_rows(tmp_path / "in.csv", [{"text": "a dog"}, {"text": " "}]), tmp_path / "out.csv"
    assert score_file(bundle, source, out).rejects is not None
    write_rows(source, [{"text": "a dog"}])
    assert score_file(bundle, source, out, replace=True).rejects is None
    assert names_in(tmp_path) == {"in.csv", "out.csv"}


@pytest.mark.parametrize("form", FORMS)
def test_a_file_of_nothing_but_rejects_gives_an_empty_file_with_a_header(
    bundle: Bundle, tmp_path: Path, form: str
) -> None:
    source = write_rows(tmp_path / "in.csv", [{"text": ""}] * 5)
    summary = score_file(bundle, source, tmp_path / f"out.{form}", chunk_rows=2)
    assert (summary.scored, summary.rejected, summary.labels, summary.texts_per_s) == (
        0,
        5,
        {"civil": 0, "toxic": 0},
        None,
    )
    assert read_rows(summary.out) == []
    header = pq.read_schema(summary.out).names if form == "parquet" else summary.out.read_text().split()
    assert header == {"csv": [",".join(["text", *ADDED])], "tsv": ["text", *ADDED], "jsonl": []}.get(
        form, ["text", *ADDED]
    )


# What is refused


def test_a_column_that_is_there_already_is_refused_and_a_prefix_helps(bundle: Bundle, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in.csv", [{"text": "a dog", "label": "x"}])
    with pytest.raises(DataError, match=r'in\.csv: has a column "label" already.* --prefix'):
        score_file(bundle, source, tmp_path / "out.csv")
    assert names_in(tmp_path) == {"in.csv"}
    score_file(bundle, source, tmp_path / "out.csv", prefix="new_")
    assert list(read_rows(tmp_path / "out.csv")[0]) == ["text", "label", *(f"new_{name}" for name in ADDED)]


def test_a_key_that_comes_late_and_has_no_place_is_a_reject(bundle: Bundle, tmp_path: Path) -> None:
    rows = [{"text": "a dog"}] * 100
    source = write_rows(tmp_path / "in.jsonl", [*rows, {"text": "a dog", "cut": 1}, {"text": "a dog", "late": 1}])
    problems = [
        [row["problem"] for row in read_rows(score_file(bundle, source, tmp_path / name).rejects)]
        for name in ("out.jsonl", "out.csv")
    ]
    assert [len(those) for those in problems] == [1, 2]
    assert "--prefix" in problems[0][0]
    assert 'has a key "late" that is none of the columns' in problems[1][1]


REFUSED: list[tuple[str, str]] = [
    ("old.csv", "old.csv: is there already; .* --overwrite"),
    ("folder.csv", "folder.csv: is a folder"),
    ("nowhere/out.csv", "nowhere is not there; make it first"),
    ("in.csv", "in.csv: is the input"),
    ("same.csv", "same.csv: is the input"),
    ("repaired", r"repaired: is not a form that can be written; .*\.csv, \.tsv, \.jsonl, \.ndjson, \.parquet"),
]


@pytest.mark.parametrize(("name", "message"), REFUSED)
def test_an_output_that_cannot_be_is_refused_in_one_line(
    bundle: Bundle, tmp_path: Path, name: str, message: str
) -> None:
    source = write_rows(tmp_path / "in.csv", [{"text": "a dog"}])
    (tmp_path / "old.csv").touch()
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "same.csv").hardlink_to(source)
    before = names_in(tmp_path)
    with pytest.raises(DataError, match=message):
        score_file(bundle, source, tmp_path / name, replace=name in {"in.csv", "same.csv"})
    assert names_in(tmp_path) == before


def test_rejects_that_are_scored_again_are_not_written_over(bundle: Bundle, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "a.csv.rejects.jsonl", [{"text": "a dog"}])
    with pytest.raises(DataError, match="rejected rows and is the input"):
        score_file(bundle, source, tmp_path / "a.csv")


def test_a_threshold_that_means_nothing_leaves_nothing_behind(tmp_path: Path) -> None:
    plain = open_bundle(save_tiny_bundle(tmp_path / "plain", positive=()), threads=1)
    source = write_rows(tmp_path / "in.csv", [{"text": "a dog"}])
    with pytest.raises(BundleError, match="threshold"):
        score_file(plain, source, tmp_path / "out.csv", threshold=0.5)
    assert names_in(tmp_path) == {"plain", "in.csv"}


def test_two_columns_of_one_name_pass_only_where_the_form_can_hold_them(bundle: Bundle, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("text,n,n\na dog,1,2\n")
    score_file(bundle, source, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("a dog,1,2,")
    with pytest.raises(DataError, match='two columns are called "n"'):
        score_file(bundle, source, tmp_path / "out.jsonl")


def test_parquet_without_pyarrow_says_what_to_install(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_rows(tmp_path / "in.csv", [{"text": "a dog"}])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'distilora\[parquet\]'"):
        score_file(bundle, source, tmp_path / "out.parquet")
    assert names_in(tmp_path) == {"in.csv"}


# Stopped and gone on with


def test_a_stopped_run_goes_on_and_writes_the_same_bytes(bundle: Bundle, tmp_path: Path) -> None:
    source, out, told = write_many(tmp_path / "in.csv", rows=1000), tmp_path / "out.csv", list[str]()
    whole = score_file(bundle, source, tmp_path / "whole.csv", chunk_rows=16)
    score_until_stopped(bundle, source, out)
    assert not out.exists()
    assert not Path(f"{out}.rejects.jsonl").exists()
    summary = score_file(bundle, source, out, chunk_rows=16, tell=told.append)
    assert told[-1] == f"{out}: goes on behind row 320"
    assert summary.resumed_rows == 320
    assert without_times(summary) == without_times(whole)
    assert_same_files(whole.out, out)
    assert names_in(tmp_path) == {name + end for name in ("out.csv", "whole.csv") for end in ("", ".rejects.jsonl")} | {
        "in.csv"
    }


def without_times(summary: ScoreSummary) -> dict[str, Any]:
    return summary.model_dump(exclude={"seconds", "texts_per_s", "out", "rejects", "resumed_rows"})


def assert_same_files(whole: Path, out: Path) -> None:
    assert out.read_bytes() == whole.read_bytes()
    assert Path(f"{out}.rejects.jsonl").read_bytes() == Path(f"{whole}.rejects.jsonl").read_bytes()


CHILD = """
import sys
from pathlib import Path
from distilora.bundles.bundle import open_bundle
from distilora.scoring.scoring import score_file
bundle, source, out = map(Path, sys.argv[1:])
score_file(open_bundle(bundle, threads=1), source, out, chunk_rows=16)
"""


def test_killed_at_any_moment_leaves_no_part_and_the_same_command_goes_on(bundle: Bundle, tmp_path: Path) -> None:
    source, out = write_many(tmp_path / "in.csv", rows=8000), tmp_path / "out.csv"
    whole = score_file(bundle, source, tmp_path / "whole.csv", chunk_rows=16)
    draw = random.Random(0)  # noqa: S311
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", CHILD, bundle.path, source, out]) as child:
            begun = grown(tmp_path / f".{out.name}.partial")
            while child.poll() is None and not begun():
                time.sleep(0.001)
            time.sleep(draw.uniform(0, whole.seconds / 2))
            child.send_signal(signal.SIGKILL)
        if out.exists():  # it was faster: then it is whole
            break
    score_file(bundle, source, out, chunk_rows=16, replace=True)
    assert_same_files(whole.out, out)


def grown(path: Path) -> Callable[[], bool]:
    """Return what tells whether a file is longer than now."""
    size = path.stat().st_size if path.exists() else 0
    return lambda: path.exists() and path.stat().st_size > size


@pytest.fixture
def small_disk() -> Iterator[Callable[[int | None], None]]:
    """Give what limits every file to so many bytes, as a full disk would; without a number it lifts the limit."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int | None) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, before if size is None else (size, before[1]))

    yield limit
    limit(None)


def test_a_full_disk_names_the_file_and_what_was_written_is_gone_on_with(
    bundle: Bundle, tmp_path: Path, small_disk: Callable[[int | None], None]
) -> None:
    source, out = write_many(tmp_path / "in.csv", rows=1000), tmp_path / "out.csv"
    whole = score_file(bundle, source, tmp_path / "whole.csv", chunk_rows=16)
    small_disk(40_000)
    with pytest.raises(OSError, match="too large") as failure:
        score_file(bundle, source, out, chunk_rows=16)
    small_disk(None)
    assert failure.value.filename == str(out)
    assert not out.exists()
    assert score_file(bundle, source, out, chunk_rows=16).resumed_rows > 0
    assert_same_files(whole.out, out)


@pytest.mark.parametrize("size", [2, 3000])
def test_a_full_disk_ends_parquet_cleanly_too(
    bundle: Bundle, tmp_path: Path, small_disk: Callable[[int | None], None], size: int
) -> None:
    source, out = write_many(tmp_path / "in.csv", rows=1000), tmp_path / "out.parquet"
    small_disk(size)
    with pytest.raises(OSError, match="too large") as failure:
        score_file(bundle, source, out, chunk_rows=16)
    small_disk(None)
    assert failure.value.filename == str(out)
    assert names_in(tmp_path) == {"in.csv"}


def change_bundle(bundle: Bundle, source: Path) -> tuple[Bundle, dict[str, Any]]:
    return open_bundle(save_tiny_bundle(source.parent / "other", seed=1), threads=1), {}


def change_threads(bundle: Bundle, source: Path) -> tuple[Bundle, dict[str, Any]]:
    return open_bundle(bundle.path, threads=2), {}


def change_source(bundle: Bundle, source: Path) -> tuple[Bundle, dict[str, Any]]:
    os.utime(source, ns=(0, source.stat().st_mtime_ns + 1))
    return bundle, {}


def cut_short(bundle: Bundle, source: Path) -> tuple[Bundle, dict[str, Any]]:
    os.truncate(source.parent / ".out.csv.partial", 100)
    return bundle, {}


def spoil_progress(bundle: Bundle, source: Path) -> tuple[Bundle, dict[str, Any]]:
    (source.parent / ".out.csv.progress.json").write_text("{}")
    return bundle, {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (change_bundle, "another bundle"),
        (change_source, "another input file, or it has changed"),
        (change_threads, "another number of threads"),
        (lambda bundle, _: (bundle, {"threshold": 0.9}), "another threshold"),
        (lambda bundle, _: (bundle, {"long_texts": "windows"}), "another rule for long texts"),
        (lambda bundle, _: (bundle, {"prefix": "p_"}), "other names for the new columns"),
        (lambda bundle, _: (bundle, {"text": "id"}), "another text column"),
        (lambda bundle, _: (bundle, {"chunk_rows": 17}), "chunks of another length"),
        (cut_short, "part of what an earlier process wrote is gone"),
        (spoil_progress, "it is not known how far an earlier process came"),
    ],
)
def test_a_changed_job_starts_anew_and_says_why(
    bundle: Bundle,
    tmp_path: Path,
    change: Callable[[Bundle, Path], tuple[Bundle, dict[str, Any]]],
    reason: str,
) -> None:
    source, out, told = write_many(tmp_path / "in.csv", rows=200), tmp_path / "out.csv", list[str]()
    score_until_stopped(bundle, source, out, chunks=5)
    changed, options = change(bundle, source)
    summary = score_file(changed, source, out, tell=told.append, **{"chunk_rows": 16, **options})
    assert f"{out}: starts anew: {reason}" in told
    score_file(changed, source, tmp_path / "whole.csv", **{"chunk_rows": 16, **options})
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert (summary.resumed_rows, summary.rows) == (0, 200)


def test_an_option_that_is_refused_leaves_what_is_done_to_go_on_with(tmp_path: Path) -> None:
    plain = open_bundle(save_tiny_bundle(tmp_path / "plain", positive=()), threads=1)
    source, out = write_many(tmp_path / "in.csv", rows=200), tmp_path / "out.csv"
    score_until_stopped(plain, source, out, chunks=5)
    with pytest.raises(BundleError, match="threshold"):
        score_file(plain, source, out, chunk_rows=16, threshold=0.5)
    assert score_file(plain, source, out, chunk_rows=16).resumed_rows == 80


def test_a_stopped_parquet_output_leaves_nothing_and_starts_anew(bundle: Bundle, tmp_path: Path) -> None:
    source, out = write_many(tmp_path / "in.csv", rows=200), tmp_path / "out.parquet"
    score_until_stopped(bundle, source, out, chunks=5)
    assert names_in(tmp_path) == {"in.csv"}
    assert score_file(bundle, source, out).scored == pq.read_metadata(out).num_rows == 171


def test_a_file_that_is_replaced_stays_until_the_new_one_is_whole(bundle: Bundle, tmp_path: Path) -> None:
    source, out = write_many(tmp_path / "in.csv", rows=200), tmp_path / "out.csv"
    out.write_text("old")
    score_until_stopped(bundle, source, out, chunks=5, replace=True)
    assert out.read_text() == "old"


def test_two_processes_do_not_write_the_same_output(bundle: Bundle, tmp_path: Path) -> None:
    source, out = write_rows(tmp_path / "in.csv", [{"text": "a dog"}]), tmp_path / "out.csv"
    with (tmp_path / ".out.csv.partial").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DataError, match=r"out\.csv: another process is writing it"):
            score_file(bundle, source, out)
    score_file(bundle, source, out)


# On the way


def test_chunks_are_read_only_a_few_ahead_so_that_memory_does_not_grow(bundle: Bundle) -> None:
    read = 0

    def chunks() -> Iterator[Chunk]:
        nonlocal read
        for _ in range(50):
            read += 1
            yield Chunk(1, ["a dog"])

    ahead = [read - done for done, _ in enumerate(predicted(bundle, chunks(), threshold=None, long_texts="truncate"))]
    assert len(ahead) == 50
    assert max(ahead) <= 4


def test_where_standard_error_is_no_terminal_a_line_tells_how_far_it_is(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0.0)
    source, told = write_many(tmp_path / "in.csv", rows=100), list[str]()
    score_file(bundle, source, tmp_path / "out.csv", chunk_rows=50, tell=told.append)
    assert told[0] == f'{source}: text is taken from column "text"'
    assert [line.split(",")[0] for line in told[1:]] == [f"{source}: 50 rows", f"{source}: 100 rows"]
    assert "rows/s, 0 s left" in told[-1]


def test_on_a_terminal_a_bar_is_drawn_on_standard_error(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, told = io.StringIO(), list[str]()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    source = write_many(tmp_path / "in.csv", rows=100)
    score_file(bundle, source, tmp_path / "out.csv", text="text", tell=told.append)
    assert "100 rows, 100 %" in screen.getvalue()
    assert told == []
