"""What a job came to."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Protocol

from distilora.records import Record
from distilora.scoring.folder import REJECTS_FOLDER
from distilora.scoring.parts import PartDone, count_reason


class FolderSummary(Record):
    """What a job came to, as ``_summary.json`` has it; rows = scored + rejected."""

    rows: int
    """Of the input, headers and blank lines not counted."""
    scored: int
    """Rows of all parts."""
    rejected: int
    """Rows that cannot be read."""
    reject_reasons: dict[str, int]
    """Those by what is wrong with them, most first."""
    rejects: str | None
    """The folder that holds them; absent where there are none."""
    cut: int
    """Scored texts that are longer than the model's longest input."""
    labels: dict[str, int]
    """Scored rows by class."""
    label_rates: dict[str, float]
    """The same as shares of the scored rows; empty where there are none."""
    files: int
    parts: int
    engine: str
    workers: int
    """Of this process; 0 where nothing was left to do."""
    seconds: float
    """Of this process."""
    start_up_seconds: float
    """Of those, until the first worker was ready."""
    worker_seconds: float
    """That all workers together spent on parts."""
    texts_per_s: float | None
    """Scored by this process after its start-up; absent where that was none."""
    resumed_rows: int
    """Rows that earlier processes had done."""
    out: str


class _Clock(Protocol):
    began: float
    ready: float | None
    worked: float
    workers: int


def summarised(  # noqa: PLR0913 - as many as the record has sources
    done: Collection[PartDone],
    *,
    labels: Sequence[str],
    files: int,
    clock: _Clock,
    out: str,
    engine: str,
    resumed: Collection[PartDone],
) -> FolderSummary:
    """Return what a job came to.

    Args:
        done: all parts.
        labels: names of the bundle's classes.
        files: how many were read.
        clock: what this process took.
        out: the folder.
        engine: its name.
        resumed: the parts that were done before.
    """
    seconds = time.perf_counter() - clock.began
    start_up = (clock.ready or clock.began) - clock.began
    scored = sum(part.scored for part in done)
    rows = sum(part.part.rows for part in done)
    new = scored - sum(part.scored for part in resumed)
    counts = {label: sum(part.labels.get(label, 0) for part in done) for label in labels}
    return FolderSummary(
        rows=rows,
        scored=scored,
        rejected=rows - scored,
        reject_reasons=_reasons(done),
        rejects=f"{out}/{REJECTS_FOLDER}" if rows > scored else None,
        cut=sum(part.cut for part in done),
        labels=counts,
        label_rates={label: count / scored for label, count in counts.items()} if scored else {},
        files=files,
        parts=len(done),
        engine=engine,
        workers=clock.workers,
        seconds=seconds,
        start_up_seconds=start_up,
        worker_seconds=clock.worked,
        texts_per_s=new / (seconds - start_up) if new else None,
        resumed_rows=sum(part.part.rows for part in resumed),
        out=out,
    )


def _reasons(done: Collection[PartDone]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for part in done:
        for reason, rows in part.rejects.items():
            count_reason(counts, reason, rows=rows)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
