"""Build the wheel, look into it, install it alone in an empty environment, and try what must work there; then serve.

    python scripts/check_wheel.py

Needs ``build`` and a package index. Ends with exit code 1 and one line on the first thing that is not so.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from pathlib import Path, PurePosixPath
from urllib.request import Request, urlopen

_ROOT = Path(__file__).resolve().parents[1]
_BUNDLE = _ROOT / "tests" / "fixtures" / "bundle-format-1"
_DATA_FILES = ("distilora/bench/int8_matmul.onnx", "distilora/data/sample.csv", "distilora/report/report.css")
_PAGE = "distilora/serve/page"
"""Its templates and static files must be in the wheel, every one."""
_ENDINGS = (".py", ".typed", ".csv", ".css", ".onnx", ".html", ".js", ".svg")
_MB = 1_000_000
_LARGEST_MB = 218
"""Of everything that the wheel brings with it, itself included: a quarter more than 0.1.0 needs."""
_HEAVY = ("torch", "transformers", "peft", "accelerate", "datasets", "sklearn", "matplotlib")
_STARTED_LIGHT = f"""
import sys, distilora, distilora.cli
loaded = [name for name in {_HEAVY} if name in sys.modules]
sys.exit(f"importing distilora imports {{', '.join(loaded)}}" if loaded else 0)
"""
_SERVING_STARTS_LIGHT = _STARTED_LIGHT.replace("distilora.cli", "distilora.cli.serving, distilora.serve.server")
_NOTHING_HEAVY_INSTALLED = f"""
import sys
from importlib.util import find_spec
found = [name for name in {_HEAVY} if find_spec(name)]
sys.exit(f"the dependencies bring {{', '.join(found)}}" if found else 0)
"""


def main() -> None:
    """Check the wheel of this checkout."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = _build(Path(folder) / "dist")
        _check_content(wheel)
        print(f"{wheel.name}: holds what it must and nothing else")
        environment = Path(folder) / "empty"
        _install(wheel, environment)
        _check_size(environment)
        _check_commands(environment / "bin", away=Path(folder))
        _check_bundle(str(environment / "bin" / "distilora"), away=Path(folder))
        print("wheel: works with its base dependencies alone")
        _install(f"{wheel}[serve]", environment)
        _check_serving(environment / "bin", away=Path(folder))
    print("wheel: serves with the extra [serve] alone")


def _build(out: Path) -> Path:
    """Return the wheel, built by way of the source distribution, as a release is."""
    _run(sys.executable, "-m", "build", "--outdir", str(out), str(_ROOT))
    (wheel,) = out.glob("*.whl")
    return wheel


def _check_content(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    page = [path for path in (_ROOT / "src" / _PAGE).rglob("*") if path.is_file() and path.suffix in _ENDINGS]
    needed = (*_DATA_FILES, *(path.relative_to(_ROOT / "src").as_posix() for path in page))
    missing = [name for name in needed if name not in names]
    stray = [name for name in sorted(names) if not _belongs(PurePosixPath(name))]
    if missing or stray:
        sys.exit(
            f"{wheel.name}: missing: {', '.join(missing) or 'none'}; does not belong: {', '.join(stray) or 'none'}"
        )


def _belongs(path: PurePosixPath) -> bool:
    top = path.parts[0]
    return top.endswith(".dist-info") or (top == "distilora" and path.suffix in _ENDINGS)


def _install(wheel: Path | str, environment: Path) -> None:
    """Make an environment, new where there is none, that holds the wheel and what it depends on alone."""
    if not environment.exists():
        venv.create(environment, with_pip=True)
    options = ("--quiet", "--disable-pip-version-check", "--constraint", str(_ROOT / "constraints.txt"))
    _run(str(environment / "bin" / "python"), "-m", "pip", "install", *options, str(wheel))


def _check_size(environment: Path) -> None:
    (packages,) = environment.glob("lib/python*/site-packages")
    brought = [path for path in packages.rglob("*") if not _is_of_pip(path.relative_to(packages))]
    size = sum(path.stat().st_size for path in brought if path.is_file()) / _MB
    print(f"installed with its base dependencies: {size:.0f} MB")
    if size > _LARGEST_MB:
        sys.exit(f"installed: {size:.0f} MB; at most {_LARGEST_MB} MB is allowed: see what has grown")


def _is_of_pip(path: Path) -> bool:
    """Return whether a file is pip's, which every environment has, or was compiled where it is."""
    return path.parts[0].startswith(("pip", "setuptools")) or path.suffix == ".pyc"


def _check_commands(binaries: Path, *, away: Path) -> None:
    """Try the installed package from a folder that holds none of the sources."""
    python, distilora = str(binaries / "python"), str(binaries / "distilora")
    _run(python, "-c", _NOTHING_HEAVY_INSTALLED, folder=away)
    _run(python, "-c", _STARTED_LIGHT, folder=away)
    for option in ("--version", "--help"):
        _run(distilora, option, folder=away)
    _check_refusal(distilora, away=away)


def _check_bundle(distilora: str, *, away: Path) -> None:
    """A bundle must be opened, asked, used on a file and measured without anything of the training."""
    bundle = str(_BUNDLE)
    (answer,) = map(json.loads, _run(distilora, "predict", bundle, "no", "--json", folder=away).splitlines())
    if answer["label"] != "civil":
        sys.exit(f"distilora predict says {answer['label']} where civil was said when the bundle was written")
    (away / "in.csv").write_text("id,text\n1,no\n2,what a lovely day\n", encoding="utf-8")
    _run(distilora, "score", bundle, "in.csv", "out.csv", folder=away)
    rows = (away / "out.csv").read_text(encoding="utf-8").splitlines()
    if len(rows) != 3 or not rows[1].startswith("1,no,civil,"):
        sys.exit(f"distilora score wrote {rows}")
    (away / "labelled.csv").write_text("text,label\nno,civil\nwhat a lovely day,civil\n", encoding="utf-8")
    found = json.loads(_run(distilora, "evaluate", bundle, "labelled.csv", "--json", folder=away))
    if found["models"][0]["evaluation"]["rows"] != 2:
        sys.exit(f"distilora evaluate says {found}")
    report = json.loads(_run(distilora, "bench", bundle, "--rows", "20", "--rounds", "1", "--json", folder=away))
    print(f"predict, score, evaluate and bench work: {report['contenders'][0]['texts_per_s']['median']:.0f} texts/s")


def _check_serving(binaries: Path, *, away: Path) -> None:
    """A bundle must be served, by API and page, without anything of the training installed or imported."""
    _run(str(binaries / "python"), "-c", _NOTHING_HEAVY_INSTALLED, folder=away)
    _run(str(binaries / "python"), "-c", _SERVING_STARTS_LIGHT, folder=away)
    command = [str(binaries / "distilora"), "serve", str(_BUNDLE), "--port", "0", "--no-feedback"]
    began = time.perf_counter()
    with subprocess.Popen(
        command, cwd=away, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        try:
            label = _ask(_address(server))
            took = time.perf_counter() - began
        finally:
            server.terminate()
            rest, _ = server.communicate(timeout=30)
    if label != "civil" or server.returncode:
        sys.exit(f"distilora serve says {label}, not civil, and ends with exit code {server.returncode}: {rest}")
    print(f"serve works: first answer after {took:.1f} s")


def _address(server: subprocess.Popen[str]) -> str:
    """Return where a server that has just been started can be reached."""
    said = server.stdout.readline() if server.stdout else ""
    found = re.search(r"http://[0-9.:]+", said)
    if not found:
        sys.exit(f"distilora serve does not say where it listens but: {said}")
    return found[0]


def _ask(address: str) -> str:
    """Return the label of a text, once the page and what it loads have been seen to be there."""
    for path in ("/", "/static/style.css", "/openapi.json", "/readyz"):
        with urlopen(f"{address}{path}", timeout=30) as answer:  # noqa: S310 - the loopback address
            answer.read()
    body = json.dumps({"texts": "no"}).encode()
    request = Request(f"{address}/v1/predict", body, {"Content-Type": "application/json"})  # noqa: S310
    with urlopen(request, timeout=30) as answer:  # noqa: S310
        return str(json.load(answer)["predictions"][0]["label"])


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


def _run(*command: str, folder: Path = _ROOT) -> str:
    """Return what a command that must succeed printed."""
    done = subprocess.run(command, cwd=folder, env=_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def _environment() -> dict[str, str]:
    """Return this process's variables without those that would let sources outside the environment in."""
    return {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}


if __name__ == "__main__":
    main()
