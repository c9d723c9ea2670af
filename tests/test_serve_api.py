"""The API: what each address answers, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from starlette.testclient import TestClient

from distilora.bundles.bundle import Bundle, open_bundle
from distilora.serve.catalog import open_catalog
from distilora.serve.problems import KINDS, PROBLEM_TYPE
from distilora.serve.settings import ServeSettings
from distilora.serve.state import Served
from serving_cases import ADDRESS, client, scored, serving
from tiny_bundle import save_tiny_ensemble

TEXTS = ["you are all idiots", "what a lovely day", "the dog is very kind and the people are nice " * 3]
LIMITS = {"texts": 4, "characters": 200, "explained_words": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def api(folder: Path) -> Iterator[TestClient]:
    with serving(folder, broken=("damaged",), limits=LIMITS) as client:
        yield client


@pytest.fixture(scope="module")
def bundles(api: TestClient, folder: Path) -> Mapping[str, Bundle]:
    return {name: open_bundle(folder / name, threads=1) for name in ("odd", "even", "plain")}


def served_by(client: TestClient) -> Served:
    served: Served = client.app.state.served
    return served


def refused(response: Any, status: int) -> dict[str, Any]:
    """Return a problem's members, once it has the form that all have."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM_TYPE
    problem: dict[str, Any] = response.json()
    kind = KINDS[problem["type"].removeprefix("/api#")]
    assert (problem["status"], problem["title"]) == (status, kind.title)
    assert kind.status == status
    return problem


# Predictions


def test_predictions_are_what_the_bundle_says(api: TestClient, bundles: Mapping[str, Bundle]) -> None:
    answer = api.post("/v1/predict", json={"texts": TEXTS, "model": "odd"}).json()
    expected = list(bundles["odd"].predict(TEXTS))
    assert (answer["model"], answer["bundle"], answer["threshold"]) == ("odd", bundles["odd"].id, 0.5)
    assert [each["label"] for each in answer["predictions"]] == [each.label for each in expected]
    assert [(each["tokens"], each["cut"]) for each in answer["predictions"]] == [(e.tokens, e.cut) for e in expected]
    for said, want in zip(answer["predictions"], expected, strict=True):
        assert list(said["probabilities"]) == ["civil", "toxic"]
        assert said["probabilities"] == {label: round(share, 6) for label, share in want.probabilities.items()}
        assert said["positive_probability"] == round(want.positive_probability or 0, 6)


def test_one_text_is_answered_as_a_list_of_one(api: TestClient) -> None:
    one, several = (api.post("/v1/predict", json={"texts": texts}).json() for texts in (TEXTS[0], TEXTS[:1]))
    assert one == several
    assert len(one["predictions"]) == 1


def test_the_best_model_answers_where_none_is_named(api: TestClient) -> None:
    assert api.post("/v1/predict", json={"texts": "hello"}).json()["model"] == "odd"


def test_labels_are_decided_before_probabilities_are_rounded(api: TestClient, bundles: Mapping[str, Bundle]) -> None:
    probability = bundles["odd"].predict(TEXTS[:1]).probabilities[0, 1]
    just_above = np.nextafter(probability, np.float32(1))
    at, above = (
        api.post("/v1/predict", json={"texts": TEXTS[0], "threshold": float(threshold)}).json()["predictions"][0]
        for threshold in (probability, just_above)
    )
    assert (at["label"], above["label"]) == ("toxic", "civil")
    assert at["probabilities"] == above["probabilities"]


@pytest.mark.parametrize(("threshold", "label"), [(0.0, "toxic"), (1.0, "civil")])
def test_a_threshold_of_ones_own_decides(api: TestClient, threshold: float, label: str) -> None:
    answer = api.post("/v1/predict", json={"texts": "hello you", "threshold": threshold}).json()
    assert (answer["threshold"], answer["predictions"][0]["label"]) == (threshold, label)


def test_a_model_without_positive_classes_has_no_threshold(api: TestClient) -> None:
    answer = api.post("/v1/predict", json={"texts": "hello", "model": "plain"}).json()
    assert answer["threshold"] is None
    assert answer["predictions"][0]["positive_probability"] is None
    problem = refused(api.post("/v1/predict", json={"texts": "hello", "model": "plain", "threshold": 0.5}), 422)
    assert problem["errors"][0]["where"] == "threshold"
    assert "no positive classes" in problem["detail"]


def test_long_texts_are_cut_or_read_in_windows(api: TestClient, bundles: Mapping[str, Bundle]) -> None:
    for rule in ("truncate", "windows"):
        answer = api.post("/v1/predict", json={"texts": TEXTS[2], "long_texts": rule}).json()["predictions"][0]
        want = next(iter(bundles["odd"].predict(TEXTS[2:], long_texts=rule)))
        assert answer["cut"]
        assert answer["probabilities"] == pytest.approx(want.probabilities, abs=1e-6)


# What is refused


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"texts": []}, "texts"),
        ({"texts": ""}, "texts"),
        ({"texts": ["good", " \n\t", "kind", ""]}, "texts.1"),
        ({"texts": ["good"] * 5}, "texts"),
        ({"texts": ["good", "x" * 201]}, "texts.1"),
        ({"texts": "x" * 201}, "texts"),
        ({"texts": ["good", 7]}, "texts.1"),
        ({"texts": 7}, "texts"),
        ({}, "texts"),
        ({"texts": "good", "threshold": "0.5"}, "threshold"),
        ({"texts": "good", "threshold": 1.5}, "threshold"),
        ({"texts": "good", "threshold": True}, "threshold"),
        ({"texts": "good", "long_texts": "both"}, "long_texts"),
        ({"texts": "good", "Zweck": 1}, "body"),
        ([], "body"),
        ("good", "body"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_by_its_place(api: TestClient, body: Any, where: str) -> None:
    problem = refused(api.post("/v1/predict", json=body), 422)
    assert problem["errors"][0]["where"] == where
    assert problem["detail"].startswith(f"{where}: ")
    assert "Zweck" not in json.dumps(problem)


def test_a_number_that_is_none_is_refused(api: TestClient) -> None:
    body = b'{"texts": "good", "threshold": NaN}'
    problem = refused(api.post("/v1/predict", content=body, headers={"content-type": "application/json"}), 422)
    assert problem["errors"][0]["where"] == "threshold"


def test_every_blank_text_of_a_list_is_named(api: TestClient) -> None:
    problem = refused(api.post("/v1/predict", json={"texts": ["good", " ", "kind", ""]}), 422)
    assert [error["where"] for error in problem["errors"]] == ["texts.1", "texts.3"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"hello",
        b'{"texts": "\xff\xfe"}',
        b'{"texts": "\\ud83d"}',
        b'{"texts": "\xed\xa0\xbd"}',
        b"[" * 100_000,
        b'{"texts": "a\nb"}',
    ],
    ids=["nothing", "half", "no JSON", "no UTF-8", "half a pair", "half a pair, raw", "deep", "line break"],
)
@pytest.mark.parametrize("path", ["/v1/predict", "/v1/compare", "/v1/explain"])
def test_a_body_that_is_no_json_is_malformed(api: TestClient, path: str, body: bytes) -> None:
    refused(api.post(path, content=body, headers={"content-type": "application/json"}), 400)


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
def test_a_body_in_another_form_than_json_is_refused(api: TestClient, media_type: str) -> None:
    refused(api.post("/v1/predict", content=b'{"texts": "good"}', headers={"content-type": media_type}), 415)


def test_the_media_type_may_name_the_charset(api: TestClient) -> None:
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    assert api.post("/v1/predict", content=b'{"texts": "good"}', headers=headers).status_code == 200


def test_a_model_that_is_not_there_is_not_found(api: TestClient) -> None:
    for path, text in (("/v1/predict", {"texts": "good"}), ("/v1/explain", {"text": "good"})):
        refused(api.post(path, json={**text, "model": "nobody"}), 404)


def test_a_wrong_method_or_address_is_a_problem_too(api: TestClient) -> None:
    refused(api.get("/v1/predict"), 405)
    refused(api.get("/v1/nothing"), 404)


def test_no_problem_holds_a_comment(api: TestClient) -> None:
    comment = "Geheimnis"
    bodies = [
        {"texts": [comment * 30]},
        {"texts": [comment], "threshold": comment},
        {"texts": {comment: comment}},
        {"texts": [comment], comment: 1},
        {"texts": [comment], "long_texts": comment},
    ]
    for body in bodies:
        assert comment not in api.post("/v1/predict", json=body).text


def test_a_full_queue_refuses_and_says_when_to_come_back(tmp_path: Path) -> None:
    async def all_at_once(app: Any) -> list[httpx2.Response]:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=ADDRESS) as client:
            return await asyncio.gather(*(client.post("/v1/predict", json={"texts": TEXTS}) for _ in range(8)))

    with serving(tmp_path, bundles={"odd": {}}, limits={"queue_texts": 4}) as api:
        answers = asyncio.run(all_at_once(api.app))
    assert {answer.status_code for answer in answers} == {200, 429}
    for answer in answers:
        if answer.status_code == 429:
            refused(answer, 429)
            assert int(answer.headers["retry-after"]) >= 1


def test_a_request_is_given_up_at_its_deadline(tmp_path: Path) -> None:
    with serving(tmp_path, bundles={"odd": {}}, limits={"deadline_s": 1e-6}) as api:
        refused(api.post("/v1/predict", json={"texts": "good"}), 504)
        refused(api.post("/v1/compare", json={"text": "good"}), 504)


# Comparing


def test_comparing_asks_every_model_with_its_own_threshold(api: TestClient, bundles: Mapping[str, Bundle]) -> None:
    answer = api.post("/v1/compare", json={"text": TEXTS[0]}).json()
    assert [each["model"] for each in answer["answers"]] == ["odd", "even", "plain"]
    assert [each["threshold"] for each in answer["answers"]] == [0.5, 0.35, None]
    for each in answer["answers"]:
        want = next(iter(bundles[each["model"]].predict([TEXTS[0]])))
        assert each["label"] == want.label
        assert each["probabilities"] == pytest.approx(want.probabilities, abs=1e-6)
    assert answer["agree"] is False
    assert [each["name"] for each in answer["unavailable"]] == ["damaged"]


def test_models_agree_where_all_give_one_label(tmp_path: Path) -> None:
    with serving(tmp_path, bundles={"odd": {}, "same": {}}) as api:
        assert api.post("/v1/compare", json={"text": "hello"}).json()["agree"] is True


def test_a_model_that_fails_does_not_spoil_the_others(tmp_path: Path) -> None:
    with serving(tmp_path, bundles={"odd": {}, "blind": {"max_length": 3}}) as api:
        served = served_by(api)
        # As a model would be that ONNX Runtime opens, and then cannot run.
        served.catalog.models["blind"].bundle._classifiers.clear()
        answer = api.post("/v1/compare", json={"text": "hello"}).json()
        assert [each["model"] for each in answer["answers"]] == ["odd"]
        assert [each["name"] for each in answer["unavailable"]] == ["blind"]
        problem = refused(api.post("/v1/predict", json={"texts": "hello", "model": "blind"}), 500)
        assert "hello" not in json.dumps(problem)


# Explaining


def test_leaving_a_word_out_shows_what_it_did(api: TestClient, bundles: Mapping[str, Bundle]) -> None:
    answer = api.post("/v1/explain", json={"text": "stupid dog"}).json()
    whole, without_stupid, without_dog = bundles["odd"].predict(["stupid dog", "dog", "stupid"])
    label = whole.label
    assert answer["prediction"]["label"] == label
    assert [(each["word"], each["start"], each["end"]) for each in answer["words"]] == [
        ("stupid", 0, 6),
        ("dog", 7, 10),
    ]
    moved = [whole.probabilities[label] - other.probabilities[label] for other in (without_stupid, without_dog)]
    assert [each["influence"] for each in answer["words"]] == pytest.approx(moved, abs=1e-5)
    assert answer["words_left_out"] == 0


def test_words_past_the_limit_are_counted(api: TestClient) -> None:
    answer = api.post("/v1/explain", json={"text": "you are all so stupid"}).json()
    assert (len(answer["words"]), answer["words_left_out"]) == (3, 2)


def test_places_of_words_count_code_points(api: TestClient) -> None:
    text = "😂😂 stupid"
    words = api.post("/v1/explain", json={"text": text}).json()["words"]
    assert (
        [text[each["start"] : each["end"]] for each in words] == [each["word"] for each in words] == ["😂😂", "stupid"]
    )


# Ensembles


@pytest.fixture(scope="module")
def both(api: TestClient, folder: Path) -> Iterator[TestClient]:
    """A client of a server whose best model is an ensemble of the two others."""
    members = {name: folder / name for name in ("odd", "even")}
    path = save_tiny_ensemble(folder / "both", members, threshold=0.4, bundle_scores=scored(0.99))
    with client(
        replace(served_by(api), catalog=open_catalog([*members.values(), path]), settings=ServeSettings())
    ) as asking:
        yield asking


def test_an_ensemble_is_asked_and_compared_as_any_model(both: TestClient, bundles: Mapping[str, Bundle]) -> None:
    answers = both.post("/v1/compare", json={"text": TEXTS[0]}).json()["answers"]
    assert [(each["model"], each["threshold"]) for each in answers] == [("ensemble", 0.4), ("odd", 0.5), ("even", 0.35)]
    members = [bundles[name].predict(TEXTS[:1]).positive_probability for name in ("odd", "even")]
    assert answers[0]["positive_probability"] == pytest.approx(np.mean(members), abs=2e-6)
    assert answers[0]["label"] == ("toxic" if np.mean(members) >= 0.4 else "civil")


def test_words_out_of_an_ensembles_reach_are_counted_and_not_weighed(both: TestClient) -> None:
    answer = both.post("/v1/explain", json={"text": "good dog " * 20}).json()
    assert answer["model"] == "ensemble"
    assert (len(answer["words"]), answer["words_left_out"]) == (14, 26)


# Models, health, metrics


def test_models_are_listed_with_what_they_are(api: TestClient, bundles: Mapping[str, Bundle]) -> None:
    answer = api.get("/v1/models").json()
    assert answer["default"] == "odd"
    assert [each["name"] for each in answer["models"]] == ["odd", "even", "plain"]
    first = answer["models"][0]
    assert first["bundle"] == bundles["odd"].id
    assert (first["labels"], first["positive"]) == (["civil", "toxic"], ["toxic"])
    assert first["threshold"] == {"value": 0.5, "goal": "f1"}
    assert (first["method"], first["seed"], first["layers"], first["max_tokens"]) == ("odd", 0, [1, 3], 16)
    assert first["size_bytes"] > 1000
    assert [(each["part"], each["macro_f1"]) for each in first["scores"]] == [("validation", 0.9), ("test", 0.9)]
    assert [each["name"] for each in answer["unavailable"]] == ["damaged"]


def test_a_broken_bundle_says_why_without_a_path(api: TestClient, folder: Path) -> None:
    reason = api.get("/v1/models").json()["unavailable"][0]["reason"]
    assert reason
    assert str(folder) not in reason


def test_a_draining_server_is_alive_and_not_ready(api: TestClient) -> None:
    assert (api.get("/healthz").json(), api.get("/readyz").json()) == ({"status": "ok"}, {"status": "ok"})
    phase = served_by(api).phase
    phase.draining = True
    try:
        assert api.get("/healthz").json() == {"status": "ok"}
        refused(api.get("/readyz"), 503)
    finally:
        phase.draining = False


def test_labels_are_counted_for_prometheus(tmp_path: Path) -> None:
    with serving(tmp_path, bundles={"odd": {}}) as api:
        labels = [each["label"] for each in api.post("/v1/predict", json={"texts": TEXTS}).json()["predictions"]]
        response = api.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    for label in set(labels):
        said = [line for line in response.text.splitlines() if f'label="{label}"' in line and not line.startswith("#")]
        assert any(float(line.split()[-1]) == labels.count(label) for line in said), response.text


# The log


@pytest.mark.parametrize("log_texts", [False, True])
def test_comments_are_logged_only_where_that_was_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, log_texts: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(tmp_path, bundles={"odd": {}}, log_texts=log_texts) as api:
        for path, body in (
            ("/v1/predict", {"texts": ["Geheimnis\nzwei"]}),
            ("/v1/compare", {"text": "Geheimnis"}),
            ("/v1/explain", {"text": "Geheimnis"}),
            ("/v1/feedback", {"text": "Geheimnis", "label": "toxic"}),
        ):
            assert api.post(path, json=body).status_code < 300
    holding = [record for record in caplog.records if "Geheimnis" in record.getMessage()]
    assert {record.name for record in holding} == ({"distilora.serve.texts"} if log_texts else set())
    assert all("\n" not in record.getMessage() for record in holding)
