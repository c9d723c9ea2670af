"""Weights that an ONNX file does not hold itself: found without the onnx library, and refused."""

from __future__ import annotations

from collections.abc import Iterator

_EXTERNAL_DATA = 13
_DATA_LOCATION = 14
# Fields through which a tensor can be reached, by message: field number -> message.
# https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_MOST_FIELDS = 300_000
"""Some ten times those of a model of 24 layers; looking at all takes less than a second."""


def has_outside_data(model: bytes) -> bool:
    """Return whether an ONNX file names weights in other files or at an address in memory.

    Releases of ONNX Runtime differ in which of them they read, and a model from elsewhere must make it read none.

    Raises:
        ValueError: these bytes are no protocol buffer, or one of too many fields.

    Source:
        https://protobuf.dev/programming-guides/encoding/

    Example:
        >>> weights_elsewhere = bytes([14 << 3, 1])  # TensorProto.data_location = EXTERNAL
        >>> graph = bytes([5 << 3 | 2, 2]) + weights_elsewhere
        >>> has_outside_data(bytes([7 << 3 | 2, 4]) + graph)
        True
        >>> has_outside_data(b"")
        False
    """
    waiting = [(memoryview(model), "model")]
    left = _MOST_FIELDS
    while waiting:
        content, message = waiting.pop()
        for number, value in _fields(content):
            left -= 1
            if not left:
                raise ValueError(f"more than {_MOST_FIELDS:,} fields")
            if message == "tensor" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)):
                return True
            inner = _INSIDE[message].get(number)
            if inner is not None and not isinstance(value, int):
                waiting.append((value, inner))
    return False


def _fields(content: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field: an integer, or the bytes of anything longer."""
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        number, wire = (tag & 0xFFFFFFFF) >> 3, tag & 7  # 32 bits count, in other readers too
        if wire == 0:
            value, at = _varint(content, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(content, at)
        elif wire in {1, 5}:
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > len(content):
            raise ValueError("a field ends behind the end")
        yield number, content[at : at + size]
        at += size


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    """Return an integer of 7 bits a byte, lowest first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(content):
            raise ValueError("an integer ends behind the end")
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("an integer of more than ten bytes")
