"""The monitor sees what goes wrong, keeps still where nothing does, and acts once, through a kill and a resume too."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.stats import median_abs_deviation
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback

from distilora.errors import ConfigError, VoidRunError
from distilora.models.loading import quietly
from distilora.models.weights import weights_hash
from distilora.training.arguments import training_arguments
from distilora.training.checkpoints import last_checkpoint, read_state
from distilora.training.detectors import (
    Thresholds,
    class_shares,
    collapse,
    gradient_explosion,
    not_finite,
    overfitting,
    plateau,
    robust_deviations,
    spike,
    training_divergence,
)
from distilora.training.loop import train_model
from distilora.training.monitor import (
    Action,
    Event,
    TrainingMonitor,
    findings,
    lower_learning_rate,
    new_findings,
    stopped_by_monitor,
)
from distilora.training.trainer import DistillationTrainer
from tiny import save_tiny_encoder
from training_cases import SETTINGS, classifier, scores, task

finite = st.floats(0.01, 100)


def sound_losses(seed: int, *, entries: int = 120) -> NDArray[np.float64]:
    """Return losses of single steps as of a training that goes well: at first nearly equal, later small and skewed."""
    learnt = 1 - np.exp(-np.arange(entries) / 30)
    noise = np.random.default_rng(seed).normal(scale=0.05 + 0.45 * learnt)
    return (1.1 - 1.05 * learnt) * np.exp(noise)


@settings(max_examples=50, deadline=None)
@given(st.lists(finite, min_size=3, max_size=30), finite)
def test_robust_deviations_agree_with_scipy(window: list[float], value: float) -> None:
    distance, spread = value - np.median(window), median_abs_deviation(window, scale="normal")
    if spread:
        assert robust_deviations(value, window) == pytest.approx(distance / spread, rel=1e-4, abs=1e-6)
    else:
        assert robust_deviations(value, window) == (math.copysign(math.inf, distance) if distance else 0)


@pytest.mark.parametrize("seed", range(20))
def test_of_a_training_that_goes_well_nothing_is_told(seed: int) -> None:
    losses = sound_losses(seed)
    norms = np.random.default_rng(seed + 100).lognormal(sigma=0.8, size=len(losses))
    log: list[dict[str, float]] = []
    for step, (loss, norm) in enumerate(zip(losses, norms, strict=True), start=1):
        log.append({"loss": loss, "grad_norm": norm, "step": step})
        if step % 24 == 0:
            # Cross-entropy on validation that rises by half at the end, as in every long training.
            epoch = step // 24
            shares = {"eval_predicted_share": 0.85, "eval_true_share": 0.8}
            log.append(
                {"eval_loss": (0.4, 0.3, 0.35, 0.4, 0.45)[epoch - 1], "eval_macro_f1": 0.6 + epoch / 50, **shares}
            )
    assert [finding for count in range(1, len(log) + 1) for finding in new_findings(log[:count])] == []


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 19), st.integers(15, 60), st.sampled_from([1.0, 1e-3, 1e4]), st.floats(0.1, 4))
def test_a_spike_is_six_deviations_of_the_logarithm_and_a_quarter_of_the_start_above_the_usual(
    seed: int, place: int, unit: float, height: float
) -> None:
    losses = unit * sound_losses(seed)[: place + 1]
    assert spike(losses) is None
    window = losses[-21:-1]
    losses[-1] = np.median(window) * np.exp(height)
    far = height > 6 * median_abs_deviation(np.log(window), scale="normal")
    high = losses[-1] - np.median(window) > 0.25 * np.median(losses[:5])
    found = spike(losses)
    assert (found is not None) == (far and high)
    if found:
        assert found.value == pytest.approx(np.exp(height))


def test_a_small_loss_may_double_and_a_loss_may_stand_still() -> None:
    assert spike([1.0, 0.5, 0.2, *[0.02] * 20, 0.06]) is None
    assert spike([0.7] * 30) is None
    assert spike([0.5, -0.2, 0.1] * 10 + [9.0]) is None  # a loss that is not above 0 has no logarithm


@pytest.mark.parametrize("before", [0, 7])
def test_before_eight_entries_nobody_says_what_is_usual(before: int) -> None:
    usual = [1.0] * before
    assert spike([*usual, 99.0]) is None
    assert gradient_explosion([*usual, 99.0]) is None
    assert training_divergence([*usual, 9.0, 9.0]) is None


def test_gradients_explode_above_ten_times_the_usual_and_not_back_to_where_they_began() -> None:
    usual = [2.0, 1.9, 2.1, 2.0, 1.8, 2.2, 2.0, 1.9, 2.1]
    assert gradient_explosion([*usual, 19.0]) is None
    found = gradient_explosion([*usual, 30.0])
    assert found is not None
    assert found.value == pytest.approx(30 / 2.0)
    assert gradient_explosion([*usual, *[0.1] * 25, 2.0]) is None


def test_training_diverges_where_its_loss_stays_above_that_of_its_start() -> None:
    falling = [1.0, 1.1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    assert training_divergence(falling) is None
    assert training_divergence([*falling, 9.0]) is None  # one is a spike
    assert training_divergence([*falling, 0.5, 9.0, 9.0, 9.0]) is not None
    assert training_divergence([1.0] * 20) is None


@pytest.mark.parametrize(
    ("validation", "training", "seen"),
    [
        ([0.3, 0.5, 0.7], [0.5, 0.3, 0.1], True),
        ([0.3, 0.5, 0.7], [0.5, 0.3, 0.4], False),  # training rises too
        ([0.3, 0.8, 0.7], [0.5, 0.3, 0.1], False),  # validation rose just once
        ([0.163, 0.185, 0.238], [0.232, 0.09, 0.032], False),  # a teacher on comments, with macro-F1 rising
        ([0.3, 0.7], [0.5, 0.3], False),
    ],
)
def test_overfitting_is_a_validation_loss_that_doubles_while_training_falls(
    validation: list[float], training: list[float], seen: bool
) -> None:
    assert (overfitting(validation, training) is not None) == seen


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.integers(1, 4))
def test_a_plateau_is_where_early_stopping_of_transformers_would_stop(levels: list[int], patience: int) -> None:
    values = [level / 10 for level in levels]
    stopping = EarlyStoppingCallback(early_stopping_patience=patience)
    state, arguments = SimpleNamespace(best_metric=None), SimpleNamespace(greater_is_better=True)
    for value in values:
        stopping.check_metric_value(arguments, state, None, value)
        state.best_metric = value if state.best_metric is None else max(value, state.best_metric)
    waited = stopping.early_stopping_patience_counter
    limits = Thresholds(patience=patience, least_gain=0)
    found = plateau([1.0] * len(values), values, limits=limits)
    assert (found.value if found else None) == (waited if waited >= patience else None)


def test_a_gain_in_loss_or_score_ends_a_plateau_but_a_tiny_one_does_not() -> None:
    flat = [0.5] * 5
    assert plateau(flat, [0.7] * 5) is not None
    assert plateau([0.5, 0.5, 0.5, 0.4, 0.4], [0.7] * 5) is None
    assert plateau(flat, [0.7, 0.7, 0.7, 0.8, 0.7]) is None
    assert plateau([0.5, 0.4999, 0.4998, 0.4997, 0.4996], [0.7, 0.7001, 0.7002, 0.7003, 0.7004]) is not None
    assert plateau(flat, []) is not None
    assert plateau([], []) is None


@pytest.mark.parametrize(
    ("predicted", "true", "seen"),
    [
        ([1.0, 1.0], [0.6, 0.6], True),
        ([0.99, 1.0], [0.6, 0.6], True),
        ([1.0], [0.6], False),  # a first epoch may be so
        ([1.0, 0.9], [0.6, 0.6], False),
        ([0.95, 0.96], [0.92, 0.92], False),  # rare classes are rarely predicted
        ([1.0, 1.0], [1.0, 1.0], False),  # there is one class alone
        ([], [], False),
    ],
)
def test_a_collapse_is_nearly_all_rows_in_one_class_twice(
    predicted: list[float], true: list[float], seen: bool
) -> None:
    assert (collapse(predicted, true) is not None) == seen


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_class_shares_agree_with_counting(pairs: list[tuple[int, int]]) -> None:
    predicted, labels = np.array(pairs).T
    shares = class_shares(np.eye(4)[predicted], labels)
    assert shares["predicted_share"] == Counter(predicted.tolist()).most_common(1)[0][1] / len(pairs)
    assert shares["true_share"] == Counter(labels.tolist()).most_common(1)[0][1] / len(pairs)


def test_what_is_no_number_is_seen_and_takes_no_part_in_anything_else() -> None:
    assert not_finite({"grad_norm": math.inf}) is not None
    assert not_finite({"loss": 1.0, "learning_rate": math.nan, "step": 1}) is None
    log = [{"loss": math.nan if step == 12 else 0.5, "grad_norm": 1.0, "step": step} for step in range(13)]
    assert [(found.kind, found.value) for found in findings(log).values()] == [("not-finite", None)]
    log.append({"loss": 0.5, "grad_norm": 1.0, "step": 13})
    assert findings(log) == {}


def test_what_goes_on_is_told_once_and_again_after_it_was_over() -> None:
    evaluations = [
        {"eval_loss": 0.5, "eval_predicted_share": share, "eval_true_share": 0.6} for share in (1, 1, 1, 0.7, 1, 1)
    ]
    log = [entry for evaluation in evaluations for entry in ({"loss": 0.5}, evaluation)]
    kinds = [[found.kind for found in new_findings(log[:count])] for count in range(1, len(log) + 1)]
    told = [index // 2 for index, found in enumerate(kinds) if "collapse" in found]
    assert told == [1, 5]


def test_the_loss_to_watch_can_be_chosen() -> None:
    log = [{"loss": 1.0, "loss_hard": loss} for loss in [0.9] * 12 + [60.0]]
    assert findings(log) == {}
    assert list(findings(log, loss="loss_hard")) == ["spike"]


@pytest.mark.parametrize("actions", ["shout", {"plateau": "shout"}, {"hunger": "warn"}])
def test_an_unknown_kind_or_action_is_refused(actions: Any) -> None:
    with pytest.raises(ConfigError, match=r"monitor: .*one of warn, lower-rate, stop"):
        TrainingMonitor(actions)


@pytest.mark.parametrize("wrong", [{"window": 3}, {"patience": 0}, {"spikes": 1}])
def test_an_impossible_threshold_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrainingMonitor(thresholds=wrong)


@pytest.mark.parametrize("factor", [0.0, -1.0, math.nan])
def test_a_rate_is_not_lowered_to_nothing(factor: float) -> None:
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=1.0)
    with pytest.raises(ValueError, match="above 0"):
        lower_learning_rate(torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0), factor=factor)


def test_a_lowered_rate_keeps_the_shape_of_the_schedule_and_comes_back_with_its_state() -> None:
    def made() -> torch.optim.lr_scheduler.LambdaLR:
        groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in (1.0, 0.1)]
        return torch.optim.lr_scheduler.LambdaLR(torch.optim.SGD(groups), lambda step: 1 - step / 10)

    scheduler, plain = made(), made()
    for each in (scheduler, plain):
        each.optimizer.step()
        each.step()
    lower_learning_rate(scheduler, factor=0.5)
    assert [group["lr"] for group in scheduler.optimizer.param_groups] == scheduler.get_last_lr()
    resumed = made()
    resumed.load_state_dict(scheduler.state_dict())
    for each in (scheduler, plain, resumed):
        each.optimizer.step()
        each.step()
    assert scheduler.get_last_lr() == [rate / 2 for rate in plain.get_last_lr()] == resumed.get_last_lr()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("encoder"), layers=2)


def collapsed(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    return {**scores(logits, labels), "predicted_share": 1.0, "true_share": 0.6}


def trained(
    encoder: Path,
    folder: Path,
    monitor: TrainingMonitor | None,
    *,
    told: Callable[..., Mapping[str, float]] = collapsed,
    **changes: object,
) -> DistillationTrainer:
    """Return the trainer after a training of up to three epochs with dropout, resumed where it was broken off."""
    work = task(folder, SETTINGS.model_copy(update={"epochs": 3, **changes}))
    trainer = DistillationTrainer(
        classifier(encoder, dropout=0.1),
        args=training_arguments(work.settings, folder=folder, seed=0),
        objective=work.objective,
        train=work.train,
        validation=work.validation,
        scores=told,
        callbacks=[monitor] if monitor else [],
    )
    trainer.remove_callback(PrinterCallback)
    checkpoints = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
    with quietly():
        trainer.train(resume_from_checkpoint=str(checkpoints[-1]) if checkpoints else None)
    return trainer


def events_of(trainer: DistillationTrainer) -> tuple[Event, ...]:
    # A resumed trainer has put a new monitor in the place of ours.
    return next(
        callback.events for callback in trainer.callback_handler.callbacks if isinstance(callback, TrainingMonitor)
    )


def last_weights(folder: Path) -> bytes:
    return (folder / "checkpoint-21" / "model.safetensors").read_bytes()


def rates_of(trainer: DistillationTrainer) -> dict[int, float]:
    return {entry["step"]: entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry}


@pytest.fixture(scope="module")
def plain(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> DistillationTrainer:
    return trained(encoder, tmp_path_factory.mktemp("plain"), None)


def test_a_monitor_that_warns_changes_nothing_and_says_so_in_one_line(
    encoder: Path, plain: DistillationTrainer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="distilora.training.monitor"):
        watched = trained(encoder, tmp_path / "watched", TrainingMonitor())
    assert weights_hash(watched.model) == weights_hash(plain.model)
    events = [event for event in events_of(watched) if event.kind == "collapse"]
    assert [(event.step, event.epoch, event.value, event.action) for event in events] == [(14, 2.0, 1.0, "warn")]
    assert "step 14, epoch 2.00: 100.0 % of the predictions are of one class, 60.0 % of the labels" in caplog.messages


def test_a_lowered_rate_holds_from_the_event_on_and_a_resumed_training_ends_in_the_same_bits(
    encoder: Path, plain: DistillationTrainer, tmp_path: Path
) -> None:
    actions: dict[Any, Action] = {"collapse": "lower-rate"}
    whole = trained(encoder, tmp_path / "whole", TrainingMonitor(actions))
    lowered = {step: rate / (2 if step > 14 else 1) for step, rate in rates_of(plain).items()}
    assert rates_of(whole) == pytest.approx(lowered)
    assert last_weights(tmp_path / "whole") != last_weights(Path(plain.args.output_dir))

    seen = iter(range(2))

    def interrupted(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
        if next(seen, None) is None:
            raise KeyboardInterrupt
        return collapsed(logits, labels)

    with pytest.raises(KeyboardInterrupt):
        trained(encoder, tmp_path / "broken", TrainingMonitor(actions), told=interrupted)
    resumed = trained(encoder, tmp_path / "broken", TrainingMonitor(actions))
    assert last_weights(tmp_path / "broken") == last_weights(tmp_path / "whole")
    assert rates_of(resumed) == rates_of(whole)
    assert events_of(resumed) == events_of(whole) != ()


def test_a_monitor_that_stops_lets_the_epoch_end_and_the_checkpoint_says_so(encoder: Path, tmp_path: Path) -> None:
    stopped = trained(encoder, tmp_path, TrainingMonitor({"collapse": "stop"}))
    assert stopped.state.epoch == 2
    states = [read_state(tmp_path / f"checkpoint-{step}") for step in (7, 14)]
    assert [stopped_by_monitor(state or {}) for state in states] == [False, True]
    assert last_checkpoint(tmp_path) is None  # nothing sealed them here
    assert not stopped_by_monitor({})


def test_a_rate_far_too_high_is_seen_in_a_real_training(encoder: Path, tmp_path: Path) -> None:
    trainer = trained(encoder, tmp_path, TrainingMonitor("stop"), told=scores, learning_rate=3.0, logging_steps=1)
    assert {"divergence", "spike", "gradient"} & {event.kind for event in events_of(trainer)}
    assert trainer.state.epoch < 3


class AtStep(TrainerCallback):
    """Does something with the model after a step, before the next."""

    def __init__(self, step: int, deed: Callable[[Any], None]) -> None:
        self._step, self._deed = step, deed

    def on_step_begin(self, args: Any, state: Any, control: Any, *, model: Any, **_: Any) -> None:
        if state.global_step == self._step:
            self._deed(model)


def spoil(model: Any) -> None:
    with torch.no_grad():
        model.classifier.weight.fill_(math.nan)


def interrupt(_: Any) -> None:
    raise KeyboardInterrupt


def test_what_a_run_that_ends_in_nan_has_seen_comes_with_its_error_resumed_or_not(
    encoder: Path, tmp_path: Path
) -> None:
    def ends(folder: Path, how: type[BaseException], *, step: int, deed: Callable[[Any], None]) -> BaseException:
        work = task(folder, SETTINGS.model_copy(update={"epochs": 3}), callbacks=[AtStep(step, deed)])
        with pytest.raises(how) as caught:
            train_model(classifier(encoder), work, scores=collapsed)
        return caught.value

    whole = ends(tmp_path / "whole", VoidRunError, step=16, deed=spoil)
    ends(tmp_path / "broken", KeyboardInterrupt, step=15, deed=interrupt)
    resumed = ends(tmp_path / "broken", VoidRunError, step=16, deed=spoil)
    assert isinstance(whole, VoidRunError)
    assert isinstance(resumed, VoidRunError)
    assert [(event.kind, event.step) for event in whole.events] == [("collapse", 14), ("not-finite", 18)]
    assert resumed.events == whole.events


def test_the_state_of_a_monitor_goes_through_json() -> None:
    monitor = TrainingMonitor({"spike": "stop"}, thresholds=Thresholds(patience=5), loss="loss_hard")
    event = Event(step=3, epoch=0.5, kind="not-finite", value=None, message="loss is nan", action="warn")
    monitor.kept.append(event.model_dump())
    state = json.loads(json.dumps(monitor.state(), allow_nan=False))
    assert TrainingMonitor.from_state(state).state() == monitor.state()
    assert TrainingMonitor.from_state(state).events == (event,)
