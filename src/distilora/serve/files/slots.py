"""How many files are answered at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from distilora.serve.problems import Problem

_RETRY_AFTER_S = 5


class Slots:
    """Places for files, as many as are answered at once.

    Args:
        places: how many there are.

    Example:
        >>> slots = Slots(1)
        >>> with slots.one():
        ...     slots.free
        0
        >>> slots.free
        1
    """

    def __init__(self, places: int) -> None:
        self.places = places
        self.free = places

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold one place until the block ends.

        Raises:
            Problem: ``too-busy``, where none is free.
        """
        if not self.free:
            raise Problem(
                "too-busy",
                f"{self.places} files are being answered, which is as many as are taken at once",
                retry_after_s=_RETRY_AFTER_S,
            )
        self.free -= 1
        try:
            yield
        finally:
            self.free += 1
