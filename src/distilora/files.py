"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4


def write_whole(path: Path, content: str | bytes, *, shared: bool = False) -> None:
    """Write a file so that a reader finds the old content or the new, never a part.

    Args:
        path: of the file; its folder is made if absent.
        content: of the file; text becomes UTF-8.
        shared: whether other processes may write the same file at the same time. Then each has a beginning of its own,
            which nobody goes on with or takes away where ``kill -9`` leaves it.

    Raises:
        OSError: it cannot be written; the error names a file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid4().hex[:8]}.partial" if shared else f".{path.name}.partial")
    try:
        with partial.open("wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        if error.filename is None:  # as on a full disk
            error.filename = str(path)
        partial.unlink(missing_ok=True)
        raise
