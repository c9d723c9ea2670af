"""How far a training is: a bar on a terminal; elsewhere a line from time to time, for other processes too."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from tqdm.auto import tqdm
from transformers import TrainerCallback

from distilora.files import write_whole
from distilora.progress import time_left

_PROGRESS_FILE = "progress.json"
_SHORTEST_PAUSE_S = 30.0
_LONGEST_PAUSE_S = 300.0


class Told(NamedTuple):
    """What a training last told of itself."""

    line: str
    share: float
    """Of its steps that are done, from 0 to 1."""


class TrainingProgress(TrainerCallback):  # type: ignore[misc]
    """Shows steps, time left, loss and the last validation macro-F1, while a training is under way.

    The pauses between lines grow with the time since its begin, so that short trainings tell little and long ones soon.

    Args:
        title: of the training.
        folder: of its checkpoints; what was told last stands there for :func:`last_told`.
    """

    def __init__(self, title: str, folder: Path) -> None:
        self._title = title
        self._file = folder / _PROGRESS_FILE
        self._bar: Any = None
        self._shown: dict[str, str] = {}
        self._began_at = self._next_line_at = 0.0
        self._first_step = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Begin where the run goes on."""
        self._bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            desc=self._title,
            unit="step",
            leave=False,
            dynamic_ncols=True,
            # Where nobody watches, as in a log file, and on all processes but the main one.
            disable=None if state.is_world_process_zero else True,
        )
        self._first_step = state.global_step
        self._began_at = time.monotonic()
        self._next_line_at = self._began_at + _SHORTEST_PAUSE_S

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Count one step."""
        if self._bar is not None:
            self._bar.update()
            if state.is_world_process_zero and time.monotonic() >= self._next_line_at:
                self._write_line(state)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:  # noqa: ARG002
        """Show the newest loss and score."""
        for key, name in (("loss", "loss"), ("eval_macro_f1", "validation macro-F1")):
            if logs and key in logs:
                self._shown[name] = f"{logs[key]:.3f}"
        if self._bar is not None:
            self._bar.set_postfix(self._shown, refresh=False)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """End what is shown."""
        self.close()

    def close(self) -> None:
        """Take the bar off the terminal and the line out of the folder, also after an error."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
            self._file.unlink(missing_ok=True)

    def _write_line(self, state: Any) -> None:
        seconds = time.monotonic() - self._began_at
        left = seconds * (state.max_steps - state.global_step) / (state.global_step - self._first_step)
        known = [f"step {state.global_step:,} of {state.max_steps:,}", *(f"{k} {v}" for k, v in self._shown.items())]
        line = f"{self._title}: {', '.join(known)}{time_left(left)}"
        self._next_line_at = time.monotonic() + min(max(seconds, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)
        write_whole(self._file, json.dumps(Told(line, state.global_step / state.max_steps)._asdict()))
        if self._bar.disable:
            tqdm.write(line, file=sys.stderr)


def last_told(folder: Path) -> Told | None:
    """Return what a training that is under way told last, or nothing where it did not.

    Args:
        folder: of its checkpoints.
    """
    try:
        return Told(**json.loads((folder / _PROGRESS_FILE).read_bytes()))
    except FileNotFoundError:
        return None
