"""A bundle, opened: texts in, labels and probabilities out, on ONNX Runtime alone."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial, reduce
from itertools import islice
from pathlib import Path
from typing import TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from distilora.bundles.batching import look_aheads
from distilora.bundles.classifiers import Classifier, Scored, positions
from distilora.bundles.manifest import Manifest
from distilora.bundles.pipeline import Prepared, overlapped
from distilora.bundles.predictions import Predictions, calibrated, decide
from distilora.bundles.storage import StoredBundle, read_bundle
from distilora.bundles.tokens import LongTexts
from distilora.errors import BundleError
from distilora.machine import usable_processors

_SHORT_CHARACTERS = 4096
"""One text up to this long is answered in the caller's thread: handing it to others takes longer than they save."""

Answered = TypeVar("Answered")


def open_bundle(folder: str | Path, *, threads: int | None = None) -> Bundle:
    """Return a bundle ready to answer, after every byte of it was compared with its hash.

    Nothing in it is run as a program, and it cannot make this process read other files. But hashes do not say who
    made it: a stranger's model or tokenizer may take any time and memory, so open one where that does no harm.

    Args:
        folder: where the bundle is.
        threads: processor threads that run the model on many texts; ``None``: as many as this process may use. The
            tokenizer, a tenth of the work, takes what it finds.

    Raises:
        BundleError: it is damaged, foreign, of a newer format, or its model and tokenizer cannot be used.
        ValueError: ``threads`` is below 1.
    """
    if threads is not None and threads < 1:
        raise ValueError(f"threads: {threads} is not allowed; give 1 or more")
    return Bundle(read_bundle(Path(folder)), threads=threads or usable_processors())


class Bundle:
    """One model, or an ensemble of several, that answers texts; several threads may ask it at once.

    An fp32 model says the same of a text whatever texts stand beside it: logits differ by less than 1e-4. An int8 model
    quantises the activations of a batch together, so its answers vary with the company: on tweets, asked one by one or
    in one list, probabilities differed by 0.0003 in the median and by 0.01 for one in a hundred, labels for 1 in 1,000.
    Equal calls get equal answers.

    Args:
        stored: a bundle as read from its folder.
        threads: processor threads that run the model on many texts.

    Raises:
        BundleError: its model and tokenizer cannot be used.
    """

    def __init__(self, stored: StoredBundle, *, threads: int) -> None:
        self.id: str = stored.id
        """SHA-256 that stands for every byte of the bundle."""
        self.path: Path = stored.path
        self.manifest: Manifest = stored.manifest
        self.labels: tuple[str, ...] = stored.manifest.labels
        """Names of the classes in the order of the logits."""
        self.threads: int = threads
        """Processor threads that run the model on many texts; int8 answers depend on it, through the batches."""
        self._positive = positions(self.manifest.positive, among=self.labels)
        models = stored.members.values() if self.manifest.kind == "ensemble" else [stored]
        self._classifiers = [Classifier(model) for model in models]
        self.max_length: int = max(classifier.max_length for classifier in self._classifiers)
        """Longest input in tokens, special tokens included; of an ensemble that of the member that reads most."""

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return what the model says before temperature and softmax, of texts cut to its longest input.

        Args:
            texts: any strings.

        Returns:
            Shape (texts, classes).

        Raises:
            BundleError: the bundle is an ensemble, which has probabilities only.
            TypeError: a text is no string.
        """
        if len(self._classifiers) > 1:
            raise BundleError(f"{self.path}: is an ensemble, which has no logits; ask it for probabilities")
        parts = self._answered(_checked(texts), lambda scored: scored[0].logits, long_texts="truncate")
        return np.concatenate(parts)

    def predict(
        self, texts: Sequence[str], *, threshold: float | None = None, long_texts: LongTexts = "truncate"
    ) -> Predictions:
        """Return labels and probabilities of texts.

        Args:
            texts: any strings, empty ones too; a lone surrogate counts as U+FFFD.
            threshold: on the summed probability of the positive classes, from 0 to 1; ``None``: the bundle's own.
            long_texts: what counts of a text that is longer than the model's longest input: its beginning
                (``truncate``), or the one of its overlapping windows that is most probably positive (``windows``);
                where no class is positive, the window whose likeliest class is most probable.

        Raises:
            BundleError: a threshold for a bundle without positive classes, or the model cannot be run.
            TypeError: a text is no string.
            ValueError: ``threshold`` or ``long_texts`` is not one of those.
        """
        answer = self._rule(threshold, long_texts)
        return joined(self._answered(_checked(texts), answer, long_texts=long_texts))

    def predict_stream(
        self,
        chunks: Iterable[Sequence[str]],
        *,
        threshold: float | None = None,
        long_texts: LongTexts = "truncate",
    ) -> Generator[Predictions, None, None]:
        """Yield labels and probabilities of each chunk of texts, in order; a chunk of 1,000 to 4,000 texts is good.

        Tokens of the next chunk are made while the model runs on this one. So ``chunks`` is read ahead, in the
        caller's thread, by two chunks at most: memory does not grow with their number. Closing the iterator ends
        its threads; so does an error, of ``chunks`` too.

        Args:
            chunks: lists of texts, as for :meth:`predict`.
            threshold: as for :meth:`predict`; so are ``long_texts`` and the errors.
            long_texts: what counts of a text that is too long.
        """
        answer = self._rule(threshold, long_texts)
        return self._joined_stream(chunks, answer, long_texts=long_texts)

    def _joined_stream(
        self,
        chunks: Iterable[Sequence[str]],
        answer: Callable[[Sequence[Scored]], Predictions],
        *,
        long_texts: LongTexts,
    ) -> Generator[Predictions, None, None]:
        with closing(self._streamed(map(_checked, chunks), answer, long_texts=long_texts)) as answers:
            yield from map(joined, answers)

    def _rule(self, threshold: float | None, long_texts: str) -> Callable[[Sequence[Scored]], Predictions]:
        """Return what makes predictions of the models' scores, once it is known to be allowed."""
        if long_texts not in get_args(LongTexts):
            raise ValueError(f"long_texts: {long_texts!r} is not one of {', '.join(get_args(LongTexts))}")
        if threshold is None:
            own = self.manifest.threshold
            return partial(self._predictions, threshold=None if own is None else own.value)
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold: {threshold} is not allowed; give a probability from 0 to 1")
        if not self._positive:
            raise BundleError(f"{self.path}: has no positive classes, so a threshold means nothing; leave it out")
        return partial(self._predictions, threshold=threshold)

    def _predictions(self, scored: Sequence[Scored], *, threshold: float | None) -> Predictions:
        probabilities = self._probabilities(scored)
        return Predictions(
            label_names=self.labels,
            labels=decide(probabilities, positive=self._positive, threshold=threshold),
            probabilities=probabilities,
            positive_probability=probabilities[:, self._positive].sum(axis=1) if self._positive else None,
            # Members may have tokenizers of their own.
            tokens=reduce(np.maximum, [model.tokens for model in scored]),
            cut=reduce(np.logical_or, [model.cut for model in scored]),
        )

    def _probabilities(self, scored: Sequence[Scored]) -> NDArray[np.float32]:
        """Return calibrated probabilities, of an ensemble the mean of its members', shape (texts, classes)."""
        members = [
            calibrated(model.logits, temperature=classifier.temperature)
            for model, classifier in zip(scored, self._classifiers, strict=True)
        ]
        if len(members) == 1:
            return members[0]
        return np.asarray(np.mean(members, axis=0, dtype=np.float64), dtype=np.float32)

    def _answered(
        self, texts: list[str], answer: Callable[[Sequence[Scored]], Answered], *, long_texts: LongTexts
    ) -> list[Answered]:
        """Return the answers to parts of one list of texts."""
        if self._is_for_one_thread(texts):
            return [self._prepared(texts, answer, long_texts=long_texts).run()]
        return next(self._streamed([texts], answer, long_texts=long_texts))

    def _is_for_one_thread(self, texts: list[str]) -> bool:
        """Return whether others could not help the caller's thread, or would take longer to begin than to help."""
        if len(texts) <= 1:
            return not texts or len(texts[0]) <= _SHORT_CHARACTERS or self.threads == 1
        # Of a list in several parts, one is tokenised while the model runs on the part before it.
        return self.threads == 1 and len(list(islice(look_aheads(texts), 2))) == 1

    def _streamed(
        self,
        chunks: Iterable[list[str]],
        answer: Callable[[Sequence[Scored]], Answered],
        *,
        long_texts: LongTexts,
    ) -> Generator[list[Answered], None, None]:
        """Yield the answers to the parts of each chunk."""
        jobs = (
            (last, partial(self._prepared, part, answer, long_texts=long_texts))
            for chunk in chunks
            for last, part in _last_marked(look_aheads(chunk))
        )
        answers = []
        with closing(overlapped(jobs, threads=self.threads)) as parts:
            for last, part in parts:
                answers.append(part)
                if last:
                    yield answers
                    answers = []

    def _prepared(
        self, texts: list[str], answer: Callable[[Sequence[Scored]], Answered], *, long_texts: LongTexts
    ) -> Prepared[NDArray[np.float32], Answered]:
        """Return the work of all models on some texts."""
        each = [
            classifier.prepared(texts, long_texts=long_texts, threads=self.threads) for classifier in self._classifiers
        ]

        def finish(results: Sequence[NDArray[np.float32]]) -> Answered:
            left = iter(results)
            return answer([model.finish(list(islice(left, len(model.tasks)))) for model in each])

        return Prepared([task for model in each for task in model.tasks], finish)


def _checked(texts: Sequence[str]) -> list[str]:
    if isinstance(texts, str | bytes):
        raise TypeError("texts: a list of texts is needed, not one text; put it in brackets")
    listed = list(texts)
    for index, text in enumerate(listed):
        if not isinstance(text, str):
            raise TypeError(f"texts: number {index + 1} is of type {type(text).__name__}; only str is allowed")
    return listed


def _last_marked(parts: Iterator[list[str]]) -> Iterator[tuple[bool, list[str]]]:
    """Yield each part behind whether it is the last one."""
    part = next(parts)
    for following in parts:
        yield False, part
        part = following
    yield True, part


def joined(parts: Sequence[Predictions]) -> Predictions:
    """Return the predictions of several lists of texts as of one."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    return Predictions(
        label_names=first.label_names,
        labels=np.concatenate([part.labels for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
        positive_probability=(
            None
            if first.positive_probability is None
            else np.concatenate([part.positive_probability for part in parts if part.positive_probability is not None])
        ),
        tokens=np.concatenate([part.tokens for part in parts]),
        cut=np.concatenate([part.cut for part in parts]),
    )
