"""The command line: parse, call, print. Whatever is heavy is imported inside the command that needs it."""

from __future__ import annotations

import sys
from typing import NoReturn

from distilora.errors import DistiloraError

EXIT_USER_ERROR = 2


def main() -> None:
    """Run the command line; what the user can mend is one line on standard error and exit code 2."""
    if sys.argv[1:] == ["--version"]:  # typer loads pydantic to read any option: half the time of this answer
        print_version()
        sys.exit()
    from distilora.cli.app import app

    try:
        app()
    except DistiloraError as error:
        if error.is_echo:  # another of several processes says it
            sys.exit(EXIT_USER_ERROR)
        _fail(str(error))
    except OSError as error:
        name = error.filename2 or error.filename  # of a file that could not be put in its place, the place
        _fail(": ".join(filter(None, (name and str(name), error.strerror or str(error)))))
    except Exception as error:
        if type(error).__name__ != "SafetensorError":  # what safetensors makes of a full disk
            raise
        _fail(str(error))


def print_version() -> None:
    """Print name and version."""
    from importlib.metadata import version

    print(f"distilora {version('distilora')}")


def _fail(line: str) -> NoReturn:
    print(f"distilora: {line}", file=sys.stderr)
    sys.exit(EXIT_USER_ERROR)
