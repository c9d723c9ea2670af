"""What all runs of an experiment have in common: comments, split, encoder, token ids, baseline scores to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from distilora.config import ExperimentSettings
from distilora.data.batches import LabelledRows
from distilora.data.records import PARTS, Comments, Part, Splits
from distilora.data.sources import read_from_settings
from distilora.data.splits import check_disjoint, split_comments
from distilora.data.tokens import EncodedTexts, encode_texts
from distilora.data.unlabelled import UnlabelledTexts, unlabelled_from_settings, without_known
from distilora.evaluation.baselines import majority_baseline
from distilora.evaluation.metrics import evaluate_logits
from distilora.evaluation.records import Evaluation
from distilora.models.encoders import Encoder, find_encoder, load_tokenizer
from distilora.runs import DataIdentity, EncoderIdentity


@dataclass(frozen=True, eq=False)
class Materials:
    """What all runs of an experiment have in common."""

    settings: ExperimentSettings
    comments: Comments
    splits: Splits
    encoder: Encoder
    tokenizer: PreTrainedTokenizerBase
    texts: dict[Part, EncodedTexts]
    labels: dict[Part, NDArray[np.int64]]
    unlabelled: UnlabelledTexts | None = None
    """Comments that only a teacher says something of; none of them is one of the labelled."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """Return the classes' names in the order of a model's logits."""
        return self.comments.label_names

    def words(self, part: Part) -> list[str]:
        """Return the texts of one part as they were read."""
        return [self.comments.texts[index] for index in self.splits.part(part)]

    def rows(self, part: Part, teacher_logits: NDArray[np.float32] | None = None) -> LabelledRows:
        """Return one part ready for training, with the teacher's logits of shape (rows, labels) for students."""
        return LabelledRows(self.texts[part], self.labels[part], teacher_logits)

    def encoded(self, words: Sequence[str]) -> EncodedTexts:
        """Return texts as the encoder reads them."""
        return encode_texts(words, self.tokenizer, max_length=self.settings.encoder.max_length)

    @cached_property
    def unlabelled_texts(self) -> EncodedTexts:
        """Return the comments without labels as the encoder reads them."""
        return self.encoded(self.unlabelled.texts if self.unlabelled else ())

    @cached_property
    def majority(self) -> Evaluation:
        """Return what always saying the commonest class scores on validation."""
        baseline = majority_baseline(
            self.labels["train"],
            classes=len(self.label_names),
            validation_rows=len(self.labels["validation"]),
            test_rows=0,
        )
        return evaluate_logits(baseline.validation_logits, self.labels["validation"], label_names=self.label_names)

    @property
    def data_identity(self) -> DataIdentity:
        """Return which comments the runs see."""
        return DataIdentity(
            source=self.comments.source,
            sha256=self.comments.sha256,
            rows=len(self.comments),
            label_names=self.label_names,
            positive=self.comments.positive,
            split_seed=self.settings.data.split_seed,
            part_rows={part: len(self.labels[part]) for part in PARTS},
        )

    @property
    def encoder_identity(self) -> EncoderIdentity:
        """Return which pretrained model the runs start from."""
        return EncoderIdentity(
            name=self.encoder.name, sha256=self.encoder.sha256, max_length=self.settings.encoder.max_length
        )

    @property
    def identity(self) -> dict[str, Any]:
        """Return the tables that make this experiment this and no other."""
        return {
            "data": {
                # Comments without labels stand in the settings of the runs that learn from them.
                **self.settings.data.model_dump(exclude={"source", "unlabelled", "unlabelled_text"}),
                "sha256": self.comments.sha256,
            },
            "encoder": {**self.settings.encoder.model_dump(exclude={"name"}), "sha256": self.encoder.sha256},
        }


def prepare(settings: ExperimentSettings) -> Materials:
    """Return the comments read, split, proved disjoint and encoded, and the encoder found.

    Raises:
        DataError: the comments, or those without labels, cannot be used or split.
        ModelError: the encoder cannot be used.
        HubError: comments or encoder are on a hub that cannot be reached.
    """
    comments = read_from_settings(settings.data)
    splits = split_comments(comments, settings.data)
    check_disjoint(comments, splits)
    unlabelled = unlabelled_from_settings(settings.data)
    if unlabelled is not None:
        unlabelled = without_known(
            unlabelled, (comments.texts[index] for part in PARTS for index in splits.part(part)), where="the split rows"
        )
    encoder = find_encoder(settings.encoder.name)
    tokenizer = load_tokenizer(encoder, max_length=settings.encoder.max_length)
    texts = {
        part: encode_texts(
            [comments.texts[index] for index in splits.part(part)], tokenizer, max_length=settings.encoder.max_length
        )
        for part in PARTS
    }
    labels = {part: comments.labels[splits.part(part)] for part in PARTS}
    return Materials(settings, comments, splits, encoder, tokenizer, texts, labels, unlabelled)
