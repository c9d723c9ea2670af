"""How much a method finds, and how much of what it finds is right."""

from __future__ import annotations

from collections.abc import Sequence

from distilora.evaluation.thresholds import parse_goal
from distilora.report import plots
from distilora.report.blocks import Block, Bullets, Paragraph, Section, Table, figure
from distilora.report.comparing.probabilities import POSITIVE
from distilora.report.foreground import foreground, foreground_note
from distilora.report.plots.precision_recall import class_curves, drawn_classes
from distilora.report.records import Comparison, MethodRow, Score, ThresholdScores
from distilora.report.sections.cells import shown_mean, shown_score
from distilora.report.wording import MISSING, either, goal_words, listed, number, percent, printable


def precision_recall_section(comparison: Comparison) -> Section:
    """Return precision against recall, and what each method's threshold does; empty where no logits were kept."""
    title = "How much would it find?"
    keys = drawn_classes(comparison)
    if not keys:
        return Section("precision-recall", title, ())
    is_positive = bool(comparison.data.positive)
    drawn = figure(
        "precision-recall",
        plots.precision_recall_curves(foreground(comparison)),
        alternative="Precision against recall on test rows, a line for each method. Average precision is in the table.",
        caption=_caption(comparison, keys),
    )
    tables = (_threshold_table if is_positive else _class_table)(comparison)
    return Section("precision-recall", title, (*_sentences(comparison), *tables, *drawn))


def _caption(comparison: Comparison, keys: Sequence[str]) -> str:
    known = {key for row in comparison.scored for key in row.precision_recall}
    left_out = 0 if comparison.data.positive else len(known) - len(keys)
    rest = f" The rarest {len(keys)} classes are drawn; {left_out} more are in the table." if left_out else ""
    mark = "A mark stands at the threshold in use. " if comparison.data.positive else ""
    return (
        "What each threshold finds (to the right: more) and how much of it is right (to the top: more), on test rows. "
        f"{mark}The dotted line is chance: the share of such rows among all. Drawn is the seed that is best on "
        f"validation, after its temperature.{rest}{foreground_note(comparison, where='the table has all')}"
    )


def _sentences(comparison: Comparison) -> tuple[Block, ...]:
    rows = [row for row in comparison.scored if row.positive is not None]
    told = next((row for row in rows if row.method == comparison.recommended), None) or next(
        (row for row in rows if row.method == comparison.best), None
    )
    sentences = (*([_found(comparison, told)] if told else []), *_missed_goals(rows))
    return (Bullets(sentences),) if sentences else ()


def _found(comparison: Comparison, row: MethodRow) -> str:
    """Return in plain words what the threshold of one method does on test rows."""
    if row.positive is None:
        return ""
    return (
        f"At its threshold, {printable(row.method)} finds {_share(row.positive.recall)} of the test comments that are "
        f"{either(comparison.data.positive)}; of those it finds, {_share(row.positive.precision)} truly are."
    )


def _share(score: Score) -> str:
    interval = score.interval
    known = f" (95 % interval {percent(interval.low)} to {percent(interval.high)})" if interval else ""
    return f"{percent(score.mean)}{known}"


def _missed_goals(rows: Sequence[MethodRow]) -> list[str]:
    """Return which methods are shown to miss, on test rows, the precision or recall that their threshold serves."""
    missed: dict[str, list[str]] = {}
    for row in rows:
        if row.positive is None or (reached := _asked(row.positive)) is None:
            continue
        aim = parse_goal(row.positive.goal)
        if reached.interval is not None and reached.interval.high < (aim.at_least or 0.0):
            missed.setdefault(goal_words(*aim), []).append(printable(row.method))
    return [
        f"The threshold was chosen for {goal} on validation rows; on test rows less was reached by {listed(names)}: "
        "the whole interval lies below."
        for goal, names in missed.items()
    ]


def _asked(scores: ThresholdScores) -> Score | None:
    """Return the score that the goal asks for, or nothing where the goal is the best F1."""
    return {"precision": scores.precision, "recall": scores.recall}.get(parse_goal(scores.goal).goal)


def _threshold_table(comparison: Comparison) -> tuple[Block, ...]:
    """Return what each method's threshold does to the positive classes."""
    precisions = {method: curve.average_precision for method, curve in class_curves(comparison, POSITIVE)}
    rows = [row for row in comparison.scored if row.method in precisions]
    columns = ("method", "average precision", "threshold", "recall", "precision", "F1", "recall on validation")
    cells = tuple(
        (printable(row.method), number(precisions[row.method]), *_threshold_cells(row.positive)) for row in rows
    )
    mean = ", the mean over seeds" if any(len(row.seeds) > 1 for row in rows) else ""
    caption = f"Finding {either(comparison.data.positive)} on test rows{mean} (95 % interval over rows)"
    return Table(caption, columns, cells), Paragraph(_note(comparison, POSITIVE))


def _threshold_cells(scores: ThresholdScores | None) -> tuple[str, ...]:
    if scores is None:
        return (MISSING,) * 5
    measured = (scores.recall, scores.precision, scores.f1)
    return (
        shown_mean(scores.threshold),
        *map(shown_score, measured),
        shown_mean(scores.validation_recall),
    )


def _class_table(comparison: Comparison) -> tuple[Block, ...]:
    """Return the average precision of each method for each class."""
    names = [
        name for name in comparison.data.label_names if any(name in row.precision_recall for row in comparison.scored)
    ]
    precisions = {
        name: {method: curve.average_precision for method, curve in class_curves(comparison, name)} for name in names
    }
    methods = [row.method for row in comparison.scored if any(row.method in known for known in precisions.values())]
    columns = ("method", *(f"{printable(name)} (chance {_chance(comparison, name)})" for name in names))
    cells = tuple((printable(method), *(number(precisions[name].get(method)) for name in names)) for method in methods)
    table = Table("Average precision of each class on test rows", columns, cells)
    return table, Paragraph(_note(comparison, names[0]))


def _chance(comparison: Comparison, key: str) -> str:
    curves = class_curves(comparison, key)
    return number(curves[0][1].positive_share) if curves else MISSING


def _note(comparison: Comparison, key: str) -> str:
    whose = _thresholds_note(comparison) if comparison.data.positive else (
        "The data names no positive classes, so each class stands against all others."
    )  # fmt: skip
    chance = f" Chance would reach {_chance(comparison, key)}." if comparison.data.positive else ""
    return (
        f"{whose} Average precision is the mean precision over all thresholds, each weighted by what it adds to "
        f"recall; it is that of the seed that is best on validation and has no interval.{chance}"
    )


def _thresholds_note(comparison: Comparison) -> str:
    several = any(len(row.seeds) > 1 for row in comparison.scored)
    goals = dict.fromkeys(goal_words(*parse_goal(row.positive.goal)) for row in comparison.scored if row.positive)
    chosen = (
        "Each seed has its own threshold, chosen on its validation rows for "
        f"{' or '.join(goals)}, after its temperature. "
    )
    unreached = f"{MISSING}: no threshold reaches the goal on the validation rows of every seed."
    absent = any(row.positive is None and POSITIVE in row.precision_recall for row in comparison.scored)
    return (
        f"{'± is the standard deviation over seeds. ' if several else ''}A comment is found where the summed "
        f"probability of {listed(comparison.data.positive)} reaches the threshold. {chosen if goals else ''}"
        f"{unreached if absent else ''}"
    ).rstrip()
