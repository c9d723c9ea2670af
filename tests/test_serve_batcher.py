"""Requests that share passes: who goes first, who is refused, who is given up, and that answers stay the same."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from distilora.bundles.bundle import Bundle, open_bundle
from distilora.bundles.predictions import Predictions
from distilora.bundles.storage import read_bundle
from distilora.serve import waiting
from distilora.serve.batcher import Batcher
from distilora.serve.catalog import ServedModel
from distilora.serve.metrics import Metrics
from distilora.serve.problems import Problem
from tiny_bundle import save_tiny_bundle, tiny_graph, tiny_tokenizer

TEXTS = ["you are so stupid", "", "thank you, have a nice day!", "idiot", "they are awful people. " * 9]


class GatedBundle(Bundle):
    """A bundle whose passes begin only when the test lets them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(read_bundle(folder), threads=1)
        self.open = threading.Semaphore(0)
        self.begun: list[list[str]] = []

    def predict(self, texts: Sequence[str], **rest: Any) -> Predictions:
        self.begun.append(list(texts))
        assert self.open.acquire(timeout=10)
        return super().predict(texts, **rest)

    def let(self, passes: int = 1000) -> None:
        self.open.release(passes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_bundle(tmp_path / "odd", threshold=0.35)


@pytest.fixture
def gated(folder: Path) -> Iterator[ServedModel]:
    bundle = GatedBundle(folder)
    yield ServedModel("odd", bundle, 1)
    bundle.let()


def gate(model: ServedModel) -> GatedBundle:
    assert isinstance(model.bundle, GatedBundle)
    return model.bundle


def served(folder: Path, name: str = "odd") -> ServedModel:
    return ServedModel(name, open_bundle(folder, threads=1), 1)


def batcher(*, threads: int = 1, queue_texts: int = 100, deadline_s: float = 10) -> tuple[Batcher, Metrics]:
    metrics = Metrics()
    return Batcher(threads=threads, queue_texts=queue_texts, deadline_s=deadline_s, metrics=metrics), metrics


def told(metrics: Metrics, line: str) -> float | None:
    """Return the value of one line of what Prometheus reads."""
    for found in metrics.exposition()[0].decode().splitlines():
        if found.startswith(f"{line} "):
            return float(found.rsplit(" ", 1)[1])
    return None


async def until(true: Any) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.001)


def begin(request: Coroutine[Any, Any, Predictions]) -> asyncio.Task[Predictions]:
    return asyncio.get_running_loop().create_task(request)


async def problem_of(request: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        await request
    return caught.value


def same(one: Predictions, other: Predictions) -> None:
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_array_equal(one.tokens, other.tokens)
    np.testing.assert_array_equal(one.cut, other.cut)
    assert one.label_names == other.label_names


def test_requests_that_come_together_share_one_pass_and_get_what_the_bundle_says(folder: Path) -> None:
    model = served(folder)
    requests = [TEXTS, TEXTS[:1], [], TEXTS[2:4]]

    async def run() -> list[Predictions]:
        engine, metrics = batcher()
        answers = await asyncio.gather(*(engine.predict(model, texts) for texts in requests))
        await engine.close()
        assert told(metrics, 'distilora_batch_texts_count{model="odd"}') == 1
        assert told(metrics, 'distilora_batch_texts_sum{model="odd"}') == 8
        assert told(metrics, "distilora_queue_texts") == 0
        return answers

    for texts, answer in zip(requests, asyncio.run(run()), strict=True):
        same(answer, model.bundle.predict(texts))


def test_requests_with_different_thresholds_share_a_pass_and_get_what_the_bundle_says(folder: Path) -> None:
    model = served(folder)
    thresholds = [None, 0.0, 0.3, 0.5, 0.9, 1.0]

    async def run() -> list[Predictions]:
        engine, metrics = batcher()
        answers = await asyncio.gather(*(engine.predict(model, TEXTS, threshold=value) for value in thresholds))
        await engine.close()
        assert told(metrics, 'distilora_batch_texts_count{model="odd"}') == 1
        return answers

    for threshold, answer in zip(thresholds, asyncio.run(run()), strict=True):
        same(answer, model.bundle.predict(TEXTS, threshold=threshold))


def test_truncated_texts_and_windows_do_not_share_a_pass_but_get_their_own_answers(folder: Path) -> None:
    model = served(folder)

    async def run() -> tuple[Predictions, Predictions]:
        engine, metrics = batcher()
        answers = await asyncio.gather(engine.predict(model, TEXTS), engine.predict(model, TEXTS, long_texts="windows"))
        await engine.close()
        assert told(metrics, 'distilora_batch_texts_count{model="odd"}') == 2
        return answers

    truncated, windows = asyncio.run(run())
    same(truncated, model.bundle.predict(TEXTS))
    same(windows, model.bundle.predict(TEXTS, long_texts="windows"))


def test_a_lone_request_starts_at_once_and_what_comes_meanwhile_is_the_next_pass(gated: ServedModel) -> None:
    async def run() -> None:
        engine, _ = batcher()
        first = begin(engine.predict(gated, ["first"]))
        await until(lambda: gate(gated).begun == [["first"]])
        later = [begin(engine.predict(gated, [text])) for text in ("second", "third")]
        await asyncio.sleep(0.01)
        gate(gated).let()
        await asyncio.gather(first, *later)
        await engine.close()

    asyncio.run(run())
    assert gate(gated).begun == [["first"], ["second", "third"]]


def test_a_bundle_of_one_thread_answers_many_texts_in_the_callers_thread(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, crowd = open_bundle(folder, threads=1), open_bundle(folder, threads=2)
    expected = crowd.predict(TEXTS * 20)
    started: list[threading.Thread] = []
    monkeypatch.setattr(threading.Thread, "start", started.append)

    same(alone.predict(TEXTS * 20), expected)

    assert not started


def test_a_long_request_is_spread_over_idle_threads(gated: ServedModel) -> None:
    texts = [f"text {number}" for number in range(20)]

    async def run() -> Predictions:
        engine, _ = batcher(threads=2)
        await until(lambda: engine._idle == 2)
        answer = begin(engine.predict(gated, texts))
        await until(lambda: len(gate(gated).begun) == 2)
        gate(gated).let()
        found = await answer
        await engine.close()
        return found

    found = asyncio.run(run())
    assert sorted(map(len, gate(gated).begun)) == [10, 10]
    same(found, Bundle.predict(gated.bundle, texts))


def test_a_long_request_is_split_over_passes_and_comes_back_in_order(folder: Path) -> None:
    model = served(folder)
    texts = [" ".join(["good", "bad", "idiot"][: 1 + number % 3] * (number % 7)) for number in range(300)]

    async def run() -> Predictions:
        engine, metrics = batcher(threads=2, queue_texts=1)
        found = await engine.predict(model, texts)
        await engine.close()
        passes = told(metrics, 'distilora_batch_texts_count{model="odd"}')
        assert passes is not None
        assert passes >= 300 / waiting.MOST_TEXTS
        return found

    same(asyncio.run(run()), model.bundle.predict(texts))


def test_a_full_queue_refuses_with_the_time_to_wait_and_takes_requests_again_later(gated: ServedModel) -> None:
    async def run() -> None:
        engine, _ = batcher(queue_texts=4)
        taken = [begin(engine.predict(gated, ["running"]))]
        await until(lambda: len(gate(gated).begun) == 1)
        taken.append(begin(engine.predict(gated, ["a", "b", "c"])))
        await asyncio.sleep(0)

        refused = await problem_of(engine.predict(gated, ["d", "e"]))

        assert (refused.kind, refused.status) == ("too-busy", 429)
        assert int(refused.headers["Retry-After"]) >= 1
        taken.append(begin(engine.predict(gated, ["d"])))
        await asyncio.sleep(0)
        gate(gated).let()
        assert list(map(len, await asyncio.gather(*taken))) == [1, 3, 1]
        assert len(await engine.predict(gated, ["one"] * 9)) == 9  # more than may wait, but nothing waits
        await engine.close()

    asyncio.run(run())


def test_a_request_past_its_deadline_is_given_up_and_its_texts_are_not_run(gated: ServedModel) -> None:
    async def run() -> None:
        engine, metrics = batcher(deadline_s=0.05)
        running = begin(engine.predict(gated, ["running"]))
        await until(lambda: len(gate(gated).begun) == 1)
        late = await problem_of(engine.predict(gated, ["late"]))
        assert (late.kind, late.status) == ("too-late", 504)
        assert (await problem_of(running)).kind == "too-late"
        assert told(metrics, "distilora_queue_texts") == 0
        gate(gated).let()
        await engine.predict(gated, ["next"])
        await engine.close()

    asyncio.run(run())
    assert gate(gated).begun == [["running"], ["next"]]


def test_a_request_whose_caller_has_gone_is_taken_out_of_the_queue(gated: ServedModel) -> None:
    async def run() -> None:
        engine, metrics = batcher()
        running = begin(engine.predict(gated, ["running"]))
        await until(lambda: len(gate(gated).begun) == 1)
        gone = begin(engine.predict(gated, ["gone"]))
        staying = begin(engine.predict(gated, ["staying"]))
        await asyncio.sleep(0.01)
        assert told(metrics, "distilora_queue_texts") == 2
        gone.cancel()
        await asyncio.wait([gone])
        assert told(metrics, "distilora_queue_texts") == 1
        gate(gated).let()
        await asyncio.gather(running, staying)
        await engine.close()

    asyncio.run(run())
    assert gate(gated).begun == [["running"], ["staying"]]


def test_closing_answers_what_was_taken_refuses_the_rest_and_ends_the_threads(gated: ServedModel) -> None:
    async def run() -> Batcher:
        engine, _ = batcher()
        taken = [begin(engine.predict(gated, [text], patient=text == "c")) for text in ("a", "b", "c")]
        await until(lambda: len(gate(gated).begun) == 1)
        closing = asyncio.get_running_loop().create_task(engine.close())
        await asyncio.sleep(0.01)
        refused = await problem_of(engine.predict(gated, ["d"]))
        assert (refused.kind, refused.status) == ("unavailable", 503)
        gate(gated).let()
        assert list(map(len, await asyncio.gather(*taken))) == [1, 1, 1]
        await closing
        await engine.close()
        return engine

    assert not any(thread.is_alive() for thread in asyncio.run(run())._threads)


def test_the_model_whose_oldest_request_waits_longest_goes_first(gated: ServedModel) -> None:
    other = ServedModel("even", gated.bundle, 1)

    async def run() -> None:
        engine, _ = batcher()
        requests = [begin(engine.predict(gated, ["running"]))]
        await until(lambda: len(gate(gated).begun) == 1)
        for model, text in ((other, "even 1"), (gated, "odd 1"), (other, "even 2"), (gated, "odd 2")):
            requests.append(begin(engine.predict(model, [text])))
            await asyncio.sleep(0)
        gate(gated).let()
        await asyncio.gather(*requests)
        await engine.close()

    asyncio.run(run())
    assert gate(gated).begun == [["running"], ["even 1", "even 2"], ["odd 1", "odd 2"]]


def test_patient_texts_wait_behind_requests_are_never_refused_and_get_their_turn(gated: ServedModel) -> None:
    async def run() -> None:
        engine, _ = batcher(queue_texts=2, deadline_s=0.5)
        requests = [begin(engine.predict(gated, ["running"]))]
        await until(lambda: len(gate(gated).begun) == 1)
        file = [begin(engine.predict(gated, ["file"] * 200, patient=True)) for _ in range(2)]
        await asyncio.sleep(0)
        requests.append(begin(engine.predict(gated, ["asked"])))
        await asyncio.sleep(0)
        gate(gated).let(2)
        await asyncio.gather(*requests)
        while not file[0].done():  # requests keep coming, the file gets on
            request = begin(engine.predict(gated, ["asked"]))
            await asyncio.sleep(0)
            gate(gated).let(1)
            await asyncio.sleep(0.001)
            gate(gated).let(1)
            await request
        gate(gated).let()
        assert list(map(len, await asyncio.gather(*file))) == [200, 200]
        await engine.close()

    asyncio.run(run())
    begun = gate(gated).begun
    assert begun[:2] == [["running"], ["asked"]]
    assert max(len(texts) for texts in begun) <= waiting.PATIENT_TEXTS


def test_patient_texts_get_one_pass_in_nine_while_requests_never_end(folder: Path) -> None:
    line, model = waiting.Waiting(), served(folder)
    line.add(job(model, 0, texts=["text"], patient=True))
    for number in range(1, 20):
        line.add(job(model, number, texts=["text"] * waiting.MOST_TEXTS))

    taken = [line.take(idle=1) for _ in range(12)]

    assert [one.parts[0].job.patient for one in taken if one].index(True) == waiting.PATIENT_TURN


def test_texts_that_make_a_model_fail_fail_their_own_request_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = served(save_bundle_that_fails_on(tmp_path / "bundle", "idiot"))
    quoted = "idiot my dog"

    async def run() -> tuple[Problem, Predictions]:
        engine, _ = batcher()
        failing, fine = await asyncio.gather(
            engine.predict(model, ["good", quoted]), engine.predict(model, ["good"]), return_exceptions=True
        )
        assert len(await engine.predict(model, ["good"])) == 1
        await engine.close()
        assert isinstance(failing, Problem)
        assert isinstance(fine, Predictions)
        return failing, fine

    with caplog.at_level(logging.DEBUG):
        failing, fine = asyncio.run(run())

    assert (failing.kind, failing.status) == ("failed", 500)
    same(fine, model.bundle.predict(["good"]))
    assert "model odd failed on 2 texts of 16 characters" in caplog.text
    assert "sessions.py" in caplog.text
    assert quoted not in caplog.text + failing.detail


@pytest.mark.parametrize(("positive", "threshold"), [((), 0.5), (("toxic",), 1.5), (("toxic",), float("nan"))])
def test_a_threshold_that_means_nothing_is_refused(tmp_path: Path, positive: tuple[str, ...], threshold: float) -> None:
    model = served(save_tiny_bundle(tmp_path / "bundle", positive=positive))

    async def run() -> Problem:
        engine, _ = batcher()
        problem = await problem_of(engine.predict(model, ["good"], threshold=threshold))
        await engine.close()
        return problem

    problem = asyncio.run(run())
    assert problem.kind == "invalid"
    assert problem.errors[0]["where"] == "threshold"


def test_long_texts_make_a_pass_of_fewer(folder: Path) -> None:
    line = waiting.Waiting()
    reach = 4 * 16  # characters of the 16 tokens that the model reads
    line.add(job(served(folder), 1, texts=["x" * 100_000] * waiting.MOST_TEXTS))
    line.add(job(served(folder), 2, texts=["x" * 10_000] * 9, long_texts="windows"))

    taken = [line.take(idle=1) for _ in range(3)]

    assert [len(one.texts) for one in taken if one] == [
        min(waiting.MOST_TEXTS, -(-waiting.MOST_CHARACTERS // reach)),
        3,
        3,
    ]


def test_a_request_costs_the_event_loop_little(folder: Path) -> None:
    model = served(folder)

    async def run() -> float:
        engine, _ = batcher(queue_texts=100_000)
        before = time.thread_time()
        requests = [engine.predict(model, ["good"]) for _ in range(2000)]
        await asyncio.gather(*requests)
        spent = time.thread_time() - before
        await engine.close()
        return spent / 2000

    assert asyncio.run(run()) < 300e-6  # mostly a sixth of it; other processes may be at work


def job(
    model: ServedModel, number: int, *, texts: list[str], patient: bool = False, long_texts: Any = "truncate"
) -> waiting.Job:
    loop = asyncio.new_event_loop()
    answer: asyncio.Future[Predictions] = loop.create_future()
    loop.close()
    return waiting.Job(model, texts, None, long_texts, patient, number, answer)


def save_bundle_that_fails_on(folder: Path, word: str) -> Path:
    """Return a bundle whose model gives no numbers for texts with a word."""
    graph = tiny_graph()
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    embeddings = numpy_helper.to_array(weights["embeddings"]).copy()
    embeddings[tiny_tokenizer().token_to_id(word)] = np.nan
    weights["embeddings"].CopyFrom(numpy_helper.from_array(embeddings, "embeddings"))
    onnx.checker.check_model(graph)
    return save_tiny_bundle(folder, extra={"model.onnx": graph.SerializeToString()})
