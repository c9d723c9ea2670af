"""What is known of an experiment beside its runs: read from its folder, absent where nobody measured."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from distilora.analysis.records import LayerAnalysis, read_analysis
from distilora.bundles.manifest import MEMBERS_FOLDER, Manifest, Origin, bundle_id
from distilora.bundles.storage import read_manifest
from distilora.config import ExportSettings, ReportSettings, Settings, to_toml, validated
from distilora.data.faults import first_line
from distilora.errors import BundleError, ConfigError, RunError
from distilora.evaluation.assessments import Assessment
from distilora.evaluation.costs import ExperimentCosts, read_costs
from distilora.evaluation.kept import read_kept
from distilora.evaluation.labelled_texts import LabelledTexts, read_labelled_texts, write_labelled_texts
from distilora.evaluation.layer_searches import read_layer_search
from distilora.evaluation.robustness.answers import NoisyAnswers, read_answers
from distilora.files import write_whole
from distilora.layout import BUNDLE_FOLDER
from distilora.models.search_records import LayerSearch
from distilora.report.comparing.answers import is_valid
from distilora.runs import RunRecord, run_sha256

TEST_ROWS_FILE = "test-rows.jsonl"
"""The test rows with their texts, in the experiment's folder."""
SETTINGS_FILE = "report.toml"
"""``[report]`` and the goal of ``[export]`` as the experiment was last compared with them."""
SUITES_FOLDER = "suites"
"""Of one assessment for each suite, in the experiment's folder."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was measured of trained runs, and what the report is asked for."""

    costs: ExperimentCosts | None = None
    noise: Mapping[tuple[str, int], NoisyAnswers] = field(default_factory=dict)
    """By method and seed."""
    layers: tuple[LayerAnalysis, ...] = ()
    searches: Mapping[tuple[str, int], LayerSearch] = field(default_factory=dict)
    """For the layers of a student, by method and seed."""
    suites: tuple[Assessment, ...] = ()
    test_rows: LabelledTexts | None = None
    settings: ReportSettings = field(default_factory=ReportSettings)
    goal: str = "f1"
    """What thresholds are chosen for: f1, precision=P or recall=P."""


class _Kept(Settings):
    """What stands in ``report.toml``."""

    report: ReportSettings = ReportSettings()
    export: ExportSettings = ExportSettings()


def read_evidence(folder: Path, records: Sequence[RunRecord]) -> Evidence:
    """Return what stands in an experiment's folder; what belongs to other runs than these is left out.

    Args:
        folder: of the experiment.
        records: its runs.

    Raises:
        RunError: a file is damaged or of a newer format.
    """
    present = _Present(folder, [record for record in records if is_valid(record.result)])
    kept = _read_settings(folder / SETTINGS_FILE)
    return Evidence(
        costs=_costs(folder, present),
        noise=_noise(present),
        layers=_layers(present),
        searches=_searches(present),
        suites=tuple(_suites(folder, present)),
        test_rows=_test_rows(folder / TEST_ROWS_FILE, present),
        settings=kept.report,
        goal=kept.export.goal,
    )


def keep_test_rows(folder: Path, rows: LabelledTexts) -> None:
    """Write the test rows of an experiment, with their texts, into its folder."""
    write_labelled_texts(folder / TEST_ROWS_FILE, rows)


def write_report_settings(folder: Path, settings: ReportSettings, goal: str) -> None:
    """Write what the report of an experiment is asked for into its folder.

    Args:
        folder: of the experiment.
        settings: limits, and how many comments are shown.
        goal: what thresholds are chosen for.
    """
    write_whole(folder / SETTINGS_FILE, to_toml({"report": settings.model_dump(), "export": {"goal": goal}}))


def _read_settings(path: Path) -> _Kept:
    if not path.exists():
        return _Kept()
    try:
        return validated(_Kept, tomllib.loads(path.read_text(encoding="utf-8")), where="")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ConfigError) as error:
        raise RunError(f"{path}: {first_line(error)}; correct it, or delete it and compare again") from None


class _Present:
    """The valid runs that are there, and by which hashes what was measured of them is known."""

    def __init__(self, folder: Path, valid: Sequence[RunRecord]) -> None:
        self.runs = {(run.result.method, run.result.seed): run for run in valid}
        self.hashes = {key: run_sha256(run.folder) for key, run in self.runs.items()}
        self._folder = folder
        self._bundles: dict[str, str | None] = {}

    def is_run(self, method: str, sha256: str, *, seed: int | None = None) -> bool:
        """Return whether a hash is that of a run of this method, of whatever seed where none is given."""
        return any(
            sha256 == known
            for (name, number), known in self.hashes.items()
            if name == method and seed in (None, number)
        )

    def is_model(self, method: str, kind: Literal["bundle", "run"], sha256: str) -> bool:
        """Return whether a hash is that of the method's bundle, which is made of a run that is there, or of a run."""
        if kind == "run":
            return self.is_run(method, sha256)
        if method not in self._bundles:
            self._bundles[method] = self._bundle_id(method)
        return self._bundles[method] == sha256

    def _bundle_id(self, method: str) -> str | None:
        if not any(name == method for name, _ in self.runs):  # names from files are no paths until they are known
            return None
        folder = self._folder / method / BUNDLE_FOLDER
        try:
            manifest = read_manifest(folder)
            members = [read_manifest(folder / MEMBERS_FOLDER / member.name) for member in manifest.members]
        except BundleError:
            return None
        return bundle_id(manifest) if self._is_made_of_runs(method, manifest, members) else None

    def _is_made_of_runs(self, method: str, manifest: Manifest, members: Sequence[Manifest]) -> bool:
        """Return whether a method's bundle, or each member of an ensemble's, is of a run that is there."""
        if not members:
            return manifest.origin is not None and self._is_origin(method, manifest.origin)
        origins = {member.name: one.origin for member, one in zip(manifest.members, members, strict=True)}
        seeds = {origin.seed for origin in origins.values() if origin is not None}
        return len(seeds) == 1 and all(
            origin is not None and (method, origin.seed) in self.runs and self._is_origin(name, origin)
            for name, origin in origins.items()
        )

    def _is_origin(self, method: str, origin: Origin) -> bool:
        return self.is_run(method, origin.run_sha256, seed=origin.seed)


def _costs(folder: Path, present: _Present) -> ExperimentCosts | None:
    costs = read_costs(folder)
    if costs is None:
        return None
    methods = tuple(one for one in costs.methods if present.is_model(one.method, one.model, one.sha256))
    return costs.model_copy(update={"methods": methods}) if methods else None


def _noise(present: _Present) -> dict[tuple[str, int], NoisyAnswers]:
    found = {key: read_answers(run.folder) for key, run in present.runs.items()}
    return {key: one for key, one in found.items() if one is not None and one.run_sha256 == present.hashes[key]}


def _layers(present: _Present) -> tuple[LayerAnalysis, ...]:
    found = []
    for key, run in present.runs.items():
        analysis = read_analysis(run.folder) if run.result.kind == "teacher" else None
        if analysis is not None and analysis.run_sha256 == present.hashes[key]:
            compared = tuple(
                one for one in analysis.compared if present.is_run(one.method, one.run_sha256, seed=one.seed)
            )
            found.append(analysis.model_copy(update={"compared": compared}))
    return tuple(found)


def _searches(present: _Present) -> dict[tuple[str, int], LayerSearch]:
    """Return the searches whose layers are those that the run's student is made of."""
    found = {key: read_layer_search(run.folder) for key, run in present.runs.items()}
    return {key: one for key, one in found.items() if one and one.numbers == present.runs[key].result.layers}


def _suites(folder: Path, present: _Present) -> list[Assessment]:
    found = []
    for path in sorted((folder / SUITES_FOLDER).glob("*.json")):
        assessment = read_kept(path, Assessment)
        if assessment is None:  # a link to nothing
            continue
        models = tuple(one for one in assessment.models if present.is_model(one.path, one.kind, one.sha256))
        if models and models[0] == assessment.models[0]:  # changes are against the first model
            found.append(assessment.model_copy(update={"models": models}))
    return found


def _test_rows(path: Path, present: _Present) -> LabelledTexts | None:
    """Return the test rows, unless they are others than those that the runs answered."""
    labels = [run.test_labels for run in present.runs.values() if run.test_labels is not None]
    if not labels or not path.exists():
        return None
    rows = read_labelled_texts(path, next(iter(present.runs.values())).result.data.label_names)
    return rows if all(np.array_equal(rows.labels, truth) for truth in labels) else None
