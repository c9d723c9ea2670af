"""How ``distilora score`` grows: with the comments, with a second worker, and on Ray.

    python benchmarks/scale.py --data comments.csv --text tweet --label label

Written to ``--out``:

- ``two_workers_vs_one``: comments a second of two workers of one thread each, over those of one such worker; in turn,
  the median of three.
- ``ray_time_vs_local``: seconds on Ray over seconds of the local engine, for ``--rows`` comments, the rows of
  ``--data`` again and again, with as many workers; start-up of both included, and told apart beside it.
- ``per_comment_us``: what one worker takes for one comment, at each size after start-up, in 10^-6 seconds, and beside
  it what the whole takes.
- ``tokenising_us``: what of it one thread takes to tokenise.
- ``peak_mib``: the most memory that the command and all its workers held at once.

Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import psutil

from distilora.bundles.classifiers import Classifier
from distilora.bundles.storage import read_bundle
from distilora.files import write_whole
from distilora.machine import processor, usable_processors
from trained_models import MODELS, trained

_SIZES = (10_000, 100_000, 1_000_000)
_TURNS = 3
_SAMPLE_EVERY_S = 0.25


@dataclass(frozen=True)
class _Job:
    """One call of the command."""

    bundle: Path
    comments: Path
    engine: str
    workers: int


def main() -> None:
    arguments = _arguments()
    bundle = arguments.bundle or _trained_bundle(arguments)
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        work = Path(folder)
        texts = _texts(arguments.data, arguments.text)
        sizes = sorted({min(size, arguments.rows) for size in _SIZES})
        files = {size: _repeated(texts, size, work / f"{size}.csv") for size in sizes}
        report = _measured(bundle, files, workers=arguments.workers)
        report["tokenising_us"] = _tokenising_us(bundle, texts)
    here = {"processor": processor(), "processors": usable_processors(), "rows": arguments.rows}
    write_whole(arguments.out, json.dumps({**here, **report}, indent=1) + "\n")
    print(f"two workers over one: {report['two_workers_vs_one']:.2f}")
    print(f"Ray's time over the local engine's: {report['ray_time_vs_local']:.2f}")
    print(f"microseconds a comment: {report['per_comment_us']}")
    print(f"written to {arguments.out}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="CSV of comments")
    parser.add_argument("--text", default="tweet", help="its column of texts")
    parser.add_argument("--label", default="label", help="its column of labels, for training")
    parser.add_argument("--rows", type=int, default=_SIZES[-1], help="comments of the largest job")
    parser.add_argument("--bundle", type=Path, help="what scores; absent: an odd student trained on a few rows")
    parser.add_argument("--workers", type=int, default=2, help="on all but the job of one worker")
    parser.add_argument("--work", type=Path, help="folder for input and output; absent: the system's")
    parser.add_argument("--out", type=Path, default=Path("build/bench-scale.json"))
    arguments = parser.parse_args()
    if not arguments.data.is_file():
        parser.error(f"--data {arguments.data}: no such file; name a CSV of comments, such as make bench-scale DATA=…")
    return arguments


def _trained_bundle(arguments: argparse.Namespace) -> Path:
    experiment = trained(MODELS / "scale", data=arguments.data, text=arguments.text, label=arguments.label)
    return experiment / "odd" / "bundle"


def _texts(data: Path, column: str) -> list[str]:
    with data.open(encoding="utf-8", newline="") as stream:
        texts = [row[column] for row in csv.DictReader(stream)]
    return [text for text in texts if text.strip()]


def _repeated(texts: Sequence[str], rows: int, path: Path) -> Path:
    """Return a file of so many comments, the given ones again and again."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "text"])
        writer.writerows(enumerate(islice(cycle(texts), rows)))
    return path


def _measured(bundle: Path, files: dict[int, Path], *, workers: int) -> dict[str, Any]:
    local = {size: _run(_Job(bundle, file, "local", workers)) for size, file in files.items()}
    largest, middle = max(files), sorted(files)[len(files) // 2]
    on_ray = _run(_Job(bundle, files[largest], "ray", workers))
    turns = [[_run(_Job(bundle, files[middle], "local", count)) for count in (1, 2)] for _ in range(_TURNS)]
    ratios = [two["texts_per_s"] / one["texts_per_s"] for one, two in turns]
    return {
        "two_workers_vs_one": statistics.median(ratios),
        "two_workers_vs_one_each": ratios,
        "two_workers_vs_one_rows": middle,
        "texts_per_s_of_one_worker": statistics.median(one["texts_per_s"] for one, _ in turns),
        "ray_time_vs_local": on_ray["seconds"] / local[largest]["seconds"],
        "ray_time_vs_local_after_start_up": _working(on_ray) / _working(local[largest]),
        "per_comment_us": {str(size): run["worker_seconds"] / run["rows"] * 1e6 for size, run in local.items()},
        "wall_per_comment_us": {str(size): _working(run) / run["rows"] * 1e6 for size, run in local.items()},
        "start_up_seconds": {
            "local": statistics.median(run["start_up_seconds"] for run in local.values()),
            "ray": on_ray["start_up_seconds"],
        },
        "peak_mib": {str(size): run["peak_mib"] for size, run in local.items()} | {"ray": on_ray["peak_mib"]},
        "bytes_a_comment": _bytes_a_comment(local[largest]),
        "cut_rows_per_s": _cut_rows_per_s(files[largest]),
        "workers": workers,
        "runs": {**{f"local-{size}": run for size, run in local.items()}, f"ray-{largest}": on_ray},
    }


def _working(run: dict[str, Any]) -> float:
    return float(run["seconds"] - run["start_up_seconds"])


def _run(job: _Job) -> dict[str, Any]:
    """Return the command's summary of one job, with the seconds of its whole process and the most memory."""
    out = job.comments.with_suffix(".out")
    command = [
        sys.executable, "-m", "distilora", "score", str(job.bundle), str(job.comments), f"{out}/",
        "--engine", job.engine, "--workers", str(job.workers), "--text", "text", "--json",
    ]  # fmt: skip
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        memory = _Memory(process.pid)
        said, _ = process.communicate()
        process_seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with exit code {process.returncode}")
    sizes = {"bytes_in": job.comments.stat().st_size, "bytes_out": sum(file.stat().st_size for file in out.glob("*"))}
    shutil.rmtree(out)
    print(f"{job.comments.stem} comments, {job.engine}, {job.workers} workers: {process_seconds:.1f} s", flush=True)
    summary: dict[str, Any] = json.loads(said)
    return {**summary, **sizes, "out": None, "process_seconds": process_seconds, "peak_mib": memory.peak()}


class _Memory:
    """Watches a process and all below it, until they end: what each holds alone, and its share of what several do."""

    def __init__(self, pid: int) -> None:
        self._peak = 0.0
        self._process = psutil.Process(pid)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def peak(self) -> float:
        """Return the most memory that all of them held at once, in MiB."""
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE:
            try:
                family = [self._process, *self._process.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            self._peak = max(self._peak, sum(_held(process) for process in family) / 2**20)
            time.sleep(_SAMPLE_EVERY_S)


def _held(process: psutil.Process) -> int:
    try:
        memory = process.memory_full_info()
    except psutil.Error:
        return 0
    return int(getattr(memory, "pss", memory.uss))


def _bytes_a_comment(run: dict[str, Any]) -> dict[str, float]:
    return {"in": run["bytes_in"] / run["rows"], "out": run["bytes_out"] / run["rows"]}


def _cut_rows_per_s(comments: Path) -> float:
    """Return how fast a CSV file is cut into parts, which one process does for all workers."""
    from distilora.scoring.cutting import cut, part_bytes_for
    from distilora.scoring.inputs import find_inputs
    from distilora.scoring.parts import PartsJob

    files = find_inputs([str(comments)], out=str(comments.parent / "none"))
    job = PartsJob(
        versions={}, bundle_id="", threshold=None, long_texts="truncate", prefix="", text_column="text",
        columns=("id", "text"), schema_base64=None, chunk_rows=2048, part_bytes=part_bytes_for(files),
    )  # fmt: skip
    began = time.perf_counter()
    rows = sum(part.rows for part in cut(files[0], at=0, job=job, done={}))
    return rows / (time.perf_counter() - began)


def _tokenising_us(bundle: Path, texts: Sequence[str]) -> float:
    """Return what one thread takes to tokenise a comment and to find its batch, in 10^-6 seconds."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    classifier = Classifier(read_bundle(bundle))
    began = time.perf_counter()
    classifier.prepared(texts, long_texts="truncate", threads=1)
    return (time.perf_counter() - began) / len(texts) * 1e6


if __name__ == "__main__":
    main()
