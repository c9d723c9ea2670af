"""The search for a student's layers: what sets of layers are scored by, which are looked at, and what is kept of it."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from distilora.data.tokens import EncodedTexts
from distilora.errors import ConfigError, RunError
from distilora.evaluation.layer_searches import LAYER_SEARCH_FILE, read_layer_search, write_layer_search
from distilora.evaluation.metrics import accuracy, macro_f1, softmax
from distilora.models.encoders import find_encoder, load_classifier
from distilora.models.inference import compute_logits
from distilora.models.layer_search import search_layers
from distilora.models.layers import layer_stack
from distilora.models.search_records import LayerSearch, LayerSet
from distilora.models.similarity import linear_cka
from distilora.models.states import layer_vectors
from distilora.models.students import build_student
from distilora.models.subsets import logits_of_sets
from distilora.models.weights import weights_hash
from tiny import FAMILIES, save_tiny_encoder
from training_cases import rows

ROWS = 24
DEPTH = 6


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PreTrainedModel]:
    folder = tmp_path_factory.mktemp("encoders")
    return {family: untrained(folder / family, family) for family in FAMILIES}


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    """Return a BERT of six layers of which the third and the fifth change nothing."""
    teacher = untrained(tmp_path_factory.mktemp("deep"), layers=DEPTH)
    with torch.no_grad():
        teacher.classifier.weight.mul_(20)  # so that answers differ
        for number in (3, 5):
            layer = layer_stack(teacher)[number - 1]
            for part in (layer.attention.output.dense, layer.output.dense):
                part.weight.zero_()
                part.bias.zero_()
    return teacher


@pytest.fixture(scope="module")
def found(deep: PreTrainedModel) -> LayerSearch:
    texts, labels = asked()
    return search_layers(deep, texts, labels, count=3, beam=2)


def untrained(folder: Path, family: str = "bert", *, layers: int = 4) -> PreTrainedModel:
    encoder = find_encoder(str(save_tiny_encoder(folder, family, layers=layers)))
    return load_classifier(encoder, labels=("civil", "toxic")).model.eval()


def asked(count: int = ROWS) -> tuple[EncodedTexts, NDArray[np.int64]]:
    taken = rows(count, seed=3)
    return taken.texts, taken.labels


def assert_scored(one: LayerSet, teacher: PreTrainedModel) -> None:
    """Compare a set's numbers with those of a student that is really built, by the formulas in numpy."""
    texts, labels = asked()
    whole, said = compute_logits(teacher, texts), compute_logits(build_student(teacher, one.numbers), texts)
    p, q = softmax(whole), softmax(said)
    vectors = layer_vectors(teacher, texts)["mean"]
    alike = [linear_cka(vectors[i], vectors[j]) or 0.0 for i, j in combinations(one.numbers, 2)]
    redundancy = float(np.mean(np.clip(alike, 0, 1)))
    assert one.divergence == pytest.approx((p * np.log(p / q)).sum(axis=1).mean(), abs=1e-5)
    assert one.redundancy == pytest.approx(redundancy, abs=1e-6)
    assert one.score == pytest.approx(math.exp(-one.divergence * (1 + redundancy)), abs=1e-6)
    assert (one.macro_f1, one.accuracy) == (pytest.approx(macro_f1(said, labels)), accuracy(said, labels))


@pytest.mark.parametrize("family", FAMILIES)
def test_sets_say_what_students_of_them_say_though_their_beginnings_are_shared(
    family: str, teachers: dict[str, PreTrainedModel]
) -> None:
    teacher, (texts, _) = teachers[family], asked()
    sets = [numbers for size in (1, 2, 3, 4) for numbers in combinations((1, 2, 3, 4), size)]
    before = weights_hash(teacher)
    said = logits_of_sets(teacher, texts, sets)
    assert list(said) == sets
    for numbers in ((1, 2), (1, 2, 4), (1, 3, 4), (2, 3), (4,), (1, 2, 3, 4)):
        np.testing.assert_allclose(said[numbers], compute_logits(build_student(teacher, numbers), texts), atol=2e-5)
    assert weights_hash(teacher) == before
    assert not any("forward" in vars(module) for module in teacher.modules())


def test_scores_are_those_of_students_really_built(found: LayerSearch, deep: PreTrainedModel) -> None:
    for one in (found.chosen, found.odd, found.even, found.best[-1]):
        assert_scored(one, deep)
    assert (found.odd.numbers, found.even.numbers) == ((1, 3, 5), (2, 4, 6))


def test_layers_that_change_nothing_are_left_out(found: LayerSearch) -> None:
    assert not {3, 5} & set(found.numbers)
    losses = {one.number: one for one in found.left_out}
    assert list(losses) == [1, 2, 3, 4, 5, 6]
    assert losses[3].macro_f1_lost == losses[5].accuracy_lost == 0
    assert found.cka[2][3] == pytest.approx(1, abs=1e-3)


def test_the_chosen_set_is_the_best_that_was_looked_at(found: LayerSearch) -> None:
    scores = [one.score for one in found.best]
    assert found.chosen == found.best[0]
    assert scores == sorted(scores, reverse=True)
    assert {len(one.numbers) for one in found.best} == {3}
    assert found.chosen.score >= max(found.odd.score, found.even.score)


def test_a_beam_of_every_set_finds_the_best_of_all(deep: PreTrainedModel) -> None:
    texts, labels = asked()
    wide = search_layers(deep, texts, labels, count=3, beam=1000)
    assert wide.looked_at == 1 + 6 + 15 + 20
    assert len(wide.best) == 20
    assert {one.numbers for one in wide.best} == set(combinations(range(1, 7), 3))


def test_a_beam_of_one_looks_at_few(deep: PreTrainedModel) -> None:
    texts, labels = asked()
    narrow = search_layers(deep, texts, labels, count=3, beam=1)
    assert 1 + 6 + 5 + 4 <= narrow.looked_at <= 1 + 6 + 5 + 4 + 2  # and odd and even
    assert narrow.chosen.score <= search_layers(deep, texts, labels, count=3, beam=1000).chosen.score


def test_the_same_search_finds_the_same(found: LayerSearch, deep: PreTrainedModel) -> None:
    texts, labels = asked()
    again = search_layers(deep, texts, labels, count=3, beam=2)
    assert again.model_copy(update={"seconds": found.seconds}) == found


def test_of_equal_sets_the_one_with_lower_numbers_is_chosen(tmp_path: Path) -> None:
    teacher, (texts, labels) = untrained(tmp_path), asked()
    with torch.no_grad():
        teacher.classifier.weight.zero_()  # says the same whatever its layers are
    search = search_layers(teacher, texts, labels, count=2)
    assert {one.score for one in search.best} == {1.0}
    assert search.chosen.numbers == (1, 2)


def test_rows_are_a_sample_in_which_classes_keep_their_shares(deep: PreTrainedModel) -> None:
    texts, labels = asked(40)
    first, second = (search_layers(deep, texts, labels, rows=10, beam=1, seed=seed) for seed in (0, 1))
    assert (first.rows, first.seed, second.seed) == (10, 0, 1)
    assert first.chosen.divergence != second.chosen.divergence
    assert first.chosen.accuracy in {share / 10 for share in range(11)}


@pytest.mark.parametrize(("depth", "count", "looked_at"), [(1, 1, 1), (2, 1, 3), (3, 2, 5)])
def test_without_a_number_as_many_layers_are_chosen_as_odd_has(
    depth: int, count: int, looked_at: int, tmp_path: Path
) -> None:
    texts, labels = asked()
    search = search_layers(untrained(tmp_path, layers=depth), texts, labels)
    assert (len(search.chosen.numbers), search.looked_at, search.depth) == (count, looked_at, depth)
    assert (search.even is None) == (depth == 1)
    assert len(search.left_out) == (depth if depth > 1 else 0)


def test_all_layers_are_the_teacher_itself(deep: PreTrainedModel) -> None:
    texts, labels = asked()
    search = search_layers(deep, texts, labels, count=DEPTH)
    assert (search.chosen.numbers, search.chosen.score) == ((1, 2, 3, 4, 5, 6), 1.0)


@pytest.mark.parametrize("changes", [{"count": 0}, {"count": 7}, {"beam": 0}, {"rows": 3}])
def test_what_cannot_be_searched_is_refused(changes: dict[str, int], deep: PreTrainedModel) -> None:
    texts, labels = asked()
    with pytest.raises(ConfigError, match=r'^layers = "search": '):
        search_layers(deep, texts, labels, **changes)


def test_a_search_is_read_as_it_was_written(found: LayerSearch, tmp_path: Path) -> None:
    assert read_layer_search(tmp_path) is None
    write_layer_search(tmp_path, found)
    assert read_layer_search(tmp_path) == found
    (tmp_path / LAYER_SEARCH_FILE).write_text('{"format": 2}')
    with pytest.raises(RunError, match=r"layer-search\.json: not readable"):
        read_layer_search(tmp_path)
