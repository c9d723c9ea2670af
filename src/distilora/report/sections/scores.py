"""Every method with its scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from distilora.report import plots
from distilora.report.blocks import Block, Fold, Paragraph, Section, Table, figure
from distilora.report.records import MAJORITY, TFIDF, Comparison, Flag, MethodRow, Score
from distilora.report.sections.cells import method_pages, shown_interval, shown_mean
from distilora.report.wording import MISSING, printable

FLAG_WORDS: Mapping[Flag, str] = {
    "one class": "says only one class",
    "below majority": "accuracy below the majority class",
    "not above tfidf": "not above TF-IDF",
}


def _remarks(row: MethodRow) -> str:
    words = [FLAG_WORDS[flag] for flag in row.flags]
    if "one class" not in row.flags and any(one.missed_classes for one in row.by_seed):
        words.append("a seed misses a class")
    if row.void and not row.is_void:
        words.append(f"{len(row.void)} of {len(row.void) + len(row.seeds)} seeds void")
    return "; ".join(words)


Columns = Mapping[str, Callable[[MethodRow], str]]
_NAME: Columns = {"method": lambda row: printable(row.method)}
_SCORE_COLUMNS: Columns = {
    **_NAME,
    "n seeds": lambda row: str(len(row.seeds)) if row.seeds else MISSING,
    "macro-F1": lambda row: "void" if row.is_void and row.void else shown_mean(row.macro_f1),
    "95 % interval": lambda row: shown_interval(row.macro_f1),
    "accuracy": lambda row: shown_mean(row.accuracy),
    "95 % interval of accuracy": lambda row: shown_interval(row.accuracy),
    "validation macro-F1": lambda row: shown_mean(row.validation_macro_f1),
}
_REMARKS: Columns = {"remarks": _remarks}
_MORE_COLUMNS: Columns = {
    **_NAME,
    "weighted F1": lambda row: _with_interval(row.weighted_f1),
    "log loss": lambda row: _with_interval(row.log_loss),
    "ROC-AUC": lambda row: _with_interval(row.roc_auc),
}


def _with_interval(score: Score | None) -> str:
    known = f" ({shown_interval(score)})" if score and score.interval else ""
    return shown_mean(score) + known


def scores_section(comparison: Comparison) -> Section:
    """Return every method in one table, and the scores as bars."""
    scored = ", ".join(f"{printable(row.method)} {shown_mean(row.macro_f1)}" for row in comparison.scored)
    bars = figure(
        "scores",
        plots.score_bars(comparison),
        alternative=f"Bars of macro-F1 and accuracy. Macro-F1: {scored}.",
        caption="Macro-F1 and accuracy on test rows; the lines are 95 % intervals over test rows. Baselines are grey.",
    )
    return Section("scores", "All methods", (*_score_table(comparison), *bars))


def _score_table(comparison: Comparison) -> tuple[Block, ...]:
    remarks = _REMARKS if any(_remarks(row) for row in comparison.methods) else {}
    caption = "Every method on the test rows, the best macro-F1 first"
    scores = _table(caption, comparison.methods, {**_SCORE_COLUMNS, **remarks}, links=method_pages(comparison))
    more = _table("Further scores on the test rows (95 % interval)", comparison.scored, _MORE_COLUMNS)
    folded = (Fold("Weighted F1, log loss and ROC-AUC", (more,)),) if comparison.scored else ()
    return scores, Paragraph(_score_note(comparison)), *folded


def _table(
    caption: str, methods: Sequence[MethodRow], columns: Columns, *, links: Mapping[str, str] | None = None
) -> Table:
    rows = tuple(tuple(cell(row) for cell in columns.values()) for row in methods)
    return Table(caption, tuple(columns), rows, links=links or {})


def _score_note(comparison: Comparison) -> str:
    several = any(row.macro_f1 and row.macro_f1.sd is not None for row in comparison.methods)
    spread = "± is the standard deviation over seeds. " if several else ""
    named = {row.method for row in comparison.methods}
    baselines = [
        *(["majority always says the largest class of the training rows"] if MAJORITY in named else []),
        *(["tfidf is TF-IDF with logistic regression"] if TFIDF in named else []),
    ]
    return (
        f"{spread}Intervals are bootstraps over test rows with the seeds averaged; comparison.json has one for every "
        f"score. Log loss is in nats, lower is better. {'; '.join(baselines)}{'. ' if baselines else ''}"
        f"{MISSING}: there is no such number."
    )
