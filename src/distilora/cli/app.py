"""The application: its commands, and the options before them."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from distilora.cli import bundles, evaluate, experiments, print_version, serving, tuning
from distilora.errors import ConfigError
from distilora.training.processes import started_together

app = typer.Typer(
    name="distilora",
    help="Which small text classifier should I ship? distilora answers with evidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _command in (
    experiments.data,
    experiments.compare,
    experiments.report,
    tuning.tune,
    evaluate.evaluate,
    bundles.export,
    bundles.predict,
    bundles.score,
    bundles.bench,
    serving.serve,
):
    app.command()(_command)


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is being done.")] = False,
) -> None:
    if show_version:
        print_version()
        raise typer.Exit
    if context.invoked_subcommand not in (None, "compare") and started_together():
        raise ConfigError(f"{context.invoked_subcommand}: only compare trains on several processes; start it by itself")
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    logging.getLogger("distilora").setLevel(logging.INFO if verbose else logging.WARNING)
