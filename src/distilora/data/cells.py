"""The lines of a CSV (RFC 4180) that a spreadsheet may open."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence

# What Excel, LibreOffice and Google Sheets take for the start of a formula, also behind characters that nobody sees.
_FORMULA = re.compile(r"[\s\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]*[=+\-@＝＋－＠]")
_CONTROL = ("\t", "\r", "\n")


def safe_cell(value: str) -> str:
    r"""Return the value, with an apostrophe in front where a spreadsheet could take it for a formula.

    Args:
        value: any text.

    Returns:
        ``value`` itself, or ``'`` and ``value`` if it begins with ``=``, ``+``, ``-`` or ``@`` (also their full-width
        forms, also behind blanks or characters that are not seen), with a tab or with a line break.

    Source:
        OWASP, CSV Injection, https://owasp.org/www-community/attacks/CSV_Injection.

    Example:
        >>> safe_cell("=HYPERLINK(A1)"), safe_cell("a = b"), safe_cell("\t@SUM(A1)")
        ("'=HYPERLINK(A1)", 'a = b', "'\t@SUM(A1)")
    """
    return f"'{value}" if value.startswith(_CONTROL) or _FORMULA.match(value) else value


def csv_line(values: Iterable[object]) -> str:
    r"""Return values as one line, its end included; what is absent is empty, and no cell can be taken for a formula.

    Example:
        >>> csv_line(["=A1", 0.5, None, True, -3])
        "'=A1,0.5,,true,-3\r\n"
    """
    line = io.StringIO(newline="")
    csv.writer(line).writerow(map(_cell, values))
    return line.getvalue()


def record_lines(records: Iterable[object], columns: Sequence[str]) -> Iterator[str]:
    """Yield a CSV with a header: these attributes of each record, one string a record, its line end included."""
    yield csv_line(columns)
    for record in records:
        yield csv_line(getattr(record, column) for column in columns)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return safe_cell(value) if isinstance(value, str) else str(value)
