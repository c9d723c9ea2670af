"""Ray, started for one command and gone after it, or joined where it runs already."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from distilora.data.faults import first_line, printable
from distilora.errors import MissingExtraError, WorkerError

STORE_BYTES = 128 * 2**20
"""What Ray may share between processes by memory; its own least is 75 MiB."""
_PREFIX = "distilora-ray-"
_LONGEST_FOLDER = 36
"""Of the names of sockets in it the system takes 107 characters."""

_LINE_OF_RAY = re.compile(rb"\[\d{4}-\d\d-\d\d [\d:,]+ [A-Z] \d+ \d+\] ")
_STDERR = 2


def require_ray() -> None:
    """Raise MissingExtraError unless Ray is installed; it is not yet imported."""
    from importlib.util import find_spec

    if find_spec("ray") is None:
        raise MissingExtraError("ray", "ray")


@contextmanager
def ray_session(*, address: str | None, processors: int | None, store_bytes: int = STORE_BYTES) -> Iterator[Any]:
    """Yield the module ``ray``, connected; at the end what was started here is stopped and leaves nothing.

    Where this process is connected already, that connection is used and stays.

    Ray that is started here listens on the loopback address alone, tells nobody of its use, has no dashboard, writes no
    line to the terminal, and keeps its files in a folder that goes with it. (After ``kill -9`` the next session takes
    that folder away.) SIGTERM ends what is done within as an exception does, with exit code 143.

    Args:
        address: of a running Ray, such as ``10.0.0.7:6379``; absent: one is started on this machine.
        processors: how many it may use; absent: all. Only for one that is started.
        store_bytes: what its processes may share by memory. Only for one that is started.

    Raises:
        MissingExtraError: Ray is not installed.
        WorkerError: none answers at the address, or it cannot be started.
    """
    require_ray()
    _quiet(starts=address is None)
    import ray

    if ray.is_initialized():
        yield ray
        return
    folder = None if address else _folder()
    before = signal.getsignal(signal.SIGTERM)
    ends = list[int]()

    def leave(signal_number: int, _: FrameType | None) -> NoReturn:
        ends.append(signal_number)
        sys.exit()

    try:
        _connect(ray, address=address, processors=processors, store_bytes=store_bytes, folder=folder)
        _on_sigterm(leave)  # Ray has put a handler of its own there, which writes a stack and aborts
        yield ray
    except SystemExit:
        if ends:  # said only here: where Ray is waited for, it makes exit code 1 of any other
            sys.exit(128 + ends[0])
        raise
    finally:
        with _without_lines_of_ray():
            ray.shutdown()
        _on_sigterm(before or signal.SIG_DFL)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _on_sigterm(handler: Any) -> None:
    if threading.current_thread() is threading.main_thread():  # the others may set none
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def _without_lines_of_ray() -> Iterator[None]:
    """Leave out of standard error what Ray's C++ says of tasks that end with it; all else comes when this ends.

    Ray has no setting for it: told to be silent (``RAY_BACKEND_LOG_LEVEL``), it writes a line about having been told.
    """
    with ExitStack() as opened:
        try:
            said = opened.enter_context(tempfile.TemporaryFile())
            terminal = os.dup(_STDERR)
        except OSError:  # there is no room for a file, or standard error is closed
            yield
            return
        os.dup2(said.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(terminal, _STDERR)
            os.close(terminal)
            said.seek(0)
            with suppress(OSError):  # nobody reads it any more
                for line in said:
                    if not _LINE_OF_RAY.match(line):
                        os.write(_STDERR, line)


def begin_at(home: str) -> None:
    """Let this process, one of Ray's, find paths where the command finds them, if its folder is on this machine too."""
    if Path(home).is_dir():
        os.chdir(home)


def ray_says(failure: BaseException) -> str:
    """Return in one line why one of Ray's errors came: the worker's own error, where there was one.

    Ray's text begins with where that error came from, and shows the way it took.
    """
    cause = getattr(failure, "cause", None)
    if isinstance(cause, Exception):
        return f"{type(cause).__name__}: {first_line(cause)}"
    if getattr(failure, "actor_init_failed", False):
        return printable(str(failure).strip().splitlines()[-1])
    return first_line(failure)


def _quiet(*, starts: bool) -> None:
    # Ray reads these when it is imported.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if starts:
        # Made for firewalls of macOS and Windows; on Linux too it is what keeps every port on the loopback address.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        # Ray's workers would give way to every other process; they are what the user waits for.
        os.environ.setdefault("RAY_worker_niceness", "0")
    logging.getLogger("ray").setLevel(logging.ERROR)


def _connect(ray: Any, *, address: str | None, processors: int | None, store_bytes: int, folder: Path | None) -> None:
    about = {"log_to_driver": False, "logging_level": "error"}
    if folder is None:
        started: dict[str, Any] = {"address": address}
    else:
        started = {
            # Without a name it would join any Ray that RAY_ADDRESS or a file of this machine names.
            "address": "local",
            "num_cpus": processors,
            "include_dashboard": False,
            "object_store_memory": store_bytes,
            "_temp_dir": str(folder),
        }
    try:
        ray.init(**started, **about)
    except Exception as failure:  # Ray's errors here have no common parent
        where = f"--ray-address {address}" if address else "Ray on this machine"
        raise WorkerError(f"{where}: cannot be used: {first_line(failure)}") from None


def _folder() -> Path:
    """Return a new folder whose name says which process it belongs to; those of processes that are gone go."""
    base = tempfile.gettempdir()
    if len(base) + len(_PREFIX) > _LONGEST_FOLDER - len("1234567-12345678"):
        base = "/tmp"  # noqa: S108 - a name of our own in it, made by mkdtemp
    for old in Path(base).glob(f"{_PREFIX}*-*"):
        pid = old.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not _runs(int(pid)):
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
