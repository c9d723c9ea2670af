"""The little of Markdown that descriptions in the OpenAPI document use, in parts that a template escapes.

Source: CommonMark 0.31.2, https://spec.commonmark.org/0.31.2/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_PARTS = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|\[([^\]]+)\]\(([^)\s]+)\)")
_BULLET = re.compile(r"^\s*[*-]\s+", re.MULTILINE)


class Part(NamedTuple):
    """A stretch of a sentence."""

    kind: str
    """``text``, ``code``, ``strong`` or ``link``."""
    text: str
    address: str = ""
    """Of a link: a page of this server or of the web; else empty."""


class Block(NamedTuple):
    """A paragraph, or a list where there is more than one item."""

    is_list: bool
    items: list[list[Part]]


def blocks(text: str) -> list[Block]:
    r"""Return paragraphs and lists; blank lines stand between them.

    Example:
        >>> [block.is_list for block in blocks("It says:\n\n* one\n* two")]
        [False, True]
    """
    return [_block(paragraph) for paragraph in re.split(r"\n\s*\n", text.strip()) if paragraph]


def parts(text: str) -> list[Part]:
    """Return a sentence's stretches.

    Example:
        >>> [tuple(part)[:2] for part in parts("see `end`")]
        [('text', 'see '), ('code', 'end')]
    """
    return [part for part in _parts(" ".join(text.split("\n"))) if part.text]


def _block(paragraph: str) -> Block:
    if not _BULLET.match(paragraph):
        return Block(False, [parts(paragraph)])
    return Block(True, [parts(item.strip()) for item in _BULLET.split(paragraph) if item.strip()])


def _parts(line: str) -> Iterator[Part]:
    end = 0
    for found in _PARTS.finditer(line):
        yield Part("text", line[end : found.start()])
        yield _marked(found)
        end = found.end()
    yield Part("text", line[end:])


def _marked(found: re.Match[str]) -> Part:
    code, strong, shown, address = found.groups()
    if code or strong:
        return Part("code", code) if code else Part("strong", strong)
    # Any other scheme, such as javascript:, stays text.
    return Part("link", shown, address) if re.match(r"https?://|/(?!/)", address) else Part("text", shown)
