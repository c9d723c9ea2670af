"""/v1/feedback: what people say of answers is stored, listed, taken away and exported."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response, StreamingResponse

from distilora.serve.feedback.exporting import csv_lines, in_chunks, json_lines
from distilora.serve.feedback.judging import LARGEST_ID, asked_of_database, judge, judgements, store_of, take_away
from distilora.serve.records import FeedbackList, FeedbackRequest, FeedbackRow
from distilora.serve.routes.bodies import json_body, read_body
from distilora.serve.routes.responses import ANY, BODY, BUNDLE, MODEL, SENT, example, good, problems
from distilora.serve.state import State, served_by

router = APIRouter(tags=["feedback"])

RowNumber = Annotated[int, Path(alias="id", ge=1, le=LARGEST_ID, description="`id` of the judgement", examples=[1])]
Before = Annotated[
    int | None, Query(ge=1, le=LARGEST_ID, description="only judgements with a smaller `id`: `next_before` of a page")
]
PageRows = Annotated[int, Query(ge=1, le=200, description="most judgements of the page")]
OfModel = Annotated[str | None, Query(max_length=500, description="only judgements of the model of this name")]
All = Annotated[
    bool,
    Query(
        alias="all",
        description="every judgement; else only the newest of each text, so that no text has two labels",
    ),
]

_ROW = {
    "id": 7,
    "created": "2026-03-01T09:30:00.000+00:00",
    "text": "what a lovely day",
    "label": "civil",
    "predicted": "toxic",
    "probability": 0.613802,
    "right": False,
    "model": "odd",
    "bundle": BUNDLE,
    "threshold": 0.41,
    "note": "irony",
}
_LIST = {"rows": [_ROW], "total": 12, "right": 9, "next_before": 7}
_REQUESTS = {
    "wrong": example("The answer was wrong", {"text": "what a lovely day", "label": "civil", "model": "odd"}),
    "noted": example("With a note", {"text": "what a lovely day", "label": "civil", "note": "irony"}),
}
_CSV = (
    "text,label,predicted,probability,right,model,bundle,threshold,note,created,id\r\n"
    "what a lovely day,civil,toxic,0.613802,false,odd,6c1f0a5f,0.41,irony,2026-03-01T09:30:00.000+00:00,7\r\n"
)
_ATTACHMENT: Final = {"Content-Disposition": {"description": "a name for the file", "schema": {"type": "string"}}}


@router.post(
    "/v1/feedback",
    status_code=201,
    response_model=FeedbackRow,
    summary="Say what the right label of a text is",
    operation_id="judge",
    response_description="The judgement as it is stored",
    openapi_extra=json_body(FeedbackRequest, _REQUESTS),
    responses={
        201: {"content": {"application/json": {"examples": {"stored": example("A stored judgement", _ROW)}}}},
        **problems(*ANY, *SENT, *BODY, *MODEL),
    },
)
async def add_feedback(request: Request) -> FeedbackRow:
    """Store the right label beside what the model says of the text now.

    The prediction is worked out again here: what a client believes to have seen is not taken. Once answered, the
    judgement survives a crash of the server.
    """
    return await judge(served_by(request), await read_body(request, FeedbackRequest))


@router.get(
    "/v1/feedback",
    summary="List judgements",
    operation_id="list_feedback",
    response_description="A page of judgements, the newest first",
    responses={**good({"page": example("The last page but one", _LIST)}), **problems(*ANY, "invalid")},
)
async def list_feedback(
    served: State, limit: PageRows = 50, before: Before = None, model: OfModel = None
) -> FeedbackList:
    """Return stored judgements, the newest first, and how often the models were right in all of them."""
    return await judgements(served, limit=limit, before=before, model=model)


@router.delete(
    "/v1/feedback/{id}",
    status_code=204,
    response_class=Response,
    summary="Take a judgement away",
    operation_id="remove_feedback",
    response_description="It is gone",
    responses=problems(*ANY, *SENT, "not-found", "invalid"),
)
async def remove_feedback(served: State, number: RowNumber) -> None:
    """Take one judgement out of the database for good."""
    await take_away(served, number)


def _file(media_type: str, schema_example: str) -> dict[int | str, dict[str, Any]]:
    content = {media_type: {"schema": {"type": "string"}, "example": schema_example}}
    return {200: {"content": content, "headers": _ATTACHMENT}, **problems(*ANY, "invalid")}


@router.get(
    "/v1/feedback.csv",
    response_class=StreamingResponse,
    summary="Export judgements as CSV",
    operation_id="export_feedback_csv",
    response_description="A CSV file in UTF-8 with a header",
    responses=_file("text/csv", _CSV),
)
async def export_csv(served: State, model: OfModel = None, every: All = False) -> StreamingResponse:
    """Return the newest judgement of each text, the oldest first, as a file for ``distilora compare --data``.

    A cell that a spreadsheet could take for a formula has an apostrophe in front; the JSON lines hold the exact text.
    """
    rows = store_of(served).every(model=model, latest=not every)
    return await _download(in_chunks(csv_lines(rows)), name="feedback.csv", media_type="text/csv; charset=utf-8")


@router.get(
    "/v1/feedback.jsonl",
    response_class=StreamingResponse,
    summary="Export judgements as JSON lines",
    operation_id="export_feedback_jsonl",
    response_description="One JSON object a line, in UTF-8",
    responses=_file("application/jsonl", '{"id":7,"text":"what a lovely day","label":"civil"}\n'),
)
async def export_json_lines(served: State, model: OfModel = None, every: All = False) -> StreamingResponse:
    """Return the newest judgement of each text, the oldest first, as a file for ``distilora compare --data``."""
    rows = store_of(served).every(model=model, latest=not every)
    return await _download(in_chunks(json_lines(rows)), name="feedback.jsonl", media_type="application/jsonl")


async def _download(chunks: Iterator[bytes], *, name: str, media_type: str) -> StreamingResponse:
    # The first chunk comes before the answer begins, so that a database that fails is a problem, not half a file.
    first = await asked_of_database(lambda: next(chunks, b""))
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(chain((first,), chunks), media_type=media_type, headers=headers)
