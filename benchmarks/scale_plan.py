"""What a hundred million comments need, worked out from what ``benchmarks/scale.py`` measured; prints Markdown.

python benchmarks/scale_plan.py build/bench-scale.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

_COMMENTS = 100_000_000
_WORKERS = (1, 10, 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", type=Path, nargs="?", default=Path("build/bench-scale.json"))
    measured: dict[str, Any] = json.loads(parser.parse_args().measured.read_text(encoding="utf-8"))
    print(_measured_table(measured))
    print(_plan_table(measured))


def _measured_table(measured: dict[str, Any]) -> str:
    sizes = sorted(measured["per_comment_us"], key=int)
    lines = [
        f"Measured on {measured['processor']}, {measured['processors']} processors, {measured['workers']} workers:",
        "",
        "| comments | one worker, a comment | all workers, a comment | most memory |",
        "|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {int(size):,} | {measured['per_comment_us'][size]:.0f} µs | "
        f"{measured['wall_per_comment_us'][size]:.0f} µs | {measured['peak_mib'][size]:.0f} MiB |"
        for size in sizes
    ]
    return "\n".join([
        *lines,
        "",
        f"Two workers over one: {measured['two_workers_vs_one']:.2f}. Ray's time over the local engine's, start-up "
        f"included: {measured['ray_time_vs_local']:.2f} (without: {measured['ray_time_vs_local_after_start_up']:.2f}). "
        f"Start-up: {measured['start_up_seconds']['local']:.1f} s here, {measured['start_up_seconds']['ray']:.1f} s "
        f"with Ray. Tokenising: {measured['tokenising_us']:.0f} µs a comment. Cutting a CSV file: "
        f"{measured['cut_rows_per_s']:,.0f} rows a second.",
        "",
    ])  # fmt: skip


def _plan_table(measured: dict[str, Any]) -> str:
    sizes = sorted(measured["per_comment_us"], key=int)
    second = measured["per_comment_us"][sizes[-1]] / 1e6
    cutting = 1 / measured["cut_rows_per_s"]
    bytes_in, bytes_out = measured["bytes_a_comment"]["in"], measured["bytes_a_comment"]["out"]
    lines = [
        f"{_COMMENTS:,} comments of {bytes_in:.0f} bytes; {second * 1e6:.0f} µs of a worker a comment, "
        f"{second * 1e6 / 3600:.2f} hours of a processor for a million:",
        "",
        "| workers | hours | comments a second | read | written | what limits |",
        "|---:|---:|---:|---:|---:|---|",
    ]
    for workers in _WORKERS:
        seconds = _COMMENTS * max(second / workers, cutting)
        rate = _COMMENTS / seconds
        limit = "cutting one CSV file" if cutting > second / workers else "the model"
        lines.append(
            f"| {workers} | {seconds / 3600:.1f} | {rate:,.0f} | {rate * bytes_in / 1e6:.1f} MB/s | "
            f"{rate * bytes_out / 1e6:.1f} MB/s | {limit} |"
        )
    most = second / cutting
    return "\n".join([*lines, "", f"One process cuts CSV fast enough for {most:,.0f} workers.", ""])


if __name__ == "__main__":
    main()
