"""What can be measured of one run without any other, so that several runs are measured at a time."""

from __future__ import annotations

import logging

from distilora.analysis.layers import analyse_experiment
from distilora.analysis.noise import measure_noise
from distilora.errors import DistiloraError
from distilora.experiment.materials import Materials
from distilora.runs import RunRecord

logger = logging.getLogger(__name__)


def measure_run(run: RunRecord, materials: Materials) -> None:
    """Measure what ``[evidence]`` asks for of a run alone and keep it beside the run, where the whole is found later.

    That is what it says of texts with noise, and what a teacher's layers know; comparisons of layers, and ensembles,
    need other runs. What cannot be measured is logged and left to the measuring of all runs, which tells of it.

    Args:
        run: complete; of a void one nothing is measured.
        materials: of the same experiment.
    """
    evidence = materials.settings.evidence
    try:
        if evidence.noise_rows and run.result.kind != "ensemble":
            measure_noise([run], materials, rows=evidence.noise_rows)
        if evidence.layers:
            analyse_experiment([run], materials)
    except DistiloraError as error:
        logger.info("%s seed %d: not measured yet: %s", run.result.method, run.result.seed, error)
