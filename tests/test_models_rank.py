"""Ranks: growing without a jump, going on after it, and AdaLoRA's sharing out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel, TrainerCallback

from distilora.config import LoraSettings
from distilora.errors import ConfigError, ModelError
from distilora.losses.objective import Objective
from distilora.models.adapters import PLAIN_LORA, Adapted, LoraVariant, add_lora, load_adapter, merged
from distilora.models.allocation import RankAllocation, allocate, keep_ranks, orthogonality_penalty, set_schedule
from distilora.models.encoders import Encoder, find_encoder, load_classifier
from distilora.models.loading import quietly
from distilora.models.rank import (
    fit_to_checkpoint,
    grow_optimizer,
    grow_rank,
    module_ranks,
)
from distilora.models.weights import weights_hash
from distilora.training.adaptive_rank import ALLOCATION_FILE, AllocateRank, GrowRank
from distilora.training.arguments import training_arguments
from distilora.training.checkpoints import CheckpointSeal, is_sealed, last_checkpoint
from distilora.training.trainer import DistillationTrainer, Scores
from tiny import FAMILIES, logits_of, save_tiny_encoder
from training_cases import SETTINGS, rows

LABELS = ("civil", "toxic")
VARIANTS = {"plain": PLAIN_LORA, "rslora": LoraVariant(rslora=True), "dora": LoraVariant(dora=True)}
ADALORA = LoraVariant(allocation=RankAllocation(warm_up=0.1, final=0.3, every=2, orthogonality=0.5))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Encoder]:
    folder = tmp_path_factory.mktemp("encoders")
    return {family: find_encoder(str(save_tiny_encoder(folder / family, family))) for family in FAMILIES}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """Return an encoder of two layers, for what trains."""
    return find_encoder(str(save_tiny_encoder(tmp_path_factory.mktemp("small") / "bert", layers=2)))


def adapted(encoder: Encoder, variant: LoraVariant = PLAIN_LORA, *, seed: int = 0, rank: int = 2) -> Adapted:
    base, fresh = load_classifier(encoder, labels=LABELS, dropout=0.1)
    settings = LoraSettings(rank=rank, alpha=3.0, dropout=0.1)
    return add_lora(base, settings, fresh=fresh, encoder=encoder, seed=seed, variant=variant)


def moved(model: Adapted) -> Adapted:
    """Return the model in evaluation mode, its trainable weights moved away from where they began."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return model.eval()


def saved_rank(folder: Path) -> int:
    rank: int = json.loads((folder / "adapter_config.json").read_text())["r"]
    return rank


def plain_peft(encoder: Encoder, folder: Path) -> PeftModel:
    return PeftModel.from_pretrained(load_classifier(encoder, labels=LABELS).model, folder).eval()


@pytest.mark.parametrize(
    ("variant", "family"), [*(("plain", family) for family in FAMILIES), ("rslora", "bert"), ("dora", "modernbert")]
)
def test_growing_changes_no_logit(variant: str, family: str, tiny: dict[str, Encoder]) -> None:
    # In double precision: sums of other lengths are rounded in another order, on each processor in its own.
    model = moved(adapted(tiny[family], VARIANTS[variant])).double()
    # ModernBERT's mask for padding has no double precision, so of it the text without padding counts.
    rows = slice(1) if family == "modernbert" else slice(None)
    before = logits_of(model)[rows]
    grow_rank(model, 8, seed=0)
    assert set(module_ranks(model).values()) == {8}
    torch.testing.assert_close(logits_of(model)[rows], before, atol=1e-12, rtol=0)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft uses a name that will go
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_grown_adapter_is_saved_with_its_rank_and_plain_peft_opens_it(
    variant: str, tiny: dict[str, Encoder], tmp_path: Path
) -> None:
    model = adapted(tiny["bert"], VARIANTS[variant])
    grow_rank(model, 4, seed=0)
    moved(model).save_pretrained(tmp_path)
    assert saved_rank(tmp_path) == 4
    for again in (plain_peft(tiny["bert"], tmp_path), load_adapter(tmp_path, tiny["bert"], labels=LABELS)):
        torch.testing.assert_close(logits_of(again), logits_of(model), atol=1e-6, rtol=0)


def test_new_rows_are_drawn_as_the_first_ones_were_and_from_the_seed_alone(tiny: dict[str, Encoder]) -> None:
    drawn = []
    for seed in (0, 0, 1):
        model = adapted(tiny["bert"])
        state = torch.get_rng_state()
        growths = grow_rank(model, 64, seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        drawn.append(torch.cat([growth.new[2:].flatten() for growth in growths if growth.new.shape == (64, 32)]))
        assert all(not growth.new[:, 2:].any() for growth in growths if growth.old.shape[1] == 2)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    # Kaiming's uniform distribution as nn.Linear has it: between ± 1 / √inputs, with that bound / √3 as its deviation.
    assert drawn[0].abs().max() <= 32**-0.5
    assert drawn[0].std().item() == pytest.approx((3 * 32) ** -0.5, rel=0.02)


def test_what_cannot_grow_is_refused(tiny: dict[str, Encoder]) -> None:
    model = adapted(tiny["bert"], rank=4)
    assert grow_rank(model, 4, seed=0) == []
    with pytest.raises(ValueError, match="rank 4 cannot grow to rank 2"):
        grow_rank(model, 2, seed=0)
    with pytest.raises(ValueError, match="only a model whose plain LoRA adapters"):
        grow_rank(adapted(tiny["bert"], ADALORA), 8, seed=0)


def optimizer_of(model: nn.Module) -> torch.optim.AdamW:
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [{"params": weights[::2]}, {"params": weights[1::2], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=1e-2, weight_decay=0.1, fused=True)


def take_steps(model: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
    ids = torch.randint(4, 70, (4, 12), generator=torch.Generator().manual_seed(0))
    for _ in range(count):
        model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=torch.tensor([0, 1, 0, 1])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def adapters(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in model.named_parameters() if ".lora_" in name}


def test_old_directions_step_as_if_nothing_had_grown_and_new_ones_learn(small: Encoder) -> None:
    grown, twin = (adapted(small).eval() for _ in range(2))
    optimizers = [optimizer_of(grown), optimizer_of(twin)]
    for model, optimizer in zip((grown, twin), optimizers, strict=True):
        take_steps(model, optimizer, 3)
    grow_optimizer(optimizers[0], grow_rank(grown, 4, seed=0))
    for model, optimizer in zip((grown, twin), optimizers, strict=True):
        take_steps(model, optimizer, 1)
    small, large = adapters(twin), adapters(grown)
    for name, old in small.items():
        new = large[name]
        torch.testing.assert_close(new[: old.shape[0], : old.shape[1]], old, atol=1e-6, rtol=0)
        if "lora_B" in name:
            assert (new[:, 2:] != 0).float().mean() > 0.9


def test_the_state_of_old_directions_is_kept_and_that_of_new_ones_is_zero(small: Encoder) -> None:
    model = adapted(small).eval()
    optimizer = optimizer_of(model)
    take_steps(model, optimizer, 3)
    sizes = [len(group["params"]) for group in optimizer.param_groups]
    before = {id(weight): dict(state) for weight, state in optimizer.state.items()}
    growths = grow_rank(model, 4, seed=0)
    grow_optimizer(optimizer, growths)
    for old, new in growths:
        was, now = before[id(old)], optimizer.state[new]
        assert now["step"] == was["step"] == 3
        for moment in ("exp_avg", "exp_avg_sq"):
            kept = now[moment][: old.shape[0], : old.shape[1]]
            assert torch.equal(kept, was[moment])
            assert now[moment].shape == new.shape
            assert now[moment].count_nonzero() == kept.count_nonzero() > 0
    held = [weight for group in optimizer.param_groups for weight in group["params"]]
    assert {id(weight) for weight in held} == {id(weight) for weight in model.parameters() if weight.requires_grad}
    assert [len(group["params"]) for group in optimizer.param_groups] == sizes
    assert len(optimizer.state) == sum(sizes)


def test_a_model_takes_the_rank_and_scale_of_the_checkpoint_it_loads(small: Encoder, tmp_path: Path) -> None:
    model = moved(adapted(small, VARIANTS["rslora"]))
    model.save_pretrained(tmp_path / "small")
    small = logits_of(model)
    grow_rank(model, 8, seed=0)
    moved(model).save_pretrained(tmp_path / "large")
    large = logits_of(model)
    for folder, expected, rank in (("small", small, 2), ("large", large, 8)):
        model.load_adapter(tmp_path / folder, "default", is_trainable=True)
        assert torch.equal(logits_of(model.eval()), expected)
        assert set(module_ranks(model).values()) == {rank}
    with pytest.raises(ModelError, match="not a readable adapter configuration"):
        fit_to_checkpoint(model, tmp_path)


def scripted(values: Iterable[float | None]) -> Scores:
    """Return a score that is told beforehand; where it is absent, the training is broken off."""
    told = iter(values)

    def score(*_: object) -> dict[str, float]:
        value = next(told)
        if value is None:
            raise KeyboardInterrupt
        return {"macro_f1": value}

    return score


def trained(
    model: PreTrainedModel | PeftModel, folder: Path, callback: TrainerCallback, *, scores: Scores
) -> DistillationTrainer:
    """Return the trainer after four epochs of seven steps, gone on with from the last checkpoint in the folder."""
    settings = SETTINGS.model_copy(update={"epochs": 4})
    trainer = DistillationTrainer(
        model,
        args=training_arguments(settings, folder=folder, seed=0),
        objective=Objective(),
        train=rows(50, seed=1),
        validation=rows(16, seed=2),
        scores=scores,
        callbacks=[callback, CheckpointSeal()],
    )
    checkpoint = last_checkpoint(folder)
    with quietly():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return trainer


def history(trainer: DistillationTrainer, kind: type[TrainerCallback]) -> Any:
    return next(item.history for item in trainer.callback_handler.callbacks if isinstance(item, kind))


PLATEAUS = (0.5, 0.4, 0.6, 0.6)
"""Scores that have not risen after epochs 2 and 4."""


def test_the_rank_doubles_in_the_epoch_after_each_plateau(small: Encoder, tmp_path: Path) -> None:
    model = adapted(small)
    trainer = trained(model, tmp_path, GrowRank(largest=3), scores=scripted((0.5, 0.4, 0.6, 0.7)))
    assert history(trainer, GrowRank) == [[1, 2], [2, 2], [3, 3], [4, 3]]
    assert saved_rank(tmp_path / "checkpoint-28") == 3
    columns = [weight[:, 2:] for name, weight in adapters(model).items() if "lora_B" in name]
    assert all(column.all() for column in columns), "the new directions were not trained"


def test_the_best_epoch_comes_back_with_the_rank_it_had(small: Encoder, tmp_path: Path) -> None:
    model = adapted(small)
    trainer = trained(model, tmp_path, GrowRank(), scores=scripted((0.4, 0.6, 0.5, 0.5)))
    assert history(trainer, GrowRank) == [[1, 2], [2, 2], [3, 2], [4, 4]]
    assert set(module_ranks(model).values()) == {2}
    saved = load_adapter(tmp_path / "checkpoint-14", small, labels=LABELS)
    assert torch.equal(logits_of(saved), logits_of(model.eval()))


def grown(encoder: Encoder, folder: Path, values: Iterable[float | None]) -> tuple[str, Any]:
    model = adapted(encoder, VARIANTS["dora"])
    trainer = trained(model, folder, GrowRank(), scores=scripted(values))
    return weights_hash(model), history(trainer, GrowRank)


@pytest.fixture(scope="module")
def undisturbed(small: Encoder, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    # Each plateau but the last comes before growing, and the last epoch is the best, so its weights are compared.
    return grown(small, tmp_path_factory.mktemp("undisturbed"), (0.5, 0.4, 0.3, 0.6))


@pytest.mark.parametrize("epoch", [2, 3, 4])
def test_a_resumed_training_grows_at_the_same_places_to_the_same_bits(
    epoch: int, undisturbed: tuple[str, Any], small: Encoder, tmp_path: Path
) -> None:
    told = [0.5, 0.4, 0.3, 0.6]
    with pytest.raises(KeyboardInterrupt):
        grown(small, tmp_path, [*told[: epoch - 1], None])
    assert undisturbed[1] == [[1, 2], [2, 2], [3, 4], [4, 8]]
    assert grown(small, tmp_path, told[epoch - 1 :]) == undisturbed


# AdaLoRA.


def test_adalora_goes_with_no_other_variant(small: Encoder) -> None:
    for variant in ({"dora": True}, {"rslora": True}):
        with pytest.raises(ConfigError, match="AdaLoRA has lengths and scales of its own"):
            adapted(small, LoraVariant(allocation=RankAllocation(), **variant))


def test_adalora_needs_steps_between_warm_up_and_end(small: Encoder) -> None:
    with pytest.raises(ValueError, match="9 steps leave none"):
        set_schedule(adapted(small, ADALORA), RankAllocation(warm_up=0.5, final=0.6), steps=9)


def test_the_orthogonality_penalty_is_that_of_numpy_and_of_pefts_own_loss(tiny: dict[str, Encoder]) -> None:
    model = moved(adapted(tiny["modernbert"], ADALORA))
    weights = {name: weight.numpy().astype(float) for name, weight in adapters(model).items()}
    grams = [weight @ weight.T for name, weight in weights.items() if "lora_A" in name]
    grams += [weight.T @ weight for name, weight in weights.items() if "lora_B" in name]
    expected = np.mean([np.sqrt(((gram - np.eye(3)) ** 2).sum()) for gram in grams])
    assert orthogonality_penalty(model).item() == pytest.approx(expected, rel=1e-6)
    ids = torch.randint(4, 70, (2, 6), generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1])
    with torch.no_grad():
        outputs = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels)
    penalty = outputs.loss - nn.functional.cross_entropy(outputs.logits, labels)
    assert penalty.item() == pytest.approx(0.5 * expected, rel=1e-5)  # 0.5 is its weight


class _Watch(TrainerCallback):
    """Notes |weight · gradient| of one matrix after each step of the optimizer, before gradients are deleted."""

    def __init__(self, name: str) -> None:
        self.name, self.seen = name, []

    def on_optimizer_step(self, *_: object, model: Any, **__: object) -> None:
        weight = model.base_model.model.get_parameter(self.name)
        self.seen.append((weight * weight.grad).abs().detach())


def test_importance_is_weighed_at_every_step_until_the_ranks_are_settled(small: Encoder, tmp_path: Path) -> None:
    # 28 steps: 2 of warm-up, ranks settled with the twentieth.
    model, name = adapted(small, ADALORA), "bert.encoder.layer.1.output.dense.lora_B.default"
    watch, weighed = _Watch(name), []

    class Both(AllocateRank):
        def on_optimizer_step(self, *arguments: Any, model: Any, **others: Any) -> None:
            watch.on_optimizer_step(model=model)
            super().on_optimizer_step(*arguments, model=model, **others)
            allocator = model.base_model.rankallocator
            if name in allocator.exp_avg_ipt:
                weighed.append(allocator.exp_avg_ipt[name])

    assert ADALORA.allocation is not None
    trained(model, tmp_path, Both(ADALORA.allocation), scores=scripted((0.1, 0.2, 0.3, 0.4)))
    assert len(weighed) == 19
    assert len(watch.seen) == 28
    smoothed = torch.zeros_like(weighed[0])
    for seen, found in zip(watch.seen, weighed, strict=False):
        smoothed = 0.85 * smoothed + 0.15 * seen  # peft's first beta
        torch.testing.assert_close(found, smoothed, atol=1e-8, rtol=1e-5)
    assert smoothed.max() > 0


def shared_out(encoder: Encoder, folder: Path, values: Iterable[float | None]) -> tuple[Adapted, Any]:
    model = adapted(encoder, ADALORA)
    assert ADALORA.allocation is not None
    trainer = trained(model, folder, AllocateRank(ADALORA.allocation), scores=scripted(values))
    return model, history(trainer, AllocateRank)


@pytest.fixture(scope="module")
def settled(
    small: Encoder, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Callable[[Path], None], str, Tensor, Any, dict[str, int]]:
    folder = tmp_path_factory.mktemp("settled")
    model, ranks = shared_out(small, folder, (0.1, 0.2, 0.3, 0.4))
    assert all(is_sealed(path) and (path / ALLOCATION_FILE).is_file() for path in folder.glob("checkpoint-*"))
    return model.save_pretrained, weights_hash(model), logits_of(model.eval()), ranks, module_ranks(model)


def test_the_mean_rank_falls_as_in_the_paper_to_that_of_the_settings(settled: Any) -> None:
    _, _, _, means, ranks = settled
    adapters_there = 2 * 6
    assert len(ranks) == adapters_there
    # Zhang et al. (2023), eq. 12: from rank 3 to 2, cubic from step 2 to step 20 of 28; every second step decides.
    budgets = [int(adapters_there * (2 + (1 - (step - 2) / (20 - 2)) ** 3)) for step in (6, 14)]
    expected = [*(budget / adapters_there for budget in budgets), 2, 2]
    assert means == [[epoch, mean] for epoch, mean in enumerate(expected, start=1)]
    assert sum(ranks.values()) == 2 * adapters_there
    assert len(set(ranks.values())) > 1


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft uses a name that will go
@pytest.mark.filterwarnings("ignore:The following rank_pattern keys:RuntimeWarning")  # takes them for plain LoRA's
def test_what_adalora_kept_is_saved_alone_and_loads_equal(settled: Any, small: Encoder, tmp_path: Path) -> None:
    save, _, logits, _, ranks = settled
    save(tmp_path)
    for again in (plain_peft(small, tmp_path), load_adapter(tmp_path, small, labels=LABELS)):
        torch.testing.assert_close(logits_of(again), logits, atol=1e-6, rtol=0)
        assert module_ranks(again) == ranks
        singular = {name: weight for name, weight in again.named_parameters() if "lora_E" in name}
        assert sum(weight.numel() for weight in singular.values()) == sum(max(1, rank) for rank in ranks.values())
        torch.testing.assert_close(logits_of(merged(again)), logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("epoch", [2, 4])
def test_a_resumed_training_shares_out_the_same_ranks_to_the_same_bits(
    epoch: int, settled: Any, small: Encoder, tmp_path: Path
) -> None:
    told = [0.1, 0.2, 0.3, 0.4]
    with pytest.raises(KeyboardInterrupt):
        shared_out(small, tmp_path, [*told[: epoch - 1], None])
    model, means = shared_out(small, tmp_path, told[epoch - 1 :])
    assert (weights_hash(model), means) == (settled[1], settled[3])


def test_an_adapter_that_lost_every_direction_is_saved_and_opened(small: Encoder, tmp_path: Path) -> None:
    model = moved(adapted(small, ADALORA))
    module = "bert.encoder.layer.1.output.dense"
    with torch.no_grad():
        model.base_model.model.get_submodule(module).lora_E["default"].zero_()
    keep_ranks(model)
    model.save_pretrained(tmp_path)
    again = load_adapter(tmp_path, small, labels=LABELS)
    assert module_ranks(again)[module] == 0
    torch.testing.assert_close(logits_of(again), logits_of(model), atol=1e-6, rtol=0)


def test_the_decision_does_not_stay_in_the_configuration_of_a_training(small: Encoder) -> None:
    model = adapted(small, ADALORA).eval()
    set_schedule(model, RankAllocation(warm_up=0.0, final=0.0, every=1), steps=4)
    optimizer = optimizer_of(model)
    take = torch.randint(4, 70, (4, 12), generator=torch.Generator().manual_seed(0))
    pattern = None
    for step in (1, 2, 3, 4):
        model(input_ids=take, attention_mask=torch.ones_like(take), labels=torch.tensor([0, 1, 0, 1])).loss.backward()
        optimizer.step()
        pattern = allocate(model, step, pattern)
        optimizer.zero_grad()
        assert model.peft_config["default"].rank_pattern is None
    assert pattern is not None
    kept = {name: (weight != 0).flatten().tolist() for name, weight in adapters(model).items() if "lora_E" in name}
    assert {f"base_model.model.{name}": directions for name, directions in pattern.items()} == kept
