"""An experiment's methods on suites: each suite's findings kept in the experiment's folder until something changes."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from distilora.assess.assessing import Tell, assess_hatecheck, assess_identity
from distilora.assess.models import Model, Probabilities, open_model
from distilora.assess.sources import HateCheckSource, IdentitySource, read_hatecheck, read_identity
from distilora.config import DataSettings, SuitesSettings
from distilora.errors import ConfigError, DataError, DistiloraError, RunError
from distilora.evaluation.assessments import Assessment, Suite
from distilora.evaluation.kept import measured_anew, read_kept
from distilora.files import write_whole
from distilora.report.evidence import SUITES_FOLDER

_OPTION = re.compile(r"--(text|label|group)\b(?!-)")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Asked:
    """A suite that an experiment asks for."""

    suite: Suite
    read: Callable[[], HateCheckSource | IdentitySource]
    assess: Callable[..., Assessment]
    """Takes the models and ``tell``."""


def require_suite_settings(settings: SuitesSettings, positive: Sequence[str]) -> None:
    """Refuse suites that could not be run at the end, before the long work begins; their sources are read now.

    Args:
        settings: which suites are asked for.
        positive: classes of the comments that count as hateful.

    Raises:
        ConfigError: a suite is asked for and there are no positive classes, or its source cannot be used.
    """
    for asked in _asked(settings):
        if not positive:
            raise ConfigError(
                f"suites.{asked.suite}: no class of the comments is known to be hateful; "
                "name those that are in data.positive (--positive CLASS, once for each)"
            )
        try:
            asked.read()
        except DistiloraError as failure:
            raise ConfigError(f"suites.{asked.suite}: {_told(failure)}") from None


def assess_suites(
    settings: SuitesSettings, models: Mapping[str, Path], experiment: Path, *, tell: Tell = logger.info
) -> None:
    """Write what each suite that is asked for finds of every method into ``suites/NAME.json``.

    A file is left as it is where it tells of the same models and rows. That of a suite which is asked for no longer
    stays too: who reads it leaves out models that are no longer there. Only one model is open at a time.

    Args:
        settings: which suites.
        models: by method, the folder of its bundle or run; changes are against the first, the teacher.
        experiment: the experiment's folder.
        tell: takes one line on what has been done.

    Raises:
        DistiloraError: a suite or the first model cannot be used; the other suites have been run before it is raised.
    """
    failures: list[str] = []
    for asked in _asked(settings) if models else ():
        try:
            _run(asked, models, experiment / SUITES_FOLDER / f"{asked.suite}.json", tell=tell)
        except DistiloraError as failure:
            failures.append(f"{asked.suite}: {_told(failure)}")
    if failures:
        raise DataError("; ".join(failures))


def _asked(settings: SuitesSettings) -> list[_Asked]:
    found: list[_Asked] = []
    if settings.hatecheck is not None:
        source = settings.hatecheck
        found.append(_Asked("hatecheck", partial(read_hatecheck, source), partial(assess_hatecheck, source=source)))
    if settings.identity is not None:
        # A faulty row is left out and told of: nobody is there to mend it when the runs are done.
        data = DataSettings(
            source=settings.identity, text=settings.identity_text, label=settings.identity_label, faults="skip"
        )
        group = settings.identity_group
        found.append(
            _Asked(
                "identity",
                partial(read_identity, data, group=group),
                partial(assess_identity, settings=data, group=group),
            )
        )
    return found


def _told(failure: DistiloraError) -> str:
    """Return what is wrong, with settings of ``[suites]`` for the options of ``distilora evaluate``."""
    return _OPTION.sub(r"suites.identity_\1", str(failure))


def _run(asked: _Asked, models: Mapping[str, Path], path: Path, *, tell: Tell) -> None:
    opened = _opened(models, tell=lambda line: tell(f"{asked.suite}: {line}"))
    source = asked.read()
    if not _is_kept(path, opened, source, tell=tell):
        tell(f"{asked.suite}: {len(opened)} models answer {len(source.texts):,} texts")
        assessment = asked.assess(opened, tell=lambda line: tell(f"{asked.suite}: {line}"))
        write_whole(path, assessment.model_dump_json(indent=1) + "\n")


def _opened(models: Mapping[str, Path], *, tell: Tell) -> list[Model]:
    """Return the models that can be opened; without the first there is nothing to compare the others with."""
    opened: list[Model] = []
    for method, folder in models.items():
        try:
            opened.append(_model(method, folder))
        except DistiloraError as failure:
            if not opened:
                raise
            tell(f"{method} is left out: {failure}")
    return opened


def _model(method: str, folder: Path) -> Model:
    """Return a method's model under the method's name, opened anew when it is asked and closed when it has answered."""

    def probabilities(texts: Sequence[str]) -> Probabilities:
        return open_model(str(folder)).probabilities(texts)

    return replace(open_model(str(folder)), path=method, probabilities=probabilities)


def _is_kept(path: Path, models: Sequence[Model], source: HateCheckSource | IdentitySource, *, tell: Tell) -> bool:
    """Return whether a file holds what these very models say of these very rows."""
    try:
        kept = read_kept(path, Assessment)
    except RunError as damaged:
        tell(measured_anew(damaged))
        return False
    if kept is None:
        return False
    return (kept.sha256, kept.groups_sha256) == (source.sha256, source.groups_sha256) and [
        (one.path, one.kind, one.sha256, one.positive, one.threshold) for one in kept.models
    ] == [(one.path, one.kind, one.sha256, one.positive, one.threshold) for one in models]
