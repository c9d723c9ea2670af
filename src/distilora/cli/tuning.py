"""The command that searches better settings: tune."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from distilora.cli.options import (
    AsJson,
    Encoder,
    Experiment,
    Label,
    LabelNames,
    Positive,
    Set,
    Source,
    Text,
    changes,
    require_train_extra,
    resumable,
    teller,
)
from distilora.errors import ConfigError, MissingExtraError


def tune(
    experiment: Experiment = None,
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="NAMES", help="Methods to search, such as odd,lora; may be given again."),
    ] = None,
    trials: Annotated[int, typer.Option(metavar="N", min=1, help="Trials of each method.")] = 20,
    seed: Annotated[
        int, typer.Option(metavar="NUMBER", min=0, max=2**31 - 1, help="Of what is tried, and of every training.")
    ] = 0,
    source: Source = None,
    text: Text = None,
    label: Label = None,
    label_names: LabelNames = None,
    positive: Positive = None,
    encoder: Encoder = None,
    settings: Set = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder of the search; by default runs/NAME-tune.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Search better settings for methods, on validation rows alone; the same number of trials for each."""
    from distilora.config import read_experiment

    chosen = read_experiment(
        experiment,
        assignments=settings or [],
        changes=changes(
            source=source, text=text, label=label, label_names=label_names, positive=positive, encoder=encoder
        ),
    )
    names = [name.strip() for given in method or [] for name in given.split(",") if name.strip()]
    if not names:
        raise ConfigError("--method: name what is to be searched, such as --method lora or --method odd,lora")
    for name in names:
        chosen.method(name)
    _require_tune_extra()
    name = experiment.stem if experiment else Path(chosen.data.source).stem
    from distilora.tuning.running import Budget
    from distilora.tuning.search import tune as run
    from distilora.tuning.wording import describe_tuning

    folder = out or Path("runs") / f"{name}-tune"
    budget = Budget(trials=trials, seed=seed)
    with resumable():
        tuning, tuned = run(chosen, folder, methods=names, budget=budget, tell=teller(as_json=as_json))
    if as_json:
        found = {"tuning": tuning.model_dump(mode="json"), "tuned": str(tuned) if tuned else None}
        print(json.dumps(found, indent=1))
        return
    print(f"\n{describe_tuning(tuning, tuned)}")


def _require_tune_extra() -> None:
    """Raise MissingExtraError unless what training and searching need is installed."""
    require_train_extra()
    if find_spec("optuna") is None:
        raise MissingExtraError("optuna", "tune")
