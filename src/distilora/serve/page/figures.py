"""How numbers and other values are written on the pages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

_BYTES_PER_MB = 1_000_000
_MINUS = "−"


def share(value: float) -> str:
    """Return a probability or a score with three digits; what is not quite 0 or 1 does not say so.

    Example:
        >>> share(0.5), share(0.99999), share(0.0001), share(1.0)
        ('0.500', '> 0.999', '< 0.001', '1.000')
    """
    if 0.9995 <= value < 1:
        return "> 0.999"
    if 0 < value < 0.0005:
        return "< 0.001"
    return f"{value:.3f}"


def signed(value: float) -> str:
    """Return a difference of probabilities with its sign.

    Example:
        >>> signed(0.25), signed(-0.25), signed(0.0001)
        ('+0.250', '−0.250', '0.000')
    """
    rounded = round(value, 3)
    if rounded == 0:
        return "0.000"
    return f"{'+' if rounded > 0 else _MINUS}{abs(rounded):.3f}"


def percent(value: float) -> str:
    """Return a share as the width or the place of something drawn.

    Example:
        >>> percent(0.125), percent(0)
        ('12.5%', '0%')
    """
    return f"{round(100 * value, 2):g}%"


def megabytes(size_bytes: int) -> str:
    """Return a size in MB of 10^6 bytes, as the reports count them.

    Example:
        >>> megabytes(17_600_000), megabytes(1_200)
        ('18 MB', '0.1 MB')
    """
    size = size_bytes / _BYTES_PER_MB
    return f"{size:.0f} MB" if size >= 10 else f"{max(size, 0.1):.1f} MB"


def grouped(number: int) -> str:
    """Return a count with a thin space between thousands.

    Example:
        >>> grouped(20000) == "20\N{NARROW NO-BREAK SPACE}000"
        True
    """
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def short_id(bundle: str) -> str:
    """Return the beginning of a bundle's id, enough to tell it from others."""
    return bundle[:12]


def moment(created: str) -> str:
    """Return a time in UTC to the minute; what is no time stays as it is.

    Example:
        >>> moment("2026-11-21T03:41:06.123456+00:00")
        '2026-11-21 03:41'
    """
    try:
        return datetime.fromisoformat(created).strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return created


def full_sentence(text: str) -> str:
    """Return a problem's detail as people write a sentence.

    Example:
        >>> full_sentence("no answer within 10 s")
        'No answer within 10 s.'
    """
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


FILTERS: tuple[Callable[..., str], ...] = (
    share,
    signed,
    percent,
    megabytes,
    grouped,
    short_id,
    moment,
    full_sentence,
)
"""The templates use them by their names."""
