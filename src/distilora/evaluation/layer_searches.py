"""The search for a student's layers, as it is kept in the folder of its run."""

from __future__ import annotations

from pathlib import Path

from distilora.evaluation.kept import read_kept
from distilora.files import write_whole
from distilora.models.search_records import LayerSearch

LAYER_SEARCH_FILE = "layer-search.json"


def read_layer_search(run_folder: Path) -> LayerSearch | None:
    """Return how the layers of a run's student were searched, or nothing where they were not.

    Raises:
        RunError: the file is damaged or of a newer format.
    """
    return read_kept(run_folder / LAYER_SEARCH_FILE, LayerSearch)


def write_layer_search(run_folder: Path, search: LayerSearch) -> None:
    """Write how the layers of a run's student were searched into its folder, whole or not at all."""
    write_whole(run_folder / LAYER_SEARCH_FILE, search.model_dump_json(indent=1) + "\n")
