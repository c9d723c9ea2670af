"""What every run says of test texts in which words are disguised or mistyped: answered once, kept beside the run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from distilora.analysis.opening import open_model, require_same_data, shared_training
from distilora.data.samples import stratified_sample
from distilora.data.tokens import EncodedTexts, chosen_texts, encode_texts
from distilora.errors import ModelError, RunError
from distilora.evaluation.averaging import log_mean_probabilities
from distilora.evaluation.kept import measured_anew
from distilora.evaluation.robustness.answers import NoisyAnswers, read_answers, write_answers
from distilora.evaluation.robustness.noise import NOISES, noisy
from distilora.evaluation.temperature import fit_temperature
from distilora.experiment.materials import Materials
from distilora.models.inference import compute_logits
from distilora.progress import Progress
from distilora.runs import RunRecord, read_logits, run_sha256
from distilora.training.arguments import uses_bf16
from distilora.training.threads import torch_threads

_CLEAN = "clean"
logger = logging.getLogger(__name__)
Positions = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Distinct:
    """Texts in several versions, those with the same token ids only once."""

    texts: EncodedTexts
    """The different ones, in the order in which they first occur."""
    places: Mapping[str, Positions]
    """By version, where each of its texts stands among the different ones, shape (rows,)."""


def measure_noise(
    records: Sequence[RunRecord],
    materials: Materials,
    *,
    rows: int,
    seed: int = 0,
    tell: Callable[[str], None] = logger.info,
) -> None:
    """Let every sound run with a model answer test texts without and with each kind of noise.

    An ensemble, which has no model of its own, says the mean of what its members say, calibrated as in its run.

    Each run's answers are kept in its ``noise.safetensors`` as soon as they are there, so a measuring that is broken
    off goes on with the next run. What is kept stays where it is of the same run, rows and seed. All are
    answered in the precision of training, those without noise too: what differs is the noise.

    Args:
        records: the experiment's runs; baselines and void ones are left out.
        materials: of the same experiment.
        rows: test rows that are answered, at most, but one of each class; a stratified sample, the same for all runs.
        seed: of the sample and of the noise, from 0.
        tell: takes one line on what is done, and on a run that is left out, as its model cannot be opened.

    Raises:
        RunError: a run is of other data than the materials.
    """
    positions = test_positions(materials.labels["test"], rows, seed=seed)
    wanted = [run for run in records if run.result.kind != "baseline" and run.result.void is None]
    missing = [run for run in wanted if not _is_kept(run, positions, seed, tell=tell)]
    for run in missing:
        require_same_data(run, materials)
    trained = [run for run in missing if run.result.kind != "ensemble"]
    if trained:
        _ask(trained, materials, positions, seed=seed, tell=tell)
    for run in missing:
        if run.result.kind == "ensemble":
            _average(run, wanted, positions, seed=seed, tell=tell)


def _ask(
    runs: Sequence[RunRecord], materials: Materials, positions: Positions, *, seed: int, tell: Callable[[str], None]
) -> None:
    """Keep what the model of each run says of the texts at these positions, with and without noise."""
    tell(f"noise: {len(runs)} models answer {len(positions):,} test texts, {len(NOISES)} kinds of noise")
    training = shared_training(materials)
    texts = noisy_texts(materials, positions, seed=seed)
    progress = Progress(total=len(runs), tell=tell)
    with torch_threads(training.threads):
        for run in runs:
            try:
                found = answers(run, materials, texts, bf16=uses_bf16(training))
            except ModelError as error:
                tell(f"noise: {_name(run)} is left out: {error}")
                continue
            _keep(run, found, positions, seed=seed)
            progress.tell_of(f"noise in {len(positions):,} test texts, {_name(run)}")


def _average(
    run: RunRecord, others: Sequence[RunRecord], positions: Positions, *, seed: int, tell: Callable[[str], None]
) -> None:
    """Keep the mean of what an ensemble's members say of the texts at these positions, each at its temperature."""
    of_seed = {one.result.method: one for one in others if one.result.seed == run.result.seed}
    known, heats = [], []
    for name in run.result.members:
        member = of_seed.get(name)
        found = read_answers(member.folder) if member and _is_kept(member, positions, seed, tell=tell) else None
        if member is None or found is None:
            tell(f"noise: {_name(run)} is left out: its member {name} was not asked")
            return
        stored = read_logits(member.folder)
        heats.append(fit_temperature(stored["validation"], stored["validation_labels"]))
        known.append({_CLEAN: found.clean, **found.noisy})
    versions = {
        version: log_mean_probabilities([one[version] for one in known], temperatures=heats) for version in known[0]
    }
    _keep(run, versions, positions, seed=seed)


def _keep(run: RunRecord, found: Mapping[str, NDArray[np.float32]], positions: Positions, *, seed: int) -> None:
    noisy_answers = {kind: found[kind] for kind in NOISES}
    write_answers(run.folder, NoisyAnswers(run_sha256(run.folder), seed, positions, found[_CLEAN], noisy_answers))


def _name(run: RunRecord) -> str:
    return f"{run.result.method} seed {run.result.seed}"


def test_positions(labels: NDArray[np.int64], rows: int, *, seed: int) -> Positions:
    """Return which test rows are answered: a stratified sample, ascending, of each class at least one."""
    size = min(len(labels), max(rows, len(np.unique(labels))))
    return stratified_sample(labels, size, np.random.default_rng(seed))


def noisy_texts(materials: Materials, positions: Positions, *, seed: int) -> Distinct:
    """Return the chosen test texts without and with each kind of noise, as token ids of the experiment's encoder.

    Where a tokenizer undoes a noise, as one without capital letters does, its texts are those without noise.
    """
    words = materials.words("test")
    chosen = [words[position] for position in positions]
    longest = materials.settings.encoder.max_length
    versions = {_CLEAN: chosen_texts(materials.texts["test"], positions)}
    for kind in NOISES:
        versions[kind] = encode_texts(noisy(chosen, kind, seed=seed), materials.tokenizer, max_length=longest)
    return distinct_texts(versions)


def distinct_texts(versions: Mapping[str, EncodedTexts]) -> Distinct:
    """Return texts in several versions with those that have the same ids only once.

    Args:
        versions: by name, at least one, all of the same tokenizer.

    Example:
        >>> one = EncodedTexts(np.array([5, 6, 5]), np.array([0, 2, 3]), pad_id=0)
        >>> other = EncodedTexts(np.array([5, 7]), np.array([0, 1, 2]), pad_id=0)
        >>> found = distinct_texts({"one": one, "other": other})
        >>> found.texts.ids.tolist(), found.places["other"].tolist()
        ([5, 6, 5, 7], [1, 2])
    """
    seen: dict[bytes, int] = {}
    places = {
        name: np.array([seen.setdefault(ids, len(seen)) for ids in _each(texts)], dtype=np.int64)
        for name, texts in versions.items()
    }
    pieces = [np.frombuffer(ids, dtype=np.int64) for ids in seen]
    starts = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64)
    return Distinct(EncodedTexts(np.concatenate(pieces), starts, next(iter(versions.values())).pad_id), places)


def answers(run: RunRecord, materials: Materials, texts: Distinct, *, bf16: bool) -> dict[str, NDArray[np.float32]]:
    """Return what a run's model says of every version of the texts, before softmax; each of shape (rows, classes).

    Raises:
        ModelError: its model cannot be opened.
    """
    logits = compute_logits(open_model(run, materials), texts.texts, bf16=bf16)
    return {version: logits[places] for version, places in texts.places.items()}


def _each(texts: EncodedTexts) -> list[bytes]:
    return [texts.ids[start:stop].tobytes() for start, stop in pairwise(texts.starts)]


def _is_kept(run: RunRecord, positions: Positions, seed: int, *, tell: Callable[[str], None]) -> bool:
    """Return whether this very run has answered the very same texts."""
    try:
        kept = read_answers(run.folder)
    except RunError as damaged:
        tell(measured_anew(damaged))
        return False
    return (
        kept is not None
        and (kept.run_sha256, kept.seed) == (run_sha256(run.folder), seed)
        and np.array_equal(kept.positions, positions)
        and list(kept.noisy) == list(NOISES)
    )
