"""Whether the fine-tuned teacher beats TF-IDF + logistic regression on the packaged sample, fold by fold.

Five stratified folds of the sample; in each, a tenth of the training rows is validation, on which both choose.

    python benchmarks/sample_folds.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedKFold, train_test_split

import distilora
from distilora.data.batches import LabelledRows
from distilora.data.tokens import encode_texts
from distilora.evaluation.intervals import difference_interval
from distilora.evaluation.metrics import accuracy, macro_f1
from distilora.evaluation.tfidf import tfidf_baseline
from distilora.files import write_whole
from distilora.losses.objective import Objective
from distilora.models.encoders import find_encoder, load_classifier, load_tokenizer
from distilora.models.inference import compute_logits
from distilora.training.arguments import default_learning_rate
from distilora.training.loop import TrainingTask, train_model

_FOLDS = 5
_MAX_LENGTH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/bench-sample.json"))
    arguments = parser.parse_args()
    comments = distilora.read_comments("sample")
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0).split(np.zeros(len(comments)), comments.labels)
    found = []
    predicted: dict[str, list[Any]] = {"labels": [], "teacher": [], "tfidf": []}
    for number, (rest, test) in enumerate(folds, start=1):
        logits = _fold_logits(comments, rest, test)
        labels = comments.labels[test]
        scores = {
            name: {"accuracy": accuracy(one, labels), "macro_f1": macro_f1(one, labels)} for name, one in logits.items()
        }
        found.append(scores)
        predicted["labels"].append(labels)
        for name, one in logits.items():
            predicted[name].append(one.argmax(axis=1))
        shown = ", ".join(f"{name} {one['accuracy']:.3f}" for name, one in scores.items())
        print(f"fold {number}: accuracy {shown}", flush=True)
    joined = {name: np.concatenate(pieces) for name, pieces in predicted.items()}
    interval = difference_interval(joined["labels"], joined["teacher"][None], joined["tfidf"][None], classes=2)
    means = {
        name: {score: statistics.fmean(fold[name][score] for fold in found) for score in ("accuracy", "macro_f1")}
        for name in ("teacher", "tfidf")
    }
    report = {"folds": found, "mean": means, "macro_f1_difference_interval": interval.model_dump()}
    write_whole(arguments.out, json.dumps(report, indent=1) + "\n")
    print(f"mean: {json.dumps(means)}")
    print(f"teacher above TF-IDF in macro-F1, 95 % interval {interval.low:.3f} to {interval.high:.3f}; {arguments.out}")


def _fold_logits(comments: Any, rest: Any, test: Any) -> dict[str, Any]:
    """Return what teacher and TF-IDF say of the test rows, each shape (rows, labels)."""
    train, validation = train_test_split(rest, test_size=0.1, stratify=comments.labels[rest], random_state=0)
    words = {name: [comments.texts[i] for i in rows] for name, rows in (("t", train), ("v", validation), ("x", test))}
    labels = {"t": comments.labels[train], "v": comments.labels[validation]}
    encoder = find_encoder("minilm")
    tokenizer = load_tokenizer(encoder, max_length=_MAX_LENGTH)
    texts = {name: encode_texts(part, tokenizer, max_length=_MAX_LENGTH) for name, part in words.items()}
    method = distilora.ExperimentSettings().method("teacher")
    rate = default_learning_rate("teacher", width=encoder.width)
    model, _ = load_classifier(encoder, labels=comments.label_names, dropout=method.training.dropout, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        task = TrainingTask(
            settings=method.training.model_copy(update={"learning_rate": rate}),
            objective=Objective(),
            train=LabelledRows(texts["t"], labels["t"]),
            validation=LabelledRows(texts["v"], labels["v"]),
            seed=0,
            folder=Path(folder),
            title="teacher",
        )
        train_model(model, task, scores=lambda logits, true: {"macro_f1": macro_f1(logits, true)})
    baseline = tfidf_baseline(words["t"], labels["t"], words["v"], labels["v"], words["x"])
    return {"teacher": compute_logits(model, texts["x"]), "tfidf": baseline.test_logits}


if __name__ == "__main__":
    main()
