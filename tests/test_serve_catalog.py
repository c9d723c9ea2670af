"""Which models are served, under which names, in which order, and what happens to those that cannot be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from distilora.bundles.manifest import Scores
from distilora.errors import BundleError
from distilora.serve.catalog import open_catalog
from distilora.serve.problems import Problem
from tiny_bundle import save_tiny_bundle, save_tiny_ensemble


def scores(macro_f1: float) -> tuple[Scores, ...]:
    return tuple(
        Scores(part=part, rows=40, accuracy=0.9, macro_f1=value)
        for part, value in (("test", 1 - macro_f1), ("validation", macro_f1))
    )


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """Return an experiment with bundles of three methods, a baseline without one, and a report."""
    folder = tmp_path / "davidson"
    for seed, (name, macro_f1) in enumerate({"even": 0.8, "odd": 0.9, "teacher": 0.85}.items()):
        save_tiny_bundle(folder / name / "bundle", name=name, seed=seed, bundle_scores=scores(macro_f1))
        (folder / name / "seed-0").mkdir()
    (folder / "majority" / "seed-0").mkdir(parents=True)
    (folder / "experiment.toml").write_text("")
    (folder / "report.html").write_text("<p>report")
    return folder


def test_an_experiment_stands_for_the_bundle_of_every_method_the_best_on_validation_first(experiment: Path) -> None:
    catalog = open_catalog([experiment])

    assert list(catalog.models) == ["odd", "teacher", "even"]
    assert catalog.find(None).name == "odd"
    assert catalog.find("even").bundle.threads == 1
    assert catalog.unavailable == ()
    assert catalog.reports == {"davidson": experiment}


def test_a_bundle_has_the_name_of_its_method_its_size_and_no_report(tmp_path: Path) -> None:
    folder = save_tiny_bundle(tmp_path / "anything", name="odd")

    catalog = open_catalog([folder])

    assert list(catalog.models) == ["odd"]
    needed = ("distilora.json", "model.onnx", "tokenizer.json")
    assert catalog.find("odd").size_bytes == sum((folder / name).stat().st_size for name in needed)
    assert catalog.reports == {}


def test_an_ensembles_size_counts_its_members(tmp_path: Path) -> None:
    members = {name: save_tiny_bundle(tmp_path / name, seed=seed) for seed, name in enumerate(("a", "b"))}
    folder = save_tiny_ensemble(tmp_path / "both", members)

    (model,) = open_catalog([folder]).models.values()

    assert model.name == "ensemble"
    assert model.size_bytes > sum((path / "model.onnx").stat().st_size for path in members.values())


def test_a_model_without_scores_of_its_bundle_is_ranked_by_those_of_its_run_and_without_any_last(
    tmp_path: Path,
) -> None:
    paths = [
        save_tiny_bundle(tmp_path / "none", name="none", bundle_scores=(), scores=()),
        save_tiny_bundle(tmp_path / "run", name="run", bundle_scores=(), scores=scores(0.7)),
        save_tiny_bundle(tmp_path / "own", name="own", bundle_scores=scores(0.6), scores=scores(0.99)),
    ]

    assert list(open_catalog(paths).models) == ["run", "own", "none"]


def test_names_are_unique_and_a_path_given_twice_is_served_once(tmp_path: Path) -> None:
    paths = [save_tiny_bundle(tmp_path / name, name="odd", seed=seed) for seed, name in enumerate(("a", "b", "c"))]

    catalog = open_catalog([*paths, paths[0]])

    assert {name: model.bundle.path.name for name, model in catalog.models.items()} == {
        "odd": "a",
        "odd-2": "b",
        "odd-3": "c",
    }


def test_a_relative_path_is_as_good(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(experiment)

    assert list(open_catalog([Path()]).reports or ()) == ["davidson"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda bundle: (bundle / "model.onnx").write_bytes(b"x"), "model.onnx: is cut short"),
        (lambda bundle: (bundle / "bundle-id").write_text("5" * 64 + "\n"), "distilora.json: is damaged"),
        (lambda bundle: (bundle / "distilora.json").unlink(), "not a bundle: distilora.json is missing"),
        (lambda bundle: (bundle / "tokenizer.json").unlink(), "tokenizer.json: is missing"),
    ],
)
def test_a_broken_bundle_is_told_without_paths_and_the_others_are_served(
    experiment: Path, damage: object, reason: str
) -> None:
    assert callable(damage)
    damage(experiment / "odd" / "bundle")

    catalog = open_catalog([experiment])

    assert list(catalog.models) == ["teacher", "even"]
    (broken,) = catalog.unavailable
    assert broken.name == "odd"
    assert broken.reason.startswith(reason)
    assert str(experiment.parent) not in broken.reason
    assert "\n" not in broken.reason


def test_asking_for_a_model_that_is_not_there_names_the_nearest_and_all(experiment: Path) -> None:
    (experiment / "even" / "bundle" / "model.onnx").write_bytes(b"")
    catalog = open_catalog([experiment])

    with pytest.raises(Problem, match=r'did you mean "teacher"\?; there are odd, teacher') as unknown:
        catalog.find("techer")
    with pytest.raises(Problem, match=r"model even cannot be used: model\.onnx: is cut short") as unavailable:
        catalog.find("even")
    with pytest.raises(Problem) as strange:
        catalog.find("<b>you idiot</b>" * 100_000)

    assert (unknown.value.kind, unavailable.value.kind) == ("not-found", "unavailable")
    assert "idiot" not in strange.value.detail


def test_where_no_bundle_can_be_opened_one_line_says_what_was_looked_for_and_what_to_do(experiment: Path) -> None:
    for name in ("odd", "even", "teacher"):
        (experiment / name / "bundle" / "model.onnx").write_bytes(b"")

    with pytest.raises(
        BundleError, match=r"none of the bundles there can be served: even: .*; distilora export"
    ) as none:
        open_catalog([experiment])

    assert "\n" not in str(none.value)


def test_a_folder_that_holds_bundles_stands_for_them(tmp_path: Path) -> None:
    for seed, name in enumerate(("even", "odd")):
        save_tiny_bundle(tmp_path / "bundles" / name, name=name, seed=seed)
    (tmp_path / "bundles" / "lost+found").mkdir()
    (tmp_path / "bundles" / "notes.txt").write_text("")

    catalog = open_catalog([tmp_path / "bundles"])

    assert sorted(catalog.models) == ["even", "odd"]
    assert catalog.reports == {}


def test_a_path_that_is_no_bundle_and_no_experiment_is_refused_by_name(experiment: Path) -> None:
    for name in ("odd", "even", "teacher"):
        shutil.rmtree(experiment / name / "bundle")
    (experiment.parent / "empty").mkdir()

    with pytest.raises(BundleError, match=r"davidson: an experiment without bundles: .*distilora compare makes them"):
        open_catalog([experiment])
    with pytest.raises(BundleError, match="nowhere: no such folder"):
        open_catalog([experiment.parent / "nowhere"])
    with pytest.raises(BundleError, match="empty: not a bundle"):
        open_catalog([experiment.parent / "empty"])
    with pytest.raises(BundleError, match="nothing to serve: give a bundle's folder"):
        open_catalog([])
