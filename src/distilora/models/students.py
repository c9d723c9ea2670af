"""Students: models made of chosen layers of a teacher, and of everything of it that is outside its layers."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from distilora.errors import ModelError
from distilora.models.layers import checked_numbers, layer_index, layer_stack, layer_stack_name
from distilora.models.loading import seeded, set_dropout

_logger = logging.getLogger(__name__)


def build_student(teacher: PreTrainedModel, numbers: Sequence[int], *, dropout: float | None = None) -> PreTrainedModel:
    """Return a student that owns a copy of the chosen teacher layers and of all that is outside the layer stack.

    Its configuration is the teacher's cut to the student's depth, so plain transformers loads it once saved. There
    ``distilora_layers`` holds ``numbers``, and ``distilora_dropped`` the teacher's weights that have no place in the
    student: ModernBERT's first layer has no attention norm, so a later layer that comes first loses its own.

    Args:
        teacher: a classifier; it is not changed.
        numbers: teacher layers, strictly ascending, from 1.
        dropout: share for every dropout of the student, from 0 to 1; absent: the teacher's.

    Returns:
        A model on the teacher's device, in evaluation mode, every parameter trainable.

    Raises:
        ConfigError: the numbers are not layers of the teacher.
        ModelError: the teacher's family is none that distilora knows.
    """
    numbers = checked_numbers(numbers, len(layer_stack(teacher)))
    config = _student_config(teacher.config, numbers)
    set_dropout(config, dropout)
    with torch.device(teacher.device), seeded(0):
        student = type(teacher)(config).to(teacher.dtype).eval()
    dropped = _copy_weights(teacher, student, numbers)
    if dropped:
        _logger.info("layer %d comes first in the student and loses %s", numbers[0], ", ".join(dropped))
    student.config.distilora_dropped = dropped
    return student


def _student_config(teacher: PreTrainedConfig, numbers: Sequence[int]) -> PreTrainedConfig:
    config = copy.deepcopy(teacher)
    config.num_hidden_layers = len(numbers)
    if getattr(config, "layer_types", None) is not None:  # ModernBERT: which layers attend to everything
        config.layer_types = [config.layer_types[layer_index(number)] for number in numbers]
    config.distilora_layers = list(numbers)
    return config


def _copy_weights(teacher: PreTrainedModel, student: PreTrainedModel, numbers: Sequence[int]) -> list[str]:
    """Fill every tensor of the student; return the names of weights of chosen layers that found no place."""
    stack = layer_stack_name(teacher)
    sources = teacher.state_dict()
    places = {f"{stack}.{place}.": f"{stack}.{layer_index(number)}." for place, number in enumerate(numbers)}
    used = set()
    with torch.no_grad():
        for name, tensor in student.state_dict().items():
            source = _source_name(name, places)
            if source not in sources:
                raise ModelError(f"{type(teacher).__name__}: the teacher has no {source}, which the student needs")
            tensor.copy_(sources[source])
            used.add(source)
    return _unused(sources, used, tuple(places.values()))


def _source_name(name: str, places: dict[str, str]) -> str:
    for place, source in places.items():
        if name.startswith(place):
            return source + name.removeprefix(place)
    return name


def _unused(sources: dict[str, Tensor], used: set[str], chosen: tuple[str, ...]) -> list[str]:
    return [name for name in sources if name.startswith(chosen) and name not in used]
