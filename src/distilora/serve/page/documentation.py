"""The OpenAPI document in the words of a page: what each address does, takes and gives.

Source: OpenAPI Specification 3.1, https://spec.openapis.org/oas/v3.1.0.html.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from distilora.serve.problems import PROBLEM_TYPE

Table = Mapping[str, Any]

_JSON = "application/json"
_FORM = "multipart/form-data"
_LENGTHS = (
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " of them"),
)


@dataclass(frozen=True)
class Field:
    """One value that is sent or comes back."""

    name: str
    """Parts of a table inside another have dots between: ``predictions.label``."""
    kind: str
    required: bool
    limits: str
    description: str


@dataclass(frozen=True)
class Operation:
    """One thing that can be asked."""

    name: str
    """Unique; the page's anchor."""
    method: str
    path: str
    summary: str
    description: str
    parameters: list[Field]
    fields: list[Field]
    """Of the body that is sent."""
    answer_fields: list[Field]
    curl: str
    answer: str | None
    """An example; absent where the document has none."""
    problems: list[str]
    """Keys of :data:`distilora.serve.problems.KINDS`."""


def describe(document: Table, *, base: str, key: bool = False) -> list[Operation]:
    """Return every operation of an OpenAPI document, in its order.

    Args:
        document: as ``/openapi.json`` has it.
        base: where the server is, for the examples, such as ``http://127.0.0.1:8000``.
        key: whether the examples must send an API key.
    """
    server = _Server(document, base, key)
    return [
        _operation(server, _Route(path, method, said))
        for path, methods in document["paths"].items()
        for method, said in methods.items()
    ]


class _Server(NamedTuple):
    document: Table
    base: str
    key: bool


class _Route(NamedTuple):
    path: str
    method: str
    """In small letters."""
    said: Table
    """What the document says of it."""


def _operation(server: _Server, route: _Route) -> Operation:
    document, said = server.document, route.said
    body = said.get("requestBody", {}).get("content", {})
    good: Table = next((answer for status, answer in said["responses"].items() if status.startswith("2")), {})
    return Operation(
        name=said["operationId"],
        method=route.method.upper(),
        path=route.path,
        summary=said.get("summary", ""),
        description=said.get("description", ""),
        parameters=[_parameter(document, each) for each in said.get("parameters", [])],
        fields=[each for content in list(body.values())[:1] for each in _fields(document, content["schema"])],
        answer_fields=list(_fields(document, good.get("content", {}).get(_JSON, {}).get("schema", {}))),
        curl=_curl(server, route),
        answer=_answer(good),
        problems=[
            kind
            for answer in said["responses"].values()
            for kind in answer.get("content", {}).get(PROBLEM_TYPE, {}).get("examples", {})
        ],
    )


def _parameter(document: Table, said: Table) -> Field:
    schema = _resolved(document, said.get("schema", {}))
    description = said.get("description") or schema.get("description", "")
    return Field(
        said["name"], _kind(document, schema), bool(said.get("required")), _limits(document, schema), description
    )


def _fields(document: Table, schema: Table, *, before: str = "", seen: tuple[str, ...] = ()) -> Iterator[Field]:
    """Yield the members of a table, and behind each those of the table that it holds."""
    own = _resolved(document, schema)
    for name, member in own.get("properties", {}).items():
        whole = _resolved(document, member)
        required = name in own.get("required", ())
        described = member.get("description") or whole.get("description", "")
        yield Field(f"{before}{name}", _kind(document, member), required, _limits(document, member), described)
        inner = _table_inside(member)
        if inner and inner["$ref"] not in seen:
            yield from _fields(document, inner, before=f"{before}{name}.", seen=(*seen, inner["$ref"]))


def _table_inside(schema: Table) -> Table | None:
    """Return the reference that a member is, or is a list of, or may be; absent where it is plain."""
    if "$ref" in schema:
        return schema
    for inside in (schema.get("items"), *schema.get("anyOf", ())):
        found = _table_inside(inside) if isinstance(inside, Mapping) else None
        if found:
            return found
    return None


def _resolved(document: Table, schema: Table) -> Table:
    """Return a schema without a reference at its top, and of "this or null" the one that is not null."""
    if "$ref" in schema:
        found: Table = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found.get(part, {})
        return _resolved(document, found)
    choices = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
    if len(choices) == 1:
        inner = _resolved(document, choices[0])
        return {**schema, **inner, "description": schema.get("description") or inner.get("description", "")}
    return schema


def _kind(document: Table, schema: Table) -> str:
    """Return what a value is, in words."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(document, choice) for choice in schema["anyOf"]))
    own = _resolved(document, schema)
    values = [own["const"]] if "const" in own else own.get("enum")
    if values:
        return " or ".join(map(json.dumps, values))
    return _plain_kind(document, own)


def _plain_kind(document: Table, schema: Table) -> str:
    kind = str(schema.get("type", "any value"))
    if schema.get("format") == "binary" or "contentMediaType" in schema:
        return "file"
    if kind == "array":
        return f"list of {_kind(document, schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {_kind(document, schema['additionalProperties'])}"
    return "true or false" if kind == "boolean" else kind


def _limits(document: Table, schema: Table) -> str:
    """Return what is allowed and what stands for a value that is absent, in words."""
    own = _resolved(document, schema)
    choices = [own, *(_resolved(document, choice) for choice in own.get("anyOf", ()))]
    said = dict.fromkeys(limit for choice in choices for limit in _own_limits(choice))
    default = own.get("default")
    return "; ".join([*said, *([f"default {json.dumps(default)}"] if default is not None else [])])


def _own_limits(schema: Table) -> Iterator[str]:
    for least, most, unit in _LENGTHS:
        low, high = (_number(schema.get(name)) for name in (least, most))
        if low and high:
            yield f"{low} to {high}{unit}"
        elif low or high:
            yield f"at least {low}{unit}" if low else f"at most {high}{unit}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{int(value) if value == int(value) else value:,}"


def _curl(server: _Server, route: _Route) -> str:
    """Return a command line that asks this of the server."""
    parts = ["curl", "-sS"]
    if route.method != "get" and "requestBody" not in route.said:
        parts += ["-X", route.method.upper()]
    parts.append(shlex.quote(f"{server.base}{_example_path(route)}"))
    if server.key:
        parts.append("-H 'Authorization: Bearer KEY'")
    content = route.said.get("requestBody", {}).get("content", {})
    if _JSON in content:
        sent = json.dumps(_example(content[_JSON]), ensure_ascii=False)
        parts += [f"-H 'Content-Type: {_JSON}'", f"-d {shlex.quote(sent)}"]
    elif _FORM in content:
        sent_parts = _sent_parts(server.document, content[_FORM]["schema"])
        parts += [f"-F {each.name}={_form_value(each)}" for each in sent_parts]
    return " ".join(parts)


def _sent_parts(document: Table, schema: Table) -> list[Field]:
    return [each for each in _fields(document, schema) if each.required or each.kind == "file"]


def _form_value(part: Field) -> str:
    return "@comments.csv" if part.kind == "file" else part.name.upper()


def _example_path(route: _Route) -> str:
    path = route.path
    for each in route.said.get("parameters", []):
        if each["in"] == "path":
            path = path.replace(f"{{{each['name']}}}", "1")
    return path


def _example(content: Table) -> object:
    if "example" in content:
        return content["example"]
    first: Table = next(iter(content.get("examples", {}).values()), {})
    return first.get("value", {})


def _answer(good: Table) -> str | None:
    """Return an example of the answer as text; absent where there is none."""
    for content in good.get("content", {}).values():
        example = _example(content)
        if isinstance(example, str):
            return example
        if example:
            return json.dumps(example, indent=2, ensure_ascii=False)
    return None
