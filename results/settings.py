"""The settings of a comparison as columns: the recipes, and whatever is not at its default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .naming import digest, is_within, shown
from .targets import TARGET_NAMES

RECIPES = ("pretraining", "finetuning")
_RECIPE = ("epochs", "optimizer", "learning_rate", "batch_size")

RECIPE_COLUMNS = {f"{recipe}_{name}": (recipe, name) for recipe in RECIPES for name in _RECIPE}
"""Column → the recipe and its setting."""

_WITH_COLUMNS = {
    *("dataset", "model", "strategy", *TARGET_NAMES, "seed", "comparison", "sources"),
    *("rounds", "schedule", "recovery", "finetuned_network", "timing", "initialisation"),
    *("start_epoch", "least_dense_quality", *RECIPES),
}

_DEFAULT_RECIPE = {
    "learning_rate_schedule": "constant",
    "learning_rate_drops": [0.25, 0.5, 0.75],
    "warmup_epochs": 0.0,
    "momentum": 0.0,
    "nesterov": False,
    "weight_decay": 0.0,
    "label_smoothing": 0.0,
    "gradient_clipping": None,
    "accumulation": 1,
    "precision": "float32",
    "compiled": False,
    "weight_averaging": None,
    "penalty": None,
}

DEFAULTS: Mapping[str, Any] = {
    "calibration": None,
    "prune_classifier": True,
    "prune_only": [],
    "prune_except": [],
    **{f"{recipe}_{name}": value for recipe in RECIPES for name, value in _DEFAULT_RECIPE.items()},
    "metrics": [],
    "measurements": ["Size", "Flops", "Storage", "Latency"],
    "device": "cpu",
    "threads": 1,
}
"""Setting → its default, of all settings that have no column of their own.

An experiment's defaults never change; a test holds these to them.
"""


def columns_of(experiment: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that have a column in every leaderboard, of an experiment, that of a record."""
    return {
        "rounds": experiment["rounds"],
        "schedule": shown(experiment["schedule"]),
        "recovery": shown(experiment["recovery"]),
        # The first records do not have these settings.
        "finetuned_network": experiment.get("finetuned_network", "masked"),
        "timing": shown(experiment.get("timing", "BetweenTrainings")),
        "initialisation": shown(experiment.get("initialisation", "Default")),
        "start_epoch": experiment.get("start_epoch"),
        **{
            column: experiment[recipe].get(name)
            for column, (recipe, name) in RECIPE_COLUMNS.items()
        },
    }


def further_settings(experiment: Mapping[str, Any]) -> dict[str, str]:
    """The settings that have no column of their own and are not at their default, as text.

    ``experiment`` is that of a record. A setting of a later version counts as at its default where
    it is null or empty. Sources of components are among them, but for that of the strategy.
    """
    settings = {name: value for name, value in experiment.items() if name not in _WITH_COLUMNS}
    for recipe in RECIPES:
        parts = experiment[recipe].items()
        settings |= {f"{recipe}_{name}": v for name, v in parts if name not in _RECIPE}
    found = {
        name: shown(as_text(value))
        for name, value in settings.items()
        if value != DEFAULTS.get(name) and value not in (None, [], {})
    }
    for place, source in experiment.get("sources", {}).items():
        if not is_within(place, "strategy"):
            found[f"{place.replace('.', '_')}_source"] = digest(source)
    return found


def as_text(value: Any) -> str:
    """The value of a setting for people, as YAML has it."""
    if str(value) in ("True", "False"):
        return str(value).lower()
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(as_text, value)) or "none"
    return str(value)


def in_words(column: str) -> str:
    """The name of a column in words."""
    return column.replace("finetun", "fine-tun").replace("_", " ")


def phrase(column: str, value: str) -> str:
    """A setting and its value, in words; empty is the default."""
    if column == "rounds":
        return "1 round" if value == "1" else f"{value} rounds"
    if column == "schedule":
        return f"{value} schedule"
    if column == "start_epoch":
        return _START.get(value, f"pruned after epoch {value}")
    return f"{in_words(column)} {value or as_text(DEFAULTS.get(column))}"


_START = {"": "pruned after pretraining", "0": "pruned at initialisation"}
