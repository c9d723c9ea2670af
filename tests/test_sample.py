"""The comments that come with distilora: enough, hard, all different, and not to be told apart by a trick."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from importlib.resources import files

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline

Row = dict[str, str]
HARD_KINDS = {
    "blunt-criticism",
    "friendly-swearing",
    "quoted-insult",
    "polite-contempt",
    "veiled-threat",
    "negation",
    "sarcasm",
    "misspelt",
}


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    text = files("distilora.data").joinpath("sample.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines(keepends=True)))


def is_toxic(rows: list[Row]) -> np.ndarray:
    return np.array([row["label"] == "toxic" for row in rows])


def words_of(row: Row) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", row["text"].lower()))


def test_every_row_has_text_label_topic_and_kind(rows: list[Row]) -> None:
    assert len(rows) >= 1200
    assert {tuple(row) for row in rows} == {("text", "label", "topic", "kind")}
    assert all(value is not None and value == value.strip() and value for row in rows for value in row.values())
    assert {row["label"] for row in rows} == {"toxic", "not toxic"}
    assert len({row["topic"] for row in rows}) >= 7
    assert min(Counter(row["topic"] for row in rows).values()) >= 40


def test_two_in_five_are_toxic(rows: list[Row]) -> None:
    assert 0.38 <= is_toxic(rows).mean() <= 0.42


def test_at_least_two_in_five_are_hard_and_every_kind_is_there(rows: list[Row]) -> None:
    kinds = Counter(row["kind"] for row in rows)
    assert set(kinds) == HARD_KINDS | {"plain"}
    assert min(kinds.values()) >= 20
    assert 1 - kinds["plain"] / len(rows) >= 0.4


def test_no_two_comments_share_four_fifths_of_their_words(rows: list[Row]) -> None:
    words = [words_of(row) for row in rows]
    rank = Counter(word for own in words for word in own)
    seen: dict[str, list[int]] = defaultdict(list)
    for index, own in enumerate(words):
        # Two sets with Jaccard ≥ 0.8 share a word among the rarest fifth of each (prefix filtering).
        rare = sorted(own, key=lambda word: (rank[word], word))[: len(own) - -(-len(own) * 4 // 5) + 1]
        for other in {other for word in rare for other in seen[word]}:
            jaccard = len(own & words[other]) / len(own | words[other])
            assert jaccard < 0.8, (rows[index]["text"], rows[other]["text"])
        for word in rare:
            seen[word].append(index)


def test_length_alone_tells_nothing(rows: list[Row]) -> None:
    for length in (len, lambda text: len(text.split())):
        assert 0.4 < roc_auc_score(is_toxic(rows), [length(row["text"]) for row in rows]) < 0.6


def test_words_alone_tell_something_but_not_all(rows: list[Row]) -> None:
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    accuracies = cross_val_score(model, [row["text"] for row in rows], is_toxic(rows), cv=folds)
    assert 0.65 < accuracies.mean() < 0.9


def test_nobody_can_be_found_by_them(rows: list[Row]) -> None:
    telling = re.compile(r"https?:|www\.|\w@[\w-]+\.\w|(?<!\w)@\w|\.(com|org|net)\b|\d{6,}|\+\d{2}", re.IGNORECASE)
    assert [row["text"] for row in rows if telling.search(row["text"])] == []
