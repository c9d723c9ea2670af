"""Bundles written to folders: whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from distilora.bundles.limits import MAX_MANIFEST_BYTES, limits_problem
from distilora.bundles.manifest import (
    ID_FILE,
    MANIFEST_FILE,
    MEMBERS_FOLDER,
    FileEntry,
    Manifest,
    bundle_id,
    manifest_bytes,
)
from distilora.bundles.reading import StoredBundle, first_problem, hidden_folder, is_bundle, read_member
from distilora.errors import BundleError

_NO_MEMBERS: Mapping[str, Path] = MappingProxyType({})


def entries_of(contents: Mapping[str, bytes]) -> dict[str, FileEntry]:
    """Return size and hash of each file, by name.

    Example:
        >>> entries_of({"README.md": b"# odd"})["README.md"].size_bytes
        5
    """
    return {
        name: FileEntry(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
        for name, content in contents.items()
    }


def write_bundle(
    folder: Path,
    manifest: Manifest,
    contents: Mapping[str, bytes],
    *,
    members: Mapping[str, Path] = _NO_MEMBERS,
    replace: bool = False,
) -> str:
    """Return the id of the bundle that ``folder`` now is.

    The folder is filled as ``.NAME.partial`` beside its place and then renamed, so that a reader finds all of it or
    nothing; what a killed write left there, the next one clears away.

    Args:
        folder: where to write.
        manifest: what the bundle says of itself; its ``files`` are made of ``contents`` here, whatever they were.
        contents: the bundle's files, manifest and id not among them, by plain name.
        members: an ensemble's members: the bundle to copy, by the name that the manifest gives it.
        replace: whether ``folder`` may be there already, if it is a bundle, sound or not; all that is in it goes.

    Raises:
        BundleError: something is there, a name or size is not allowed, a member is not the one that the manifest
            names, another process writes there, or the folder cannot be written.
    """
    complete = _complete(folder, manifest, contents, members)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _partial(folder) as partial:
            _undo_cut_off_swap(folder)
            _require_free(folder, replace=replace)
            _fill(partial, complete, contents, members)
            _swap(partial, folder)
            _sync(folder.parent)
    except OSError as error:
        raise BundleError(f"{folder}: cannot be written: {error.strerror or error}; give another folder") from None
    return bundle_id(complete)


def _complete(folder: Path, manifest: Manifest, contents: Mapping[str, bytes], members: Mapping[str, Path]) -> Manifest:
    """Return the manifest with its files, if it is one that will be read again."""
    try:
        complete = Manifest.model_validate({**manifest.model_dump(), "files": entries_of(contents)})
        size = len(manifest_bytes(complete))
    except ValidationError as error:
        raise BundleError(f"{folder}: not written: {first_problem(error)}") from None
    except ValueError:
        raise BundleError(f"{folder}: not written: a number or character that JSON has no place for") from None
    problem = limits_problem(complete)
    if size > MAX_MANIFEST_BYTES:
        problem = f"{MANIFEST_FILE} would have {size:,} bytes; allowed are {MAX_MANIFEST_BYTES:,}"
    named = {member.name for member in complete.members}
    if named != set(members):
        problem = f"members {sorted(members)} given, {sorted(named)} in the manifest; they must be the same"
    if problem:
        raise BundleError(f"{folder}: not written: {problem}")
    return complete


def _require_free(folder: Path, *, replace: bool) -> None:
    """Raise if something is there that must stay."""
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not is_bundle(folder):
        raise BundleError(f"{folder}: is there already and is no bundle; give a folder that is not there yet")
    if not replace:
        raise BundleError(f"{folder}: holds a bundle already; give another folder, or replace it with --overwrite")


@contextmanager
def _partial(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``folder`` that no other process writes to; afterwards it is renamed or gone."""
    partial = hidden_folder(folder, "partial")
    partial.mkdir(exist_ok=True)
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        # The lock is the folder's, whatever its name: see that it was not renamed before we had it.
        if not _locked(descriptor) or not _is_at(descriptor, partial):
            raise BundleError(f"{folder}: another distilora is writing it; wait for it or give another folder")
        _empty(partial)
        try:
            yield partial
        finally:
            if _is_at(descriptor, partial):
                shutil.rmtree(partial, ignore_errors=True)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Return whether a folder is now this process's, which it stays until the descriptor is closed."""
    import fcntl  # not on every system, and whoever only reads bundles can do without

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _fill(partial: Path, manifest: Manifest, contents: Mapping[str, bytes], members: Mapping[str, Path]) -> None:
    """Write everything into the partial folder and see that it reaches the disk."""
    for member in manifest.members:
        source, copy = members[member.name], partial / MEMBERS_FOLDER / member.name
        _copy(read_member(source, member, ensemble=manifest), copy)
        read_member(copy, member, ensemble=manifest)
    if manifest.members:
        _sync(partial / MEMBERS_FOLDER)
    for name in manifest.files:
        _write_synced(partial / name, contents[name])
    _write_synced(partial / MANIFEST_FILE, manifest_bytes(manifest))
    _write_synced(partial / ID_FILE, f"{bundle_id(manifest)}\n".encode())
    _sync(partial)


def _copy(stored: StoredBundle, target: Path) -> None:
    """Copy what the manifest of a bundle names, and nothing else that stands in its folder."""
    target.mkdir(parents=True)
    for name in (*stored.manifest.files, MANIFEST_FILE, ID_FILE):
        shutil.copyfile(stored.path / name, target / name)
        _sync(target / name)
    _sync(target)


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("xb") as stream:
        stream.write(content)
    _sync(path)


def _sync(path: Path) -> None:
    """See that a file or folder has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _swap(partial: Path, folder: Path) -> None:
    """Put the partial folder in its place; a bundle that stands there leaves it only for that moment."""
    if not folder.exists():
        partial.rename(folder)
        return
    old = hidden_folder(folder, "replaced")
    folder.rename(old)
    try:
        partial.rename(folder)
    finally:
        _undo_cut_off_swap(folder)


def _undo_cut_off_swap(folder: Path) -> None:
    """Put the old bundle back if the new one did not come; else remove it."""
    old = hidden_folder(folder, "replaced")
    if not old.exists():
        return
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)  # the next write of this bundle tries again
    else:
        old.rename(folder)
