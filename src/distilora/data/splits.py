"""Three disjoint parts of the comments: a pure function of comments and settings, the same on every machine."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from distilora.config import DataSettings
from distilora.data.duplicates import majority_labels, number_groups
from distilora.data.faults import nearest, shown
from distilora.data.records import PARTS, Comments, Part, Splits
from distilora.data.samples import balanced_sample, stratified_sample
from distilora.errors import DataError

Positions = NDArray[np.int64]

HELD_OUT_SHARE = 0.1
"""Share of the rows for validation, and for test, where the data set has no split of its own."""
MIN_DISTINCT_TEXTS = 10
"""Fewest distinct texts of a class that can be split so that a tenth of them is one whole text."""
# Each use of the seed draws from a stream of its own, so that one setting does not change what another one picks.
_SPLIT_STREAM = 0
_SAMPLE_STREAMS: dict[Part, int] = {"train": 1, "validation": 2, "test": 3}

logger = logging.getLogger(__name__)


def split_comments(comments: Comments, settings: DataSettings) -> Splits:
    """Return the three parts, with equal texts (case and white space folded) always in one part.

    The data set's own split is kept where it has one; a part that it lacks is a seeded, stratified tenth of its
    training rows. Otherwise all rows are split 80/10/10, seeded and stratified. Then the sample settings apply.

    Args:
        comments: all usable comments.
        settings: ``split_seed``, ``train_samples``, ``validation_samples``, ``test_samples`` and ``balance`` count.

    Raises:
        DataError: a class is too small to be in each part, or more samples are wanted than there are.
    """
    parts = _all_parts(comments, seed=settings.split_seed)
    _require_every_class(comments, parts)
    sizes: dict[Part, int | None] = {
        "train": settings.train_samples,
        "validation": settings.validation_samples,
        "test": settings.test_samples,
    }
    for part, size in sizes.items():
        parts[part] = _sampled(comments, parts[part], part=part, size=size, settings=settings)
    return Splits(train=parts["train"], validation=parts["validation"], test=parts["test"])


def check_disjoint(comments: Comments, splits: Splits) -> None:
    """Raise DataError, naming a pair of rows, if a row or a text (case and white space folded) is in two parts.

    Args:
        comments: the comments that were split.
        splits: positions of the three parts.
    """
    groups = number_groups(comments.texts)
    first_seen = np.full(len(comments), -1, dtype=np.int64)  # position by group
    first_part = np.full(len(comments), -1, dtype=np.int64)  # index into PARTS by group
    for index, part in enumerate(PARTS):
        positions = splits.part(part)
        own = groups[positions]
        clash = np.flatnonzero(first_part[own] >= 0)
        if len(clash):
            other = int(own[clash[0]])
            rows = comments.row_numbers[[first_seen[other], positions[clash[0]]]]
            raise DataError(
                f"{comments.source}: row {rows[0]} in {PARTS[first_part[other]]} and row {rows[1]} in {part} are the "
                f"same comment; the parts must be disjoint"
            )
        first_seen[own], first_part[own] = positions, index


def repeated_rows(comments: Comments) -> Positions:
    """Return positions of rows whose text the data set's own split has in a later part too, ascending.

    They are left out of the split: a training row that is also in validation or test, a validation row that is also
    in test. Empty where the data set has no split of its own.

    Args:
        comments: all usable comments.
    """
    if comments.parts is None:
        return np.empty(0, dtype=np.int64)
    return _repeated(number_groups(comments.texts), _part_indices(comments.parts))


def too_small_problem(comments: Comments) -> str | None:
    """Return which class has too few distinct texts to be split 80/10/10, or ``None`` if none has.

    Args:
        comments: usable comments; their own split, if any, is not looked at.
    """
    groups = number_groups(comments.texts)
    counts = np.bincount(majority_labels(groups, comments.labels), minlength=len(comments.label_names))
    return _too_small(counts, comments.label_names)


def _too_small(counts: NDArray[np.int64], names: Sequence[str]) -> str | None:
    for count, name in zip(counts.tolist(), names, strict=True):
        if count < MIN_DISTINCT_TEXTS:
            hint = nearest(name, [other for other in names if other != name])
            texts = "1 distinct text" if count == 1 else f"{count} distinct texts"
            return (
                f"class {shown(name)} has {texts}, a split needs {MIN_DISTINCT_TEXTS}{hint or ';'} "
                f"add rows, leave the class out, or join it to another with data.label_names"
            )
    return None


def _all_parts(comments: Comments, *, seed: int) -> dict[Part, Positions]:
    """Return every row by part, before samples are taken."""
    groups = number_groups(comments.texts)
    parts = dict.fromkeys(PARTS, np.empty(0, dtype=np.int64))
    parts["train"] = np.arange(len(comments))
    if comments.parts is not None:
        parts |= _own_parts(comments, groups, own=_part_indices(comments.parts))
    missing: list[Part] = [part for part in PARTS if not len(parts[part])]
    if missing:
        train = parts["train"]
        dealt = _deal(comments, train, groups=groups[train], hands=len(missing), seed=seed)
        parts |= {part: train[dealt == hand] for hand, part in enumerate(missing, start=1)}
        parts["train"] = train[dealt == 0]
    return parts


def _part_indices(parts: Sequence[Part]) -> NDArray[np.int64]:
    index = {part: number for number, part in enumerate(PARTS)}
    return np.fromiter((index[part] for part in parts), np.int64, len(parts))


def _repeated(groups: NDArray[np.int64], own: NDArray[np.int64]) -> Positions:
    last_part = np.zeros(len(groups), dtype=np.int64)
    np.maximum.at(last_part, groups, own)
    return np.flatnonzero(own < last_part[groups])


def _own_parts(comments: Comments, groups: NDArray[np.int64], *, own: NDArray[np.int64]) -> dict[Part, Positions]:
    """Return the data set's own parts, without the rows whose text a later part has too."""
    repeated = _repeated(groups, own)
    if len(repeated):
        logger.info("%s: %d rows left out, their texts are in a later part too", comments.source, len(repeated))
    kept = np.ones(len(own), dtype=bool)
    kept[repeated] = False
    return {part: np.flatnonzero(kept & (own == index)) for index, part in enumerate(PARTS)}


def _deal(
    comments: Comments, rows: Positions, *, groups: NDArray[np.int64], hands: int, seed: int
) -> NDArray[np.int64]:
    """Return 0 for each row that stays and 1, 2, … for those dealt to each hand, a tenth to each, by whole groups.

    Args:
        comments: for labels and names.
        rows: positions to deal, shape (rows,).
        groups: group of each of these rows, shape (rows,).
        hands: how many tenths are dealt, 1 or 2.
        seed: the split seed.
    """
    _, dense = np.unique(groups, return_inverse=True)
    majority = majority_labels(dense, comments.labels[rows])
    problem = _too_small(np.bincount(majority, minlength=len(comments.label_names)), comments.label_names)
    if problem:
        raise DataError(f"{comments.source}: {problem}")
    sizes = np.bincount(dense)
    rng = np.random.Generator(np.random.PCG64([seed, _SPLIT_STREAM]))
    hand_of_group = np.zeros(len(sizes), dtype=np.int64)
    for label in range(len(comments.label_names)):
        members = np.flatnonzero(majority == label)
        members = members[np.argsort(rng.random(len(members)), kind="stable")]
        for hand, taken in enumerate(_tenths(members, sizes[members], hands=hands), start=1):
            hand_of_group[taken] = hand
    return hand_of_group[dense]


def _tenths(members: Positions, sizes: NDArray[np.int64], *, hands: int) -> list[Positions]:
    """Return groups whose sizes add up to a tenth of all, once for each hand, off by at most half a group.

    A group larger than a tenth fits in none and stays, as far as there are others.
    """
    target = HELD_OUT_SHARE * sizes.sum()
    order = np.argsort(sizes > target, kind="stable")  # the large ones last, else in the order they came
    members, filled = members[order], np.cumsum(sizes[order])
    taken, start = [], 0
    for hand in range(1, hands + 1):
        nearest_end = int(np.argmin(np.abs(filled - hand * target))) + 1
        end = min(max(nearest_end, start + 1), len(members) - 1)
        taken.append(members[start:end])
        start = end
    return taken


def _require_every_class(comments: Comments, parts: dict[Part, Positions]) -> None:
    for part, positions in parts.items():
        counts = np.bincount(comments.labels[positions], minlength=len(comments.label_names))
        for name, count in zip(comments.label_names, counts.tolist(), strict=True):
            if count == 0:
                raise DataError(
                    f"{comments.source}: class {shown(name)} has no row in {part}; every part needs every class: "
                    f"add rows, leave the class out, or join it to another with data.label_names"
                )


def _sampled(
    comments: Comments, positions: Positions, *, part: Part, size: int | None, settings: DataSettings
) -> Positions:
    """Return the rows of a part that the sample settings leave."""
    balance = settings.balance and part == "train"
    if size is None and not balance:
        return positions
    rng = np.random.Generator(np.random.PCG64([settings.split_seed, _SAMPLE_STREAMS[part]]))
    sample = balanced_sample if balance else stratified_sample
    try:
        picked = sample(comments.labels[positions], size, rng)
    except ValueError as failure:
        raise DataError(f"{comments.source}: data.{part}_samples = {size}: {failure}") from None
    return positions[picked]
