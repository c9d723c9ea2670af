"""What a method is, in plain words."""

from dataclasses import replace

import pytest

from distilora.config import PRESETS, ExperimentSettings, to_toml
from distilora.report.comparing.comparison import compare_runs
from distilora.report.making import Making, brief, making_of_method, making_of_run, read_settings, what_it_is
from distilora.report.pages import method_documents
from distilora.report.sections.provenance import methods_table
from report_cases import run

FEW = {"rows": 30, "history": False}
STUDENT = "a student, made of layers 1, 3 and 5 of its fine-tuned teacher and trained by distillation"
WORDS = {
    "teacher": "the whole encoder, fine-tuned at full depth",
    "odd": STUDENT,
    "searched": STUDENT,
    "joint": f"{STUDENT}, together with LoRA adapters that are now merged into it",
    "lora": "LoRA adapters on the encoder",
    "adalora": "LoRA adapters on the encoder",
    "lora-distil": "LoRA adapters on the encoder, trained by distillation from its fine-tuned teacher",
    "odd-cut-lora": "LoRA adapters on layers 1, 3 and 5 of the encoder",
    "odd-lora": "LoRA adapters on the trained odd student (layers 1, 3 and 5 of its teacher)",
    "even-lora": "LoRA adapters on the trained even student (layers 1, 3 and 5 of its teacher)",
    "teacher-lora": "LoRA adapters on the fine-tuned teacher",
    "odd+even": "an ensemble: the mean of the calibrated probabilities of odd and even",
}


def result_of(method):
    """Return the result that a run of a built-in method, or of an ensemble of some, leaves."""
    settings = ExperimentSettings().method(method)
    return run(
        method,
        kind="student" if settings.kind == "joint" else settings.kind,
        layers=(1, 3, 5) if settings.layers or settings.start in ("odd", "even") else None,
        start=settings.start if settings.kind == "lora" and settings.start != "encoder" else None,
        members=settings.members,
    ).result


@pytest.mark.parametrize("method", WORDS)
def test_each_method_is_told_as_what_it_is(method):
    making = making_of_run(result_of(method), ExperimentSettings().method(method))
    assert what_it_is(making) == WORDS[method]


@pytest.mark.parametrize("method", PRESETS)
def test_no_built_in_method_is_without_words_nor_needs_its_settings_for_them(method):
    for settings in (None, ExperimentSettings().method(method)):
        making = making_of_run(result_of(method), settings)
        assert what_it_is(making)
        assert brief(making)


def test_what_adapters_stand_on_is_called_by_its_kind_where_that_is_known():
    making = {"kind": "lora", "layers": (1, 3), "start": "own"}
    told = [brief(Making(**making, start_kind=kind)) for kind in ("student", "lora", "teacher", None)]
    on = "LoRA adapters on the trained own "
    assert told == [f"{on}student", f"{on}model", f"{on}teacher", f"{on}student"]
    assert brief(Making("lora", start="own")) == f"{on}model"


def test_a_void_hybrid_is_told_by_its_settings():
    void = run("odd-lora", void="its loss was not finite").result
    making = making_of_run(void, ExperimentSettings().method("odd-lora"), start_kind="student")
    assert what_it_is(making) == "LoRA adapters on the trained odd student"


def save_settings(folder, method):
    """Return the settings of a built-in method, which now stand in the folder of a run."""
    settings = ExperimentSettings().method(method)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(to_toml({"method": settings.model_dump(exclude_none=True)}))
    return settings


def told_of(records, method):
    comparison = compare_runs(records)
    return what_it_is(making_of_method(comparison, records, comparison.row(method)))


def test_a_void_student_is_told_without_layers_that_nobody_knows():
    words = "a student, made of some layers of its fine-tuned teacher and trained by distillation"
    void = run("odd", void="its loss was not finite", layers=None, **FEW)
    assert told_of([void, run("teacher", **FEW)], "odd") == words


def test_layers_that_each_seed_searched_are_told_of_the_method_only_where_all_found_the_same(tmp_path):
    runs = [
        replace(run("searched", seed=seed, layers=layers, **FEW), folder=tmp_path / f"seed-{seed}")
        for seed, layers in enumerate([(1, 3, 5), (1, 3, 5), (1, 2, 5)])
    ]
    for one in runs:
        save_settings(one.folder, "searched")
    assert told_of(runs[:2], "searched") == STUDENT
    assert told_of(runs, "searched") == (
        "a student, made of layers of its fine-tuned teacher that a search chooses for each seed, and trained by "
        "distillation"
    )


def test_settings_of_a_run_are_read_from_its_own_file(tmp_path):
    assert read_settings(tmp_path) is None
    assert save_settings(tmp_path, "odd-tinybert") == read_settings(tmp_path)


def test_page_and_table_tell_hybrids_as_what_they_are():
    hybrid = run("odd-lora", layers=(1, 3, 5), start="odd", start_sha256="c" * 64, **FEW)
    records = [run("odd", **FEW), hybrid]
    comparison = compare_runs(records)
    pages = method_documents(comparison, records)
    assert pages["odd-lora"].lead == f"{WORDS['odd-lora']}."
    assert pages["odd"].lead == f"A{STUDENT[1:]}."
    kinds = {row[0]: row[1] for row in methods_table(comparison, records, rows=comparison.methods)}
    assert kinds == {"odd": "student", "odd-lora": "LoRA adapters on the trained odd student"}
