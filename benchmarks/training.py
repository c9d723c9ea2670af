"""How much faster distilora trains one odd student than the notebook that the earlier projects ran.

Both train an odd-layer student of ``minilm`` on the same rows for one epoch, in processes of their own, in turn.
Compared are samples a second by the clocks of the two training loops. Teacher outputs, which distilora computes once,
are counted at their share of a five-epoch training.

    python benchmarks/training.py --data comments.csv --text tweet --label label
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from distilora.config import ExperimentSettings, TrainingSettings
from distilora.data.batches import LabelledRows, LengthSortedBatches
from distilora.data.tokens import EncodedTexts, encode_texts
from distilora.evaluation.metrics import macro_f1
from distilora.files import write_whole
from distilora.losses.class_weights import class_weights
from distilora.losses.objective import Objective
from distilora.models.encoders import find_encoder, load_classifier, load_tokenizer
from distilora.models.inference import compute_logits
from distilora.models.layers import layer_numbers, layer_stack
from distilora.models.students import build_student
from distilora.training.arguments import default_learning_rate, uses_bf16
from distilora.training.loop import TrainingTask, train_model
from machine import peak_flops

_ROWS = 2000
_MAX_LENGTH = 128
_EPOCHS_OF_A_TRAINING = 5
_NOTEBOOK = Path(__file__).with_name("notebook_baseline.py")


def main() -> None:
    arguments = _arguments()
    if arguments.side:
        print(json.dumps(_train_student(arguments)))
        return
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        arguments.rows = Path(folder) / "rows.json"
        for number in range(1, arguments.pairs + 1):
            notebook = _run_notebook(arguments)
            ours = _run_ours(arguments)
            ratio = ours["samples_per_s"] / notebook["train_samples_per_s"]
            pairs.append({"ratio": ratio, "notebook": notebook, "distilora": ours})
            print(
                f"pair {number}: notebook {notebook['train_samples_per_s']:.1f}, "
                f"distilora {ours['samples_per_s']:.1f} samples/s, ratio {ratio:.2f}",
                flush=True,
            )
    report = {
        "ratio_vs_notebook": statistics.median(pair["ratio"] for pair in pairs),
        "share_of_bf16_peak": statistics.median(pair["distilora"]["share_of_bf16_peak"] for pair in pairs),
        "rows": _ROWS,
        "data": arguments.data.name,
        "pairs": pairs,
    }
    write_whole(arguments.out, json.dumps(report, indent=1) + "\n")
    print(f"median ratio {report['ratio_vs_notebook']:.2f}, share of the bf16 peak {report['share_of_bf16_peak']:.0%}")
    print(f"written to {arguments.out}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="CSV of comments")
    parser.add_argument("--text", default="tweet", help="its column of texts")
    parser.add_argument("--label", default="label", help="its column of labels")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/bench-training.json"))
    parser.add_argument("--side", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.data.is_file():
        parser.error(f"{arguments.data}: no such file; name a CSV of comments with --data")
    return arguments


def _run_notebook(arguments: argparse.Namespace) -> dict[str, Any]:
    command = [
        sys.executable,
        str(_NOTEBOOK),
        "--model",
        str(find_encoder("minilm").path),
        "--csv",
        str(arguments.data),
    ]
    command += ["--text-column", arguments.text, "--label-column", arguments.label, "--layers", "odd", "--epochs", "1"]
    command += ["--train-samples", str(_ROWS), "--eval-samples", "200", "--test-samples", "200"]
    command += ["--max-length", str(_MAX_LENGTH), "--dump-split", str(arguments.rows)]
    answer = _last_json(command)
    return {key: answer[key] for key in ("train_samples_per_s", "seconds", "share_of_tokens_that_are_padding")}


def _run_ours(arguments: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--side", "--data", str(arguments.data), "--rows", str(arguments.rows)]
    return _last_json([*command, "--text", arguments.text, "--label", arguments.label])


def _last_json(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _train_student(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return how fast distilora trains on the rows that the notebook was given."""
    method = ExperimentSettings().method("odd")
    rate = default_learning_rate("student", width=384)
    settings = method.training.model_copy(update={"epochs": 1, "learning_rate": rate})
    texts, labels, names = _read(arguments)
    encoder = find_encoder("minilm")
    tokenizer = load_tokenizer(encoder, max_length=_MAX_LENGTH)
    teacher, _ = load_classifier(encoder, labels=names, seed=0)
    student = build_student(teacher, layer_numbers("odd", 6), dropout=settings.dropout)
    encoded = {part: encode_texts(texts[part], tokenizer, max_length=_MAX_LENGTH) for part in texts}
    logits, seconds = {}, {}
    for part, ids in encoded.items():
        began = time.perf_counter()
        logits[part] = compute_logits(teacher, ids, bf16=uses_bf16(settings))
        seconds[part] = time.perf_counter() - began
    rows = {part: LabelledRows(encoded[part], labels[part], logits[part]) for part in encoded}
    weights = class_weights(labels["train"], power=settings.class_weight_power, classes=len(names))
    with tempfile.TemporaryDirectory() as folder:
        task = TrainingTask(
            settings=settings,
            objective=Objective(weights=method.distillation, class_weights=weights),
            train=rows["train"],
            validation=rows["eval"],
            seed=0,
            folder=Path(folder),
            title="odd",
        )
        training = train_model(student, task, scores=lambda found, true: {"macro_f1": macro_f1(found, true)})
    return _speed(student, encoded["train"], settings, training=training.seconds, teacher=seconds["train"])


def _speed(
    student: PreTrainedModel, texts: EncodedTexts, settings: TrainingSettings, *, training: float, teacher: float
) -> dict[str, Any]:
    """Return the figures of one training, its and its teacher's seconds given, beside those of the machine."""
    batches = LengthSortedBatches(texts.lengths, batch_size=settings.batch_size, seed=0)
    padded = sum(texts.padded(batch)[0].size for batch in batches)
    flops = 6 * _weights_used(layer_stack(student), tokens=padded, texts=len(texts))
    peak = peak_flops(torch.bfloat16)
    return {
        "samples_per_s": len(texts) / (training + teacher / _EPOCHS_OF_A_TRAINING),
        "training_seconds": training,
        "teacher_seconds": teacher,
        "share_of_tokens_that_are_padding": 1 - int(texts.lengths.sum()) / padded,
        "share_of_bf16_peak": flops / training / peak,
        "bf16_peak_gflops": peak / 1e9,
        "fp32_peak_gflops": peak_flops(torch.float32) / 1e9,
        "threads": torch.get_num_threads(),
    }


def _weights_used(layers: Any, *, tokens: int, texts: int) -> int:
    """Return how often a weight of a matrix meets a token; of the last layer only keys and values meet them all.

    Each time costs 2 operations in the forward pass and 4 for the two gradients. Attention's own products are left out.
    """
    used = 0
    for number, layer in enumerate(layers, start=1):
        for name, weight in layer.named_parameters():
            if weight.dim() == 2:
                all_tokens = number < len(layers) or ".key." in name or ".value." in name
                used += weight.numel() * (tokens if all_tokens else texts)
    return used


def _read(arguments: argparse.Namespace) -> tuple[dict[str, list[str]], dict[str, Any], list[str]]:
    """Return texts and labels of the notebook's parts, and the classes in its order."""
    with arguments.data.open(newline="", encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    names = sorted({row[arguments.label] for row in table})
    rows = json.loads(arguments.rows.read_text())
    parts = ("train", "eval")
    texts = {part: [table[index][arguments.text] for index in rows[part]] for part in parts}
    labels = {part: np.array([names.index(table[index][arguments.label]) for index in rows[part]]) for part in parts}
    return texts, labels, names


if __name__ == "__main__":
    main()
