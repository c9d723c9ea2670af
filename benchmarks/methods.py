"""Every method on the same comments: score, cost, and whether it beats the plain odd student.

    python benchmarks/methods.py --data davidson.csv --text tweet --label label

trains every preset with three seeds on 5,000 rows, resumably, into ``--work``, and writes ``--out`` and what
``docs/methods.md`` says of it. Comments of the file that are in no part stand in for comments without labels.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import distilora
from distilora.config import PRESETS, ExperimentSettings, read_experiment
from distilora.data.records import PARTS
from distilora.data.sources import read_from_settings
from distilora.data.splits import split_comments
from distilora.evaluation.costs import MethodCosts, read_costs
from distilora.evaluation.records import Interval
from distilora.evaluation.significance import PairTest, compare_with
from distilora.experiment.runner import Engine, in_turn
from distilora.files import write_whole
from distilora.report.records import Comparison, MethodRow
from distilora.report.sections.cells import bare_p
from distilora.report.wording import p_words, points, points_span
from distilora.runs import RunRecord, load_experiment
from trained_models import say

REFERENCE = "odd"
ENSEMBLES = ("odd+even", "odd+lora")
UNLABELLED = "odd-unlabelled"
PAGE = Path(__file__).parent.parent / "docs" / "methods.md"
_MEASURED = re.compile(r"(?<=<!-- measured -->\n).*?(?=<!-- end -->)", re.DOTALL)
_LEVEL = 0.05


def main() -> None:
    """Train what is missing, compare, and write what was found."""
    arguments = _arguments()
    settings = _settings(arguments)
    outcome = distilora.compare(settings, arguments.work, engine=_engine(arguments.engine), tell=say)
    found = _found(outcome.comparison, load_experiment(arguments.work), settings, arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    shown = f"{conclusions(found)}\n{table(found)}"
    print(shown)
    if arguments.page:
        PAGE.write_text(_MEASURED.sub(lambda _: shown, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="file of comments")
    parser.add_argument("--text", help="its column of texts")
    parser.add_argument("--label", help="its column of labels")
    parser.add_argument("--train-samples", type=int, default=5000)
    parser.add_argument("--unlabelled-samples", type=int, default=5000)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--methods", help="some of them; absent: all")
    parser.add_argument("--threads", type=int, default=1, help="of each training")
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help="ray: a training a processor")
    parser.add_argument("--work", type=Path, default=Path("build/methods"), help="folder of the experiment")
    parser.add_argument("--out", type=Path, default=Path("build/methods.json"))
    parser.add_argument("--page", action="store_true", help="put what was found into docs/methods.md")
    return parser.parse_args()


def _settings(arguments: argparse.Namespace) -> ExperimentSettings:
    changes: dict[str, Any] = {
        "data": {
            "source": str(arguments.data),
            "text": arguments.text,
            "label": arguments.label,
            "train_samples": arguments.train_samples,
        },
        "seeds": arguments.seeds,
        "training": {"threads": arguments.threads},
        # Alone in having further comments, or it would not be known what they bring.
        "distillation": {"unlabelled": False},
        "methods": {UNLABELLED: {"like": REFERENCE, "distillation": {"unlabelled": True}}},
        "run": arguments.methods or [*PRESETS, UNLABELLED, *ENSEMBLES],
        "evidence": {"noise_rows": 0, "layers": False},
    }
    changes["data"] = {key: value for key, value in changes["data"].items() if value is not None}
    file = _write_unlabelled(read_experiment(changes=changes), arguments)
    changes["data"] |= {"unlabelled": str(file), "unlabelled_text": "text"}
    return read_experiment(changes=changes)


def _write_unlabelled(settings: ExperimentSettings, arguments: argparse.Namespace) -> Path:
    """Return a file of comments that are in no part, drawn with a fixed seed and without their labels.

    It is written each time, so that it is never that of other comments or of another number of them; runs that were
    made with another are refused, for they hold the hash of its texts.
    """
    comments = read_from_settings(settings.data)
    splits = split_comments(comments, settings.data)
    used = {index for part in PARTS for index in splits.part(part)}
    over = [index for index in range(len(comments)) if index not in used]
    drawn = np.random.default_rng(0).permutation(over)[: arguments.unlabelled_samples]
    rows = io.StringIO(newline="")
    csv.writer(rows).writerows([["text"], *([comments.texts[index]] for index in drawn)])
    path: Path = arguments.work.with_name(f"{arguments.work.name}-unlabelled.csv")
    write_whole(path, rows.getvalue())
    return path


def _engine(name: str) -> Engine:
    if name == "local":
        return in_turn
    from distilora.scale.runs import RayRuns

    return RayRuns()


def _found(
    comparison: Comparison, kept: Sequence[RunRecord], settings: ExperimentSettings, arguments: argparse.Namespace
) -> dict[str, Any]:
    asked = settings.method_names  # the folder may hold others, of earlier calls
    rows = {row.method: row for row in comparison.methods if row.is_baseline or row.method in asked}
    records = [record for record in kept if record.result.method in rows]
    tests = _tests(records, rows)
    costs = read_costs(arguments.work)
    methods = [
        {
            **_method(row, tests.get(name), None if costs is None else costs.of(name)),
            **_training(name, records, rows, settings),
        }
        for name, row in rows.items()
    ]
    command = (
        f"python benchmarks/methods.py --data {arguments.data.name} --text {arguments.text} --label {arguments.label}"
    )
    return {
        "command": f"{command} --train-samples {arguments.train_samples} --seeds {arguments.seeds}",
        "data": {"rows": comparison.data.part_rows, "sha256": comparison.data.sha256},
        "reference": REFERENCE,
        "machine": sorted({record.result.machine for record in records if record.result.kind != "baseline"}),
        "versions": records[-1].result.versions,
        "best_student": _best_student(rows, tests),
        "methods": methods,
    }


def _tests(records: Sequence[RunRecord], rows: Mapping[str, MethodRow]) -> dict[str, PairTest]:
    """Return the paired test of each method against the reference, corrected for all of them.

    One of which a run is void has none: the seeds that are left may be the easy ones.
    """
    predictions: dict[str, list[Any]] = {}
    for record in sorted(records, key=lambda record: record.result.seed):
        row = rows[record.result.method]
        if record.test_predictions is not None and not (row.is_baseline or row.void):
            predictions.setdefault(row.method, []).append(record.test_predictions)
    labels = next(record.test_labels for record in records if record.test_labels is not None)
    stacked = {name: np.stack(found) for name, found in predictions.items()}
    if REFERENCE not in stacked:
        return {}
    classes = len(records[0].result.data.label_names)
    return {test.first: test for test in compare_with(labels, stacked, reference=REFERENCE, classes=classes)}


def _method(row: MethodRow, test: PairTest | None, costs: MethodCosts | None) -> dict[str, Any]:
    latency = None if costs is None else costs.latency_at(64)
    return {
        "method": row.method,
        "kind": row.kind,
        "layers": row.layers,
        "seeds": len(row.seeds),
        "void": [f"seed {run.seed}: {run.reason}" for run in row.void],
        "validation_macro_f1": _mean(row.validation_macro_f1),
        "macro_f1": None if row.macro_f1 is None else row.macro_f1.model_dump(),
        "accuracy": _mean(row.accuracy),
        "missed_classes": {str(run.seed): list(run.missed_classes) for run in row.by_seed if run.missed_classes},
        "to_odd": None if test is None else test.model_dump(include={"value", "low", "high", "p", "p_holm"}),
        "size_mb": None if costs is None else costs.size_mb,
        "precision": None if costs is None else costs.precision,
        "latency_64_tokens_p50_ms": None if latency is None else latency.p50_ms,
    }


def _training(
    name: str, records: Sequence[RunRecord], rows: Mapping[str, MethodRow], settings: ExperimentSettings
) -> dict[str, Any]:
    """Return a method's epochs and how many seconds its training takes: by itself, and with all that comes before."""
    if rows[name].is_baseline:
        return {"epochs": None, "best_epochs": [], "training_seconds": None, "training_seconds_in_all": None}
    in_order = sorted((record.result for record in records), key=lambda result: result.seed)
    needed = [settings.method(one) for one in settings.model_copy(update={"run": (name,)}).method_names]
    # What an ensemble took is what its members took.
    seconds = [rows[method.name].training_seconds for method in needed if method.kind != "ensemble"]
    return {
        "epochs": None if rows[name].kind == "ensemble" else settings.method(name).training.epochs,
        "best_epochs": [run.best_epoch for run in in_order if run.method == name and run.best_epoch is not None],
        "training_seconds": rows[name].training_seconds,
        "training_seconds_in_all": None if None in seconds else sum(filter(None, seconds)),
    }


def _best_student(rows: Mapping[str, MethodRow], tests: Mapping[str, PairTest]) -> dict[str, Any] | None:
    """Return the model of half the depth that is best on validation rows, and how it does against the reference."""
    half = [row for row in rows.values() if row.layers is not None or row.method == "searched"]
    scored = [row for row in half if row.validation_macro_f1 is not None and not row.void]
    if not scored:
        return None
    best = max(scored, key=lambda row: _mean(row.validation_macro_f1) or 0.0)
    test = tests.get(best.method)
    return {
        "method": best.method,
        "to_odd": None if test is None else test.model_dump(include={"value", "low", "high", "p", "p_holm"}),
        "beats_odd": test is not None and test.value > 0 and test.p_holm < _LEVEL,
    }


def _mean(score: Any) -> float | None:
    return None if score is None else float(score.mean)


def conclusions(found: Mapping[str, Any]) -> str:
    """Return what was found in sentences: of the best student, of those that win and of those that lose."""
    verdicts = [(method["method"], verdict(method["to_odd"])) for method in found["methods"]]
    better, worse = (
        ", ".join(f"`{name}`" for name, found_to_be in verdicts if found_to_be == word) or "none"
        for word in ("better", "worse")
    )
    shown = f"Shown to be better than `{REFERENCE}` on test rows: {better}. Shown to be worse, so losers here: {worse}."
    methods = found["methods"]
    said = [*_of_best_student(found["best_student"]), shown, *_of_last_epochs(methods), *_of_classes(methods)]
    return "\n\n".join(said) + "\n"


def _of_last_epochs(methods: Sequence[Mapping[str, Any]]) -> list[str]:
    climbing = [
        f"`{method['method']}`"
        for method in methods
        if method["best_epochs"] and set(method["best_epochs"]) == {method["epochs"]}
    ]
    if not climbing:
        return []
    return [f"With every seed best after the last epoch, so more epochs may bring more: {', '.join(climbing)}."]


def _of_classes(methods: Sequence[Mapping[str, Any]]) -> list[str]:
    blind = [
        f"`{method['method']}` with seed {seed} ({', '.join(names)})"
        for method in methods
        if method["kind"] != "baseline"
        for seed, names in method["missed_classes"].items()
    ]
    return [f"Not one test row of a class was recognised by {', '.join(blind)}."] if blind else []


def _of_best_student(best: Mapping[str, Any] | None) -> list[str]:
    if best is None:
        return []
    picked = f"Of the models of half the depth, `{best['method']}` is best on validation rows"
    if best["to_odd"] is None:
        return [f"{picked}."]
    beats = "beats" if best["beats_odd"] else "is not shown to beat"
    test = best["to_odd"]
    gap = f"{points(test['value'])} points (95 % interval {_span(test)}"
    figures = f"{gap}; {p_words(test['p_holm'])} after Holm's correction)"
    return [f"{picked}; it {beats} `{REFERENCE}` on test rows: {figures}."]


def table(found: Mapping[str, Any]) -> str:
    """Return the table of what was found, the best on validation rows first."""
    ordered = sorted(found["methods"], key=lambda method: -(method["validation_macro_f1"] or -1.0))
    head = "| method | validation macro-F1 | test macro-F1 (95 %) | against odd, points (95 %; Holm's p) | verdict "
    head += "| best epochs | training (with all it needs) | to ship | one text of 64 tokens |"
    lines = [head, f"|{'---|' * (head.count('|') - 1)}"]
    lines += [_line(method) for method in ordered]
    return "\n".join(lines) + "\n"


def _line(method: Mapping[str, Any]) -> str:
    score, test = method["macro_f1"], method["to_odd"]
    if score is None:
        return f"| {method['method']} | void: {'; '.join(method['void'])} | | | | | | | |"
    interval = score["interval"]
    shown = f"{_f1(score['mean'])}" + (f" ({_f1(interval['low'])} to {_f1(interval['high'])})" if interval else "")
    if method["void"]:
        shown += f"; void: {'; '.join(method['void'])}"
    against = "" if test is None else _against(test)
    cells = [
        method["method"],
        _f1(method["validation_macro_f1"]),
        shown,
        against,
        verdict(test),
        _best_epochs(method),
        _training_time(method),
        _figure(method["size_mb"], "{:.1f} MB" + ("" if method["precision"] == "int8" else f" {method['precision']}")),
        _figure(method["latency_64_tokens_p50_ms"], "{:.2f} ms"),
    ]
    return f"| {' | '.join(cells)} |"


def _best_epochs(method: Mapping[str, Any]) -> str:
    if not method["best_epochs"]:
        return ""
    return f"{', '.join(str(epoch) for epoch in method['best_epochs'])} of {method['epochs']}"


def _training_time(method: Mapping[str, Any]) -> str:
    alone, in_all = method["training_seconds"], method["training_seconds_in_all"]
    if alone is None:
        return ""
    return f"{alone:.0f} s" + (f" ({in_all:.0f} s)" if in_all is not None and in_all > alone else "")


def verdict(test: Mapping[str, float] | None) -> str:
    """Return what a paired test against the reference shows, in a word or two.

    Example:
        >>> verdict({"value": 0.02, "p_holm": 0.01}), verdict({"value": 0.02, "p_holm": 0.2})
        ('better', 'no difference found')
    """
    if test is None:
        return ""
    if test["p_holm"] >= _LEVEL:
        return "no difference found"
    return "better" if test["value"] > 0 else "worse"


def _against(test: Mapping[str, float]) -> str:
    return f"{points(test['value'])} ({_span(test)}; {bare_p(test['p_holm']).text})"


def _span(test: Mapping[str, float]) -> str:
    return points_span(Interval(low=test["low"], high=test["high"]))


def _f1(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".removeprefix("0")


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


if __name__ == "__main__":
    main()
