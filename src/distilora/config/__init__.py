"""The settings of an experiment: one frozen record for each table of its TOML.

Each setting stands here once, with type, default, unit and range; its description is also its help.
A method is a preset: a table that says which other preset it is ``like`` and what differs. What holds for
a method is, in rising order: the records' defaults, the built-in presets, the experiment's own ``[training]``,
``[distillation]`` and ``[lora]``, and the method's own ``[methods.NAME]`` table.
"""

from distilora.config.base import Settings, validated
from distilora.config.experiments import ExperimentSettings, read_experiment
from distilora.config.methods import (
    DEFAULT_METHODS,
    ENCODER,
    PRESETS,
    SEARCH,
    TEACHER,
    DistillationSettings,
    LoraSettings,
    MethodKind,
    MethodSettings,
    TrainingSettings,
)
from distilora.config.tables import (
    DataSettings,
    EncoderSettings,
    EvidenceSettings,
    ExportSettings,
    ReportSettings,
    ResourcesSettings,
    SuitesSettings,
)
from distilora.config.toml import to_toml

__all__ = [
    "DEFAULT_METHODS",
    "ENCODER",
    "PRESETS",
    "SEARCH",
    "TEACHER",
    "DataSettings",
    "DistillationSettings",
    "EncoderSettings",
    "EvidenceSettings",
    "ExperimentSettings",
    "ExportSettings",
    "LoraSettings",
    "MethodKind",
    "MethodSettings",
    "ReportSettings",
    "ResourcesSettings",
    "Settings",
    "SuitesSettings",
    "TrainingSettings",
    "read_experiment",
    "to_toml",
    "validated",
]
