"""The file that is written: hidden until it is whole, held by one process, and able to go on where it was stopped."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from distilora.errors import DataError
from distilora.files import write_whole
from distilora.scoring.reading import Reject
from distilora.scoring.resume import Done, Job, Progress, difference, read_progress

_CHECKPOINT_CHUNKS = 16
_CHECKPOINT_S = 5.0


def rejects_path(out: Path) -> Path:
    """Return the file for the rows that cannot be read."""
    return out.with_name(f"{out.name}.rejects.jsonl")


def refuse_output(out: Path, *, source: Path, replace: bool) -> None:
    """Raise DataError if ``out`` cannot be written, or would be written over what must stay."""
    if out.is_dir():
        raise DataError(f"{out}: is a folder; give the name of a file in it")
    if not out.parent.is_dir():
        raise DataError(f"{out}: the folder {out.parent} is not there; make it first")
    for path, what in ((out, "is the input"), (rejects_path(out), "would hold the rejected rows and is the input")):
        if path.exists() and source.exists() and path.samefile(source):
            raise DataError(f"{path}: {what}; give the output another name")
    if os.path.lexists(out) and not replace:
        raise DataError(f"{out}: is there already; give another name, or write over it with --overwrite")


@contextmanager
def open_output(out: Path, *, job: Job, resumable: bool, tell: Callable[[str], None]) -> Iterator[Output]:
    """Yield the output of a job, with what an earlier process did of it; :meth:`Output.finish` puts it in place.

    When the context is left otherwise, what was done stays beside ``out`` under hidden names, for the same job to go
    on with, and nothing stands under ``out``.

    Args:
        out: the file.
        job: what is to be done.
        resumable: whether the form can be cut off at any chunk and gone on with.
        tell: takes one line on where the job starts.

    Raises:
        DataError: another process is writing ``out``.
        OSError: the disk is full, or the folder cannot be written to.
    """
    with _locked(_beside(out, "partial"), out=out) as stream, _opened(_beside(out, "rejects.partial")) as rejects:
        output = Output(out, job=job, resumable=resumable, stream=stream, rejects=rejects)
        output.start(tell)
        try:
            yield output
        except BaseException:
            with suppress(OSError):  # what went wrong first is what the user is told
                output.leave()
            raise


class Output:
    """The files beside ``out`` that become it; use :func:`open_output`."""

    def __init__(self, out: Path, *, job: Job, resumable: bool, stream: FileIO, rejects: FileIO) -> None:
        self.done = Done()
        """Up to the last whole chunk."""
        self._out = out
        self._job = job
        self._resumable = resumable
        self._stream = stream
        self._rejects = rejects
        self._progress = _beside(out, "progress.json")
        self._finished = False
        self._chunks = 0
        self._saved_at = time.monotonic()

    def start(self, tell: Callable[[str], None]) -> None:
        """Take up what an earlier process did, or start anew and say why."""
        before = read_progress(self._progress) if self._resumable else None
        left = os.fstat(self._stream.fileno()).st_size > 0
        reason = self._reason_against(before)
        if before is not None and reason is None:
            self.done = before.done
            tell(f"{self._out}: goes on behind row {self.done.rows:,}")
        elif left or before is not None:
            tell(f"{self._out}: starts anew: {reason}")
        if self.done.rows == 0:
            self._progress.unlink(missing_ok=True)
        for stream, size in ((self._stream, self.done.out_bytes), (self._rejects, self.done.rejects_bytes)):
            stream.truncate(size)
            stream.seek(size)

    def write(self, content: bytes) -> None:
        """Append bytes to the output.

        Raises:
            OSError: the disk is full; the error names the output.
        """
        _write(self._stream, content, path=self._out)

    def reject(self, rejects: Sequence[Reject]) -> None:
        """Append rows that cannot be read to the rejects file."""
        if rejects:
            _write(self._rejects, b"".join(reject.as_line() for reject in rejects), path=rejects_path(self._out))

    def chunk_done(self, done: Done) -> None:
        """Note that a chunk is written; from time to time what is done is made to last.

        Args:
            done: all rows so far; the bytes are filled in here.
        """
        sizes = {"out_bytes": self._stream.tell(), "rejects_bytes": self._rejects.tell()}
        self.done = done.model_copy(update=sizes)
        self._chunks += 1
        due = self._chunks % _CHECKPOINT_CHUNKS == 0 or time.monotonic() - self._saved_at > _CHECKPOINT_S
        if due and self._resumable:
            self._save()

    def finish(self) -> Path | None:
        """Put the whole output in its place, and return where the rejects are, if there are any."""
        self._save()
        rejects = rejects_path(self._out)
        if self._rejects.tell():
            _beside(self._out, "rejects.partial").replace(rejects)
        else:
            rejects.unlink(missing_ok=True)
            _beside(self._out, "rejects.partial").unlink()
        _beside(self._out, "partial").replace(self._out)
        self._finished = True
        self._progress.unlink(missing_ok=True)
        return rejects if rejects.exists() else None

    def leave(self) -> None:
        """Keep what is done for the same job to go on with; what nobody can go on with is taken away."""
        if self._finished:
            return
        if self._resumable and self.done.rows:
            self._save()
        else:
            for name in ("partial", "rejects.partial", "progress.json"):
                _beside(self._out, name).unlink(missing_ok=True)

    def _reason_against(self, before: Progress | None) -> str | None:
        if not self._resumable:
            return "a Parquet file cannot be gone on with"
        if before is None:
            return "it is not known how far an earlier process came"
        there = [os.fstat(stream.fileno()).st_size for stream in (self._stream, self._rejects)]
        if there[0] < before.done.out_bytes or there[1] < before.done.rejects_bytes:
            return "part of what an earlier process wrote is gone"
        return difference(before.job, self._job)

    def _save(self) -> None:
        for stream in (self._stream, self._rejects):
            os.fsync(stream.fileno())
        self._saved_at = time.monotonic()
        if not self._resumable:
            return
        progress = Progress(job=self._job, done=self.done)
        write_whole(self._progress, progress.model_dump_json() + "\n")


def _beside(out: Path, state: str) -> Path:
    return out.with_name(f".{out.name}.{state}")


@contextmanager
def _locked(partial: Path, *, out: Path) -> Iterator[FileIO]:
    """Yield the file at ``partial``, which no other process writes to meanwhile."""
    with _opened(partial) as stream:
        # The lock is the file's, whatever its name: see that it was not put in its place before we had it.
        if not _lock(stream) or not _is_at(stream, partial):
            raise DataError(f"{out}: another process is writing it; wait for it or give another name")
        yield stream


def _opened(path: Path) -> FileIO:
    # Unbuffered: chunks are large, and no bytes may be left over for closing when the disk is full.
    return FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "r+b")


def _lock(stream: FileIO) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(stream: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.lstat())
    except FileNotFoundError:
        return False


def _write(stream: FileIO, content: bytes, *, path: Path) -> None:
    left = memoryview(content)
    try:
        while left:
            left = left[stream.write(left) or 0 :]
    except OSError as failure:
        raise OSError(failure.errno, failure.strerror, str(path)) from failure
