"""Any number of files in, a folder of parts out: what is done stays done, whichever engine did it and was stopped."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

from distilora.bundles.bundle import Bundle
from distilora.bundles.tokens import LongTexts
from distilora.errors import DataError
from distilora.scoring.cutting import cut, part_bytes_for
from distilora.scoring.folder import OutFolder, refuse_other
from distilora.scoring.inputs import InputFile, find_inputs
from distilora.scoring.local import Crew, InlineEngine, LocalEngine
from distilora.scoring.part_reading import arrow_schema, open_input
from distilora.scoring.part_scoring import Order, all_added
from distilora.scoring.parts import JobFile, Part, PartDone, PartFailed, PartsJob
from distilora.scoring.places import open_place
from distilora.scoring.progress import Meter, shown_progress
from distilora.scoring.resume import versions_that_count
from distilora.scoring.scoring import CHUNK_ROWS, refuse_rule
from distilora.scoring.summary import FolderSummary, summarised
from distilora.scoring.workers import Worker, run_parts

logger = logging.getLogger(__name__)

_SHOWN_PROBLEMS = 3


class Engine(Protocol):
    """Where the workers are."""

    @property
    def name(self) -> str:
        """As the command line has it."""

    def opened(self, bundle: Bundle, order: Order) -> AbstractContextManager[Crew]:
        """Return what begins workers, while the context lasts."""


@dataclass(frozen=True)
class Wishes:
    """How comments are to be scored."""

    text: str | None = None
    """The text column; absent: guessed where there is one good guess."""
    prefix: str = ""
    """Put before the names of the added columns."""
    threshold: float | None = None
    """On the positive classes' probability; absent: the bundle's own."""
    long_texts: LongTexts = "truncate"
    """What counts of a text that is too long, as for ``Bundle.predict``."""
    chunk_rows: int = CHUNK_ROWS
    """Rows that share batches."""
    part_bytes: int | None = None
    """Bytes of the input in one part; absent: by the size of all of it, 64 KiB to 8 MiB."""


def score_folder(  # noqa: PLR0913 - the public door: each argument is one option of the command
    bundle: Bundle,
    given: Sequence[str],
    out: str,
    *,
    wishes: Wishes = Wishes(),
    engine: Engine = LocalEngine(),  # noqa: B008 - frozen
    replace: bool = False,
    tell: Callable[[str], None] = logger.info,
) -> FolderSummary:
    """Write comments of any number of files with what the bundle says of each, as Parquet, and return a summary.

    The folder gets ``part-FILE-NUMBER.parquet``: the columns of the input behind ``source_file`` and ``source_row``,
    which tell each row from all others, and behind them the columns that :func:`score_file` adds. Rows that cannot be
    read go to ``_rejects/``. ``_job.json`` says what the job is; ``_summary.json`` comes last, and only when all is
    there. Parts depend on the input and the wishes alone, so the same folder comes of any engine and number of workers,
    stopped and gone on with or not, byte for byte but for the times in the summary.

    Args:
        bundle: what scores; its workers have one thread each.
        given: files, folders and globs, near or far.
        out: the folder.
        wishes: how.
        engine: where.
        replace: whether another job in the folder may be taken away.
        tell: takes one line on what was decided, and on how far it is where standard error is no terminal.

    Raises:
        DataError: input or output cannot be used; or some of it could not be read, all else being done; or another
            process wrote over a part.
        BundleError: a threshold for a bundle without positive classes.
        MissingExtraError: what the engine or a form needs is not installed.
        WorkerError: two workers vanished at the same part.
        OSError: the disk is full.
        KeyboardInterrupt: passed on, with what was done kept.
    """
    refuse_rule(bundle, threshold=wishes.threshold, long_texts=wishes.long_texts)
    folder = OutFolder(out)
    engine = _reaching(engine, [folder.name, *given])
    folder.refuse_others()
    before = None if replace else folder.before()
    files = find_inputs(given, out=folder.name)
    job = _job(bundle, files, wishes, before=before, tell=tell)
    folder.make()
    with folder.held():
        if replace:
            folder.clear()
            folder.make()
        done = _taken_up(folder, job, files, tell=tell)
        folder.begin(job, files)
        order = Order(job=JobFile(job=job, files=files), out=folder.name)
        run = _Run(folder, done)
        run.go(bundle, order, engine, tell=tell)
        summary = summarised(
            run.done.values(), labels=bundle.labels, files=len(files), clock=run.clock, out=folder.name,
            engine=engine.name, resumed=done.values(),
        )  # fmt: skip
        folder.finish(job, run.done.values(), summary=summary.model_dump_json(indent=1) + "\n")
    return summary


def _reaching(engine: Engine, names: Iterable[str]) -> Engine:
    """Return the engine, or this process where no other can see the places.

    Raises:
        DataError: the engine cannot be this process.
    """
    hidden = next((name for name in names if open_place(name).is_in_one_process), None)
    if hidden is None:
        return engine
    if engine.name != InlineEngine().name:
        raise DataError(f"{hidden}: lies in the memory of this process, where no other can read it; use --engine local")
    return InlineEngine()


def _job(
    bundle: Bundle,
    files: Sequence[InputFile],
    wishes: Wishes,
    *,
    before: JobFile | None,
    tell: Callable[[str], None],
) -> PartsJob:
    columns, text, schema = _columns(bundle, files, wishes, before=before)
    if wishes.text is None and before is None:
        tell(f'text is taken from column "{text}"')
    return PartsJob(
        versions=versions_that_count(),
        bundle_id=bundle.id,
        threshold=wishes.threshold,
        long_texts=wishes.long_texts,
        prefix=wishes.prefix,
        text_column=text,
        columns=columns,
        schema_base64=schema,
        chunk_rows=wishes.chunk_rows,
        part_bytes=wishes.part_bytes or (before.job.part_bytes if before else part_bytes_for(files)),
    )


def _columns(
    bundle: Bundle, files: Sequence[InputFile], wishes: Wishes, *, before: JobFile | None
) -> tuple[tuple[str, ...], str, str | None]:
    """Return the job's columns, the one of the text, and their types: of an earlier start, or the first that can be.

    Raises:
        DataError: no file can be read.
    """
    if before is not None:  # the first file may have been mended since
        return before.job.columns, wishes.text or before.job.text_column, before.job.schema_base64
    first: DataError | None = None
    for file in files:
        try:
            source = open_input(file, text=wishes.text, added=all_added(bundle, prefix=wishes.prefix))
        except DataError as failure:
            first = first or failure
            continue
        typed = all(each.form == "parquet" for each in files)
        schema = base64.b64encode(arrow_schema(file).serialize()).decode() if typed else None
        return source.table.columns, source.text_column, schema
    raise first or DataError("there is no file to score")


def _taken_up(
    folder: OutFolder, job: PartsJob, files: Sequence[InputFile], *, tell: Callable[[str], None]
) -> dict[tuple[int, int], PartDone]:
    """Return what is done of the job already, by file and part.

    Raises:
        DataError: the folder holds another job.
    """
    before = folder.before()
    if before is None:
        return {}
    done = folder.done(before.job)
    changed = refuse_other(before, job, files, out=folder.name, done=done)
    for key in [key for key in done if key[0] in changed]:
        folder.forget(done.pop(key).part)
    if done:
        rows = sum(each.part.rows for each in done.values())
        tell(f"{folder.name}: goes on: {rows:,} rows in {len(done):,} parts are done")
    return done


@dataclass
class Clock:
    """What a job took, in seconds of this process."""

    began: float = field(default_factory=time.perf_counter)
    ready: float | None = None
    """When the first worker was."""
    worked: float = 0.0
    """Of all workers together, on parts."""
    workers: int = 0


class _Run:
    """The work on what is not yet done."""

    def __init__(self, folder: OutFolder, done: Mapping[tuple[int, int], PartDone]) -> None:
        self.done = dict(done)
        self.clock = Clock()
        self._folder = folder
        self._problems: dict[str, None] = {}

    def go(self, bundle: Bundle, order: Order, engine: Engine, *, tell: Callable[[str], None]) -> None:
        """Do it.

        Raises:
            DataError: some parts could not be read.
        """
        with closing(_parts_to_do(order, self.done)) as parts:
            first = next(parts, None)
            if first is not None:  # else nothing needs to be started
                self._folder.reopen()
                with engine.opened(bundle, order) as crew, shown_progress(order.out, tell=tell) as meter:
                    self._work(chain([first], parts), crew, order=order, meter=meter)
        if self._problems:
            raise DataError(self._complaint(order.out))

    def _work(self, parts: Iterator[Part | PartFailed], crew: Crew, *, order: Order, meter: Meter) -> None:
        total = max(sum(file.size_bytes for file in order.job.files), 1)
        rows = sum(done.part.rows for done in self.done.values())
        size = sum(done.part.size_bytes for done in self.done.values())
        self.clock.workers = crew.workers

        def start() -> Worker:
            worker = crew.start()
            if self.clock.ready is None:
                self.clock.ready = time.perf_counter()
                meter.begin(rows, size / total)  # the start-up says nothing on the pace
            return _TimedWorker(worker, self.clock)

        with closing(run_parts(parts, start, workers=crew.workers)) as results:
            for came in results:
                if isinstance(came, PartFailed):
                    self._problems[came.problem] = None
                    continue
                self.done[came.part.file, came.part.number] = came
                rows, size = rows + came.part.rows, size + came.part.size_bytes
                meter.advance(rows, min(size / total, 1.0))

    def _complaint(self, out: str) -> str:
        problems = list(self._problems)
        more = len(problems) - _SHOWN_PROBLEMS
        shown = "; ".join(problems[:_SHOWN_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")
        return f"{shown} ({len(self.done):,} parts are done in {out}: mend it, and the same command goes on)"


class _TimedWorker:
    def __init__(self, worker: Worker, clock: Clock) -> None:
        self._worker = worker
        self._clock = clock
        self.stop = worker.stop
        self.close = worker.close

    def score(self, part: Part) -> PartDone:
        began = time.perf_counter()
        done = self._worker.score(part)
        spent = time.perf_counter() - began
        self._clock.worked += spent  # added at once, as other threads add to it too
        return done


def _parts_to_do(order: Order, done: Mapping[tuple[int, int], PartDone]) -> Generator[Part | PartFailed, None, None]:
    by_file: dict[int, dict[int, Part]] = {}
    for each in done.values():
        by_file.setdefault(each.part.file, {})[each.part.number] = each.part
    for at, file in enumerate(order.job.files):
        try:
            yield from cut(file, at=at, job=order.job.job, done=by_file.get(at, {}))
        except DataError as failure:
            yield PartFailed(problem=str(failure))
