"""The settings of experiments as options, and those of a file with options laid over them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_origin

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from ..experiment import Experiment

_NULLS = ("null", "Null", "NULL", "~")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """An option for each setting of an experiment, and for each of its recipes."""
    from ..experiment import Experiment
    from ..recipe import Recipe

    settings = parser.add_argument_group(
        "settings", "they replace those of the file; several values make a grid"
    )

    def add(name: str, described: str) -> None:
        flag = f"--{name.replace('_', '-')}"
        settings.add_argument(flag, dest=name, nargs="+", metavar="VALUE", help=described)

    for name, field in Experiment.model_fields.items():
        recipe = field.annotation
        # Python 3.10 takes dict[str, str] for a type.
        if isinstance(recipe, type) and not get_origin(recipe) and issubclass(recipe, Recipe):
            for part, part_field in recipe.model_fields.items():
                default = f" (default: {_usual(part_field)})"
                add(f"{name}.{part}", f"{part_field.description}{default}")
        else:
            optional = not field.is_required() and field.default not in (None, ())
            default = f" (default: {_usual(field)})" if optional else ""
            add(name, f"{field.description}{default}")


def _usual(field: FieldInfo) -> Any:
    """A setting's default, as it is written on the command line."""
    return " ".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default


def overlaid(settings: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """The settings of the file, with those from the command line in their place."""
    from ...results.targets import TARGET_NAMES
    from ..experiment import Experiment
    from ..grid import LISTS
    from ..recipe import Recipe

    settings = dict(settings)
    for option, given in vars(options).items():
        name, _, part = option.partition(".")
        if given is None or name not in Experiment.model_fields:
            continue
        values = [_value(text) for text in given]
        if part:
            # Of one that is a list itself lists make a grid, and plain values are one list.
            is_list = isinstance(Recipe.model_fields[part].default, tuple)
            if is_list and not any(isinstance(value, list) for value in values):
                values = [values]
            settings[name] = _with_part(settings.get(name, {}), part, values)
        else:
            settings[name] = values if len(values) > 1 or name in LISTS else values[0]
    # A target on the command line takes the place of another kind of target in the file.
    if any(getattr(options, target) for target in TARGET_NAMES):
        for target in TARGET_NAMES:
            if not getattr(options, target):
                settings.pop(target, None)
    return settings


def _with_part(recipes: Any, part: str, values: Sequence[Any]) -> Any:
    """A recipe, or each of a list of them, with each of some values of one of its settings."""
    if isinstance(recipes, list):
        return [{**each, part: value} for each in recipes for value in values]
    changed = [{**recipes, part: value} for value in values]
    return changed if len(values) > 1 else changed[0]


def _value(text: str) -> Any:
    """A number, truth value, null, list of such or text as YAML reads it."""
    from ruamel.yaml.error import YAMLError

    from ..grid import parse_yaml

    try:
        value = parse_yaml(text)
    except YAMLError:
        return text
    if value is None:  # what is empty or a comment is no null
        return None if text.strip() in _NULLS else text
    return value if isinstance(value, int | float | bool | list) else text


def chosen_labels(options: argparse.Namespace, experiments: Sequence[Experiment]) -> dict[str, str]:
    """What strategies are to be called, as the file and the command line say, which has the say."""
    from ...results.naming import labelled, labels_of, named, source_of
    from ..grid import read_labels

    of_file = read_labels(options.config) if options.config else {}
    versions = {
        (named(str(each.strategy)), source_of({"sources": each.sources}, "strategy"))
        for each in {str(each.strategy): each for each in experiments}.values()
    }
    if options.strategy:  # in place of those of the file, whose labels may be of no use then
        names = {name for name, _ in versions}
        of_file = {text: label for text, label in of_file.items() if named(text) in names}
    labels = {**of_file, **labels_of(options.label)}
    labelled(versions, labels)  # what is wrong with them is to be said before anything is run
    return labels
