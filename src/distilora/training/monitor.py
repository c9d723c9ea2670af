"""A watch over a training: it tells what the log shows to go wrong, and acts as it was told to."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, get_args

import numpy as np
from pydantic import TypeAdapter
from torch.optim.lr_scheduler import LRScheduler
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from distilora.errors import ConfigError, VoidRunError
from distilora.training.detectors import (
    DEFAULTS,
    PREDICTED_SHARE,
    TRUE_SHARE,
    Finding,
    LogEntry,
    Thresholds,
    collapse,
    gradient_explosion,
    not_finite,
    overfitting,
    plateau,
    spike,
    training_divergence,
)
from distilora.training.records import Action, Event, Kind

logger = logging.getLogger(__name__)

KINDS: tuple[Kind, ...] = get_args(Kind)
ACTIONS: tuple[Action, ...] = get_args(Action)
LOWERED = 0.5
"""What ``lower-rate`` multiplies the learning rate by."""


_EVENTS = TypeAdapter(tuple[Event, ...])


def findings(
    log: Sequence[LogEntry], *, limits: Thresholds = DEFAULTS, loss: str = "loss", score: str = "macro_f1"
) -> dict[Kind, Finding]:
    """Return what is wrong at the end of a log, by kind.

    Args:
        log: ``log_history`` of ``transformers.Trainer``.
        limits: from where on something is worth a word.
        loss: name of the loss to watch, in evaluations behind ``eval_``. Where the weights of its terms adapt, the
            total means little: watch one term, such as ``loss_hard``.
        score: name of the score to watch in evaluations, higher is better.

    Example:
        >>> list(findings([{"loss": 1.0, "step": step} for step in range(5)] + [{"loss": float("inf"), "step": 5}]))
        ['not-finite']
    """
    training = [entry for entry in log if loss in entry]
    losses = _finite(training, loss)
    evaluations, before = _evaluations(log, loss)
    validation = _finite(evaluations, f"eval_{loss}")
    shares = [entry for entry in evaluations if f"eval_{PREDICTED_SHARE}" in entry]
    seen = (
        not_finite(log[-1]) if log else None,
        spike(losses, limits=limits),
        gradient_explosion(_finite(training, "grad_norm"), limits=limits),
        training_divergence(losses, limits=limits),
        overfitting(validation, before, limits=limits),
        plateau(validation, _finite(evaluations, f"eval_{score}"), limits=limits),
        collapse(_finite(shares, f"eval_{PREDICTED_SHARE}"), _finite(shares, f"eval_{TRUE_SHARE}"), limits=limits),
    )
    return {finding.kind: finding for finding in seen if finding is not None}


def new_findings(log: Sequence[LogEntry], **options: Any) -> list[Finding]:
    """Return what the newest entry of a log shows and the log without it did not; ``options`` as :func:`findings`."""
    before = findings(log[:-1], **options)
    return [finding for kind, finding in findings(log, **options).items() if kind not in before]


def _finite(entries: Sequence[LogEntry], name: str) -> list[float]:
    return [entry[name] for entry in entries if name in entry and math.isfinite(entry[name])]


def _evaluations(log: Sequence[LogEntry], loss: str) -> tuple[list[LogEntry], list[float]]:
    """Return the evaluations with a finite loss, and the mean training loss before each since the one before."""
    evaluations: list[LogEntry] = []
    means: list[float] = []
    since: list[float] = []
    for entry in log:
        since += _finite([entry], loss)
        if _finite([entry], f"eval_{loss}"):
            evaluations.append(entry)
            means.append(float(np.mean(since)) if since else math.nan)
            since = []
    return evaluations, means


class TrainingMonitor(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Watches the log, keeps and logs each event once, when it begins, and warns, lowers the rate or stops.

    Where it stands before ``FiniteLoss``, which raises, it tells of a loss that is no number first. To see a collapse,
    the scores of each evaluation must hold ``predicted_share`` and ``true_share`` of
    :func:`~distilora.training.detectors.class_shares`.

    ``lower-rate`` halves the learning rate of all parameters from the next step on, at most once an entry of the log.
    ``stop`` lets the running epoch end, with its evaluation and checkpoint.

    Args:
        actions: one for all kinds, or by kind; what is not named warns.
        thresholds: a :class:`Thresholds`, or its fields.
        loss: name of the loss to watch, see :func:`findings`.

    Raises:
        ConfigError: there is no such kind or action.
    """

    def __init__(
        self,
        actions: Action | Mapping[Kind, Action] = "warn",
        *,
        thresholds: Thresholds | Mapping[str, Any] = DEFAULTS,
        loss: str = "loss",
    ) -> None:
        named = dict.fromkeys(KINDS, actions) if isinstance(actions, str) else dict(actions)
        _check_actions(named)
        self._actions: dict[Kind, Action] = {kind: named.get(kind, "warn") for kind in KINDS}
        self._thresholds = Thresholds.model_validate(thresholds)
        self._loss = loss
        self.kept: list[dict[str, Any]] = []
        self.stopping = False

    @property
    def events(self) -> tuple[Event, ...]:
        """Return what was seen so far, in order, over resumed stretches too."""
        return _EVENTS.validate_python(self.kept)

    def on_log(self, args: Any, state: Any, control: Any, lr_scheduler: LRScheduler | None = None, **_: Any) -> None:  # noqa: ARG002
        """Look at the newest entry of the log, and act on what it shows."""
        found = new_findings(state.log_history, limits=self._thresholds, loss=self._loss)
        events = [self._event(finding, step=state.global_step, epoch=state.epoch or 0.0) for finding in found]
        for event in events:
            self.kept.append(event.model_dump())
            if state.is_world_process_zero:
                logger.warning(
                    "step %d, epoch %.2f: %s%s", event.step, event.epoch, event.message, _DEEDS[event.action]
                )
        wanted = {event.action for event in events}
        if "lower-rate" in wanted and lr_scheduler is not None:
            lower_learning_rate(lr_scheduler, factor=LOWERED)
        self.stopping = self.stopping or "stop" in wanted

    def _event(self, finding: Finding, *, step: int, epoch: float) -> Event:
        return Event(step=step, epoch=epoch, **finding._asdict(), action=self._actions[finding.kind])

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Stop where an entry of this epoch's log asks for it."""
        control.should_training_stop = control.should_training_stop or self.stopping

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Stop where this epoch's evaluation asks for it."""
        control.should_training_stop = control.should_training_stop or self.stopping

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must keep."""
        return {
            "args": {"actions": self._actions, "thresholds": self._thresholds.model_dump(), "loss": self._loss},
            "attributes": {"kept": self.kept, "stopping": self.stopping},
        }


_DEEDS: Mapping[Action, str] = {
    "warn": "",
    "lower-rate": f"; the learning rate is multiplied by {LOWERED} from here on",
    "stop": "; the training stops at the end of this epoch",
}


def _check_actions(actions: Mapping[Kind, Action]) -> None:
    for kind, action in actions.items():
        if kind not in KINDS or action not in ACTIONS:
            raise ConfigError(f"monitor: {kind} = {action}: give {', '.join(KINDS)} one of {', '.join(ACTIONS)}")


@contextmanager
def events_kept(events: Callable[[], tuple[Event, ...]]) -> Iterator[None]:
    """Where a run is found to be void meanwhile, let its error take along what the monitor saw.

    Args:
        events: returns what was seen until then.
    """
    try:
        yield
    except VoidRunError as void:
        void.events = events()
        raise


def stopped_by_monitor(state: Mapping[str, Any]) -> bool:
    """Return whether the trainer's state in a checkpoint is one that the monitor has stopped the training at."""
    kept = state.get("stateful_callbacks", {}).get(TrainingMonitor.__name__)
    return bool(kept and kept["attributes"]["stopping"])


def lower_learning_rate(scheduler: LRScheduler, *, factor: float) -> None:
    """Multiply the learning rate of every group by ``factor``, at the next step and all later ones.

    The scheduler's own base rates change, which its state dict holds: so a resumed training goes on with the lower
    rate, and a schedule in the shape of warm-up and decay keeps its shape.

    Args:
        scheduler: one that computes its rates as base rate times a function of the step, such as ``LambdaLR``.
        factor: above 0.

    Raises:
        ValueError: ``factor`` is not above 0.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=1.0)
        >>> scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 10)
        >>> lower_learning_rate(scheduler, factor=0.5)
        >>> scheduler.get_last_lr()
        [0.5]
    """
    if not factor > 0:
        raise ValueError(f"factor is {factor}; it must be above 0")
    scheduler.base_lrs = [rate * factor for rate in scheduler.base_lrs]
    for group in scheduler.optimizer.param_groups:
        group["lr"] *= factor
    scheduler._last_lr = [group["lr"] for group in scheduler.optimizer.param_groups]
