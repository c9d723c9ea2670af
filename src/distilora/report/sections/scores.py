"""Every method with its scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from distilora.report import plots
from distilora.report.blocks import Block, Paragraph, Section, Table, figure
from distilora.report.records import MAJORITY, TFIDF, Comparison, Flag, MethodRow
from distilora.report.sections.cells import method_pages, shown_interval, shown_mean
from distilora.report.wording import MISSING, printable

FLAG_WORDS: Mapping[Flag, str] = {
    "one class": "says only one class",
    "below majority": "accuracy below the majority class",
    "not above tfidf": "not better than TF-IDF",
}


def _remarks(row: MethodRow) -> str:
    words = [FLAG_WORDS[flag] for flag in row.flags]
    if row.void and not row.is_void:
        words.append(f"{len(row.void)} of {len(row.void) + len(row.seeds)} seeds void")
    return "; ".join(words)


_SCORE_COLUMNS: Mapping[str, Callable[[MethodRow], str]] = {
    "method": lambda row: printable(row.method),
    "n seeds": lambda row: str(len(row.seeds)) if row.seeds else MISSING,
    "macro-F1": lambda row: "void" if row.is_void and row.void else shown_mean(row.macro_f1),
    "95 % interval": lambda row: shown_interval(row.macro_f1),
    "accuracy": lambda row: shown_mean(row.accuracy),
    "95 % interval of accuracy": lambda row: shown_interval(row.accuracy),
    "weighted F1": lambda row: shown_mean(row.weighted_f1),
    "log loss": lambda row: shown_mean(row.log_loss),
    "ROC-AUC": lambda row: shown_mean(row.roc_auc),
    "validation macro-F1": lambda row: shown_mean(row.validation_macro_f1),
    "remarks": _remarks,
}


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
    rows = tuple(tuple(cell(row) for cell in _SCORE_COLUMNS.values()) for row in comparison.methods)
    caption = "Every method on the test rows, the best macro-F1 first"
    table = Table(caption, tuple(_SCORE_COLUMNS), rows, links=method_pages(comparison))
    return table, Paragraph(_score_note(comparison))


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
