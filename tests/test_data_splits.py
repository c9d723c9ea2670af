"""Splits: disjoint, complete, stratified, the same every time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilora.config import DataSettings
from distilora.data.duplicates import fold_text, majority_labels, number_groups
from distilora.data.gathering import hash_comments
from distilora.data.records import PARTS, Comments, Part, Splits
from distilora.data.splits import check_disjoint, repeated_rows, split_comments
from distilora.errors import DataError


def make_comments(texts: Sequence[str], labels: Sequence[int], parts: Sequence[Part] | None = None) -> Comments:
    """Return comments of classes called class 0, class 1, …"""
    codes = np.array(labels, dtype=np.int64)
    names = tuple(f"class {code}" for code in range(max(labels) + 1))
    own = None if parts is None else tuple(parts)
    return Comments(
        source="toy",
        texts=tuple(texts),
        labels=codes,
        label_names=names,
        positive=(),
        row_numbers=np.arange(1, len(texts) + 1),
        parts=own,
        sha256=hash_comments(texts, codes, label_names=names, parts=own),
    )


def rows_by_class(*counts: int) -> Comments:
    labels = np.repeat(np.arange(len(counts)), counts)
    return make_comments([f"text {n}" for n in range(len(labels))], labels.tolist())


def class_counts(comments: Comments, positions: np.ndarray[Any, Any]) -> list[int]:
    return np.bincount(comments.labels[positions], minlength=len(comments.label_names)).tolist()


@st.composite
def comments_with_duplicates(draw: st.DrawFn) -> Comments:
    """Two to four classes of 10 to 40 distinct texts, each text one to four times, differently written."""
    texts, labels = [], []
    for label in range(draw(st.integers(2, 4))):
        for number, copies in enumerate(draw(st.lists(st.integers(1, 4), min_size=10, max_size=40))):
            spellings = [f"word {label} {number}", f"WORD  {label} {number} ", f"Word\t{label}\n{number}", "Word"]
            texts += [
                spelling if " " in spelling else f"{spelling} {label} {number}" for spelling in spellings[:copies]
            ]
            labels += [label] * copies
    order = draw(st.permutations(range(len(texts))))
    return make_comments([texts[i] for i in order], [labels[i] for i in order])


@given(comments_with_duplicates(), st.integers(0, 2**32))
def test_parts_are_disjoint_complete_and_stratified_with_duplicates_together(comments: Comments, seed: int) -> None:
    splits = split_comments(comments, DataSettings(split_seed=seed))
    everything = np.concatenate([splits.part(part) for part in PARTS])
    assert sorted(everything.tolist()) == list(range(len(comments)))
    folded = [{fold_text(comments.texts[i]) for i in splits.part(part)} for part in PARTS]
    assert sum(map(len, folded)) == len(set().union(*folded))
    check_disjoint(comments, splits)
    for part in ("validation", "test"):
        for taken, total in zip(class_counts(comments, splits.part(part)), np.bincount(comments.labels), strict=True):
            assert taken >= 1
            assert abs(taken - total / 10) <= 4  # copies of one text


@given(comments_with_duplicates())
def test_the_same_seed_gives_the_same_rows_and_another_one_others(comments: Comments) -> None:
    first, again, other = (split_comments(comments, DataSettings(split_seed=seed)) for seed in (5, 5, 6))
    assert all(np.array_equal(first.part(part), again.part(part)) for part in PARTS)
    assert not all(np.array_equal(first.part(part), other.part(part)) for part in PARTS)


def test_the_split_of_a_seed_never_changes() -> None:
    # Runs are resumed and compared across machines and releases: these rows are a promise.
    splits = split_comments(rows_by_class(30, 20), DataSettings(split_seed=1150))
    assert (splits.validation.tolist(), splits.test.tolist()) == ([5, 9, 15, 47, 49], [4, 10, 11, 34, 41])


def test_eighty_ten_ten_is_exact_where_nothing_repeats() -> None:
    comments = rows_by_class(1000, 200)
    splits = split_comments(comments, DataSettings())
    assert [class_counts(comments, splits.part(part)) for part in PARTS] == [[800, 160], [100, 20], [100, 20]]


def test_a_text_that_makes_half_of_a_class_stays_in_training() -> None:
    texts = ["again"] * 50 + [f"text {n}" for n in range(150)]
    comments = make_comments(texts, [0] * 100 + [1] * 100)
    splits = split_comments(comments, DataSettings())
    assert set(range(50)) <= set(splits.train.tolist())
    assert class_counts(comments, splits.test) == [10, 10]


def test_a_class_with_fewer_than_ten_distinct_texts_is_refused_by_name() -> None:
    comments = make_comments([*map(str, range(30)), "a", "A", " a"], [0] * 30 + [1] * 3)
    expected = 'toy: class "class 1" has 1 distinct text, a split needs 10; did you mean "class 0"? add rows'
    with pytest.raises(DataError) as caught:
        split_comments(comments, DataSettings())
    assert str(caught.value).startswith(expected)


def own_split(*rows: tuple[str, int, Part]) -> Comments:
    return make_comments([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])


def test_the_own_split_is_kept_and_a_text_of_a_later_part_leaves_the_earlier_ones() -> None:
    comments = own_split(
        ("a", 0, "train"),
        ("b", 1, "train"),
        ("B ", 1, "validation"),  # in test too
        ("c", 0, "validation"),
        ("C", 0, "train"),  # in validation too
        ("d", 1, "validation"),
        ("b", 1, "test"),
        ("e", 0, "test"),
        ("f", 1, "train"),
        ("f", 1, "train"),  # twice in one part: stays
    )
    splits = split_comments(comments, DataSettings())
    assert [splits.part(part).tolist() for part in PARTS] == [[0, 8, 9], [3, 5], [6, 7]]
    assert repeated_rows(comments).tolist() == [1, 2, 4]
    check_disjoint(comments, splits)


def test_a_missing_validation_part_is_a_tenth_of_training_and_test_stays() -> None:
    train: list[tuple[str, int, Part]] = [(f"train {n}", n % 2, "train") for n in range(200)]
    test: list[tuple[str, int, Part]] = [(f"test {n}", n % 2, "test") for n in range(6)]
    comments = own_split(*train, *test)
    splits = split_comments(comments, DataSettings())
    assert splits.test.tolist() == list(range(200, 206))
    assert class_counts(comments, splits.validation) == [10, 10]
    assert sorted([*splits.train, *splits.validation]) == list(range(200))


def test_an_own_part_without_one_of_the_classes_is_refused() -> None:
    comments = own_split(("a", 0, "train"), ("b", 1, "train"), ("c", 0, "validation"), ("d", 1, "test"))
    with pytest.raises(DataError, match='toy: class "class 1" has no row in validation; every part needs every class'):
        split_comments(comments, DataSettings())


@given(st.integers(3, 720), st.integers(0, 100))
def test_samples_have_their_size_and_keep_the_shares_of_the_classes(size: int, seed: int) -> None:
    comments = rows_by_class(600, 270, 30)
    full = split_comments(comments, DataSettings(split_seed=seed))
    splits = split_comments(comments, DataSettings(split_seed=seed, train_samples=size))
    assert set(splits.train.tolist()) <= set(full.train.tolist())
    assert len(splits.train) == size
    for taken, total in zip(class_counts(comments, splits.train), (600, 270, 30), strict=True):
        assert abs(taken - size * total / 900) < 2
    assert np.array_equal(splits.test, full.test)  # sampling one part leaves the others alone


def test_balancing_takes_equal_shares_for_training_alone() -> None:
    comments = rows_by_class(600, 300, 100)
    splits = split_comments(comments, DataSettings(balance=True))
    assert class_counts(comments, splits.train) == [80, 80, 80]
    assert class_counts(comments, splits.test) == [60, 30, 10]
    smaller = split_comments(comments, DataSettings(balance=True, train_samples=100, test_samples=10))
    assert class_counts(comments, smaller.train) == [33, 33, 33]
    assert class_counts(comments, smaller.test) == [6, 3, 1]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"train_samples": 801}, "data.train_samples = 801: there are 800 rows; take at most that many"),
        ({"test_samples": 2}, "data.test_samples = 2: there are 3 classes; take at least one row of each"),
        ({"train_samples": 400, "balance": True}, "data.train_samples = 400: the smallest of 3 classes has 80 rows"),
    ],
)
def test_more_samples_than_there_are_is_refused_with_the_number(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        split_comments(rows_by_class(600, 300, 100), DataSettings(**settings))


@pytest.mark.parametrize("test", [[2, 3], [1]])
def test_one_comment_in_two_parts_is_found_and_both_rows_are_named(test: list[int]) -> None:
    comments = make_comments(["a", "b", "c", "B "], [0, 1, 0, 1])
    splits = Splits(train=np.array([0]), validation=np.array([1]), test=np.array(test))
    expected = f"toy: row 2 in validation and row {test[-1] + 1} in test are the same comment"
    with pytest.raises(DataError, match=expected):
        check_disjoint(comments, splits)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=40))
def test_majority_labels_agree_with_counting_by_hand(rows: list[tuple[int, int]]) -> None:
    groups = number_groups([str(group) for group, _ in rows])
    labels = np.array([label for _, label in rows])
    counted = [np.bincount(labels[groups == group]).argmax() for group in range(groups.max() + 1)]
    assert majority_labels(groups, labels).tolist() == counted
