"""Words for what is wrong with a source: one line that says where, what came, what is allowed, what to do."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence

from distilora.data.records import Comments, Fault
from distilora.errors import DataError

MAX_TEXT = 1_000_000
"""Longest text that is accepted, in characters."""
TERMINAL_COMMANDS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Control characters, line separators, and what turns the direction of writing."""
_SHOWN_CHARACTERS = 60
_LISTED_NAMES = 20


def text_problem(value: object) -> str | None:
    """Return what is wrong with a text, or ``None`` if it can be used.

    Args:
        value: one cell of the text column, as the file's reader gave it.

    Example:
        >>> text_problem("  ")
        'text is empty'
        >>> text_problem(5)
        'text is 5; a text must be a string'
    """
    if value is None or value != value:  # noqa: PLR0124 - only NaN, a missing cell of Parquet, differs from itself
        return "text is missing"
    if not isinstance(value, str):
        return f"text is {shown(value)}; a text must be a string"
    if not value.strip():
        return "text is empty"
    if len(value) > MAX_TEXT:
        return f"text has {len(value):,} characters; allowed are {MAX_TEXT:,}"
    return character_problem(value)


def character_problem(text: str) -> str | None:
    r"""Return which character of ``text`` no tokenizer could take, or ``None`` if all are fine.

    Example:
        >>> character_problem("half a smile \ud83d")
        'character 14 is U+D83D, half a surrogate pair; write the whole character'
    """
    if "\0" in text:
        return f"character {text.index(chr(0)) + 1} is NUL; take it out"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as failure:
        code = ord(text[failure.start])
        return f"character {failure.start + 1} is U+{code:04X}, half a surrogate pair; write the whole character"
    return None


def shown(value: object) -> str:
    r"""Return ``value`` for an error message: on one line, shortened, printable.

    Example:
        >>> print(shown("two\nlines"))
        "two\nlines"
    """
    if isinstance(value, str):
        short = value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "…"
        return printable(json.dumps(short, ensure_ascii=False))
    text = " ".join(str(value).split())
    return printable(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")


def printable(text: str) -> str:
    r"""Return ``text`` with lone surrogates and what a terminal takes for commands escaped.

    Example:
        >>> print(printable("\x1b[31mred"))
        \x1b[31mred
    """
    return TERMINAL_COMMANDS.sub(lambda found: found[0].encode("unicode_escape").decode(), encodable(text))


def encodable(text: str) -> str:
    """Return ``text`` with lone surrogates escaped, so that it can be written as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def first_line(failure: BaseException) -> str:
    r"""Return the first line of another library's error, or its kind where it says nothing.

    Example:
        >>> first_line(OSError("no magic bytes\nat all.")), first_line(OSError())
        ('no magic bytes', 'OSError')
    """
    lines = str(failure).strip().splitlines()
    return printable(lines[0].rstrip(".")) if lines else type(failure).__name__


def listed(names: Sequence[str]) -> str:
    """Return names for an error message, a long list cut short.

    Example:
        >>> listed(["hate", "offensive"])
        'hate, offensive'
    """
    rest = len(names) - _LISTED_NAMES
    more = f", … and {rest} more" if rest > 0 else ""
    return printable(", ".join(names[:_LISTED_NAMES])) + more


def nearest(word: str, allowed: Sequence[str]) -> str:
    """Return a question that offers the nearest of ``allowed``, or nothing where none is near.

    Example:
        >>> nearest("tweeet", ["tweet", "class"])
        '; did you mean "tweet"?'
    """
    folded = {name.casefold(): name for name in reversed(allowed)}
    close = difflib.get_close_matches(word.casefold(), list(folded), n=1)
    return f'; did you mean "{printable(folded[close[0]])}"?' if close else ""


def fault_line(source: str, fault: Fault) -> str:
    """Return a fault as one line that says where it is.

    Example:
        >>> fault_line("comments.csv", Fault(812, "text is empty"))
        'comments.csv row 812: text is empty'
    """
    where = source if fault.row is None else f"{source} row {fault.row}"
    return f"{where}: {fault.problem}"


def refuse_faults(comments: Comments) -> None:
    """Raise DataError if any row cannot be used: the first fault, how many there are, and the two ways on."""
    if not comments.faults:
        return
    rows = len(comments) + len(comments.faults)
    raise DataError(
        f"{fault_line(comments.source, comments.faults[0])}; {len(comments.faults):,} of {rows:,} rows cannot be used: "
        f"see them with distilora data {comments.source}, or leave them out with --set data.faults=skip"
    )
