"""Data sets of the Hugging Face hub, through the ``datasets`` library; code of others is never run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distilora.data.faults import first_line, listed
from distilora.data.records import PARTS
from distilora.data.tables import Row, Table
from distilora.errors import DataError, HubError, MissingExtraError

PART_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
"""The part that each usual name of a split means."""
_PART_COLUMN = "(split)"
_ROWS_AT_A_TIME = 1000
_REACH_SECONDS = 5.0


@dataclass(frozen=True)
class HubSource:
    """A data set of the hub, and what is known about it beforehand."""

    repository: str
    config: str | None = None
    revision: str | None = None
    data_files: Mapping[str, str] | None = None
    """File pattern by split; absent: as the repository says."""
    text: str | None = None
    label: str | None = None
    label_names: Mapping[str, str] = field(default_factory=dict)
    positive: tuple[str, ...] = ()


NAMED_SOURCES: Mapping[str, HubSource] = {
    # Davidson et al. (2017), https://arxiv.org/abs/1703.04009
    "davidson": HubSource(
        "tdavidson/hate_speech_offensive",
        text="tweet",
        label="class",
        label_names={"0": "hate speech", "1": "offensive", "2": "neither"},
        positive=("hate speech",),
    ),
    # It has a loading script, which no current version of datasets runs, so its Parquet conversion is read. The files
    # are named because a search for "train" would also find balanced_train, which repeats rows of train.
    "wiki_toxic": HubSource(
        "OxAISH-AL-LLM/wiki_toxic",
        revision="refs/convert/parquet",
        data_files={part: f"*/{part}/*.parquet" for part in PARTS},
        text="comment_text",
        label="label",
        label_names={"0": "not toxic", "1": "toxic"},
        positive=("toxic",),
    ),
    "hate_speech": HubSource(
        "wisnu001binus/Hate_Speech_Dataset",
        text="Content",
        label="Label",
        label_names={"0": "not hateful", "1": "hateful"},
        positive=("hateful",),
    ),
}


def open_hub(hub: HubSource, *, source: str) -> Table:
    """Return a data set of the hub as a table, downloaded where it is not yet stored on this machine.

    Args:
        hub: what to read.
        source: the name for messages.

    Raises:
        MissingExtraError: ``datasets`` is not installed.
        HubError: the hub cannot be reached.
        DataError: the hub has no such data set, or it cannot be read without running its code.
    """
    return tabulate(download(hub, source=source), source=source)


def download(hub: HubSource, *, source: str) -> Mapping[str, Any]:
    """Return the ``datasets.Dataset`` of each split; the only function here that needs the network."""
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("datasets", "train") from None
    _reach(hub, source=source)
    files = dict(hub.data_files) if hub.data_files else None
    try:
        splits = datasets.load_dataset(hub.repository, hub.config, revision=hub.revision, data_files=files)
    except Exception as failure:  # each library below it has exceptions of its own, which change with its version
        raise _told(failure, hub, source=source) from None
    return dict(splits)


def _reach(hub: HubSource, *, source: str) -> None:
    """Ask the hub for the data set once: offline, ``load_dataset`` would try again for half a minute."""
    import huggingface_hub

    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return  # load_dataset then looks only at what is stored, at once
    try:
        huggingface_hub.HfApi().dataset_info(hub.repository, revision=hub.revision, timeout=_REACH_SECONDS)
    except Exception as failure:  # the HTTP library differs between versions of huggingface_hub
        raise _told(failure, hub, source=source) from None


def _told(failure: Exception, hub: HubSource, *, source: str) -> DataError | HubError:
    """Return a failure of the libraries as one line the user can act on."""
    wanted = f"{hub.repository}:{hub.config}" if hub.config else hub.repository
    chain = _causes(failure)
    reason = first_line(chain[-1])
    kind = type(failure).__name__
    if ("NotFound" in kind and not kind.startswith("Local")) or "Gated" in kind:
        return DataError(
            f"{source}: the hub shows no data set {wanted}; check its name, log in if it is private or gated "
            f"(hf auth login), or give the path of a file"
        )
    if "scripts are no longer supported" in reason:
        return DataError(
            f"{source}: {wanted} needs a loading script, which is never run; download its Parquet files from the hub "
            f"and give the path of one"
        )
    if any(_is_network(cause) for cause in chain):
        return HubError(
            f"{source}: data set {wanted} is wanted and the hub cannot be reached ({reason}); download it elsewhere as "
            f"CSV or Parquet and give the file, use --data sample, or set HF_HUB_OFFLINE=1 if it is stored here already"
        )
    listing = " ".join(str(chain[-1]).split())[:300]
    return DataError(
        f"{source}: {wanted} cannot be read: {listing or kind}; a configuration is given as owner/name:config"
    )


def _causes(failure: BaseException) -> list[BaseException]:
    """Return a failure and what caused it, the first cause last."""
    chain = [failure]
    while chain[-1].__cause__ is not None and chain[-1].__cause__ not in chain:
        chain.append(chain[-1].__cause__)
    return chain


def _is_network(failure: BaseException) -> bool:
    ancestry = type(failure).__mro__
    libraries = {kind.__module__.partition(".")[0] for kind in ancestry}
    local = type(failure).__name__ == "LocalEntryNotFoundError"  # what is left when the hub did not answer
    by_library = bool(libraries & {"httpx", "httpx2", "httpcore", "requests", "urllib3"})
    return local or by_library or isinstance(failure, ConnectionError | TimeoutError)


def tabulate(splits: Mapping[str, Any], *, source: str) -> Table:
    """Return splits as one table: train, validation and test one after the other.

    Args:
        splits: ``datasets.Dataset`` by name of the split, such as a ``DatasetDict``.
        source: the name for messages.

    Raises:
        DataError: there are several splits and none is for training.
    """
    parts = _parts(splits, source=source)
    left_out = [name for name in splits if name not in parts.values()]
    first = splits[next(iter(parts.values()))]
    names = {
        column: tuple(feature.names)
        for column, feature in first.features.items()
        if type(feature).__name__ == "ClassLabel" and feature.names
    }

    def rows(columns: Sequence[str]) -> Iterator[Row]:
        for part, name in parts.items():
            yield from _rows(splits[name], columns, part=part, single=len(parts) == 1)

    return Table(
        source,
        tuple(first.column_names),
        rows,
        class_names=names,
        part_column=_PART_COLUMN if len(parts) > 1 else None,
        notes=(f"splits left out: {listed(left_out)}",) if left_out else (),
    )


def _parts(splits: Mapping[str, Any], *, source: str) -> dict[str, str]:
    """Return the name of the split for each part, in the order of the parts."""
    found = {PART_NAMES[name.casefold()]: name for name in splits if name.casefold() in PART_NAMES}
    if "train" in found:
        return {part: found[part] for part in PARTS if part in found}
    if len(splits) == 1:
        return {"train": next(iter(splits))}
    raise DataError(
        f"{source}: none of its splits is for training: {listed(list(splits))}; "
        f"download the one you want as CSV or Parquet and give the file"
    )


def _rows(split: Any, columns: Sequence[str], *, part: str, single: bool) -> Iterator[Row]:
    stored = [column for column in dict.fromkeys(columns) if column != _PART_COLUMN]
    number = 0
    for batch in split.select_columns(stored).iter(_ROWS_AT_A_TIME):
        for values in zip(*(batch[column] for column in stored), strict=True):
            number += 1
            cell = dict(zip(stored, values, strict=True))
            asked = tuple(part if column == _PART_COLUMN else cell[column] for column in columns)
            yield Row(asked, None, "" if single else f"row {number} of {part}")
