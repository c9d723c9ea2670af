"""What is told of the runs of an experiment: of each that is complete, and of those that other processes are making."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from distilora.progress import Progress
from distilora.runs import RunRecord, checkpoints_folder, run_folder
from distilora.training.progress import Told, last_told


class RunProgress:
    """Tells how far the runs of an experiment are.

    Args:
        folder: of the experiment.
        runs: the method and the seed of each.
        tell: takes one line.
    """

    def __init__(self, folder: Path, runs: Iterable[tuple[str, int]], *, tell: Callable[[str], None]) -> None:
        self._under_way = {run: checkpoints_folder(folder, *run) for run in runs}
        self._tell = tell
        self._progress = Progress(total=len(self._under_way), tell=tell)
        # What killed processes left behind says nothing of those that go on.
        self._at_begin = {run: last_told(checkpoints) for run, checkpoints in self._under_way.items()}
        self._told = dict(self._at_begin)
        self._before = {
            run: 1.0 if run_folder(folder, *run).exists() else _share(left) for run, left in self._at_begin.items()
        }

    def complete(self, record: RunRecord) -> None:
        """Tell of one more run that is complete, and about how long the others will take."""
        run = (record.result.method, record.result.seed)
        del self._under_way[run]
        others = sum(self._newly_done(other) for other in self._under_way)
        self._progress.tell_of(told(record), others=others, before=self._before[run])

    def _newly_done(self, run: tuple[str, int]) -> float:
        """Return the share of a run under way that was done since this command began."""
        return max(0.0, _share(last_told(self._under_way[run])) - _share(self._at_begin[run]))

    def look(self) -> None:
        """Tell what is new of runs that other processes are making; those of this process tell it by themselves."""
        for run, checkpoints in self._under_way.items():
            now = last_told(checkpoints)
            if now is not None and now != self._told[run]:
                self._told[run] = now
                self._tell(now.line)


def _share(told: Told | None) -> float:
    return 0.0 if told is None else told.share


def told(record: RunRecord) -> str:
    """Return in a line what a run came to."""
    result = record.result
    where = f"{result.method} seed {result.seed}"
    if result.void is not None or result.validation is None:
        return f"{where}: void, {result.void}"
    took = f", {result.training_seconds:.0f} s of training" if result.training_seconds is not None else ""
    return f"{where}: validation macro-F1 {result.validation.macro_f1:.3f}{took}"
