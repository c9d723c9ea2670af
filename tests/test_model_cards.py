"""The card that a report puts into the folder of each trained model."""

import logging
import re
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from distilora.config import ExperimentSettings, MethodSettings, to_toml
from distilora.data.tokens import encode_texts
from distilora.evaluation.assessments import AssessedModel, Assessment
from distilora.evaluation.calibration import measure_calibration
from distilora.evaluation.costs import ExperimentCosts, LatencyAt, MethodCosts
from distilora.evaluation.records import Interval
from distilora.evaluation.robustness.drops import NoiseDrop
from distilora.evaluation.suites.records import (
    Auc,
    Change,
    FunctionalTest,
    GroupAccuracy,
    HateCheckScores,
    IdentityGroup,
    IdentityScores,
)
from distilora.experiment.opening import open_trained
from distilora.models.encoders import find_encoder, load_tokenizer
from distilora.models.inference import compute_logits
from distilora.report.cards import write_cards
from distilora.report.cards.front_matter import Head, data_name, front_matter
from distilora.report.cards.how_made import how_made
from distilora.report.comparing.comparison import compare_runs
from distilora.report.files import write_report
from distilora.report.making import making_of_run
from distilora.report.records import Considered, Limits, Recommendation, Score, ThresholdScores
from distilora.runs import read_run, run_folder, run_sha256
from hybrid_experiment import LABELS, STARTS, hybrid_run, save_hybrid_experiment
from report_cases import run, usual_runs

TEXTS = ["the dog and the people", "you are so stupid"]
HUB_TYPE = re.compile(r"(?:[\w-]+/)?[\w.-]+", re.ASCII)
INTERVAL = Interval(low=0.1, high=0.2)
HYBRIDS = ("teacher", "odd", *STARTS)


def settings_of(method, kind):
    """Return the default settings of a method of this kind."""
    taught = {"start": "teacher", "learns_from": "teacher"} if kind == "student" else {}
    return MethodSettings(name=method, kind=kind, **taught)


def model_folders(folder, records):
    """Give each run that has a model the folder that it would have, and its settings beside it."""
    for record in records:
        result = record.result
        home = run_folder(folder, result.method, result.seed)
        if result.kind != "baseline" and result.void is None:
            (home / "model").mkdir(parents=True)
            settings = settings_of(result.method, result.kind)
            (home / "config.toml").write_text(to_toml({"seed": 0, "method": settings.model_dump(mode="json")}))
    return folder


@cache
def usual_comparison(seeds):
    records = usual_runs(seeds=seeds)
    return records, compare_runs(records)


def written_cards(folder, records, comparison):
    """Return the text of each card by METHOD/seed-N."""
    paths = write_cards(comparison, records, model_folders(folder, records))
    return {path.parents[2].name + "/" + path.parents[1].name: path.read_text(encoding="utf-8") for path in paths}


def cards_of(folder, records):
    return written_cards(folder, records, compare_runs(records))


def usual_cards(folder, **changes):
    """Return the cards of one seed each, with fields of their comparison changed."""
    records, comparison = usual_comparison(1)
    return written_cards(folder, records, comparison.model_copy(update=changes))


def one_card(folder, *, row, **changes):
    """Return a card of odd, whose row in the comparison is changed."""
    records, comparison = usual_comparison(2)
    rows = [one.model_copy(update=row) if one.method == "odd" else one for one in comparison.methods]
    comparison = comparison.model_copy(update={"methods": tuple(rows), **changes})
    return written_cards(folder, records, comparison)["odd/seed-0"]


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    return written_cards(tmp_path_factory.mktemp("usual"), *usual_comparison(2))


def test_each_trained_model_has_a_card_and_no_void_run_or_baseline(usual):
    assert sorted(usual) == [f"{method}/seed-{seed}" for method in ("lora", "odd", "teacher") for seed in (0, 1)]


def test_a_report_writes_the_cards_of_its_models(tmp_path, usual):
    records, comparison = usual_comparison(2)
    write_report(comparison, records, model_folders(tmp_path, records))
    for place, card in usual.items():
        assert (tmp_path / place / "model" / "README.md").read_text(encoding="utf-8") == card


def test_the_front_matter_of_every_card_is_one_that_the_hub_takes(usual):
    for card in usual.values():
        head = yaml.safe_load(card.split("---\n")[1])
        assert head["pipeline_tag"] == "text-classification"
        assert head["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
        assert head["metrics"] == ["f1", "accuracy"]
        assert {"distilora", "text-classification"} <= set(head["tags"])
        assert "license" not in head
        assert "language" not in head
        for result in head["model-index"][0]["results"]:
            assert result["task"]["type"] == "text-classification"
            assert HUB_TYPE.fullmatch(result["dataset"]["type"])
            assert result["dataset"]["name"] == "comments.csv"
            assert {metric["type"] for metric in result["metrics"]} == {"f1", "accuracy"}


def test_the_hub_library_reads_the_scores_of_the_test_part_and_writes_the_same_front_matter(usual):
    for record in usual_comparison(2)[0]:
        result = record.result
        if (text := usual.get(f"{result.method}/seed-{result.seed}")) is None:
            continue
        card = ModelCard(text)
        head = text.split("---\n")[1]
        assert yaml.safe_load(card.data.to_yaml()) == yaml.safe_load(head)
        name, results = model_index_to_eval_results(yaml.safe_load(head)["model-index"])
        assert name == result.method
        assert {one.metric_type: one.metric_value for one in results} == {
            "f1": pytest.approx(result.test.macro_f1, abs=5e-5),
            "accuracy": pytest.approx(result.test.accuracy, abs=5e-5),
        }
        assert {one.dataset_split for one in results} == {"test"}


@pytest.mark.parametrize(
    ("method", "framework", "tags"),
    [
        ("teacher", "transformers", {"teacher"}),
        ("odd", "transformers", {"student", "knowledge-distillation"}),
        ("lora", "peft", {"lora"}),
    ],
)
def test_library_and_tags_say_what_kind_of_model_it_is(usual, method, framework, tags):
    data = ModelCard(usual[f"{method}/seed-0"]).data
    assert data.to_dict()["library_name"] == framework
    assert set(data.tags) == {"distilora", "text-classification"} | tags


@pytest.mark.parametrize(
    ("source", "kind", "name", "datasets"),
    [
        ("/home/somebody/private/comments.csv", "csv", "comments.csv", None),
        ("C:\\Users\\a b.parquet", "parquet", "C:\\Users\\a b.parquet", None),
        ("davidson", "tdavidson/hate_speech_offensive", "davidson", ["tdavidson/hate_speech_offensive"]),
        ("owner/name:part", "owner/name", "owner/name:part", ["owner/name"]),
        ("sample", "distilora-sample", "the sample that comes with distilora", None),
        ("仇恨 <b>", "b", "仇恨 <b>", None),
        ("仇恨", "unknown", "仇恨", None),
    ],
)
def test_every_source_of_data_has_a_type_and_a_name_for_the_hub(source, kind, name, datasets):
    text = front_matter(
        Head(name="odd", framework="transformers", tags=(), data_source=source, base_model=None, test_scores=(0.5, 0.6))
    )
    data = ModelCard(text + "\n\n# odd\n").data
    found = data.eval_results[0]
    assert (found.dataset_type, found.dataset_name, data.datasets) == (kind, name, datasets)
    assert HUB_TYPE.fullmatch(found.dataset_type)


def test_the_language_is_told_only_where_it_is_known():
    assert data_name("sample").language == "en"
    assert data_name("comments.csv").language is None


def test_no_card_tells_where_on_this_machine_anything_lies(tmp_path):
    encoder = {"name": str(tmp_path / "encoders" / "my-bert"), "sha256": "b" * 64, "max_length": 128}
    data = run("odd").result.data.model_copy(update={"source": str(tmp_path / "private" / "comments.csv")})
    records = [run(method, data=data, encoder=encoder) for method in ("teacher", "odd", "lora")]
    for card in cards_of(tmp_path / "experiment", records).values():
        assert str(tmp_path) not in card
        assert "private" not in card
        assert "my-bert" in card
        assert "base_model" not in yaml.safe_load(card.split("---\n")[1])


def test_foreign_names_cannot_write_markdown_or_front_matter_into_a_card(tmp_path):
    nasty = "a|b <script> *x* [l](u)\n---\nlicense: mit\n# head `c`"
    records = [run("odd", names=("civil", nasty, "x\x00\u202ey"))]
    (card,) = cards_of(tmp_path, records).values()
    read = ModelCard(card)
    assert getattr(read.data, "license", None) is None
    assert r"a\|b \<script\> \*x\* \[l\](u) --- license: mit # head \`c\`" in read.text
    assert "\n# head" not in read.text
    assert not {"\x00", "\u202e"} & set(card)


def test_the_same_results_give_the_same_bytes(tmp_path, usual):
    records, comparison = usual_comparison(2)
    assert written_cards(tmp_path, list(reversed(records)), comparison) == usual


def test_a_card_that_somebody_else_wrote_stays_and_is_told_of(tmp_path, caplog):
    records = [run("odd"), run("teacher")]
    comparison, folder = compare_runs(records), model_folders(tmp_path, records)
    theirs = run_folder(folder, "odd", 0) / "model" / "README.md"
    theirs.write_text("---\ntags:\n- mine\n---\n\n# Mine, about distilora\n- distilora\n")
    with caplog.at_level(logging.WARNING):
        written = write_cards(comparison, records, folder)
    assert [path.parents[2].name for path in written] == ["teacher"]
    assert "# Mine" in theirs.read_text()
    assert str(theirs) in caplog.text
    written[0].write_text(written[0].read_text().replace("Intended", "INTENDED"))
    assert write_cards(comparison, records, folder) == written
    assert "INTENDED" not in written[0].read_text()


def test_a_card_that_cannot_be_written_is_told_of_and_the_others_are_written(tmp_path, caplog):
    records, comparison = usual_comparison(1)
    folder = model_folders(tmp_path, records)
    (run_folder(folder, "odd", 0) / "model" / ".README.md.partial").mkdir()  # in the way, for root too
    written = write_cards(comparison, records, folder)
    assert sorted(path.parents[2].name for path in written) == ["lora", "teacher"]
    assert "odd/seed-0/model/README.md: no card is written: Is a directory" in caplog.text


def test_a_card_tells_this_seed_and_the_method_over_seeds_with_intervals(usual):
    records, comparison = usual_comparison(2)
    tests = [one.result.test for one in records if (one.result.method, one.result.seed) == ("odd", 1)]
    test, row = tests[0], comparison.row("odd")
    card = usual["odd/seed-1"]
    interval = test.macro_f1_interval
    assert f"this model (seed 1) | test | 240 | {test.macro_f1:.3f} | {interval.low:.3f} to {interval.high:.3f}" in card
    assert f"mean of 2 seeds ± their SD | test | 240 | {row.macro_f1.mean:.3f} ± {row.macro_f1.sd:.3f}" in card
    hate, overall = test.per_class["hate speech"], row.classes["hate speech"].f1
    assert f"| hate speech | {hate.support} | {hate.precision:.3f} | {hate.recall:.3f} | {hate.f1:.3f} |" in card
    assert f"{overall.mean:.3f} ± {overall.sd:.3f} | {overall.interval.low:.3f} to" in card


def test_a_card_tells_how_its_model_was_made(usual):
    card = usual["odd/seed-0"]
    assert "made of layers 1, 3 and 5 of its fine-tuned teacher" in card
    assert "1,920 train, 240 validation, 240 test rows (split with seed 1150), SHA-256 aaaaaaaaaaaaaaaa…" in card
    assert "Encoder sentence-transformers/all-MiniLM-L6-v2, weights SHA-256 bbbbbbbbbbbbbbbb…" in card
    assert "0.2 × cross-entropy with the labels + 0.8 × KL divergence" in card
    assert "2 epochs, of which number 2" in card
    assert "splits, reload" in card
    assert "distilora 0.1.0" in card
    assert "rank 8, alpha 16" in usual["lora/seed-0"]
    assert "rank" not in card


def card_of_preset(folder, method, **told):
    """Return the card of a method as it comes with distilora, beside the odd student."""
    records = [run("odd", rows=30), run(method, rows=30, **told)]
    comparison = compare_runs(records)
    model_folders(folder, records)
    settings = ExperimentSettings().method(method).model_dump(mode="json", exclude_none=True)
    (run_folder(folder, method, 0) / "config.toml").write_text(to_toml({"method": settings}))
    paths = write_cards(comparison, records, folder)
    return next(path.read_text() for path in paths if path.parents[2].name == method)


def told_of_preset(method):
    """Return what a card tells of how a method that comes with distilora was made."""
    result, settings = run(method, rows=4).result, ExperimentSettings().method(method)
    told = how_made(result, result.encoder, settings, making=making_of_run(result, settings))
    return "\n".join(told).replace("\\", "")


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("odd-moving-average", "between their logits; terms each divided by its running mean, so that none drowns"),
        ("odd-uncertainty", "terms weighed anew by learned variances"),
        ("odd-dwa", "terms weighed anew each epoch by how fast each falls"),
        ("odd-tinybert", "1 × squared difference of their hidden states + 0.1 × squared difference of their attention"),
        ("odd-minilm", "0.1 × divergence of their attention and value relations; pairs of layers that are alike count"),
        ("odd-layer-rates", "in each lower layer 0.8 times that"),
        ("odd-unfreeze", "unfrozen layer by layer from the top"),
        ("odd-focal", "focal loss with gamma 2"),
        ("odd-sampling", "classes weighed alike, rows drawn by the frequency of their class to the power of −0.5"),
        ("odd-dropout", "dropout 0.1"),
        ("odd-r-drop", "dropout 0.1, classes weighed by their frequency to the power of −0.25, R-Drop with weight 1"),
        ("odd-smoothing", "label smoothing 0.1"),
        ("odd-augmented", "a changed copy of each training text (word-dropout, swap and misspelling)"),
        ("lora-grow", "rank 8, doubled up to 32 where validation macro-F1 stood still, alpha 16"),
        ("adalora", "rank 8 on average, shared out by AdaLoRA, alpha 16"),
        ("dora", "length and direction of each matrix apart (DoRA)"),
        ("rslora", "scaled by alpha / √rank (rsLoRA)"),
        ("lora-distil", "KL divergence from the teacher"),
    ],
)
def test_a_card_words_each_setting_by_which_a_method_differs(method, words):
    assert words in told_of_preset(method)
    assert words not in told_of_preset("odd" if method.startswith("odd") else "lora")


def test_the_card_of_a_hybrid_says_what_it_stands_on_and_is_no_adapter_of_the_encoder(tmp_path):
    started = {"layers": (1, 3, 5), "start": "odd", "start_sha256": "c" * 64}
    card = card_of_preset(tmp_path / "started", "odd-lora", **started)
    assert "LoRA adapters on the trained odd student (layers 1, 3 and 5 of its teacher)" in card
    assert "its adapters were trained on the model of odd with the same seed" in card
    assert "whose run has SHA-256 cccccccccccccccc…" in card
    assert "odd/seed-0/model" in card
    cut = card_of_preset(tmp_path / "cut", "odd-cut-lora", layers=(1, 3, 5))
    assert "LoRA adapters on layers 1, 3 and 5 of the encoder." in cut
    assert "build_student(encoder, [1, 3, 5])" in cut
    assert "teacher" not in cut.split("## How it was made")[1].split("## Scores")[0]
    heads = [yaml.safe_load(one.split("---\n")[1]) for one in (card, cut, card_of_preset(tmp_path / "plain", "lora"))]
    assert {head["base_model"] for head in heads} == {"sentence-transformers/all-MiniLM-L6-v2"}
    assert [head["base_model_relation"] for head in heads] == ["finetune", "finetune", "adapter"]
    assert {head["library_name"] for head in heads} == {"peft"}


def test_adapters_that_learnt_from_a_teacher_are_called_distilled(tmp_path):
    card = ModelCard(card_of_preset(tmp_path, "lora-distil"))
    assert "knowledge-distillation" in card.data.tags
    assert "LoRA adapters on the encoder, trained by distillation from its fine-tuned teacher" in card.text


def test_a_joint_student_is_told_with_its_adapters_and_opened_as_any_student(tmp_path):
    joint = {"kind": "student", "layers": (1, 3, 5)}
    card = card_of_preset(tmp_path, "joint", **joint)
    assert "trained by distillation, together with LoRA adapters that are now merged into it" in card
    assert "LoRA: rank 8" in card
    assert "peft" not in card


def test_the_name_of_a_start_cannot_write_code_into_a_card(tmp_path):
    card = card_of_preset(tmp_path, "odd-lora", start='x")\nimport os #', start_sha256="c" * 64)
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert "import os" not in code
    assert "THE_START/seed-0/model" in code


def test_without_readable_settings_a_card_tells_none(tmp_path):
    records = [run("odd")]
    comparison = compare_runs(records)
    model_folders(tmp_path, records)
    config = run_folder(tmp_path, "odd", 0) / "config.toml"
    for content in (b"= no TOML", b"\xff", b'[method]\nname = "odd"\nkind = "student"\nnever_heard_of = 1\n'):
        config.write_bytes(content)
        (path,) = write_cards(comparison, records, tmp_path)
        assert "Settings:" not in path.read_text()


def test_a_student_of_labels_alone_is_not_called_distilled(tmp_path):
    records = [run("odd")]
    comparison = compare_runs(records)
    model_folders(tmp_path, records)
    method = settings_of("odd", "student").model_dump(mode="json")
    method["distillation"] |= {"soft": 0.0, "cosine_logits": 0.0}
    (run_folder(tmp_path, "odd", 0) / "config.toml").write_text(to_toml({"method": method}))
    (path,) = write_cards(comparison, records, tmp_path)
    card = ModelCard.load(path)
    assert "knowledge-distillation" not in card.data.tags
    assert "trained on the labels alone" in card.text
    assert "Loss: 0.2 × cross-entropy with the labels." in card.text


def test_a_card_gives_the_temperature_of_its_own_seed_with_calibration_before_and_after(tmp_path):
    records, _ = usual_comparison(2)
    own = [one for one in records if one.result.method == "odd"]
    before, _ = (measure_calibration(one.test_logits, one.test_labels) for one in own)
    after, other = (
        measure_calibration(one.test_logits, one.test_labels, temperature=1.25 + 0.25 * index)
        for index, one in enumerate(own)
    )
    card = one_card(tmp_path, row={"calibration": (before, other), "calibrated": (after, other)})
    assert f"calibration error of {before.expected_calibration_error:.3f} (0 is best)" in card
    assert "Divide the logits by 1.250" in card
    assert f"they are {after.expected_calibration_error:.3f} and {after.brier_score:.3f}" in card
    assert "1.500" not in card


def test_a_card_says_in_words_whether_the_method_differs_from_its_teacher(usual, tmp_path):
    far = [run("teacher", wrong=range(5)), run("odd", wrong=range(0, 240, 2)), run("lora", wrong=range(6))]
    cards = cards_of(tmp_path, far)
    assert "it is worse by more than chance in the rows" in cards["odd/seed-0"]
    assert "p < 0.001" in cards["odd/seed-0"]
    said = next(line for line in cards["lora/seed-0"].splitlines() if "against the teacher" in line)
    assert said.endswith("no difference was found.")
    assert "It is the teacher that the students learnt from." in usual["teacher/seed-0"]


def recommendation(method, **failing):
    names = ("odd", "lora", "teacher")
    considered = [
        Considered(
            method=name,
            macro_f1=Score(mean=0.8),
            to_best=None,
            size_mb={"odd": 69.6}.get(name, 90.9),
            latency_ms=None,
            slow_latency_ms=None,
            recall=None,
            failing=failing.get(name),
        )
        for name in names
    ]
    return Recommendation(
        rule="cheapest", limits=Limits(), rows=240, best="teacher", method=method, considered=tuple(considered)
    )


def test_a_card_tells_which_method_is_recommended_and_why_not_this_one(tmp_path):
    cards = usual_cards(tmp_path, recommendation=recommendation("odd", lora="worse", teacher="dearer"))
    assert "By validation rows alone, it is recommended. Ship odd: " in cards["odd/seed-0"]
    assert "it is not recommended (shown to be worse than teacher). Ship odd: " in cards["lora/seed-0"]
    assert "it is not recommended (larger than odd: 90.9 MB against 69.6 MB). Ship odd: " in cards["teacher/seed-0"]


def test_a_card_tells_no_cost_that_was_not_measured_and_of_what_the_others_are(tmp_path, usual):
    assert "## Cost" not in usual["odd/seed-0"]
    measured = MethodCosts(
        method="odd",
        seed=1,
        model="bundle",
        precision="int8",
        sha256="c" * 64,
        size_bytes=18_000_000,
        latency=tuple(LatencyAt(tokens=n, times=9, p50_ms=n / 10, p95_ms=n / 5) for n in (16, 64, 128)),
        texts_per_s=900,
        texts_per_s_low=880,
        texts_per_s_high=910,
        memory_peak_mib=211,
        load_seconds=0.3,
    )
    costs = ExperimentCosts(
        methods=(measured,), texts=240, rounds=3, threads=1, processor="a processor", cores=2, busy_processors=None,
        versions={},
    )  # fmt: skip
    cards = usual_cards(tmp_path, costs=costs)
    assert "its int8 bundle for ONNX Runtime" in cards["odd/seed-0"]
    assert (
        "18.0 MB to ship; one text of 64 tokens takes 6.4 ms (95 of 100 times at most 12.8 ms)" in cards["odd/seed-0"]
    )
    assert "## Cost" not in cards["lora/seed-0"]


def assessment(suite, **scores):
    change = Change(
        family="target group", name="women", measure="accuracy", rows=90, value=-0.1, interval=INTERVAL, p=0.001,
        p_holm=0.01,
    )  # fmt: skip
    models = [
        AssessedModel(
            path=method, kind="run", sha256="d" * 64, labels=("a", "b"), positive=("a",), threshold=None,
            trained_on_source=False, changes=() if method == "teacher" else (change,), **scores,
        )
        for method in ("teacher", "odd")
    ]  # fmt: skip
    return Assessment(
        suite=suite, source="cases.csv", sha256="e" * 64, rows=200, long_texts="truncate", seed=0, models=models,
        notes=(), versions={},
    )  # fmt: skip


def test_a_card_tells_hard_cases_groups_and_noise_where_they_were_tried(tmp_path, usual):
    assert "Hard cases" not in usual["odd/seed-0"]
    group = {"rows": 100, "correct": 40, "accuracy": 0.4, "interval": INTERVAL}
    hatecheck = HateCheckScores(
        overall=GroupAccuracy(name="all", rows=200, correct=150, accuracy=0.75, interval=INTERVAL),
        said_hateful=0.6,
        labels=(),
        functionalities=(FunctionalTest(name="negate_neg_nh", expected="non-hateful", **group),),
        targets=(),
    )
    areas = [Auc(value=value, interval=INTERVAL, positives=50, negatives=50) for value in (0.9, 0.7)]
    groups = [
        IdentityGroup(name=name, rows=100, positives=50, subgroup_auc=area, bpsn_auc=None, bnsp_auc=None)
        for name, area in (("few", None), ("muslim", areas[1]), ("women", areas[0]))
    ]
    identity = IdentityScores(
        rows=200, positives=100, overall=areas[0], groups=tuple(groups), subgroup_mean=None, bpsn_mean=None,
        bnsp_mean=None, final=None,
    )  # fmt: skip
    noise = [
        NoiseDrop(kind=kind, clean_macro_f1=0.8, noisy_macro_f1=0.8 - drop, drop=drop, interval=INTERVAL)
        for kind, drop in (("upper case", 0.01), ("leetspeak", 0.15))
    ]
    suites = (assessment("hatecheck", hatecheck=hatecheck), assessment("identity", identity=identity))
    card = one_card(tmp_path, row={"noise": tuple(noise)}, suites=suites)
    paragraph = card.split("## Hard cases, groups and noise\n\n")[1].split("\n\n")[0]
    assert "Of 200 HateCheck cases (Röttger et al. 2021) 75.0 % are answered rightly" in paragraph
    assert r"least on negated hate (negate\_neg\_nh), 40.0 %" in paragraph
    assert "within a group lowest for muslim, 0.700" in paragraph
    assert "Shown to be worse there than its teacher: women." in paragraph
    assert "leetspeak costs the most macro-F1: 15.0 points" in paragraph


def test_a_card_tells_what_the_positive_classes_score_at_the_threshold(tmp_path):
    scores = {
        name: Score(mean=mean)
        for name, mean in {
            "threshold": 0.4,
            "precision": 0.7,
            "recall": 0.8,
            "f1": 0.75,
            "validation_recall": 0.8,
        }.items()
    }
    card = one_card(tmp_path, row={"positive": ThresholdScores(goal="recall=0.8", **scores)})
    assert "reaches 0.400 after the temperature below (chosen on validation rows for a recall of at least 0.8)" in card
    assert "precision 0.700, recall 0.800 and F1 0.750" in card


def test_without_positive_classes_a_card_tells_no_threshold(tmp_path):
    data = run("odd").result.data.model_copy(update={"positive": ()})
    (card,) = cards_of(tmp_path, [run("odd", data=data)]).values()
    assert "Positive:" not in card
    assert "| index | class |\n" in card


def test_a_card_warns_where_the_method_is_not_above_tfidf(tmp_path):
    records = [run("teacher", good=1.0), run("tfidf", good=2.5)]
    (card,) = cards_of(tmp_path, records).values()
    assert "not above that of TF-IDF" in card


def test_a_card_warns_of_a_class_that_its_own_seed_never_finds(tmp_path):
    names, rows = ("hate *speech*", "neither", "spam"), 90
    seeing = run("odd", seed=1, names=names, rows=rows)
    wrong = np.flatnonzero(seeing.test_labels == 0).tolist()
    cards = cards_of(tmp_path, [run("odd", names=names, rows=rows, wrong=wrong), seeing])
    warning = r"It recognised not one test text of these classes: hate \*speech\*."
    assert warning in cards["odd/seed-0"]
    assert warning not in cards["odd/seed-1"]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("untrained")
    save_hybrid_experiment(folder)
    fields = ("encoder", "layers", "start", "start_sha256")
    results = [hybrid_run(folder, method).result for method in HYBRIDS]
    records = [run(one.method, names=LABELS, **{field: getattr(one, field) for field in fields}) for one in results]
    write_cards(compare_runs(records), records, folder)
    return folder


def run_example(card: Path, encoder: Path) -> list[dict[str, object]]:
    (code,) = re.findall(r"```python\n(.*?)```", card.read_text(encoding="utf-8"), re.DOTALL)
    code = code.replace("THIS_FOLDER", str(card.parent)).replace("THE_ENCODER", str(encoder))
    names: dict[str, object] = {}
    exec(code.replace('["Some text."]', repr(TEXTS)), names)  # noqa: S102 - that it runs is what is tested
    return names["answers"]


@pytest.mark.parametrize("method", HYBRIDS)
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of transformers to peft
def test_the_example_in_a_card_runs_and_says_what_the_trained_model_says(untrained, method):
    folder, encoder = untrained / method / "seed-0" / "model", find_encoder(str(untrained / "bert"))
    answers = run_example(folder / "README.md", encoder.path)
    model = open_trained(hybrid_run(untrained, method))
    ids = encode_texts(TEXTS, load_tokenizer(encoder, max_length=12), max_length=12)
    logits = np.asarray(compute_logits(model, ids), dtype=np.float64)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert [answer["label"] for answer in answers] == [LABELS[index] for index in probabilities.argmax(axis=1)]
    assert [answer["score"] for answer in answers] == pytest.approx(probabilities.max(axis=1), abs=1e-5)


def test_a_card_is_no_part_of_what_a_run_is_known_by(untrained, tmp_path):
    bare = shutil.copytree(untrained, tmp_path / "bare")
    cards = sorted(bare.glob("*/seed-*/model/README.md"))
    assert len(cards) == len(HYBRIDS)
    for card in cards:
        card.unlink()
        home = card.parent.parent
        assert run_sha256(home) == run_sha256(untrained / home.relative_to(bare))
        assert read_run(home).result == read_run(untrained / home.relative_to(bare)).result
