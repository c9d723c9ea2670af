"""The models that are served: bundles, or every method of an experiment."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import NamedTuple

from distilora.bundles.bundle import Bundle, open_bundle
from distilora.bundles.manifest import Manifest
from distilora.bundles.storage import is_bundle, read_manifest, shipped_bytes
from distilora.data.faults import listed, nearest, printable
from distilora.errors import BundleError
from distilora.layout import BUNDLE_FOLDER, EXPERIMENT_FILE, REPORT_FILE
from distilora.machine import usable_processors
from distilora.serve.problems import Problem

_MOST_OPENERS = 4
"""Each holds the bytes of a model twice while it opens it."""
_LONGEST_NAME = 64
"""Whatever a client calls a model, it is compared quickly."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ServedModel:
    """One opened bundle under its name."""

    name: str
    """Unique among those that are served; the method's name, or the folder's."""
    bundle: Bundle
    size_bytes: int
    """Of the files that are needed to answer."""


@dataclass(frozen=True)
class Unavailable:
    """A bundle that could not be opened."""

    name: str
    reason: str
    """One line, without paths of this machine, for it is shown to clients."""


@dataclass(frozen=True, eq=False)
class Catalog:
    """Everything that is served."""

    models: Mapping[str, ServedModel]
    """By name, the best on validation first."""
    unavailable: tuple[Unavailable, ...] = ()
    reports: Mapping[str, Path] | None = None
    """Folder of each experiment that was given and has a report, by the folder's name."""

    def find(self, name: str | None) -> ServedModel:
        """Return the model of this name; absent: the default, which is the first.

        Raises:
            Problem: ``not-found`` where no model is called that, ``unavailable`` where it could not be opened.
        """
        if name is None:
            return next(iter(self.models.values()))
        if name in self.models:
            return self.models[name]
        for model in self.unavailable:
            if model.name == name:
                raise Problem("unavailable", f"model {model.name} cannot be used: {model.reason}")
        names = list(self.models)
        hint = nearest(name[:_LONGEST_NAME], names)
        raise Problem("not-found", f"no model is called that{hint}; there are {listed(names)}")


class _Found(NamedTuple):
    """A bundle that is to be opened."""

    name: str
    folder: Path


def open_catalog(paths: Sequence[Path]) -> Catalog:
    """Return the bundles at these paths, opened; experiments stand for the bundle of every method.

    A bundle that cannot be opened is told in the log and in ``unavailable``; the others are served.

    Args:
        paths: each a bundle's folder, an experiment's with bundles in ``METHOD/bundle``, or one that holds bundles.

    Raises:
        BundleError: a path is neither, or no bundle can be opened.
    """
    folders = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100 - resolve() would follow a link
    found = _named(dict.fromkeys(bundle for folder in folders for bundle in _bundles_at(folder)))
    with ThreadPoolExecutor(min(_MOST_OPENERS, usable_processors()), thread_name_prefix="distilora-open") as openers:
        opened = list(openers.map(_opened, found))
    unavailable = tuple(model for model in opened if isinstance(model, Unavailable))
    models = sorted((model for model in opened if isinstance(model, ServedModel)), key=_rank)
    if not models:
        raise BundleError(_nothing(folders, unavailable))
    return Catalog(
        models={model.name: model for model in models},
        unavailable=unavailable,
        reports=_reports(folder for folder in folders if not is_bundle(folder)),
    )


def _bundles_at(folder: Path) -> list[Path]:
    """Return the folders of the bundles that a path stands for.

    Raises:
        BundleError: it is neither a bundle nor a folder with bundles.
    """
    if not folder.is_dir():
        is_what = "a file" if folder.exists() else "no such folder"
        raise BundleError(f"{folder}: {is_what}; give a bundle's folder or an experiment's")
    if is_bundle(folder):
        return [folder]
    # A bundle that lost its manifest is still one that was to be served.
    found = sorted(path for path in folder.glob(f"*/{BUNDLE_FOLDER}") if path.is_dir())
    found = found or sorted(path for path in folder.iterdir() if os.access(path, os.X_OK) and is_bundle(path))
    if found:
        return found
    if (folder / EXPERIMENT_FILE).is_file():
        raise BundleError(
            f"{folder}: an experiment without bundles: looked for METHOD/{BUNDLE_FOLDER}; "
            "distilora compare makes them, and distilora export RUN OUT makes one"
        )
    read_manifest(folder)  # raises, and says what it is instead
    raise BundleError(f"{folder}: neither a bundle nor an experiment")


def _named(folders: Iterable[Path]) -> list[_Found]:
    """Return bundles under names that are unique: the later ones of a name are ``NAME-2``, ``NAME-3`` and so on."""
    found: dict[str, _Found] = {}
    for folder in folders:
        own = _own_name(folder)
        name = next(name for name in _numbered(own) if name not in found)
        found[name] = _Found(name, folder)
    return list(found.values())


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}-{number}" for number in count(2))


def _own_name(folder: Path) -> str:
    if folder.name == BUNDLE_FOLDER:
        return printable(folder.parent.name)
    try:
        return read_manifest(folder).name
    except BundleError:  # told when it is opened
        return printable(folder.name)


def _opened(found: _Found) -> ServedModel | Unavailable:
    """Return the bundle, opened, or why it cannot be; never raises, or one bundle would keep the others away."""
    try:
        # The batcher's threads each run a batch of their own.
        bundle = open_bundle(found.folder, threads=1)
        return ServedModel(name=found.name, bundle=bundle, size_bytes=shipped_bytes(found.folder))
    except BundleError as error:
        logger.warning("%s cannot be served: %s", found.name, error)
        return Unavailable(name=found.name, reason=_without_folder(str(error), found.folder))
    except Exception as error:
        logger.exception("%s cannot be served", found.name)
        return Unavailable(name=found.name, reason=f"cannot be opened: {type(error).__name__}")


def _without_folder(message: str, folder: Path) -> str:
    """Return an error's text without where the bundle is."""
    return message.replace(f"{folder}: ", "").replace(f"{folder}{os.sep}", "").replace(str(folder), folder.name)


def _rank(model: ServedModel) -> tuple[float, int]:
    """Return what sorts models from best to worst: macro-F1 on validation, then size."""
    return -validation_macro_f1(model.bundle.manifest), model.size_bytes


def validation_macro_f1(manifest: Manifest) -> float:
    """Return the bundle's own macro-F1 on validation, else that of the model it was made of, else -1."""
    for scores in (manifest.bundle_scores, manifest.scores):
        for score in scores:
            if score.part == "validation":
                return score.macro_f1
    return -1.0


def _reports(experiments: Iterable[Path]) -> dict[str, Path]:
    """Return the folder of each experiment that has a report, under names that are unique."""
    reports: dict[str, Path] = {}
    for folder in dict.fromkeys(experiments):
        if (folder / REPORT_FILE).is_file():
            name = next(name for name in _numbered(printable(folder.name)) if name not in reports)
            reports[name] = folder
    return reports


def _nothing(folders: Sequence[Path], unavailable: Sequence[Unavailable]) -> str:
    """Return why there is nothing to serve, in one line."""
    if not folders:
        return "nothing to serve: give a bundle's folder or an experiment's; distilora compare makes one"
    where = listed([str(folder) for folder in folders])
    reasons = "; ".join(f"{model.name}: {model.reason}" for model in unavailable)
    return f"{where}: none of the bundles there can be served: {reasons}; distilora export RUN OUT makes a new one"
