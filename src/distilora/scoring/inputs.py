"""Which files are to be scored: paths, folders, globs and URLs as the files that they stand for."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from distilora.data.opening import SUFFIXES
from distilora.errors import DataError
from distilora.records import Record
from distilora.scoring.forms import FORMS, Form
from distilora.scoring.places import Place, is_remote, open_place
from distilora.scoring.resume import hash_of_beginning

_CHANGED = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")
"""What kinds of places call the mark of a file's last change, best first."""


class InputFile(Record):
    """One file, and what tells it from others or from itself once it has changed."""

    name: str
    """A path, or a URL."""
    size_bytes: int
    changed: str
    """As its place marks changes; empty where it does not."""
    beginning_sha256: str
    """Of its first MiB."""

    @property
    def form(self) -> Form:
        """What the end of its name stands for."""
        return FORMS[PurePath(self.name).suffix.lower()]


def find_inputs(given: Sequence[str], *, out: str) -> tuple[InputFile, ...]:
    """Return the files that names stand for: each argument's sorted, none twice, however it is spelled.

    Of a folder all files count, in its folders too, that can be read by the end of their name; but none whose own or
    whose folder's name begins with a dot or an underscore, as such are about the data and not the data.

    Args:
        given: paths or URLs of files and folders, or globs of such.
        out: the folder that is written; files in it are never read.

    Raises:
        DataError: a name stands for no file that can be read, or its place cannot be opened.
        MissingExtraError: fsspec is not installed.
    """
    folder, different = open_place(out), dict[str, Place]()
    for each in given:
        for place in _expanded(each, out=folder):
            different.setdefault(_own_name(place), place)
    return tuple(map(_described, different.values()))


def _expanded(given: str, *, out: Place) -> list[Place]:
    is_pattern = any(mark in given for mark in "*?[")
    find = _far if is_remote(given) else _near
    found = [place for place in map(open_place, find(given, is_pattern=is_pattern)) if not _is_in(place, out)]
    if not found:
        what = "no file matches" if is_pattern else "no such file or folder, or none in it"
        raise DataError(f"{given}: {what} that ends in {', '.join(SUFFIXES)}")
    return found


def _near(given: str, *, is_pattern: bool) -> Iterator[str]:
    path = Path(given)
    if path.is_file():
        _refuse_suffix(given)
        yield given
    elif path.is_dir():
        inside = [file.relative_to(path) for file in path.rglob("*") if file.is_file()]
        yield from sorted(str(path / name) for name in inside if _counts(str(name)))
    elif is_pattern:
        found = sorted(glob.glob(given, recursive=True))  # noqa: PTH207 - takes absolute patterns too, and keeps relative ones
        yield from (name for name in found if Path(name).is_file() and _has_suffix(name))


def _far(given: str, *, is_pattern: bool) -> Iterator[str]:
    place = open_place(given)
    name_of = place.files.unstrip_protocol
    try:
        if is_pattern:
            yield from sorted(name_of(path) for path in place.files.glob(place.path) if _has_suffix(path))
        elif place.files.isdir(place.path):
            base = place.path.rstrip("/") + "/"
            paths = place.files.find(place.path)
            yield from sorted(name_of(path) for path in paths if _counts(path.removeprefix(base)))
        elif place.files.exists(place.path):
            _refuse_suffix(given)
            yield given
    except OSError as failure:
        raise DataError(f"{given}: cannot be opened: {failure.strerror or failure}") from None


def _counts(name: str) -> bool:
    return _has_suffix(name) and not any(part.startswith((".", "_")) for part in PurePath(name).parts)


def _has_suffix(name: str) -> bool:
    return PurePath(name).suffix.lower() in FORMS


def _refuse_suffix(name: str) -> None:
    if not _has_suffix(name):
        raise DataError(f"{name}: is not a file that can be read; give a file that ends in {', '.join(SUFFIXES)}")


def _own_name(place: Place) -> str:
    """Return the one name of a file of this machine, links followed; one far away is what it is called."""
    return str(Path(place.path).resolve()) if place.is_local else place.name


def _is_in(place: Place, folder: Place) -> bool:
    return _own_name(place).startswith(_own_name(folder).rstrip("/") + "/")


def _described(place: Place) -> InputFile:
    try:
        about = place.files.info(place.path)
    except OSError as failure:
        raise DataError(f"{place.name}: cannot be opened: {failure.strerror or failure}") from None
    size = int(about["size"] or 0)
    return InputFile(
        name=place.name,
        size_bytes=size,
        changed=_change_mark(place, about),
        # Some places cannot say what lies between a byte and one behind the end.
        beginning_sha256=hash_of_beginning(lambda most: place.read(0, min(size, most)) if size else b""),
    )


def _change_mark(place: Place, about: Mapping[str, Any]) -> str:
    if place.is_local:  # to the nanosecond
        return str(Path(place.path).stat().st_mtime_ns)
    return next((str(about[key]) for key in _CHANGED if about.get(key)), "")
