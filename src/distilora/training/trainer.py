"""The training loop: ``transformers.Trainer`` with our batches, our loss terms and our evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel, Trainer

from distilora.data.batches import EpochLoader, LabelledRows, LengthSortedBatches
from distilora.losses.objective import LayerStates, Objective
from distilora.losses.terms import cosine_hidden_loss
from distilora.models.inference import compute_logits
from distilora.training.callbacks import EpochEndLog

Scores = Callable[[NDArray[np.float32], NDArray[np.int64]], Mapping[str, float]]
"""From logits (rows, labels) and labels (rows,) to scores by name; ``macro_f1`` must be among them."""


@dataclass(frozen=True, eq=False)
class LiveTeacher:
    """A teacher that runs beside the student, for terms that need more than its logits."""

    model: PreTrainedModel
    layers: Sequence[int]
    """For each student layer the number, from 1, of the teacher layer that it came from."""


class DistillationTrainer(Trainer):  # type: ignore[misc]
    """Minimises an :class:`Objective` on batches of like length; the teacher's logits come with the batch.

    Every term is logged by name: its mean over the steps since the last entry in training, its mean over all rows at
    each evaluation.
    """

    control: Any

    def __init__(  # noqa: PLR0913 - the trainer's own arguments, and ours
        self,
        model: nn.Module,
        *,
        objective: Objective,
        train: LabelledRows,
        validation: LabelledRows,
        scores: Scores,
        teacher: LiveTeacher | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, train_dataset=train, eval_dataset=validation, **options)
        self.add_callback(EpochEndLog)
        self.model_accepts_loss_kwargs = False  # our terms are means over the batch, not sums to be divided
        self._objective = objective
        self._train_rows = train
        self._validation_rows = validation
        self._scores = scores
        self._teacher = teacher
        if teacher is not None:
            teacher.model.to(self.args.device)
        self._term_sums: dict[str, Tensor] = {}
        self._term_steps = 0

    def get_train_dataloader(self) -> EpochLoader:
        """Return the loader of this process's share of the batches."""
        batches = LengthSortedBatches(
            self._train_rows.texts.lengths,
            batch_size=self.args.per_device_train_batch_size,
            seed=self.args.data_seed,
            rank=self.args.process_index,
            processes=self.args.world_size,
        )
        return EpochLoader(self._train_rows, batches)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, **_: Any
    ) -> Tensor | tuple[Tensor, Any]:
        """Return the weighted sum of the objective's terms, shape (); with the model's outputs where asked."""
        labels, teacher_logits = inputs.pop("labels"), inputs.pop("teacher_logits", None)
        outputs = model(**inputs, output_hidden_states=self._teacher is not None)
        states = None if self._teacher is None else _layer_states(self._teacher, inputs, outputs)
        terms = self._objective.terms(outputs.logits, labels, teacher_logits=teacher_logits, states=states)
        self._remember(terms)
        loss = self._objective.total(terms)
        return (loss, outputs) if return_outputs else loss

    def _remember(self, terms: Mapping[str, Tensor]) -> None:
        for name, term in terms.items():
            self._term_sums[name] = self._term_sums.get(name, torch.zeros_like(term)) + term.detach()
        self._term_steps += 1

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the mean of every term since the last entry beside the training loss."""
        if "loss" in logs:
            logs.update({f"loss_{name}": float(total) / self._term_steps for name, total in self._term_sums.items()})
            self._term_sums, self._term_steps = {}, 0
        super().log(logs, start_time)

    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:
        """Return the scores and the loss terms of the validation rows, and log them."""
        rows = self._validation_rows
        logits = compute_logits(self.model, rows.texts, bf16=self.args.bf16)
        terms = self._objective.terms(
            torch.from_numpy(logits),
            torch.from_numpy(rows.labels),
            teacher_logits=None if rows.teacher_logits is None else torch.from_numpy(rows.teacher_logits),
        )
        terms.update(self._validation_hidden_term())
        found = {**self._scores(logits, rows.labels), "loss": float(self._objective.total(terms))}
        found.update({f"loss_{name}": float(term) for name, term in terms.items()})
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    @torch.inference_mode()
    def _validation_hidden_term(self) -> dict[str, Tensor]:
        """Return the hidden-state term of all validation rows by name, where a teacher runs live."""
        if self._teacher is None:
            return {}
        texts = self._validation_rows.texts
        batches = LengthSortedBatches(texts.lengths, batch_size=self.args.per_device_eval_batch_size, seed=0)
        self.model.eval()
        total = tokens = torch.zeros((), device=self.args.device)
        for rows in batches:
            ids, mask = (torch.from_numpy(array).to(self.args.device) for array in texts.padded(rows))
            inputs = {"input_ids": ids, "attention_mask": mask}
            states = _layer_states(self._teacher, inputs, self.model(**inputs, output_hidden_states=True))
            total = total + mask.sum() * cosine_hidden_loss(states.student, states.teacher, mask)
            tokens = tokens + mask.sum()
        return {"cosine_hidden": (total / tokens).cpu()}

    def floating_point_ops(self, inputs: dict[str, Tensor]) -> int:  # noqa: ARG002
        """Return 0: the count is nowhere shown, and walking all parameters for it costs a millisecond a step."""
        return 0


def _layer_states(teacher: LiveTeacher, inputs: Mapping[str, Tensor], outputs: Any) -> LayerStates:
    """Return the student's hidden states, from its ``outputs``, and the teacher's for the same ``inputs``."""
    with torch.no_grad():
        states = teacher.model(**inputs, output_hidden_states=True).hidden_states
    # hidden_states begins with the embeddings, so layer n stands at index n.
    return LayerStates(
        student=torch.stack(outputs.hidden_states[1:]),
        teacher=torch.stack([states[number] for number in teacher.layers]),
        attention_mask=inputs["attention_mask"],
    )
