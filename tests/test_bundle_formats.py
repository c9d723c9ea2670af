"""Bundles that were written long ago still open, and still say what they said."""

from __future__ import annotations

from pathlib import Path

import pytest

from distilora.bundles.bundle import open_bundle

# Never made again: they stand for the bundles that users keep.
FIXTURES = Path(__file__).parent / "fixtures"

FORMAT_1 = [
    # Its likeliest class is civil, but rude and hateful together reach the threshold of 0.45.
    ("thank you, what a lovely day!", "rude", (0.495007, 0.283974, 0.221019), False),
    ("please say it with more words: my dog is not very good", "hateful", (0.234469, 0.051525, 0.714006), True),
    ("no", "civil", (0.866481, 0.055745, 0.077774), False),
]


@pytest.mark.parametrize(("text", "label", "probabilities", "cut"), FORMAT_1)
def test_a_bundle_of_format_1_says_what_it_said_when_it_was_written(
    text: str, label: str, probabilities: tuple[float, ...], cut: bool
) -> None:
    (answer,) = open_bundle(FIXTURES / "bundle-format-1", threads=1).predict([text])
    assert (answer.label, answer.cut) == (label, cut)
    assert list(answer.probabilities) == ["civil", "rude", "hateful"]
    assert tuple(answer.probabilities.values()) == pytest.approx(probabilities, abs=1e-5)
