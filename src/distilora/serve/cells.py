"""What may stand in a cell of a CSV that a spreadsheet opens."""

from __future__ import annotations

import re

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
