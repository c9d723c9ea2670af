"""The front matter of a card: what the Hugging Face hub reads of a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal

from huggingface_hub import EvalResult, ModelCardData

from distilora.data.hub import NAMED_SOURCES
from distilora.data.opening import SUFFIXES
from distilora.report.wording import printable, source_name

MARK = "distilora"
"""The tag by which a card is known as one that distilora wrote."""
TASK = "text-classification"
MINILM_HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
_BUILDERS = {".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".ndjson": "json", ".parquet": "parquet"}
"""How ``datasets`` calls a kind of file."""
_LANGUAGES = {"sample": "en", "davidson": "en", "wiki_toxic": "en"}
"""Of the named sources whose language is known."""
_REPOSITORY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)?")
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_.-]+")
_OPENING = re.compile(r"---\r?\n(.*?)\r?\n---\r?\n", re.DOTALL)


@dataclass(frozen=True)
class DataName:
    """How the hub calls the data of a model."""

    kind: str
    """The id of a data set, else the kind of file: letters, digits, ``_``, ``.`` and ``-``, one ``/`` at most."""
    name: str
    """For people."""
    hub_id: str | None = None
    config: str | None = None
    language: str | None = None
    """Two letters; absent where it is not known."""


@dataclass(frozen=True)
class Head:
    """What the front matter says beside what holds for every model."""

    name: str
    """Of the model."""
    framework: Literal["transformers", "peft", "onnx"]
    tags: Sequence[str]
    """Beside ``distilora`` and the task."""
    data_source: str
    """As the run calls it."""
    base_model: str | None
    """The encoder's id on the hub."""
    test_scores: tuple[float, float] | None
    """Macro-F1 and accuracy on the test rows."""
    relation: Literal["finetune", "adapter", "quantized"] | None = None
    """To the base model; absent: the hub guesses."""


def front_matter(head: Head) -> str:
    """Return the YAML between its two lines of hyphens; no licence is named, for that is the owner's to choose.

    Source:
        https://huggingface.co/docs/hub/model-cards and the specification that it links to. The hub refuses a card whose
        results lack a task, a data set's type and name, or a metric's type and value.
    """
    data = data_name(head.data_source)
    card = ModelCardData(
        language=data.language,
        library_name=head.framework,
        pipeline_tag=TASK,
        base_model=head.base_model,
        base_model_relation=head.relation if head.base_model else None,
        datasets=[data.hub_id] if data.hub_id else None,
        tags=[MARK, TASK, *head.tags],
        metrics=["f1", "accuracy"],
        model_name=printable(head.name) if head.test_scores else None,
        eval_results=_results(data, head.test_scores) if head.test_scores else None,
    )
    return f"---\n{card.to_yaml().strip()}\n---"


def _results(data: DataName, scores: tuple[float, float]) -> list[EvalResult]:
    macro_f1, accuracy = scores
    common: dict[str, Any] = {
        "task_type": TASK,
        "dataset_type": data.kind,
        "dataset_name": data.name,
        "dataset_config": data.config,
        "dataset_split": "test",
    }
    return [
        EvalResult(
            **common,
            metric_type="f1",
            metric_name="macro-F1",
            metric_value=round(macro_f1, 4),
            metric_args={"average": "macro"},
        ),
        EvalResult(**common, metric_type="accuracy", metric_name="accuracy", metric_value=round(accuracy, 4)),
    ]


def is_ours(card: str) -> bool:
    r"""Return whether distilora wrote a card: its front matter has the tag ``distilora``.

    Example:
        >>> is_ours("---\ntags:\n- distilora\n---\n\n# odd"), is_ours("# odd, not by distilora")
        (True, False)
    """
    opening = _OPENING.match(card)
    return opening is not None and f"- {MARK}" in (line.strip() for line in opening[1].splitlines())


def data_name(source: str) -> DataName:
    """Return how the hub calls a source of comments; of a file the name alone, for its folder is nobody's business.

    Example:
        >>> data_name("/home/me/comments.csv")
        DataName(kind='csv', name='comments.csv', hub_id=None, config=None, language=None)
        >>> data_name("davidson").hub_id, data_name("owner/name:part").config
        ('tdavidson/hate_speech_offensive', 'part')
    """
    shown, language = source_name(source), _LANGUAGES.get(source)
    suffix = PurePath(source).suffix.lower()
    if suffix in SUFFIXES:
        return DataName(kind=_BUILDERS[suffix], name=shown)
    if source == "sample":
        return DataName(kind=f"{MARK}-sample", name="the sample that comes with distilora", language=language)
    repository, _, config = (NAMED_SOURCES[source].repository if source in NAMED_SOURCES else source).partition(":")
    if "/" in repository and _REPOSITORY.fullmatch(repository):
        return DataName(kind=repository, name=shown, hub_id=repository, config=config or None, language=language)
    return DataName(kind=_NOT_IN_AN_ID.sub("-", shown).strip("-.") or "unknown", name=shown or "unknown")


def encoder_hub_id(name: str) -> str | None:
    """Return the hub's id of an encoder that a run calls ``name``, or nothing where that is a folder.

    A folder that is not there any more is known by a name that no model of the hub can have, such as ``./bert``.

    Example:
        >>> encoder_hub_id("minilm"), encoder_hub_id("bert-base-uncased"), encoder_hub_id("/home/me/bert")
        ('sentence-transformers/all-MiniLM-L6-v2', 'bert-base-uncased', None)
    """
    if name == "minilm":
        return MINILM_HUB_ID
    return name if _REPOSITORY.fullmatch(name) and not Path(name).is_dir() else None
