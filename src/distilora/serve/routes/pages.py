"""The pages for people; each works without JavaScript."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import Field

from distilora.serve import answers
from distilora.serve.feedback import judging
from distilora.serve.page.documentation import describe
from distilora.serve.page.forms import CommentForm, comment_form, judgement, read_form
from distilora.serve.page.rendering import render
from distilora.serve.page.results import answer_to, views
from distilora.serve.problems import Problem
from distilora.serve.state import Served, State

router = APIRouter(include_in_schema=False)

_SEE_OTHER = 303
RowNumber = Annotated[int, Field(ge=1, le=judging.LARGEST_ID)]
_ROWS = 25


@router.get("/")
async def show_comment(request: Request, served: State) -> HTMLResponse:
    """Return the page on which a person pastes a comment."""
    return _comment_page(request, served, CommentForm())


@router.post("/")
async def answer_comment(request: Request, served: State) -> HTMLResponse:
    """Return the page with what was asked for: a label, every model's label, or every word's influence."""
    asked = comment_form(await read_form(request))
    try:
        answer = await answer_to(served, asked)
    except Problem as problem:
        return _comment_page(request, served, asked, problem=problem)
    return _comment_page(request, served, asked, answer=answer)


def _comment_page(
    request: Request, served: Served, asked: CommentForm, *, answer: object = None, problem: Problem | None = None
) -> HTMLResponse:
    models = answers.models(served)
    chosen = asked.model if asked.model in served.catalog.models else models.default
    return render(
        request,
        "comment.html",
        problem=problem,
        models=models,
        by_name={model.name: model for model in models.models},
        asked=replace(asked, model=chosen),
        answer=answer,
        **views(asked, answer),
    )


@router.get("/feedback")
async def list_feedback(  # noqa: PLR0913, PLR0917 - each is a part of the address
    request: Request,
    served: State,
    before: RowNumber | None = None,
    model: str | None = None,
    saved: RowNumber | None = None,
    removed: RowNumber | None = None,
) -> HTMLResponse:
    """Return the page of judgements, the newest first."""
    return await _feedback_page(request, served, before=before, model=model or None, saved=saved, removed=removed)


@router.post("/feedback")
async def take_feedback(request: Request, served: State) -> Response:
    """Store a judgement, and send the browser on, so that loading the page again stores nothing twice."""
    try:
        row = await judging.judge(served, judgement(await read_form(request)))
    except Problem as problem:
        return await _feedback_page(request, served, problem=problem)
    return RedirectResponse(f"/feedback?{urlencode({'saved': row.id})}", _SEE_OTHER)


@router.post("/feedback/{number}/delete")
async def delete_feedback(number: RowNumber, request: Request, served: State) -> Response:
    """Take a judgement away and send the browser back to the list it came from."""
    fields = await read_form(request)
    await judging.take_away(served, number)
    kept = {name: fields[name] for name in ("model", "before") if fields.get(name)}
    return RedirectResponse(f"/feedback?{urlencode({'removed': number, **kept})}", _SEE_OTHER)


async def _feedback_page(  # noqa: PLR0913 - as above
    request: Request,
    served: Served,
    *,
    before: int | None = None,
    model: str | None = None,
    saved: int | None = None,
    removed: int | None = None,
    problem: Problem | None = None,
) -> HTMLResponse:
    listed = None
    if served.feedback is not None:
        listed = await judging.judgements(served, limit=_ROWS, before=before, model=model)
    return render(
        request,
        "feedback.html",
        problem=problem,
        listed=listed,
        before=before,
        model=model,
        # A model that is no longer served may have judgements too.
        models=list(dict.fromkeys([*served.catalog.models, *([model] if model else [])])),
        saved=saved,
        removed=removed,
    )


@router.get("/api")
async def show_api(request: Request, served: State) -> HTMLResponse:
    """Return the OpenAPI document as a page for people, and every kind of problem."""
    base, key = str(request.base_url).rstrip("/"), served.settings.api_key is not None
    return render(request, "api.html", operations=describe(request.app.openapi(), base=base, key=key))
