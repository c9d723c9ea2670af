"""What is asked is held against what is allowed, before any model runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from distilora.data.faults import listed
from distilora.serve.catalog import ServedModel
from distilora.serve.problems import Problem
from distilora.serve.settings import Limits
from distilora.serve.wrong_values import wrong_values

_MOST_ERRORS = 20


class Fault(NamedTuple):
    """One place of a request that is wrong; neither part holds what came, for that may be a comment."""

    where: str
    """Names and positions from 0, with dots between: ``texts.3``."""
    problem: str


def refusal(faults: Sequence[Fault]) -> Problem:
    """Return the problem ``invalid`` that names these places, the first 20 of them.

    Args:
        faults: one or more.

    Example:
        >>> refusal([Fault("texts.0", "is empty"), Fault("texts.4", "is empty")]).detail
        'texts.0: is empty (and 1 more)'
    """
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return Problem(
        "invalid",
        f"{faults[0].where}: {faults[0].problem}{more}",
        errors=tuple(fault._asdict() for fault in faults[:_MOST_ERRORS]),
    )


def refused(error: ValidationError, *, record: type[BaseModel]) -> Problem:
    """Return what is wrong with a body, without anything of what came.

    Args:
        error: of pydantic.
        record: that was asked for.
    """
    found = error.errors(include_url=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return Problem("malformed", f"the body is no JSON in UTF-8: {found[0]['ctx']['error']}")
    known = [{**each, "loc": ("body", *each["loc"])} for each in found if each["type"] != "extra_forbidden"]
    faults = [Fault(**each) for each in wrong_values(known)]
    if len(known) < len(found):  # which names came is not told
        faults.append(Fault("body", f"holds an unknown field; allowed are {', '.join(record.model_fields)}"))
    return refusal(faults)


def check_texts(texts: str | Sequence[str], *, limits: Limits) -> None:
    """Refuse a text, or a list of them, that is empty or too long, or that holds a text which is.

    Raises:
        Problem: ``invalid``, with the position of every text that is wrong.
    """
    if isinstance(texts, str):
        check_text(texts, limits=limits, where="texts")
        return
    if not texts:
        raise refusal([Fault("texts", f"is an empty list; give 1 to {limits.texts:,} texts")])
    if len(texts) > limits.texts:
        raise refusal([Fault("texts", f"{len(texts):,} texts came; at most {limits.texts:,} are allowed in a request")])
    faults = [
        Fault(f"texts.{index}", problem)
        for index, text in enumerate(texts)
        for problem in _wrong_with(text, limits=limits)
    ]
    if faults:
        raise refusal(faults)


def check_text(text: str, *, limits: Limits, where: str = "text") -> None:
    """Refuse one text that is blank or too long.

    Raises:
        Problem: ``invalid``.
    """
    for problem in _wrong_with(text, limits=limits):
        raise refusal([Fault(where, problem)])


def _wrong_with(text: str, *, limits: Limits) -> Iterator[str]:
    if not text or text.isspace():
        yield "is empty, or holds nothing but white space"
    elif len(text) > limits.characters:
        yield f"{len(text):,} characters came; at most {limits.characters:,} are allowed in a text"


def check_threshold(threshold: float | None, *, model: ServedModel) -> None:
    """Refuse a threshold that is no probability, or for a model that has no use for one.

    Raises:
        Problem: ``invalid``.
    """
    if threshold is None:
        return
    if not 0 <= threshold <= 1:
        raise refusal([Fault("threshold", "must be from 0 to 1")])
    if not model.bundle.manifest.positive:
        problem = f"the model {model.name} has no positive classes, so a threshold means nothing; leave it out"
        raise refusal([Fault("threshold", problem)])


def check_label(label: str, *, model: ServedModel) -> None:
    """Refuse a label that the model does not know.

    Raises:
        Problem: ``invalid``.
    """
    if label not in model.bundle.labels:
        allowed = listed(model.bundle.labels)
        raise refusal([Fault("label", f"is not one of the labels of the model {model.name}: {allowed}")])


def check_storable(text: str, *, where: str) -> None:
    """Refuse what a database cannot hold as text.

    Raises:
        Problem: ``invalid``.

    Source:
        PostgreSQL, §8.3: the character with code zero cannot be stored,
        https://www.postgresql.org/docs/current/datatype-character.html.
    """
    if "\0" in text:
        raise refusal([Fault(where, "holds the character NUL (U+0000), which a database cannot store")])
