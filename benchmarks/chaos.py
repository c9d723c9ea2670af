"""Kills ``distilora`` at random moments, again and again, and looks whether the end is that of an undisturbed run.

    python benchmarks/chaos.py --kills 20

For each part (``score`` and ``compare`` on each engine) one job is done undisturbed, and one is killed with ``kill -9``
at seeded random moments until so many kills have hit; what is left is gone on with each time. Then all files of both
must be equal, byte for byte, but for times, with each row of the input there once; of ``compare`` all runs count.
The result is ``--out``, and exit code 1 if any part differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from distilora.config import to_toml
from distilora.files import write_whole
from distilora.runs import Result

_ENGINES = ("local", "ray")
_WORDS = ("you", "are", "not", "very", "nice", "stupid", "people", "thank", "dog", "hate")
_TIMES = {"_summary.json", ".lock"}
"""Files that hold times, or nothing."""


class Ordeal(NamedTuple):
    """One part: what is called, where it writes, and how its end is judged."""

    name: str
    command: Callable[[Path], list[str]]
    """Of the command that writes a folder."""
    problem: Callable[[Path, Path], str | None]
    """What differs between the undisturbed folder and the other, or ``None``."""


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        ordeals = [ordeal for make in _PARTS.values() for ordeal in make(Path(folder), arguments)]
        chosen = [ordeal for ordeal in ordeals if not arguments.only or ordeal.name in arguments.only]
        results = [_undergone(ordeal, Path(folder), arguments) for ordeal in chosen]
    write_whole(arguments.out, json.dumps({"seed": arguments.seed, "parts": results}, indent=1) + "\n")
    print(f"written to {arguments.out}")
    if any(result["problem"] for result in results):
        raise SystemExit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="of each part")
    parser.add_argument("--rows", type=int, default=60_000, help="comments to score, in three files")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    names = [f"{part}-{engine}" for part in _PARTS for engine in _ENGINES]
    parser.add_argument("--only", nargs="*", choices=names, help="some of the parts")
    parser.add_argument("--out", type=Path, default=Path("build/chaos.json"))
    return parser.parse_args()


def _score_ordeals(folder: Path, arguments: argparse.Namespace) -> list[Ordeal]:
    sys.path.append(str(Path(__file__).parent.parent / "tests"))
    bundle = import_module("tiny_bundle").save_tiny_bundle(folder / "bundle")
    inputs = folder / "in"
    inputs.mkdir()
    rows = _write_comments(inputs, rows=arguments.rows, seed=arguments.seed)

    def command(engine: str) -> Callable[[Path], list[str]]:
        return lambda out: [
            sys.executable, "-m", "distilora", "score", str(bundle), str(inputs), f"{out}/",
            "--engine", engine, "--workers", "2", "--text", "text",
        ]  # fmt: skip

    def problem(whole: Path, out: Path) -> str | None:
        return _rows_problem(out, rows) or _bytes_problem(whole, out)

    return [Ordeal(f"score-{engine}", command(engine), problem) for engine in _ENGINES]


def _compare_ordeals(folder: Path, arguments: argparse.Namespace) -> list[Ordeal]:  # noqa: ARG001
    """Return the training of four methods with two seeds, on made-up comments and a tiny encoder."""
    sys.path.append(str(Path(__file__).parent.parent / "tests"))
    settings = import_module("tiny_experiment").tiny_settings(
        folder / "compare",
        epochs=4,
        run=("teacher", "odd", "odd-lora", "teacher+odd"),
        seeds=(0, 1),
        training={"dropout": 0.1},
        evidence={"costs": False, "layers": False, "noise_rows": 0},
    )
    file = folder / "compare" / "experiment.toml"
    file.write_text(to_toml(settings.model_dump(exclude_unset=True)), encoding="utf-8")

    def command(engine: str) -> Callable[[Path], list[str]]:
        return lambda out: [
            sys.executable, "-m", "distilora", "compare", str(file), "--no-export",
            "--engine", engine, "--out", str(out),
        ]  # fmt: skip

    return [Ordeal(f"compare-{engine}", command(engine), runs_problem) for engine in _ENGINES]


def runs_problem(whole: Path, out: Path) -> str | None:
    """Return in what the runs of two experiments differ, their clocks and memory apart, or nothing."""
    before, after = _run_contents(whole), _run_contents(out)
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return f"{len(names)} files of runs differ, such as {names[0]}" if names else None


def _run_contents(experiment: Path) -> dict[str, bytes | str]:
    contents: dict[str, bytes | str] = {}
    for file in sorted(experiment.glob("*/seed-*/**/*")):
        name = str(file.relative_to(experiment))
        if file.name == "result.json":
            measured = {"training_seconds", "training_memory_mib"}
            contents[name] = Result.model_validate_json(file.read_bytes()).model_dump_json(exclude=measured)
        elif file.is_file() and file.name != "README.md":  # the card tells of times
            contents[name] = file.read_bytes()
    return contents


_PARTS: dict[str, Callable[[Path, argparse.Namespace], list[Ordeal]]] = {
    "score": _score_ordeals,
    "compare": _compare_ordeals,
}


def _undergone(ordeal: Ordeal, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what came of one part."""
    whole, out = folder / f"{ordeal.name}-whole", folder / f"{ordeal.name}-out"
    seconds = _undisturbed(ordeal.command(whole))
    draw = random.Random(arguments.seed)  # noqa: S311
    kills = rounds = 0
    problem = None
    while kills < arguments.kills and problem is None:
        # A moment anywhere in the run, the start-up too; a run that ends before it is judged, and done anew.
        if _killed(ordeal.command(out), after=draw.uniform(0, seconds)):
            kills += 1
            continue
        problem = ordeal.problem(whole, out)
        rounds += 1
        shutil.rmtree(out)
    if problem is None:
        _undisturbed(ordeal.command(out))
        problem = ordeal.problem(whole, out)
        rounds += 1
    for path in (whole, out):
        shutil.rmtree(path, ignore_errors=True)
    print(f"{ordeal.name}: {kills} kills, {rounds} folders compared: {problem or 'equal'}", flush=True)
    return {"name": ordeal.name, "kills": kills, "compared": rounds, "problem": problem, "seconds_alone": seconds}


def _undisturbed(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def _killed(command: Sequence[str], *, after: float) -> bool:
    """Return whether the command was still running when it was killed."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(timeout=after)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            return True
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with exit code {process.returncode}")
    return False


def _write_comments(folder: Path, *, rows: int, seed: int) -> set[tuple[str, int]]:
    """Return file and number of each row that can be read, of three files of random comments; every ninth cannot."""
    draw, found = random.Random(seed), set[tuple[str, int]]()  # noqa: S311
    for file in range(3):
        path = folder / f"in-{file}.jsonl"
        with path.open("w", encoding="utf-8") as stream:
            for row in range(1, rows // 3 + 1):
                text = " ".join(draw.choices(_WORDS, k=draw.randint(1, 20))) if row % 9 else ""
                stream.write(json.dumps({"text": text}) + "\n")
                if text:
                    found.add((str(path), row))
    return found


def _rows_problem(out: Path, rows: set[tuple[str, int]]) -> str | None:
    table = pq.read_table(out, columns=["source_file", "source_row"])
    written = list(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))
    if len(written) != len(set(written)):
        return f"{len(written) - len(set(written))} rows are there twice"
    lost = len(rows.difference(written))
    return f"{lost} rows are lost" if lost else None


def _bytes_problem(whole: Path, out: Path) -> str | None:
    before, after = _hashes(whole), _hashes(out)
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return f"{len(names)} files differ, such as {names[0]}" if names else None


def _hashes(folder: Path) -> dict[str, str]:
    files = [file for file in folder.rglob("*") if file.is_file() and file.name not in _TIMES]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


if __name__ == "__main__":
    main()
