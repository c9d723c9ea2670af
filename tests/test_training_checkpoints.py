"""Checkpoints are private, and only whole ones of this training are opened."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from distilora.errors import RunError
from distilora.training import checkpoints
from distilora.training.checkpoints import SEAL_FILE, STATE_FILE, is_sealed, last_checkpoint, private_folder, seal
from distilora.training.loop import train_model
from tiny import save_tiny_encoder
from training_cases import SETTINGS, classifier, scores, task


def checkpoint(folder: Path, step: int, *, best: int) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / STATE_FILE).write_text(json.dumps({"best_model_checkpoint": str(folder / f"checkpoint-{best}")}))
    (path / "model.safetensors").write_bytes(b"weights")
    (path / "optimizer.pt").write_bytes(b"moments")
    seal(path)
    return path


def test_the_newest_sealed_checkpoint_is_the_one_to_go_on_from(tmp_path):
    checkpoint(tmp_path, 20, best=20)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-20"
    newest = checkpoint(tmp_path, 100, best=20)
    assert last_checkpoint(tmp_path) == newest


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", STATE_FILE, SEAL_FILE])
def test_a_checkpoint_of_which_one_byte_differs_is_not_opened(tmp_path, name):
    good = checkpoint(tmp_path, 20, best=20)
    bad = checkpoint(tmp_path, 40, best=20)
    content = bytearray((bad / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bad / name).write_bytes(content)
    assert last_checkpoint(tmp_path) == good


def test_neither_is_one_with_a_file_more_or_a_file_less_or_no_seal(tmp_path):
    more, less, bare = (checkpoint(tmp_path, step, best=step) for step in (20, 40, 60))
    (more / "scheduler.pt").write_bytes(b"from elsewhere")
    (less / "optimizer.pt").unlink()
    (bare / SEAL_FILE).unlink()
    assert not any(map(is_sealed, (more, less, bare)))
    assert last_checkpoint(tmp_path) is None


def test_nor_one_whose_best_epoch_is_spoilt(tmp_path):
    best = checkpoint(tmp_path, 20, best=20)
    checkpoint(tmp_path, 40, best=20)
    (best / "model.safetensors").write_bytes(b"others")
    assert last_checkpoint(tmp_path) is None


def test_no_one_else_can_look_into_the_folder(tmp_path):
    (tmp_path / "open").mkdir(mode=0o755)
    for folder in (tmp_path / "open", tmp_path / "new" / "inner"):
        assert private_folder(folder).stat().st_mode & 0o777 == 0o700


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(RunError, match="belongs to another user"):
        private_folder(tmp_path)


def test_older_checkpoints_stay_until_the_next_is_sealed_then_the_newest_and_the_best_are_left(tmp_path, monkeypatch):
    told = iter([0.5, 0.9, 0.8, 0.7])
    there = []

    def watched(newest):
        there.append(steps_in(newest.parent))
        seal(newest)

    monkeypatch.setattr(checkpoints, "seal", watched)
    model = classifier(save_tiny_encoder(tmp_path / "encoder"))
    work = task(tmp_path / "kept", SETTINGS.model_copy(update={"epochs": 4}))
    train_model(model, work, scores=lambda *_: {"macro_f1": next(told)})
    assert there == [[7], [7, 14], [14, 21], [14, 21, 28]]
    assert steps_in(tmp_path / "kept") == [14, 28]


def steps_in(folder: Path) -> list[int]:
    return sorted(int(path.name.partition("-")[2]) for path in folder.glob("checkpoint-*"))


def test_every_checkpoint_of_a_training_is_sealed(tmp_path):
    model = classifier(save_tiny_encoder(tmp_path / "encoder"))
    train_model(model, task(tmp_path / "kept", SETTINGS), scores=scores)
    made = list((tmp_path / "kept").glob("checkpoint-*"))
    assert made
    assert all(map(is_sealed, made))
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700
