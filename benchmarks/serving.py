"""How much faster the int8 odd student of ``minilm`` answers than what the earlier projects run.

Side by side, in turn, in one run, tokenising included, on rows drawn at random: the bundle, and the fp32 torch teacher
and fp32 torch odd student in batches of 32 in file order, padded to the longest of the batch, as
``notebook_baseline.py`` predicts. Ratios are of texts a second in the same round; the median counts.

    python benchmarks/serving.py --data comments.csv --text tweet --label label

The models come from ``--experiment``, which is trained first, quickly, where it is not there yet: how fast a model is
does not depend on how well it was trained.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilora.bench.records import BenchReport, ContenderFigures
from distilora.bench.running import read_texts, run_bench
from distilora.bench.wording import describe
from distilora.bundles.storage import read_manifest
from distilora.files import write_whole
from trained_models import MODELS, say, trained


@dataclass(frozen=True)
class _Part:
    """Comments, and the models that were trained on such."""

    data: Path
    text: str
    label: str
    rows: int
    experiment: Path
    bundle: Path | None
    """Absent: the experiment's own."""


def main() -> None:
    arguments = _arguments()
    short, *long = _parts(arguments)
    report = _measured(short, arguments)
    if long:
        report["long"] = _measured(long[0], arguments)
    write_whole(arguments.out, json.dumps(report, indent=1) + "\n")
    for name, part in (("short", report), ("long", report.get("long"))):
        if part is not None:
            print(f"{name}: {_sentence(part)}")
    print(f"written to {arguments.out}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="CSV of short comments")
    parser.add_argument("--text", default="tweet", help="its column of texts")
    parser.add_argument("--label", default="label", help="its column of labels")
    parser.add_argument("--rows", type=int, default=4000, help="rows drawn from it")
    parser.add_argument("--experiment", type=Path, help="folder of teacher and odd trained on it; absent: made")
    parser.add_argument("--bundle", type=Path, help="int8 bundle of odd; absent: the experiment's own")
    parser.add_argument("--long-data", type=Path, help="CSV of long comments; absent: none are measured")
    parser.add_argument("--long-text", default="comment_text", help="its column of texts")
    parser.add_argument("--long-label", default="toxic", help="its column of labels")
    parser.add_argument("--long-rows", type=int, default=1000, help="rows drawn from it")
    parser.add_argument("--long-experiment", type=Path, help="as --experiment")
    parser.add_argument("--long-bundle", type=Path, help="as --bundle")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="of every model")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of the rows")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    arguments = parser.parse_args()
    for option, path in (("--data", arguments.data), ("--long-data", arguments.long_data)):
        if path is not None and not path.is_file():
            parser.error(f"{path}: no such file; name a CSV of comments with {option}")
    return arguments


def _parts(arguments: argparse.Namespace) -> list[_Part]:
    parts = []
    for prefix in ("", "long_"):
        given = {name: getattr(arguments, prefix + name) for name in ("data", "text", "label", "rows", "bundle")}
        if given["data"] is not None:
            folder = getattr(arguments, f"{prefix}experiment") or MODELS / given["data"].stem
            parts.append(_Part(**given, experiment=folder))
    return parts


def _measured(part: _Part, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one part, with everything that was measured below them."""
    bundle = part.bundle or (
        trained(part.experiment, data=part.data, text=part.text, label=part.label) / "odd" / "bundle"
    )
    if (precision := read_manifest(bundle).precision) != "int8":
        raise SystemExit(f"{bundle}: is {precision}, not int8; export it in int8")
    texts = read_texts(str(part.data), text=part.text, rows=part.rows, seed=arguments.seed)
    report = run_bench(
        [bundle, part.experiment / "teacher", part.experiment / "odd"],
        texts,
        rounds=arguments.rounds,
        seed=arguments.seed,
        threads=arguments.threads,
        tell=say,
    )
    print(f"\n{describe(report)}\n", flush=True)
    return _figures(report, data=part.data.name)


def _figures(report: BenchReport, *, data: str) -> dict[str, Any]:
    bundle, teacher, student = report.contenders
    return {
        "int8_odd_vs_torch_teacher": _ratio(bundle, teacher),
        "int8_odd_vs_torch_student": _ratio(bundle, student),
        "texts_per_s": bundle.texts_per_s.median,
        "single_p50_ms": bundle.latency.p50_ms,
        "share_of_int8_peak": bundle.share_of_peak,
        "int8_peak_gops": report.machine.int8_gops,
        "fp32_peak_gflops": report.machine.fp32_gflops,
        "bf16_peak_gflops": report.machine.bf16_gflops,
        "data": data,
        "rows": report.texts,
        "report": report.model_dump(mode="json"),
    }


def _ratio(fast: ContenderFigures, slow: ContenderFigures) -> float:
    """Return how many times as many texts a second the one classifies, median over the rounds."""
    return statistics.median(seconds / own for own, seconds in zip(fast.round_seconds, slow.round_seconds, strict=True))


def _sentence(part: dict[str, Any]) -> str:
    share = "" if part["share_of_int8_peak"] is None else f" ({part['share_of_int8_peak']:.1%} of it reached)"
    return (
        f"{part['rows']:,} rows of {part['data']}: int8 odd {part['texts_per_s']:,.0f} texts/s, "
        f"{part['int8_odd_vs_torch_teacher']:.1f} times the torch teacher, "
        f"{part['int8_odd_vs_torch_student']:.1f} times the torch student; "
        f"one text p50 {part['single_p50_ms']:.2f} ms; "
        f"peaks in GFLOP/s: int8 {part['int8_peak_gops']:,.0f}{share}, fp32 {part['fp32_peak_gflops']:,.0f}, "
        f"bf16 {part['bf16_peak_gflops']:,.0f}"
    )


if __name__ == "__main__":
    main()
