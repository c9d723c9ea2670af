"""Labels as a source writes them, their names, and the order of the names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from distilora.data.faults import TERMINAL_COMMANDS, character_problem, listed, shown

MAX_CLASSES = 1000
"""More different labels than this mean that another column was taken for the label."""
_MAX_NAME = 200
_INTEGER = re.compile(r"([+-]?[0-9]{1,18})(?:\.0*)?")
_FRACTION = re.compile(r"[+-]?[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?")
_BOOLEANS = {"false": 0, "true": 1}


@dataclass(frozen=True)
class LabelCodes:
    """What each different label of a source means."""

    names: tuple[str, ...]
    """Those that some row has, in their order."""
    codes: Mapping[str, int]
    """Index into ``names`` by the label as written."""
    problems: Mapping[str, str]
    """What is wrong, by the label as written; no label is in both."""
    unused: tuple[str, ...]
    """Names that no row has."""


def written_label(value: object) -> str | None:
    """Return one cell of the label column as text, or ``None`` if it is missing.

    Whole numbers are written without a point, so that 1, 1.0 and "1.0" are one label.

    Example:
        >>> written_label(1.0), written_label(" 1.0 "), written_label(True), written_label("")
        ('1', '1', 'true', None)
    """
    if value is None or value != value:  # noqa: PLR0124 - only NaN, a missing cell of Parquet, differs from itself
        return None
    text = str(value).lower() if isinstance(value, bool) else str(value).strip()
    whole = _INTEGER.fullmatch(text)
    return str(int(whole[1])) if whole else text or None


def name_labels(written: Collection[str], *, given: Mapping[str, str]) -> LabelCodes:
    """Return the class names of a source and the index of each label.

    Integers are ordered by number, names alphabetically; with ``given`` of integers, names are in their order.

    Args:
        written: the different labels of the usable rows, from :func:`written_label`.
        given: name by label, such as ``{"0": "civil"}``; empty: integers are called by their digits.

    Example:
        >>> name_labels({"1", "0"}, given={"0": "civil", "1": "toxic"}).names
        ('civil', 'toxic')
        >>> name_labels({"7"}, given={"0": "civil", "1": "toxic"}).problems["7"]
        'label "7" is not one of 0 = civil, 1 = toxic'
    """
    problems = {label: problem for label in written if (problem := _problem(label))}
    usable = [label for label in written if label not in problems]
    if given:
        keys = {written_label(key) or "": name for key, name in given.items()}
        named = {label: name for label in usable if (name := _given_name(label, keys)) is not None}
        problems |= {label: _unknown(label, keys) for label in usable if label not in named}
        order = _ordered_names(keys)
    else:
        named = _own_names(usable)
        order = list(dict.fromkeys(named[label] for label in _ordered(usable)))
    used = set(named.values())
    names = tuple(name for name in order if name in used)
    index = {name: code for code, name in enumerate(names)}
    codes = {label: index[name] for label, name in named.items()}
    return LabelCodes(names, codes, problems, tuple(name for name in order if name not in used))


def _problem(label: str) -> str | None:
    if _FRACTION.fullmatch(label):
        return f"label {label} is a fraction; labels are whole numbers or names"
    if len(label) > _MAX_NAME:
        return f"label {shown(label)} has {len(label):,} characters; allowed are {_MAX_NAME}"
    wrong = character_problem(label)
    if wrong is None and TERMINAL_COMMANDS.search(label):
        wrong = "control characters and line breaks are not allowed in the name of a class"
    return f"label {shown(label)}: {wrong}" if wrong else None


def _given_name(label: str, keys: Mapping[str, str]) -> str | None:
    """Return the name of a label by its key, by its name, or by the number that a true or false stands for."""
    if label in keys:
        return keys[label]
    if label in keys.values():
        return label
    folded = label.casefold()
    if folded in _BOOLEANS:
        by_word = {key.casefold(): name for key, name in keys.items()}
        return by_word.get(folded, keys.get(str(_BOOLEANS[folded])))
    return None


def _own_names(labels: Sequence[str]) -> dict[str, str]:
    truths = all(label.casefold() in _BOOLEANS for label in labels)
    return {label: label.casefold() if truths else label for label in labels}


def _unknown(label: str, keys: Mapping[str, str]) -> str:
    number = _INTEGER.fullmatch(label)
    allowed = [f"{key} = {keys[key]}" for key in _ordered(keys)] if number else _ordered_names(keys)
    return f"label {shown(label)} is not one of {listed(allowed)}"


def _ordered_names(keys: Mapping[str, str]) -> list[str]:
    names = [keys[key] for key in _ordered(keys)] if _all_integers(keys) else sorted(keys.values())
    return list(dict.fromkeys(names))


def _ordered(labels: Collection[str]) -> list[str]:
    return (
        sorted(labels, key=int)
        if _all_integers(labels)
        else sorted(labels, key=lambda label: (label.casefold(), label))
    )


def _all_integers(labels: Collection[str]) -> bool:
    return all(_INTEGER.fullmatch(label) for label in labels)
