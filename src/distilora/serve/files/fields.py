"""What is sent with a file of comments: the form's fields and what they may hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import FormData, UploadFile

from distilora.serve.checks import Fault, refusal, refused
from distilora.serve.records import LongTextsRule, ModelName, OwnThreshold

MOST_FIELDS = 20
_CONTENT = ("file", "pasted")


class FileFields(BaseModel):
    """How a file of comments is to be read and answered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str | None = Field(
        None, description="name of the column that holds the comments; absent: guessed, where one is likely"
    )
    model: ModelName | None = None
    threshold: OwnThreshold = None
    long_texts: LongTextsRule = "truncate"
    format: Literal["ndjson", "csv"] = Field("ndjson", description="form of the answer")
    lines: bool = Field(False, description="whether there are no columns: each line is one comment")


class SentFile(NamedTuple):
    """A file as it was sent."""

    name: str
    """By which the client calls it; empty where it has none."""
    content: BinaryIO | str
    """Its bytes, or what was pasted."""


def fields_in(form: FormData) -> FileFields:
    """Return the fields of a form; one that is empty counts as absent, as forms of pages send them.

    Raises:
        Problem: ``invalid``, where a field is unknown, there twice, or holds what is not allowed.
    """
    given: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name in given:
            raise refusal([Fault("body", "a field is there twice; give it once")])
        if name not in _CONTENT and value != "":
            given[name] = value
    try:
        return FileFields.model_validate(given)
    except ValidationError as failure:
        raise refused(failure, record=FileFields) from None


def sent_file(form: FormData) -> SentFile:
    """Return the file of a form, or what was pasted instead of one.

    Raises:
        Problem: ``invalid``, where there is neither, or both.
    """
    sent = [value for value in map(form.get, _CONTENT) if value and not _is_unchosen(value)]
    if not sent:
        raise refusal([Fault("file", "no comments were sent; give a file of them")])
    if len(sent) > 1:
        raise refusal([Fault("pasted", "comments were sent as a file, too; give one of the two")])
    if isinstance(sent[0], UploadFile):
        return SentFile(sent[0].filename or "", sent[0].file)
    return SentFile("", sent[0])


def _is_unchosen(value: UploadFile | str) -> bool:
    """Return whether this is what a browser sends of a field in which no file was chosen."""
    return isinstance(value, UploadFile) and not value.filename and not value.size


def form_schema() -> dict[str, Any]:
    """Return what the OpenAPI document says of the form."""
    schema = FileFields.model_json_schema()
    content: dict[str, Any] = {
        "file": {
            "type": "string",
            "format": "binary",
            "description": "CSV, TSV, JSON lines, or .txt with one comment a line, in UTF-8; without a name: CSV",
        },
        "pasted": {"type": "string", "description": "a CSV as text, instead of a file"},
    }
    rest = {name: _without_null(about) for name, about in schema["properties"].items()}
    return {
        "type": "object",
        "title": "FileForm",
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in _CONTENT],
        "properties": {**content, **rest},
    }


def _without_null(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a field of a form, where nothing is null but some things are absent."""
    rest = {key: value for key, value in about.items() if key != "anyOf" and (key, value) != ("default", None)}
    return {**about.get("anyOf", [{}])[0], **rest}
