"""Many files into a folder of parts: the same on every engine, and whatever stops it on the way."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distilora.bundles.bundle import Bundle, open_bundle
from distilora.errors import BundleError, DataError, MissingExtraError, WorkerError
from distilora.scale.scoring import RayEngine
from distilora.scale.session import ray_says, ray_session, require_ray
from distilora.scoring.jobs import Wishes, score_folder
from distilora.scoring.local import Crew, InlineEngine, LocalEngine
from distilora.scoring.part_scoring import Order
from distilora.scoring.parts import Part, PartDone, PartFailed
from distilora.scoring.scoring import score_file
from distilora.scoring.workers import run_parts
from test_cli import run
from test_scoring import ADDED, FORMS, PIECES, read_rows, write_many, write_rows
from tiny_bundle import save_tiny_bundle

KILLS = 3
SMALL = Wishes(chunk_rows=16, part_bytes=1500)
"""Parts of a few dozen comments."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(save_tiny_bundle(tmp_path_factory.mktemp("bundles") / "odd"), threads=1)


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """One Ray for all tests that need it; starting it is what takes long."""
    with ray_session(address=None, processors=2) as started:
        yield started


@pytest.fixture(params=["local", "ray"])
def engine(request: pytest.FixtureRequest) -> Any:
    if request.param == "local":
        return LocalEngine(workers=2)
    request.getfixturevalue("ray")
    return RayEngine(workers=2)


def contents(folder: Path) -> dict[str, bytes]:
    """Return all that a job wrote, by name, but its times."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.name not in {".lock", "_summary.json"}]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def summary_of(folder: Path) -> dict[str, Any]:
    summary = json.loads((folder / "_summary.json").read_text())
    times = {"seconds", "start_up_seconds", "worker_seconds", "texts_per_s", "resumed_rows", "workers", "engine", "out"}
    return {key: value for key, value in summary.items() if key not in times | {"rejects"}}


def scored(folder: Path | str) -> list[dict[str, Any]]:
    return sorted(pq.read_table(folder).to_pylist(), key=lambda row: (row["source_file"], row["source_row"]))


# What is written


def test_every_engine_says_bit_for_bit_what_one_process_says(bundle: Bundle, tmp_path: Path, engine: Any) -> None:
    sources = [write_many(tmp_path / f"in-{number}.csv", rows=300) for number in range(2)]
    summary = score_folder(bundle, list(map(str, sources)), str(tmp_path / "out"), wishes=SMALL, engine=engine)
    rows = scored(tmp_path / "out")
    for source in sources:
        alone = score_file(bundle, source, source.with_suffix(".parquet"), chunk_rows=16)
        mine = [row for row in rows if row["source_file"] == str(source)]
        assert [{key: row[key] for key in ("id", "text", *ADDED)} for row in mine] == read_rows(alone.out)
        assert [row["source_row"] for row in mine] == [int(row["id"]) + 1 for row in mine]
    assert (summary.rows, summary.scored, summary.rejected) == (600, len(rows), 600 - len(rows))
    assert summary.labels == {name: [row["label"] for row in rows].count(name) for name in bundle.labels}
    assert sum(summary.label_rates.values()) == pytest.approx(1)
    assert summary.reject_reasons == {"text is empty": summary.rejected}
    assert (summary.engine, summary.workers, summary.files) == (engine.name, 2, 2)


def test_both_engines_write_the_same_bytes(bundle: Bundle, tmp_path: Path, ray: Any) -> None:
    source = str(write_many(tmp_path / "in.csv", rows=300))
    for name, engine in (("one", LocalEngine(workers=1)), ("two", LocalEngine(workers=2)), ("ray", RayEngine(2))):
        score_folder(bundle, [source], str(tmp_path / name), wishes=SMALL, engine=engine)
    assert contents(tmp_path / "one") == contents(tmp_path / "two") == contents(tmp_path / "ray")
    assert len(contents(tmp_path / "one")) > 10


@pytest.mark.parametrize("place", ["{}", "file://{}", "memory:/{}"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_and_written_near_and_far(bundle: Bundle, tmp_path: Path, form: str, place: str) -> None:
    near = write_rows(tmp_path / f"rows.{form}", [{"id": str(n), "text": f"a dog {n}"} for n in range(50)])
    folder = place.format(tmp_path)
    with fsspec.open(f"{folder}/in.{form}", "wb") as stream:
        stream.write(near.read_bytes())
    summary = score_folder(bundle, [f"{folder}/i*.{form}"], f"{folder}/out/", wishes=SMALL, engine=InlineEngine())
    assert (summary.rows, summary.scored) == (50, 50)
    files, path = fsspec.core.url_to_fs(f"{folder}/out")
    rows = pq.read_table(path, filesystem=files).to_pylist()
    assert [row["id"] for row in rows] == [str(n) for n in range(50)]
    assert list(rows[0]) == ["source_file", "source_row", "id", "text", *ADDED]
    assert not [name for name in files.find(path) if name.endswith(".partial")]


def test_parquet_keeps_types_and_a_large_row_group_is_cut(bundle: Bundle, tmp_path: Path) -> None:
    table = pa.table({"text": ["a dog"] * 100 + [None], "n": pa.array(range(101), pa.int16())})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=70)
    wishes = Wishes(chunk_rows=16, part_bytes=100)
    summary = score_folder(bundle, [str(tmp_path)], str(tmp_path / "out"), wishes=wishes, engine=LocalEngine(1))
    written = pq.read_table(tmp_path / "out")
    assert written.schema.field("n").type == pa.int16()
    assert sorted(written["n"].to_pylist()) == list(range(100))
    assert summary.parts > 2
    assert summary.reject_reasons == {"text is missing": 1}


@given(st.lists(PIECES, max_size=40).map(b"".join), st.sampled_from(["csv", "tsv", "jsonl"]), st.integers(1, 30))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_parts_have_the_rows_and_the_rejects_of_the_whole_file(
    bundle: Bundle, tmp_path: Path, content: bytes, form: str, part_bytes: int
) -> None:
    header = b"" if form == "jsonl" else b"text\tn\n" if form == "tsv" else b"text,n\n"
    source, out = tmp_path / f"in.{form}", tmp_path / "out"
    source.write_bytes(header + content)
    try:
        whole = score_file(bundle, source, tmp_path / "whole.parquet", chunk_rows=2, replace=True)
    except DataError:
        assert form == "jsonl"
        return
    wishes = Wishes(text="text", chunk_rows=2, part_bytes=part_bytes)
    score_folder(bundle, [str(source)], str(out), wishes=wishes, engine=InlineEngine(), replace=True)
    rows = [{key: value for key, value in row.items() if not key.startswith("source_")} for row in scored(out)]
    assert rows == read_rows(whole.out)
    parts = b"".join(file.read_bytes() for file in sorted((out / "_rejects").glob("*")))
    assert parts == (whole.rejects.read_bytes() if whole.rejects else b"")


def test_files_of_one_job_may_lack_columns_but_not_add_any(bundle: Bundle, tmp_path: Path) -> None:
    write_rows(tmp_path / "a.csv", [{"id": "1", "text": "a dog"}])
    write_rows(tmp_path / "b.csv", [{"text": "you idiot"}])
    write_rows(tmp_path / "c.jsonl", [{"text": "very nice", "id": 3}, {"text": "a dog", "late": 1}])
    write_rows(tmp_path / "d.csv", [{"text": "a dog", "more": "x"}])
    with pytest.raises(DataError, match=r"d\.csv: has columns \(more\) that the job's first file lacks \(id, text\)"):
        score_folder(bundle, [str(tmp_path)], str(tmp_path / "out"), engine=InlineEngine())
    (tmp_path / "d.csv").write_text("id,text\n")
    summary = score_folder(bundle, [str(tmp_path)], str(tmp_path / "out"), engine=InlineEngine())
    assert [row["id"] for row in scored(tmp_path / "out")] == ["1", None, "3"]
    assert (summary.rows, summary.rejected) == (4, 1)


def test_beside_other_forms_parquet_becomes_the_strings_that_it_becomes_alone(bundle: Bundle, tmp_path: Path) -> None:
    near, other = tmp_path / "a.parquet", write_rows(tmp_path / "b.csv", [{"text": "very nice"}])
    columns = {"votes": [[1, 2], None], "who": [{"name": "né"}, None], "raw": [b"\xff", b"x"]}
    pq.write_table(pa.table({"text": ["a dog", "you idiot"], **columns}), near)
    score_folder(bundle, [str(near), str(other)], str(tmp_path / "out"), engine=InlineEngine())
    written = [[row[name] for name in columns] for row in scored(tmp_path / "out")]
    assert written == [["[1, 2]", '{"name": "né"}', "\\xff"], [None, None, "x"], [None, None, None]]
    alone = read_rows(score_file(bundle, near, tmp_path / "alone.csv").out)
    assert [[row[name] for name in columns] for row in alone] == [[cell or "" for cell in row] for row in written[:2]]


def test_the_text_column_is_that_of_the_first_file_that_can_be_read(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("none")
    write_rows(tmp_path / "b.csv", [{"text": "a dog"}])
    told = list[str]()
    with pytest.raises(DataError, match=r"a\.parquet: not a readable Parquet file"):
        score_folder(bundle, [str(tmp_path)], str(tmp_path / "out"), engine=InlineEngine(), tell=told.append)
    assert told[0] == 'text is taken from column "text"'


def test_relative_names_begin_in_the_folder_of_the_command(
    bundle: Bundle, tmp_path: Path, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(tmp_path / "in.csv", [{"text": "a dog"}])
    monkeypatch.chdir(tmp_path)
    assert score_folder(bundle, ["in.csv"], "out", engine=engine).rows == 1
    assert len(scored(tmp_path / "out")) == 1


def test_a_file_is_read_once_however_it_is_spelled(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "a.csv", [{"text": "a dog"}])
    names = ["./a.csv", "*.csv", f"../{tmp_path.name}/a.csv", f"file://{tmp_path}/a.csv", str(tmp_path)]
    assert score_folder(bundle, names, "out", engine=InlineEngine()).files == 1
    assert [row["source_file"] for row in scored(tmp_path / "out")] == ["./a.csv"]


@pytest.mark.parametrize("place", ["{}", "file://{}"])
def test_the_output_and_what_is_about_the_data_are_not_read_as_input(
    bundle: Bundle, tmp_path: Path, place: str
) -> None:
    write_rows(tmp_path / "in.csv", [{"text": "a dog"}, {"text": ""}])
    (tmp_path / "_old").mkdir()
    write_rows(tmp_path / "_old" / "in.csv", [{"text": "a dog"}])
    for _ in range(2):
        summary = score_folder(bundle, [place.format(tmp_path)], str(tmp_path / "out"), engine=InlineEngine())
        assert (summary.files, summary.rows) == (1, 2)


# Stopped and gone on with

CHILD = """
import sys
from distilora.cli import main
from distilora.scoring import jobs
import dataclasses
bundle, source, out, engine, address = sys.argv[1:]
from pathlib import Path
from distilora.bundles.bundle import open_bundle
from distilora.scale.scoring import RayEngine
from distilora.scoring.local import LocalEngine
chosen = RayEngine(workers=2, address=address) if engine == "ray" else LocalEngine(workers=2)
wishes = jobs.Wishes(chunk_rows=16, part_bytes=1500)
jobs.score_folder(open_bundle(Path(bundle), threads=1), [source], out, wishes=wishes, engine=chosen)
"""


def test_killed_at_random_moments_the_same_job_ends_in_the_same_folder(
    bundle: Bundle, tmp_path: Path, engine: Any, request: pytest.FixtureRequest
) -> None:
    source, out = write_many(tmp_path / "in.csv", rows=4000), tmp_path / "out"
    address = request.getfixturevalue("ray").get_runtime_context().gcs_address if engine.name == "ray" else ""
    score_folder(bundle, [str(source)], str(tmp_path / "whole"), wishes=SMALL, engine=InlineEngine())
    draw = random.Random(0)  # noqa: S311
    words = [sys.executable, "-c", CHILD, bundle.path, source, out, engine.name, address]
    for _ in range(KILLS):
        before = parts_in(out)
        with subprocess.Popen(words) as child:
            while child.poll() is None and parts_in(out) == before:
                time.sleep(0.001)
            time.sleep(draw.uniform(0, 0.1))
            child.send_signal(signal.SIGKILL)
    summary = score_folder(bundle, [str(source)], str(out), wishes=SMALL, engine=engine)
    assert summary.resumed_rows > 0
    assert contents(out) == contents(tmp_path / "whole")
    assert summary_of(out) == summary_of(tmp_path / "whole")


def parts_in(folder: Path) -> int:
    return len(list(folder.glob("part-*"))) if folder.is_dir() else 0


def test_ctrl_c_leaves_no_worker_and_what_is_done_stays(bundle: Bundle, tmp_path: Path) -> None:
    source, out = write_many(tmp_path / "in.csv", rows=4000), tmp_path / "out"
    words = [sys.executable, "-m", "distilora", "score", bundle.path, source, f"{out}/", "--text", "text"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as child:
        workers = list[psutil.Process]()
        while child.poll() is None and not (workers and (out / "_job.json").exists()):
            workers = psutil.Process(child.pid).children()
        time.sleep(0.2)  # they are begun by now, and not yet done: importing alone takes longer
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=30) == 130
        assert child.stderr is not None
        assert child.stderr.read() == "distilora: stopped; the same command goes on where it stopped\n"
    assert not [worker for worker in workers if worker.is_running() and worker.status() != "zombie"]
    assert not (out / "_summary.json").exists()


def test_workers_end_soon_after_whoever_asked_them_was_killed(bundle: Bundle, tmp_path: Path) -> None:
    source = write_many(tmp_path / "in.csv", rows=4000)
    words = [sys.executable, "-c", CHILD, bundle.path, source, tmp_path / "out", "local", ""]
    with subprocess.Popen(words) as child:
        workers = list[psutil.Process]()
        while child.poll() is None and not parts_in(tmp_path / "out"):
            workers = psutil.Process(child.pid).children()
        child.send_signal(signal.SIGKILL)
    assert workers
    assert psutil.wait_procs(workers, timeout=10)[1] == []


def test_a_job_that_is_done_is_told_again_and_nothing_is_started(bundle: Bundle, tmp_path: Path) -> None:
    source = str(write_many(tmp_path / "in.csv", rows=100))
    first = score_folder(bundle, [source], str(tmp_path / "out"), wishes=SMALL, engine=InlineEngine())
    before = contents(tmp_path / "out")
    again = score_folder(bundle, [source], str(tmp_path / "out"), wishes=SMALL, engine=LocalEngine(2))
    assert (again.workers, again.resumed_rows, again.labels) == (0, 100, first.labels)
    assert contents(tmp_path / "out") == before


@dataclass(frozen=True)
class Stopped:
    """An engine at whose start somebody presses Ctrl-C."""

    name: str = "local"

    def opened(self, bundle: Bundle, order: Order) -> Any:
        raise KeyboardInterrupt


def test_a_summary_is_there_only_while_everything_is(bundle: Bundle, tmp_path: Path) -> None:
    source, out = str(write_many(tmp_path / "in.csv", rows=100)), tmp_path / "out"
    score_folder(bundle, [source], str(out), wishes=SMALL, engine=InlineEngine())
    (out / "part-00000-00001.parquet").unlink()
    with pytest.raises(KeyboardInterrupt):
        score_folder(bundle, [source], str(out), wishes=SMALL, engine=Stopped())
    assert not (out / "_summary.json").exists()
    assert score_folder(bundle, [source], str(out), wishes=SMALL, engine=InlineEngine()).rows == 100
    assert (out / "_summary.json").exists()


def test_what_is_of_no_part_of_the_job_is_gone_in_the_end(bundle: Bundle, tmp_path: Path) -> None:
    source, out = str(write_many(tmp_path / "in.csv", rows=100)), tmp_path / "out"
    score_folder(bundle, [source], str(out), wishes=SMALL, engine=InlineEngine())
    before = contents(out)
    # As a process leaves them that is killed between the two, or that outlives whoever asked it.
    (out / "_rejects" / "rejects-00000-00099.jsonl").write_text('{"row": 1}\n')
    shutil.copy(out / "part-00000-00000.parquet", out / "part-00000-00099.parquet")
    score_folder(bundle, [source], str(out), wishes=SMALL, engine=InlineEngine())
    assert contents(out) == before


@dataclass(frozen=True)
class Haunted:
    """An engine beside which what is left of an older job still writes a part."""

    part: Path
    name: str = "local"

    @contextmanager
    def opened(self, bundle: Bundle, order: Order) -> Iterator[Crew]:
        with InlineEngine().opened(bundle, order) as crew:
            yield crew
        shutil.copy(self.part, order.out)


def test_a_part_that_an_older_job_writes_over_is_named_and_done_again(bundle: Bundle, tmp_path: Path) -> None:
    source, out = str(write_many(tmp_path / "in.csv", rows=100)), tmp_path / "out"
    older = Wishes(threshold=0.9, chunk_rows=16, part_bytes=1500)
    for name, wishes in (("old", older), ("whole", SMALL)):
        score_folder(bundle, [source], str(tmp_path / name), wishes=wishes, engine=InlineEngine())
    haunted = Haunted(tmp_path / "old" / "part-00000-00001.parquet")
    with pytest.raises(DataError, match=r"part-00000-00001\.parquet was taken away or written over"):
        score_folder(bundle, [source], str(out), wishes=SMALL, engine=haunted)
    assert not (out / "_summary.json").exists()
    score_folder(bundle, [source], str(out), wishes=SMALL, engine=InlineEngine())
    assert contents(out) == contents(tmp_path / "whole")


def change_file(bundle: Bundle, source: Path) -> tuple[Bundle, Wishes]:
    os.utime(source, ns=(0, source.stat().st_mtime_ns + 1))
    return bundle, SMALL


def add_file(bundle: Bundle, source: Path) -> tuple[Bundle, Wishes]:
    write_rows(source.parent / "more.csv", [{"id": 1, "text": "a dog"}])
    return bundle, SMALL


def other_bundle(bundle: Bundle, source: Path) -> tuple[Bundle, Wishes]:
    return open_bundle(save_tiny_bundle(source.parent / "other", seed=1), threads=1), SMALL


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (other_bundle, "another bundle"),
        (change_file, r"in\.csv has changed since it was scored"),
        (add_file, "other input files"),
        (lambda bundle, _: (bundle, Wishes(chunk_rows=17, part_bytes=1500)), "chunks of another length"),
        (lambda bundle, _: (bundle, Wishes(chunk_rows=16, part_bytes=1600)), "parts of another size"),
        (lambda bundle, _: (bundle, Wishes(threshold=0.9, chunk_rows=16, part_bytes=1500)), "another threshold"),
        (lambda bundle, _: (bundle, Wishes(prefix="p_", chunk_rows=16, part_bytes=1500)), "other names"),
        (lambda bundle, _: (bundle, Wishes(text="id", chunk_rows=16, part_bytes=1500)), "another text column"),
    ],
)
def test_another_job_in_the_same_folder_is_refused_and_overwrite_starts_anew(
    bundle: Bundle, tmp_path: Path, change: Any, reason: str
) -> None:
    (tmp_path / "in").mkdir()
    source, out = write_many(tmp_path / "in" / "in.csv", rows=100), str(tmp_path / "out")
    score_folder(bundle, [str(tmp_path / "in")], out, wishes=SMALL, engine=InlineEngine())
    before = contents(tmp_path / "out")
    changed, wishes = change(bundle, source)
    given_ = [str(file) for file in sorted((tmp_path / "in").glob("*.csv"))]
    with pytest.raises(DataError, match=reason) as refused:
        score_folder(changed, given_, out, wishes=wishes, engine=InlineEngine())
    assert "--overwrite" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert contents(tmp_path / "out") == before
    score_folder(changed, given_, out, wishes=wishes, engine=InlineEngine(), replace=True)
    score_folder(changed, given_, str(tmp_path / "new"), wishes=wishes, engine=InlineEngine())
    assert contents(tmp_path / "out") == contents(tmp_path / "new")


def test_a_folder_of_other_things_is_left_as_it_is(bundle: Bundle, tmp_path: Path) -> None:
    source = str(write_rows(tmp_path / "in.csv", [{"text": "a dog"}]))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").touch()
    for replace in (False, True):
        with pytest.raises(DataError, match="holds other files and no job"):
            score_folder(bundle, [source], str(tmp_path / "out"), engine=InlineEngine(), replace=replace)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_two_processes_do_not_write_the_same_folder(bundle: Bundle, tmp_path: Path) -> None:
    source = str(write_rows(tmp_path / "in.csv", [{"text": "a dog"}]))
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another process is writing it"):
            score_folder(bundle, [source], str(tmp_path / "out"), engine=InlineEngine())


# What goes wrong on the way


def test_a_file_that_cannot_be_read_is_named_the_others_are_done_and_mended_it_goes_on(
    bundle: Bundle, tmp_path: Path, engine: Any
) -> None:
    for number in range(3):
        rows = [{"id": str(n), "text": f"a dog {n}"} for n in range(60)]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"in-{number}.parquet", row_group_size=30)
    broken, out = tmp_path / "in-1.parquet", tmp_path / "out"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"in-1\.parquet: not a readable Parquet file") as failure:
        score_folder(bundle, [str(tmp_path)], str(out), wishes=SMALL, engine=engine)
    assert "\n" not in str(failure.value)
    assert {row["source_file"][-12:] for row in scored(out)} == {"in-0.parquet", "in-2.parquet"}
    assert not (out / "_summary.json").exists()
    broken.write_bytes(whole)
    summary = score_folder(bundle, [str(tmp_path)], str(out), wishes=SMALL, engine=engine)
    assert (summary.rows, summary.scored, summary.resumed_rows) == (180, 180, 120)


def test_a_part_that_cannot_be_read_leaves_nothing_of_itself_and_its_file_is_done_anew(
    bundle: Bundle, tmp_path: Path
) -> None:
    source, out = tmp_path / "in.parquet", tmp_path / "out"
    table = pa.table({"text": [f"a dog {n}" for n in range(90)]})
    pq.write_table(table, source, row_group_size=30, compression="none", use_dictionary=False)
    whole = source.read_bytes()
    start = pq.read_metadata(source).row_group(1).column(0).data_page_offset
    source.write_bytes(whole[:start] + b"\xff" * 40 + whole[start + 40 :])
    wishes = Wishes(chunk_rows=30, part_bytes=1)
    with pytest.raises(DataError, match=r"in\.parquet: the Parquet file is damaged"):
        score_folder(bundle, [str(source)], str(out), wishes=wishes, engine=InlineEngine())
    assert sorted(file.name for file in out.glob("part*")) == ["part-00000-00000.parquet", "part-00000-00002.parquet"]
    source.write_bytes(whole)
    summary = score_folder(bundle, [str(source)], str(out), wishes=wishes, engine=InlineEngine())
    assert (summary.rows, summary.resumed_rows, len(scored(out))) == (90, 0, 90)


def test_a_full_disk_ends_it_in_one_line_and_nothing_looks_whole(bundle: Bundle, tmp_path: Path) -> None:
    source, out = write_many(tmp_path / "in.csv", rows=4000), tmp_path / "out"
    words = [sys.executable, "-m", "distilora", "score", bundle.path, source, f"{out}/", "--text", "text"]
    # No file may grow beyond 8 KiB: the job's own record is less, a part is more.
    full = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -f 8; exec "$@"', "sh", *map(str, words)], capture_output=True, text=True, check=False
    )
    assert full.returncode == 2
    assert full.stderr.splitlines()[-1].startswith(f"distilora: {out}/")
    assert full.stderr.splitlines()[-1].endswith("File too large")
    assert [file.name for file in out.iterdir() if not file.name.startswith(("_", ".lock"))] == []
    assert not (out / "_summary.json").exists()
    assert score_folder(bundle, [str(source)], str(out), wishes=Wishes(text="text")).rows == 4000


@dataclass(frozen=True)
class Deadly:
    """An engine some of whose workers are killed at their first part."""

    engine: Any
    kills: int

    @property
    def name(self) -> str:
        return str(self.engine.name)

    @contextmanager
    def opened(self, bundle: Bundle, order: Order) -> Iterator[Crew]:
        with self.engine.opened(bundle, order) as crew:
            left = [signal.SIGKILL] * self.kills

            def start() -> Any:
                worker = crew.start()
                if left:
                    os.kill(worker.pid, left.pop())
                return worker

            yield Crew(start, 1)


def test_a_worker_that_vanishes_is_replaced(bundle: Bundle, tmp_path: Path, engine: Any) -> None:
    source = str(write_many(tmp_path / "in.csv", rows=200))
    summary = score_folder(bundle, [source], str(tmp_path / "out"), wishes=SMALL, engine=Deadly(engine, kills=1))
    assert summary.rows == 200


def test_two_workers_that_vanish_at_one_part_end_it_in_one_line(bundle: Bundle, tmp_path: Path, engine: Any) -> None:
    source = str(write_many(tmp_path / "in.csv", rows=200))
    with pytest.raises(WorkerError, match=r"part-00000-00000\.parquet \(rows 1 to \d+ of file 1\)") as failure:
        score_folder(bundle, [source], str(tmp_path / "out"), wishes=SMALL, engine=Deadly(engine, kills=2))
    assert "\n" not in str(failure.value)
    assert not (tmp_path / "out" / "_summary.json").exists()
    assert score_folder(bundle, [source], str(tmp_path / "out"), wishes=SMALL, engine=engine).rows == 200


def test_parts_are_cut_only_when_a_worker_is_idle_so_that_memory_does_not_grow() -> None:
    taken = scored_parts = 0

    def parts() -> Iterator[Part | PartFailed]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield Part(file=0, number=number, rows_before=number, rows=1, size_bytes=1, is_last=number == 49)

    class Counting:
        def score(self, part: Part) -> PartDone:
            nonlocal scored_parts
            scored_parts += 1
            assert taken == scored_parts
            return PartDone(job_id="", part=part, scored=1, cut=0, labels={}, rejects={})

        def stop(self) -> None: ...
        def close(self) -> None: ...

    assert len(list(run_parts(parts(), Counting, workers=1))) == taken == 50


# Ray itself


def test_ray_listens_on_the_loopback_address_alone(ray: Any) -> None:
    ray.get(ray.remote(lambda: None).remote())
    listening = [
        connection.laddr.ip
        for process in psutil.Process().children(recursive=True)
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 2
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_what_went_wrong_in_a_process_of_ray_is_told_in_one_line(ray: Any) -> None:
    def fail() -> None:
        raise ValueError("no \x1b[31mroom\nat all")

    class Failing:
        def __init__(self) -> None:
            raise ValueError("no \x1b[31mroom")

        def ready(self) -> None: ...

    with pytest.raises(ray.exceptions.RayError) as task:
        ray.get(ray.remote(fail).remote())
    failing = ray.remote(Failing).remote()
    with pytest.raises(ray.exceptions.RayError) as actor:
        ray.get(failing.ready.remote())
    assert ray_says(task.value) == ray_says(actor.value) == "ValueError: no \\x1b[31mroom"


def test_without_ray_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'distilora\[ray\]'"):
        require_ray()


def test_ray_that_does_not_see_this_process_refuses_its_memory(bundle: Bundle) -> None:
    with pytest.raises(DataError, match="--engine local"):
        score_folder(bundle, ["memory://in.csv"], "memory://out", engine=RayEngine())


# The command


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    return lambda *words: run(monkeypatch, capsys, *words)


def test_the_command_scores_several_files_into_a_folder_and_tells_what_it_came_to(
    cli: Any, bundle: Bundle, tmp_path: Path
) -> None:
    sources = [write_many(tmp_path / f"in-{number}.csv", rows=50) for number in range(2)]
    code, said, _ = cli("score", bundle.path, *sources, f"{tmp_path}/out/", "--workers", "1")
    assert code == 0
    assert "86 of 100 rows scored at" in said or "84 of 100 rows scored at" in said
    assert "text is empty: " in said
    code, said, err = cli("score", bundle.path, *sources, f"{tmp_path}/out/", "--json")
    assert code == 0
    assert json.loads(said)["resumed_rows"] == 100
    assert "goes on: 100 rows in 2 parts are done" in err


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["a.csv", "b.csv", "out.csv"], "out.csv: is called like a file.*2 files goes into a folder: out/"),
        (["*.csv", "out.csv"], r"\*\.csv goes into a folder: out/"),
        (["a.csv", "out.csv", "--engine", "ray"], "--engine ray: is for a folder of parts; name one, such as out/"),
        (["a.csv", "out.csv", "--workers", "2"], "--workers: is for a folder"),
        (["a.csv", "out/", "--ray-address", "x:1"], "add --engine ray"),
        (["none.csv", "out/"], "none.csv: no such file or folder"),
        (["none-*.csv", "out/"], r"none-\*.csv: no file matches"),
        (["zz://a.csv", "out/"], "zz:// is no kind of place"),
        (["s3://bucket/a.csv", "out/"], "s3fs"),
    ],
)
def test_what_cannot_be_is_one_line(  # noqa: PLR0917 - fixtures
    cli: Any, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], answer: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "b.csv"):
        write_rows(tmp_path / name, [{"text": "a dog"}])
    code, out, err = cli("score", bundle.path, *words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert re.search(answer, err)
    assert {file.name for file in tmp_path.iterdir()} == {"a.csv", "b.csv"}


def test_a_threshold_that_means_nothing_leaves_nothing_behind(tmp_path: Path) -> None:
    plain = open_bundle(save_tiny_bundle(tmp_path / "plain", positive=()), threads=1)
    source = str(write_rows(tmp_path / "in.csv", [{"text": "a dog"}]))
    with pytest.raises(BundleError, match="threshold"):
        score_folder(plain, [source], str(tmp_path / "out"), wishes=Wishes(threshold=0.5), engine=InlineEngine())
    assert not (tmp_path / "out").exists()


def test_the_rows_that_csv_says_are_the_rows_that_are_written(bundle: Bundle, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    with source.open("w", newline="") as stream:
        csv.writer(stream).writerows([["text"], *[[f'he said "no"\nand left {n}'] for n in range(500)]])
    summary = score_folder(bundle, [str(source)], str(tmp_path / "out"), wishes=SMALL, engine=InlineEngine())
    assert summary.parts > 5
    assert [row["text"] for row in scored(tmp_path / "out")] == [f'he said "no"\nand left {n}' for n in range(500)]
