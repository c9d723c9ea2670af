"""A benchmark in words and one table, for a terminal."""

from __future__ import annotations

from distilora.bench.records import BenchReport, ContenderFigures, MachineFigures, Spread

_MISSING = "—"
_HEADER = (
    "",
    "texts/s",
    "worst to best",
    "× first",
    "one text: p50",
    "p95",
    "p99 ms",
    "load s",
    "MiB at most",
    "MB",
    "same labels",
    "of peak",
)


def describe(report: BenchReport) -> str:
    """Return all that ``distilora bench`` tells, one line a contender in columns of even width, ready to print."""
    lines = [
        f"{_counted(report.texts, 'text')}, tokenising included, {_counted(report.rounds, 'round')} in turn, "
        f"{_counted(report.threads, 'thread')}",
        "",
        *_table([_HEADER, *(_cells(one) for one in report.contenders)]),
        "",
        _machine(report.machine),
    ]
    return "\n".join(lines)


def _cells(one: ContenderFigures) -> tuple[str, ...]:
    return (
        f"{one.path} ({one.precision})" if one.precision else one.path,
        f"{one.texts_per_s.median:,.0f}",
        _span(one.texts_per_s),
        f"{one.relative_throughput.median:.3g}",
        f"{one.latency.p50_ms:.2f}",
        f"{one.latency.p95_ms:.2f}",
        f"{one.latency.p99_ms:.2f}",
        f"{one.load_seconds:.2f}",
        f"{one.memory_peak_mib:,.0f}",
        f"{one.size_bytes / 1e6:.1f}",
        _percent(one.same_labels),
        _percent(one.share_of_peak),
    )


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _machine(machine: MachineFigures) -> str:
    bf16 = "not measured (needs torch)" if machine.bf16_gflops is None else f"{machine.bf16_gflops:,.0f}"
    busy = "" if machine.load_average is None else f", load {machine.load_average:.1f} before"
    return (
        f"{machine.processor}, {_counted(machine.cores, 'core')}{busy}; peak of matrix products in 10⁹ operations/s: "
        f"fp32 {machine.fp32_gflops:,.0f}, int8 {machine.int8_gops:,.0f}, bf16 {bf16}"
    )


def _span(spread: Spread) -> str:
    return f"{spread.low:,.0f} to {spread.high:,.0f}"


def _percent(share: float | None) -> str:
    return _MISSING if share is None else f"{share:.1%}"


def _counted(amount: int, noun: str) -> str:
    return f"{amount:,} {noun}" + ("" if amount == 1 else "s")
