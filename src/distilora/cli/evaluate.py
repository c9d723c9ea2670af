"""The command on models and labelled data: evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from distilora.cli.bundles import LongTexts, Overwrite, Threads, Threshold
from distilora.cli.options import AsJson, Label, LabelNames, Positive, Set, Text, changes, teller
from distilora.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distilora.assess.models import Model
    from distilora.bundles.tokens import LongTexts as LongTextsRule
    from distilora.config import DataSettings
    from distilora.evaluation.assessments import Assessment


def evaluate(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="RUN|BUNDLE... SOURCE", help="Models, then labelled data: a file, a name or a hub id."),
    ],
    suite: Annotated[
        Literal["hatecheck", "identity"] | None,
        typer.Option(metavar="SUITE", help="hatecheck or identity; then SOURCE is the suite's file."),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--data", metavar="SOURCE", help="The data, instead of behind the models.")
    ] = None,
    text: Text = None,
    label: Label = None,
    label_names: LabelNames = None,
    group: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of the identity group; absent: guessed.")
    ] = None,
    positive: Positive = None,
    threshold: Threshold = None,
    long_texts: LongTexts = "truncate",
    threads: Threads = None,
    settings: Set = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write the result here too.")] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Score models on labelled data or a suite; several are compared with the first."""
    from distilora.config import read_experiment
    from distilora.files import write_whole

    models, chosen = _divided(paths, source, suite=suite)
    _require_free(out, overwrite=overwrite)
    if group is not None and suite != "identity":
        raise ConfigError(f"--group {group}: only --suite identity knows groups")
    given = changes(source=chosen, text=text, label=label, label_names=label_names)
    data = read_experiment(assignments=settings or [], changes=given).data
    from distilora.assess.models import open_model

    opened = [
        open_model(path, positive=positive or (), threshold=threshold, long_texts=long_texts, threads=threads)
        for path in models
    ]
    assessment = _assessed(opened, data, suite=suite, group=group, long_texts=long_texts)
    written = assessment.model_dump_json(indent=1)
    if out is not None:
        write_whole(out, written + "\n")
    if as_json:
        print(written)
        return
    from distilora.assess.wording import describe

    print(describe(assessment))
    if out is not None:
        print(f"\nresult: {out}")


def _divided(paths: list[str], source: str | None, *, suite: str | None) -> tuple[list[str], str]:
    """Return the models and the source: --data, or what stands last; HateCheck has a home on the hub."""
    if source is not None:
        return paths, source
    if suite == "hatecheck" and Path(paths[-1]).is_dir():
        from distilora.assess.sources import HATECHECK_HUB_ID

        return paths, HATECHECK_HUB_ID
    if len(paths) < 2:
        raise ConfigError(f"{paths[0]}: evaluate needs models and labelled data: RUN|BUNDLE SOURCE, or --data SOURCE")
    return paths[:-1], paths[-1]


def _require_free(out: Path | None, *, overwrite: bool) -> None:
    if out is None:
        return
    if out.is_dir():
        raise ConfigError(f"{out}: is a folder; give --out a file")
    if out.exists() and not overwrite:
        raise ConfigError(f"{out}: is there already; give --out another file, or --overwrite")


def _assessed(
    models: Sequence[Model], data: DataSettings, *, suite: str | None, group: str | None, long_texts: LongTextsRule
) -> Assessment:
    from distilora.assess.assessing import assess_hatecheck, assess_identity, assess_labelled

    tell = teller(as_json=True)  # what is told on the way is not part of the answer
    if suite == "hatecheck":
        return assess_hatecheck(models, data.source, long_texts=long_texts, tell=tell)
    if suite == "identity":
        return assess_identity(models, data, group=group, long_texts=long_texts, tell=tell)
    return assess_labelled(models, data, long_texts=long_texts, tell=tell)
