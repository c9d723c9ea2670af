"""How `distilora serve` bears load: many clients, large requests, more than it can do, and its first answer.

    python benchmarks/serve_load.py --data comments.csv --text tweet --label label

Everything is on the loopback address, and every part has its time. The server is the real command in a process of its
own; the requests come from another, a small client of this project's (``load_client.py``). Both share the processors,
so what the client takes is missing to the server; its share is written down. Parts, in this order:

start       processes of ``distilora serve`` started afresh, files in the page cache: seconds to the first answer
single      64 clients with one text each, closed loop, for ``--seconds``
rounds      in turn: ``score``'s way in one process (``Bundle.predict_stream``, every thread), the server with 8 clients
            of 16 texts, the server with 64 clients of one text, and the plain server of the fp32 torch teacher
            (``torch_server.py``) with both loads; ratios are of texts a second in the same round, the median counts
overload    four times the requests a second that the rounds showed, open loop, over a bounded number of connections,
            for both loads; a light probe runs before, meanwhile and after, and tells when answers are as fast as before

The models come from ``--experiment``, which is trained first, quickly, where it is not there yet.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from distilora.bench.machine import busy_processors
from distilora.bench.texts import read_texts
from distilora.bundles.bundle import Bundle, open_bundle
from distilora.errors import DistiloraError
from distilora.files import write_whole
from distilora.machine import processor, usable_processors
from serve_figures import errors, latency, line, memory, overload_line, recovery, sentence, statuses, took
from served import MemoryWatch, Server, free_port, run_load, started_load
from trained_models import MODELS, say, trained

_TORCH_SERVER = Path(__file__).with_name("torch_server.py")
_STREAM_TEXTS = 2048
"""As many as ``distilora score`` hands over at a time."""
_WARM_UP_S = 2.0
_TIMES_THE_LOAD = 4
_CONNECTIONS = 512
"""More than the requests that the server takes at once by default, so that its limits are reached."""
_CALM_S = 5.0
"""Of the probe before the overload."""
_AFTER_S = 8.0
"""Of the probe after the overload."""
_PROBE_PAUSE_S = 0.02


@dataclass(frozen=True)
class _Load:
    """What some clients send, over and over."""

    name: str
    clients: int
    texts: int
    """Of one request."""
    bodies: list[str]

    def fields(self) -> dict[str, Any]:
        return {"bodies": self.bodies, "labels": self.texts}


def main() -> None:
    signal.signal(signal.SIGTERM, _leave)
    try:
        _measure(_arguments())
    except DistiloraError as error:
        print(f"serve_load: {error}", file=sys.stderr)
        sys.exit(2)


def _measure(arguments: argparse.Namespace) -> None:
    texts = read_texts(str(arguments.data), text=arguments.text, rows=arguments.rows, seed=arguments.seed)
    bundle, teacher = _models(arguments)
    busy = busy_processors()
    report = _measured(bundle, teacher, texts, arguments)
    report["machine"] = {"processor": processor(), "cores": usable_processors(), "busy_processors_before": busy}
    write_whole(arguments.out, json.dumps(report, indent=1) + "\n")
    print(f"\n{sentence(report)}\nwritten to {arguments.out}")


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """Leave every context, and so end every process, when asked to end."""
    del frame
    sys.exit(128 + number)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="CSV of comments")
    parser.add_argument("--text", default="tweet", help="its column of texts")
    parser.add_argument("--label", default="label", help="its column of labels")
    parser.add_argument("--rows", type=int, default=4000, help="rows drawn from it")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--experiment", type=Path, help="folder of teacher and odd trained on it; absent: made")
    parser.add_argument("--bundle", type=Path, help="bundle to serve; absent: the experiment's int8 odd")
    parser.add_argument("--threads", type=int, default=usable_processors(), help="of the server, and of the teacher")
    parser.add_argument("--seconds", type=float, default=60, help="of the load of 64 clients")
    parser.add_argument("--round-seconds", type=float, help="of each load of a round; absent: an eighth of --seconds")
    parser.add_argument("--overload-seconds", type=float, help="of an overload; absent: a quarter of --seconds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--starts", type=int, default=7, help="processes whose first answer is timed")
    parser.add_argument("--out", type=Path, default=Path("build/bench-serve.json"))
    arguments = parser.parse_args()
    if not arguments.data.is_file():
        parser.error(f"{arguments.data}: no such file; name a CSV of comments with --data")
    arguments.round_seconds = arguments.round_seconds or arguments.seconds / 8
    arguments.overload_seconds = arguments.overload_seconds or arguments.seconds / 4
    return arguments


def _models(arguments: argparse.Namespace) -> tuple[Path, Path]:
    """Return the bundle to serve and the teacher's run, absolute, for the servers have folders of their own."""
    experiment = arguments.experiment or MODELS / arguments.data.stem
    if arguments.bundle is None or not (experiment / "teacher").is_dir():
        trained(experiment, data=arguments.data, text=arguments.text, label=arguments.label)
    return (arguments.bundle or experiment / "odd" / "bundle").resolve(), (experiment / "teacher").resolve()


def _measured(bundle: Path, teacher: Path, texts: Sequence[str], arguments: argparse.Namespace) -> dict[str, Any]:
    loads = _loads(texts)
    body = loads[0].bodies[0]
    starts = _starts(bundle, body, arguments)
    with ExitStack() as stack:
        server = stack.enter_context(_serve(bundle, arguments))
        server.first_answer(body)
        single = _single(server, loads[0], seconds=arguments.seconds)
        with _torch(teacher, arguments) as plain:
            plain.first_answer(body)
            rounds = _rounds(server, plain, open_bundle(bundle), texts, loads, arguments)
        overloads = {
            load.name: _overload(server, load, rate=rounds[load.name]["requests_per_s"], arguments=arguments)
            for load in loads
        }
    return _figures(starts=starts, single=single, rounds=rounds, overloads=overloads, arguments=arguments)


def _loads(texts: Sequence[str]) -> tuple[_Load, _Load]:
    """Return 64 clients with one text each, and 8 with 16."""
    lists = [texts[first : first + 16] for first in range(0, len(texts) - 15, 16)]
    return (
        _Load("single", clients=64, texts=1, bodies=[json.dumps({"texts": text}) for text in texts]),
        _Load("batched", clients=8, texts=16, bodies=[json.dumps({"texts": some}) for some in lists]),
    )


def _serve(bundle: Path, arguments: argparse.Namespace) -> Server:
    """Start the real command, beside this interpreter."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("distilora")), "serve", str(bundle)]
    options = ["--port", str(port), "--threads", str(arguments.threads)]
    return Server([*command, *options], port=port, path="/v1/predict")


def _torch(teacher: Path, arguments: argparse.Namespace) -> Server:
    port = free_port()
    command = [sys.executable, str(_TORCH_SERVER), str(teacher)]
    options = ["--port", str(port), "--threads", str(arguments.threads)]
    return Server([*command, *options], port=port, path="/predict")


def _starts(bundle: Path, body: str, arguments: argparse.Namespace) -> list[float]:
    """Return the seconds from the start of each fresh process to its first answer."""
    seconds = []
    for _ in range(arguments.starts):
        with _serve(bundle, arguments) as server:
            seconds.append(server.first_answer(body))
        say(f"start: first answer after {seconds[-1]:.2f} s")
    return seconds


def _single(server: Server, load: _Load, *, seconds: float) -> dict[str, Any]:
    _run(server, load, seconds=min(_WARM_UP_S, seconds))
    with MemoryWatch(server) as watch:
        figures = _run(server, load, seconds=seconds)
    figures["memory"] = memory(watch)
    say(f"single: {line(figures)}; memory {figures['memory']['peak_mib']:.0f} MiB at most")
    return figures


def _run(server: Server, load: _Load, *, seconds: float) -> dict[str, Any]:
    """Return the figures of a closed loop."""
    used = server.processor_s()
    outcome = run_load(server, connections=load.clients, seconds=seconds, **load.fields())
    answered = took(outcome.answers, {200})
    requests_per_s = len(answered) / outcome.seconds
    return {
        "clients": load.clients,
        "texts_of_a_request": load.texts,
        "errors": errors(outcome, {200}),
        **statuses(outcome),
        "seconds": outcome.seconds,
        "requests_per_s": requests_per_s,
        "texts_per_s": requests_per_s * load.texts,
        "latency": latency(answered),
        "server_processor_share": (server.processor_s() - used) / outcome.seconds,
        "client_processor_share": outcome.processor_s / outcome.seconds,
    }


def _rounds(  # noqa: PLR0913, PLR0917 - everything that takes turns
    server: Server,
    plain: Server,
    bundle: Bundle,
    texts: Sequence[str],
    loads: tuple[_Load, _Load],
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """Return the figures of all that takes turns, by name, each with those of every round."""
    seconds = arguments.round_seconds
    warm_up_s = min(_WARM_UP_S, seconds)
    _stream_rate(bundle, texts, seconds=warm_up_s)
    for one in (server, plain):
        for load in loads:
            _run(one, load, seconds=warm_up_s)
    found: dict[str, list[dict[str, Any]]] = {}
    for number in range(1, arguments.rounds + 1):
        turn = {"stream": {"texts_per_s": _stream_rate(bundle, texts, seconds=seconds)}}
        for load in reversed(loads):
            turn[load.name] = _run(server, load, seconds=seconds)
        for load in loads:
            turn[f"torch_{load.name}"] = _run(plain, load, seconds=seconds)
        for name, figures in turn.items():
            found.setdefault(name, []).append(figures)
        say(f"round {number}: " + ", ".join(f"{name} {one['texts_per_s']:,.0f} texts/s" for name, one in turn.items()))
    return {name: _median_of(rounds) for name, rounds in found.items()}


def _median_of(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    rates = [name for name in ("texts_per_s", "requests_per_s") if name in rounds[0]]
    medians: dict[str, Any] = {name: statistics.median(figures[name] for figures in rounds) for name in rates}
    return {**medians, "rounds": list(rounds)}


def _stream_rate(bundle: Bundle, texts: Sequence[str], *, seconds: float) -> float:
    """Return texts a second in this process, all texts over and over until the time is up."""
    chunks = [texts[first : first + _STREAM_TEXTS] for first in range(0, len(texts), _STREAM_TEXTS)]
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        with closing(bundle.predict_stream(chunks)) as answers:
            done += sum(map(len, answers))
    return done / (time.perf_counter() - began)


def _overload(server: Server, load: _Load, *, rate: float, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what becomes of four times the load that the server bears, and of a light probe beside it."""
    seconds = arguments.overload_seconds
    calm_s, after_s = min(_CALM_S, seconds), min(_AFTER_S, 2 * seconds)
    light = {"bodies": load.bodies[:50], "labels": load.texts, "connections": 1, "pause_s": _PROBE_PAUSE_S}
    offered = {"connections": _CONNECTIONS, "rate": _TIMES_THE_LOAD * rate}
    with (
        MemoryWatch(server) as watch,
        started_load(server, seconds=calm_s + seconds + after_s, **light) as probed,
    ):
        time.sleep(calm_s)
        with MemoryWatch(server) as under_load:
            outcome = run_load(server, seconds=seconds, **offered, **load.fields())
        probe = probed()
    ended_s = outcome.began_s + outcome.seconds
    figures = {
        "texts_of_a_request": load.texts,
        "offered_requests_per_s": offered["rate"],
        "sent_requests_per_s": len(outcome.answers) / seconds,
        "connections": _CONNECTIONS,
        "unsent": outcome.unsent,
        "errors": errors(outcome, {200, 429, 503}) + errors(probe, {200, 429, 503}),
        **statuses(outcome),
        "seconds": outcome.seconds,
        "answered_texts_per_s": len(took(outcome.answers, {200})) * load.texts / outcome.seconds,
        "latency": latency(took(outcome.answers, {200})),
        "refusal_latency": latency(took(outcome.answers, {429, 503})),
        "client_processor_share": outcome.processor_s / outcome.seconds,
        "memory": memory(watch),
        "memory_growth_under_load_mib": under_load.growth_mib(),
        **recovery(probe.answers, began_s=outcome.began_s, ended_s=ended_s),
    }
    say(f"overload, {load.name}: {overload_line(figures)}")
    return figures


def _figures(
    *,
    starts: Sequence[float],
    single: dict[str, Any],
    rounds: dict[str, Any],
    overloads: dict[str, Any],
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    closed = [single, *(one for name in ("single", "batched") for one in rounds[name]["rounds"])]
    return {
        "errors": sum(one["errors"] for one in (*closed, *overloads.values())),
        "p99_ms": single["latency"] and single["latency"]["p99_ms"],
        "ratio_vs_predict": _ratio(rounds["batched"], rounds["stream"]),
        "ratio_vs_unbatched_torch": _ratio(rounds["single"], rounds["torch_single"]),
        "ratio_vs_unbatched_torch_of_16": _ratio(rounds["batched"], rounds["torch_batched"]),
        "first_answer_s": {"best": min(starts), "median": statistics.median(starts), "all": list(starts)},
        "recovered_within_s": {name: overload["recovered_within_s"] for name, overload in overloads.items()},
        "note": "the client that sends the requests shares the processors with the server",
        "threads": arguments.threads,
        "data": arguments.data.name,
        "single": single,
        "rounds": rounds,
        "overload": overloads,
    }


def _ratio(ours: dict[str, Any], theirs: dict[str, Any]) -> float | None:
    """Return how many times as many texts a second the one answers, median over the rounds."""
    rates = [
        (float(one["texts_per_s"]), float(other["texts_per_s"]))
        for one, other in zip(ours["rounds"], theirs["rounds"], strict=True)
    ]
    return statistics.median(one / other for one, other in rates) if all(other for _, other in rates) else None


if __name__ == "__main__":
    main()
