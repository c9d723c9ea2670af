"""What Prometheus is told of the server's work."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

UNMATCHED = "unmatched"
"""The route of requests for addresses that are not there."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_MOST_ROUTES = 64
"""Whatever a caller calls a route, memory is bounded."""
_REQUEST_S = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2.5, 5, 10)
_MODEL_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters and histograms of one server, in a registry of its own; any thread may call it.

    Requests (method, route, status), their latency (route), texts in a batch (model), texts that wait,
    seconds in the model (model), labels predicted (model, label), feedback (model, right).
    """

    def __init__(self) -> None:
        own = self._registry = CollectorRegistry()
        self._requests = Counter(
            "distilora_http_requests", "Requests answered.", ["method", "route", "status"], registry=own
        )
        self._latency = Histogram(
            "distilora_http_request_duration_seconds",
            "From a request's first byte to its answer's last.",
            ["route"],
            buckets=_REQUEST_S,
            registry=own,
        )
        self._batch_texts = Histogram(
            "distilora_batch_texts", "Texts that shared a pass.", ["model"], buckets=_TEXTS, registry=own
        )
        self._model_seconds = Histogram(
            "distilora_model_seconds", "One pass: tokens, model, labels.", ["model"], buckets=_MODEL_S, registry=own
        )
        self._waiting = Gauge("distilora_queue_texts", "Texts that wait for a model.", registry=own)
        self._labels = Counter("distilora_predictions", "Texts given this label.", ["model", "label"], registry=own)
        self._feedback = Counter("distilora_feedback", "Judgements stored.", ["model", "right"], registry=own)
        Info("distilora_build", "The software that runs.", registry=own).info({"version": version("distilora")})
        ProcessCollector(registry=own)  # says nothing where there is no /proc
        PlatformCollector(registry=own)
        self._routes: set[str] = {UNMATCHED}

    def request(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request.

        Args:
            method: of HTTP; one that HTTP does not have counts as ``other``.
            route: the path's template, never the path itself; empty for an address that is not there.
            status: of the answer.
            seconds: that it took.
        """
        route = self._bounded(route)
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self._latency.labels(route).observe(seconds)

    def batch(self, *, model: str, texts: int, seconds: float) -> None:
        """Count one forward pass."""
        self._batch_texts.labels(model).observe(texts)
        self._model_seconds.labels(model).observe(seconds)

    def waiting(self, texts: int) -> None:
        """Say how many texts wait now."""
        self._waiting.set(texts)

    def labels(self, *, model: str, counts: Mapping[str, int]) -> None:
        """Count labels that were given.

        Args:
            model: its name.
            counts: texts by label.
        """
        for label, count in counts.items():
            self._labels.labels(model, label).inc(count)

    def feedback(self, *, model: str, right: bool) -> None:
        """Count one judgement."""
        self._feedback.labels(model, "yes" if right else "no").inc()

    def exposition(self) -> tuple[bytes, str]:
        """Return the text that Prometheus reads, and its media type.

        Source:
            https://prometheus.io/docs/instrumenting/exposition_formats/.

        Example:
            >>> metrics = Metrics()
            >>> metrics.batch(model="odd", texts=16, seconds=0.006)
            >>> b'distilora_batch_texts_sum{model="odd"} 16.0' in metrics.exposition()[0]
            True
        """
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def _bounded(self, route: str) -> str:
        if route not in self._routes:
            if not route or len(self._routes) >= _MOST_ROUTES:
                return UNMATCHED
            self._routes.add(route)
        return route
