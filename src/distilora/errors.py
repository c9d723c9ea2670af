"""Every error that distilora raises on purpose.

DistiloraError                 one line a user can act on; the command line prints it and exits with code 2
├── ConfigError                a setting is unknown, of the wrong type or out of range
├── DataError                  a source of comments cannot be used as it is
├── ModelError                 an encoder or a saved model cannot be used as it is
├── HubError                   the hub is needed and cannot be reached
├── MissingExtraError          a library of an optional extra is not installed
├── BundleError                a bundle is damaged, foreign, or of a newer format
├── ParityError                an exported model does not say what the trained model says
├── RunError                   a run or experiment folder cannot be used as it is
├── WorkerError                a process or machine that was to do part of the work cannot, or has vanished
├── FeedbackError              the database of feedback cannot be used
│   └── FeedbackFullError      as many judgements as are allowed are there
└── VoidRunError               a guard found that a run's numbers would mean nothing
"""

from __future__ import annotations

from typing import Any


class DistiloraError(Exception):
    """Base of every error raised on purpose; its text says where, what came, what is allowed, what to do."""

    is_echo = False
    """Whether it was met by another process too, which tells of it."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what makes it anew in another process, whatever it was made of here."""
        return _made_anew, (type(self), self.args, self.__dict__)


def _made_anew(kind: type[DistiloraError], args: tuple[Any, ...], fields: dict[str, Any]) -> DistiloraError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error


class ConfigError(DistiloraError):
    """A setting is unknown, of the wrong type or out of range."""


class DataError(DistiloraError):
    """A source of comments cannot be used as it is."""


class ModelError(DistiloraError):
    """An encoder or a saved model cannot be used as it is."""


class HubError(DistiloraError):
    """The Hugging Face hub is needed and cannot be reached."""


class MissingExtraError(DistiloraError):
    """A library of an optional extra is not installed.

    Args:
        library: what could not be imported.
        extra: the extra of distilora that brings it.

    Example:
        >>> print(MissingExtraError("torch", "train"))
        torch is not installed: run pip install 'distilora[train]'
    """

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed: run pip install 'distilora[{extra}]'")


class BundleError(DistiloraError):
    """A bundle is damaged, foreign, or of a newer format."""


class ParityError(DistiloraError):
    """An exported model does not say what the trained model says."""


class RunError(DistiloraError):
    """A run or experiment folder cannot be used as it is."""


class WorkerError(DistiloraError):
    """A process or machine that was to do part of the work cannot, or has vanished."""


class FeedbackError(DistiloraError):
    """The database of feedback cannot be used."""


class FeedbackFullError(FeedbackError):
    """As many judgements as are allowed are there."""


class VoidRunError(DistiloraError):
    """A guard found that a run's numbers would mean nothing.

    Args:
        guard: name of the guard, as recorded in the result.
        reason: what was seen, in one sentence.
    """

    def __init__(self, guard: str, reason: str) -> None:
        super().__init__(f"{guard}: {reason}")
        self.guard = guard
        self.reason = reason
        self.events: tuple[Any, ...] = ()
        """What the monitor saw in the training before, where there was one."""
