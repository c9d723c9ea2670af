"""What a report says, in order, as plain blocks; Markdown and HTML are two ways to write the same blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from distilora.report.comparison import MAJORITY, TFIDF, Comparison, Difference, Flag, MethodRow, Score
from distilora.report.findings import findings
from distilora.report.provenance import data_table, methods_table, surroundings_table
from distilora.report.wording import MISSING, count, duration, number, points, points_span, printable, span
from distilora.runs import RunRecord

FLAG_WORDS: Mapping[Flag, str] = {
    "one class": "says only one class",
    "below majority": "accuracy below the majority class",
    "not above tfidf": "not better than TF-IDF",
}


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows of plain text; the first column names the row, and ``numeric`` columns are set to the right."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: bool = True


@dataclass(frozen=True)
class FigureBlock:
    """A figure by the name of its file, without ending."""

    name: str
    alternative: str
    """What a reader who cannot see it should know."""
    caption: str


Block = Paragraph | Bullets | Table | FigureBlock


@dataclass(frozen=True)
class Section:
    """A heading with what follows it."""

    name: str
    """For links to it: lower-case letters and hyphens."""
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A whole report; no text in it is escaped yet."""

    title: str
    lead: str
    sections: tuple[Section, ...]


def build_document(
    comparison: Comparison, records: Sequence[RunRecord], *, curves: Mapping[str, str], figures: Sequence[str]
) -> Document:
    """Return the report of a comparison.

    Args:
        comparison: the numbers.
        records: the runs it was made of, for how they were made.
        curves: name of the figure with the curves, by method.
        figures: names of all figures that were drawn; others are left out.
    """
    return Document(
        title=f"Which small classifier for {_source_name(comparison.data.source)}?",
        lead=_lead(comparison),
        sections=tuple(section for section in _sections(comparison, records, curves, figures) if section.blocks),
    )


def _source_name(source: str) -> str:
    """Return a file by its name alone, for a report may be published; other sources as they are called."""
    path = PurePath(source)
    return printable(path.name if path.suffix else source)


def _lead(comparison: Comparison) -> str:
    data, compared = comparison.data, [row for row in comparison.rows if not row.is_baseline]
    return (
        f"{len(compared)} trained {'method' if len(compared) == 1 else 'methods'} compared on "
        f"{count(data.part_rows.get('test'))} test comments of {len(data.label_names)} classes. "
        "Macro-F1 comes first, because accuracy flatters a model that only knows the largest class."
    )


def _sections(
    comparison: Comparison, records: Sequence[RunRecord], curves: Mapping[str, str], figures: Sequence[str]
) -> list[Section]:
    drawn = [block for block in _figures(comparison) if block.name in figures]

    def figure(name: str) -> tuple[Block, ...]:
        return tuple(block for block in drawn if block.name == name)

    curve_blocks = tuple(_curve_block(name, method) for method, name in curves.items())
    return [
        Section("findings", "What was found", (Bullets(tuple(findings(comparison))),)),
        Section("table", "All methods", (_score_table(comparison), Paragraph(_table_note(comparison)))),
        Section("scores", "Scores", figure("scores")),
        Section("differences", "Difference to the teacher", (*_difference_table(comparison), *figure("differences"))),
        Section("classes", "F1 of each class", (*_class_table(comparison), *figure("classes"))),
        Section("confusion", "Confusion matrices", figure("confusion")),
        Section("curves", "Losses and validation scores in training", curve_blocks),
        Section("size", "Score against size", figure("size")),
        Section("method", "How it was done", tuple(_how(comparison, records))),
        Section("void", "Void runs", _void_table(comparison)),
    ]


def _figures(comparison: Comparison) -> list[FigureBlock]:
    scored = ", ".join(f"{printable(row.method)} {_mean(row.macro_f1)}" for row in comparison.scored)
    gaps = ", ".join(
        f"{printable(row.method)} {points(row.to_teacher.value)}" for row in comparison.candidates if row.to_teacher
    )
    return [
        FigureBlock(
            "scores",
            f"Bars of macro-F1 and accuracy. Macro-F1: {scored}.",
            "Macro-F1 and accuracy on test rows; the lines are 95 % intervals over test rows. Baselines are grey.",
        ),
        FigureBlock(
            "differences",
            f"Macro-F1 less the teacher's, in points: {gaps}.",
            "Macro-F1 less the teacher's, with paired 95 % intervals. A hollow point: no difference was found.",
        ),
        FigureBlock("classes", "Bars of the F1 of each class, as in the table.", "F1 of each class on test rows."),
        FigureBlock(
            "confusion",
            "One confusion matrix for each method: rows are true classes, columns predicted ones.",
            "Test rows by true and predicted class (mean over seeds, rounded); the darker, the larger the share of the "
            "true class.",
        ),
        FigureBlock(
            "size",
            "Macro-F1 against the size of the weights in megabytes, as in the table of all methods.",
            "Macro-F1 with its 95 % interval against the size of the weights. Dashed lines: baselines. "
            "Methods of the same size stand side by side.",
        ),
    ]


def _curve_block(name: str, method: str) -> FigureBlock:
    shown = printable(method)
    return FigureBlock(
        name,
        f"Loss terms in training, and loss, macro-F1 and accuracy on validation rows, of {shown}.",
        f"{shown}: each loss term by itself, unweighted; “total” is their weighted sum. One line a seed.",
    )


def _mean(score: Score | None, decimals: int = 3) -> str:
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
    "macro-F1": lambda row: "void" if row.is_void and row.void else _mean(row.macro_f1),
    "95 % interval": lambda row: _interval(row.macro_f1),
    "accuracy": lambda row: _mean(row.accuracy),
    "95 % interval of accuracy": lambda row: _interval(row.accuracy),
    "weighted F1": lambda row: _mean(row.weighted_f1),
    "log loss": lambda row: _mean(row.log_loss),
    "ROC-AUC": lambda row: _mean(row.roc_auc),
    "validation macro-F1": lambda row: _mean(row.validation_macro_f1),
    "parameters": lambda row: count(row.parameters),
    "trainable": lambda row: count(row.trainable_parameters),
    "size, MB": lambda row: number(row.size_mb, 1),
    "training": lambda row: duration(row.training_seconds),
    "seeds": lambda row: str(len(row.seeds)) if row.seeds else MISSING,
    "remarks": _remarks,
}


def _score_table(comparison: Comparison) -> Table:
    rows = tuple(tuple(cell(row) for cell in _SCORE_COLUMNS.values()) for row in comparison.rows)
    return Table("Every method on the test rows, the best macro-F1 first", tuple(_SCORE_COLUMNS), rows)


def _table_note(comparison: Comparison) -> str:
    several = any(row.macro_f1 and row.macro_f1.sd is not None for row in comparison.rows)
    spread = "± is the standard deviation over seeds. " if several else ""
    named = {row.method for row in comparison.rows}
    baselines = [
        *(["majority always says the largest class of the training rows"] if MAJORITY in named else []),
        *(["tfidf is TF-IDF with logistic regression"] if TFIDF in named else []),
    ]
    return (
        f"{spread}Intervals are bootstraps over test rows with the seeds averaged. Log loss is in nats, lower is "
        "better. 1 MB is 10^6 bytes of weights that must be stored to run the model. Training is the loop alone, the "
        f"mean over seeds. {'; '.join(baselines)}{'. ' if baselines else ''}{MISSING}: there is no such number."
    )


def _difference_table(comparison: Comparison) -> tuple[Table, ...]:
    if comparison.teacher is None or len(comparison.candidates) < 2:
        return ()
    columns = (
        "method",
        "to the teacher",
        "95 % interval",
        "to the best",
        "95 % interval",
        "to TF-IDF",
        "95 % interval",
    )
    rows = tuple(
        (printable(row.method), *_gap(row.to_teacher), *_gap(row.to_best), *_gap(row.to_tfidf))
        for row in comparison.candidates
    )
    caption = (
        f"Macro-F1 in points, less that of the teacher ({printable(comparison.teacher)}), "
        f"of the best ({printable(comparison.best or MISSING)}) and of TF-IDF, paired on test rows"
    )
    return (Table(caption, columns, rows),)


def _gap(difference: Difference | None) -> tuple[str, str]:
    if difference is None:
        return MISSING, MISSING
    return points(difference.value), points_span(difference.interval) if difference.interval else MISSING


def _class_table(comparison: Comparison) -> tuple[Table, ...]:
    names = comparison.data.label_names
    if not comparison.scored:
        return ()
    columns = ("method", *(f"{printable(name)} ({comparison.class_support.get(name, 0):,} rows)" for name in names))
    rows = tuple(
        (printable(row.method), *(number((row.class_f1 or {}).get(name)) for name in names))
        for row in comparison.scored
    )
    return (Table("F1 of each class on test rows, the mean over seeds", columns, rows),)


def _how(comparison: Comparison, records: Sequence[RunRecord]) -> list[Block]:
    return [
        Table("Data", ("what", "value"), data_table(comparison.data), numeric=False),
        Table(
            "Methods; layers are those of the teacher, counted from 1",
            ("method", "kind", "layers", "epochs run", "epoch kept", "guards passed by every valid run"),
            methods_table(comparison, records),
            numeric=False,
        ),
        Table("Encoder, versions and machine", ("what", "value"), surroundings_table(records), numeric=False),
    ]


def _void_table(comparison: Comparison) -> tuple[Block, ...]:
    rows = tuple(
        (printable(row.method), str(void.seed), printable(void.reason)) for row in comparison.rows for void in row.void
    )
    if not rows:
        return ()
    return (Table("Runs whose numbers would mean nothing, and why", ("method", "seed", "reason"), rows, numeric=False),)
