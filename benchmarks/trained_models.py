"""A teacher and its odd student on the caller's comments, for benchmarks of how fast they answer."""

from __future__ import annotations

from pathlib import Path

import distilora

MODELS = Path("build/serving")
_TRAINING_ROWS = {"train_samples": 4000, "validation_samples": 1000, "test_samples": 1000}


def trained(experiment: Path, *, data: Path, text: str, label: str) -> Path:
    """Return the folder of the experiment, which is trained and exported first where it is not there yet.

    Quickly, for how fast a model is does not depend on how well it was trained.

    Args:
        experiment: its folder.
        data: file of comments.
        text: its column of texts.
        label: its column of labels.
    """
    if not (experiment / "odd" / "bundle").is_dir():
        settings = distilora.read_experiment(
            changes={
                "data": {"source": str(data), "text": text, "label": label, **_TRAINING_ROWS},
                "run": ("teacher", "odd"),
                "evidence": {"costs": False, "noise_rows": 0, "layers": False},
            }
        )
        distilora.compare(settings, experiment, tell=say)
    return experiment


def say(line: str) -> None:
    """Print a line of progress at once."""
    print(line, flush=True)
