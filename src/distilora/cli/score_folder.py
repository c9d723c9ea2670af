"""The command ``score`` on many files: which engine; and what is said at the end, of one file too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distilora.cli.options import printed, resumable, teller
from distilora.errors import ConfigError

if TYPE_CHECKING:
    from distilora.scoring.jobs import Engine
    from distilora.scoring.scoring import ScoreSummary
    from distilora.scoring.summary import FolderSummary

_MOST_REASONS = 5


def is_for_a_folder(sources: Sequence[str], out: str) -> bool:
    """Return whether OUT is a folder: it is called like one or is there as one, or IN is more than one file of here.

    Raises:
        ConfigError: IN is more than one file, and OUT is called like a file.
    """
    path = Path(out)
    if out.endswith("/") or path.is_dir() or not path.suffix or "://" in out:
        return True
    more = next((source for source in sources if "://" in source or not _is_one(source)), None)
    if len(sources) == 1 and more is None:
        return False
    raise ConfigError(
        f"{out}: is called like a file, which takes one file of this machine; "
        f"{more or f'{len(sources)} files'} goes into a folder: {path.with_suffix('')}/"
    )


def refuse_folder_options(out: str, *, engine: str, ray_address: str | None, workers: int | None) -> None:
    """Raise ConfigError if options were given that say who works on a folder's parts, where OUT is one file."""
    given = {"--engine ray": engine == "ray", "--ray-address": ray_address, "--workers": workers}
    first = next((name for name, value in given.items() if value), None)
    if first is not None:
        raise ConfigError(f"{first}: is for a folder of parts; name one, such as {Path(out).with_suffix('')}/")


def score_into_folder(
    bundle: Path,
    sources: Sequence[str],
    out: str,
    *,
    wishes: Mapping[str, Any],
    engine: str,
    ray_address: str | None,
    workers: int | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Score files into a folder of parts, and print what it came to."""
    chosen = _engine(engine, ray_address=ray_address, workers=workers)
    from distilora.bundles.bundle import open_bundle
    from distilora.scoring.jobs import Wishes, score_folder

    with resumable():
        summary = score_folder(
            open_bundle(bundle, threads=1),
            sources,
            out,
            wishes=Wishes(**wishes),
            engine=chosen,
            replace=overwrite,
            tell=teller(as_json=True),  # what is told on the way is not part of the answer
        )
    if as_json:
        print(summary.model_dump_json(indent=1))
        return
    print_counts(summary, written=f"{summary.out}, {summary.parts:,} parts")
    for reason, rows in list(summary.reject_reasons.items())[:_MOST_REASONS]:
        print(f"    {printed(reason)}: {rows:,}")


def print_counts(summary: ScoreSummary | FolderSummary, *, written: str) -> None:
    """Print how many rows were scored and where they are ``written``, their labels, and how many could not be read."""
    rate = f" at {summary.texts_per_s:,.0f} a second" if summary.texts_per_s else ""
    print(f"{summary.scored:,} of {summary.rows:,} rows scored{rate}: {written}")
    for label, rows in summary.labels.items():
        share = f" ({rows / summary.scored:.1%})".replace("%", " %") if summary.scored else ""
        print(f"  {printed(label)}: {rows:,}{share}")
    if summary.cut:
        print(f"  longer than the model: {summary.cut:,}")
    if summary.rejected:
        print(f"  not readable: {summary.rejected:,}, see {summary.rejects}")


def _is_one(source: str) -> bool:
    path = Path(source)
    return path.is_file() or not (path.is_dir() or any(mark in source for mark in "*?["))


def _engine(name: str, *, ray_address: str | None, workers: int | None) -> Engine:
    if name == "ray":
        from distilora.scale.session import require_ray

        require_ray()  # before the bundle is opened
        from distilora.scale.scoring import RayEngine

        return RayEngine(workers=workers, address=ray_address)
    if ray_address is not None:
        raise ConfigError("--ray-address: is for Ray; add --engine ray")
    from distilora.scoring.local import LocalEngine

    return LocalEngine(workers=workers)
