"""The search for better settings: what is proposed, what is remembered, what is written. Nothing is trained here."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution
from optuna.storages import InMemoryStorage

from distilora.config import PRESETS, ExperimentSettings, MethodSettings, read_experiment
from distilora.errors import RunError, VoidRunError
from distilora.runs import DataIdentity, EncoderIdentity
from distilora.tuning.output import TRIALS_FILE, TUNED_FILE, write_tuning
from distilora.tuning.records import MethodSearch, TrialOutcome, Tuning
from distilora.tuning.running import Budget, outcomes, run_trials
from distilora.tuning.space import distributions, own_point, settings_at, space_table, tables_at
from distilora.tuning.studies import (
    COMPLETE_BEFORE_PRUNING,
    EPOCHS_BEFORE_PRUNING,
    RANDOM_TRIALS,
    finished_trials,
    open_study,
    opened_storage,
)
from distilora.tuning.wording import describe_tuning

ROOT = Path(__file__).parent.parent
HERE = Path("there")
BUDGET = Budget(trials=RANDOM_TRIALS + 4, seed=3)


class KilledError(BaseException):
    """Ends a search as abruptly as Python can."""


def method(name: str = "lora", **training: object) -> MethodSettings:
    """Return a preset's settings with a learning rate."""
    given = {"learning_rate": 1e-3, **training}
    return ExperimentSettings.model_validate({"methods": {"mine": {"like": name, "training": given}}}).method("mine")


def likes_high_rates(settings: MethodSettings, report=lambda *_: None) -> float:
    """Score a trial by its learning rate alone, epoch by epoch."""
    score = min(1.0, settings.training.learning_rate * 100)
    for epoch in range(1, settings.training.epochs + 1):
        report(epoch, score * epoch / settings.training.epochs)
    return score


def study(storage=None, identity=None):
    return open_study(storage or InMemoryStorage(), "lora", identity=identity or {}, folder=HERE)


def corners(settings: MethodSettings):
    """Return points at which each setting in turn has its least and its greatest value, or each of its choices."""
    for key, values in distributions(settings).items():
        ends = values.choices if isinstance(values, CategoricalDistribution) else (values.low, values.high)
        yield from ({**own_point(settings), key: end} for end in ends)


@pytest.mark.parametrize("name", PRESETS)
def test_every_point_of_a_space_is_allowed_by_the_settings(name):
    own = method(name)
    changed = [settings_at(own, point) for point in corners(own)]
    assert len({settings.model_dump_json() for settings in changed}) > 2 * len(own_point(own)) - 2


@pytest.mark.parametrize("name", PRESETS)
def test_a_space_holds_what_the_method_has_now(name):
    own = method(name)
    point = own_point(own)
    for key, values in distributions(own).items():
        assert values._contains(values.to_internal_repr(point[key])), key
    assert settings_at(own, point) == own


def test_a_value_beyond_the_usual_range_widens_it():
    own = method("odd", weight_decay=0.5, learning_rate=0.5, batch_size=7)
    space = distributions(own)
    assert space["training.weight_decay"].high == 0.5
    assert space["training.learning_rate"].high < 1
    assert space["training.batch_size"].choices == (7, 16, 32, 64)


@pytest.mark.parametrize(
    ("name", "tables"),
    [
        ("teacher", {"training"}),
        ("odd", {"training", "distillation"}),
        ("lora", {"training", "lora"}),
        ("lora-distil", {"training", "distillation", "lora"}),
        ("joint", {"training", "distillation", "lora"}),
    ],
)
def test_only_what_matters_for_a_kind_is_searched(name, tables):
    assert {key.partition(".")[0] for key in own_point(method(name))} == tables


def test_a_rank_that_grows_is_left_to_grow():
    assert "lora.rank" not in own_point(method("lora-grow"))
    assert settings_at(method("lora-grow"), {"lora.alpha_per_rank": 4.0}).lora.alpha == 32.0


def test_labels_and_teacher_share_the_weight_that_they_have_together():
    own = method("odd")
    changed = settings_at(own, {**own_point(own), "distillation.hard_share": 0.654321}).distillation
    assert (changed.hard, changed.soft) == (0.654, 0.346)
    double = own.model_copy(update={"distillation": own.distillation.model_copy(update={"hard": 1.0, "soft": 1.0})})
    changed = settings_at(double, {"distillation.hard_share": 0.25}).distillation
    assert (changed.hard, changed.soft) == (0.5, 1.5)


def test_alpha_goes_with_the_rank():
    assert tables_at(method(), {"lora.rank": 32, "lora.alpha_per_rank": 2.0}) == {"lora": {"rank": 32, "alpha": 64.0}}


def test_the_documentation_has_the_table_of_what_is_searched():
    assert space_table() in (ROOT / "docs" / "tune.md").read_text(encoding="utf-8")


def test_a_search_begins_with_the_methods_own_settings_and_ends_after_as_many_trials_as_are_asked_for():
    own, seen = method(), study()
    run_trials(seen, own, BUDGET, score=likes_high_rates)
    assert settings_at(own, finished_trials(seen)[0].params) == own
    assert len(finished_trials(seen)) == BUDGET.trials
    run_trials(seen, own, BUDGET, score=likes_high_rates)
    assert len(finished_trials(seen)) == BUDGET.trials


def test_the_same_seed_proposes_the_same_points_and_another_proposes_others():
    seen = [study() for _ in range(3)]
    for number, one in enumerate(seen):
        run_trials(one, method(), replace(BUDGET, seed=number // 2), score=likes_high_rates)
    points = [[trial.point for trial in outcomes(one)] for one in seen]
    assert points[0] == points[1]
    assert all(one != other for one, other in zip(points[0][1:], points[2][1:], strict=True))


@pytest.mark.parametrize("killed_at", [1, 2, RANDOM_TRIALS + 2])
def test_an_interrupted_search_proposes_the_same_points_as_an_undisturbed_one(killed_at):
    undisturbed, storage, calls = study(), InMemoryStorage(), []

    def killed_once(settings, report):
        calls.append(settings)
        if len(calls) == killed_at:
            report(1, 0.9)
            raise KilledError
        return likes_high_rates(settings, report)

    run_trials(undisturbed, method(), BUDGET, score=likes_high_rates)
    with pytest.raises(KilledError):
        run_trials(study(storage), method(), BUDGET, score=killed_once)
    again = study(storage)
    run_trials(again, method(), BUDGET, score=killed_once)
    finished = [trial for trial in outcomes(again) if trial.state != "interrupted"]
    assert [trial.state for trial in outcomes(again)].index("interrupted") == killed_at - 1
    assert [(trial.point, trial.epochs) for trial in finished] == [
        (trial.point, trial.epochs) for trial in outcomes(undisturbed)
    ]


_KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_tuning import BUDGET, method
from distilora.tuning.running import run_trials
from distilora.tuning.studies import open_study, opened_storage
folder = Path({folder!r})
def score(settings, report):
    report(1, 0.5)
    os.kill(os.getpid(), signal.SIGKILL)
with opened_storage(folder) as storage:
    seen = open_study(storage, "lora", identity={{"seed": 3}}, folder=folder)
    run_trials(seen, method(), BUDGET, score=score)
"""


def test_a_killed_search_goes_on_from_its_database(tmp_path):
    folder = tmp_path / "with {braces}, 100 % of #them?"
    folder.mkdir()
    code = _KILLED.format(tests=str(Path(__file__).parent), folder=str(folder))
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    with opened_storage(folder) as storage:
        seen = open_study(storage, "lora", identity={"seed": 3}, folder=folder)
        assert [trial.state for trial in outcomes(seen)] == ["interrupted"]
        run_trials(seen, method(), Budget(trials=2, seed=3), score=likes_high_rates)
        assert [trial.state for trial in outcomes(seen)] == ["interrupted", "complete", "complete"]
        assert outcomes(seen)[0].point == outcomes(seen)[1].point
    with (
        opened_storage(folder) as storage,
        pytest.raises(RunError, match=r"lora was searched with seed = 3, now it is 4; give another --out"),
    ):
        open_study(storage, "lora", identity={"seed": 4}, folder=folder)


def test_a_database_that_is_none_is_told_of_in_one_line(tmp_path):
    (tmp_path / "tuning.db").write_text("mine " * 100)
    with pytest.raises(RunError, match=r"tuning\.db: not a database of searches.*give another --out$") as told:
        opened_storage(tmp_path).__enter__()
    assert "\n" not in str(told.value)
    assert (tmp_path / "tuning.db").read_text() == "mine " * 100


def test_a_trial_below_the_median_is_stopped_once_enough_have_come_to_their_end():
    seen = study()
    trained = []

    def worse_each_time(settings, report):
        number = len(trained)
        trained.append(0)
        for _ in range(settings.training.epochs):
            trained[-1] += 1
            report(trained[-1], 0.9 - number / 100)
        return 0.9 - number / 100

    run_trials(seen, method(), replace(BUDGET, trials=COMPLETE_BEFORE_PRUNING + 2), score=worse_each_time)
    states = [trial.state for trial in outcomes(seen)]
    assert states[:COMPLETE_BEFORE_PRUNING] == ["complete"] * COMPLETE_BEFORE_PRUNING
    stopped = [trial for trial in outcomes(seen) if trial.state == "pruned"]
    assert stopped
    assert all(len(trial.epochs) == EPOCHS_BEFORE_PRUNING for trial in stopped)
    assert all(trial.validation_macro_f1 is None for trial in stopped)


def test_a_void_trial_has_no_score_and_counts():
    seen = study()

    def void_at_high_rates(settings, report):
        if settings.training.learning_rate > method().training.learning_rate:
            report(1, 0.99)
            raise VoidRunError("finite loss", "loss is nan at step 3")
        return likes_high_rates(settings, report)

    run_trials(seen, method(), BUDGET, score=void_at_high_rates)
    void = [trial for trial in outcomes(seen) if trial.state == "void"]
    assert void
    assert len(outcomes(seen)) == BUDGET.trials
    assert {(trial.validation_macro_f1, trial.void) for trial in void} == {(None, "finite loss: loss is nan at step 3")}
    assert MethodSearch(method="lora", kind="lora", tuned="t", settings=None, trials=tuple(void)).best is None


def found(*scores: float | None, settings=None) -> Tuning:
    """Return what a search of LoRA found whose trials had these scores."""
    trials = tuple(
        TrialOutcome(
            number=number,
            state="pruned" if score is None else "complete",
            point={"lora.rank": 4},
            validation_macro_f1=score,
            epochs=(0.25,),
            seconds=1.0,
        )
        for number, score in enumerate(scores, start=1)
    )
    search = MethodSearch(method="lora", kind="lora", tuned="lora-tuned", settings=settings, trials=trials)
    data = DataIdentity(
        source="sample", sha256="", rows=1, label_names=("a", "b"), positive=(), split_seed=0, part_rows={}
    )
    return Tuning(
        seed=0,
        trials=len(trials),
        data=data,
        encoder=EncoderIdentity(name="minilm", sha256="", max_length=128),
        searches=(search,),
        versions={},
        machine="",
    )


BEST = {"training": {"learning_rate": 2e-3, "epochs": 4}, "lora": {"rank": 4, "alpha": 8.0}}


def test_what_is_written_is_an_experiment_that_compares_each_method_with_itself(tmp_path):
    given = {
        "data": {"source": "comments.csv", "label_names": {"0": "civil", "1": "toxic"}, "train_samples": 500},
        "training": {"batch_size": 16},
        "methods": {"odd-t4": {"like": "odd", "distillation": {"temperature": 4.0}}},
        "seeds": [0, 1],
    }
    settings = ExperimentSettings.model_validate(given)
    path = write_tuning(tmp_path, found(0.5, 0.6, settings=BEST), settings)
    assert path == tmp_path / TUNED_FILE
    read = read_experiment(path)
    assert read.method_names == ("lora", "lora-tuned")
    assert (read.seeds, read.data, read.encoder) == (settings.seeds, settings.data, settings.encoder)
    assert read.method("odd-t4") == settings.method("odd-t4")
    tuned = read.method("lora-tuned")
    assert (tuned.training.learning_rate, tuned.training.epochs, tuned.training.batch_size) == (2e-3, 4, 16)
    assert (tuned.lora.rank, tuned.lora.alpha) == (4, 8.0)
    assert Tuning.model_validate_json((tmp_path / TRIALS_FILE).read_bytes()) == found(0.5, 0.6, settings=BEST)


def test_a_written_experiment_is_replaced_unless_somebody_changed_it(tmp_path):
    settings = ExperimentSettings()
    path = write_tuning(tmp_path, found(0.5, settings=BEST), settings)
    write_tuning(tmp_path, found(0.5, 0.7, settings={"lora": {"rank": 16}}), settings)
    assert read_experiment(path).method("lora-tuned").lora.rank == 16
    changed = path.read_text() + "\n[report]\nmin_recall = 0.9\n"
    path.write_text(changed)
    with pytest.raises(RunError, match=r"tuned\.toml: was changed since it was written"):
        write_tuning(tmp_path, found(0.5, settings=BEST), settings)
    assert path.read_text() == changed


def test_a_file_of_the_users_in_the_place_of_the_trials_stays(tmp_path):
    (tmp_path / TRIALS_FILE).write_text(json.dumps({"mine": 1}))
    with pytest.raises(RunError, match=r"tuning\.json: not the trials of a search"):
        write_tuning(tmp_path, found(0.5, settings=BEST), ExperimentSettings())
    assert [path.name for path in tmp_path.iterdir()] == [TRIALS_FILE]


def test_a_search_of_which_no_trial_came_to_its_end_writes_no_experiment(tmp_path):
    tuning = found(None, None)
    assert write_tuning(tmp_path, tuning, ExperimentSettings()) is None
    assert not (tmp_path / TUNED_FILE).exists()
    assert "lora: no trial came to its end (trials: 0 to their end, 2 pruned)" in describe_tuning(tuning, None)


def test_the_summary_says_what_was_gained_and_that_it_flatters():
    told = describe_tuning(found(0.5, None, 0.625, settings=BEST), Path("out/tuned.toml"))
    assert (
        "lora: validation macro-F1 0.625 (trial 3; its own settings have 0.500); trials: 2 to their end, 1 pruned"
        in told
    )
    assert "training.learning_rate = 0.002" in told
    assert "best of 3 on the validation rows that picked it, so it is higher than it will be on other rows" in told
    assert "distilora compare out/tuned.toml" in told
    assert "no trial was better" in describe_tuning(found(0.5, 0.5, settings=BEST), None)
