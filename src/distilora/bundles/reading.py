"""Bundles read from folders that nobody vouches for: a byte is looked at only after its hash was found right."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from pydantic import ValidationError

from distilora.bundles.limits import MAX_ID_BYTES, MAX_MANIFEST_BYTES, limits_problem
from distilora.bundles.manifest import (
    FORMAT,
    ID_FILE,
    MANIFEST_FILE,
    MEMBERS_FOLDER,
    MODEL_FILE,
    TOKENIZER_FILE,
    FileEntry,
    Manifest,
    Member,
    manifest_bytes,
)
from distilora.data.faults import shown
from distilora.errors import BundleError

_KEPT = {MODEL_FILE, TOKENIZER_FILE}
_AGAIN = "copy or export the bundle again"


@dataclass(frozen=True, eq=False)
class StoredBundle:
    """A bundle whose every file was found to be as its id says."""

    path: Path
    id: str
    manifest: Manifest
    contents: dict[str, bytes]
    """``model.onnx`` and ``tokenizer.json``: the very bytes whose hashes were compared."""
    members: dict[str, StoredBundle]
    """An ensemble's members by name, in the manifest's order."""


def hidden_folder(folder: Path, state: str) -> Path:
    """Return where a bundle stands before (``partial``) and after its time (``replaced``): beside its own place.

    Raises:
        BundleError: the path has no name, as ``/``.

    Example:
        >>> hidden_folder(Path("/out/odd"), "partial").name
        '.odd.partial'
    """
    whole = Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would follow a link
    if not whole.name:
        raise BundleError(f"{folder}: cannot be a bundle; give a folder's name")
    return whole.with_name(f".{whole.name}.{state}")


def is_bundle(folder: Path) -> bool:
    """Return whether a folder says that it is a bundle; :func:`read_bundle` finds out whether it is a sound one."""
    return (folder / MANIFEST_FILE).is_file()


def read_manifest(folder: Path) -> Manifest:
    """Return what a bundle says of itself, compared with its id; no other file is looked at.

    Raises:
        BundleError: as for :func:`read_bundle`.
    """
    return _identified(folder)[1]


def shipped_bytes(folder: Path) -> int:
    """Return the size of what a bundle needs to answer: manifest, model and tokenizer, and its members'.

    Raises:
        BundleError: as for :func:`read_bundle`.
    """
    manifest = read_manifest(folder)
    own = sum(manifest.files[name].size_bytes for name in (MODEL_FILE, TOKENIZER_FILE) if name in manifest.files)
    members = (shipped_bytes(folder / MEMBERS_FOLDER / member.name) for member in manifest.members)
    return (folder / MANIFEST_FILE).stat().st_size + own + sum(members)


def read_bundle(folder: Path) -> StoredBundle:
    """Return a bundle of which every file that its manifest names, its members' too, has the right size and hash.

    Files that the manifest does not name are never opened. Links are refused, except ``folder`` itself.

    Raises:
        BundleError: it is no bundle, of a newer format, or a file is missing, changed, too large or no plain file.
    """
    return _stored(folder, *_identified(folder))


def read_member(folder: Path, member: Member, *, ensemble: Manifest) -> StoredBundle:
    """Return a bundle that is the member which an ensemble's manifest names.

    Raises:
        BundleError: as for :func:`read_bundle`; or it is another bundle, itself an ensemble, or has other labels.
    """
    identity, manifest = _identified(folder)
    if identity != member.bundle_id:
        wanted = f"the ensemble's {member.name} is {member.bundle_id[:12]}…"
        raise BundleError(f"{folder}: is bundle {identity[:12]}…, but {wanted}; {_AGAIN}")
    if manifest.kind != "model":
        raise BundleError(f"{folder}: is an ensemble inside an ensemble; a member must be one model")
    if manifest.labels != ensemble.labels:
        raise BundleError(f"{folder}: its labels are not the ensemble's; all members need the same, in one order")
    return _stored(folder, identity, manifest)


def _stored(folder: Path, identity: str, manifest: Manifest) -> StoredBundle:
    contents = {name: _verified(folder / name, entry) for name, entry in sorted(manifest.files.items())}
    members = {}
    for member in manifest.members:
        path = folder / MEMBERS_FOLDER / member.name
        _refuse_links(path.parent, path)
        members[member.name] = read_member(path, member, ensemble=manifest)
    return StoredBundle(
        path=folder,
        id=identity,
        manifest=manifest,
        contents={name: content for name, content in contents.items() if content is not None},
        members=members,
    )


def _refuse_links(*paths: Path) -> None:
    for path in paths:
        if path.is_symlink():
            raise BundleError(f"{path}: is a link; there are none inside a bundle: {_AGAIN}")


def _identified(folder: Path) -> tuple[str, Manifest]:
    """Return id and manifest of a bundle, once one is the hash of the other and the manifest is sound."""
    _require_bundle(folder)
    path = folder / MANIFEST_FILE
    written = _small(path, limit=MAX_MANIFEST_BYTES)
    identity = _small(folder / ID_FILE, limit=MAX_ID_BYTES)
    if not re.fullmatch(rb"[0-9a-f]{64}\n", identity):
        raise BundleError(f"{folder / ID_FILE}: not 64 hexadecimal digits and a line feed; {_AGAIN}")
    if hashlib.sha256(written).hexdigest().encode() != identity[:-1]:
        raise BundleError(f"{path}: is damaged: its SHA-256 is not the one in {ID_FILE}; {_AGAIN}")
    return identity[:-1].decode(), _manifest(path, written)


def _require_bundle(folder: Path) -> None:
    try:
        problem = None if is_bundle(folder) else _what_instead(folder)
    except OSError as error:
        problem = f"cannot be read: {error.strerror}; give a bundle's folder"
    if problem:
        raise BundleError(f"{folder}: {problem}")


def _what_instead(folder: Path) -> str:
    """Return what a path is that is no bundle, and where there may be one."""
    if not folder.exists():
        return _why_absent(folder)
    if not folder.is_dir():
        return f"is a file; a bundle is a folder with {MANIFEST_FILE} in it"
    if is_bundle(folder / "bundle"):
        return f"not a bundle, but holds one: give {folder / 'bundle'}"
    if (folder / "result.json").exists():
        return f"is a trained run, not a bundle; distilora export {folder} OUT makes a bundle"
    if (folder / "experiment.toml").exists():
        return f"is an experiment, not a bundle; give one of its bundles, such as {folder / 'METHOD' / 'bundle'}"
    return f"not a bundle: {MANIFEST_FILE} is missing; distilora export RUN OUT makes a bundle"


def _why_absent(folder: Path) -> str:
    old = hidden_folder(folder, "replaced")
    if is_bundle(old):
        return f"not there, as its replacement was cut off; the old one is {old}: rename it, or export again"
    return f"no such folder; distilora export RUN {folder} makes a bundle of a trained run"


def _manifest(path: Path, written: bytes) -> Manifest:
    try:
        table = json.loads(written.decode())
    except (ValueError, RecursionError):
        raise BundleError(f"{path}: not JSON that distilora could have written; is it of another program?") from None
    _require_format(path, table)
    try:
        manifest = Manifest.model_validate(table)
        canonical = manifest_bytes(manifest)
    except ValidationError as error:
        raise BundleError(f"{path}: {first_problem(error)}; {_AGAIN}") from None
    except ValueError:  # a number or a character that JSON has no place for
        canonical = b""
    if canonical != written:
        raise BundleError(f"{path}: not written as distilora writes it: was it edited? {_AGAIN}")
    if problem := limits_problem(manifest):
        raise BundleError(f"{path}: {problem}")
    return manifest


def _require_format(path: Path, table: object) -> None:
    version = table.get("format") if isinstance(table, dict) else None
    if type(version) is not int or version < 1:
        raise BundleError(f"{path}: no manifest of distilora: it has no format number; is it of another program?")
    if version > FORMAT:
        raise BundleError(
            f"{path}: made by a newer distilora: format {shown(version)}, this one reads {FORMAT}; "
            "run pip install --upgrade distilora"
        )


def first_problem(error: ValidationError) -> str:
    """Return the first thing that is wrong with a manifest, and where."""
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, problem["loc"]))
    fault = problem["msg"].removeprefix("Value error, ")
    return f"{shown(where)}: {fault}" if where else fault


def _small(path: Path, *, limit: int) -> bytes:
    with _opened_plainly(path) as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise BundleError(f"{path}: has more than {limit:,} bytes; not of a bundle, or damaged: {_AGAIN}")
    return content


def _verified(path: Path, entry: FileEntry) -> bytes | None:
    """Return the content of a file that is used, or nothing for one that is only vouched for."""
    with _opened_plainly(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size != entry.size_bytes:
            fault = "cut short" if size < entry.size_bytes else "longer than it was"
            raise BundleError(
                f"{path}: is {fault}: {size:,} bytes, {MANIFEST_FILE} says {entry.size_bytes:,}; {_AGAIN}"
            )
        content = stream.read(size) if path.name in _KEPT else None
        digest = hashlib.file_digest(stream, "sha256") if content is None else hashlib.sha256(content)
    if digest.hexdigest() != entry.sha256:
        raise BundleError(f"{path}: is damaged: its SHA-256 is not the one in {MANIFEST_FILE}; {_AGAIN}")
    return content


@contextmanager
def _opened_plainly(path: Path) -> Iterator[BufferedReader]:
    """Yield a file open for reading, if it is a plain file: no link, folder, device or pipe.

    Raises:
        BundleError: it is something else, missing, or cannot be read.
    """
    # A pipe without a writer would block for ever. Not every system has these flags.
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | flags), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise BundleError(f"{path}: is no plain file; {_AGAIN}")
            yield stream
    except FileNotFoundError:
        raise BundleError(f"{path}: is missing; {_AGAIN}") from None
    except OSError as error:
        fault = "is no plain file" if path.is_symlink() or path.is_dir() else f"cannot be read: {error.strerror}"
        raise BundleError(f"{path}: {fault}; {_AGAIN}") from None
