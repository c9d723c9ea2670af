"""What a report says, in order, as plain blocks; Markdown and HTML are two ways to write the same blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath

from distilora.report.blocks import Block, Bullets, Document, FigureBlock, Section, Table
from distilora.report.findings import findings
from distilora.report.provenance import data_table, methods_table, surroundings_table
from distilora.report.records import Comparison
from distilora.report.score_tables import calibration_table, class_table, pair_table, score_table, shown_mean
from distilora.report.wording import count, points, printable
from distilora.runs import RunRecord


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
        Section("table", "All methods", score_table(comparison)),
        Section("scores", "Scores", figure("scores")),
        Section("differences", "Do they really differ?", (*pair_table(comparison), *figure("differences"))),
        Section("classes", "F1 of each class", (*class_table(comparison), *figure("classes"))),
        Section("confusion", "Confusion matrices", figure("confusion")),
        Section(
            "calibration",
            "Can the probabilities be trusted?",
            (*calibration_table(comparison), *figure("calibration")),
        ),
        Section("curves", "Losses and validation scores in training", curve_blocks),
        Section("size", "Score against size", figure("size")),
        Section("method", "How it was done", tuple(_how(comparison, records))),
        Section("void", "Void runs", _void_table(comparison)),
    ]


def _figures(comparison: Comparison) -> list[FigureBlock]:
    scored = ", ".join(f"{printable(row.method)} {shown_mean(row.macro_f1)}" for row in comparison.scored)
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
            "Macro-F1 less the teacher's, with paired 95 % intervals. A hollow point: no difference was found once "
            "p is corrected for all pairs.",
        ),
        FigureBlock(
            "classes",
            "Bars of the F1 of each class, as in the table.",
            "F1 of each class on test rows; the lines are 95 % intervals over test rows.",
        ),
        FigureBlock(
            "confusion",
            "One confusion matrix for each method: rows are true classes, columns predicted ones.",
            "Test rows by true and predicted class (mean over seeds, rounded); the darker, the larger the share of the "
            "true class.",
        ),
        FigureBlock(
            "calibration",
            "For each method, how often it is right against how sure it is; the errors are those of the table.",
            "Share of right answers among test rows of like confidence. On the dashed line a model is right as often "
            "as it says; below it, it is too sure. Bars are 95 % intervals. One line a seed.",
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
