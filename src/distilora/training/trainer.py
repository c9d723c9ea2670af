"""The training loop: ``transformers.Trainer`` with our batches, our loss terms and our evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import Trainer

from distilora.data.batches import EpochLoader, LabelledRows, LengthSortedBatches
from distilora.data.class_sampling import BalancedBatches
from distilora.losses.balancing import balancer
from distilora.losses.objective import UNLABELLED, LayerPairs, Objective
from distilora.models.joint import without_adapters
from distilora.models.layers import layer_stack
from distilora.models.subsets import only_layers
from distilora.training.callbacks import EpochEndLog
from distilora.training.extras import LOG_VARIANCE_RATE, KeepExtras
from distilora.training.layer_matching import LayerMatcher, LiveTeacher
from distilora.training.layer_rates import parameter_groups
from distilora.training.processes import from_all, processes
from distilora.training.sharing import average_gradients, mean_of_all, rows_of_all, shared_logits

Scores = Callable[[NDArray[np.float32], NDArray[np.int64]], Mapping[str, float]]
"""From logits (rows, labels) and labels (rows,) to scores by name; ``macro_f1`` must be among them."""


class DistillationTrainer(Trainer):  # type: ignore[misc]
    """Minimises an :class:`Objective` on batches of like length; the teacher's logits come with the batch.

    Every term is logged by name with its weight: the mean over the steps since the last entry in training, the mean
    over all rows at each evaluation. Several processes share each batch: every term is that of the whole batch.

    Args:
        model: to be trained.
        objective: the terms.
        train: rows to learn from.
        validation: rows that every epoch is judged on.
        scores: of the validation rows.
        teacher: that runs live; absent where no term looks inside.
        balanced_sampling: how far rare classes come more often, see :mod:`distilora.data.class_sampling`.
        layer_decay: learning rate of a layer in that of the layer above it.
        penalty: added to the loss of every step, such as AdaLoRA's.
        callbacks: of the trainer.
        options: of ``transformers.Trainer``.
    """

    control: Any
    optimizer: Any

    def __init__(  # noqa: PLR0913 - the trainer's own arguments, and ours
        self,
        model: nn.Module,
        *,
        objective: Objective,
        train: LabelledRows,
        validation: LabelledRows,
        scores: Scores,
        teacher: LiveTeacher | None = None,
        balanced_sampling: float = 0.0,
        layer_decay: float = 1.0,
        penalty: Callable[[], Tensor] | None = None,
        callbacks: list[Any] | None = None,
        **options: Any,
    ) -> None:
        self._balancer = balancer(objective.weights.balance, list(objective.fixed))
        self._matcher = None if teacher is None else LayerMatcher(teacher, model)
        self._extras = nn.ModuleDict({"balancer": self._balancer})
        if self._matcher is not None:
            self._extras["matcher"] = self._matcher
        kept = [KeepExtras(self._extras), *(callbacks or [])]
        super().__init__(model, train_dataset=train, eval_dataset=validation, callbacks=kept, **options)
        self.add_callback(EpochEndLog)
        self.model_accepts_loss_kwargs = False  # our terms are means over the batch, not sums to be divided
        self._objective = objective
        self._train_rows = train
        self._validation_rows = validation
        self._scores = scores
        self._balanced_sampling = balanced_sampling
        self._layer_decay = layer_decay
        self._penalty = penalty
        self._extras.to(self.args.device)
        if teacher is not None:
            teacher.model.to(self.args.device)
        self._sums: dict[str, Tensor] = {}
        self._counts: Counter[str] = Counter()
        self._epoch = 0

    def train(self, *arguments: Any, **options: Any) -> Any:
        """Train as ``transformers.Trainer`` does, listening to the layers where a term looks inside."""
        with ExitStack() as listening:
            if self._matcher is not None:
                listening.enter_context(self._matcher.listening())
            return super().train(*arguments, **options)

    def _load_callback_state(self) -> None:
        """Restore what callbacks knew, and their order: the monitor tells of a loss before ``FiniteLoss`` raises."""
        order = [type(callback) for callback in self.callback_handler.callbacks]
        super()._load_callback_state()  # appends those that it makes anew
        self.callback_handler.callbacks.sort(key=lambda callback: order.index(type(callback)))

    def get_train_dataloader(self) -> EpochLoader:
        """Return the loader of this process's share of each batch."""
        rows = self._train_rows
        shared = {
            "batch_size": self.args.per_device_train_batch_size,  # of all processes, see training_arguments
            "seed": self.args.data_seed,
            "rank": self.args.process_index,
            "processes": self.args.world_size,
        }
        if self._balanced_sampling:
            batches: LengthSortedBatches = BalancedBatches(
                rows.texts.lengths, _classes(rows), power=self._balanced_sampling, **shared
            )
        else:
            batches = LengthSortedBatches(rows.texts.lengths, **shared)
        return EpochLoader(rows, batches)

    def create_optimizer(self, model: nn.Module | None = None) -> Any:
        """Return the optimizer: layer by layer where rates fall, and with what learns beside the model."""
        if self.optimizer is not None:
            return self.optimizer
        if self._layer_decay < 1:
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            self.optimizer = kind(self._layer_groups(), **options)
        else:
            self.optimizer = super().create_optimizer(model)
        for part, rate in (("balancer", LOG_VARIANCE_RATE), ("matcher", self.args.learning_rate)):
            learnt = list(self._extras[part].parameters()) if part in self._extras else []
            if learnt:
                self.optimizer.add_param_group({"params": learnt, "lr": rate, "weight_decay": 0.0})
        return self.optimizer

    def _layer_groups(self) -> list[dict[str, Any]]:
        return parameter_groups(
            self.model,
            learning_rate=self.args.learning_rate,
            decay=self._layer_decay,
            weight_decay=self.args.weight_decay,
            decayed=self.get_decay_parameter_names(self.model),
        )

    def training_step(self, *arguments: Any, **options: Any) -> Tensor:
        """Return the loss of a step, shape (), its gradients computed."""
        self._extras.zero_grad()  # the trainer does so for the model alone
        loss: Tensor = super().training_step(*arguments, **options)
        average_gradients(self._extras)
        return loss

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, **_: Any
    ) -> Tensor | tuple[Tensor, Any]:
        """Return the weighted sum of the objective's terms, shape (); with the model's outputs where asked."""
        self._end_epoch_of_balancer()
        passes = 2 if self._objective.r_drop else 1
        if passes == 2:  # in one batch: dropout draws for each row
            inputs = {name: torch.cat([tensor, tensor]) for name, tensor in inputs.items()}
        labels, teacher_logits = inputs.pop("labels"), inputs.pop("teacher_logits", None)
        adapted = model(**inputs).logits if self._objective.adapted else None
        outputs, pairs = self._answers(model, inputs)
        answers = {"logits": outputs.logits, "labels": labels, "teacher_logits": teacher_logits}
        terms = self._objective.terms(**self._of_all({**answers, "adapted_logits": adapted}, passes), passes=passes)
        if pairs is not None:
            inside = self._objective.pair_terms(pairs)
            terms |= {name: mean_of_all(term, count=pairs.count(name)) for name, term in inside.items()}
        balanced = self._balancer.weigh(terms, self._objective.fixed, observe=True)
        self._remember(terms, balanced.weights)
        loss = balanced.total if self._penalty is None else balanced.total + self._penalty()
        if self.args.world_size > 1:
            # Processes wait for a gradient of every weight, the classifier's too.
            loss = loss + 0 * outputs.logits.sum()
        return (loss, outputs) if return_outputs else loss

    def _of_all(self, answers: Mapping[str, Tensor | None], passes: int) -> dict[str, Tensor]:
        """Return the answers that there are, with those of all processes where there are several."""
        known = {name: tensor for name, tensor in answers.items() if tensor is not None}
        if self.args.world_size == 1:
            return known
        most = -(-self.args.per_device_train_batch_size // self.args.world_size)
        return rows_of_all(known, most=most, passes=passes)

    def _answers(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> tuple[Any, LayerPairs | None]:
        """Return what the model says of a batch in training, where it has a second function without its adapters."""
        with self._plain():
            outputs = model(**inputs, output_hidden_states=self._matcher is not None)
        if self._matcher is None:
            return outputs, None
        with self.accelerator.autocast():
            return outputs, self._matcher.match(inputs, observe=True)

    def _plain(self) -> AbstractContextManager[None]:
        """Let the model compute without its adapters meanwhile, where it learns from the teacher without them."""
        return without_adapters(self.model) if self._objective.adapted else nullcontext()

    def _end_epoch_of_balancer(self) -> None:
        epoch = int(self.state.epoch or 0)
        if epoch > self._epoch:
            self._balancer.end_epoch()
        self._epoch = epoch

    def _remember(self, terms: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
        found = {f"loss_{name}": term.detach() for name, term in terms.items()}
        found |= {f"weight_{name}": weight.detach() for name, weight in weights.items()}
        for name, value in found.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value
            self._counts[name] += 1

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        """Log, with the mean of every term and weight since the last entry beside the training loss."""
        if "loss" in logs:
            logs.update({name: float(total) / self._counts[name] for name, total in self._sums.items()})
            if self._matcher is not None:
                logs["pair_weights"] = self._matcher.weights.tolist()
            self._sums, self._counts = {}, Counter()
        super().log(logs, start_time)

    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, Any]:
        """Return the scores and the loss terms of the validation rows, and log them."""
        rows = self._validation_rows
        logits = shared_logits(self.model, rows.texts, bf16=self.args.bf16)
        terms = self._validation_terms(logits)
        total = self._balancer.weigh(terms, self._objective.fixed, observe=False).total.detach()
        found: dict[str, Any] = {**self._scores(logits, rows.labels), "loss": float(total)}
        found.update({f"loss_{name}": float(term) for name, term in terms.items()})
        if self._objective.adapted:
            found["layer_macro_f1"] = self._scores_by_layer()
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _validation_terms(self, logits: NDArray[np.float32]) -> dict[str, Tensor]:
        rows = self._validation_rows
        said, adapted = torch.from_numpy(logits), None
        with self._plain():
            if self._objective.adapted:
                said, adapted = torch.from_numpy(shared_logits(self.model, rows.texts, bf16=self.args.bf16)), said
            pair_terms = self._validation_pair_terms()
        terms = self._objective.terms(
            said,
            torch.from_numpy(rows.labels),
            teacher_logits=None if rows.teacher_logits is None else torch.from_numpy(rows.teacher_logits),
            adapted_logits=adapted,
        )
        return {**terms, **pair_terms}

    @torch.inference_mode()
    def _validation_pair_terms(self) -> dict[str, Tensor]:
        """Return the terms that look inside, over all validation rows, by name, where a teacher runs live."""
        if self._matcher is None:
            return {}
        texts = self._validation_rows.texts
        here = processes()
        batches = list(LengthSortedBatches(texts.lengths, batch_size=self.args.per_device_eval_batch_size, seed=0))
        self.model.eval()
        totals: dict[str, Tensor] = {}
        tokens = torch.zeros((), device=self.args.device)
        with self.accelerator.autocast():
            for rows in batches[here.rank :: here.count]:
                ids, mask = (torch.from_numpy(array).to(self.args.device) for array in texts.padded(rows))
                inputs = {"input_ids": ids, "attention_mask": mask}
                self.model(**inputs, output_hidden_states=True)
                terms = self._objective.pair_terms(self._matcher.match(inputs, observe=False))
                for name, term in terms.items():
                    totals[name] = totals.get(name, torch.zeros_like(term)) + mask.sum() * term
                tokens = tokens + mask.sum()
        return _mean_by_tokens({name: total.cpu() for name, total in totals.items()}, tokens.cpu())

    def _scores_by_layer(self) -> list[float]:
        """Return the macro-F1 of the validation rows that the model has after each of its layers, from the first on."""
        rows, depth = self._validation_rows, len(layer_stack(self.model))
        found = []
        for last in range(1, depth + 1):
            with only_layers(self.model, range(1, last + 1)):
                logits = shared_logits(self.model, rows.texts, bf16=self.args.bf16)
            found.append(float(self._scores(logits, rows.labels)["macro_f1"]))
        return found

    def floating_point_ops(self, inputs: dict[str, Tensor]) -> int:  # noqa: ARG002
        """Return 0: the count is nowhere shown, and walking all parameters for it costs a millisecond a step."""
        return 0


def _mean_by_tokens(totals: Mapping[str, Tensor], tokens: Tensor) -> dict[str, Tensor]:
    """Return the mean of terms that were summed up token by token, on one process or on several."""
    shares = from_all((totals, tokens))
    names = dict.fromkeys(name for share, _ in shares for name in share)  # a process without a batch has none
    count = torch.stack([tokens for _, tokens in shares]).sum()
    sums = {name: torch.stack([share[name] for share, _ in shares if name in share]).sum() for name in names}
    return {name: total / count for name, total in sums.items()}


def _classes(rows: LabelledRows) -> NDArray[np.int64]:
    """Return the class of each row, shape (rows,): the teacher's where nobody gave a label."""
    if rows.teacher_logits is None:
        return rows.labels
    classes: NDArray[np.int64] = np.where(rows.labels == UNLABELLED, rows.teacher_logits.argmax(axis=1), rows.labels)
    return classes
