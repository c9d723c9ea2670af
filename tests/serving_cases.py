"""A tiny server in this process, for the tests of everything that is served."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from starlette.testclient import TestClient

from distilora.bundles.manifest import Scores
from distilora.serve.application import create_app
from distilora.serve.batcher import Batcher
from distilora.serve.catalog import open_catalog
from distilora.serve.feedback.store import open_feedback
from distilora.serve.metrics import Metrics
from distilora.serve.settings import ServeSettings
from distilora.serve.state import Served
from tiny_bundle import save_tiny_bundle

ADDRESS = "http://127.0.0.1:8000"


def scored(macro_f1: float) -> tuple[Scores, ...]:
    return tuple(Scores(part=part, rows=40, accuracy=0.875, macro_f1=macro_f1) for part in ("validation", "test"))


BUNDLES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "odd": {"bundle_scores": scored(0.9)},
        "even": {"seed": 1, "threshold": 0.35, "bundle_scores": scored(0.8)},
        "plain": {"seed": 2, "labels": ("bad", "good", "neither"), "positive": (), "bundle_scores": scored(0.7)},
    }
)
"""What is served unless a test says otherwise, the best first: two models with a positive class, one without."""


def tiny_served(
    folder: Path,
    *,
    bundles: Mapping[str, Mapping[str, Any]] = BUNDLES,
    broken: tuple[str, ...] = (),
    feedback: bool = True,
    **settings: Any,
) -> Served:
    """Return tiny bundles behind everything that a server needs; give it to :func:`close` at the end.

    Args:
        folder: where the bundles and the feedback are written.
        bundles: for each name what :func:`tiny_bundle.save_tiny_bundle` is given beside it.
        broken: names of more bundles, which cannot be opened.
        feedback: whether judgements are kept, in ``feedback.sqlite`` of the folder.
        settings: of :class:`ServeSettings`; ``limits={"texts": 4}`` changes one limit.
    """
    paths = [save_tiny_bundle(folder / name, name=name, **fields) for name, fields in bundles.items()]
    for name in broken:
        paths.append(save_tiny_bundle(folder / name, name=name))
        (folder / name / "model.onnx").write_bytes(b"broken")
    kept = str(folder / "feedback.sqlite") if feedback else None
    chosen = ServeSettings(feedback=kept, **settings)
    limits, metrics = chosen.limits, Metrics()
    return Served(
        settings=chosen,
        catalog=open_catalog(paths),
        batcher=Batcher(
            threads=chosen.threads, queue_texts=limits.queue_texts, deadline_s=limits.deadline_s, metrics=metrics
        ),
        metrics=metrics,
        feedback=None if kept is None else open_feedback(kept, most_rows=limits.feedback_rows),
    )


def client(served: Served) -> TestClient:
    """Return a client of the application over these models; a mistake of the server is its answer 500, as for users."""
    return TestClient(create_app(served), base_url=ADDRESS, raise_server_exceptions=False)


def close(served: Served) -> None:
    """End the threads that run models, and let go of the database."""
    asyncio.run(served.batcher.close())
    if served.feedback is not None:
        served.feedback.close()


@contextmanager
def serving(folder: Path, **changes: Any) -> Iterator[TestClient]:
    """Give a client of a server made by :func:`tiny_served`, and end the server afterwards.

    ``client.app.state.served`` is what it serves.
    """
    served = tiny_served(folder, **changes)
    try:
        with client(served) as asking:
            yield asking
    finally:
        close(served)
