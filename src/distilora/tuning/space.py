"""Which settings of a method are searched, and between which values.

Only what matters for a method is searched: the terms of distillation where it learns from a teacher, the adapters'
settings where it has adapters. What a method has now always lies in the range, so that the search can begin with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from distilora.config import MethodSettings, validated
from distilora.config.base import Table, merged
from distilora.config.methods import SHARED_TABLES

Point = Mapping[str, int | float]
"""One choice of all settings that are searched, by their names in :data:`SPACE`."""
TUNED = "{}-tuned"
"""What the tuned method is called."""
_DIGITS = 3
_MARGIN = 1e-3
"""How far the range stays below an upper limit that is itself not allowed."""


@dataclass(frozen=True)
class Around:
    """From the method's own value divided by ``factor`` to that times ``factor``, evenly on a logarithmic scale."""

    factor: float

    def __str__(self) -> str:
        return f"own ÷ {self.factor:g} to own × {self.factor:g}, logarithmic"

    def distribution(self, own: float, *, limits: tuple[float, float]) -> BaseDistribution:
        """Return the range around what the method has, whole numbers where that is one."""
        low, high = max(own / self.factor, min(limits[0], own)), min(own * self.factor, max(limits[1], own))
        if isinstance(own, int):
            return IntDistribution(max(1, int(low)), int(high), log=True)
        return FloatDistribution(low, high, log=True)


@dataclass(frozen=True)
class Between:
    """From ``low`` to ``high``, widened to the method's own value where that lies outside."""

    low: float
    high: float
    log: bool = False

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', logarithmic' if self.log else ''}"

    def distribution(self, own: float, *, limits: tuple[float, float]) -> BaseDistribution:
        """Return the range, with what the method has in it."""
        low, high = max(self.low, limits[0]), min(self.high, limits[1])
        return FloatDistribution(min(low, own), max(high, own), log=self.log)


@dataclass(frozen=True)
class OneOf:
    """One of some values, or the method's own."""

    values: tuple[int, ...]

    def __str__(self) -> str:
        return f"{', '.join(map(str, self.values[:-1]))} or {self.values[-1]}"

    def distribution(self, own: int, *, limits: tuple[float, float]) -> BaseDistribution:  # noqa: ARG002
        """Return the choice, with what the method has in it."""
        return CategoricalDistribution(sorted({*self.values, own}))


@dataclass(frozen=True)
class Searched:
    """One line of the table of what is searched."""

    key: str
    """``table.setting``; two are no settings themselves: see :func:`own_value`."""
    values: Around | Between | OneOf
    matters: Callable[[MethodSettings], bool]
    where: str
    """The same in words."""


def _always(_: MethodSettings) -> bool:
    return True


def _distils(method: MethodSettings) -> bool:
    return method.learns_from == "teacher"


def _weighs_labels(method: MethodSettings) -> bool:
    return _distils(method) and method.distillation.hard + method.distillation.soft > 0


def _has_adapters(method: MethodSettings) -> bool:
    return method.has_adapters


def _has_one_rank(method: MethodSettings) -> bool:
    return method.has_adapters and method.lora.rank != "grow"


SPACE: tuple[Searched, ...] = (
    Searched("training.learning_rate", Around(5), _always, "every method"),
    Searched("training.epochs", Around(2), _always, "every method"),
    Searched("training.batch_size", OneOf((16, 32, 64)), _always, "every method"),
    Searched("training.weight_decay", Between(0, 0.1), _always, "every method"),
    Searched("training.warmup", Between(0, 0.2), _always, "every method"),
    Searched("distillation.temperature", Between(1, 8, log=True), _weighs_labels, "methods that learn from a teacher"),
    Searched("distillation.hard_share", Between(0, 1), _weighs_labels, "methods that learn from a teacher"),
    Searched("distillation.cosine_logits", Between(0, 1), _distils, "methods that learn from a teacher"),
    Searched("lora.rank", OneOf((4, 8, 16, 32)), _has_one_rank, "methods with adapters of one rank"),
    Searched("lora.alpha_per_rank", Between(0.5, 8, log=True), _has_adapters, "methods with adapters"),
    Searched("lora.dropout", Between(0, 0.3), _has_adapters, "methods with adapters"),
)


def space_table() -> str:
    """Return what is searched as a table in Markdown, as it stands in ``docs/tune.md``."""
    rows = [f"| `{line.key}` | {line.values} | {line.where} |" for line in SPACE]
    return "\n".join(["| setting | values | searched for |", "|---|---|---|", *rows])


def own_value(method: MethodSettings, key: str) -> Any:
    """Return what a method has now.

    Args:
        method: its resolved settings.
        key: of :data:`SPACE`. ``distillation.hard_share`` is ``hard`` in ``hard + soft``, whose sum is kept;
            ``lora.alpha_per_rank`` is ``alpha`` divided by the rank that training begins with.

    Example:
        >>> own_value(MethodSettings(name="lora", kind="lora"), "lora.alpha_per_rank")
        2.0
    """
    if key == "lora.alpha_per_rank":
        return method.lora.alpha / method.lora.first_rank
    if key == "distillation.hard_share":
        return method.distillation.hard / (method.distillation.hard + method.distillation.soft)
    table, _, name = key.partition(".")
    return getattr(getattr(method, table), name)


def own_point(method: MethodSettings) -> Point:
    """Return the point at which the method is now."""
    return {line.key: own_value(method, line.key) for line in SPACE if line.matters(method)}


def distributions(method: MethodSettings) -> dict[str, BaseDistribution]:
    """Return what is searched for this method, by name, each with the method's own value in it.

    Args:
        method: its resolved settings; the learning rate must be given.
    """
    return {
        line.key: line.values.distribution(own_value(method, line.key), limits=_limits(line.key))
        for line in SPACE
        if line.matters(method)
    }


def tables_at(method: MethodSettings, point: Point) -> dict[str, Table]:
    """Return the settings at a point by table, as ``[methods.NAME]`` holds them.

    Numbers have three digits, except where they are the method's own.

    Example:
        >>> lora = MethodSettings(name="lora", kind="lora")
        >>> tables_at(lora, {"lora.rank": 4, "lora.alpha_per_rank": 1.23456})
        {'lora': {'rank': 4, 'alpha': 4.94}}
    """
    tables: dict[str, Table] = {}
    for key, value in point.items():
        table, _, name = key.partition(".")
        tables.setdefault(table, {})[name] = value if value == own_value(method, key) else _rounded(value)
    if "hard_share" in tables.get("distillation", {}):
        _divide_weight(method, point["distillation.hard_share"], tables["distillation"])
    if "alpha_per_rank" in tables.get("lora", {}):
        del tables["lora"]["alpha_per_rank"]
        rank = tables["lora"].get("rank", method.lora.first_rank)
        alpha = point["lora.alpha_per_rank"] * rank
        tables["lora"]["alpha"] = alpha if alpha == method.lora.alpha else _rounded(alpha)
    return tables


def settings_at(method: MethodSettings, point: Point) -> MethodSettings:
    """Return a method with the settings of a point instead of its own.

    Raises:
        ConfigError: the point is not one of the method's space.
    """
    return validated(MethodSettings, merged(method.model_dump(), tables_at(method, point)), where=method.name)


def _divide_weight(method: MethodSettings, share: float, table: Table) -> None:
    del table["hard_share"]
    hard, soft = method.distillation.hard, method.distillation.soft
    if share != own_value(method, "distillation.hard_share"):
        total = hard + soft
        hard = _rounded(share * total)
        soft = round(total - hard, _DIGITS + 1)
    table.update(hard=hard, soft=soft)


def _rounded(value: float) -> Any:
    return value if isinstance(value, int) else float(f"{value:.{_DIGITS}g}")


def _limits(key: str) -> tuple[float, float]:
    """Return the least and the greatest value that the settings' own record allows."""
    table, _, name = key.partition(".")
    field = SHARED_TABLES[table].model_fields.get(name)
    low, high = float("-inf"), float("inf")
    for limit in field.metadata if field else ():
        if isinstance(limit, (Ge, Gt)):
            low = float(str(limit.ge if isinstance(limit, Ge) else limit.gt))  # nothing here begins at 0 but what may
        if isinstance(limit, (Le, Lt)):
            high = float(str(limit.le)) if isinstance(limit, Le) else float(str(limit.lt)) - _MARGIN
    return low, high
