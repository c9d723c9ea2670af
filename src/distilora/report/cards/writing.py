"""A card in the folder of each trained model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from distilora.bundles.manifest import CARD_FILE
from distilora.files import write_whole
from distilora.report.cards.front_matter import is_ours
from distilora.report.cards.run_card import run_card
from distilora.report.records import Comparison
from distilora.runs import MODEL_FOLDER, RunRecord, run_folder

_logger = logging.getLogger(__name__)


def write_cards(comparison: Comparison, records: Sequence[RunRecord], folder: Path) -> list[Path]:
    """Write ``METHOD/seed-N/model/README.md`` of each trained model in an experiment; return those written.

    Void runs and baselines have no model and get no card. A card that others wrote stays as it is, and one that cannot
    be written is left out: the log tells of both. The same inputs give the same bytes.

    Args:
        comparison: of these runs.
        records: the finished runs of one experiment.
        folder: of the experiment.
    """
    written = []
    for record in records:
        result = record.result
        run = run_folder(folder, result.method, result.seed)
        path = run / MODEL_FOLDER / CARD_FILE
        if result.kind == "baseline" or result.test is None or not path.parent.is_dir():
            continue
        if _is_foreign(path):
            _logger.warning("%s: not by distilora and left alone; move it away to have a card written there", path)
            continue
        try:
            write_whole(path, run_card(comparison, result, run=run))
        except OSError as error:
            _logger.warning("%s: no card is written: %s", path, error.strerror or error)
            continue
        written.append(path)
    return written


def _is_foreign(path: Path) -> bool:
    try:
        return not is_ours(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, UnicodeDecodeError):
        return True
