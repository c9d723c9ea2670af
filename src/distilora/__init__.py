"""distilora: which small text classifier should I ship, answered with evidence.

The same as on the command line, from Python; nothing heavy is imported before it is used:

>>> import distilora
>>> settings = distilora.read_experiment(assignments=["run=odd", "seeds=0,1,2"])
>>> settings.method_names
('teacher', 'odd')
>>> comments = distilora.read_comments("sample")
>>> comments.label_names
('not toxic', 'toxic')
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distilora.api import Outcome, compare
    from distilora.bundles.bundle import open_bundle
    from distilora.config import ExperimentSettings, read_experiment
    from distilora.data.inspection import inspect_comments
    from distilora.data.sources import read_comments
    from distilora.data.splits import split_comments
    from distilora.errors import DistiloraError
    from distilora.report import write_report
    from distilora.runs import load_experiment
    from distilora.scoring.scoring import score_file

# ONNX Runtime 1.29 and later else reports its use to its makers, from here too; it looks when it is first imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "DistiloraError": "distilora.errors",
    "ExperimentSettings": "distilora.config",
    "Outcome": "distilora.api",
    "compare": "distilora.api",
    "inspect_comments": "distilora.data.inspection",
    "load_experiment": "distilora.runs",
    "open_bundle": "distilora.bundles.bundle",
    "read_comments": "distilora.data.sources",
    "read_experiment": "distilora.config",
    "score_file": "distilora.scoring.scoring",
    "split_comments": "distilora.data.splits",
    "write_report": "distilora.report",
}

__all__ = [
    "DistiloraError",
    "ExperimentSettings",
    "Outcome",
    "compare",
    "inspect_comments",
    "load_experiment",
    "open_bundle",
    "read_comments",
    "read_experiment",
    "score_file",
    "split_comments",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Return a part of the public surface, imported now that it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'distilora' has no attribute {name!r}")
    try:
        home = import_module(_HOMES[name])
    except ModuleNotFoundError as missing:
        from distilora.errors import MissingExtraError

        raise MissingExtraError(missing.name or "a library", "train") from None
    return getattr(home, name)


def __dir__() -> list[str]:
    """Return the public surface."""
    return __all__
