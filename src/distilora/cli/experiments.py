"""The commands on comments and experiments: data, compare, report."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distilora.cli.options import (
    AsJson,
    Encoder,
    Experiment,
    Label,
    LabelNames,
    MaxLatency,
    MaxSize,
    MinRecall,
    Positive,
    RayAddress,
    RunEngine,
    Set,
    Source,
    Text,
    Unlabelled,
    changes,
    require_train_extra,
    resumable,
    teller,
)
from distilora.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from distilora.config import ExperimentSettings
    from distilora.data.inspection import Encode
    from distilora.experiment.runner import Engine
    from distilora.report import Comparison


def data(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="sample, davidson, wiki_toxic, hate_speech, a file, or a hub id.")
    ],
    text: Text = None,
    label: Label = None,
    label_names: LabelNames = None,
    positive: Positive = None,
    encoder: Encoder = None,
    settings: Set = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the length histogram here (.svg or .png).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show classes, lengths, duplicates and faults of a source of comments."""
    from distilora.config import read_experiment
    from distilora.data.inspection import inspect_comments

    experiment = read_experiment(
        assignments=settings or [],
        changes=changes(
            source=source, text=text, label=label, label_names=label_names, positive=positive, encoder=encoder
        ),
    )
    inspection = inspect_comments(
        experiment.data, encode=_token_counter(experiment), max_length=experiment.encoder.max_length
    )
    if plot is not None:
        from distilora.data.plots import plot_lengths

        plot_lengths(inspection, plot)
    if as_json:
        print(inspection.model_dump_json(indent=1))
        return
    from distilora.data.wording import describe

    print(describe(inspection))
    if plot is not None:
        print(f"length histogram: {plot}")


def compare(
    experiment: Experiment = None,
    source: Source = None,
    text: Text = None,
    label: Label = None,
    label_names: LabelNames = None,
    positive: Positive = None,
    unlabelled: Unlabelled = None,
    encoder: Encoder = None,
    methods: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Methods to run, such as teacher,odd,lora.")
    ] = None,
    seeds: Annotated[str | None, typer.Option(metavar="NUMBERS", help="Seeds, such as 0,1,2; a run for each.")] = None,
    train_samples: Annotated[int | None, typer.Option(metavar="N", help="Training rows to use.")] = None,
    validation_samples: Annotated[int | None, typer.Option(metavar="N", help="Validation rows to use.")] = None,
    test_samples: Annotated[int | None, typer.Option(metavar="N", help="Test rows to use.")] = None,
    balance: Annotated[bool | None, typer.Option("--balance", help="Equal shares of the classes in training.")] = None,
    settings: Set = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder of the experiment; by default runs/NAME.")
    ] = None,
    max_size_mb: MaxSize = None,
    max_latency_ms: MaxLatency = None,
    min_recall: MinRecall = None,
    no_export: Annotated[bool, typer.Option("--no-export", help="Make no bundles.")] = False,
    engine: RunEngine = "local",
    ray_address: RayAddress = None,
    as_json: AsJson = False,
) -> None:
    """Train all methods, compare on the same rows, measure costs, recommend one, make report and bundles."""
    from distilora.config import read_experiment
    from distilora.training.processes import main_first, processes

    read = partial(
        read_experiment,
        experiment,
        assignments=settings or [],
        changes=changes(
            source=source,
            text=text,
            label=label,
            label_names=label_names,
            positive=positive,
            unlabelled=unlabelled,
            encoder=encoder,
            run=methods,
            seeds=seeds,
            train_samples=train_samples,
            validation_samples=validation_samples,
            test_samples=test_samples,
            balance=balance,
            max_size_mb=max_size_mb,
            max_latency_ms=max_latency_ms,
            min_recall=min_recall,
        ),
    )
    chosen = main_first(read)
    folder = out or Path("runs") / (experiment.stem if experiment else Path(chosen.data.source).stem)
    require_train_extra()
    from distilora.api import compare as run

    if not processes().is_main:
        logging.getLogger("distilora").setLevel(logging.ERROR)  # the main one says the same
    with resumable():
        outcome = run(
            chosen,
            folder,
            export=not no_export,
            engine=_engine(engine, ray_address=ray_address),
            tell=teller(as_json=as_json),
        )
    if not processes().is_main:
        return
    bundles = {name: str(path) for name, path in outcome.bundles.items()}
    _show(outcome.comparison, list(outcome.findings), outcome.report, bundles=bundles, as_json=as_json)


def report(
    experiment: Annotated[Path, typer.Argument(metavar="EXPERIMENT", help="Its folder.")],
    max_size_mb: MaxSize = None,
    max_latency_ms: MaxLatency = None,
    min_recall: MinRecall = None,
    as_json: AsJson = False,
) -> None:
    """Write the report of an experiment again, from its result files alone; limits given here hold this once."""
    require_train_extra()
    from distilora.config import ReportSettings, validated
    from distilora.report import compare_runs, findings, read_evidence, write_report
    from distilora.runs import load_experiment

    records = load_experiment(experiment)
    evidence = read_evidence(experiment, records)
    limits = changes(max_size_mb=max_size_mb, max_latency_ms=max_latency_ms, min_recall=min_recall).get("report", {})
    settings = validated(ReportSettings, {**evidence.settings.model_dump(), **limits}, where="report")
    evidence = replace(evidence, settings=settings)
    comparison = compare_runs(records, evidence)
    path = write_report(comparison, records, experiment, evidence=evidence)
    _show(comparison, findings(comparison), path, as_json=as_json)


def _engine(name: str, *, ray_address: str | None) -> Engine:
    from distilora.experiment.runner import in_turn
    from distilora.training.processes import started_together

    if name == "local":
        if ray_address is not None:
            raise ConfigError("--ray-address: there is no Ray in --engine local; add --engine ray")
        return in_turn
    if started_together():
        raise ConfigError("--engine ray: Ray starts the processes that it needs; run distilora by itself")
    from distilora.scale.runs import RayRuns
    from distilora.scale.session import require_ray

    require_ray()  # before the comments are read
    return RayRuns(ray_address)


def _token_counter(experiment: ExperimentSettings) -> Encode | None:
    """Return what counts an encoder's tokens, or nothing where the libraries for it are not installed."""
    try:
        require_train_extra()
    except MissingExtraError as missing:
        print(f"lengths in words only: {missing}", file=sys.stderr)
        return None
    from distilora.data.tokens import encode_texts
    from distilora.models.encoders import find_encoder, load_tokenizer

    encoder = find_encoder(experiment.encoder.name)
    tokenizer = load_tokenizer(encoder, max_length=experiment.encoder.max_length)
    return lambda texts: encode_texts(texts, tokenizer, max_length=None).lengths.tolist()


def _show(
    comparison: Comparison,
    findings: list[str],
    path: Path,
    *,
    bundles: Mapping[str, str] | None = None,
    as_json: bool,
) -> None:
    """Print what a comparison shows; ``bundles`` by method, absent where none could have been made."""
    if as_json:
        found = {"comparison": comparison.model_dump(mode="json"), "findings": findings, "report": str(path)}
        print(json.dumps(found if bundles is None else {**found, "bundles": bundles}, indent=1))
        return
    from distilora.report.terminal import score_table

    print(f"\n{score_table(comparison)}\n")
    for sentence in findings:
        print(f"* {sentence}")
    print(f"\nreport: {path}")
    for bundle in (bundles or {}).values():
        print(f"bundle: {bundle}")
