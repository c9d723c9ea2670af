"""What a person filled in, read from the pages' forms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import get_args

from pydantic import ValidationError
from starlette.datastructures import FormData
from starlette.requests import Request

from distilora.bundles.tokens import LongTexts
from distilora.serve.problems import Problem
from distilora.serve.records import FeedbackRequest

_LINE_END = re.compile("\r\n|\r")


class FieldProblem(Problem):
    """A value of a form that is not allowed; the page says so beside the field.

    Args:
        field: name of the field.
        detail: what is wrong and what is allowed, as a sentence for people.
    """

    def __init__(self, field: str, detail: str) -> None:
        super().__init__("invalid", detail, errors=({"where": field, "problem": detail},))


@dataclass(frozen=True)
class CommentForm:
    """The form of the first page, as it was filled in."""

    text: str = ""
    model: str | None = None
    threshold: str = ""
    long_texts: LongTexts = "truncate"
    ask: str = "predict"
    """What the button that was pressed asks for: ``predict``, ``compare`` or ``explain``."""

    def number(self) -> float | None:
        """Return the threshold; absent where none was given."""
        return threshold_of(self.threshold)


async def read_form(request: Request) -> dict[str, str]:
    r"""Return the fields of a form by name; of several with one name the last, and no files.

    Line ends are ``\n``: a browser sends a text's line breaks as ``\r\n`` whatever they were.
    """
    async with request.form() as form:
        return _plain(form)


def comment_form(fields: dict[str, str]) -> CommentForm:
    """Return the first page's form; what is not among the choices counts as not chosen."""
    long_texts = fields.get("long_texts", "")
    ask = fields.get("ask", "")
    return CommentForm(
        text=fields.get("text", ""),
        model=fields.get("model") or None,
        threshold=fields.get("threshold", "").strip(),
        long_texts="windows" if long_texts == "windows" else get_args(LongTexts)[0],
        ask=ask if ask in {"compare", "explain"} else "predict",
    )


def threshold_of(written: str) -> float | None:
    """Return a threshold as a person writes it, with a point or a comma; absent where nothing is written.

    Raises:
        FieldProblem: it is no number from 0 to 1.

    Example:
        >>> threshold_of("0,4"), threshold_of(".5"), threshold_of(" ")
        (0.4, 0.5, None)
    """
    if not written.strip():
        return None
    try:
        number = float(written.strip().replace(",", "."))
    except ValueError:
        number = -1
    if not 0 <= number <= 1:
        raise FieldProblem("threshold", "The threshold must be a number from 0 to 1, such as 0.5, or empty.")
    return number


def judgement(fields: dict[str, str]) -> FeedbackRequest:
    """Return what a person said of a prediction.

    Raises:
        FieldProblem: the note is too long, or the threshold no number.
    """
    try:
        return FeedbackRequest(
            text=fields.get("text", ""),
            label=fields.get("label", ""),
            model=fields.get("model") or None,
            threshold=threshold_of(fields.get("threshold", "")),
            note=fields.get("note", "").strip() or None,
        )
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = str(first["loc"][0])
        raise FieldProblem(where, f"{where}: {first['msg']}") from None


def _plain(form: FormData) -> dict[str, str]:
    return {name: _LINE_END.sub("\n", value) for name, value in form.multi_items() if isinstance(value, str)}
