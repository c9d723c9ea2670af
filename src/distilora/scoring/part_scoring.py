"""One part: read, scored, written whole. Every engine's workers do it with this, and so write the same bytes."""

from __future__ import annotations

import io
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilora.bundles.bundle import Bundle
from distilora.errors import BundleError
from distilora.records import Record
from distilora.scoring.folder import DONE_KEY, OutFolder
from distilora.scoring.forms import require_pyarrow
from distilora.scoring.inputs import InputFile
from distilora.scoring.part_reading import job_schema, open_input, read_part
from distilora.scoring.parts import JobFile, Part, PartDone, count_reason, reason_of
from distilora.scoring.reading import Chunk, Reject, Source
from distilora.scoring.writing import AddedColumns, added_columns, scored_batch, scored_schema


class Order(Record):
    """What a worker is told before its first part."""

    job: JobFile
    out: str


def id_columns(prefix: str) -> tuple[str, str]:
    """Return the names of the two columns that tell each row from all others: its file, and its number from 1."""
    return f"{prefix}source_file", f"{prefix}source_row"


def all_added(bundle: Bundle, *, prefix: str) -> frozenset[str]:
    """Return the names of all columns that are added in a folder's parts."""
    return frozenset((*id_columns(prefix), *_added(bundle, prefix=prefix).names))


class PartScorer:
    """Scores parts of one job.

    Args:
        bundle: what scores, with one thread.
        order: the job, and the folder that it writes.

    Raises:
        BundleError: the bundle is not the job's.
    """

    def __init__(self, bundle: Bundle, order: Order) -> None:
        self._bundle = bundle
        self._job = order.job.job
        self._files = order.job.files
        self._out = OutFolder(order.out)
        self._sources: dict[int, Source] = {}
        if bundle.id != self._job.bundle_id:
            raise BundleError(f"{bundle.path}: has become another bundle while it was used; start again")

    def score(self, part: Part) -> PartDone:
        """Return what came of a part, which now is in the folder: its rejects first, for its own file says it is done.

        Raises:
            DataError: the part cannot be read.
            OSError: the part cannot be written, such as on a full disk.
        """
        buffer, rejects, counts = io.BytesIO(), list[Reject](), _Counts(self._bundle.labels)
        with self._writer(buffer) as writer:
            before = part.rows_before
            for chunk in read_part(self._source(part.file), self._files[part.file], part, job=self._job):
                writer.write_batch(self._scored(chunk, part, before=before, counts=counts))
                rejects += chunk.rejects
                before += chunk.read
            done = counts.as_done(self._job.id, part)
            writer.add_key_value_metadata({DONE_KEY: done.model_dump_json().encode()})
        self._write_rejects(part, rejects)
        self._out.place.inside(part.name).write(buffer.getvalue())
        return done

    def _write_rejects(self, part: Part, rejects: list[Reject]) -> None:
        place = self._out.rejects.inside(part.rejects_name)
        if rejects:
            place.write(b"".join(reject.as_line() for reject in rejects))
        else:
            place.remove()  # of a process that was killed before the file was mended

    def _scored(self, chunk: Chunk, part: Part, *, before: int, counts: _Counts) -> Any:
        pa = require_pyarrow()
        # As many texts as a chunk has are answered in this thread, in the batches in which a file alone is scored.
        predictions = self._bundle.predict(chunk.texts, threshold=self._job.threshold, long_texts=self._job.long_texts)
        counts.add(chunk, predictions.labels, cut=int(predictions.cut.sum()))
        name = pa.DictionaryArray.from_arrays(
            pa.array(np.zeros(len(predictions), np.int32)), pa.array([self._files[part.file].name], pa.string())
        )
        ids = [name, pa.array(_row_numbers(chunk, before=before))]
        rows = pa.RecordBatch.from_arrays([*ids, *chunk.rows.columns], schema=self._schema)
        return scored_batch(rows, predictions, schema=self._scored_schema)

    def _source(self, file: int) -> Source:
        if file not in self._sources:
            self._sources = {file: self._opened(self._files[file])}  # files come one after the other
        return self._sources[file]

    def _opened(self, file: InputFile) -> Source:
        added = all_added(self._bundle, prefix=self._job.prefix)
        return open_input(file, text=self._job.text_column, added=added, columns=self._job.columns)

    def _writer(self, buffer: io.BytesIO) -> Any:
        import pyarrow.parquet as pq

        return pq.ParquetWriter(buffer, self._scored_schema)

    @cached_property
    def _schema(self) -> Any:
        pa = require_pyarrow()
        file, row = id_columns(self._job.prefix)
        ids = [pa.field(file, pa.dictionary(pa.int32(), pa.string())), pa.field(row, pa.int64())]
        schema = job_schema(self._job)
        return pa.schema([*ids, *schema], metadata=schema.metadata)

    @cached_property
    def _scored_schema(self) -> Any:
        return scored_schema(self._schema, _added(self._bundle, prefix=self._job.prefix))


class _Counts:
    """What is counted in a part."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._labels = np.zeros(len(labels), np.int64)
        self._names = labels
        self._cut = 0
        self._rejects: dict[str, int] = {}

    def add(self, chunk: Chunk, labels: NDArray[np.int64], *, cut: int) -> None:
        """Add a chunk, the labels of its texts, and how many of those are too long for the model."""
        self._labels += np.bincount(labels, minlength=len(self._names))
        self._cut += cut
        for reject in chunk.rejects:
            count_reason(self._rejects, reason_of(reject.problem))

    def as_done(self, job_id: str, part: Part) -> PartDone:
        """Return all of it."""
        labels = dict(zip(self._names, self._labels.tolist(), strict=True))
        scored = int(self._labels.sum())
        return PartDone(job_id=job_id, part=part, scored=scored, cut=self._cut, labels=labels, rejects=self._rejects)


def _added(bundle: Bundle, *, prefix: str) -> AddedColumns:
    return added_columns(bundle.labels, positive=bool(bundle.manifest.positive), prefix=prefix)


def _row_numbers(chunk: Chunk, *, before: int) -> NDArray[np.int64]:
    """Return the numbers, from 1 in the file, of the rows that could be read."""
    numbers = np.arange(before + 1, before + chunk.read + 1)
    return numbers[~np.isin(numbers, [reject.row for reject in chunk.rejects])]
