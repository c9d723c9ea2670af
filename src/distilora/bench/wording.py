"""A benchmark in words and one table, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from distilora.bench.records import BenchReport, ContenderFigures, MachineFigures, Spread

_MISSING = "—"
_SPARE_LOAD = 0.5
"""More load than the threads leave room for misleads: with one of two cores taken, torch on two threads took ten times
as long for a text."""
_HEADER = (
    "",
    "texts/s",
    "worst to best",
    "× first",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "load s",
    "peak MiB",
    "MB",
    "same labels",
    "of peak",
)
_KEY = """\
texts/s of all texts together, median of the rounds; × first: over the first line's in the same round
p50, p95, p99: how long one text alone takes, of {latency}
load: to import and open in a fresh process; peak MiB: the most memory of that process; MB: files to ship
same labels: texts whose likeliest class is the first line's; of peak: operations a second over the machine's best"""


def describe(report: BenchReport) -> str:
    """Return all that ``distilora bench`` tells, one line a contender in columns of even width, ready to print."""
    lines = [
        f"{_counted(report.texts, 'text')} of {report.characters_per_text:,.0f} characters on average, tokenising "
        f"included, {_counted(report.rounds, 'round')} in turn, {_counted(report.threads, 'thread')}",
        "",
        *aligned([_HEADER, *(_cells(one) for one in report.contenders)]),
        "",
        _KEY.format(latency=_counted(report.contenders[0].latency.texts, "text")),
        _machine(report.machine),
    ]
    if _is_busy(report):
        lines.append("the machine was busy, so ratios mislead: torch on several threads suffers most; repeat when idle")
    return "\n".join(lines)


def _is_busy(report: BenchReport) -> bool:
    busy = report.machine.busy_processors
    return busy is not None and busy + report.threads > report.machine.cores + _SPARE_LOAD


def _cells(one: ContenderFigures) -> tuple[str, ...]:
    return (
        f"{one.path} ({one.precision})" if one.precision else one.path,
        f"{one.texts_per_s.median:,.0f}",
        _span(one.texts_per_s),
        _ratio(one.relative_throughput.median),
        f"{one.latency.p50_ms:.2f}",
        f"{one.latency.p95_ms:.2f}",
        f"{one.latency.p99_ms:.2f}",
        f"{one.load_seconds:.2f}",
        f"{one.memory_peak_mib:,.0f}",
        f"{one.size_bytes / 1e6:.1f}",
        _percent(one.same_labels),
        _percent(one.share_of_peak),
    )


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines whose columns are of even width, the first to the left.

    Example:
        >>> aligned([("", "ms"), ("a bundle", "1")])
        ['          ms', 'a bundle   1']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _machine(machine: MachineFigures) -> str:
    absent = "not measured (needs torch, and a processor that computes in it)"
    bf16 = absent if machine.bf16_gflops is None else f"{machine.bf16_gflops:,.0f}"
    busy = "" if machine.busy_processors is None else f" of which others kept {machine.busy_processors:.1f} busy"
    return (
        f"{machine.processor}, {_counted(machine.cores, 'core')}{busy}; peak of matrix products in 10⁹ operations/s: "
        f"fp32 {machine.fp32_gflops:,.0f}, int8 {machine.int8_gops:,.0f}, bf16 {bf16}"
    )


def _span(spread: Spread) -> str:
    return f"{spread.low:,.0f} to {spread.high:,.0f}"


def _ratio(times: float) -> str:
    return f"{times:.2f}" if times >= 1 else f"{times:.3g}"


def _percent(share: float | None) -> str:
    return _MISSING if share is None else f"{share:.1%}"


def _counted(amount: int, noun: str) -> str:
    return f"{amount:,} {noun}" + ("" if amount == 1 else "s")
