"""Scoring on Ray: a pool of actors, each with the model open, works through the parts of a job.

The parts, what is written and how a job goes on are those of the local engine; only who works differs. These are Ray's
actors and not Ray Data: that retries by blocks, into which it puts what parts it likes, ends all where a worker has
vanished too often, and does not say at which part.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilora.bundles.bundle import Bundle
from distilora.bundles.storage import StoredBundle, read_bundle
from distilora.errors import WorkerError
from distilora.scale.session import STORE_BYTES, begin_at, ray_says, ray_session
from distilora.scoring.local import Crew
from distilora.scoring.part_scoring import Order, PartScorer
from distilora.scoring.parts import Part, PartDone
from distilora.scoring.worker import read_reply, reply_to
from distilora.scoring.workers import VanishedError


@dataclass(frozen=True)
class RayEngine:
    """Ray on this machine, started for the job and stopped after it, or one that runs already."""

    workers: int | None = None
    """Absent: as many as Ray has processors."""
    address: str | None = None
    """Of a running Ray; absent: one is started."""
    name: str = "ray"

    @contextmanager
    def opened(self, bundle: Bundle, order: Order) -> Iterator[Crew]:
        """Yield what begins an actor, and how many are to be.

        Raises:
            MissingExtraError: Ray is not installed.
            WorkerError: it cannot be started, or does not answer.
        """
        stored = read_bundle(bundle.path)
        size = sum(file.stat().st_size for file in bundle.path.rglob("*") if file.is_file())
        with ray_session(address=self.address, processors=self.workers, store_bytes=STORE_BYTES + 2 * size) as ray:
            # Other machines need not see the bundle's folder.
            shared = ray.put(stored)
            actor = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(Scorer)
            workers = self.workers or max(int(ray.cluster_resources().get("CPU", 1)), 1)
            yield Crew(lambda: ActorWorker(ray, actor, shared, order), workers)


class Scorer:
    """The actor: has the model open and scores parts.

    Args:
        stored: the bundle, whose bytes have been compared with their hashes.
        order: the job, and the folder that it writes.
        home: where paths begin.
    """

    def __init__(self, stored: StoredBundle, order: str, home: str) -> None:
        begin_at(home)
        # Ray has set the threads of other libraries to the one processor of an actor.
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        self._scorer = PartScorer(Bundle(stored, threads=1), Order.model_validate_json(order))

    def ready(self) -> int:
        """Return the number of the process, once the model is open."""
        return os.getpid()

    def reply(self, part: str) -> str:
        """Return what came of a part, as a process of the local engine does."""
        return reply_to(self._scorer, part)


class ActorWorker:
    """One actor, as a worker.

    Args:
        ray: the module.
        actor: the class of the actor.
        stored: reference to the bundle.
        order: the job, and the folder that it writes.

    Raises:
        VanishedError: it ended before it was ready.
        WorkerError: it cannot begin.
    """

    def __init__(self, ray: Any, actor: Any, stored: Any, order: Order) -> None:
        self._ray = ray
        self._actor = actor.remote(stored, order.model_dump_json(), str(Path.cwd()))
        self.pid: int = self._get(self._actor.ready.remote())
        """Of its process, on whatever machine that is."""

    def score(self, part: Part) -> PartDone:
        """As of ``Worker``."""
        return read_reply(self._get(self._actor.reply.remote(part.model_dump_json())))

    def stop(self) -> None:
        """As of ``Worker``."""
        with suppress(Exception):  # Ray is gone
            self._ray.kill(self._actor)

    def close(self) -> None:
        """As of ``Worker``."""
        self.stop()

    def _get(self, reference: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except (errors.RayActorError, errors.ObjectLostError, errors.NodeDiedError) as failure:
            raise VanishedError(f"a Ray actor is gone: {ray_says(failure)}") from None
        except errors.RayError as failure:
            raise WorkerError(f"Ray: {ray_says(failure)}") from None
