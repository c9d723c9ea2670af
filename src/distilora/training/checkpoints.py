"""Checkpoints that a broken-off training goes on from: private, and sealed with the hash of every file.

Parts of them are pickled by ``transformers.Trainer``, so only what this user's own training has written is opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from distilora.errors import RunError
from distilora.files import write_whole
from distilora.training.processes import wait_for_all

STATE_FILE = "trainer_state.json"
SEAL_FILE = "sha256.json"
_OWNER_ONLY = 0o700


def private_folder(folder: Path) -> Path:
    """Return the folder, made if absent, which from now on no one but its owner can open.

    Raises:
        RunError: it belongs to somebody else.
    """
    folder.mkdir(mode=_OWNER_ONLY, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise RunError(f"{folder}: belongs to another user, and checkpoints of others are not opened; take it away")
    folder.chmod(_OWNER_ONLY)
    return folder


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint whose seal, and that of the best one so far, fits; nothing where there is none."""
    steps = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    for path in steps:
        best = (read_state(path) or {}).get("best_model_checkpoint")
        if best is not None and all(is_sealed(checkpoint) for checkpoint in {path, Path(best)}):
            return path
    return None


def read_state(checkpoint: Path) -> dict[str, Any] | None:
    """Return the trainer's state in a checkpoint, or nothing where it cannot be read."""
    try:
        state: dict[str, Any] = json.loads((checkpoint / STATE_FILE).read_text())
    except (OSError, ValueError):
        return None
    return state


def is_sealed(checkpoint: Path) -> bool:
    """Return whether a checkpoint has the files that it was sealed with, each with its hash, and no other."""
    try:
        sealed = json.loads((checkpoint / SEAL_FILE).read_text())
    except (OSError, ValueError):
        return False
    return bool(sealed == _hashes(checkpoint))


def seal(checkpoint: Path) -> None:
    """Write the hash of each file of a complete checkpoint beside them."""
    write_whole(checkpoint / SEAL_FILE, json.dumps(_hashes(checkpoint), indent=1) + "\n")


def _hashes(checkpoint: Path) -> dict[str, str]:
    """Return the SHA-256 of each file by its name, the seal's own left out."""
    hashes = {}
    for path in sorted(checkpoint.rglob("*")):
        if path.is_file() and path.name != SEAL_FILE:
            with path.open("rb") as stream:
                hashes[path.relative_to(checkpoint).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
    return hashes


class CheckpointSeal(TrainerCallback):  # type: ignore[misc]
    """Seals each checkpoint once its last file is written, on every process; then all but it and the best one go.

    So at every moment there is a sealed one to go on from. ``transformers.Trainer`` itself would delete old ones before
    the new one is sealed: leave its ``save_total_limit`` absent.
    """

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Seal the checkpoint of this step, and delete those that are no longer needed."""
        wait_for_all()  # each process writes the state of its own random numbers
        if state.is_world_process_zero:
            newest = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            seal(newest)
            _delete_others(newest, best=state.best_model_checkpoint)


def _delete_others(newest: Path, *, best: str | None) -> None:
    kept = {newest.name, *([] if best is None else [Path(best).name])}
    for path in newest.parent.glob("checkpoint-*"):
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)
