"""From a request with a file to the answer that is streamed."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, suppress
from functools import partial
from types import MappingProxyType

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from distilora.bundles.predictions import Predictions
from distilora.serve.answers import ask, count_labels, threshold_that_counts
from distilora.serve.catalog import ServedModel
from distilora.serve.checks import check_threshold
from distilora.serve.files.answering import answer_file
from distilora.serve.files.fields import MOST_FIELDS, FileFields, fields_in, sent_file
from distilora.serve.files.spooling import OpenedFile, open_sent
from distilora.serve.files.streaming import WorkResponse
from distilora.serve.files.writing import Start, writer_for
from distilora.serve.problems import Problem
from distilora.serve.routes.bodies import media_type
from distilora.serve.state import Served

_DOWNLOAD = MappingProxyType({"Content-Disposition": 'attachment; filename="answers.csv"'})


async def answer_request(request: Request, served: Served) -> Response:
    """Return the answer to a form with a file, streamed as the work goes on.

    Raises:
        Problem: the request is refused, before any row is answered.
    """
    with ExitStack() as held:
        await _hold_place(request, served, held=held)
        fields, file, model = await _read(request, served)
        writer = writer_for(fields.format)
        predict = partial(_predict, served, model, fields)
        start = _start(file, model=model, threshold=fields.threshold)
        work = answer_file(file, start=start, predict=predict, writer=writer)
        headers = _DOWNLOAD if fields.format == "csv" else {}
        kept = held.pop_all()
    return WorkResponse(
        work, held=kept, patience_s=served.settings.limits.body_s, media_type=writer.media_type, headers=headers
    )


async def _hold_place(request: Request, served: Served, *, held: ExitStack) -> None:
    try:
        held.enter_context(served.file_slots.one())
    except Problem:
        # A client that is still sending would else see its connection cut instead of the answer.
        with suppress(ClientDisconnect):
            async for _ in request.stream():
                pass
        raise


async def _read(request: Request, served: Served) -> tuple[FileFields, OpenedFile, ServedModel]:
    if media_type(request) != "multipart/form-data":
        raise Problem("wrong-media-type", "this address takes a form with a file; send multipart/form-data")
    limits = served.settings.limits
    async with request.form(max_files=1, max_fields=MOST_FIELDS, max_part_size=limits.file_bytes) as form:
        fields, sent = fields_in(form), sent_file(form)
        model = served.catalog.find(fields.model)
        check_threshold(fields.threshold, model=model)
        file = await asyncio.to_thread(open_sent, sent, text=fields.text, lines=fields.lines, limits=limits)
    return fields, file, model


async def _predict(served: Served, model: ServedModel, fields: FileFields, texts: list[str]) -> Predictions:
    asked = await ask(served, model, texts, threshold=fields.threshold, long_texts=fields.long_texts, patient=True)
    count_labels(served, asked)
    return asked.predictions


def _start(file: OpenedFile, *, model: ServedModel, threshold: float | None) -> Start:
    manifest = model.bundle.manifest
    return Start(
        rows=file.rows,
        columns=file.columns,
        text_column=file.text_column,
        model=model.name,
        bundle=model.bundle.id,
        labels=manifest.labels,
        positive=manifest.positive,
        threshold=threshold_that_counts(threshold, model=model),
    )
