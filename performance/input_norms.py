"""How unlike each other the inputs of a layer are, which is what Wanda knows and magnitudes do not.

    python performance/input_norms.py runs/gpt-multi30k/ab1c

Wanda multiplies each weight by the norm of its input over scoring examples. Where these are alike
it ranks the weights of an output as magnitudes do; it was made for large language models, some
inputs of which are a hundred times the others. Told of the dense network of a run, for each layer:
the largest norm and the 99th percentile beside the median, and the standard deviation beside the
mean.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from tabulate import tabulate
from torch import Tensor

from prunebench.benchmark.studies.restoring import restore
from prunebench.benchmark.sweeps.sweep import data_folder
from prunebench.results import Store
from prunebench.seeding import generator
from prunebench.strategies import Context, find_prunable, full_masks
from prunebench.strategies.evidence.activations import input_norms

HEADERS = ("layer", "largest / median", "99th percentile / median", "std / mean")


def main() -> None:
    """Print a line for each layer."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", help="the path of a record, or its folder and the id's beginning")
    parser.add_argument("--data", help="the folder of data sets")
    parser.add_argument("--batches", type=int, default=4, help="scoring batches")
    parser.add_argument("--batch-size", type=int, default=32, help="examples in each")
    options = parser.parse_args()
    store = Store.holding(options.run, "runs")
    run = restore(store.find(options.run), store, data_folder(options.data))
    model, task = run.networks["dense"], run.task
    found = find_prunable(model, task.inputs(1))
    masks = full_masks({name: model.get_parameter(name) for name in found.names})
    context = Context(model, task, masks, found.outputs, generator(0, "input norms"))
    norms = input_norms(context, options.batches, options.batch_size)
    print(tabulate(rows(norms), HEADERS, floatfmt=".2f"))


def rows(norms: Mapping[str, Tensor]) -> list[tuple[str, float, float, float]]:
    """A line for each layer, as :data:`HEADERS` has it.

    Args:
        norms: ‖x_j‖₂ of each input, in any shape, by the weight's name; where half of them are zero
            there is no line.
    """
    lines = []
    for name, norm in norms.items():
        values = norm.flatten().double()
        if (median := float(values.median())) > 0:
            high = float(values.quantile(0.99)) / median
            spread = float(values.std(correction=0) / values.mean())
            lines.append((name.removesuffix(".weight"), float(values.max()) / median, high, spread))
    return lines


if __name__ == "__main__":
    main()
