"""Whether a probability means what it says."""

from __future__ import annotations

from collections.abc import Sequence

from distilora.report import plots
from distilora.report.blocks import Bullets, Paragraph, Section, Table, figure
from distilora.report.foreground import foreground, foreground_note
from distilora.report.records import MAJORITY, Comparison, MethodRow, Score
from distilora.report.sections.cells import shown_score
from distilora.report.wording import MISSING, listed, number, printable, span

FACE_VALUE = 0.05
"""A method's probabilities are called trustworthy where the interval of its calibration error ends at or below this."""


def calibration_section(comparison: Comparison) -> Section:
    """Return how well each method's probabilities fit what is true; empty where no logits were kept."""
    rows = [row for row in comparison.scored if row.calibration]
    title = "Can the probabilities be trusted?"
    if not rows:
        return Section("calibration", title, ())
    diagrams = figure(
        "calibration",
        plots.reliability_diagrams(foreground(comparison)),
        alternative="For each method, how often it is right against how sure it is; the errors are those of the table.",
        caption="Share of right answers among test rows of like confidence, in 15 bins of equally many rows. On the "
        "dotted line a model is right as often as it says; below it, it is too sure, above it not sure enough. Upright "
        "lines are 95 % intervals, of the probabilities after the temperature where there is one. Bins of several "
        f"seeds are merged.{foreground_note(comparison, where='the page of each method has its own')}",
    )
    judged = [row for row in rows if row.method != MAJORITY]
    sentences = (*_face_value(judged), *_temperature_effect(judged))
    told = (Bullets(sentences),) if sentences else ()
    return Section("calibration", title, (*told, _table(rows), Paragraph(_note(rows)), *diagrams))


def _face_value(rows: Sequence[MethodRow]) -> list[str]:
    """Return whose probabilities lie within 0.05 of what comes true, whose do not, and where that is open."""
    known = [(row.method, score.interval) for row in rows if (score := _shipped_error(row)) and score.interval]
    close = [method for method, interval in known if interval.high <= FACE_VALUE]
    far = [f"{method} ({span(interval)})" for method, interval in known if interval.low > FACE_VALUE]
    unsettled = [
        f"{method} ({number(interval.high)})"
        for method, interval in known
        if interval.low <= FACE_VALUE < interval.high
    ]
    whose = f"{'After the temperature, the' if all(row.calibrated_error for row in rows) else 'The'} probabilities of"
    sentences = {
        f"{whose} {listed(close)} can be taken at face value: over all test rows, how sure a model is and how often it "
        f"is right differ by {FACE_VALUE:g} or less on average, by the upper end of the interval.": close,
        f"{whose} {listed(far)} should not be taken at face value: how sure a model is and how often it is right "
        f"differ by more than {FACE_VALUE:g} on average; in brackets, the 95 % interval.": far,
        f"Whether the probabilities of {listed(unsettled)} can be taken at face value is open: the test rows do not "
        f"settle whether the error is {FACE_VALUE:g} or less; in brackets, how large it may be.": unsettled,
    }
    return [sentence for sentence, methods in sentences.items() if methods]


def _shipped_error(row: MethodRow) -> Score | None:
    """Return the calibration error after the temperature, or where there is none, as trained."""
    return row.calibrated_error or row.expected_calibration_error


def _temperature_effect(rows: Sequence[MethodRow]) -> list[str]:
    """Return for which methods the calibration error changed so much that the intervals lie apart."""
    effects = [(row.method, _effect(row)) for row in rows if row.kind != "ensemble"]
    lower, higher, open_ = ([name for name, found in effects if found == kind] for kind in ("lower", "higher", "none"))
    return [
        *([f"The temperature lowered the calibration error of {listed(lower)}: the intervals before and after lie "
           "apart."] if lower else []),
        *([f"The temperature raised the calibration error of {listed(higher)}: the intervals before and after lie "
           "apart."] if higher else []),
        *([f"For {listed(open_)} the intervals before and after the temperature overlap: no change was found."]
          if open_ else []),
    ]  # fmt: skip


def _effect(row: MethodRow) -> str | None:
    before, after = (score.interval if score else None for score in
                     (row.expected_calibration_error, row.calibrated_error))  # fmt: skip
    if before is None or after is None:
        return None
    return "lower" if after.high < before.low else "higher" if after.low > before.high else "none"


def _table(rows: Sequence[MethodRow]) -> Table:
    columns = (
        "method",
        "temperature",
        "calibration error before",
        "calibration error after",
        "Brier score before",
        "Brier score after",
    )
    cells = tuple(
        (
            printable(row.method),
            ", ".join(number(one.temperature, 2) for one in row.calibrated) or MISSING,
            shown_score(row.expected_calibration_error),
            shown_score(row.calibrated_error),
            shown_score(row.brier_score),
            shown_score(row.calibrated_brier_score),
        )
        for row in rows
    )
    caption = "Probabilities on the test rows, before and after the temperature (95 % interval over rows)"
    return Table(caption, columns, cells)


def _note(rows: Sequence[MethodRow]) -> str:
    several = any(len(row.seeds) > 1 for row in rows)
    seeds = "Scores are means over seeds; each seed has its own temperature. " if several else ""
    averaged = (
        " An ensemble has none of its own, for each of its members was calibrated before the mean was taken."
        if any(row.kind == "ensemble" for row in rows)
        else ""
    )
    return (
        f"{seeds}A temperature divides a model's scores before they become probabilities; it is fitted on validation "
        f"rows, changes no answer, and is part of an exported bundle.{averaged} Calibration error (ECE) is the mean "
        "distance between how sure a model is of its answer and how often it is right, over 15 bins of equally many "
        "rows. Noise alone raises it above 0, the more so with few rows. Its interval allows for that: the measured "
        "error may lie near the upper end, and the interval begins at 0 where a perfectly calibrated model could have "
        "as large an error. The Brier score is the squared error of the probabilities, from 0 to 2. For both, lower is "
        "better. Both look at all rows together: the probabilities of one class may be further off."
    )
