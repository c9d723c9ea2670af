"""The two forms of an answer to a file: JSON lines as the work goes on, and a CSV to download."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from distilora.bundles.predictions import Answer, Predictions
from distilora.data.cells import csv_line
from distilora.scoring.forms import as_json
from distilora.scoring.reading import Reject
from distilora.scoring.writing import added_columns
from distilora.serve.answers import DIGITS
from distilora.serve.files.spooling import Part
from distilora.serve.problems import Problem


class Start(NamedTuple):
    """What is known before the first row is answered."""

    rows: int
    columns: Sequence[str]
    text_column: str
    model: str
    bundle: str
    labels: Sequence[str]
    positive: Sequence[str]
    """Those of the labels that are positive; where none is, there is no probability of them."""
    threshold: float | None


class Writer(Protocol):
    """One form of the answer; every method returns bytes of it."""

    media_type: str
    says_end: bool
    """Whether the form itself shows that the answer is whole."""

    def start(self, start: Start) -> bytes:
        """Return what stands before the first row."""

    def part(self, part: Part, predictions: Predictions | None) -> bytes:
        """Return rows; predictions are absent where no row has a text."""

    def end(self, *, rows: int, answered: int, seconds: float) -> bytes:
        """Return what stands behind the last row."""

    def problem(self, problem: Problem) -> bytes:
        """Return what stands where the work failed."""


def writer_for(form: Literal["ndjson", "csv"]) -> Writer:
    """Return what writes one form."""
    return JsonLines() if form == "ndjson" else Csv()


class JsonLines:
    """One object a line; its ``kind`` says what it is."""

    media_type = "application/x-ndjson"
    says_end = True

    def start(self, start: Start) -> bytes:
        """Return the line ``start``."""
        return _line("start", start._asdict())

    def part(self, part: Part, predictions: Predictions | None) -> bytes:
        """Return a line ``reject`` for each row that cannot be read, and one line ``answers`` for the others."""
        rejects = [_line("reject", _reject(reject)) for reject in part.rejects]
        rows = zip(part.numbers, part.texts, predictions or (), strict=True)
        answers = [_answer(row, text, answer) for row, text, answer in rows]
        return b"".join([*rejects, _line("answers", {"done": part.done, "answers": answers})])

    def end(self, *, rows: int, answered: int, seconds: float) -> bytes:
        """Return the line ``end``."""
        table = {"rows": rows, "answered": answered, "rejected": rows - answered, "seconds": round(seconds, 3)}
        return _line("end", table)

    def problem(self, problem: Problem) -> bytes:
        """Return the line ``problem``, with the members of RFC 9457."""
        return _line("problem", problem.as_table())


def _line(kind: str, table: Mapping[str, object]) -> bytes:
    return f"{as_json({'kind': kind, **table})}\n".encode()


def _reject(reject: Reject) -> dict[str, object]:
    return {"row": reject.row, "place": reject.place, "problem": reject.problem}


def _answer(row: int, text: str, answer: Answer) -> dict[str, object]:
    positive = answer.positive_probability
    return {
        "row": row,
        "text": text,
        "label": answer.label,
        "probabilities": [round(share, DIGITS) for share in answer.probabilities.values()],
        "positive_probability": None if positive is None else round(positive, DIGITS),
        "cut": answer.cut,
    }


class Csv:
    """RFC 4180 in UTF-8; no cell can be taken for a formula. Rows that cannot be read say why in ``problem``."""

    media_type = "text/csv; charset=utf-8"
    says_end = False

    def __init__(self) -> None:
        self._added = 0

    def start(self, start: Start) -> bytes:
        """Return the header."""
        added = added_columns(start.labels, positive=bool(start.positive)).names
        self._added = len(added)
        return _bytes([["row", "text", *added, "problem"]])

    def part(self, part: Part, predictions: Predictions | None) -> bytes:
        """Return one row for each of the file, in its order."""
        rows = {reject.row: self._rejected(reject.row, reject.problem) for reject in part.rejects}
        for row, text, answer in zip(part.numbers, part.texts, predictions or (), strict=True):
            rows[row] = [row, text, *_cells(answer), None]
        return _bytes([rows[row] for row in sorted(rows)])

    def end(self, **_: float) -> bytes:
        """Return nothing: a CSV ends with its last row."""
        return b""

    def problem(self, problem: Problem) -> bytes:
        """Return a row that says so."""
        return _bytes([self._rejected(None, f"the rest is missing: {problem.detail}")])

    def _rejected(self, row: int | None, problem: str) -> list[object]:
        return [row, *[None] * (1 + self._added), problem]


def _cells(answer: Answer) -> list[object]:
    shares = [*answer.probabilities.values()]
    if answer.positive_probability is not None:
        shares.append(answer.positive_probability)
    return [answer.label, *(f"{share:.{DIGITS}f}" for share in shares), answer.cut]


def _bytes(rows: Sequence[Sequence[object]]) -> bytes:
    return "".join(map(csv_line, rows)).encode("utf-8", "backslashreplace")
