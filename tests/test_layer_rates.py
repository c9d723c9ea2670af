"""Rates fall from the top, every trainable parameter has one, and layers join in from the top, epoch by epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel, PrinterCallback, Trainer

from distilora.config import LoraSettings
from distilora.errors import ModelError
from distilora.models.adapters import add_lora
from distilora.models.embeddings import keep_seen_rows
from distilora.models.encoders import Encoder, find_encoder, load_classifier
from distilora.models.loading import quietly
from distilora.models.weights import weights_hash
from distilora.training.arguments import training_arguments
from distilora.training.layer_rates import classifier_within, level_rates, parameter_groups, parameter_levels
from distilora.training.trainer import DistillationTrainer
from distilora.training.unfreezing import GradualUnfreezing, trainable_levels
from tiny import FAMILIES, save_tiny_encoder
from training_cases import SETTINGS, classifier, scores, task

DEPTH = 3
RATE = 2e-3
KINDS = ("plain", "lora", "seen rows")
# Outside the layers, by hand: everything else stands above them.
BELOW = {
    "bert": {"bert.embeddings"},
    "roberta": {"roberta.embeddings"},
    "electra": {"electra.embeddings", "electra.embeddings_project"},
    "distilbert": {"distilbert.embeddings"},
    "deberta-v2": {"deberta.embeddings", "deberta.encoder.rel_embeddings", "deberta.encoder.LayerNorm"},
    "modernbert": {"model.embeddings"},
}
STACK = {
    "distilbert": "distilbert.transformer.layer",
    "deberta-v2": "deberta.encoder.layer",
    "modernbert": "model.layers",
    **{family: f"{family}.encoder.layer" for family in ("bert", "roberta", "electra")},
}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Encoder]:
    folder = tmp_path_factory.mktemp("encoders")
    return {family: find_encoder(str(save_tiny_encoder(folder / family, family, layers=DEPTH))) for family in FAMILIES}


def model_of(encoder: Encoder, kind: str) -> nn.Module:
    model, fresh = load_classifier(encoder, labels=("civil", "toxic"), seed=0)
    if kind == "lora":
        return add_lora(model, LoraSettings(), fresh=fresh, encoder=encoder, seed=0)
    if kind == "seen rows":
        keep_seen_rows(model, range(4, 40))
    return model


def groups_of(model: nn.Module, *, decay: float = 0.5) -> list[dict[str, Any]]:
    # As transformers tells it; the method needs nothing of a trainer.
    decayed = Trainer.get_decay_parameter_names(None, model)
    return parameter_groups(model, learning_rate=RATE, decay=decay, weight_decay=0.01, decayed=decayed)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_trainable_parameter_is_in_exactly_one_group_with_its_rate_and_decay(
    family: str, kind: str, encoders: dict[str, Encoder]
) -> None:
    model = model_of(encoders[family], kind)
    groups = groups_of(model)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    trainable = {id(parameter): name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert sorted(grouped) == sorted(trainable)
    decayed = set(Trainer.get_decay_parameter_names(None, model))
    for group in groups:
        for parameter in group["params"]:
            name = trainable[id(parameter)]
            level = expected_level(name.removeprefix("base_model.model."), family)
            assert group["level"] == level, name
            assert group["lr"] == pytest.approx(RATE * 0.5 ** (DEPTH + 1 - level)), name
            assert group["weight_decay"] == (0.01 if name in decayed else 0), name
            assert not (group["weight_decay"] and (name.endswith("bias") or "norm" in name.lower())), name


def expected_level(name: str, family: str) -> int:
    if name.startswith(STACK[family]):
        return int(name.removeprefix(f"{STACK[family]}.").split(".")[0]) + 1
    return 0 if any(name.startswith(f"{part}.") for part in BELOW[family]) else DEPTH + 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["plain", "seen rows"])
def test_embeddings_learn_slowest_and_the_classifier_fastest(
    family: str, kind: str, encoders: dict[str, Encoder]
) -> None:
    model = model_of(encoders[family], kind)
    assert isinstance(model, PreTrainedModel)
    rates = {id(parameter): group["lr"] for group in groups_of(model) for parameter in group["params"]}
    slowest = {parameter for parameter, rate in rates.items() if rate == min(rates.values())}
    table = model.get_input_embeddings()
    assert id(table.seen if kind == "seen rows" else table.weight) in slowest
    for name, parameter in model.named_parameters():
        if name.startswith("classifier."):
            assert rates[id(parameter)] == max(rates.values()) == RATE


@given(st.floats(1e-6, 1), st.floats(0.01, 1), st.integers(1, 24))
def test_rates_fall_by_one_factor_a_level(rate: float, decay: float, depth: int) -> None:
    # ULMFiT: η of layer l−1 is that of layer l divided by 2.6; ELECTRA multiplies by 0.8 or so.
    expected = np.cumprod([rate, *[decay] * (depth + 1)])[::-1]
    np.testing.assert_allclose(level_rates(rate, decay=decay, depth=depth), expected, rtol=1e-9)


@pytest.mark.parametrize("decay", [0.0, -0.5, 1.1, float("nan")])
def test_a_decay_that_raises_rates_or_stops_them_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="at most 1"):
        level_rates(1e-3, decay=decay, depth=2)


def test_a_wrapped_classifier_has_its_levels_and_what_wraps_it_stands_on_top(encoders: dict[str, Encoder]) -> None:
    model = model_of(encoders["bert"], "lora")
    wrapper = nn.ModuleDict({"student": model, "projection": nn.Linear(2, 2)})
    levels = parameter_levels(wrapper)
    assert levels["projection.weight"] == DEPTH + 1
    assert {levels[f"student.{name}"] == level for name, level in parameter_levels(model).items()} == {True}
    assert classifier_within(wrapper) is classifier_within(model)


@pytest.mark.parametrize("count", [0, 2])
def test_without_exactly_one_classifier_there_are_no_levels(count: int, encoders: dict[str, Encoder]) -> None:
    several = nn.ModuleList([model_of(encoders["bert"], "plain") for _ in range(count)])
    with pytest.raises(ModelError, match=f"{count} classifiers in it"):
        parameter_levels(several)


def trained(
    model: PreTrainedModel, folder: Path, *, callbacks: tuple[Any, ...] = (), told: Any = scores, **rates: Any
) -> DistillationTrainer:
    """Return the trainer after three epochs, resumed where they were broken off."""
    work = task(folder, SETTINGS.model_copy(update={"epochs": 3}))
    optimizer = torch.optim.AdamW(groups_of(model, **rates), fused=True) if rates else None
    trainer = DistillationTrainer(
        model,
        args=training_arguments(work.settings, folder=folder, seed=0),
        objective=work.objective,
        train=work.train,
        validation=work.validation,
        scores=told,
        callbacks=list(callbacks),
        **({"optimizers": (optimizer, None)} if optimizer else {}),
    )
    trainer.remove_callback(PrinterCallback)
    checkpoints = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
    with quietly():
        trainer.train(resume_from_checkpoint=str(checkpoints[-1]) if checkpoints else None)
    return trainer


def interrupted_after(evaluations: int) -> Any:
    seen = iter(range(evaluations))

    def told(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
        if next(seen, None) is None:
            raise KeyboardInterrupt
        return scores(logits, labels)

    return told


def last_weights(folder: Path) -> bytes:
    return (folder / "checkpoint-21" / "model.safetensors").read_bytes()


def test_with_a_decay_of_1_training_gives_the_bits_of_plain_groups(
    encoders: dict[str, Encoder], tmp_path: Path
) -> None:
    assert (SETTINGS.learning_rate, SETTINGS.weight_decay) == (RATE, 0.01)
    for folder, rates in (("plain", {}), ("same", {"decay": 1.0})):
        trained(classifier(encoders["bert"].path), tmp_path / folder, **rates)
    assert last_weights(tmp_path / "same") == last_weights(tmp_path / "plain")


def test_the_first_step_of_adam_moves_each_level_by_its_rate(encoders: dict[str, Encoder]) -> None:
    model = model_of(encoders["bert"], "plain")
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.AdamW([{**group, "weight_decay": 0.0} for group in groups_of(model)])
    # A gradient of one everywhere: Adam's first step is the learning rate, whatever the gradient's length.
    sum(parameter.sum() for parameter in model.parameters()).backward()
    optimizer.step()
    levels = parameter_levels(model)
    for name, parameter in model.named_parameters():
        moved = (before[name] - parameter.detach()).mean().item()
        assert moved == pytest.approx(RATE * 0.5 ** (DEPTH + 1 - levels[name]), rel=1e-3)


@given(st.integers(0, 30), st.integers(1, 24), st.integers(0, 24), st.integers(1, 5))
def test_layers_join_in_from_the_top_and_none_leaves(epoch: int, depth: int, first: int, more: int) -> None:
    now, then = (trainable_levels(at, depth, first=first, layers_an_epoch=more) for at in (epoch, epoch + 1))
    assert set(now) <= set(then) <= set(range(depth + 1))
    assert now == tuple(range(depth + 1 - len(now), depth + 1))
    assert len(now) == min(depth + 1, first + epoch * more)


@pytest.mark.parametrize("wrong", [{"first": -1}, {"layers_an_epoch": 0}])
def test_an_impossible_schedule_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="allowed is from 0, 0 and 1"):
        GradualUnfreezing(**wrong)
    with pytest.raises(ValueError, match="allowed is from 0, 0 and 1"):
        trainable_levels(-1, 3)


def test_frozen_layers_keep_their_bits_until_their_epoch(encoders: dict[str, Encoder], tmp_path: Path) -> None:
    model = classifier(encoders["bert"].path)
    keep_seen_rows(model, range(78))
    able = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    seen: list[set[int]] = []
    levels = {name.replace(".seen", ".weight"): level for name, level in parameter_levels(model).items()}

    def told(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
        now = model.state_dict()
        seen.append({levels[name] for name in before if name in levels and not torch.equal(now[name], before[name])})
        return scores(logits, labels)

    trainer = trained(model, tmp_path, callbacks=(GradualUnfreezing(layers_an_epoch=2),), told=told)
    assert seen == [{3, 4}, {1, 2, 3, 4}, {0, 1, 2, 3, 4}]
    epochs = unfreezing_of(trainer).trained
    assert [{parameter_levels(model)[name] for name in names} for names in epochs] == seen
    assert set(epochs[-1]) == able == {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def unfreezing_of(trainer: DistillationTrainer) -> GradualUnfreezing:
    # A resumed trainer has put a new callback in the place of ours.
    return next(callback for callback in trainer.callback_handler.callbacks if isinstance(callback, GradualUnfreezing))


def test_below_adapters_everything_stays_frozen_and_all_adapters_can_train_in_the_end(
    encoders: dict[str, Encoder], tmp_path: Path
) -> None:
    model = model_of(encoders["bert"], "lora")
    base = {name: tensor.clone() for name, tensor in model.state_dict().items() if ".base_layer." in name}
    able = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    trainer = trained(model, tmp_path, callbacks=(GradualUnfreezing(first=0),))
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == able
    for name, tensor in base.items():
        assert torch.equal(model.state_dict()[name], tensor)
    for epoch, names in enumerate(unfreezing_of(trainer).trained):
        levels = {parameter_levels(model)[name] for name in names}
        assert levels == set(range(DEPTH + 1 - epoch, DEPTH + 2))
        assert all(".lora_" in name or "classifier" in name for name in names)


def test_with_rates_and_unfreezing_a_resumed_training_ends_in_the_same_bits(
    encoders: dict[str, Encoder], tmp_path: Path
) -> None:
    path = encoders["bert"].path
    options: dict[str, Any] = {"decay": 0.7}
    whole = trained(
        classifier(path, dropout=0.1), tmp_path / "whole", callbacks=(GradualUnfreezing(layers_an_epoch=2),), **options
    )
    with pytest.raises(KeyboardInterrupt):
        trained(
            classifier(path, dropout=0.1),
            tmp_path / "broken",
            callbacks=(GradualUnfreezing(layers_an_epoch=2),),
            told=interrupted_after(2),
            **options,
        )
    # The log shows the rate of the first group, which is that of the top.
    assert max(entry.get("learning_rate", 0) for entry in whole.state.log_history) > 0.8 * RATE
    # What the schedule is comes from the checkpoint.
    resumed = trained(classifier(path, dropout=0.1), tmp_path / "broken", callbacks=(GradualUnfreezing(),), **options)
    assert last_weights(tmp_path / "broken") == last_weights(tmp_path / "whole")
    assert weights_hash(resumed.model) == weights_hash(whole.model)
    assert unfreezing_of(resumed).trained == unfreezing_of(whole).trained
    state = unfreezing_of(resumed).state()
    assert GradualUnfreezing.from_state(json.loads(json.dumps(state))).state() == state
