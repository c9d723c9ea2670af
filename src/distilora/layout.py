"""What lies where in an experiment's folder: the names that several parts of distilora go by."""

from __future__ import annotations

import re

EXPERIMENT_FILE = "experiment.toml"
_WORD = r"[a-z0-9][a-z0-9-]{0,63}"
MOST_MEMBERS = 16
"""Of an ensemble."""
METHOD_NAME = re.compile(rf"{_WORD}(?:\+{_WORD}){{0,{MOST_MEMBERS - 1}}}")
"""Of a method, and so of its folder: no point, no slash; an ensemble's joins those of its members by a plus."""
BUNDLE_FOLDER = "bundle"
"""In a method's folder."""
REPORT_FILE = "report.html"
"""In the experiment's folder on all methods, in a method's folder on that one."""
DISAGREEMENTS_FILE = "disagreements.csv"
"""In a method's folder: all rows on which it and the teacher disagree."""
LABEL_ERRORS_FILE = "label-errors.csv"
"""In the experiment's folder: all rows whose label is likely wrong."""
