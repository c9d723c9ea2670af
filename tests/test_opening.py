"""Opening the trained models of runs anew: whole ones, and adapters on what they were trained on."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from distilora.assess.models import open_model
from distilora.bench.trained import RunContender
from distilora.errors import ModelError
from distilora.experiment.opening import adapter_base, base_bytes, open_plain, open_trained, start_of
from distilora.export.runs import run_making
from distilora.models.adapters import load_adapter_on
from distilora.models.encoders import find_encoder
from distilora.report.making import brief
from distilora.runs import MODEL_FOLDER, read_run
from hybrid_experiment import LABELS, ODD, STARTS, WHOLE, hybrid_run, save_hybrid_experiment
from report_cases import run
from tiny import logits_of, save_tiny_encoder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return an experiment's folder with what each of its models said before it was saved."""
    home = tmp_path_factory.mktemp("trained")
    return home, save_hybrid_experiment(home)


def opened(trained, method):
    return hybrid_run(trained[0], method)


@pytest.mark.parametrize("method", ["teacher", "odd", *STARTS])
@pytest.mark.parametrize("opening", [open_trained, open_plain])
def test_a_model_that_is_opened_anew_says_what_it_said_before_it_was_saved(trained, method, opening):
    model = opening(opened(trained, method))
    assert not model.training
    torch.testing.assert_close(logits_of(model), trained[1][method], atol=1e-5, rtol=0)


def test_adapters_do_not_say_the_same_on_something_else(trained):
    folder = opened(trained, "odd-lora").folder / MODEL_FOLDER
    encoder = find_encoder(str(trained[0] / "bert"))
    cut = load_adapter_on(adapter_base(None, encoder, labels=LABELS, layers=ODD), folder)
    assert (logits_of(cut) - trained[1]["odd-lora"]).abs().max() > 0.01


@pytest.mark.parametrize("method", STARTS)
def test_a_plain_model_has_no_adapters_and_keeps_the_depth_of_what_they_stand_on(trained, method):
    model = open_plain(opened(trained, method))
    assert not any("lora" in name for name, _ in model.named_parameters())
    depth = 4 if method in WHOLE else len(ODD)
    assert len(model.bert.encoder.layer) == model.config.num_hidden_layers == depth


def test_a_run_that_starts_from_another_is_opened_without_its_encoder(trained, tmp_path):
    home = shutil.copytree(trained[0], tmp_path / "moved")
    for method in ("odd-lora", "teacher-lora", "odd"):
        path = home / method / "seed-0" / "result.json"
        path.write_text(path.read_text().replace(str(trained[0] / "bert"), str(tmp_path / "gone")))
    model = open_trained(hybrid_run(home, "odd-lora"))
    torch.testing.assert_close(logits_of(model), trained[1]["odd-lora"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", ["odd", *STARTS])
def test_evaluate_and_bench_open_the_same_model(trained, method):
    folder, texts = opened(trained, method).folder, ["you are so stupid", "thank you", "the dog and the people"]
    probabilities = open_model(str(folder), threads=1).probabilities(texts)
    contender = RunContender(folder, threads=1)
    assert contender.label_all(texts).labels == np.asarray(probabilities).argmax(axis=1).tolist()


def test_a_bundles_card_calls_what_adapters_stand_on_by_its_kind(trained):
    told = {method: brief(run_making(opened(trained, method))) for method in ("lora-on-lora", "odd-lora", "lora")}
    assert told == {
        "lora-on-lora": "LoRA adapters on the trained odd-lora model",
        "odd-lora": "LoRA adapters on the trained odd student",
        "lora": "LoRA adapters on the encoder",
    }


def test_what_must_lie_beside_adapters_is_counted_once_each(trained):
    home = trained[0]
    weights = {path.parents[2].name: path.stat().st_size for path in home.glob("*/seed-0/model/*.safetensors")}
    encoder = (home / "bert" / "model.safetensors").stat().st_size
    sizes = {method: base_bytes(opened(trained, method)) for method in ("teacher", "odd", *STARTS)}
    assert sizes == {
        "teacher": 0,
        "odd": 0,
        "lora": encoder,
        "odd-cut-lora": encoder,
        "odd-lora": weights["odd"],
        "teacher-lora": weights["teacher"],
        "lora-on-lora": weights["odd-lora"] + weights["odd"],
    }


def changed(trained, folder, change):
    """Return odd-lora of a copy of the experiment in which something was done to the odd student."""
    home = shutil.copytree(trained[0], folder / "changed")
    change(home / "odd" / "seed-0")
    return hybrid_run(home, "odd-lora")


def other_logits(odd: Path) -> None:
    shutil.copy(odd.parents[1] / "teacher" / "seed-0" / "logits.safetensors", odd)


def made_void(odd: Path) -> None:
    told = run("odd", void="its loss was not finite").result
    (odd / "result.json").write_text(told.model_dump_json())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (shutil.rmtree, "which is not there; put that run back, or run distilora compare again"),
        (lambda odd: (odd / "result.json").write_text("{"), "which cannot be read"),
        (made_void, "which is void; delete "),
        (other_logits, "which was made anew since: its SHA-256 is "),
    ],
)
def test_a_start_that_is_gone_damaged_void_or_another_is_refused_in_one_line(trained, tmp_path, change, told):
    record = changed(trained, tmp_path, change)
    line = f"odd-lora.seed-0: its adapters stand on the model of .*odd.seed-0, {told}"
    for use in (open_trained, open_plain, start_of, base_bytes):
        with pytest.raises(ModelError, match=line) as refused:
            use(record)
        assert "\n" not in str(refused.value)


def test_an_encoder_that_changed_is_refused(trained, tmp_path):
    home = shutil.copytree(trained[0], tmp_path / "changed")
    save_tiny_encoder(home / "bert", seed=5)
    path = home / "lora" / "seed-0" / "result.json"
    path.write_text(path.read_text().replace(str(trained[0] / "bert"), str(home / "bert")))
    with pytest.raises(ModelError, match="put the former encoder back"):
        open_trained(read_run(path.parent))


@pytest.mark.parametrize("kind", ["baseline", "ensemble"])
def test_what_has_no_model_of_its_own_is_refused(kind):
    with pytest.raises(ModelError, match=f"{kind}s have no model of their own"):
        open_trained(run("odd", kind=kind))


def test_adapters_without_a_run_and_without_an_encoder_stand_on_nothing():
    with pytest.raises(ValueError, match="give it"):
        adapter_base(None, None, labels=LABELS)
