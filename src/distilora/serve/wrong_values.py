"""What is wrong with a request's values, in plain words that never hold the values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "holds an unknown field",
    "string_type": "must be text",
    "string_unicode": "holds half a surrogate pair, which is no character",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
}
_BRANCHES = frozenset(("str", "list[str]", "int", "float", "bool", "constrained-str"))
"""What pydantic adds to a place to say which alternative of a type it tried."""


def wrong_values(errors: Sequence[Mapping[str, Any]]) -> tuple[dict[str, str], ...]:
    """Return where each wrong value stands and what is allowed there.

    Args:
        errors: as pydantic tells them.

    Example:
        >>> wrong_values([{"loc": ("body", "threshold"), "type": "less_than_equal", "ctx": {"le": 1.0}}])
        ({'where': 'threshold', 'problem': 'must be at most 1.0'},)
    """
    found: dict[str, list[str]] = {}
    for error in errors:
        words = found.setdefault(_place(error), [])
        word = _word(error)
        if word not in words:
            words.append(word)
    return tuple(
        {"where": where, "problem": _joined(words)}
        for where, words in found.items()
        # What is wrong inside a value says that the value itself is of an alternative that is right.
        if not any(other.startswith(f"{where}.") for other in found)
    )


def _place(error: Mapping[str, Any]) -> str:
    """Return the path to a value; the name of an unknown field came from the client, so it is left away."""
    part, *path = error["loc"]
    if error["type"] == "extra_forbidden":
        path = path[:-1]
    keys = [str(key) for key in path if key not in _BRANCHES]
    return ".".join(keys if part == "body" else [str(part), *keys]) or str(part)


def _word(error: Mapping[str, Any]) -> str:
    pattern = _WORDS.get(error["type"])
    return pattern.format(**error.get("ctx", {})) if pattern else "is not allowed"


def _joined(words: Sequence[str]) -> str:
    """Return alternatives as one sentence: "must be text or a list"."""
    return " or ".join([words[0], *(word.removeprefix("must be ") for word in words[1:])])
