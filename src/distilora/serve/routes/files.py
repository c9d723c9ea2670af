"""A file of comments in, an answer for each row out; and the page that does it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from distilora.serve.answers import models
from distilora.serve.files.door import answer_request
from distilora.serve.files.fields import form_schema
from distilora.serve.page.rendering import render
from distilora.serve.problems import Problem
from distilora.serve.protection.reading import wants_page
from distilora.serve.routes.responses import ANY, BODY, SENT, problems
from distilora.serve.state import State

router = APIRouter(tags=["files"])

_DESCRIPTION = """\
Reads a file as `distilora score` does and streams an answer for each row while it works.

**JSON lines** (`format=ndjson`, `application/x-ndjson`): one object a line, whose `kind` says what it is:

* `start`: first line: `rows` of the file, its `columns`, the `text_column` that is read, `model`, `bundle`, `labels`,
  those of them that are `positive`, and the `threshold` that counts (null where no class is positive).
* `answers`: some rows, in order, and in `done` the rows of the file that are behind. `probabilities` stand in the order
  of the `labels`; `cut` says whether the text is longer than the model reads.
* `reject`: one row that cannot be read, with its `problem`; `place` says where it stands, if its number does not.
* `end`: last line: `rows`, how many were `answered` and `rejected`, and the `seconds` it took.
* `problem`: last line instead of `end`, if the work fails on the way: the members of a problem (RFC 9457).

An answer without `end` or `problem` is not whole.

**CSV** (`format=csv`, `text/csv`): the columns `row`, `text`, `label`, `probability_LABEL` for each, where some are
positive `positive_probability`, `cut`, and `problem` for rows that cannot be read. Cells that a spreadsheet could take
for formulas begin with an apostrophe. Where the work fails on the way, the last row says so and the connection is cut.

Rows have numbers from 1, the header and blank lines not counted. Nothing of the file is kept.
"""
_LINES = """\
{"kind": "start", "rows": 3, "columns": ["id", "text"], "text_column": "text", "model": "odd", "bundle": "6f1c…", \
"labels": ["civil", "toxic"], "positive": ["toxic"], "threshold": 0.35}
{"kind": "reject", "row": 2, "place": "", "problem": "text is empty"}
{"kind": "answers", "done": 3, "answers": [{"row": 1, "text": "you are all idiots", "label": "toxic", \
"probabilities": [0.021, 0.979], "positive_probability": 0.979, "cut": false}, {"row": 3, "text": "what a lovely day", \
"label": "civil", "probabilities": [0.998, 0.002], "positive_probability": 0.002, "cut": false}]}
{"kind": "end", "rows": 3, "answered": 2, "rejected": 1, "seconds": 0.024}
"""
_CELLS = """\
row,text,label,probability_civil,probability_toxic,positive_probability,cut,problem\r
1,you are all idiots,toxic,0.021000,0.979000,0.979000,false,\r
2,,,,,,,text is empty\r
3,what a lovely day,civil,0.998000,0.002000,0.002000,false,\r
"""
_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "An answer for each row, as it is made",
        "content": {
            "application/x-ndjson": {"schema": {"type": "string"}, "example": _LINES},
            "text/csv": {"schema": {"type": "string"}, "example": _CELLS},
        },
    }
}
_BODY = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form_schema()}}}}


@router.post(
    "/v1/files",
    operation_id="answer_file",
    summary="Classify every row of a file",
    description=_DESCRIPTION,
    response_class=Response,
    responses={**_ANSWER, **problems(*ANY, *SENT, *BODY, "not-found")},
    openapi_extra=_BODY,
)
async def answer_file(request: Request, served: State) -> Response:
    """Return the streamed answer to a file."""
    return await answer_request(request, served)


@router.get("/files", include_in_schema=False)
async def page(request: Request, served: State) -> HTMLResponse:
    """Return the page on which a file is chosen."""
    return render(request, "files.html", models=models(served))


@router.post("/files", include_in_schema=False)
async def download(request: Request, served: State) -> Response:
    """Return the same as ``/v1/files`` to the page's form, and the page again where that is refused."""
    try:
        return await answer_request(request, served)
    except Problem as problem:
        if not wants_page(request.scope):
            raise
        return render(request, "files.html", problem=problem, models=models(served))
