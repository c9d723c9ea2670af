"""What an opened bundle says of texts, alone, in crowds and in streams."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper

from distilora.bundles.batching import LOOK_AHEAD_TEXTS, TOKENS_A_BATCH, batches, look_aheads
from distilora.bundles.bundle import Bundle, open_bundle
from distilora.bundles.outside_data import has_outside_data
from distilora.bundles.pipeline import READ_AHEAD
from distilora.errors import BundleError
from tiny_bundle import WIDTH, save_tiny_bundle, save_tiny_ensemble, tiny_graph, tiny_tokenizer

TEXTS = [
    "you are so stupid",
    "",
    "thank you, have a nice day!",
    "idiot",
    "the dog is good and the dog is very lovely to me",
    "\0",
    "they are awful people. " * 9,
]
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(save_tiny_bundle(tmp_path_factory.mktemp("tiny") / "bundle", threshold=0.35), threads=2)


def test_a_text_gets_the_same_answer_alone_in_company_and_in_a_stream(bundle: Bundle) -> None:
    together = bundle.predict(TEXTS)
    alone = [next(iter(bundle.predict([text]))) for text in TEXTS]
    streamed = [answer for chunk in bundle.predict_stream([TEXTS[:3], [], TEXTS[3:]]) for answer in chunk]

    for answers in (alone, streamed):
        assert [(a.label, a.tokens, a.cut) for a in answers] == [(a.label, a.tokens, a.cut) for a in together]
        found = [[*a.probabilities.values()] for a in answers]
        np.testing.assert_allclose(found, together.probabilities, atol=1e-6)
    np.testing.assert_allclose(
        bundle.logits(TEXTS), np.concatenate([bundle.logits([text]) for text in TEXTS]), atol=1e-4
    )


def test_probabilities_are_the_softmax_of_logits_over_the_bundles_temperature(bundle: Bundle) -> None:
    powers = np.exp(bundle.logits(TEXTS) / 1.5)

    predictions = bundle.predict(TEXTS)

    np.testing.assert_allclose(predictions.probabilities, powers / powers.sum(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_array_equal(predictions.positive_probability, predictions.probabilities[:, 1])


def test_a_text_is_positive_from_the_threshold_on(bundle: Bundle) -> None:
    positive = bundle.predict(TEXTS).positive_probability
    assert positive is not None
    middle = float(np.sort(positive)[3])

    assert (bundle.predict(TEXTS).labels == (positive >= 0.35)).all()
    assert bundle.predict(TEXTS, threshold=middle).labels.tolist() == (positive >= middle).astype(int).tolist()
    assert bundle.predict(TEXTS, threshold=0).labels.all()


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_that_is_no_probability_is_refused(bundle: Bundle, threshold: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        bundle.predict_stream([TEXTS], threshold=threshold)


def test_a_threshold_without_positive_classes_is_refused(tmp_path: Path) -> None:
    bundle = open_bundle(save_tiny_bundle(tmp_path / "bundle", labels=("a", "b", "c"), positive=()))

    assert bundle.predict(TEXTS).positive_probability is None
    assert (bundle.predict(TEXTS).labels == bundle.logits(TEXTS).argmax(axis=1)).all()
    with pytest.raises(BundleError, match="no positive classes"):
        bundle.predict(TEXTS, threshold=0.5)


def test_what_is_no_list_of_texts_is_refused_in_words(bundle: Bundle) -> None:
    with pytest.raises(TypeError, match="number 2 is of type int"):
        bundle.predict(["good", 7])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="put it in brackets"):
        bundle.predict("good")
    with pytest.raises(ValueError, match="truncate, windows"):
        bundle.predict(TEXTS, long_texts="guess")  # type: ignore[arg-type]


def test_less_than_one_thread_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give 1 or more"):
        open_bundle(tmp_path, threads=0)


def test_no_text_and_the_empty_text_are_answered(bundle: Bundle) -> None:
    assert bundle.predict([]).probabilities.shape == (0, 2)
    assert bundle.logits([]).shape == (0, 2)
    assert bundle.predict([""]).tokens.tolist() == [2]  # the special tokens


@given(texts=st.lists(ANY_TEXT, min_size=1, max_size=4))
def test_any_string_is_answered_and_lone_surrogates_count_as_replacement_characters(
    bundle: Bundle, texts: list[str]
) -> None:
    replaced = [text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace") for text in texts]

    predictions = bundle.predict(texts, long_texts="windows")

    assert len(predictions) == len(texts)
    np.testing.assert_array_equal(
        predictions.probabilities, bundle.predict(replaced, long_texts="windows").probabilities
    )


def test_the_end_of_a_long_text_counts_in_windows_and_not_when_truncated(tmp_path: Path) -> None:
    bundle = open_bundle(_save_bundle_that_knows_one_word(tmp_path / "bundle", "idiot"))
    texts = ["the dog is good " * 30 + "idiot", "the dog is good", "idiot " + "the dog is good " * 9]

    truncated, windows = bundle.predict(texts), bundle.predict(texts, long_texts="windows")

    assert truncated.labels.tolist() == [0, 0, 1]
    assert windows.labels.tolist() == [1, 0, 1]
    for predictions in (truncated, windows):
        assert predictions.tokens.tolist() == [123, 6, 39]
        assert predictions.cut.tolist() == [True, False, True]


def test_without_positive_classes_the_surest_window_counts(tmp_path: Path) -> None:
    bundle = open_bundle(save_tiny_bundle(tmp_path / "bundle", positive=(), max_length=6))  # 4 words, then 1 over
    words = ["you", "are", "so", "stupid", "good", "dog"]
    windows = [" ".join(words[start : start + 4]) for start in (0, 3)]

    surest = bundle.predict(windows).probabilities
    found = bundle.predict([" ".join(words)], long_texts="windows").probabilities

    np.testing.assert_allclose(found[0], surest[surest.max(axis=1).argmax()], rtol=1e-5)


def test_a_list_longer_than_one_look_ahead_is_answered_in_order(bundle: Bundle) -> None:
    some = bundle.predict(TEXTS[:5])

    many = bundle.predict(TEXTS[:5] * 1000)

    np.testing.assert_allclose(many.probabilities, np.tile(some.probabilities, (1000, 1)), atol=1e-6)
    assert len(many.cut) == len(many.tokens) == len(many.labels) == 5000 > LOOK_AHEAD_TEXTS


def test_a_stream_is_read_only_a_little_ahead(bundle: Bundle) -> None:
    taken = 0

    def chunks() -> Iterator[list[str]]:
        nonlocal taken
        for number in range(20):
            taken += 1
            yield ["good " * number, "bad"]

    stream = bundle.predict_stream(chunks())
    assert taken == 0
    for number, predictions in enumerate(stream):
        assert predictions.tokens[0] == number + 2
        assert taken <= number + 1 + READ_AHEAD
    assert taken == 20


def test_a_closed_stream_leaves_no_thread(bundle: Bundle) -> None:
    before = set(threading.enumerate())
    stream = bundle.predict_stream([text, "bad"] for text in TEXTS)
    next(stream)
    assert set(threading.enumerate()) > before

    stream.close()

    assert set(threading.enumerate()) == before


def test_what_a_streams_source_raises_is_raised_and_leaves_no_thread(bundle: Bundle) -> None:
    def chunks() -> Iterator[list[str]]:
        yield TEXTS
        raise OSError("row 2 cannot be read")

    before = set(threading.enumerate())
    with pytest.raises(OSError, match="row 2"):
        list(bundle.predict_stream(chunks()))
    assert set(threading.enumerate()) == before


def test_what_the_model_raises_in_a_thread_is_raised_and_leaves_no_thread(tmp_path: Path) -> None:
    bundle = open_bundle(save_tiny_bundle(tmp_path / "bundle", extra={"model.onnx": _graph_for_at_most(12)}))
    before = set(threading.enumerate())

    with pytest.raises(BundleError, match="ONNX Runtime cannot run it"):
        list(bundle.predict_stream([TEXTS[:5], TEXTS, TEXTS]))
    assert set(threading.enumerate()) == before


def test_threads_that_ask_at_once_get_the_same_answers(bundle: Bundle) -> None:
    expected = bundle.predict(TEXTS).probabilities

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: bundle.predict(TEXTS).probabilities, range(40)))

    for probabilities in found:
        np.testing.assert_array_equal(probabilities, expected)


def test_an_ensemble_averages_its_members_probabilities(tmp_path: Path) -> None:
    odd = save_tiny_bundle(tmp_path / "odd", seed=1, temperature=0.7)
    even = save_tiny_bundle(tmp_path / "even", seed=2, max_length=8)
    ensemble = open_bundle(save_tiny_ensemble(tmp_path / "both", {"odd": odd, "even": even}))
    members = [open_bundle(path).predict(TEXTS) for path in (odd, even)]

    predictions = ensemble.predict(TEXTS)

    expected = (members[0].probabilities + members[1].probabilities) / 2
    np.testing.assert_allclose(predictions.probabilities, expected, atol=1e-6)
    assert (predictions.labels == (expected[:, 1] >= 0.5)).all()
    assert (predictions.cut == members[1].cut).all()  # the shorter one's
    with pytest.raises(BundleError, match="ensemble, which has no logits"):
        ensemble.logits(TEXTS)


@pytest.mark.parametrize("address", [False, True])
def test_a_model_that_names_weights_outside_itself_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: bool
) -> None:
    secret = np.zeros((tiny_tokenizer().get_vocab_size(), WIDTH), dtype=np.float32)
    (tmp_path / "secret").write_bytes(secret.tobytes())
    monkeypatch.chdir(tmp_path)
    place = {"location": "*/_ORT_MEM_ADDR_/*", "offset": str(secret.ctypes.data)} if address else {"location": "secret"}
    model = tiny_graph()
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "embeddings")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    for key, value in {**place, "length": str(secret.nbytes)}.items():
        weights.external_data.add(key=key, value=value)

    assert "weights outside itself" in _refusal(tmp_path, model.SerializeToString())


def test_weights_outside_are_found_in_graphs_inside_nodes() -> None:
    model = tiny_graph()
    inner = onnx.AttributeProto(name="body", type=onnx.AttributeProto.GRAPH)
    model.graph.node[0].attribute.append(inner)
    assert not has_outside_data(model.SerializeToString())

    model.graph.node[0].attribute[-1].g.initializer.add(data_location=TensorProto.EXTERNAL)
    assert has_outside_data(model.SerializeToString())


def test_the_search_for_weights_outside_ends_soon_and_at_any_depth() -> None:
    nodes = b"\x0a\x00" * 300_001
    with pytest.raises(ValueError, match="more than 300,000 fields"):
        has_outside_data(b"\x3a" + _varint(len(nodes)) + nodes)

    graph = b"\x2a\x02\x70\x01"  # a tensor whose data_location is EXTERNAL
    for _ in range(2_000):
        for field in (b"\x32", b"\x2a", b"\x0a"):  # in the attribute of a node of a graph
            graph = field + _varint(len(graph)) + graph
    assert has_outside_data(b"\x3a" + _varint(len(graph)) + graph)


@given(at=st.integers(0, 10**6), change=st.binary(max_size=12))
def test_no_bytes_make_the_search_for_weights_outside_fail_otherwise_than_it_says(at: int, change: bytes) -> None:
    whole = tiny_graph().SerializeToString()
    at %= len(whole)

    try:
        has_outside_data(whole[:at] + change + whole[at + len(change) :])
    except ValueError:
        return


def _varint(value: int) -> bytes:
    return bytes([value & 127 | 128]) + _varint(value >> 7) if value > 127 else bytes([value])


def _renamed_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "words"
    model.graph.node[0].input[1] = "words"


def _renamed_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = model.graph.node[-1].output[0] = "\x1b[2J"


def _fixed_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def _few_embeddings(model: onnx.ModelProto) -> None:
    _replace(model, "embeddings", np.ones((9, WIDTH), dtype=np.float32))


def _no_numbers(model: onnx.ModelProto) -> None:
    _replace(model, "bias", np.full(2, np.nan, dtype=np.float32))


def _more_labels(model: onnx.ModelProto) -> None:
    model.CopyFrom(tiny_graph(labels=3))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_renamed_input, "int64 (batch, tokens), but has ['words: tensor(int64)', 'attention_mask"),
        (_renamed_output, "float32 (batch, 2), but has ['\\x1b[2J: tensor(float)']; export it again"),
        (_fixed_batch, "needs the inputs"),
        (_few_embeddings, "cannot run it"),
        (_no_numbers, "no numbers"),
        (_more_labels, r"shape (1, 3), not (1, 2)"),
    ],
)
def test_a_model_that_does_not_fit_its_bundle_is_refused_when_opened(
    tmp_path: Path, change: Callable[[onnx.ModelProto], None], told: str
) -> None:
    model = tiny_graph()
    change(model)

    assert told in _refusal(tmp_path, model.SerializeToString())


@pytest.mark.parametrize("name", [b"tokens", b"Gather"])
def test_names_that_are_no_utf_8_are_refused_and_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: bytes
) -> None:
    model = tiny_graph().SerializeToString()

    assert "ONNX Runtime cannot open it: 'utf-8' codec" in _refusal(tmp_path, model.replace(name, b"\xff" + name[1:]))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("content", [b"", b"\0\0\0", b"ORTM nonsense", b'{"version": "1.0"}', b"[" * 5000])
@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_nonsense_with_the_right_hash_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    folder = save_tiny_bundle(tmp_path / "bundle", extra={name: content})

    with pytest.raises(BundleError, match=name) as refused:
        open_bundle(folder)
    assert "\n" not in str(refused.value)


@given(lengths=st.lists(st.integers(2, 600), max_size=80), threads=st.integers(1, 4))
def test_batches_hold_every_piece_once_and_stay_in_the_token_budget(lengths: list[int], threads: int) -> None:
    found = batches(np.array(lengths, dtype=np.int64), threads=threads)

    assert sorted(row for rows in found for row in rows) == list(range(len(lengths)))
    for rows in found:
        assert len(rows) == 1 or len(rows) * max(lengths[row] for row in rows) <= TOKENS_A_BATCH


@given(sizes=st.lists(st.integers(0, 1_500_000), max_size=8))
def test_look_aheads_are_the_texts_in_order_and_bounded_in_characters(sizes: list[int]) -> None:
    texts = ["x" * size for size in sizes]

    parts = list(look_aheads(texts))

    assert [text for part in parts for text in part] == texts
    assert all(len(part) == 1 or sum(map(len, part)) <= 2_000_000 for part in parts)
    assert all(parts) or parts == [[]]


def _replace(model: onnx.ModelProto, name: str, weights: np.ndarray) -> None:
    """Put other weights in the place of those of a name."""
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(weights, name))


def _refusal(folder: Path, model: bytes) -> str:
    """Return what opening a bundle of a model is refused with."""
    with pytest.raises(BundleError) as refused:
        open_bundle(save_tiny_bundle(folder / "bundle", extra={"model.onnx": model}))
    return str(refused.value)


def _save_bundle_that_knows_one_word(folder: Path, word: str) -> Path:
    """Return a bundle that is toxic to itself from one such word in 16 tokens on, and civil otherwise."""
    tokenizer = tiny_tokenizer()
    embeddings = np.zeros((tokenizer.get_vocab_size(), WIDTH), dtype=np.float32)
    embeddings[tokenizer.token_to_id(word), 0] = 1
    head = np.zeros((WIDTH, 2), dtype=np.float32)
    head[0] = -50, 50
    model = tiny_graph()
    for name, weights in {"embeddings": embeddings, "head": head, "bias": np.array([1, -1], dtype=np.float32)}.items():
        _replace(model, name, weights)
    return save_tiny_bundle(folder, extra={"model.onnx": model.SerializeToString()})


def _graph_for_at_most(tokens: int) -> bytes:
    """Return a model that cannot be run on more tokens, as one with too few positions."""
    model = tiny_graph()
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(tokens, dtype=np.int64), "positions"))
    for name, value in {"zero": [0], "one": [1]}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    nodes = [
        onnx.helper.make_node("Shape", ["input_ids"], ["length"], start=1),
        onnx.helper.make_node("Sub", ["length", "one"], ["furthest"]),
        onnx.helper.make_node("Gather", ["positions", "furthest"], ["position"]),
        onnx.helper.make_node("Add", ["input_ids", "position"], ["placed"]),
    ]
    model.graph.node[0].input[1] = "placed"
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    return model.SerializeToString()
