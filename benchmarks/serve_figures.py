"""What a load comes to: percentiles, errors, the time to recover, and one line each."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from load_client import Answered, Outcome
from served import MemoryWatch

_WINDOW_S = 0.5


def recovery(probe: Sequence[Answered], *, began_s: float, ended_s: float) -> dict[str, Any]:
    """Return how the probe fared before, meanwhile and after, and when it was as fast as before again.

    That is the end of the first half second after the load in which every answer was 200, the median at most twice the
    one before (or 5 ms above it) and the slowest at most twice the p99 before (or 20 ms above it).
    """
    before = [answer for answer in probe if answer.at_s < began_s]
    after = [answer for answer in probe if answer.at_s >= ended_s]
    usual = latency(took(before, {200}))
    windows: dict[int, list[Answered]] = {}
    for answer in after:
        windows.setdefault(int((answer.at_s - ended_s) / _WINDOW_S), []).append(answer)
    recovered = [number for number, window in sorted(windows.items()) if _is_usual(window, usual)]
    return {
        "recovered_within_s": (recovered[0] + 1) * _WINDOW_S if recovered else None,
        "probe_before": usual,
        "probe_meanwhile": dict(Counter(str(answer.status) for answer in probe if began_s <= answer.at_s < ended_s)),
        "probe_after": latency(took(after, {200})),
        "probe_after_errors": sum(answer.status != 200 for answer in after),
    }


def _is_usual(window: Sequence[Answered], usual: dict[str, float] | None) -> bool:
    if usual is None or any(answer.status != 200 for answer in window):
        return False
    found = [answer.took_ms for answer in window]
    slowest = max(2 * usual["p99_ms"], usual["p99_ms"] + 20)
    return max(found) <= slowest and statistics.median(found) <= max(2 * usual["p50_ms"], usual["p50_ms"] + 5)


def took(answers: Sequence[Answered], statuses: set[int]) -> list[float]:
    return [answer.took_ms for answer in answers if answer.status in statuses]


def errors(outcome: Outcome, allowed: set[int]) -> int:
    """Return how many requests got no answer, a wrong one, or a status that is not allowed; and lost connections."""
    wrong = sum(answer.status not in allowed for answer in outcome.answers)
    return wrong + sum(count for why, count in outcome.faults.items() if why.startswith("not connected"))


def statuses(outcome: Outcome) -> dict[str, Any]:
    counts = Counter(str(answer.status) for answer in outcome.answers if answer.status)
    return {"statuses": dict(counts), "faults": dict(outcome.faults)}


def latency(took_ms: Sequence[float]) -> dict[str, float] | None:
    """Return percentiles by nearest rank; absent where nothing was measured."""
    if not took_ms:
        return None
    ranked = sorted(took_ms)
    last = len(ranked) - 1
    found = {f"p{share}_ms": ranked[min(last, len(ranked) * share // 100)] for share in (50, 95, 99)}
    return {**found, "max_ms": ranked[-1]}


def memory(watch: MemoryWatch) -> dict[str, Any]:
    samples = watch.samples_mib
    return {
        "first_mib": samples[0],
        "peak_mib": max(samples),
        "last_mib": samples[-1],
        "growth_mib": watch.growth_mib(),
    }


def line(figures: dict[str, Any]) -> str:
    latency = figures["latency"] or {}
    spread = ", ".join(f"{name.removesuffix('_ms')} {value:.1f} ms" for name, value in latency.items())
    return f"{figures['texts_per_s']:,.0f} texts/s, {spread or 'no answer'}; {figures['errors']} errors"


def overload_line(figures: dict[str, Any]) -> str:
    counts = ", ".join(f"{count:,} x {status}" for status, count in sorted(figures["statuses"].items()))
    recovered = figures["recovered_within_s"]
    return (
        f"{figures['sent_requests_per_s']:,.0f} of {figures['offered_requests_per_s']:,.0f} requests/s sent: {counts}; "
        f"{figures['errors']} errors; memory {figures['memory']['peak_mib']:.0f} MiB at most; "
        f"{'not recovered' if recovered is None else f'recovered within {recovered:g} s'}"
    )


def sentence(report: dict[str, Any]) -> str:
    def said(name: str) -> str:
        return "none" if report[name] is None else f"{report[name]:.2f}"

    return (
        f"errors {report['errors']}, p99 {said('p99_ms')} ms with 64 clients; {said('ratio_vs_predict')} of score's "
        f"rate with 8 clients of 16 texts; {said('ratio_vs_unbatched_torch')} times the plain torch server "
        f"({said('ratio_vs_unbatched_torch_of_16')} times with 16 texts a request); "
        f"first answer after {report['first_answer_s']['best']:.2f} s"
    )
