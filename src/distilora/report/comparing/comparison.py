"""The numbers of a report: one row for each method, from finished runs and what was measured of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from distilora.config import ReportSettings
from distilora.errors import RunError
from distilora.evaluation.robustness.answers import NoisyAnswers
from distilora.evaluation.significance import PairTest, compare_methods
from distilora.report.comparing.adapting import adapted, events
from distilora.report.comparing.answers import Answers, Runs, gathered, is_valid
from distilora.report.comparing.costs import cost_ratios
from distilora.report.comparing.errors import class_changes, disagreements, label_errors, noise_drops, same_noise
from distilora.report.comparing.layers import layer_means
from distilora.report.comparing.probabilities import probability_fields
from distilora.report.comparing.recommendation import recommend
from distilora.report.comparing.scores import score, score_fields
from distilora.report.comparing.seeds import common_layers, layer_searches, made_with, seed_rows
from distilora.report.evidence import Evidence
from distilora.report.records import MAJORITY, TFIDF, Comparison, Difference, Limits, MethodRow, VoidRun
from distilora.runs import DataIdentity, Result, RunRecord


def compare_runs(records: Runs, evidence: Evidence | None = None) -> Comparison:
    """Return one row for each method, with intervals over test rows, and each two methods tested on the same rows.

    Tested are all methods with kept predictions but the majority class, TF-IDF included, so that every sentence on
    two methods rests on one family of tests.

    Args:
        records: the finished runs of one experiment, void ones included, in any order.
        evidence: what else is known of them; absent: nothing.

    Raises:
        RunError: there are no runs, or they did not see the same data and splits.
        ConfigError: recall is limited, and the data names no positive classes.
    """
    known = evidence or Evidence()
    data = _common_data(records)
    methods = _by_method(records)
    answers = {name: gathered(name, runs) for name, runs in methods.items()}
    rows = sorted(
        (_method_row(runs, answers[name], data, goal=known.goal) for name, runs in methods.items()), key=_rank
    )
    family = tuple(row.method for row in rows if row.method != MAJORITY and answers[row.method].predictions is not None)
    comparison = Comparison(
        data=data,
        methods=tuple(rows),
        class_support=_class_support(answers),
        teacher=_teacher(rows),
        best=_best(rows),
        family=family,
        pairs=_pairs([answers[name] for name in family], classes=len(data.label_names)),
        made_with=made_with(records),
    )
    compared = [_with_differences(_with_flags(row, comparison), comparison) for row in rows]
    comparison = comparison.model_copy(update={"methods": tuple(compared)})
    return _with_recommendation(_with_evidence(comparison, answers, known), answers, known)


def _common_data(records: Runs) -> DataIdentity:
    if not records:
        raise RunError("there is no finished run to report on: run distilora compare first")
    first = records[0].result
    for result in (record.result for record in records):
        if _rows_seen(result) != _rows_seen(first):
            raise RunError(
                f"{result.method}, seed {result.seed}: its data or split is not that of {first.method}, seed "
                f"{first.seed}; only runs on the same rows can be compared: report on each experiment by itself"
            )
    return first.data


def _rows_seen(result: Result) -> DataIdentity:
    """Return which rows a run saw, whatever its file was called at the time."""
    return result.data.model_copy(update={"source": ""})


def _by_method(records: Runs) -> dict[str, list[RunRecord]]:
    methods: dict[str, list[RunRecord]] = {}
    for record in sorted(records, key=lambda record: (record.result.method, record.result.seed)):
        methods.setdefault(record.result.method, []).append(record)
    return methods


def _rank(row: MethodRow) -> tuple[float, str]:
    return (-row.macro_f1.mean if row.macro_f1 else 1.0, row.method)


def _method_row(runs: Runs, answers: Answers, data: DataIdentity, *, goal: str) -> MethodRow:
    valid = [run.result for run in answers.runs]
    told = (valid or [run.result for run in runs])[0]
    seconds = score([result.training_seconds for result in valid])
    memory = [result.training_memory_mib for result in valid]
    row = MethodRow(
        method=answers.method,
        kind=told.kind,
        seeds=tuple(answers.seeds),
        void=tuple(_void(run.result) for run in runs if not is_valid(run.result)),
        parameters=told.parameters,
        trainable_parameters=told.trainable_parameters,
        size_bytes=told.size_bytes,
        training_seconds=seconds.mean if seconds else None,
        training_memory_mib=_highest(memory),
        layers=common_layers(valid or [told]),
        adapted=adapted(answers.runs),
        events=events(runs),
        **score_fields(answers, label_names=data.label_names),
        **probability_fields(answers, data, goal=goal),
    )
    by_seed = seed_rows(valid, calibration=row.calibration, calibrated=row.calibrated)
    return row.model_copy(update={"by_seed": by_seed})


def _void(result: Result) -> VoidRun:
    return VoidRun(seed=result.seed, reason=result.void or "it holds no scores on test rows")


def _highest(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None


def _class_support(answers: Mapping[str, Answers]) -> dict[str, int]:
    test = next((test for one in answers.values() for test in one.tests), None)
    return {name: scores.support for name, scores in test.per_class.items()} if test else {}


def _teacher(rows: Sequence[MethodRow]) -> str | None:
    """Return the scored method of kind teacher, the one of that very name where there are several."""
    teachers = [row.method for row in rows if row.kind == "teacher" and not row.is_void]
    return "teacher" if "teacher" in teachers else next(iter(teachers), None)


def _best(rows: Sequence[MethodRow]) -> str | None:
    return next((row.method for row in rows if not row.is_baseline and not row.is_void), None)


def _with_flags(row: MethodRow, comparison: Comparison) -> MethodRow:
    if row.is_baseline:
        return row
    flags = list(row.flags)
    majority, tfidf = comparison.row(MAJORITY), comparison.row(TFIDF)
    if majority and row.accuracy and majority.accuracy and row.accuracy.mean < majority.accuracy.mean:
        flags.append("below majority")
    if tfidf and row.macro_f1 and tfidf.macro_f1 and row.macro_f1.mean <= tfidf.macro_f1.mean:
        flags.append("not above tfidf")
    return row.model_copy(update={"flags": tuple(flags)})


def _pairs(family: Sequence[Answers], *, classes: int) -> tuple[PairTest, ...]:
    """Return the paired tests of every two methods, corrected together; none below two methods."""
    for one in family:
        family[0].require_labels(one)
    predictions = {one.method: one.predictions for one in family if one.predictions is not None}
    if len(predictions) < 2 or family[0].labels is None:
        return ()
    seeds = {one.method: one.seeds for one in family}
    return compare_methods(family[0].labels, predictions, classes=classes, run_seeds=seeds)


def _with_differences(row: MethodRow, comparison: Comparison) -> MethodRow:
    if row.is_baseline or row.is_void:
        return row
    others = {"to_teacher": comparison.teacher, "to_best": comparison.best, "to_tfidf": TFIDF}
    return row.model_copy(
        update={field: _difference(row, comparison.row(name), comparison) for field, name in others.items()}
    )


def _difference(row: MethodRow, other: MethodRow | None, comparison: Comparison) -> Difference | None:
    if other is None or row.method == other.method or row.macro_f1 is None or other.macro_f1 is None:
        return None
    tested = comparison.difference(row.method, other.method)
    if tested is not None:
        return tested
    value = row.macro_f1.mean - other.macro_f1.mean
    return Difference(other=other.method, value=value, interval=None, p_holm=None)


def _with_evidence(comparison: Comparison, answers: Mapping[str, Answers], evidence: Evidence) -> Comparison:
    """Return the comparison with what the teacher and the evidence say of each method, and of the whole."""
    changed: dict[str, dict[str, object]] = {row.method: {} for row in comparison.methods}
    noise = same_noise(evidence.noise)
    for field, by_method in _by_field(comparison, answers, evidence, noise).items():
        for method, value in by_method.items():
            changed[method][field] = value
    best, rows = comparison.best, evidence.test_rows
    update: dict[str, object] = {
        "methods": tuple(row.model_copy(update=changed[row.method]) for row in comparison.methods),
        "costs": evidence.costs,
        "cost_ratios": cost_ratios(evidence.costs, comparison.teacher),
        "noise_rows": next((len(one.positions) for one in noise.values()), None),
        "layers": evidence.layers,
        "layer_means": layer_means(evidence.layers),
        "suites": evidence.suites,
    }
    if rows is not None and best is not None:
        update["label_errors"] = label_errors(answers[best], rows, limit=evidence.settings.error_rows)
    return comparison.model_copy(update=update)


def _by_field(
    comparison: Comparison,
    answers: Mapping[str, Answers],
    evidence: Evidence,
    noise: Mapping[tuple[str, int], NoisyAnswers],
) -> dict[str, Mapping[str, object]]:
    """Return what is known of single methods: by field of their rows, by method."""
    names = comparison.data.label_names
    drops = {name: noise_drops(one, noise, classes=len(names)) for name, one in answers.items()}
    searches = {name: layer_searches(one, evidence.searches) for name, one in answers.items()}
    if comparison.teacher is None:
        return {"noise": drops, "layer_searches": searches}
    teacher = answers[comparison.teacher]
    others = [answers[row.method] for row in comparison.candidates if row.method != comparison.teacher]
    rows, limit = evidence.test_rows, evidence.settings.error_rows
    return {
        "noise": drops,
        "layer_searches": searches,
        "class_changes": class_changes(teacher, others, label_names=names),
        "disagreements": disagreements(teacher, others, rows, limit=limit) if rows is not None else {},
    }


def _with_recommendation(comparison: Comparison, answers: Mapping[str, Answers], evidence: Evidence) -> Comparison:
    found = recommend(
        comparison.methods,
        answers,
        costs=evidence.costs,
        limits=_limits(evidence.settings),
    )
    return comparison.model_copy(update={"recommendation": found})


def _limits(settings: ReportSettings) -> Limits:
    return Limits(
        max_size_mb=settings.max_size_mb, max_latency_ms=settings.max_latency_ms, min_recall=settings.min_recall
    )
