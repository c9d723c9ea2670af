"""An assessment in words and tables, for a terminal."""

from __future__ import annotations

from distilora.bench.wording import aligned
from distilora.data.faults import printable
from distilora.evaluation.assessments import AssessedModel, Assessment
from distilora.evaluation.records import Evaluation, Interval
from distilora.evaluation.suites.groups import GroupTable, group_tables
from distilora.evaluation.suites.records import SIGNIFICANCE, Change, IdentityScores

_MISSING = "—"
_LISTED = 6
_KEY = f"changes in points; *: p below {SIGNIFICANCE}, corrected for all comparisons of the model (Holm)"
_WIDEST_CONFUSION = 12
_MEASURES = {
    "accuracy": "right",
    "macro_f1": "macro-F1",
    "overall_auc": "AUC",
    "subgroup_auc": "subgroup AUC",
    "bpsn_auc": "BPSN AUC",
    "bnsp_auc": "BNSP AUC",
}


def describe(assessment: Assessment) -> str:
    """Return all that ``distilora evaluate`` tells, ready to print."""
    what = {None: "", "hatecheck": "HateCheck, ", "identity": "identity terms, "}[assessment.suite]
    lines = [
        *(f"note: {printable(note)}" for note in assessment.notes),
        f"{printable(assessment.source)}: {what}{assessment.rows:,} rows; 95 % intervals",
        "",
        *aligned(_model_rows(assessment)),
    ]
    for table in _tables(assessment):
        lines += ["", *aligned(table)]
    found = [sentence for model in assessment.models[1:] for sentence in _findings(model, assessment)]
    return "\n".join([*lines, *(["", _KEY, *found] if found else [])])


def _model_rows(assessment: Assessment) -> list[list[str]]:
    heads = {
        None: ["accuracy", "interval", "macro-F1", "interval", "log loss", "ROC-AUC"],
        "hatecheck": ["right", "interval", "of hateful", "of others", "called hateful"],
        "identity": ["AUC", "interval", "subgroup mean", "BPSN mean", "BNSP mean", "final"],
    }
    numbered = enumerate(assessment.models, start=1)
    return [
        ["model", "positive", *heads[assessment.suite]],
        *(
            [f"{number}  {printable(model.path)}", _rule(model, assessment), *_cells(model)]
            for number, model in numbered
        ),
    ]


def _rule(model: AssessedModel, assessment: Assessment) -> str:
    """Return what counts as positive, and from which probability on."""
    if not model.positive:
        return _MISSING
    names = printable(", ".join(model.positive))
    if assessment.suite == "identity":
        return names
    if model.threshold is not None:
        return f"{names} from {model.threshold:.3f}"
    return f"{names} from 0.5" if assessment.suite else f"{names} if likeliest"


def _cells(model: AssessedModel) -> list[str]:
    if model.evaluation is not None:
        found = model.evaluation
        accuracy = [_number(found.accuracy), _span(found.accuracy_interval)]
        f1 = [_number(found.macro_f1), _span(found.macro_f1_interval)]
        return [*accuracy, *f1, _number(found.log_loss), _number(found.roc_auc)]
    if model.hatecheck is not None:
        by_label = {one.name: one.accuracy for one in model.hatecheck.labels}
        overall = model.hatecheck.overall
        shares = [by_label.get("hateful"), by_label.get("non-hateful"), model.hatecheck.said_hateful]
        return [_number(overall.accuracy), _span(overall.interval), *map(_number, shares)]
    return _identity_cells(model.identity) if model.identity is not None else []


def _identity_cells(scores: IdentityScores) -> list[str]:
    overall = scores.overall
    means = [scores.subgroup_mean, scores.bpsn_mean, scores.bnsp_mean, scores.final]
    return [*([_number(overall.value), _span(overall.interval)] if overall else [_MISSING] * 2), *map(_number, means)]


def _tables(assessment: Assessment) -> list[list[list[str]]]:
    tables = [_group_rows(table, models=len(assessment.models)) for table in group_tables(assessment)]
    first = assessment.models[0].evaluation
    if first is not None and len(assessment.models) == 1:
        tables = [_class_rows(first)]
        if len(first.per_class) <= _WIDEST_CONFUSION:
            tables.append(_confusion_rows(first))
    return tables


def _class_rows(found: Evaluation) -> list[list[str]]:
    return [
        ["class", "rows", "precision", "recall", "F1"],
        *(
            [printable(name), f"{one.support:,}", _number(one.precision), _number(one.recall), _number(one.f1)]
            for name, one in found.per_class.items()
        ),
    ]


def _confusion_rows(found: Evaluation) -> list[list[str]]:
    names = [printable(name) for name in found.per_class]
    rows = zip(names, found.confusion, strict=True)
    return [["true ↓ said →", *names], *([name, *(f"{count:,}" for count in counts)] for name, counts in rows)]


def _group_rows(table: GroupTable, *, models: int) -> list[list[str]]:
    """Return one line a group: of one model the value with its interval, of several each value and each change."""
    told = ["interval"] if models == 1 else [f"{number} − 1" for number in range(2, models + 1)]
    measure = _MEASURES[table.measure]
    values = [measure] if models == 1 else [f"{measure} {number}" for number in range(1, models + 1)]
    extra = ["expected"] if any(row.expected for row in table.rows) else []
    lines = [[table.family, *extra, "rows", *values, *told]]
    for row in table.rows:
        after = [_span(row.interval)] if models == 1 else [_change(change) for change in row.changes]
        expected = [row.expected or "both"] if extra else []
        lines.append(
            [printable(row.name), *expected, f"{row.rows:,}", *(_number(value) for value in row.values), *after]
        )
    return lines


def _change(change: Change | None) -> str:
    if change is None:
        return _MISSING
    mark = " *" if change.is_shown else "  "
    return f"{_points(change.value)} ({_points(change.interval.low)} to {_points(change.interval.high)}){mark}"


def _findings(model: AssessedModel, assessment: Assessment) -> list[str]:
    """Return what changed from the first model to another, in sentences."""
    first = printable(assessment.models[0].path)
    whole = [f"{_MEASURES[one.measure]} {_change(one).rstrip(' *')}" for one in model.changes if one.family == "all"]
    overall = f"{printable(model.path)} against {first}, over all rows: {', '.join(whole)}"
    return [*([overall] if whole else []), *_shown_changes(model, first=first)]


def _shown_changes(model: AssessedModel, *, first: str) -> list[str]:
    """Return which changes are more than chance would give, or that none is."""
    tested = [change for change in model.changes if change.p_holm is not None]
    shown = [change for change in tested if change.is_shown]
    much = f"of {len(tested)} comparisons"
    if not shown:
        return [f"{printable(model.path)} against {first}: no difference was found ({much})"]
    sentences = []
    for word, found in (
        ("worse", [change for change in shown if change.value < 0]),
        ("better", [change for change in shown if change.value > 0]),
    ):
        if found:
            named = ", ".join(map(_named, sorted(found, key=lambda change: -abs(change.value))[:_LISTED]))
            more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
            sentences.append(f"{printable(model.path)} against {first}: {word} in {named}{more} ({much})")
    return sentences


def _named(change: Change) -> str:
    name = change.name if change.family == "all" else f'"{printable(change.name)}"'
    name = f"{name} cases" if change.family == "label" else name
    measure = "" if change.measure == "accuracy" else f" {_MEASURES[change.measure]}"
    return f"{name}{measure} by {abs(100 * change.value):.1f} points"


def _number(value: float | None) -> str:
    return _MISSING if value is None else f"{value:.3f}"


def _span(interval: Interval | None) -> str:
    return _MISSING if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"


def _points(difference: float) -> str:
    """Return a difference in points, 100 times its value, with its sign."""
    shown = f"{abs(100 * difference):.1f}"
    return shown if float(shown) == 0 else ("−" if difference < 0 else "+") + shown
