"""Build the wheel, look into it, install it alone in an empty environment, and try what must work there.

    python scripts/check_wheel.py

Needs ``build`` and a package index. Ends with exit code 1 and one line on the first thing that is not so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path, PurePosixPath

_ROOT = Path(__file__).resolve().parents[1]
_DATA_FILES = ("distilora/data/sample.csv", "distilora/report/report.css")
_ENDINGS = (".py", ".typed", ".csv", ".css")
_HEAVY = ("torch", "transformers", "peft", "accelerate", "datasets", "sklearn", "matplotlib")
_STARTED_LIGHT = f"""
import sys, distilora, distilora.cli
loaded = [name for name in {_HEAVY} if name in sys.modules]
sys.exit(f"importing distilora imports {{', '.join(loaded)}}" if loaded else 0)
"""
_NOTHING_HEAVY_INSTALLED = f"""
import sys
from importlib.util import find_spec
found = [name for name in {_HEAVY} if find_spec(name)]
sys.exit(f"the base dependencies bring {{', '.join(found)}}" if found else 0)
"""


def main() -> None:
    """Check the wheel of this checkout."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = _build(Path(folder) / "dist")
        _check_content(wheel)
        print(f"{wheel.name}: holds what it must and nothing else")
        binaries = _install(wheel, Path(folder) / "empty")
        _check_commands(binaries, away=Path(folder))
    print("wheel: works with its base dependencies alone")


def _build(out: Path) -> Path:
    """Return the wheel, built by way of the source distribution, as a release is."""
    _run(sys.executable, "-m", "build", "--outdir", str(out), str(_ROOT))
    (wheel,) = out.glob("*.whl")
    return wheel


def _check_content(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    missing = [name for name in _DATA_FILES if name not in names]
    stray = [name for name in sorted(names) if not _belongs(PurePosixPath(name))]
    if missing or stray:
        sys.exit(
            f"{wheel.name}: missing: {', '.join(missing) or 'none'}; does not belong: {', '.join(stray) or 'none'}"
        )


def _belongs(path: PurePosixPath) -> bool:
    top = path.parts[0]
    return top.endswith(".dist-info") or (top == "distilora" and path.suffix in _ENDINGS)


def _install(wheel: Path, environment: Path) -> Path:
    """Return the folder with the commands of a new environment that holds the wheel and its base dependencies."""
    venv.create(environment, with_pip=True)
    binaries = environment / "bin"
    options = ("--quiet", "--disable-pip-version-check", "--constraint", str(_ROOT / "constraints.txt"))
    _run(str(binaries / "python"), "-m", "pip", "install", *options, str(wheel))
    return binaries


def _check_commands(binaries: Path, *, away: Path) -> None:
    """Try the installed package from a folder that holds none of the sources."""
    python, distilora = str(binaries / "python"), str(binaries / "distilora")
    _run(python, "-c", _NOTHING_HEAVY_INSTALLED, folder=away)
    _run(python, "-c", _STARTED_LIGHT, folder=away)
    for option in ("--version", "--help"):
        _run(distilora, option, folder=away)
    _check_refusal(distilora, away=away)


def _check_refusal(distilora: str, *, away: Path) -> None:
    """Without the libraries for training, ``compare`` must say in one line which extra to install, with exit code 2."""
    done = subprocess.run(
        [distilora, "compare", "--out", "runs"],
        cwd=away,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    said = (done.stdout + done.stderr).strip()
    if done.returncode != 2 or "distilora[train]" not in said or "\n" in said:
        sys.exit(f"distilora compare without [train]: exit code {done.returncode}, not 2 and one line, but:\n{said}")


def _run(*command: str, folder: Path = _ROOT) -> None:
    done = subprocess.run(command, cwd=folder, env=_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")


def _environment() -> dict[str, str]:
    """Return this process's variables without those that would let sources outside the environment in."""
    return {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}


if __name__ == "__main__":
    main()
