"""The commands on bundles: export, predict, score, bench."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from distilora.cli.options import AsJson, Text, printed, require_train_extra, resumable, teller
from distilora.cli.score_folder import is_for_a_folder, print_counts, refuse_folder_options, score_into_folder

if TYPE_CHECKING:
    from distilora.bundles.bundle import Bundle
    from distilora.bundles.predictions import Predictions

_READ_BYTES = 1 << 16

BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Its folder, such as runs/NAME/odd/bundle.")]
Threshold = Annotated[
    float | None,
    typer.Option(min=0, max=1, metavar="SHARE", help="Positive from this probability on."),
]
LongTexts = Annotated[
    Literal["truncate", "windows"],
    typer.Option(metavar="RULE", help="Long texts: truncate or windows."),
]
Threads = Annotated[int | None, typer.Option(min=1, metavar="N", help="Processor threads; absent: all.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="EXPERIMENT/METHOD or …/METHOD/seed-N.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write.")],
    precision: Annotated[Literal["int8", "fp32"], typer.Option(help="fp32 loads in transformers too.")] = "int8",
    goal: Annotated[str, typer.Option(metavar="GOAL", help="Threshold: f1, precision=P or recall=R.")] = "f1",
    positive: Annotated[
        list[str] | None,
        typer.Option(metavar="CLASS", help="Class that is positive now; may be given again."),
    ] = None,
    prune_vocabulary: Annotated[
        bool, typer.Option("--prune-vocabulary", help="Drop tokens that the training rows never use.")
    ] = False,
    source: Annotated[
        str | None, typer.Option("--data", metavar="SOURCE", help="Where the run's comments are now.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write a trained run as a bundle without torch, proved to say the same."""
    from distilora.config import read_experiment

    chosen = {"precision": precision, "goal": goal, "prune_vocabulary": prune_vocabulary}
    settings = read_experiment(changes={"export": chosen}).export
    require_train_extra()
    from distilora.export.ensembles import export_ensemble
    from distilora.export.finding import find_run, materials_of
    from distilora.export.runs import export_run

    record = find_run(run)
    exported = (export_ensemble if record.result.kind == "ensemble" else export_run)(
        record,
        materials_of(record, data=source, positive=positive or ()),
        out,
        settings=settings,
        replace=overwrite,
        tell=teller(as_json=as_json),
    )
    if as_json:
        found = {"bundle": str(exported.path), "id": exported.bundle_id, "size_bytes": exported.size_bytes}
        print(json.dumps({**found, "manifest": exported.manifest.model_dump(mode="json")}, indent=1))
        return
    print(f"bundle: {exported.path} ({exported.size_bytes / 1e6:.1f} MB, id {exported.bundle_id[:12]})")


def predict(
    bundle: BundlePath,
    texts: Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="Absent: lines of standard input.")] = None,
    threshold: Threshold = None,
    long_texts: LongTexts = "truncate",
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a text, one a line.")] = False,
) -> None:
    """Say the label and every class's probability of texts."""
    from distilora.bundles.bundle import open_bundle

    opened = open_bundle(bundle, threads=threads)
    for some in [texts] if texts else _standard_input():
        answers = opened.predict(some, threshold=threshold, long_texts=long_texts)
        for line in _json_lines(some, answers, opened) if as_json else _lines(some, answers):
            print(line)
        sys.stdout.flush()


def _standard_input() -> Iterator[list[str]]:
    """Yield the lines that have come, whenever some have."""
    if sys.stdin.isatty():
        print("write one text a line; Ctrl-D ends", file=sys.stderr)
    rest = b""
    stream = cast("io.BufferedReader", sys.stdin.buffer)  # read1: what has come, without waiting for more
    while block := stream.read1(_READ_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        if lines:
            yield [_decoded(line) for line in lines]
    if rest:
        yield [_decoded(rest)]


def _decoded(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "replace")


def _json_lines(texts: Iterable[str], answers: Predictions, bundle: Bundle) -> Iterator[str]:
    for text, answer in zip(texts, answers, strict=True):
        found: dict[str, Any] = {"text": text, **answer._asdict(), "bundle": bundle.id}
        yield json.dumps({name: value for name, value in found.items() if value is not None})


def _lines(texts: Iterable[str], answers: Predictions) -> Iterator[str]:
    from distilora.data.faults import shown

    width = max(map(len, answers.label_names))
    for text, answer in zip(texts, answers, strict=True):
        shares = "  ".join(f"{printed(name)} {share:.3f}" for name, share in answer.probabilities.items())
        cut = "  (longer than the model)" if answer.cut else ""
        yield f"{printed(answer.label):{width}}  [{shares}]  {shown(text)}{cut}"


def score(
    bundle: BundlePath,
    sources: Annotated[
        list[str], typer.Argument(metavar="IN...", help="Files, folders or globs, near or far (s3://…).")
    ],
    out: Annotated[str, typer.Argument(metavar="OUT", help="A file, or a folder for many files' parts.")],
    text: Text = None,
    prefix: Annotated[str, typer.Option(help="Put before the names of the added columns.")] = "",
    threshold: Threshold = None,
    long_texts: LongTexts = "truncate",
    threads: Threads = None,
    engine: Annotated[Literal["local", "ray"], typer.Option(help="Who works on a folder's parts.")] = "local",
    ray_address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Of a running Ray; absent: one is started here.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Workers on a folder's parts; absent: all processors.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Add labels and probabilities to comments; the same command resumes it."""
    if is_for_a_folder(sources, out):
        score_into_folder(
            bundle,
            sources,
            out,
            wishes={"text": text, "prefix": prefix, "threshold": threshold, "long_texts": long_texts},
            engine=engine,
            ray_address=ray_address,
            workers=workers or threads,
            overwrite=overwrite,
            as_json=as_json,
        )
        return
    refuse_folder_options(out, engine=engine, ray_address=ray_address, workers=workers)
    from distilora.bundles.bundle import open_bundle
    from distilora.scoring.forms import form_of, is_resumable
    from distilora.scoring.scoring import score_file

    opened, path = open_bundle(bundle, threads=threads), Path(out)
    with resumable() if is_resumable(form_of(path)) else nullcontext():
        summary = score_file(
            opened,
            Path(sources[0]),
            path,
            text=text,
            prefix=prefix,
            threshold=threshold,
            long_texts=long_texts,
            replace=overwrite,
            tell=teller(as_json=True),  # what is told on the way is not part of the answer
        )
    if as_json:
        print(summary.model_dump_json(indent=1))
        return
    print_counts(summary, written=str(summary.out))


def bench(
    paths: Annotated[list[Path], typer.Argument(metavar="BUNDLE|RUN", help="Bundles and trained runs.")],
    texts: Annotated[str, typer.Option("--texts", metavar="SOURCE", help="sample, or a file of comments.")] = "sample",
    text: Text = None,
    rows: Annotated[int, typer.Option(min=1, metavar="N", help="Texts drawn at random from it.")] = 1000,
    rounds: Annotated[int, typer.Option(min=1, metavar="N", help="Rounds in which all take turns.")] = 5,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the draw.")] = 0,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Measure speed, memory, load time and size, side by side in one run."""
    from distilora.bench.running import read_texts, run_bench
    from distilora.bench.wording import describe

    chosen = read_texts(texts, text=text, rows=rows, seed=seed)
    report = run_bench(paths, chosen, rounds=rounds, seed=seed, threads=threads, tell=teller(as_json=True))
    print(report.model_dump_json(indent=1) if as_json else describe(report))
