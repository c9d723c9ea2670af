"""What the cards of trained models and of bundles have in common: Markdown of their parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from distilora.data.records import Part
from distilora.report.markdown import escaped
from distilora.report.wording import count, printable

FOLDER = "THIS_FOLDER"
"""Stands in commands for the folder that holds the card."""
ASK = 'answers = classifier(["Some text."], truncation=True)  # with top_k=None: every class'
"""A line of Python that asks a pipeline."""
VALIDATION_FLATTERS = (
    "The model was chosen on the validation rows: scores there flatter, those of the test rows do not."
)
_CAUTIONS = (
    "It is meant to sort short texts like those it was trained on, and to help people decide. It should not be the "
    "only ground for a decision about a person.",
    "It repeats what its training labels say, their mistakes and prejudices included: such classifiers are known "
    "to take dialects and names of groups for signs of hate.",
    "On texts of another kind, time or language its scores and probabilities do not hold.",
)


def foreign(text: str) -> str:
    """Return foreign text in which nothing is Markdown or HTML."""
    return escaped(printable(text))


def title(name: str) -> str:
    """Return the heading of a card."""
    return f"# {foreign(name)}: a text classifier"


def labels_table(names: Sequence[str], positive: Sequence[str]) -> str:
    """Return the classes in the order of the logits, and which are positive where any is."""
    rows = [(str(index), foreign(name), "yes" if name in positive else "no") for index, name in enumerate(names)]
    header = ("index", "class", "positive")
    return table(header, rows) if positive else table(header[:2], [row[:2] for row in rows])


def pipeline_code() -> str:
    """Return how plain ``transformers`` opens the folder and asks it."""
    return python_block(
        "from transformers import pipeline",
        "",
        f'classifier = pipeline("text-classification", model="{FOLDER}")',
        ASK,
    )


def python_block(*lines: str) -> str:
    """Return lines of Python as a block of code."""
    return "\n".join(("```python", *lines, "```"))


def limits(more: Iterable[str] = ()) -> str:
    """Return what every such model is for and is not for, and what else is to be said of this one."""
    return bullets((*_CAUTIONS, *more))


def hashed(sha256: str) -> str:
    """Return the beginning of a hash, which is enough to tell two files apart."""
    return f"SHA-256 {foreign(sha256[:16])}…"


def data_used(source: str, part_rows: Mapping[Part, int], *, sha256: str, more: str = "") -> str:
    """Return which rows a model saw; ``more`` is said of the split."""
    rows = ", ".join(f"{count(rows)} {part}" for part, rows in part_rows.items())
    return f"Data {foreign(source)}: {rows} rows{more}, {hashed(sha256)}."


def software(versions: Mapping[str, str]) -> str:
    """Return the version of each library, by name."""
    return foreign(", ".join(f"{name} {version}" for name, version in sorted(versions.items())))


def licence(encoder: str, data_source: str) -> str:
    """Return whose terms hold for the weights."""
    return (
        f"distilora is under the MIT licence. For these weights the terms of the encoder ({foreign(encoder)}) and "
        f"of the data ({foreign(data_source)}) hold as well; see to them before you share or sell."
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose cells are Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def bullets(items: Iterable[str]) -> str:
    """Return a list whose items are Markdown."""
    return "\n".join(f"- {item}" for item in items)
