"""Bundles and trained runs on labelled data and suites, as a person or a program gets the answer."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from distilora.assess.assessing import assess_hatecheck, assess_labelled
from distilora.assess.matching import positive_names
from distilora.assess.models import open_model
from distilora.assess.sources import read_hatecheck, read_identity
from distilora.assess.wording import describe
from distilora.bundles.bundle import open_bundle
from distilora.config import DataSettings, LoraSettings
from distilora.data.tokens import encode_texts
from distilora.errors import ConfigError, DataError, HubError, ModelError
from distilora.evaluation.assessments import Assessment
from distilora.evaluation.metrics import evaluate_logits
from distilora.models.adapters import add_lora
from distilora.models.encoders import find_encoder, load_classifier, load_tokenizer
from distilora.models.inference import compute_logits
from distilora.runs import MODEL_FOLDER
from test_cli import run
from tiny_bundle import save_tiny_bundle, save_tiny_ensemble
from tiny_experiment import comments, save_comments
from untrained_experiment import LABELS, save_untrained_experiment

COLUMNS = ("functionality", "case_id", "test_case", "label_gold", "target_ident", "direction")
CASES = (
    ("derog_neg_emote_h", 1, "i hate all dog people", "hateful", "dog people", "general"),
    ("derog_neg_emote_h", 2, "dog people are awful", "hateful", "dog people", "general"),
    ("derog_neg_emote_h", 3, "cat people are awful", "hateful", "cat people", "general"),
    ("negate_neg_nh", 4, "dog people are not awful", "non-hateful", "dog people", ""),
    ("negate_neg_nh", 5, "cat people are not the worst", "non-hateful", "cat people", ""),
    ("target_obj_nh", 6, "i hate this awful day", "non-hateful", "", ""),
)


@pytest.fixture
def cli(monkeypatch, capsys):
    return lambda *words: run(monkeypatch, capsys, "evaluate", *words)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with comments, HateCheck-like cases, comments with groups, and bundles."""
    folder = tmp_path_factory.mktemp("evaluate")
    save_comments(folder / "comments.csv")
    save_rows(folder / "cases.csv", COLUMNS, CASES)
    draw = np.random.default_rng(0)
    names = ("women; men", "women", "men", "", "deaf people")
    rows = [(text, int(label == "toxic"), draw.choice(names)) for text, label in comments(rows=300)]
    save_rows(folder / "groups.csv", ("text", "label", "group"), rows)
    for name, seed in (("one", 1), ("two", 2)):
        save_tiny_bundle(folder / name, seed=seed, threshold=0.4)
    save_tiny_bundle(folder / "turned", seed=2, labels=LABELS[::-1])
    save_tiny_bundle(folder / "three", labels=("hate", "offensive", "fine"), positive=("hate", "offensive"))
    save_tiny_bundle(folder / "neutral", positive=())
    save_tiny_ensemble(folder / "both", {"one": folder / "one", "two": folder / "two"})
    return folder


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return save_untrained_experiment(tmp_path_factory.mktemp("experiment"))


def save_rows(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def test_a_bundle_is_scored_with_the_threshold_that_it_has(cli, home):
    code, out, err = cli(home / "one", home / "comments.csv", "--json")
    assert (code, err.count("\n")) == (0, 1)
    (model,) = Assessment.model_validate_json(out).models
    bundle = open_bundle(home / "one", threads=1)
    texts, labels = zip(*comments(), strict=True)
    predictions = bundle.predict(texts).labels
    right = np.mean([bundle.labels[code] == label for code, label in zip(predictions, labels, strict=True)])
    assert (model.kind, model.sha256, model.threshold) == ("bundle", bundle.id, 0.4)
    assert model.evaluation.accuracy == pytest.approx(right)
    assert sum(map(sum, model.evaluation.confusion)) == 200


def test_a_threshold_that_is_given_decides_instead(cli, home):
    found = [
        json.loads(cli(home / "one", home / "comments.csv", "--threshold", share, "--json")[1])["models"][0]
        for share in (0, 1)
    ]
    assert [one["evaluation"]["constant"] for one in found] == ["toxic", "civil"]
    assert [one["threshold"] for one in found] == [0, 1]


@pytest.mark.parametrize("method", ["teacher", "lora"])
def test_a_run_is_scored_as_scikit_learn_scores_its_logits(method, home, experiment):
    model = open_model(str(experiment / method), threads=1)
    texts, labels = zip(*comments(), strict=True)
    assessment = assess_labelled([model], DataSettings(source=str(home / "comments.csv")))
    encoder = find_encoder(str(experiment / "bert"))
    own, fresh = load_classifier(encoder, labels=LABELS, seed=3)
    if method == "lora":
        own = add_lora(own, LoraSettings(), fresh=fresh, encoder=encoder, seed=4)
    encoded = encode_texts(texts, load_tokenizer(encoder, max_length=12), max_length=12)
    truth = np.array([LABELS.index(label) for label in labels])
    expected = evaluate_logits(compute_logits(own, encoded), truth, label_names=LABELS)
    found = assessment.models[0].evaluation
    assert found.confusion == expected.confusion
    assert found.log_loss == pytest.approx(expected.log_loss, abs=1e-5)
    assert found.accuracy_interval == expected.accuracy_interval


def test_models_whose_classes_stand_in_another_order_are_compared_class_by_class(home):
    settings = DataSettings(source=str(home / "comments.csv"))
    two, turned = (open_model(str(home / name), threads=1) for name in ("two", "turned"))
    together = assess_labelled([two, turned], settings).models
    alone = assess_labelled([turned], settings).models[0].evaluation
    assert list(together[1].evaluation.per_class) == list(LABELS)
    assert together[1].evaluation.per_class == {name: alone.per_class[name] for name in LABELS}
    assert together[1].evaluation.confusion == tuple(row[::-1] for row in alone.confusion[::-1])
    assert together[1].evaluation.log_loss == pytest.approx(alone.log_loss)
    macro_f1 = next(one for one in together[1].changes if one.measure == "macro_f1")
    assert macro_f1.value == pytest.approx(alone.macro_f1 - together[0].evaluation.macro_f1)
    assert together[0].changes == ()


def test_a_model_against_itself_shows_no_difference(cli, home):
    code, out, _ = cli(home / "one", home / "one", home / "both", home / "comments.csv")
    assert code == 0
    assert "no difference was found" in out
    assert "+0" not in out.split("against")[1]


def test_labels_are_matched_without_regard_to_case_and_renamed_where_asked(cli, home, tmp_path):
    rows = [(text, label.upper()) for text, label in comments(rows=40)]
    code, out, _ = cli(home / "one", save_rows(tmp_path / "upper.csv", ("text", "label"), rows), "--json")
    assert (code, json.loads(out)["rows"]) == (0, 40)
    rows = [(text, LABELS.index(label)) for text, label in comments(rows=40)]
    path = save_rows(tmp_path / "codes.csv", ("text", "label"), rows)
    code, renamed, _ = cli(home / "one", path, "--label-names", "0=civil,1=toxic", "--json")
    assert code == 0
    assert json.loads(renamed)["models"][0]["evaluation"] == json.loads(out)["models"][0]["evaluation"]


def test_comments_of_one_class_alone_can_be_scored(cli, home, tmp_path):
    path = save_rows(tmp_path / "toxic.csv", ("text", "label"), [("you are awful", "toxic"), ("so rude", "toxic")])
    code, out, _ = cli(home / "one", path)
    assert code == 0
    assert 'no row has the label "civil"' in out


def test_a_warning_is_given_where_a_model_was_trained_on_the_same_comments(home, tmp_path):
    settings = DataSettings(source=str(home / "comments.csv"))
    strange = assess_labelled([open_model(str(home / "one"), threads=1)], settings)
    origin = open_bundle(home / "one", threads=1).manifest.origin.model_copy(update={"data_sha256": strange.sha256})
    known = save_tiny_bundle(tmp_path / "known", seed=1, origin=origin)
    found = assess_labelled([open_model(str(known), threads=1)], settings)
    assert [strange.models[0].trained_on_source, found.models[0].trained_on_source] == [False, True]
    assert "these scores flatter" in describe(found)


def test_hatecheck_counts_what_the_bundle_calls_positive(cli, home, tmp_path):
    out_file = tmp_path / "found.json"
    code, out, _ = cli(
        home / "one", home / "two", "--suite", "hatecheck", "--data", home / "cases.csv", "--out", out_file
    )
    assert code == 0
    assessment = Assessment.model_validate_json(out_file.read_bytes())
    for model, name in zip(assessment.models, ("one", "two"), strict=True):
        said = open_bundle(home / name, threads=1).predict([case[2] for case in CASES])
        right = (said.positive_probability >= 0.4) == np.array([case[3] == "hateful" for case in CASES])
        by_test = {one.name: one.correct for one in model.hatecheck.functionalities}
        assert by_test == {
            "derog_neg_emote_h": right[:3].sum(),
            "negate_neg_nh": right[3:5].sum(),
            "target_obj_nh": right[5:].sum(),
        }
        assert {one.name: one.rows for one in model.hatecheck.targets} == {"cat people": 2, "dog people": 3}
    assert [one.name for one in assessment.models[1].changes if one.family == "target group"] == [
        "cat people",
        "dog people",
    ]
    assert f"result: {out_file}" in out
    assert "right 1" in out
    assert "2 − 1" in out


def test_of_three_classes_the_positive_ones_count_together(home):
    model = open_model(str(home / "three"), threads=1, positive=["offensive", "hate"], threshold=None)
    said = open_bundle(home / "three", threads=1).predict([case[2] for case in CASES]).probabilities
    found = assess_hatecheck([model], str(home / "cases.csv")).models[0]
    assert found.positive == ("hate", "offensive")
    assert found.hatecheck.said_hateful == pytest.approx((said[:, :2].sum(axis=1) >= found.threshold).mean())


def test_a_model_that_calls_every_case_hateful_or_none_is_told_of(home):
    models = [open_model(str(home / "one"), threads=1, threshold=share) for share in (0, 1)]
    notes = assess_hatecheck(models, str(home / "cases.csv")).notes
    assert [note.split(": ")[1] for note in notes] == [
        "calls every case hateful, so it tells none apart",
        "calls no case hateful, so it tells none apart",
    ]


def test_a_threshold_chosen_for_other_classes_is_not_used(home):
    model = open_model(str(home / "three"), threads=1, positive=["hate"])
    assert (model.positive, model.threshold) == (("hate",), None)
    probabilities = np.array([[0.5, 0.1, 0.4], [0.45, 0.2, 0.35]], dtype=np.float32)
    assert model.says_positive(probabilities).tolist() == [True, False]


def test_identity_groups_may_overlap_and_labels_of_0_and_1_are_understood(cli, home):
    code, out, _ = cli(home / "one", home / "two", home / "groups.csv", "--suite", "identity", "--json")
    assert code == 0
    assessment = Assessment.model_validate_json(out)
    with (home / "groups.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = {group.name: group.rows for group in assessment.models[0].identity.groups}
    assert found == {
        name: sum(name in row["group"].split("; ") for row in rows) for name in ("deaf people", "men", "women")
    }
    assert any("label 1 is taken to mean" in note for note in assessment.notes)
    assert len(assessment.models[1].changes) == 1 + 3 * 3
    told = describe(assessment)
    assert all(name in told for name in ("subgroup AUC 1", "BPSN AUC 2", "BNSP AUC 2", "deaf people"))


def test_labels_of_an_identity_file_are_the_models_classes_or_the_usual_words(home):
    model = open_model(str(home / "three"), threads=1)
    for names, expected in (
        (("fine", "hate", "offensive"), [False, True, True]),
        (("Fine", "HATE"), [False, True]),
        (("hateful", "non-hateful"), [True, False]),
        (("false", "true"), [False, True]),
    ):
        assert positive_names(names, model, source="groups.csv")[0].tolist() == expected
    with pytest.raises(DataError, match='"rude" is none of the classes'):
        positive_names(("fine", "rude"), model, source="groups.csv")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["one"], "needs models and labelled data"),
        (["one", "absent.csv"], "absent.csv: no such file"),
        (["absent", "comments.csv"], "absent: no such folder"),
        (["one", "three", "comments.csv"], "give models of the same classes"),
        (["three", "comments.csv"], 'label "civil" is none of the classes of three: hate, offensive, fine'),
        (["one", "comments.csv", "--positive", "toxc"], 'did you mean "toxic"?'),
        (["one", "comments.csv", "--positive", "toxic", "--positive", "civil"], "every class is positive"),
        (["neutral", "comments.csv", "--threshold", "0.5"], "give --positive with one of civil, toxic"),
        (["neutral", "--suite", "hatecheck", "--data", "cases.csv"], "give --positive with one of civil, toxic"),
        (["neutral", "--suite", "identity", "--data", "groups.csv"], "give --positive with one of civil, toxic"),
        (["one", "--suite", "hatecheck", "--data", "comments.csv"], 'no column "functionality"'),
        (["one", "--suite", "identity", "--data", "comments.csv"], "no column looks like the group"),
        (["one", "--suite", "identity", "--data", "groups.csv", "--group", "grup"], 'did you mean "group"?'),
        (["one", "comments.csv", "--group", "group"], "only --suite identity knows groups"),
        (["one", "comments.csv", "--out", "cases.csv"], "--overwrite"),
        (["one", "comments.csv", "--out", "one"], "is a folder"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_exit_code_2(cli, words, answer, home, monkeypatch):
    monkeypatch.chdir(home)
    before = sorted(home.iterdir())
    code, out, err = cli(*words)
    assert (code, out) == (2, "")
    assert answer in err
    assert err.count("\n") == 1
    assert sorted(home.iterdir()) == before


@pytest.mark.parametrize(
    ("case", "problem"),
    [
        (("threat", 1, "some text", "rude", "", ""), 'label_gold "rude" is not one of hateful, non-hateful'),
        (("", 1, "some text", "hateful", "", ""), "functionality is missing"),
        (("threat", 1, " ", "hateful", "", ""), "test_case is empty"),
    ],
)
def test_a_row_that_is_none_of_hatechecks_is_told_with_its_number(case, problem, tmp_path):
    path = save_rows(tmp_path / "cases.csv", COLUMNS, [*CASES, case])
    with pytest.raises(DataError, match="row 7") as caught:
        read_hatecheck(str(path))
    assert problem in str(caught.value)
    assert "1 of 7 rows cannot be used" in str(caught.value)


def test_faulty_rows_of_an_identity_file_are_refused_or_left_out_and_counted(tmp_path):
    rows = [("a", "0", "x"), ("", "1", "x"), ("b", "1", "")]
    path = str(save_rows(tmp_path / "groups.csv", ("text", "label", "group"), rows))
    with pytest.raises(DataError, match="row 2: text is empty; 1 of 3 rows"):
        read_identity(DataSettings(source=path), group=None)
    read = read_identity(DataSettings(source=path, faults="skip"), group=None)
    assert (read.texts, read.notes[-1]) == (("a", "b"), "rows left out because they cannot be used: 1")


def test_an_identity_file_that_names_no_group_is_refused(tmp_path):
    path = save_rows(tmp_path / "groups.csv", ("text", "label", "group"), [("a", "0", ""), ("b", "1", " ; ")])
    with pytest.raises(DataError, match="mentions a group"):
        read_identity(DataSettings(source=str(path)), group=None)


def test_a_run_takes_no_windows_and_needs_the_encoder_it_had(experiment, tmp_path):
    with pytest.raises(ConfigError, match="export it first"):
        open_model(str(experiment / "teacher"), long_texts="windows")
    result = json.loads((experiment / "lora" / "seed-0" / "result.json").read_text())
    result["encoder"]["sha256"] = "0" * 64
    changed = tmp_path / "lora" / "seed-0"
    changed.mkdir(parents=True)
    for file in ("history.jsonl", "logits.safetensors", MODEL_FOLDER):
        (changed / file).symlink_to(experiment / "lora" / "seed-0" / file)
    (changed / "result.json").write_text(json.dumps(result))
    with pytest.raises(ModelError, match="put the former encoder back"):
        open_model(str(changed))


def test_hatecheck_on_the_hub_is_wanted_in_one_line_where_there_is_no_network(monkeypatch):
    import datasets
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="Paul/hatecheck") as caught:
        read_hatecheck("Paul/hatecheck")
    assert "give its file: test_suite_cases.csv of https://" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bundle_is_evaluated_on_every_suite_without_the_training_libraries(home):
    code = """
import sys
for name in ("torch", "transformers", "peft", "sklearn", "datasets", "safetensors", "scipy", "matplotlib"):
    sys.modules[name] = None  # as if it were not installed
from distilora.cli import main
for words in (["comments.csv"], ["--suite", "hatecheck", "--data", "cases.csv"], ["groups.csv", "--suite", "identity"]):
    sys.argv = ["distilora", "evaluate", "one", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("model") >= 3
