"""What a bundle may hold at most, and how its files may be called: the same when it is written and when it is read."""

from __future__ import annotations

import re
from collections.abc import Mapping

from distilora.bundles.manifest import (
    ID_FILE,
    MANIFEST_FILE,
    MEMBERS_FOLDER,
    MODEL_FILE,
    TOKENIZER_FILE,
    FileEntry,
    Manifest,
)

MAX_MANIFEST_BYTES = 2**20
MAX_ID_BYTES = 128
MAX_FILES = 64
"""Of one bundle's own folder, manifest and id not counted."""
MAX_MEMBERS = 32
MAX_FILE_BYTES = 4 * 2**30
"""Of a file that :data:`MAX_BYTES_OF` does not name."""
MAX_BYTES_OF: Mapping[str, int] = {MODEL_FILE: 2 * 2**30, TOKENIZER_FILE: 64 * 2**20}
"""Protocol buffers, and so ONNX, end at 2 GiB."""

_RESERVED = {MANIFEST_FILE, ID_FILE, MEMBERS_FOLDER}
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def limits_problem(manifest: Manifest) -> str | None:
    """Return what in a manifest goes past the limits, naming the file, or ``None`` if nothing does."""
    if len(manifest.files) > MAX_FILES:
        return f"{len(manifest.files)} files; allowed are {MAX_FILES}"
    if len(manifest.members) > MAX_MEMBERS:
        return f"{len(manifest.members)} members; allowed are {MAX_MEMBERS}"
    if manifest.kind == "model" and TOKENIZER_FILE not in manifest.files:
        return f"{TOKENIZER_FILE} is not among the files; every model needs its tokenizer"
    if len({name.casefold() for name in manifest.files}) < len(manifest.files):
        return "two files whose names differ only in capitals"
    problems = (name_problem(name) or _size_problem(name, entry) for name, entry in sorted(manifest.files.items()))
    return next(filter(None, problems), None)


def name_problem(name: str) -> str | None:
    """Return why a file may not be called so, or ``None`` if it may.

    Example:
        >>> name_problem("../model.onnx")
        "file name '../model.onnx'; allowed are letters, digits, dot, dash and underscore, no dot in front"
        >>> name_problem("Bundle-ID")
        "file name 'Bundle-ID' is the bundle's own; choose another"
    """
    if not _PLAIN_NAME.fullmatch(name):
        return f"file name {name[:60]!a}; allowed are letters, digits, dot, dash and underscore, no dot in front"
    if name.casefold() in _RESERVED:
        return f"file name {name!r} is the bundle's own; choose another"
    return None


def _size_problem(name: str, entry: FileEntry) -> str | None:
    most = MAX_BYTES_OF.get(name, MAX_FILE_BYTES)
    return f"{name} has {entry.size_bytes:,} bytes; allowed are {most:,}" if entry.size_bytes > most else None
