"""Losses of layers against numpy, and what is heard inside the layers of every family."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file
from scipy.special import rel_entr, softmax
from sklearn.metrics import mean_squared_error
from sklearn.metrics.pairwise import paired_cosine_distances
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from distilora.config import LoraSettings
from distilora.errors import ModelError
from distilora.losses.transfer import (
    attention_distribution_loss,
    attention_map_loss,
    hidden_state_loss,
    pair_similarities,
    pair_weights,
    relation_loss,
    weighted_mean,
)
from distilora.models.adapters import add_lora
from distilora.models.encoders import find_encoder
from distilora.models.first_token import first_token_only
from distilora.models.loading import quietly
from distilora.models.projections import Projections
from distilora.models.students import build_student
from distilora.models.taps import tap_layers, token_pairs
from tiny import FAMILIES, save_tiny_encoder

LENGTHS = (7, 4, 1)
TOKENS = max(LENGTHS)
MASK = (torch.arange(TOKENS) < torch.tensor(LENGTHS)[:, None]).long()
PAIRS = token_pairs(MASK)
HEADS, WIDTH = 2, 6


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(scale=1.5, size=shape))


def scores(seed: int) -> Tensor:
    return drawn(len(LENGTHS), HEADS, TOKENS, TOKENS, seed=seed)


def vectors(seed: int, *, heads: int = HEADS, width: int = WIDTH) -> Tensor:
    return drawn(len(LENGTHS), heads, TOKENS, width, seed=seed)


def mean_divergence(student: list[NDArray[np.float64]], teacher: list[NDArray[np.float64]]) -> float:
    """Return the mean over rows of KL(teacher ‖ student), from unpadded scores of one text and head each."""
    rows = [rel_entr(softmax(t, axis=1), softmax(s, axis=1)).sum(axis=1) for s, t in zip(student, teacher, strict=True)]
    return float(np.concatenate(rows).mean())


def cut(tensor: Tensor) -> list[NDArray[np.float64]]:
    """Return the scores of each text and head without padding, from (batch, heads, tokens, tokens)."""
    return [head[:length, :length] for text, length in zip(tensor.numpy(), LENGTHS, strict=True) for head in text]


def test_attention_maps_are_compared_where_tokens_are_real() -> None:
    student, teacher = scores(1), scores(2)
    flat = [np.concatenate([part.ravel() for part in cut(tensor)]) for tensor in (student, teacher)]
    assert attention_map_loss(student, teacher, PAIRS).item() == pytest.approx(mean_squared_error(*flat), rel=1e-6)


def test_hidden_states_are_compared_where_tokens_are_real() -> None:
    student, teacher = drawn(3, TOKENS, WIDTH, seed=1), drawn(3, TOKENS, WIDTH, seed=2)
    real = MASK.bool().numpy()
    expected = mean_squared_error(teacher.numpy()[real], student.numpy()[real])
    assert hidden_state_loss(student, teacher, MASK).item() == pytest.approx(expected, rel=1e-6)


def test_attention_distributions_are_compared_from_the_teachers_side() -> None:
    student, teacher = scores(1), scores(2)
    found = attention_distribution_loss(student, teacher, PAIRS).item()
    assert found == pytest.approx(mean_divergence(cut(student), cut(teacher)), rel=1e-6)
    assert found != pytest.approx(attention_distribution_loss(teacher, student, PAIRS).item(), rel=1e-3)


def test_a_window_leaves_distant_tokens_out_of_the_distribution() -> None:
    student, teacher = scores(1), scores(2)
    near = np.abs(np.subtract.outer(np.arange(TOKENS), np.arange(TOKENS))) <= 2
    masked = [[np.where(near[: len(part), : len(part)], part, -1e9) for part in cut(s)] for s in (student, teacher)]
    found = attention_distribution_loss(student, teacher, token_pairs(MASK, window=2)).item()
    assert found == pytest.approx(mean_divergence(*masked), rel=1e-6)


def test_the_value_relation_keeps_the_heads_and_lets_widths_differ() -> None:
    student, teacher = vectors(1), vectors(2, width=9)
    parts = [
        [
            head[:length] @ head[:length].T / np.sqrt(head.shape[1])
            for text, length in zip(model.numpy(), LENGTHS, strict=True)
            for head in text
        ]
        for model in (student, teacher)
    ]
    assert relation_loss(student, teacher, MASK).item() == pytest.approx(mean_divergence(*parts), rel=1e-6)
    assert relation_loss(student, student.repeat(1, 1, 1, 2) / 2**0.25, MASK).item() == pytest.approx(0, abs=1e-12)


def every_loss(student: dict[str, Tensor], teacher: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return each loss of this file, of scores, states and vectors."""
    return {
        "map": attention_map_loss(student["scores"], teacher["scores"], PAIRS),
        "distribution": attention_distribution_loss(student["scores"], teacher["scores"], PAIRS),
        "relation": relation_loss(student["vectors"], teacher["vectors"], MASK),
        "state": hidden_state_loss(student["states"], teacher["states"], MASK),
    }


def insides(seed: int) -> dict[str, Tensor]:
    states = drawn(3, TOKENS, WIDTH, seed=seed)
    return {"scores": scores(seed), "vectors": vectors(seed), "states": states}


def test_a_student_that_is_its_teacher_has_no_loss() -> None:
    losses = every_loss(insides(1), insides(1))
    assert [loss.item() for loss in losses.values()] == pytest.approx([0] * 4, abs=1e-12)


def test_gradients_flow_to_the_student_alone_and_never_from_padding() -> None:
    student, teacher = ({key: part.requires_grad_() for key, part in insides(seed).items()} for seed in (1, 2))
    sum(every_loss(student, teacher).values()).backward()
    assert all(part.grad is None for part in teacher.values())
    for name, mask in (
        ("scores", PAIRS.expand(-1, HEADS, -1, -1)),
        ("vectors", MASK[:, None, :].expand(-1, HEADS, -1).bool()),
        ("states", MASK.bool()),
    ):
        gradient = student[name].grad
        assert gradient is not None
        assert gradient[mask].abs().max() > 0
        assert (gradient[~mask] == 0).all()


def test_what_padding_holds_changes_nothing() -> None:
    student, teacher = insides(1), insides(2)
    before = every_loss(student, teacher)
    for part in (student, teacher):
        part["scores"][~PAIRS.expand_as(part["scores"])] = 1e4
        part["vectors"].swapaxes(1, 2)[MASK == 0] = 1e4
        part["states"][MASK == 0] = -1e4
    assert {name: loss.item() for name, loss in every_loss(student, teacher).items()} == pytest.approx(
        {name: loss.item() for name, loss in before.items()}
    )


def test_losses_of_half_precision_are_computed_in_float32() -> None:
    half = [{key: part.to(torch.bfloat16) for key, part in insides(seed).items()} for seed in (1, 2)]
    assert {loss.dtype for loss in every_loss(*half).values()} == {torch.float32}


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="must be the same"):
        attention_map_loss(scores(1), scores(2)[:, :1], PAIRS)
    with pytest.raises(ValueError, match="must be the same"):
        hidden_state_loss(drawn(3, TOKENS, 4, seed=1), drawn(3, TOKENS, 5, seed=1), MASK)
    with pytest.raises(ValueError, match="must be the same"):
        relation_loss(vectors(1), vectors(2, heads=3), MASK)


def test_the_similarity_of_a_pair_is_the_mean_cosine_of_real_tokens() -> None:
    pairs = [(drawn(3, TOKENS, WIDTH, seed=n), drawn(3, TOKENS, WIDTH, seed=n + 9)) for n in range(2)]
    real = MASK.bool().numpy()
    expected = [1 - paired_cosine_distances(s.numpy()[real], t.numpy()[real]).mean() for s, t in pairs]
    found = pair_similarities([s.requires_grad_() for s, _ in pairs], [t for _, t in pairs], MASK)
    assert found.numpy() == pytest.approx(expected, rel=1e-6)
    assert not found.requires_grad


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=12), st.floats(-10, 10))
def test_pair_weights_average_one_and_order_the_pairs(similarities: list[float], sharpness: float) -> None:
    weights = pair_weights(torch.tensor(similarities, dtype=torch.float64), sharpness=sharpness).numpy()
    assert weights == pytest.approx(len(similarities) * softmax(sharpness * np.array(similarities)), rel=1e-6)
    assert weights.mean() == pytest.approx(1)
    order = np.argsort(sharpness * np.array(similarities), kind="stable")
    assert (np.diff(weights[order]) >= -1e-9).all()


def test_weighted_pairs_pull_as_their_weights_say() -> None:
    losses = [torch.tensor(value, requires_grad=True) for value in (1.0, 3.0, 5.0)]
    weights = torch.tensor([0.5, 1.0, 1.5], requires_grad=True)
    total = weighted_mean(losses, weights)
    total.backward()
    assert total.item() == pytest.approx(np.average([1, 3, 5], weights=[0.5, 1, 1.5]))
    assert [loss.grad.item() for loss in losses if loss.grad is not None] == pytest.approx([0.5 / 3, 1 / 3, 0.5])
    assert weights.grad is None


# ---- projections


def test_projections_are_linear_maps_one_a_pair_or_one_for_all() -> None:
    states = [drawn(3, TOKENS, 4, seed=n).float() for n in range(2)]
    for shared in (False, True):
        projections = Projections(2, student_width=4, teacher_width=WIDTH, shared=shared, seed=0)
        matrices = [parameter.detach().numpy() for parameter in projections.parameters()]
        assert len(matrices) == (1 if shared else 2)
        for place, projected in enumerate(projections(states)):
            expected = states[place].numpy() @ matrices[0 if shared else place].T
            np.testing.assert_allclose(projected.detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("shared", [False, True])
def test_projections_keep_lengths_at_first_and_repeat_with_their_seed(shared: bool) -> None:
    state = torch.random.get_rng_state()
    one, same, other = (
        Projections(2, student_width=4, teacher_width=WIDTH, shared=shared, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(*pair) for pair in zip(one.parameters(), same.parameters(), strict=True))
    assert not any(torch.equal(*pair) for pair in zip(one.parameters(), other.parameters(), strict=True))
    states = drawn(3, TOKENS, 4, seed=1).float()
    assert one([states] * 2)[1].norm(dim=-1).detach().numpy() == pytest.approx(states.norm(dim=-1).numpy(), rel=1e-5)


def test_projections_between_equal_widths_begin_as_the_identity() -> None:
    states = drawn(3, TOKENS, 4, seed=1).float()
    projections = Projections(1, student_width=4, teacher_width=4, shared=False, seed=0)
    torch.testing.assert_close(projections([states])[0], states)


def test_a_projection_learns_with_the_student_and_is_not_saved_with_it(tmp_path: Path) -> None:
    teacher = classifier(tmp_path / "teacher")
    student = build_student(teacher, [1, 3]).train()
    before = set(student.state_dict())
    projections = Projections(2, student_width=32, teacher_width=48, shared=False, seed=0)
    wide = [drawn(3, TOKENS, 48, seed=n).float().requires_grad_() for n in range(2)]
    with tap_layers(student) as taps:
        student(**inputs())
        pairs = zip(projections([taps[1].states, taps[2].states]), wide, strict=True)
        weighted_mean([hidden_state_loss(s, t, MASK) for s, t in pairs], torch.ones(2)).backward()
    assert all(parameter.grad is not None for parameter in projections.parameters())
    assert all(parameter.grad is not None for parameter in student.base_model.encoder.parameters())
    assert all(states.grad is None for states in wide)
    with quietly():
        student.save_pretrained(tmp_path / "student")
    assert set(load_file(tmp_path / "student" / "model.safetensors")) == before == set(student.state_dict())


def test_projections_for_other_pairs_are_refused() -> None:
    projections = Projections(2, student_width=4, teacher_width=6, shared=True, seed=0)
    with pytest.raises(ValueError, match="1 states for 2 pairs"):
        projections([torch.ones(1, 1, 4)])
    with pytest.raises(ValueError, match="pairs is 0"):
        Projections(0, student_width=4, teacher_width=6, shared=True, seed=0)


# ---- taps


def inputs() -> dict[str, Tensor]:
    ids = torch.randint(4, 70, (3, TOKENS), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids.masked_fill(MASK == 0, 0), "attention_mask": MASK}


def classifier(folder: Path, family: str = "bert", attention: str = "eager") -> PreTrainedModel:
    if not folder.exists():
        save_tiny_encoder(folder, family)
    torch.manual_seed(0)
    with quietly():
        model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation=attention)
    return model.eval()


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("tap") / request.param, request.param)


def test_the_softmax_of_scores_is_each_familys_own_attention(folder: Path) -> None:
    model = classifier(folder)
    with torch.no_grad(), tap_layers(model) as taps:
        outputs = model(**inputs(), output_attentions=True, output_hidden_states=True)
        for number, expected in enumerate(outputs.attentions, start=1):
            pairs = token_pairs(MASK, window=taps[number].window)
            found = taps[number].scores().masked_fill(~pairs, -1e9).softmax(dim=-1)
            real = pairs.expand_as(found)
            torch.testing.assert_close(found[real], expected[real], atol=1e-6, rtol=1e-5)
            assert expected[MASK.bool()[:, None, :, None].expand_as(real) & ~real].abs().max() < 1e-6


def test_attention_of_the_values_heard_is_what_the_layer_goes_on_with(folder: Path) -> None:
    model = classifier(folder)
    heard: list[Tensor] = []
    name = {"distilbert": "out_lin", "modernbert": "Wo"}.get(folder.name, "output.dense")
    for module_name, module in model.named_modules():
        if module_name.endswith((f"attention.{name}", f"attn.{name}")):
            module.register_forward_pre_hook(lambda _, given: heard.append(given[0]))
    with torch.no_grad(), tap_layers(model) as taps:
        outputs = model(**inputs(), output_attentions=True)
        assert len(heard) == 4
        for number, (attended, mixed) in enumerate(zip(outputs.attentions, heard, strict=True), start=1):
            expected = (attended @ taps[number].values).transpose(1, 2).flatten(2)
            torch.testing.assert_close(mixed, expected, atol=1e-5, rtol=1e-5)


def test_states_are_the_layers_own_outputs(folder: Path) -> None:
    model = classifier(folder)
    with torch.no_grad(), tap_layers(model) as taps:
        outputs = model(**inputs(), output_hidden_states=True)
        for number, states in enumerate(outputs.hidden_states[1:-1], start=1):
            assert torch.equal(taps[number].states, states)
        last = taps[4].states
        # Of the last layer transformers shows what follows ModernBERT's last norm.
        norm = model.model.final_norm if folder.name == "modernbert" else nn.Identity()
        assert torch.equal(norm(last), outputs.hidden_states[-1])


def test_listening_changes_no_logit_and_leaves_no_hook(folder: Path) -> None:
    model = classifier(folder)
    with torch.no_grad():
        before = model(**inputs()).logits
        with tap_layers(model) as taps:
            assert torch.equal(model(**inputs()).logits, before)
            taps[1].scores()
        assert torch.equal(model(**inputs()).logits, before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    with pytest.raises(ModelError, match="layer 1 was not run"):
        taps[1]


def test_every_transfer_loss_trains_the_student_and_not_its_teacher(folder: Path) -> None:
    teacher = classifier(folder)
    numbers = (2, 4)
    student = build_student(teacher, numbers).train()
    with tap_layers(student) as own, tap_layers(teacher, numbers) as others:
        student(**inputs())
        teacher(**inputs())  # with gradients, which must not be followed
        losses = []
        for number, source in enumerate(numbers, start=1):
            mine, its = own[number], others[source]
            pairs = token_pairs(MASK, window=its.window)
            assert mine.window == its.window
            losses += [
                attention_map_loss(mine.scores(), its.scores(), pairs),
                attention_distribution_loss(mine.scores(), its.scores(), pairs),
                hidden_state_loss(mine.states, its.states, MASK),
                relation_loss(mine.values, its.values, MASK),
            ]
        weighted_mean(losses, torch.ones(len(losses))).backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    projections = [weight for name, weight in student.named_parameters() if _makes_queries(name)]
    assert len(projections) == len(numbers)
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in projections)


def _makes_queries(name: str) -> bool:
    return name.endswith(("query.weight", "query_proj.weight", "q_lin.weight", "Wqkv.weight"))


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "deberta-v2"])
def test_the_same_is_heard_whatever_the_attention_code(family: str, tmp_path: Path) -> None:
    heard = []
    for code in ("eager", "sdpa"):
        model = classifier(tmp_path / family, family, code)
        with torch.no_grad(), tap_layers(model) as taps:
            model(**inputs())
            heard.append([taps[number].scores()[PAIRS.expand(-1, 4, -1, -1)] for number in (1, 2, 3, 4)])
    torch.testing.assert_close(heard[0], heard[1], atol=1e-4, rtol=1e-4)


def test_adapters_are_heard(tmp_path: Path) -> None:
    folder = save_tiny_encoder(tmp_path / "bert")
    plain, adapted_base = classifier(folder), classifier(folder)
    adapted = add_lora(
        adapted_base, LoraSettings(rank=2), fresh=["classifier"], encoder=find_encoder(str(folder)), seed=0
    )
    for name, weight in adapted.named_parameters():
        if "lora_B" in name and "query" in name:
            nn.init.ones_(weight)
    with tap_layers(plain) as taps, tap_layers(adapted) as others:
        plain(**inputs())
        adapted(**inputs())
        assert torch.equal(taps[1].keys, others[1].keys)
        assert not torch.allclose(taps[1].queries, others[1].queries)
        others[1].scores().sum().backward()
    assert any(weight.grad is not None for name, weight in adapted.named_parameters() if "lora_B" in name)


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_a_last_layer_run_for_the_first_token_alone_says_so(family: str, tmp_path: Path) -> None:
    model = classifier(tmp_path / family, family)
    with torch.no_grad(), first_token_only(model), tap_layers(model) as taps:
        model(**inputs(), output_hidden_states=True)
        whole = taps[4].scores()
        model(**inputs())
        assert taps[3].scores().shape == whole.shape
        with pytest.raises(ModelError, match="layer 4 was not run, or for the first token alone: run the model with"):
            taps[4]


def test_a_layer_that_is_not_listened_to_is_refused_by_number(tmp_path: Path) -> None:
    model = classifier(tmp_path / "bert")
    with tap_layers(model, [2, 4]) as taps, pytest.raises(ModelError, match="layer 1 is not listened to: take one"):
        taps[1]
    with pytest.raises(ModelError, match="Linear is no encoder"), tap_layers(nn.Linear(2, 2)):
        pass
