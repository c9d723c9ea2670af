"""A process that scores parts: ``python -m distilora.scoring.worker``, an order and then parts on standard input.

Each line in and out is JSON. It ends when standard input does, in the middle of a part too: then whoever asked is gone.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

from distilora.errors import BundleError, DataError, DistiloraError
from distilora.scoring.parts import Part, PartDone

_ERRORS = {error.__name__: error for error in (BundleError, DataError)}


def reply_to(scorer: Any, part: str) -> str:
    """Return what came of a part as a line: the record of what is done, or what went wrong.

    Args:
        scorer: a ``PartScorer``.
        part: the part's record as JSON.
    """
    try:
        return scorer.score(Part.model_validate_json(part)).model_dump_json()  # type: ignore[no-any-return]
    except DistiloraError as error:
        return json.dumps({"error": type(error).__name__, "line": str(error)})
    except OSError as error:
        return json.dumps({"errno": error.errno, "line": error.strerror or str(error), "name": error.filename})


def read_reply(line: str | bytes) -> PartDone:
    """Return what came of a part.

    Raises:
        DistiloraError: as the worker raised it.
        OSError: as the worker raised it, such as on a full disk.
    """
    answer = json.loads(line)
    if "errno" in answer:
        raise OSError(answer["errno"], answer["line"], answer["name"])
    if "error" in answer:
        raise _ERRORS.get(answer["error"], DistiloraError)(answer["line"])
    return PartDone.model_validate(answer)


def main() -> None:
    """Answer until standard input ends."""
    # What libraries print is no answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, lines), daemon=True).start()
    scorer = _scorer(json.loads(lines.get()), answers)
    while True:
        _say(answers, reply_to(scorer, lines.get()))


def _listen(stream: BinaryIO, lines: SimpleQueue[str]) -> None:
    for line in stream:
        lines.put(line.decode())
    os._exit(0)


def _scorer(order: dict[str, Any], answers: BinaryIO) -> Any:
    from distilora.bundles.bundle import open_bundle
    from distilora.scoring.part_scoring import Order, PartScorer

    try:
        scorer = PartScorer(open_bundle(Path(order["bundle"]), threads=1), Order.model_validate(order["order"]))
    except DistiloraError as error:
        _say(answers, json.dumps({"error": type(error).__name__, "line": str(error)}))
        os._exit(0)
    _say(answers, json.dumps({"ready": True}))
    return scorer


def _say(answers: BinaryIO, line: str) -> None:
    try:
        answers.write(line.encode() + b"\n")
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main()
