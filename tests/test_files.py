"""Files are there whole or not at all, and what stops one from being written is told with its name."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from distilora.files import write_whole


@contextmanager
def small_disk() -> Iterator[None]:
    """Let no file grow beyond 1,000 bytes meanwhile: not for longer than a write, for pytest's output may be one."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_where_the_disk_is_full_the_old_file_stays_and_the_error_names_it(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    write_whole(path, "old")
    with pytest.raises(OSError, match="File too large") as caught, small_disk():
        write_whole(path, "new" * 1000)
    assert caught.value.filename == str(path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("costs.json", "old")]


def test_two_who_write_a_shared_file_at_once_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "logits.safetensors"
    sync = os.fsync

    def meanwhile(stream: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        write_whole(path, "the other's", shared=True)
        assert path.read_text() == "the other's"
        sync(stream)

    monkeypatch.setattr(os, "fsync", meanwhile)
    write_whole(path, "one's own", shared=True)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(path.name, "one's own")]


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "costs.json").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_whole(tmp_path / "costs.json", "new")
    assert str(caught.value.filename2) == str(tmp_path / "costs.json")
    assert [file.name for file in tmp_path.iterdir()] == ["costs.json"]
