"""Texts as token ids: verified bytes of a tokenizer in, pieces that fit the model out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from distilora.data.faults import first_line
from distilora.errors import BundleError

LongTexts = Literal["truncate", "windows"]
_PROBES = 100


@dataclass(frozen=True, eq=False)
class Pieces:
    """What a model is given of some texts: of each its beginning, or windows that cover it; special tokens included."""

    ids: NDArray[np.int64]
    """Of all pieces, one behind the other, shape (tokens,)."""
    starts: NDArray[np.int64]
    """Where each piece begins in ``ids``, shape (pieces,)."""
    lengths: NDArray[np.int64]
    """Tokens of each piece, shape (pieces,)."""
    texts: NDArray[np.int64]
    """Which text each piece is of, ascending, shape (pieces,)."""
    tokens: NDArray[np.int64]
    """Of each whole text, shape (texts,)."""
    cut: NDArray[np.bool_]
    """Whether a text is longer than one piece, shape (texts,)."""


class TextEncoder:
    """A tokenizer whose texts fit a model.

    Args:
        content: the bytes of a ``tokenizer.json``; its own truncation and padding are not used.
        max_length: longest piece in tokens, special tokens included.
        where: how error messages name the file.

    Raises:
        BundleError: no tokenizer can be made of it, or none that puts special tokens around those of a text.
    """

    def __init__(self, content: bytes, *, max_length: int, where: str) -> None:
        with _refused(f"{where}: the tokenizers library cannot open it"):
            self._tokenizer = Tokenizer.from_buffer(content)
        self._where = where
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._before, self._after = self._special_tokens()
        if not self._before and not self._after:
            raise BundleError(f"{where}: adds no special tokens, so an empty text would leave the model no input")
        self._room = max_length - len(self._before) - len(self._after)
        overlap = max_length // 4
        self._step = self._room - overlap
        # With steps much shorter than windows, a text would become many times as many tokens.
        if self._step < max(1, overlap):
            raise BundleError(f"{where}: its special tokens leave no room in {max_length} tokens")

    @property
    def largest_id(self) -> int:
        """Return the largest id that a text can be given."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values())

    def encode(self, texts: Sequence[str], *, long_texts: LongTexts = "truncate") -> Pieces:
        """Return texts as pieces of at most ``max_length`` tokens.

        Args:
            texts: any strings; surrogates that are no half of a pair stand for nothing and count as U+FFFD.
            long_texts: of a text with too many tokens, keep the first (``truncate``), or cover it by full windows
                that overlap by a quarter of ``max_length``, the last one shorter (``windows``).

        Raises:
            BundleError: the tokenizer cannot encode a text.
        """
        before, after, room = self._before, self._after, self._room
        specials = len(before) + len(after)
        ids: list[int] = []
        sizes: list[int] = []
        owners: list[int] = []
        tokens: list[int] = []
        for text, body in enumerate(self._bodies(texts)):
            tokens.append(len(body) + specials)
            for start in self._window_starts(len(body), long_texts):
                piece = body[start : start + room]
                ids += before
                ids += piece
                ids += after
                sizes.append(len(piece) + specials)
                owners.append(text)
        lengths, whole = np.array(sizes, dtype=np.int64), np.array(tokens, dtype=np.int64)
        return Pieces(
            ids=np.array(ids, dtype=np.int64),
            starts=lengths.cumsum() - lengths,
            lengths=lengths,
            texts=np.array(owners, dtype=np.int64),
            tokens=whole,
            cut=whole > room + specials,
        )

    def _window_starts(self, tokens: int, long_texts: LongTexts) -> Sequence[int]:
        if tokens <= self._room or long_texts == "truncate":
            return (0,)
        return range(0, tokens - self._room + self._step, self._step)

    def _bodies(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text without special tokens."""
        with _refused(f"{self._where}: cannot encode a text"):
            try:
                return self._encoded(texts)
            except TypeError:  # said of surrogates
                return self._encoded([without_surrogates(text) for text in texts])

    def _encoded(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def _special_tokens(self) -> tuple[list[int], list[int]]:
        """Return the special tokens that stand before and after each text."""
        for probe in ("a", *list(self._tokenizer.get_vocab())[:_PROBES]):
            body = self._bodies([probe])[0]
            with _refused(f"{self._where}: cannot put special tokens around a text"):
                whole = self._tokenizer.encode(probe)
            before = [*whole.special_tokens_mask, 0].index(0)
            if body and whole.ids[before : before + len(body)] == body:
                return whole.ids[:before], whole.ids[before + len(body) :]
        raise BundleError(f"{self._where}: makes no tokens of texts")


@contextmanager
def _refused(line: str) -> Iterator[None]:
    """Raise whatever the tokenizers library raises as a BundleError of one line."""
    try:
        yield
    except BaseException as error:
        # Where its Rust code panics, the error is no Exception, and of a class that cannot be imported.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise BundleError(f"{line}: {first_line(error)}") from None


def without_surrogates(text: str) -> str:
    r"""Return the text with surrogate pairs joined and lone surrogates replaced by U+FFFD.

    Example:
        >>> without_surrogates("\ud83d\ude00 \ud83d!").encode("unicode_escape")
        b'\\U0001f600 \\ufffd!'
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
