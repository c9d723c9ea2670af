"""The texts that a benchmark runs on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from distilora.data.columns import choose_text
from distilora.data.faults import text_problem
from distilora.data.opening import open_file
from distilora.data.sources import read_comments
from distilora.errors import DataError


def read_texts(source: str, *, text: str | None = None, rows: int = 1000, seed: int = 0) -> list[str]:
    """Return texts drawn at random from a file, each row at most once; all of them where there are no more.

    Rows without a readable text are left out; labels are not looked at.

    Args:
        source: ``sample``, or a CSV, TSV, JSONL or Parquet file.
        text: column of the text; absent: guessed where there is one good guess.
        rows: how many to draw.
        seed: of the draw.

    Raises:
        DataError: the file or its column cannot be used, or no row has a text.
        MissingExtraError: Parquet without pyarrow.

    Example:
        >>> len(read_texts("sample", rows=20))
        20
    """
    texts = list(read_comments("sample").texts if source == "sample" else _texts(source, text=text))
    if not texts:
        raise DataError(f"{source}: no row has a text; give a file with at least one")
    drawn = np.random.default_rng(seed).choice(len(texts), size=min(rows, len(texts)), replace=False)
    return [texts[row] for row in drawn]


def _texts(source: str, *, text: str | None) -> Iterator[str]:
    table = open_file(source)
    for row in table.rows([choose_text(table, text=text)]):
        if row.problem is None:
            (value,) = row.values
            if isinstance(value, str) and text_problem(value) is None:
                yield value
