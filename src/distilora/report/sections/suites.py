"""What a suite of hard cases or identity terms found: sentences, the worst groups, and every change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from distilora.evaluation.assessments import AssessedModel, Assessment
from distilora.evaluation.suites.groups import GroupRow, GroupTable, group_tables
from distilora.evaluation.suites.records import SIGNIFICANCE, Change
from distilora.report import plots
from distilora.report.blocks import Block, Bullets, Fold, Paragraph, Table, figure
from distilora.report.records import Comparison
from distilora.report.sections.cells import shown_change
from distilora.report.suite_wording import MEASURE_WORDS, group_words, words_of_test
from distilora.report.wording import MISSING, counted, first_of, number, points, printable, shortened, source_name, span

_LISTED = 6
"""Shown changes told in a sentence."""
_WORST = 5
"""Groups of a table that stand in the open."""
_DRAWN = 10
"""Groups that a figure shows at most."""
_MOST_POINTS, _LEAST_GROUPS = 60, 4
"""Points that a figure has room for; and groups that it shows in any case."""
_NAME_LIMIT = 100
_TITLES = {"hatecheck": "HateCheck", "identity": "Identity terms", None: "Other comments"}
_EXPECTED = {"hateful": "hate", "non-hateful": "no hate", None: "both"}
_Key = tuple[str, str, str]


def suite_blocks(comparison: Comparison, assessment: Assessment) -> tuple[Block, ...]:
    """Return what a suite found, for a section.

    Args:
        comparison: that the suite belongs to.
        assessment: the suite; its first model is the teacher's, and each model is called as its method.
    """
    return (
        Paragraph(_introduction(assessment)),
        *([Bullets(tuple(_sentences(assessment)))] if len(assessment.models) > 1 else []),
        *_figure(comparison, assessment),
        _overall_table(assessment),
        *(block for table in group_tables(assessment) for block in _group_blocks(assessment, table)),
        *_all_changes(assessment),
    )


def _introduction(assessment: Assessment) -> str:
    source = source_name(assessment.source)
    kind = "exported model" if all(model.kind == "bundle" for model in assessment.models) else "model"
    meaning = {
        "hatecheck": "Each functional test asks one kind of hate, or of harmless text that looks like it. A model that "
        "calls everything hateful is right in all hateful tests: see the column “called hateful”.",
        "identity": "AUC is how often a hateful comment has the higher score than a harmless one. Subgroup AUC: both "
        "mention the group. BPSN AUC is low where harmless comments that mention it get high scores, BNSP AUC where "
        "attacks on it get low ones.",
        None: "",
    }[assessment.suite]
    flattered = [model.path for model in assessment.models if model.trained_on_source]
    warned = " The models were trained on comments of this source, so the scores flatter." if flattered else ""
    notes = f" Notes: {printable('; '.join(assessment.notes))}." if assessment.notes else ""
    return (
        f"{_TITLES[assessment.suite]}: {counted(assessment.rows, 'comment')} of {source}, answered by one {kind} of "
        f"each method. {meaning}{warned}{notes}"
    )


def _sentences(assessment: Assessment) -> list[str]:
    """Return, for each method, which groups are shown to have changed, and what that does not show."""
    sentences = [_found(model, assessment) for model in assessment.models[1:]]
    return [
        *sentences,
        f"A change is found where p, corrected (Holm) for all comparisons of the method, is below {SIGNIFICANCE}. "
        "Where none is found, groups may still be treated differently: look how wide the intervals are.",
    ]


def _found(model: AssessedModel, assessment: Assessment) -> str:
    teacher, method = printable(assessment.models[0].path), printable(model.path)
    tested = [change for change in model.changes if change.p_holm is not None]
    shown = sorted((change for change in tested if change.is_shown), key=lambda change: change.value)
    looked = counted(len(tested), "comparison")
    if not shown:
        return f"{method} against {teacher}: no difference was found in {looked}."
    worse = [change for change in shown if change.value < 0]
    better = [change for change in reversed(shown) if change.value > 0]
    parts = [f"{word} in {_named(found)}" for word, found in (("worse", worse), ("better", better)) if found]
    return f"{method} against {teacher}: {'; '.join(parts)}. Looked at were {looked}."


def _named(changes: Sequence[Change]) -> str:
    """Return the first changes in words; those over all rows are named as such."""
    parts = [f"{_quoted(change)} by {points(change.value, signed=False)} points" for change in changes]
    return ", ".join(first_of(parts, most=_LISTED, shown=_LISTED))


def _quoted(change: Change) -> str:
    words = shortened(group_words(change), _NAME_LIMIT)
    return words if change.family in {"all", "label"} else f"“{words}”"


def _figure(comparison: Comparison, assessment: Assessment) -> tuple[Block, ...]:
    groups = most_changed(assessment)
    told = "; ".join(f"{shortened(group_words(group), _NAME_LIMIT)} {points(group.value)}" for group in groups)
    title = _TITLES[assessment.suite]
    return figure(
        f"changes-{assessment.suite or 'labelled'}",
        plots.suite_changes(comparison, assessment, groups),
        alternative=f"{title}: the groups that changed most against the teacher, the largest change of any method in "
        f"points: {told}.",
        caption=f"{title}: the groups that changed most in any method, less the teacher's, with paired 95 % intervals. "
        "A hollow point: no difference was found once p is corrected for all comparisons of the method.",
    )


def most_changed(assessment: Assessment) -> tuple[Change, ...]:
    """Return one change for each of the groups that changed most in any model, the largest loss first.

    Groups with a change that is shown come before all others; the more models, the fewer groups, so that a figure has
    room.
    """
    limit = max(_LEAST_GROUPS, min(_DRAWN, _MOST_POINTS // max(1, len(assessment.models) - 1)))
    groups: dict[_Key, Change] = {}
    changes = [change for change in _changes(assessment) if change.family not in {"all", "label"} and change.value]
    for change in sorted(changes, key=lambda change: (not change.is_shown, -abs(change.value))):
        groups.setdefault(_key(change), change)
    return tuple(sorted(list(groups.values())[:limit], key=lambda change: change.value))


def _changes(assessment: Assessment) -> Iterable[Change]:
    return (change for model in assessment.models[1:] for change in model.changes)


def _key(change: Change) -> _Key:
    return change.family, change.name, change.measure


def _overall_table(assessment: Assessment) -> Table:
    heads = {
        "hatecheck": ("right", "95 % interval", "of hateful", "of others", "called hateful"),
        "identity": ("AUC", "95 % interval", "subgroup mean", "BPSN mean", "BNSP mean", "final"),
        None: ("accuracy", "95 % interval", "macro-F1", "95 % interval of macro-F1"),
    }
    means = "; means over groups are generalised (power −5): the worst groups decide them"
    return Table(
        f"{_TITLES[assessment.suite]}, all rows{means if assessment.suite == 'identity' else ''}",
        ("method", *heads[assessment.suite]),
        tuple((printable(model.path), *_overall(model)) for model in assessment.models),
    )


def _overall(model: AssessedModel) -> tuple[str, ...]:
    if model.hatecheck is not None:
        by_label = {one.name: one.accuracy for one in model.hatecheck.labels}
        whole, said = model.hatecheck.overall, model.hatecheck.said_hateful
        shares = (by_label.get("hateful"), by_label.get("non-hateful"), said)
        return number(whole.accuracy), span(whole.interval), *map(number, shares)
    if model.identity is not None:
        found, auc = model.identity, model.identity.overall
        means = (found.subgroup_mean, found.bpsn_mean, found.bnsp_mean, found.final)
        return number(auc.value if auc else None), span(auc.interval if auc else None), *map(number, means)
    if model.evaluation is not None:
        one = model.evaluation
        return number(one.accuracy), span(one.accuracy_interval), number(one.macro_f1), span(one.macro_f1_interval)
    return ()


def _group_blocks(assessment: Assessment, table: GroupTable) -> tuple[Table | Fold, ...]:
    """Return the worst groups in the open, the others folded."""
    what = f"{MEASURE_WORDS.get(table.measure, 'Share of right answers')} by {table.family}"
    is_long = len(table.rows) > _WORST + 2
    worst = table.rows[:_WORST] if is_long else table.rows
    order = f"the {_WORST} worst first" if is_long else "the worst first"
    shown = _group_table(f"{what}, {order}", assessment, table, worst)
    if not is_long:
        return (shown,)
    others = table.rows[_WORST:]
    rest = _group_table(f"{what}, the others", assessment, table, others)
    return shown, Fold(f"{what}: the other {len(others)}", (rest,))


def _group_table(caption: str, assessment: Assessment, table: GroupTable, rows: Sequence[GroupRow]) -> Table:
    expects = any(row.expected for row in table.rows)
    models = [printable(model.path) for model in assessment.models]
    columns = (table.family, *(["right answer"] if expects else []), "rows", *models)
    return Table(caption, columns, tuple(_group_row(row, table, expects=expects) for row in rows))


def _group_row(row: GroupRow, table: GroupTable, *, expects: bool) -> tuple[str, ...]:
    name = words_of_test(row.name) if table.family == "functional test" else row.name
    expected = [_EXPECTED[row.expected]] if expects else []
    return shortened(name, _NAME_LIMIT), *expected, f"{row.rows:,}", *map(number, row.values)


def _all_changes(assessment: Assessment) -> tuple[Fold, ...]:
    groups: dict[_Key, list[Change]] = {}
    for change in _changes(assessment):
        groups.setdefault(_key(change), []).append(change)
    if not groups:
        return ()
    order = sorted(groups.values(), key=lambda found: (_place(found[0]), min(change.value for change in found)))
    methods = assessment.models[1:]
    table = Table(
        f"{_TITLES[assessment.suite]}: change against {printable(assessment.models[0].path)} in points "
        "(paired 95 % interval of each by itself); "
        f"*: found, that is p below {SIGNIFICANCE} after Holm's correction for all comparisons of the method",
        ("group", "rows", *(printable(model.path) for model in methods)),
        tuple(
            (
                shortened(group_words(found[0]), _NAME_LIMIT),
                f"{found[0].rows:,}",
                *(_change(model, _key(found[0])) for model in methods),
            )
            for found in order
        ),
    )
    return (Fold(f"{_TITLES[assessment.suite]}: every change against the teacher, {len(groups)} groups", (table,)),)


def _place(change: Change) -> int:
    """Return where a change stands: over all rows first, then over all hateful or harmless ones, then groups."""
    return {"all": 0, "label": 1}.get(change.family, 2)


def _change(model: AssessedModel, key: _Key) -> str:
    change = next((change for change in model.changes if _key(change) == key), None)
    if change is None:
        return MISSING
    return shown_change(change.value, change.interval, is_shown=change.is_shown)
