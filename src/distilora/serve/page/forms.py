"""What a person filled in, read from the pages' forms."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import ValidationError
from starlette.requests import Request

from distilora.bundles.tokens import LongTexts
from distilora.serve.checks import Fault, refusal, refused
from distilora.serve.records import FeedbackRequest

_LINE_END = re.compile("\r\n|\r")


@dataclass(frozen=True)
class CommentForm:
    """The form of the first page, as it was filled in."""

    text: str = ""
    model: str | None = None
    threshold: str = ""
    long_texts: LongTexts = "truncate"
    ask: str = "predict"
    """What the button that was pressed asks for: ``predict``, ``compare`` or ``explain``."""


async def read_form(request: Request) -> dict[str, str]:
    r"""Return the fields of a form by name; of several with one name the last, and no files.

    Line ends are ``\n``: a browser sends a text's line breaks as ``\r\n`` whatever they were.
    """
    async with request.form() as form:
        return {name: _LINE_END.sub("\n", value) for name, value in form.multi_items() if isinstance(value, str)}


def comment_form(fields: dict[str, str]) -> CommentForm:
    """Return the first page's form; what is not among the choices counts as not chosen."""
    ask = fields.get("ask", "")
    return CommentForm(
        text=fields.get("text", ""),
        model=fields.get("model") or None,
        threshold=fields.get("threshold", "").strip(),
        long_texts="windows" if fields.get("long_texts") == "windows" else "truncate",
        ask=ask if ask in {"compare", "explain"} else "predict",
    )


def threshold_of(written: str) -> float | None:
    """Return a threshold as a person writes it, with a point or a comma; absent where nothing is written.

    Raises:
        Problem: ``invalid``, where it is no number from 0 to 1.

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
        raise refusal([Fault("threshold", "must be a number from 0 to 1, such as 0.5, or empty")])
    return number


def judgement(fields: dict[str, str]) -> FeedbackRequest:
    """Return what a person said of a prediction.

    Raises:
        Problem: ``invalid``, where the note is too long, or the threshold no number.
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
        raise refused(error, record=FeedbackRequest) from None
