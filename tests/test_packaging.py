"""What is installed, pinned and shipped, and the experiments that come with the sources."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from distilora import __all__ as public
from distilora.config import read_experiment

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.toml"))
HUB_EXPERIMENTS = ("davidson", "wiki_toxic", "hate_speech")


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


def _requirements() -> list[Requirement]:
    project = _project()
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    return [Requirement(line) for line in lines]


def _pins() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def test_every_dependency_is_pinned_to_a_version_that_its_range_allows() -> None:
    pinned = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in _pins()}
    for requirement in _requirements():
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


def test_every_pin_is_one_public_version_and_stands_once() -> None:
    pins = _pins()
    assert len({canonicalize_name(pin.name) for pin in pins}) == len(pins)
    for pin in pins:
        (only,) = pin.specifier
        # A local version such as 2.13.0+cpu exists on some indexes alone; a URL or path on some machines.
        assert (only.operator, "+" in only.version, pin.url) == ("==", False, None), pin


def test_an_error_about_a_missing_library_names_an_extra_that_brings_it() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    named = set(re.findall(r'raise MissingExtraError\("([^"]+)", "([^"]+)"\)', sources))
    assert len(named) >= 3
    extras = _project()["optional-dependencies"]
    for library, extra in named:
        assert library in [Requirement(line).name for line in extras[extra]], (library, extra)


def test_the_public_surface_can_be_imported() -> None:
    import distilora

    assert all(getattr(distilora, name) is not None for name in public)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_that_is_shipped_is_read_without_complaint(path: Path) -> None:
    assert read_experiment(path).method_names[0] == "teacher"


def test_the_demo_runs_the_four_methods_on_what_comes_with_distilora() -> None:
    demo = read_experiment(ROOT / "experiments" / "sample.toml")
    assert (demo.data.source, demo.encoder.name) == ("sample", "minilm")
    assert demo.method_names == ("teacher", "odd", "even", "lora")
    assert demo.seeds == (0,)


@pytest.mark.parametrize("name", HUB_EXPERIMENTS)
def test_a_hub_experiment_trains_bert_base_as_the_earlier_projects_did(name: str) -> None:
    settings = read_experiment(ROOT / "experiments" / f"{name}.toml")
    assert settings.data.source == name
    assert (settings.encoder.name, settings.encoder.max_length) == ("bert-base-uncased", 128)
    teacher = settings.method("teacher").training
    assert teacher.epochs == 3
    # Devlin et al. (2019), appendix A.3: 5e-5, 3e-5 or 2e-5.
    assert teacher.learning_rate is not None
    assert 2e-5 <= teacher.learning_rate <= 5e-5


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        # A data set without a split of its own has a tenth for validation and for test: less than the published 3.7k.
        ("davidson", (17_000, None, None)),
        ("wiki_toxic", (50_000, 1_000, 1_000)),
        ("hate_speech", (10_000, 1_000, 1_000)),
    ],
)
def test_a_hub_experiment_has_the_published_sizes(name: str, sizes: tuple[int | None, ...]) -> None:
    data = read_experiment(ROOT / "experiments" / f"{name}.toml").data
    assert (data.train_samples, data.validation_samples, data.test_samples) == sizes
