"""The files that a search leaves: ``tuned.toml``, an experiment to run next, and ``tuning.json``, every trial."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from distilora.config import ExperimentSettings, to_toml, validated
from distilora.config.base import Table, merged
from distilora.data.faults import first_line
from distilora.errors import RunError
from distilora.files import write_whole
from distilora.tuning.records import MethodSearch, Tuning

TRIALS_FILE = "tuning.json"
TUNED_FILE = "tuned.toml"
_HEAD = re.compile(r"# Written by distilora tune; sha256 of the lines below: ([0-9a-f]{64})\n")


def require_own_files(folder: Path) -> None:
    """Refuse a folder whose files of these names were not written by a search, or were changed since.

    Raises:
        RunError: one of them would be lost.
    """
    trials, tuned = folder / TRIALS_FILE, folder / TUNED_FILE
    if trials.exists():
        try:
            Tuning.model_validate_json(trials.read_bytes())
        except (OSError, ValidationError) as error:
            raise RunError(
                f"{trials}: not the trials of a search that this version can read: {first_line(error)}; "
                "take it away or give another --out"
            ) from None
    if tuned.exists() and not _is_as_written(tuned):
        raise RunError(f"{tuned}: was changed since it was written, and would be lost; take it away or rename it")


def write_tuning(folder: Path, tuning: Tuning, settings: ExperimentSettings) -> Path | None:
    """Write every trial, and an experiment with the best settings of each method; return the latter's path.

    Args:
        folder: of the search.
        tuning: what was found.
        settings: of the experiment that was searched.

    Returns:
        Nothing where no method had a trial that came to its end, so that there are no best settings.

    Raises:
        RunError: there is a file in the place that was not written by a search.
    """
    require_own_files(folder)
    write_whole(folder / TRIALS_FILE, tuning.model_dump_json(indent=1) + "\n")
    found = [search for search in tuning.searches if search.settings is not None]
    if not found:
        return None
    body = to_toml(tuned_experiment(settings, found))
    digest = hashlib.sha256(body.encode()).hexdigest()
    write_whole(folder / TUNED_FILE, f"# Written by distilora tune; sha256 of the lines below: {digest}\n{body}")
    return folder / TUNED_FILE


def tuned_experiment(settings: ExperimentSettings, searches: Sequence[MethodSearch]) -> Table:
    """Return the tables of an experiment that compares each method with itself at its best settings.

    Args:
        settings: of the experiment that was searched: its data, encoder, shared tables and methods go on to hold.
        searches: of the methods; those without best settings must be left out.
    """
    given = settings.model_dump(mode="json", exclude_defaults=True, exclude={"run", "seeds"})
    tuned = {search.tuned: {"like": search.method, **(search.settings or {})} for search in searches}
    table = {
        "run": [name for search in searches for name in (search.method, search.tuned)],
        "seeds": list(settings.seeds),
        **merged(
            {"data": {"source": settings.data.source}, "encoder": {"name": settings.encoder.name}},
            merged(given, {"methods": tuned}),
        ),
    }
    validated(ExperimentSettings, table, where=TUNED_FILE)
    return table


def _is_as_written(path: Path) -> bool:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    head = _HEAD.match(text)
    return head is not None and hashlib.sha256(text[head.end() :].encode()).hexdigest() == head[1]
