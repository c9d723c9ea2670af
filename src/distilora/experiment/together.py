"""What holds for a training that several processes share: what cannot be shared, and what a step is then."""

from __future__ import annotations

from collections.abc import Iterator

from distilora.config import ExperimentSettings, MethodSettings
from distilora.errors import ConfigError


def check_together(settings: ExperimentSettings, *, processes: int) -> None:
    """Refuse settings that several processes cannot train together, before anything is trained.

    Args:
        settings: of the experiment.
        processes: how many there are.

    Raises:
        ConfigError: a step has fewer comments than there are processes, or a method changes which weights train.
    """
    if processes == 1:
        return
    for method in _trained(settings):
        if method.training.batch_size < processes:
            raise ConfigError(
                f"{method.name}: training.batch_size is {method.training.batch_size}, and there are {processes} "
                "processes; give a step at least one comment for each"
            )
        for setting in _alone(method):
            raise ConfigError(
                f"{method.name}: {setting} is for one process, and there are {processes}; start distilora by itself, "
                "or leave the method out with --methods"
            )


def steps_told(settings: ExperimentSettings, *, processes: int) -> str:
    """Return in a line what a step is where several processes train together.

    Example:
        >>> steps_told(ExperimentSettings(), processes=2)
        '2 processes: 32 comments a step, 16 a process; learning rates as for one process'
    """
    sizes = sorted({method.training.batch_size for method in _trained(settings)})
    steps = [f"{size} comments a step, {_share(size, processes)} a process" for size in sizes]
    return f"{processes} processes: {' or '.join(steps)}; learning rates as for one process"


def _share(size: int, processes: int) -> str:
    least, more = divmod(size, processes)
    return f"{least} or {least + 1}" if more else f"{least}"


def _trained(settings: ExperimentSettings) -> Iterator[MethodSettings]:
    for name in settings.method_names:
        method = settings.method(name)
        if method.kind != "ensemble":
            yield method


def _alone(method: MethodSettings) -> Iterator[str]:
    """Yield each setting that changes which weights are trained."""
    if method.kind == "lora" and method.lora.rank == "grow":
        yield 'lora.rank = "grow"'
    if method.training.unfreeze:
        yield "training.unfreeze"
