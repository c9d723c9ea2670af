"""The command that serves models: API and web page."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from distilora.errors import ConfigError, MissingExtraError

_LIBRARIES = ("fastapi", "uvicorn", "httptools", "jinja2", "python_multipart", "prometheus_client")
KEY_VARIABLE = "DISTILORA_API_KEY"
SHORTEST_KEY = 16


def serve(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="EXPERIMENT|BUNDLE", help="Folders; of an experiment, each method's bundle is served."),
    ],
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0: on every address of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="0: a free one.")] = 8000,
    threads: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processor threads that run models; absent: all.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name that people call the server by; may be given again."),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=f"Holds the key that users must have; absent: ${KEY_VARIABLE}, else none."),
    ] = None,
    feedback: Annotated[
        str | None,
        typer.Option(metavar="WHERE", help="SQLite file or postgresql:// address; absent: in the experiment."),
    ] = None,
    no_feedback: Annotated[bool, typer.Option("--no-feedback", help="Keep no feedback.")] = False,
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Such as texts=64; a wrong name is answered with the right ones."),
    ] = None,
    drain_s: Annotated[
        float, typer.Option(min=0, max=600, metavar="SECONDS", help="Goes on answering so long after SIGTERM.")
    ] = 1.0,
    log_texts: Annotated[bool, typer.Option("--log-texts", help="Let the log hold comments.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log no requests.")] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve models: a web page for people, an API for programs."""
    require_serve_extra()
    from distilora.config import validated
    from distilora.machine import usable_processors
    from distilora.serve.server import run_server
    from distilora.serve.settings import ServeSettings

    if feedback and no_feedback:
        raise ConfigError("--feedback and --no-feedback: give one of them")
    limits: dict[str, Any] = dict(map(_limit, limit or ()))
    settings = validated(
        ServeSettings,
        {
            "host": host,
            "port": port,
            "threads": threads or usable_processors(),
            "allowed_hosts": tuple(map(_host_name, allow_host or ())),
            "feedback": None if no_feedback else feedback or _feedback_beside(paths),
            "log_texts": log_texts,
            "drain_s": drain_s,
            "limits": limits,
            "api_key": _api_key(api_key_file),
        },
        where="",
    )
    _log_requests(quiet=quiet)
    run_server(paths, settings, tell=_tell, when_ready=_open_page if open_page else None)


def require_serve_extra() -> None:
    """Raise MissingExtraError unless everything that serving needs is installed."""
    for library in _LIBRARIES:
        if find_spec(library) is None:
            raise MissingExtraError(library.replace("_", "-"), "serve")


def _tell(line: str) -> None:
    print(line, flush=True)


def _limit(assignment: str) -> tuple[str, str]:
    name, equals, value = assignment.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f'--limit "{assignment}": write NAME=VALUE, such as texts=64')
    return name.strip(), value.strip()


def _host_name(name: str) -> str:
    from distilora.serve.protection.hosts import host_name

    plain = name.strip().lower()
    if not host_name(plain):
        raise ConfigError(f'--allow-host "{name}": give a name such as mod.example.org, without scheme and path')
    return plain


def _api_key(file: Path | None) -> str | None:
    """Return the key of a file or, where none is named, of the environment."""
    if file is not None:
        place, key = str(file), file.read_text(encoding="utf-8", errors="replace").strip()
    else:
        place, key = KEY_VARIABLE, os.environ.get(KEY_VARIABLE, "").strip()
        if not key:
            return None
    if len(key) < SHORTEST_KEY or not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError(
            f"{place}: an API key is {SHORTEST_KEY} or more letters, digits and signs of ASCII, without a space; "
            'make one with python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )
    return key


def _feedback_beside(paths: Sequence[Path]) -> str | None:
    """Return where feedback is kept by default, or nothing where it cannot be written."""
    from distilora.serve.server import can_be_written, feedback_beside

    place = feedback_beside(paths)
    if can_be_written(place):
        return str(place)
    if place.parent.is_dir():  # else it is the experiment that is not there, which is told in its own words
        print(f"no feedback is kept: {place.parent} cannot be written; see --feedback", file=sys.stderr)
    return None


def _log_requests(*, quiet: bool) -> None:
    """Log with the time, and every request unless that is not wanted."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING, force=True)
    if not quiet:
        logging.getLogger("distilora.serve").setLevel(logging.INFO)


def _open_page(address: str) -> None:
    import threading
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
