"""The tables of a report that hold scores, and what must be known to read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from distilora.report.blocks import Block, Paragraph, Table
from distilora.report.records import LEVEL, MAJORITY, TFIDF, Comparison, Difference, Flag, MethodRow, Score
from distilora.report.wording import (
    MISSING,
    count,
    counted,
    duration,
    listed,
    number,
    p_words,
    points,
    points_span,
    printable,
    span,
)

FLAG_WORDS: Mapping[Flag, str] = {
    "one class": "says only one class",
    "below majority": "accuracy below the majority class",
    "not above tfidf": "not better than TF-IDF",
}


def shown_mean(score: Score | None, decimals: int = 3) -> str:
    """Return a mean, with its standard deviation over seeds where there is one."""
    if score is None:
        return MISSING
    spread = f" ± {number(score.sd, decimals)}" if score.sd is not None else ""
    return number(score.mean, decimals) + spread


def _interval(score: Score | None) -> str:
    return span(score.interval if score else None)


def _remarks(row: MethodRow) -> str:
    words = [FLAG_WORDS[flag] for flag in row.flags]
    if row.void and not row.is_void:
        words.append(f"{len(row.void)} of {len(row.void) + len(row.seeds)} seeds void")
    return "; ".join(words)


_SCORE_COLUMNS: Mapping[str, Callable[[MethodRow], str]] = {
    "method": lambda row: printable(row.method),
    "n seeds": lambda row: str(len(row.seeds)) if row.seeds else MISSING,
    "macro-F1": lambda row: "void" if row.is_void and row.void else shown_mean(row.macro_f1),
    "95 % interval": lambda row: _interval(row.macro_f1),
    "accuracy": lambda row: shown_mean(row.accuracy),
    "95 % interval of accuracy": lambda row: _interval(row.accuracy),
    "weighted F1": lambda row: shown_mean(row.weighted_f1),
    "log loss": lambda row: shown_mean(row.log_loss),
    "ROC-AUC": lambda row: shown_mean(row.roc_auc),
    "validation macro-F1": lambda row: shown_mean(row.validation_macro_f1),
    "parameters": lambda row: count(row.parameters),
    "trainable": lambda row: count(row.trainable_parameters),
    "size, MB": lambda row: number(row.size_mb, 1),
    "training": lambda row: duration(row.training_seconds),
    "remarks": _remarks,
}


def score_table(comparison: Comparison) -> tuple[Block, ...]:
    """Return one row for each method with its scores and costs, and a note on what they are."""
    rows = tuple(tuple(cell(row) for cell in _SCORE_COLUMNS.values()) for row in comparison.rows)
    table = Table("Every method on the test rows, the best macro-F1 first", tuple(_SCORE_COLUMNS), rows)
    return table, Paragraph(_score_note(comparison))


def _score_note(comparison: Comparison) -> str:
    several = any(row.macro_f1 and row.macro_f1.sd is not None for row in comparison.rows)
    spread = "± is the standard deviation over seeds. " if several else ""
    named = {row.method for row in comparison.rows}
    baselines = [
        *(["majority always says the largest class of the training rows"] if MAJORITY in named else []),
        *(["tfidf is TF-IDF with logistic regression"] if TFIDF in named else []),
    ]
    return (
        f"{spread}Intervals are bootstraps over test rows with the seeds averaged; comparison.json has one for every "
        "score. Log loss is in nats, lower is better. 1 MB is 10^6 bytes of weights that must be stored to run the "
        "model. Training is the loop alone, the "
        f"mean over seeds. {'; '.join(baselines)}{'. ' if baselines else ''}{MISSING}: there is no such number."
    )


def pair_table(comparison: Comparison) -> tuple[Block, ...]:
    """Return the matrix of all tested pairs, and a note on how they were tested; nothing below two methods."""
    family = comparison.family
    if not comparison.pairs:
        return ()
    rows = tuple(
        (
            printable(method),
            *(_pair(comparison.difference(method, other)) if other in family[i + 1 :] else "" for other in family[1:]),
        )
        for i, method in enumerate(family[:-1])
    )
    table = Table(
        "Macro-F1 of the method on the left less that of the method above, in points (95 % interval)",
        ("method", *(f"less {printable(other)}" for other in family[1:])),
        rows,
        numeric=False,
    )
    return table, Paragraph(_pair_note(comparison))


def _pair(difference: Difference | None) -> str:
    if difference is None or difference.interval is None or difference.p_holm is None:
        return MISSING
    verdict = "they differ" if difference.is_shown else "no difference was found"
    return f"{verdict}: {points(difference.value)} ({points_span(difference.interval)}), {p_words(difference.p_holm)}"


def _pair_note(comparison: Comparison) -> str:
    return (
        f"Paired bootstrap on the same test rows, the seeds of each method averaged. p is corrected (Holm) for the "
        f"{counted(len(comparison.pairs), 'pair')} of {listed(comparison.family)}, one family of tests; the majority "
        f"class is left out. Two methods differ where p is below {LEVEL}. Intervals are those of each pair by itself, "
        "so one may leave out 0 where no difference was found. A test that finds none does not show that two methods "
        "are equal. McNemar's test of each seed is in comparison.json."
    )


def class_table(comparison: Comparison) -> tuple[Table, ...]:
    """Return the F1 of each class by each method with its interval; nothing where no method has a score."""
    names = comparison.data.label_names
    if not comparison.scored:
        return ()
    columns = ("method", *(f"{printable(name)} ({comparison.class_support.get(name, 0):,} rows)" for name in names))
    rows = tuple((printable(row.method), *(_class_f1(row, name) for name in names)) for row in comparison.scored)
    return (Table("F1 of each class on test rows, the mean over seeds (95 % interval over rows)", columns, rows),)


def _class_f1(row: MethodRow, name: str) -> str:
    if row.classes is None:
        return MISSING
    f1 = row.classes[name].f1
    return f"{number(f1.mean)} ({span(f1.interval)})" if f1.interval else number(f1.mean)


def calibration_table(comparison: Comparison) -> tuple[Block, ...]:
    """Return how well each method's probabilities fit what is true; nothing where no logits were kept."""
    rows = tuple(
        (
            printable(row.method),
            shown_mean(row.expected_calibration_error),
            _interval(row.expected_calibration_error),
            shown_mean(row.brier_score),
            _interval(row.brier_score),
        )
        for row in comparison.scored
        if row.calibration
    )
    if not rows:
        return ()
    columns = ("method", "calibration error", "95 % interval", "Brier score", "95 % interval of Brier score")
    note = (
        "Calibration error is the mean distance between how sure a model is and how often it is right, over 15 bins of "
        "equally many rows (ECE); noise alone raises it above 0. The Brier score is the squared error of the "
        "probabilities, from 0 to 2. For both, lower is better. The probabilities are those of the trained model; an "
        "exported bundle corrects them by its temperature."
    )
    return Table("Probabilities on the test rows, before any temperature", columns, rows), Paragraph(note)
