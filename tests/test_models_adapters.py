"""LoRA: what is trained, what is saved, and that it comes back the same, in all families."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification, PreTrainedModel

from distilora.config import LoraSettings
from distilora.errors import ConfigError, ModelError
from distilora.models.adapters import (
    PLAIN_LORA,
    Adapted,
    LoraVariant,
    add_lora,
    load_adapter,
    load_adapter_on,
    merged,
    target_pattern,
)
from distilora.models.allocation import RankAllocation
from distilora.models.encoders import (
    Encoder,
    find_encoder,
    load_classifier,
    load_tokenizer,
    load_trained,
    save_trained,
)
from distilora.models.joint import add_joint_adapters, without_adapters
from distilora.models.loading import quietly
from distilora.models.students import build_student
from distilora.models.weights import parameter_counts, weights_hash
from tiny import FAMILIES, logits_of, save_tiny_encoder

LABELS = ("civil", "toxic")
families = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Encoder]:
    folder = tmp_path_factory.mktemp("encoders")
    found = {family: find_encoder(str(save_tiny_encoder(folder / family, family))) for family in FAMILIES}
    return {family: dataclasses.replace(encoder, name=f"tiny-{family}") for family, encoder in found.items()}


VARIANTS = {
    "dora": LoraVariant(dora=True),
    "rslora": LoraVariant(rslora=True),
    "both": LoraVariant(dora=True, rslora=True),
    "adalora": LoraVariant(allocation=RankAllocation()),
}


def trained_lora(encoder: Encoder, variant: LoraVariant = PLAIN_LORA, **settings: object) -> Adapted:
    """Return a LoRA model whose trainable weights have all moved away from where they began."""
    base, fresh = load_classifier(encoder, labels=LABELS)
    return moved(add_lora(base, LoraSettings(**settings), fresh=fresh, encoder=encoder, seed=0, variant=variant))


def moved(model: Adapted) -> Adapted:
    """Return the model in evaluation mode, its trainable weights moved away from where they began."""
    model.eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return model


@families
def test_a_saved_adapter_repeats_its_logits_on_a_freshly_opened_encoder(
    family: str, tiny: dict[str, Encoder], tmp_path: Path
) -> None:
    model = trained_lora(tiny[family])
    save_trained(model, load_tokenizer(tiny[family], max_length=32), tmp_path)
    again = load_adapter(tmp_path, tiny[family], labels=LABELS)
    assert torch.equal(logits_of(again), logits_of(model))
    assert parameter_counts(again)[1] == 0


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft uses a name that will go
@families
def test_a_saved_adapter_repeats_its_logits_in_plain_transformers_and_peft(
    family: str, tiny: dict[str, Encoder], tmp_path: Path
) -> None:
    model = trained_lora(tiny[family])
    model.save_pretrained(tmp_path)
    with quietly():
        base = AutoModelForSequenceClassification.from_pretrained(
            tiny[family].path, num_labels=2, attn_implementation="eager"
        )
    assert torch.equal(logits_of(PeftModel.from_pretrained(base, tmp_path).eval()), logits_of(model))


@families
def test_only_adapters_in_the_layer_stack_and_fresh_modules_are_trained(family: str, tiny: dict[str, Encoder]) -> None:
    base, fresh = load_classifier(tiny[family], labels=LABELS)
    model = add_lora(base, LoraSettings(), fresh=fresh, encoder=tiny[family], seed=0)
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    adapters = [name for name in trained if ".lora_" in name]
    assert all(re.search(r"\.(layer|layers)\.\d\.", name) for name in adapters)
    heads = {
        name.removeprefix("base_model.model.").split(".modules_to_save")[0] for name in trained if name not in adapters
    }
    assert heads == set(fresh)


@families
def test_all_linear_reaches_every_linear_module_of_every_layer(family: str, tiny: dict[str, Encoder]) -> None:
    model, _ = load_classifier(tiny[family], labels=LABELS)
    pattern = target_pattern(model, ("all-linear",))
    matched = {name for name, _ in model.named_modules() if re.fullmatch(pattern, name)}
    in_layers = {
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and re.search(r"\.(layer|layers)\.\d\.", name)
    }
    assert matched == in_layers
    assert len(matched) >= 4 * 4


def test_a_saved_adapter_names_its_encoder_and_no_folder(tiny: dict[str, Encoder], tmp_path: Path) -> None:
    trained_lora(tiny["bert"]).save_pretrained(tmp_path)
    text = (tmp_path / "adapter_config.json").read_text()
    assert json.loads(text)["base_model_name_or_path"] == "tiny-bert"
    assert str(tiny["bert"].path) not in text


def test_a_missing_pooler_is_saved_with_the_adapter(tmp_path: Path) -> None:
    save_tiny_encoder(tmp_path / "encoder")
    with quietly():
        bare = AutoModelForSequenceClassification.from_pretrained(tmp_path / "encoder").bert
        bare.pooler = None
        bare.save_pretrained(tmp_path / "encoder")
    encoder = find_encoder(str(tmp_path / "encoder"))
    model = trained_lora(encoder)
    model.save_pretrained(tmp_path / "adapter")
    assert torch.equal(logits_of(load_adapter(tmp_path / "adapter", encoder, labels=LABELS)), logits_of(model))


def test_the_seed_alone_decides_new_adapters(tiny: dict[str, Encoder]) -> None:
    hashes = []
    for seed in (0, 0, 1):
        base, fresh = load_classifier(tiny["bert"], labels=LABELS)
        hashes.append(weights_hash(add_lora(base, LoraSettings(), fresh=fresh, encoder=tiny["bert"], seed=seed)))
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_target_that_is_no_linear_module_is_refused_with_those_there_are(tiny: dict[str, Encoder]) -> None:
    model, _ = load_classifier(tiny["modernbert"], labels=LABELS)
    for target in ("query", "head", "classifier", "Wqk", "norm"):
        with pytest.raises(ConfigError, match=r'lora\.targets: "\w+" is not all-linear or one of attn\.Wqkv, '):
            target_pattern(model, (target,))
    with pytest.raises(ConfigError, match="give all-linear"):
        target_pattern(model, ())


def test_the_earlier_projects_setting_trains_296450_parameters() -> None:
    # Their published count for bert-base-uncased: rank 8 on query and value, and the classifier.
    with torch.device("meta"):
        model = BertForSequenceClassification(BertConfig(num_labels=2))
        settings = LoraSettings(rank=8, targets=("query", "value"))
        adapted = add_lora(
            model,
            settings,
            fresh=("classifier",),
            encoder=Encoder("bert-base-uncased", Path(), "", width=768, size_bytes=0),
            seed=0,
        )
    assert parameter_counts(adapted)[1] == 296_450


@families
def test_merging_lora_twice_changes_nothing(family: str, tiny: dict[str, Encoder]) -> None:
    model = trained_lora(tiny[family])
    before = weights_hash(model)
    once, twice = merged(model), merged(model)
    assert weights_hash(model) == before
    assert weights_hash(once) == weights_hash(twice)
    assert set(once.state_dict()) == set(load_classifier(tiny[family], labels=LABELS).model.state_dict())
    torch.testing.assert_close(logits_of(once), logits_of(model), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("labels", [LABELS, ("a", "b", "c")])
def test_an_adapter_on_the_wrong_base_is_refused(
    labels: tuple[str, ...], tiny: dict[str, Encoder], tmp_path: Path
) -> None:
    trained_lora(tiny["bert"]).save_pretrained(tmp_path)
    wrong = tiny["electra"] if labels == LABELS else tiny["bert"]
    with pytest.raises(ModelError, match=f"does not fit encoder {wrong.name}"):
        load_adapter(tmp_path, wrong, labels=labels)


@pytest.mark.parametrize("part", ["lora_A", "pre_classifier"])
def test_an_adapter_file_with_a_hole_is_refused(part: str, tiny: dict[str, Encoder], tmp_path: Path) -> None:
    trained_lora(tiny["distilbert"]).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "adapter_model.safetensors")
    del weights[next(name for name in weights if part in name)]
    save_file(weights, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=f"does not fit encoder tiny-distilbert: .*{part}"):
        load_adapter(tmp_path, tiny["distilbert"], labels=LABELS)


def test_a_folder_without_an_adapter_is_refused(tiny: dict[str, Encoder], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no adapter_config\.json"):
        load_adapter(tmp_path, tiny["bert"], labels=LABELS)


@pytest.mark.parametrize("family", ["bert", "modernbert"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_begins_as_the_encoder_and_comes_back_as_it_was_saved(
    variant: str, family: str, tiny: dict[str, Encoder], tmp_path: Path
) -> None:
    base, fresh = load_classifier(tiny[family], labels=LABELS)
    before = logits_of(base)
    model = add_lora(base, LoraSettings(), fresh=fresh, encoder=tiny[family], seed=0, variant=VARIANTS[variant]).eval()
    torch.testing.assert_close(logits_of(model), before, atol=1e-6, rtol=0)
    moved(model).save_pretrained(tmp_path)
    assert (logits_of(model) - before).abs().max() > 1e-3
    again = load_adapter(tmp_path, tiny[family], labels=LABELS)
    assert torch.equal(logits_of(again), logits_of(model))
    assert parameter_counts(again)[1] == 0


@families
@pytest.mark.parametrize("variant", VARIANTS)
def test_merging_a_variant_changes_no_logit_beyond_rounding(
    variant: str, family: str, tiny: dict[str, Encoder]
) -> None:
    model = trained_lora(tiny[family], VARIANTS[variant])
    once, twice = merged(model), merged(model)
    assert weights_hash(once) == weights_hash(twice)
    assert set(once.state_dict()) == set(load_classifier(tiny[family], labels=LABELS).model.state_dict())
    torch.testing.assert_close(logits_of(once), logits_of(model), atol=1e-5, rtol=1e-5)


def test_rslora_is_scaled_by_the_root_of_the_rank_and_dora_by_its_lengths(tiny: dict[str, Encoder]) -> None:
    # Kalajdzievski (2023), §4: alpha / √rank; Liu et al. (2024), eq. 5: m · (W + sBA) / ‖W + sBA‖, row by row.
    name = "bert.encoder.layer.2.output.dense"
    for variant in ("rslora", "both"):
        model = trained_lora(tiny["bert"], VARIANTS[variant], rank=4, alpha=6.0)
        layer = model.base_model.model.get_submodule(name)
        with torch.no_grad():
            changed = layer.weight + 6.0 / 4**0.5 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
            if variant == "both":
                changed *= (layer.lora_magnitude_vector["default"].weight / changed.norm(dim=1)).unsqueeze(1)
        torch.testing.assert_close(merged(model).get_submodule(name).weight, changed, atol=1e-6, rtol=1e-6)


# Hybrids: adapters on a student, not on the encoder.


def students_head(student: PreTrainedModel) -> list[str]:
    return [name for name, _ in student.named_children() if name not in (student.base_model_prefix, "dropout", "drop")]


@families
def test_an_adapter_on_a_saved_student_begins_as_the_student_and_is_opened_on_it_again(
    family: str, tiny: dict[str, Encoder], tmp_path: Path
) -> None:
    teacher, _ = load_classifier(tiny[family], labels=LABELS, seed=1)
    save_trained(build_student(teacher, (2, 4)), load_tokenizer(tiny[family], max_length=32), tmp_path / "even")
    student = load_trained(tmp_path / "even")
    before = logits_of(student)
    model = add_lora(student, LoraSettings(), fresh=students_head(student), encoder="even/seed-0", seed=0)
    assert torch.equal(logits_of(model.eval()), before)
    moved(model).save_pretrained(tmp_path / "even-lora")
    assert json.loads((tmp_path / "even-lora" / "adapter_config.json").read_text())["base_model_name_or_path"] == (
        "even/seed-0"
    )
    again = load_adapter_on(load_trained(tmp_path / "even"), tmp_path / "even-lora", name="student even seed 0")
    assert torch.equal(logits_of(again), logits_of(model))
    changed = changed_weights(load_trained(tmp_path / "even"), model.unload())
    assert {name.partition(".")[0] for name in changed} == set(students_head(student))


def changed_weights(before: nn.Module, after: nn.Module) -> list[str]:
    there = after.state_dict()
    return [name for name, weight in before.state_dict().items() if not torch.equal(weight, there[name])]


@families
def test_an_adapter_on_half_of_the_bare_encoder_is_opened_on_the_same_half(
    family: str, tiny: dict[str, Encoder], tmp_path: Path
) -> None:
    whole, fresh = load_classifier(tiny[family], labels=LABELS, seed=7)
    half = build_student(whole, (1, 3))
    model = moved(add_lora(half, LoraSettings(), fresh=fresh, encoder=tiny[family], seed=0))
    model.save_pretrained(tmp_path)
    # Another seed: what is fresh comes from the adapter's file.
    other = build_student(load_classifier(tiny[family], labels=LABELS, seed=8).model, (1, 3))
    assert torch.equal(logits_of(load_adapter_on(other, tmp_path)), logits_of(model))


def test_an_adapter_of_a_student_does_not_fit_a_model_of_another_depth(
    tiny: dict[str, Encoder], tmp_path: Path
) -> None:
    whole, fresh = load_classifier(tiny["bert"], labels=LABELS)
    half = build_student(whole, (1, 3))
    moved(add_lora(half, LoraSettings(), fresh=fresh, encoder=tiny["bert"], seed=0)).save_pretrained(tmp_path)
    for depth in ((1,), (1, 2, 3)):
        with pytest.raises(ModelError, match=r"this adapter does not fit student s: .* absent or have no place"):
            load_adapter_on(build_student(whole, depth), tmp_path, name="student s")


def test_what_is_frozen_of_a_student_and_its_adapters_stays_so_while_it_computes_without_them(
    tiny: dict[str, Encoder],
) -> None:
    base, _ = load_classifier(tiny["bert"], labels=LABELS)
    model = add_joint_adapters(base, LoraSettings(rank=2), seed=0)
    for weight in model.base_model.encoder.layer[0].parameters():
        weight.requires_grad_(requires_grad=False)
    before = {name for name, weight in model.named_parameters() if weight.requires_grad}
    with without_adapters(model):
        pass
    assert {name for name, weight in model.named_parameters() if weight.requires_grad} == before
    assert 0 < len(before) < len(list(model.parameters()))
