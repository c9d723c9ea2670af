"""The folder that a job writes: its parts, its rejects, what the job is, and at the end what it came to."""

from __future__ import annotations

import fcntl
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from distilora.errors import DataError
from distilora.scoring.forms import require_pyarrow
from distilora.scoring.inputs import InputFile
from distilora.scoring.parts import JobFile, Part, PartDone, PartsJob, part_name_of, rejects_name_of
from distilora.scoring.places import Place, open_place
from distilora.scoring.resume import difference

JOB_FILE = "_job.json"
SUMMARY_FILE = "_summary.json"
REJECTS_FOLDER = "_rejects"
_LOCK_FILE = ".lock"
DONE_KEY = b"distilora"
"""Of the record in the end of a part's file."""
_READERS = 16


class OutFolder:
    """A folder of scored comments, here or far away.

    Names that begin with an underscore or a dot are not data: pyarrow, pandas, DuckDB (``part-*``) and Spark read the
    folder as one table.

    Args:
        name: a path, or a URL.

    Raises:
        DataError: no driver for such a URL is known or installed, or a file is called like it.
        MissingExtraError: pyarrow or fsspec is not installed.
    """

    def __init__(self, name: str) -> None:
        require_pyarrow()
        self.name = name.rstrip("/") or name
        self.place: Place = open_place(self.name)
        self.rejects: Place = self.place.inside(REJECTS_FOLDER)
        if self.place.files.isfile(self.place.path):
            raise DataError(f"{name}: is a file; give a folder for the parts")

    def make(self) -> None:
        """Make the folder and the one for rejects, where they are not there."""
        for place in (self.place, self.rejects):
            place.files.makedirs(place.path, exist_ok=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no other process write this folder meanwhile; a far one cannot be held.

        Raises:
            DataError: another process is writing it.
        """
        if not self.place.is_local:
            yield
            return
        with Path(self.place.path, _LOCK_FILE).open("wb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataError(f"{self.name}: another process is writing it; wait for it or give another") from None
            self.sweep()
            yield

    def sweep(self) -> None:
        """Take away what processes that were killed had begun to write."""
        for place in (self.place, self.rejects):
            for name in place.names():
                if name.startswith(".") and name.endswith(".partial"):
                    place.inside(name).remove()

    def clear(self) -> None:
        """Take away all that a job has written, what says so last."""
        ours = [name for name in self.place.names() if part_name_of(name)]
        for name in (SUMMARY_FILE, *ours, REJECTS_FOLDER, JOB_FILE):
            self.place.inside(name).remove()

    def before(self) -> JobFile | None:
        """Return which job the folder holds, or ``None``.

        Raises:
            DataError: its job is of another release.
        """
        if JOB_FILE not in self.place.names():
            return None
        try:
            return JobFile.model_validate_json(self.place.inside(JOB_FILE).read())
        except ValidationError:
            _refuse(self.name, "what it holds is no job of this release")

    def refuse_others(self) -> None:
        """Raise DataError if the folder holds other things than a job."""
        names = self.place.names()
        if JOB_FILE not in names and any(not name.startswith(".") and name != REJECTS_FOLDER for name in names):
            raise DataError(f"{self.name}: holds other files and no job; give a new or an empty folder")

    def begin(self, job: PartsJob, files: Sequence[InputFile]) -> None:
        """Note which job this is."""
        self.place.inside(JOB_FILE).write(JobFile(job=job, files=tuple(files)).model_dump_json(indent=1).encode())

    def done(self, job: PartsJob) -> dict[tuple[int, int], PartDone]:
        """Return the parts that are done, by file and number; one that is damaged counts as not done."""
        names = [name for name in self.place.names() if part_name_of(name)]
        with ThreadPoolExecutor(_READERS) as readers:
            found = [done for done in readers.map(self._read_done, names) if done is not None]
        return {(done.part.file, done.part.number): done for done in found if done.job_id == job.id}

    def reopen(self) -> None:
        """Take away the summary: something is still to be done, or again."""
        self.place.inside(SUMMARY_FILE).remove()

    def forget(self, part: Part) -> None:
        """Take away a part, which is to be done anew."""
        self.reopen()
        self.place.inside(part.name).remove()
        self.rejects.inside(part.rejects_name).remove()

    def _read_done(self, name: str) -> PartDone | None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        place = self.place.inside(name)
        try:
            with place.files.open(place.path, "rb") as stream:
                metadata = pq.read_metadata(stream)
            done = PartDone.model_validate_json((metadata.metadata or {})[DONE_KEY])
        except (pa.ArrowException, OSError, KeyError, ValidationError):
            return None
        return done if metadata.num_rows == done.scored and done.part.name == name else None

    def finish(self, job: PartsJob, parts: Collection[PartDone], *, summary: str) -> None:
        """Take away what is of none of a job's parts, and write the summary, which says that all is there.

        A worker that outlived an earlier command, on another machine perhaps, may have written its last part since.

        Args:
            job: which is done.
            parts: all that it has.
            summary: what it came to.

        Raises:
            DataError: a part is gone, or is another by now.
        """
        self.sweep()
        there = self.done(job)
        lost = next((each.part for each in parts if there.get((each.part.file, each.part.number)) != each), None)
        if lost is not None:
            self.reopen()
            raise DataError(
                f"{self.name}: {lost.name} was taken away or written over by another process; end that, and give the "
                "same command again"
            )
        names = {each.part.name for each in parts} | {each.part.rejects_name for each in parts if each.rejects}
        for place in (self.place, self.rejects):
            for name in place.names():
                if (part_name_of(name) or rejects_name_of(name)) and name not in names:
                    place.inside(name).remove()
        self.place.inside(SUMMARY_FILE).write(summary.encode())


def refuse_other(
    before: JobFile, job: PartsJob, files: Sequence[InputFile], *, out: str, done: Mapping[tuple[int, int], PartDone]
) -> set[int]:
    """Return which files are to be done anew, as they have changed before all of them was done: mended, perhaps.

    Args:
        before: the folder's job.
        job: this one.
        files: its files.
        out: the folder, for the message.
        done: the parts that are done.

    Raises:
        DataError: the folder's job is another one, or a file that is done has changed.
    """
    what = difference(before.job, job)
    if what is None and [file.name for file in before.files] != [file.name for file in files]:
        what = "other input files"
    if what is not None:
        _refuse(out, f"it holds a job with {what}")
    changed = {at for at, (old, new) in enumerate(zip(before.files, files, strict=True)) if old != new}
    ready = changed & _whole_files(list(done.values()))
    if ready:
        _refuse(out, f"{files[min(ready)].name} has changed since it was scored")
    return changed


def _whole_files(done: Collection[PartDone]) -> set[int]:
    """Return the files all of whose parts are done."""
    parts = Counter(each.part.file for each in done)
    return {each.part.file for each in done if each.part.is_last and parts[each.part.file] == each.part.number + 1}


def _refuse(out: str, why: str) -> NoReturn:
    raise DataError(f"{out}: {why}; give another folder, or start anew in this one with --overwrite")
