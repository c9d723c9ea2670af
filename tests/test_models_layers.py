"""Layer numbers, and the layer stacks they count in."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModel, GPT2Config, GPT2Model

from distilora.errors import ConfigError, ModelError
from distilora.models.layers import layer_index, layer_numbers, layer_stack
from distilora.models.loading import quietly
from tiny import FAMILIES, save_tiny_encoder

depths = st.integers(min_value=3, max_value=60)
names = st.sampled_from(("odd", "even", "first", "last", "spread"))


@pytest.mark.parametrize(
    ("choice", "depth", "numbers"),
    [
        ("odd", 5, (1, 3, 5)),
        ("even", 5, (2, 4)),
        ("first", 5, (1, 2)),
        ("last", 5, (4, 5)),
        ("spread", 6, (1, 4, 6)),
        ("spread", 3, (1, 3)),
        ("odd", 1, (1,)),
        ("last", 1, (1,)),
        (" 1, 4,8,12 ", 12, (1, 4, 8, 12)),
    ],
)
def test_a_choice_means_these_layers(choice: str, depth: int, numbers: tuple[int, ...]) -> None:
    assert layer_numbers(choice, depth) == numbers


@given(names, depths)
def test_every_named_choice_is_a_shorter_ascending_part_of_the_stack(name: str, depth: int) -> None:
    numbers = layer_numbers(name, depth)
    assert 0 < len(numbers) < depth
    assert list(numbers) == sorted(set(numbers) & set(range(1, depth + 1)))


@given(depths)
def test_odd_and_even_share_out_all_layers(depth: int) -> None:
    assert sorted(layer_numbers("odd", depth) + layer_numbers("even", depth)) == list(range(1, depth + 1))


@given(depths)
def test_first_and_last_mirror_each_other(depth: int) -> None:
    assert layer_numbers("last", depth) == tuple(depth + 1 - number for number in layer_numbers("first", depth)[::-1])


@given(depths)
def test_spread_includes_both_ends_with_even_gaps(depth: int) -> None:
    numbers = layer_numbers("spread", depth)
    gaps = {high - low for low, high in pairwise(numbers)}
    assert (numbers[0], numbers[-1], len(numbers)) == (1, depth, max(2, depth // 2))
    assert max(gaps) - min(gaps) <= 1


@given(st.sets(st.integers(min_value=1, max_value=60), min_size=1))
def test_listed_numbers_are_taken_as_they_stand(numbers: set[int]) -> None:
    assert layer_numbers(",".join(map(str, sorted(numbers))), 60) == tuple(sorted(numbers))


@pytest.mark.parametrize(
    "choice", ["", "odds", "1,1", "3,2", "0,1", "-1", "1,,2", "1,13", "²", "1.5", "1 2", "all", "odd,even"]
)
def test_a_choice_that_means_no_layers_is_refused_in_one_line(choice: str) -> None:
    with pytest.raises(ConfigError, match=r"^layers = .+$"):
        layer_numbers(choice, 12)


@pytest.mark.parametrize(("choice", "depth"), [("even", 1), ("spread", 2), ("spread", 1), ("odd", 0)])
def test_a_stack_too_short_for_a_choice_is_refused(choice: str, depth: int) -> None:
    with pytest.raises(ConfigError, match=f"depth {depth} has no such layers"):
        layer_numbers(choice, depth)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_layer_stack_of_every_family_is_found(family: str, tmp_path) -> None:
    with quietly():
        encoder = AutoModel.from_pretrained(save_tiny_encoder(tmp_path, family, layers=3))
    stack = layer_stack(encoder)
    assert len(stack) == 3
    assert stack[layer_index(3)] is stack[-1]


def test_an_unknown_family_is_refused_with_the_known_ones() -> None:
    model = GPT2Model(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=9))
    with pytest.raises(ModelError, match=r'"gpt2" is not one of bert, .*modernbert'):
        layer_stack(model)
