"""Files and folders here or far away, by the one name that a user gives; far places are opened with fsspec."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from distilora.data.faults import first_line
from distilora.errors import DataError, MissingExtraError

IN_ONE_PROCESS = "memory"
"""The kind of place that no other process can see."""


@dataclass(frozen=True)
class Place:
    """A file or folder, and what reaches it."""

    name: str
    """As the user gave it."""
    files: Any
    """``fsspec.AbstractFileSystem``."""
    path: str
    """As ``files`` calls it."""

    @property
    def is_local(self) -> bool:
        """Whether it is in this machine's own tree of files."""
        return "file" in _kinds(self.files)

    @property
    def is_in_one_process(self) -> bool:
        """Whether no other process can see it."""
        return IN_ONE_PROCESS in _kinds(self.files)

    def read(self, start: int | None = None, stop: int | None = None) -> bytes:
        """Return its bytes, or some of them.

        Raises:
            DataError: it cannot be read.
        """
        try:
            return bytes(self.files.cat_file(self.path, start, stop))
        except Exception as failure:  # each kind of place has errors of its own
            raise DataError(f"{self.name}: cannot be read: {_reason(failure)}") from None

    def inside(self, name: str) -> Place:
        """Return what is called ``name`` in this folder."""
        return Place(f"{self.name.rstrip('/')}/{name}", self.files, f"{self.path.rstrip('/')}/{name}")

    def names(self) -> list[str]:
        """Return what lies in this folder, sorted; nothing where it is not there."""
        self.files.invalidate_cache()
        try:
            found = self.files.ls(self.path, detail=False)
        except FileNotFoundError:
            return []
        return sorted(str(path).rstrip("/").rpartition("/")[2] for path in found)

    def write(self, content: bytes) -> None:
        """Write the file so that a reader finds all of it or what was there before.

        Two processes may write the same file at once: one of both contents is there in the end, whole.

        Raises:
            OSError: it cannot be written, such as on a full disk; the error names it.
        """
        folder, _, name = self.path.rpartition("/")
        partial = f"{folder}/.{name}.{uuid4().hex[:8]}.partial"
        try:
            if self.is_local:
                _write_here(Path(partial), Path(self.path), content)
            else:
                self.files.pipe_file(partial, content)
                self.files.mv(partial, self.path)
        except OSError as failure:
            raise OSError(failure.errno, failure.strerror or str(failure), self.name) from None

    def remove(self) -> None:
        """Take it away, with all that is in it; nothing happens where it is not there."""
        if self.files.exists(self.path):
            self.files.rm(self.path, recursive=True)


def open_place(name: str) -> Place:
    """Return the file or folder of that name, which need not be there.

    Args:
        name: a path, or a URL such as ``s3://bucket/comments``.

    Raises:
        DataError: no driver for such a URL is known or installed; says what to install.
        MissingExtraError: fsspec is not installed.
    """
    try:
        import fsspec
    except ImportError:
        raise MissingExtraError("fsspec", "parquet") from None
    try:
        files, path = fsspec.core.url_to_fs(name)
    except ImportError as failure:
        raise DataError(f"{name}: no driver for such places: {first_line(failure)}") from None
    except ValueError:
        kind = name.partition("://")[0]
        raise DataError(f"{name}: {kind}:// is no kind of place that fsspec knows; give a path or s3://…") from None
    except Exception as failure:  # a driver that does not find its account, for one
        raise DataError(f"{name}: cannot be opened: {_reason(failure)}") from None
    return Place(name, files, path)


def is_remote(name: str) -> bool:
    """Return whether a name is a URL, and no path.

    Example:
        >>> is_remote("s3://bucket/comments.csv"), is_remote("data/comments.csv")
        (True, False)
    """
    return "://" in name


def _kinds(files: Any) -> tuple[str, ...]:
    protocol = files.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def _reason(failure: Exception) -> str:
    return str(failure.strerror) if isinstance(failure, OSError) and failure.strerror else first_line(failure)


def _write_here(partial: Path, path: Path, content: bytes) -> None:
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
