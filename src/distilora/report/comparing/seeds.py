"""The numbers of single runs, and what they were made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from distilora.evaluation.calibration import Calibration
from distilora.evaluation.records import Evaluation
from distilora.models.search_records import LayerSearch
from distilora.report.comparing.answers import Answers, Runs
from distilora.report.records import FEW_ROWS
from distilora.report.run_records import MadeWith, SeedRow, SeedSearch
from distilora.runs import Result


def seed_rows(
    results: Sequence[Result], *, calibration: Sequence[Calibration], calibrated: Sequence[Calibration]
) -> tuple[SeedRow, ...]:
    """Return one row for each valid run of a method.

    Args:
        results: of the valid runs, by seed.
        calibration: of each as trained; empty where it is not known.
        calibrated: of each after its temperature; empty where it is not known.
    """
    as_trained = dict(zip((result.seed for result in results), calibration, strict=False))
    after = dict(zip((result.seed for result in results), calibrated, strict=False))
    return tuple(_seed_row(result, as_trained.get(result.seed), after.get(result.seed)) for result in results)


def _seed_row(result: Result, as_trained: Calibration | None, after: Calibration | None) -> SeedRow:
    test = result.test
    return SeedRow(
        seed=result.seed,
        macro_f1=test.macro_f1 if test else None,
        accuracy=test.accuracy if test else None,
        weighted_f1=test.weighted_f1 if test else None,
        log_loss=test.log_loss if test else None,
        roc_auc=test.roc_auc if test else None,
        brier_score=as_trained.brier_score if as_trained else None,
        expected_calibration_error=as_trained.expected_calibration_error if as_trained else None,
        missed_classes=_missed_classes(test) if test else (),
        temperature=after.temperature if after else None,
        validation_macro_f1=result.validation.macro_f1 if result.validation else None,
        epochs=result.epochs,
        best_epoch=result.best_epoch,
        training_seconds=result.training_seconds,
        training_memory_mib=result.training_memory_mib,
    )


def common_layers(results: Sequence[Result]) -> tuple[int, ...] | None:
    """Return the layers that all runs of a method are made of; nothing where they keep all, or differ."""
    found = {result.layers for result in results}
    return found.pop() if len(found) == 1 else None


def layer_searches(answers: Answers, known: Mapping[tuple[str, int], LayerSearch]) -> tuple[SeedSearch, ...]:
    """Return how the layers of each valid run of a method were searched, by seed; empty where they were not.

    Args:
        answers: of the method.
        known: searches by method and seed.
    """
    keys = [(answers.method, seed) for seed in answers.seeds]
    return tuple(SeedSearch(seed=key[1], search=known[key]) for key in keys if key in known)


def made_with(records: Runs) -> MadeWith:
    """Return encoder, library versions and machine of all runs, each value once."""
    results = [record.result for record in records]
    libraries = dict.fromkeys(name for result in results for name in result.versions)
    versions: Mapping[str, dict[str, None]] = {
        name: dict.fromkeys(result.versions[name] for result in results if name in result.versions)
        for name in libraries
    }
    encoders = [result.encoder for result in results if result.encoder is not None]
    return MadeWith(
        encoders=tuple(encoder for place, encoder in enumerate(encoders) if encoder not in encoders[:place]),
        versions={name: tuple(found) for name, found in versions.items()},
        machines=tuple(dict.fromkeys(result.machine for result in results)),
    )


def _missed_classes(test: Evaluation) -> tuple[str, ...]:
    return tuple(name for name, of_it in test.per_class.items() if of_it.support >= FEW_ROWS and not of_it.recall)
