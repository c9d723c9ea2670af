"""Settings: which value holds, what a wrong one is told, and TOML that comes back as it went."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from distilora.config import (
    PRESETS,
    DistillationSettings,
    EncoderSettings,
    ExperimentSettings,
    LoraSettings,
    MethodSettings,
    TrainingSettings,
    read_experiment,
    to_toml,
)
from distilora.errors import ConfigError


def refusal(*assignments: str, path: Path | None = None) -> str:
    """Return the one line that an experiment is refused with."""
    with pytest.raises(ConfigError) as caught:
        read_experiment(path, assignments=assignments)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("assignment", "line"),
    [
        ("trainin.epochs=1", 'trainin: unknown setting; did you mean "training"?'),
        ("training.epoch=1", 'training.epoch: unknown setting; did you mean "epochs"?'),
        ("data.txt=1", 'data.txt: unknown setting; did you mean "text"?'),
        ("distillation.temprature=3", 'distillation.temprature: unknown setting; did you mean "temperature"?'),
        ("methods.odd.distilation.hard=1", 'methods.odd.distilation: unknown setting; did you mean "distillation"?'),
        (
            "methods.odd.training.learning_rat=0.1",
            'methods.odd.training.learning_rat: unknown setting; did you mean "learning_rate"?',
        ),
        (
            "lora.qqq=3",
            "lora.qqq: unknown setting; allowed are rank, largest_rank, alpha, dropout, targets, dora, rslora, adalora",
        ),
        ("run=odd,evn", 'method "evn" is not one of'),
        ("methods.mine.like=lorra", 'did you mean "lora"?'),
    ],
)
def test_a_wrong_key_gets_the_nearest_right_one(assignment: str, line: str) -> None:
    assert line in refusal(assignment)


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("training.epochs=0", ("training.epochs", "greater than or equal to 1", "came 0")),
        ("training.epochs=many", ("training.epochs", "came 'many'")),
        ("training.learning_rate=1", ("training.learning_rate", "less than 1", "came 1")),
        ("encoder.attention=flash", ("encoder.attention", "'eager'", "came 'flash'")),
        ("distillation.temperature=0", ("distillation.temperature", "greater than 0", "came 0")),
        ("lora.alpha=inf", ("lora.alpha", "finite", "came inf")),
        ("lora.rank=gorw", ("lora.rank: give a whole number from 1 to 1024, or grow; came 'gorw'",)),
        ("methods.lora.lora.rank=0", ("methods.lora.lora.rank: give a whole number from 1 to 1024", "came 0")),
        ("distillation.hard=nan", ("distillation.hard", "came nan")),
        ("seeds=", ("seeds: give at least one, and each once",)),
        ("seeds=1,1", ("seeds: give at least one, and each once",)),
        ("distillation={hard=0, soft=0, cosine_logits=0}", ("distillation: all loss terms have weight 0",)),
        (
            "methods.odd.distillation={hard=0, soft=0, cosine_logits=0}",
            ("methods.odd.distillation: all loss terms have weight 0",),
        ),
        ("methods.mine.layers=odd", ('methods.mine: say which method it is like, such as like = "odd"',)),
        ("methods.tfidf.like=odd", ('method name "tfidf"', "taken by the baselines")),
        ("methods.'A/B'.like=odd", ("use lower-case letters",)),
        ("epochs", ('--set "epochs": write table.key=value',)),
        ("=3", ('--set "=3": write table.key=value',)),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(assignment: str, words: tuple[str, ...]) -> None:
    line = refusal(assignment)
    assert [word for word in words if word not in line] == [], line


def test_a_file_that_cannot_be_read_is_told_by_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    assert refusal(path=path).startswith(f"{path}: no such file")
    path.write_text("seeds = [0")
    assert refusal(path=path).startswith(f"{path}: not a readable TOML file")
    path.write_bytes(b"run = '\xff'")
    assert refusal(path=path).startswith(f"{path}: not a readable TOML file")
    path.write_text("[data]\ntexxt = 'tweet'")
    assert refusal(path=path) == f'{path}: data.texxt: unknown setting; did you mean "text"?'


def test_set_reads_values_as_toml_and_else_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("seeds = [7]\n[training]\nepochs = 2\nbatch_size = 16\n")
    settings = read_experiment(
        path,
        assignments=[
            "training.epochs=4",
            "training.epochs = 5",
            "data.source=../some where/a=b.csv",
            "data.positive=toxic, hate speech",
            'data.label_names={0 = "civil"}',
            "data.label_names.1=toxic",
            "data.balance=true",
            "lora.targets=query,value",
            "seeds=0,1,2",
            "run=odd",
        ],
    )
    assert settings.method("odd").training.epochs == 5
    assert settings.method("odd").training.batch_size == 16
    assert settings.data.source == "../some where/a=b.csv"
    assert settings.data.positive == ("toxic", "hate speech")
    assert settings.data.label_names == {"0": "civil", "1": "toxic"}
    assert settings.data.balance is True
    assert settings.method("lora").lora.targets == ("query", "value")
    assert settings.seeds == (0, 1, 2)
    assert read_experiment(assignments=["seeds=3"]).seeds == (3,)


def test_the_method_s_own_table_is_over_the_shared_one_and_that_over_the_presets() -> None:
    assert TrainingSettings().epochs == 3
    assert read_experiment().method("odd").training.epochs == 5  # the preset
    shared = ["training.epochs=7", "lora.alpha=8", "training.weight_decay=0.5"]
    settings = read_experiment(assignments=[*shared, "methods.odd.training.epochs=9", "methods.x.like=odd"])
    assert settings.method("even").training.epochs == 7
    assert settings.method("odd").training.epochs == 9
    assert settings.method("odd").training.weight_decay == 0.5
    assert settings.method("odd").training.dropout == 0.0  # the preset, which nobody changed
    assert settings.method("x").training.epochs == 9  # like the odd of this experiment
    assert settings.method("lora-qv").lora.alpha == 8
    assert settings.method("lora-qv").lora.targets == ("query", "value")


def test_like_leads_over_several_methods_and_the_nearest_wins() -> None:
    settings = ExperimentSettings.model_validate(
        {
            "methods": {
                "hot": {"like": "even", "distillation": {"temperature": 4, "hard": 0.5}},
                "hotter": {"like": "hot", "distillation": {"temperature": 8}, "training": {"epochs": 1}},
                "deep": {"like": "hotter", "layers": "2,3,4"},
            }
        }
    )
    deep = settings.method("deep")
    assert (deep.name, deep.kind, deep.layers) == ("deep", "student", "2,3,4")
    assert deep.distillation == DistillationSettings(hard=0.5, soft=0.8, temperature=8)
    assert deep.training.epochs == 1
    assert settings.method("hot").layers == "even"


def test_like_in_a_circle_is_refused() -> None:
    line = refusal("methods.a.like=b", "methods.b.like=c", "methods.c.like=a")
    assert "leads in a circle" in line
    assert refusal("methods.a.like=a").endswith("leads in a circle: a")


def test_the_teacher_comes_first_wherever_a_student_needs_it() -> None:
    assert read_experiment().method_names == ("teacher", "odd", "even", "lora")
    assert read_experiment(assignments=["run=lora,odd"]).method_names == ("teacher", "lora", "odd")
    assert read_experiment(assignments=["run=lora,lora-qv,lora"]).method_names == ("lora", "lora-qv")
    assert read_experiment(assignments=["methods.hot.like=odd"]).method_names[-1] == "hot"


def test_every_preset_resolves_and_nothing_can_be_changed_afterwards() -> None:
    settings = ExperimentSettings()
    kinds = {name: settings.method(name).kind for name in PRESETS}
    assert set(kinds.values()) == {"teacher", "student", "lora", "joint"}
    assert kinds["spread"] == "student"
    with pytest.raises(ValueError, match="frozen"):
        settings.method("odd").training.epochs = 1  # type: ignore[misc]


def records() -> Iterator[type[BaseModel]]:
    yield from (ExperimentSettings, EncoderSettings, TrainingSettings, DistillationSettings, LoraSettings)
    data = ExperimentSettings.model_fields["data"].annotation
    assert data is not None
    yield data


def test_every_setting_says_what_it_is() -> None:
    silent = [
        f"{record.__name__}.{name}"
        for record in records()
        for name, field in record.model_fields.items()
        if not (field.description or (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)))
    ]
    assert silent == []


def test_the_settings_of_a_method_come_back_from_their_toml() -> None:
    method = read_experiment(assignments=["methods.odd.training.learning_rate=1e-7"]).method("odd")
    assert MethodSettings.model_validate(tomllib.loads(to_toml(method.model_dump()))) == method


values = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple),
    max_leaves=5,
)
tables = st.recursive(
    st.dictionaries(st.text(max_size=6), values | st.none(), max_size=4),
    lambda inner: st.dictionaries(st.text(max_size=6), values | st.none() | inner, max_size=3),
    max_leaves=8,
)


def without_none(value: object) -> object:
    if isinstance(value, dict):
        return {key: without_none(inner) for key, inner in value.items() if inner is not None}
    return [without_none(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def without_empty_tables(value: object) -> object:
    """Return nested tables less those that hold none but empty tables: TOML need not write them."""
    if not isinstance(value, dict):
        return value
    kept = {key: without_empty_tables(inner) for key, inner in value.items()}
    return {key: inner for key, inner in kept.items() if inner != {}}


@given(tables)
def test_toml_comes_back_as_it_went(table: dict[str, object]) -> None:
    came = tomllib.loads(to_toml(table))
    assert without_empty_tables(came) == without_empty_tables(without_none(table))


def test_methods_run_behind_those_that_they_need() -> None:
    names = read_experiment(assignments=["run=odd-lora,even+lora"]).method_names
    assert names == ("teacher", "odd", "odd-lora", "even", "lora", "even+lora")


@pytest.mark.parametrize(
    ("methods", "run", "told"),
    [
        (
            {"a": {"like": "lora", "start": "b"}, "b": {"like": "lora", "start": "a"}},
            ("a",),
            "methods.a.start leads in a circle: a → b → a",
        ),
        ({"a": {"like": "lora", "start": "odd+even"}}, ("a",), "methods.a.start: adapters stand on one model"),
        ({}, ("odd+even", "even+odd"), 'method "even+odd" is "odd+even" once more'),
        ({}, ("odd+odd",), 'method "odd+odd": an ensemble needs each of its members once'),
        ({"a": {"like": "odd", "start": "even"}}, ("a",), "start: only LoRA methods start from another method"),
        ({"a": {"like": "lora", "layers": "search"}}, ("a",), "only the layers of a teacher can be searched"),
        ({"a": {"like": "lora", "lora": {"adalora": True, "dora": True}}}, ("a",), "adalora has ranks"),
        ({"a": {"like": "odd", "training": {"r_drop": 1.0}}}, ("a",), "and dropout is 0: give it a share"),
        ({"a": {"like": "odd-lora", "layers": "odd"}}, ("a",), "layers: adapters stand on the whole model that they"),
        ({"a": {"like": "teacher-lora", "layers": "search"}}, ("a",), "and a starts from teacher; leave layers out"),
        ({"a": {"like": "joint", "lora": {"rank": "grow"}}}, ("a",), "keep one rank; set [methods.a.lora] rank = 8"),
        ({"a": {"like": "joint", "lora": {"adalora": True}}}, ("a",), "set [methods.a.lora] adalora = false"),
        ({"a": {"like": "lora-grow", "training": {"unfreeze": True}}}, ("a",), "training.unfreeze: adapters whose"),
        ({"a": {"like": "adalora", "training": {"unfreeze": True}}}, ("a",), "or [methods.a.lora] adalora = false"),
        ({"a": {"like": "odd", "learns_from": "labels", "start": "encoder"}}, ("a",), "students and joint methods"),
        ({"a": {"like": "teacher", "learns_from": "teacher", "start": "teacher"}}, ("a",), "teachers learn from"),
    ],
)
def test_methods_that_make_no_sense_are_refused_in_one_line(methods: Any, run: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        read_experiment(changes={"methods": methods, "run": run})


def test_ranks_that_change_for_all_leave_joint_training_one_of_its_own() -> None:
    shared = ["lora.rank=grow", "run=lora,joint"]
    assert "methods.joint: lora: " in refusal(*shared)
    settings = read_experiment(assignments=[*shared, "methods.joint.lora.rank=8"])
    assert [settings.method(name).lora.adapts for name in ("lora", "joint", "odd-cut-lora")] == [True, False, True]
    assert settings.method("odd-cut-lora").layers == "odd"
