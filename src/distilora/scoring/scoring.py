"""A file of comments in, the same file with labels and probabilities out, chunk by chunk."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from distilora.bundles.bundle import Bundle
from distilora.bundles.predictions import Predictions
from distilora.bundles.tokens import LongTexts
from distilora.records import Record
from distilora.scoring.forms import form_of, is_resumable
from distilora.scoring.output import Output, open_output, refuse_output
from distilora.scoring.progress import Meter, shown_progress
from distilora.scoring.reading import Chunk, open_comment_file
from distilora.scoring.resume import Done, Job, print_of, versions_that_count
from distilora.scoring.writing import RowWriter, added_columns, row_writer

logger = logging.getLogger(__name__)

CHUNK_ROWS = 2048


class ScoreSummary(Record):
    """What a scoring came to; rows = scored + rejected."""

    rows: int
    """Of the input, the header and blank lines not counted."""
    scored: int
    """Rows of the output."""
    rejected: int
    """Rows that cannot be read."""
    rejects: Path | None
    """The file that holds them; absent where there are none."""
    cut: int
    """Scored texts that are longer than the model's longest input."""
    labels: dict[str, int]
    """Scored rows by class."""
    seconds: float
    """Of this process."""
    texts_per_s: float | None
    """Scored by this process; absent where that was none."""
    out: Path
    resumed_rows: int
    """Rows that an earlier process had done."""


def score_file(  # noqa: PLR0913 - the public door: each argument is one option of the command
    bundle: Bundle,
    source: Path,
    out: Path,
    *,
    text: str | None = None,
    prefix: str = "",
    threshold: float | None = None,
    long_texts: LongTexts = "truncate",
    replace: bool = False,
    chunk_rows: int = CHUNK_ROWS,
    tell: Callable[[str], None] = logger.info,
) -> ScoreSummary:
    """Write a file of comments with label and probabilities of each, in the order of the input, and return a summary.

    The columns ``label``, ``probability_CLASS`` for each class, ``positive_probability`` (where the bundle has positive
    classes) and ``cut`` (true where the text is longer than the model's longest input) are added behind those of the
    input. Rows that cannot be read go to ``OUT.rejects.jsonl``, each with its number and what is wrong with it.

    Memory does not grow with the file. The output stands under its name when it is whole, not before. Stopped, killed
    or out of disk space, the same call goes on behind the last chunks that were written, and the file becomes the same
    as if nothing had happened. Parquet output starts anew; so does a call that differs, in the bundle's number of
    threads too.

    Args:
        bundle: what scores.
        source: CSV, TSV, JSON lines or Parquet, by the end of its name.
        out: any of these forms. JSON lines of JSON lines keep objects as they are written, Parquet of Parquet keeps
            types; into CSV, TSV and Parquet of another form all columns go as strings.
        text: the text column; absent: guessed where there is one good guess.
        prefix: put before the names of the added columns.
        threshold: on the positive classes' probability; absent: the bundle's own.
        long_texts: what counts of a text that is too long, as for :meth:`Bundle.predict`.
        replace: whether ``out`` may be there already; it stays until the new file is whole.
        chunk_rows: rows that are read, scored and written together.
        tell: takes one line on what was decided, and on how far it is where standard error is no terminal.

    Raises:
        DataError: input or output cannot be used, or another process is writing ``out``.
        BundleError: ``threshold`` for a bundle without positive classes.
        MissingExtraError: Parquet without pyarrow.
        OSError: the disk is full.
        KeyboardInterrupt: passed on, with what was done kept.
    """
    refuse_rule(bundle, threshold=threshold, long_texts=long_texts)
    added = added_columns(bundle.labels, positive=bool(bundle.manifest.positive), prefix=prefix)
    out_form = form_of(out)
    refuse_output(out, source=source, replace=replace)
    comments = open_comment_file(source, text=text, added=added.names, out_form=out_form)
    if text is None:
        tell(f'{comments.name}: text is taken from column "{comments.text_column}"')
    job = Job(
        versions=versions_that_count(),
        bundle_id=bundle.id,
        threshold=threshold,
        long_texts=long_texts,
        prefix=prefix,
        text_column=comments.text_column,
        chunk_rows=chunk_rows,
        threads=bundle.threads,
        source=print_of(source),
    )
    with open_output(out, job=job, resumable=is_resumable(out_form), tell=tell) as output:
        resumed, began = output.done, time.perf_counter()
        writer = row_writer(out_form, comments.columns, added, write=output.write, schema=comments.schema)
        with shown_progress(comments.name, tell=tell) as meter:
            chunks = _not_done(comments.chunks(chunk_rows), done=resumed.rows, meter=meter)
            with closing(predicted(bundle, chunks, threshold=threshold, long_texts=long_texts)) as pairs:
                _score(pairs, output=output, writer=writer, seen=meter.advance)
        rejects = output.finish()
    seconds = time.perf_counter() - began
    return _summary(bundle.labels, output.done, resumed=resumed, seconds=seconds, out=out, rejects=rejects)


def refuse_rule(bundle: Bundle, *, threshold: float | None, long_texts: LongTexts) -> None:
    """Raise what :meth:`Bundle.predict` raises of these, before anything that an earlier process did is given up."""
    bundle.predict(["?"], threshold=threshold, long_texts=long_texts)


def _score(
    pairs: Iterable[tuple[Chunk, Predictions]], *, output: Output, writer: RowWriter, seen: Callable[[int, float], None]
) -> None:
    """Write all rows that are not yet written.

    Args:
        pairs: chunks of them and what is said of their texts, in order.
        output: where the rejects go, and who keeps count.
        writer: takes the rows.
        seen: is told of each chunk: rows and share of the file that are done.
    """
    try:
        if output.done.rows == 0:
            writer.begin()
        for chunk, predictions in pairs:
            writer.rows(chunk.rows, predictions)
            output.reject(chunk.rejects)
            output.chunk_done(_added_up(output.done, chunk, predictions))
            seen(output.done.rows, chunk.share)
        writer.end()
    except BaseException:
        writer.stop()
        raise


def _not_done(chunks: Iterator[Chunk], *, done: int, meter: Meter) -> Iterator[Chunk]:
    """Yield the chunks behind the first ``done`` rows, which are as many whole chunks."""
    read = 0
    for chunk in chunks:
        if read >= done:
            yield chunk
        read += chunk.read
        if read == done:
            meter.begin(read, chunk.share)


def predicted(
    bundle: Bundle, chunks: Iterator[Chunk], *, threshold: float | None, long_texts: LongTexts
) -> Generator[tuple[Chunk, Predictions], None, None]:
    """Return each chunk with what the bundle says of its texts, in order; chunks are read a few ahead.

    Raises:
        BundleError: a threshold for a bundle without positive classes.
        ValueError: ``threshold`` or ``long_texts`` is none that is allowed.
    """
    waiting: deque[Chunk] = deque()

    def texts() -> Iterator[list[str]]:
        for chunk in chunks:
            waiting.append(chunk)
            yield chunk.texts

    stream = bundle.predict_stream(texts(), threshold=threshold, long_texts=long_texts)
    return _paired(waiting, stream)


def _paired(
    waiting: deque[Chunk], stream: Generator[Predictions, None, None]
) -> Generator[tuple[Chunk, Predictions], None, None]:
    with closing(stream):
        for predictions in stream:
            yield waiting.popleft(), predictions


def _added_up(done: Done, chunk: Chunk, predictions: Predictions) -> Done:
    names = predictions.label_names
    counts = np.bincount(predictions.labels, minlength=len(names)).tolist()
    return Done(
        rows=done.rows + chunk.read,
        scored=done.scored + len(predictions),
        cut=done.cut + int(predictions.cut.sum()),
        labels={name: done.labels.get(name, 0) + count for name, count in zip(names, counts, strict=True)},
    )


def _summary(  # noqa: PLR0913 - as many as the record has parts
    labels: Sequence[str], done: Done, *, resumed: Done, seconds: float, out: Path, rejects: Path | None
) -> ScoreSummary:
    new = done.scored - resumed.scored
    return ScoreSummary(
        rows=done.rows,
        scored=done.scored,
        rejected=done.rows - done.scored,
        rejects=rejects,
        cut=done.cut,
        labels={name: done.labels.get(name, 0) for name in labels},
        seconds=seconds,
        texts_per_s=new / seconds if new else None,
        out=out,
        resumed_rows=resumed.rows,
    )
