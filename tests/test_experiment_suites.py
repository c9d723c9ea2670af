"""The suites of an experiment: every method on the same rows, kept until models or rows change, refused in time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distilora.assess.assessing import assess_hatecheck, assess_identity
from distilora.assess.experiments import assess_suites, require_suite_settings
from distilora.assess.models import open_model
from distilora.config import DataSettings, SuitesSettings
from distilora.errors import ConfigError, DataError
from distilora.evaluation.assessments import Assessment
from test_evaluate import CASES, COLUMNS, save_rows
from tiny_bundle import save_tiny_bundle
from tiny_experiment import comments
from untrained_experiment import save_untrained_experiment

GROUP_COLUMNS = ("text", "label", "group", "other_group")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with HateCheck-like cases, comments with groups, and the bundles of two methods."""
    save_rows(tmp_path / "cases.csv", COLUMNS, CASES)
    draw = np.random.default_rng(0)
    names = ("women; men", "women", "men", "")
    rows = [(text, int(label == "toxic"), draw.choice(names), draw.choice(names)) for text, label in comments(rows=120)]
    save_rows(tmp_path / "groups.csv", GROUP_COLUMNS, rows)
    for seed, method in enumerate(("teacher", "odd"), start=1):
        save_tiny_bundle(tmp_path / method, name=method, seed=seed, threshold=0.4)
    return tmp_path


def models(home: Path) -> dict[str, Path]:
    return {method: home / method for method in ("teacher", "odd")}


def suites(home: Path, **changes: str | None) -> SuitesSettings:
    wanted: dict[str, str | None] = {
        "hatecheck": str(home / "cases.csv"),
        "identity": str(home / "groups.csv"),
        "identity_group": "group",
    }
    return SuitesSettings.model_validate({**wanted, **changes})


def found(home: Path, suite: str) -> Assessment:
    return Assessment.model_validate_json((home / "experiment" / "suites" / f"{suite}.json").read_bytes())


def run(home: Path, settings: SuitesSettings | None = None, chosen: dict[str, Path] | None = None) -> list[str]:
    """Return what is told while the suites are run."""
    told: list[str] = []
    assess_suites(settings or suites(home), chosen or models(home), home / "experiment", tell=told.append)
    return told


def test_each_suite_finds_what_evaluate_finds_of_the_same_models(home: Path) -> None:
    assert [line.split(":")[:2] for line in run(home)] == [
        [suite, f" {what}"]
        for suite, rows in (("hatecheck", len(CASES)), ("identity", 120))
        for what in (f"2 models answer {rows} texts", "teacher", "odd")
    ]
    opened = [open_model(str(folder)) for folder in models(home).values()]
    data = DataSettings(source=str(home / "groups.csv"))
    alone = {
        "hatecheck": assess_hatecheck(opened, str(home / "cases.csv")),
        "identity": assess_identity(opened, data, group="group"),
    }
    for suite, expected in alone.items():
        kept = found(home, suite)
        assert [model.path for model in kept.models] == ["teacher", "odd"]
        assert [bool(model.changes) for model in kept.models] == [False, True]
        named = [
            one.model_copy(update={"path": method}) for one, method in zip(expected.models, models(home), strict=True)
        ]
        assert kept == expected.model_copy(update={"models": tuple(named), "notes": kept.notes})


def test_trained_runs_are_tried_where_there_is_no_bundle(tmp_path: Path) -> None:
    folder = save_untrained_experiment(tmp_path / "experiment")
    save_rows(tmp_path / "cases.csv", COLUMNS, CASES)
    runs = {method: folder / method / "seed-0" for method in ("teacher", "lora")}
    run(tmp_path, suites(tmp_path, identity=None), runs)
    teacher, lora = found(tmp_path, "hatecheck").models
    assert (teacher.path, teacher.kind, lora.path, lora.kind) == ("teacher", "run", "lora", "run")
    assert teacher.hatecheck is not None
    assert teacher.hatecheck.overall.rows == len(CASES)


def test_the_same_models_and_rows_are_not_tried_again(home: Path) -> None:
    run(home)
    files = sorted((home / "experiment" / "suites").iterdir())
    first = [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]
    assert run(home) == []
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in files] == first
    for path in files:
        path.unlink()
    run(home)
    assert [path.read_bytes() for path in files] == [content for content, _ in first]


@pytest.mark.parametrize("change", ["model", "threshold", "fewer models", "damage"])
def test_other_models_are_tried_anew(home: Path, change: str) -> None:
    run(home)
    chosen = models(home)
    if change == "model":
        save_tiny_bundle(home / "odd", name="odd", seed=7, threshold=0.4, replace=True)
    elif change == "threshold":
        save_tiny_bundle(home / "odd", name="odd", seed=2, threshold=0.6, replace=True)
    elif change == "fewer models":
        del chosen["odd"]
    else:
        for path in (home / "experiment" / "suites").iterdir():
            path.write_bytes(path.read_bytes()[:-9])
    told = run(home, chosen=chosen)
    assert len([line for line in told if line.endswith("texts answered")]) == 2 * len(chosen)
    assert len([line for line in told if line.endswith("it is measured anew")]) == (2 if change == "damage" else 0)
    assert [model.path for model in found(home, "hatecheck").models] == list(chosen)
    assert run(home, chosen=chosen) == []


def test_other_labels_tests_or_groups_are_tried_anew(home: Path) -> None:
    run(home)
    turned = [(test, number, text, "hateful", *rest) for test, number, text, _, *rest in CASES]
    for rows in (turned, [("another_test_nh", *rest) for _, *rest in CASES]):
        save_rows(home / "cases.csv", COLUMNS, rows)
        assert {line.split(":")[0] for line in run(home)} == {"hatecheck"}
    other = suites(home, identity_group="other_group")
    before = found(home, "identity")
    assert {line.split(":")[0] for line in run(home, other)} == {"identity"}
    assert found(home, "identity").sha256 == before.sha256
    assert found(home, "identity").models != before.models


def test_a_suite_that_is_not_asked_for_is_neither_run_nor_forgotten(home: Path) -> None:
    run(home)
    kept = found(home, "identity")
    assert run(home, suites(home, identity=None)) == []
    assert found(home, "identity") == kept
    assert run(home, SuitesSettings()) == []


def test_one_suite_that_cannot_be_used_does_not_lose_the_other(home: Path) -> None:
    (home / "cases.csv").unlink()
    with pytest.raises(DataError, match=r"^hatecheck: .*cases\.csv: no such file") as caught:
        run(home)
    assert "\n" not in str(caught.value)
    assert len(found(home, "identity").models) == 2


def test_a_model_that_cannot_be_opened_is_left_out_unless_it_is_the_one_to_compare_with(home: Path) -> None:
    (home / "odd" / "model.onnx").write_bytes(b"")
    assert [line for line in run(home) if "hatecheck: odd is left out: " in line and "model.onnx" in line]
    assert [model.path for model in found(home, "hatecheck").models] == ["teacher"]
    (home / "teacher" / "model.onnx").write_bytes(b"")
    with pytest.raises(DataError, match=r"^hatecheck: .*model\.onnx"):
        run(home)


def test_faulty_rows_of_an_identity_file_are_left_out_and_told_of(home: Path) -> None:
    rows = [(text, int(label == "toxic"), "men", "") for text, label in comments(rows=60)]
    save_rows(home / "groups.csv", GROUP_COLUMNS, [*rows, ("", 1, "men", "")])
    settings = suites(home, hatecheck=None)
    require_suite_settings(settings, ("toxic",))
    run(home, settings)
    assert found(home, "identity").rows == 60
    assert "rows left out because they cannot be used: 1" in found(home, "identity").notes


@pytest.mark.parametrize(
    ("changes", "positive", "problem"),
    [
        ({}, (), r"^suites\.hatecheck: no class .* data\.positive"),
        ({"hatecheck": None}, (), r"^suites\.identity: no class .* data\.positive"),
        ({"hatecheck": "absent.csv"}, ("toxic",), r"^suites\.hatecheck: absent\.csv: no such file"),
        ({"hatecheck": "groups.csv"}, ("toxic",), r'^suites\.hatecheck: .*no column "functionality"'),
        ({"identity": "cases.csv"}, ("toxic",), r"^suites\.identity: .*cases\.csv"),
        ({"identity_group": "grup"}, ("toxic",), r'^suites\.identity: .*no column "grup"'),
        ({"identity_text": "txt"}, ("toxic",), r'^suites\.identity: .*: suites\.identity_text "txt" is not a column'),
    ],
)
def test_a_suite_that_could_not_be_run_is_refused_in_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str | None], positive: tuple[str, ...], problem: str
) -> None:
    monkeypatch.chdir(home)
    with pytest.raises(ConfigError, match=problem) as caught:
        require_suite_settings(suites(home, **changes), positive)
    assert "\n" not in str(caught.value)
    assert "data.faults" not in str(caught.value)


def test_suites_that_can_be_run_are_accepted_and_none_need_no_positive_class(home: Path) -> None:
    require_suite_settings(suites(home), ("toxic",))
    require_suite_settings(SuitesSettings(), ())


def test_a_row_that_is_none_of_hatechecks_is_refused_before_training(home: Path) -> None:
    save_rows(home / "cases.csv", COLUMNS, [("derog_neg_emote_h", 1, "i hate all", "perhaps", "", "")])
    with pytest.raises(ConfigError, match=r"suites\.hatecheck: .*row 1: label_gold .* cannot be used: mend them$"):
        require_suite_settings(suites(home), ("toxic",))
