"""The parameters of a network: which of them are prunable, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...datasets import DATASETS
from ...models import MODELS
from ...results.text_table import text_table
from ...seeding import seeded
from ...strategies import find_prunable, weight_class
from ..cell.loop import load_task


def parameters_as_text(
    model: str, dataset: str, data: Path, prune_only: Sequence[str], prune_except: Sequence[str]
) -> str:
    """A table of all parameters of a network, and a sentence on how many are prunable.

    Args:
        model: the network, as an experiment names it.
        dataset: the data set, which says the size of its inputs.
        data: the folder of data sets.
        prune_only: as in an experiment.
        prune_except: the same.

    Raises:
        UsageError: there is no such network or data set, or a pattern matches nothing.
    """
    task = load_task(DATASETS.component(dataset), data)
    with seeded(0, "initialisation"):
        network = MODELS.component(model).create(input_shape=task.input_shape, classes=task.classes)
    found = find_prunable(network, task.inputs(1), prune_only=prune_only, prune_except=prune_except)
    parameters = dict(network.named_parameters())
    rows = [
        (
            name,
            "×".join(map(str, parameter.shape)),
            f"{parameter.numel():,}",
            weight_class(network, name) if name in found.names else "",
            found.spared.get(name, "prunable"),
            "output layer" if name in found.outputs else "",
        )
        for name, parameter in parameters.items()
    ]
    total = sum(parameter.numel() for parameter in parameters.values())
    count = sum(parameters[name].numel() for name in found.names)
    heads = ("parameter", "shape", "size", "class", "prunable or why not", "")
    table = text_table(rows, heads, "lrrlll")
    return f"{table}\n\n{count:,} of {total:,} parameters are prunable ({count / total:.2%})"
