"""Files of what was measured once: read again, and what is said of one that cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from distilora.data.faults import first_line, shown
from distilora.errors import RunError
from distilora.records import Record

_ADVICE = "; delete it and compare again"
Kept = TypeVar("Kept", bound=Record)


def read_kept(path: Path, record: type[Kept]) -> Kept | None:
    """Return the record in a file, or nothing where there is no file.

    Args:
        path: of JSON.
        record: what it holds.

    Raises:
        RunError: the file is damaged or of a newer format.
    """
    if not path.exists():
        return None
    try:
        return record.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as failure:
        raise unreadable(path, failure) from None


def unreadable(path: Path, failure: Exception) -> RunError:
    """Return the error on a file that cannot be read: which it is, why, and what to do about it."""
    return RunError(f"{path}: not readable: {_reason(failure)}{_ADVICE}")


def measured_anew(damaged: RunError) -> str:
    """Return the same line as :func:`unreadable`, where what stood in the file is measured again.

    Example:
        >>> measured_anew(unreadable(Path("costs.json"), OSError(5, "Input/output error")))
        'costs.json: not readable: Input/output error; it is measured anew'
    """
    return f"{str(damaged).removesuffix(_ADVICE)}; it is measured anew"


def _reason(failure: Exception) -> str:
    if isinstance(failure, ValidationError):
        first = failure.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if place == "format":
            return f"its format is {shown(first['input'])}, which this version of distilora does not know"
        return first_line(ValueError(f"{place}: {first['msg']}" if place else first["msg"]))
    if isinstance(failure, OSError) and failure.strerror:
        return failure.strerror
    return f"{failure} is missing" if isinstance(failure, KeyError) else first_line(failure)
