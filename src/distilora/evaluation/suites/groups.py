"""The groups of an assessment with what each model scores on them, side by side, worst first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from distilora.evaluation.assessments import AssessedModel, Assessment
from distilora.evaluation.records import Interval
from distilora.evaluation.suites.records import Auc, Change, Family, FunctionalTest, GroupAccuracy, Measure

_AUCS: tuple[Measure, ...] = ("subgroup_auc", "bpsn_auc", "bnsp_auc")


@dataclass(frozen=True)
class GroupRow:
    """One group."""

    name: str
    rows: int
    expected: str | None
    """The right answer where all rows of the group have the same; absent where that is not told."""
    values: tuple[float | None, ...]
    """One a model; absent where it was not measured."""
    interval: Interval | None
    """Of the first model's value."""
    changes: tuple[Change | None, ...]
    """One for each model after the first."""


@dataclass(frozen=True)
class GroupTable:
    """All groups of one kind, in one measure, the lowest value of any model first."""

    family: Family
    measure: Measure
    rows: tuple[GroupRow, ...]


@dataclass(frozen=True)
class _Value:
    """One group's value for one model."""

    rows: int
    value: float | None
    interval: Interval | None
    expected: str | None = None


_Values = Mapping[str, _Value]


def group_tables(assessment: Assessment) -> list[GroupTable]:
    """Return the tables of an assessment that have rows: one for each kind of group and measure."""
    kinds: list[tuple[Family, Measure]] = [
        ("class", "accuracy"),
        ("functional test", "accuracy"),
        ("target group", "accuracy"),
        *(("identity", measure) for measure in _AUCS),
    ]
    tables = [_table(assessment, family, measure) for family, measure in kinds]
    return [table for table in tables if table.rows]


def _table(assessment: Assessment, family: Family, measure: Measure) -> GroupTable:
    columns = [_values(model, family, measure) for model in assessment.models]
    changes = [
        {change.name: change for change in model.changes if (change.family, change.measure) == (family, measure)}
        for model in assessment.models[1:]
    ]
    rows = [
        GroupRow(
            name=name,
            rows=one.rows,
            expected=one.expected,
            values=tuple(column[name].value for column in columns),
            interval=one.interval,
            changes=tuple(found.get(name) for found in changes),
        )
        for name, one in columns[0].items()
    ]
    return GroupTable(family, measure, rows=tuple(sorted(rows, key=_badness)))


def _badness(row: GroupRow) -> tuple[float, str]:
    known = [value for value in row.values if value is not None]
    return (min(known) if known else 2.0, row.name)


def _values(model: AssessedModel, family: Family, measure: Measure) -> _Values:
    """Return one model's values by group."""
    if family == "class" and model.evaluation is not None:
        scores = model.evaluation.per_class
        return {name: _Value(one.support, one.recall, None) for name, one in scores.items() if one.support}
    if family == "functional test" and model.hatecheck is not None:
        return {one.name: _of_accuracy(one) for one in model.hatecheck.functionalities}
    if family == "target group" and model.hatecheck is not None:
        return {one.name: _of_accuracy(one) for one in model.hatecheck.targets}
    if family == "identity" and model.identity is not None:
        return {group.name: _of_auc(group.rows, getattr(group, measure)) for group in model.identity.groups}
    return {}


def _of_accuracy(group: GroupAccuracy) -> _Value:
    expected = group.expected if isinstance(group, FunctionalTest) else None
    return _Value(group.rows, group.accuracy, group.interval, expected)


def _of_auc(rows: int, auc: Auc | None) -> _Value:
    return _Value(rows, auc.value if auc else None, auc.interval if auc else None)
