"""Run by torchrun in a test: train a network in parts of batches.

distributed_training.py FOLDER

Each process leaves the weights that it has in the end.
"""

import sys
from pathlib import Path

import torch

from prunebench.benchmark.cell import distributed
from prunebench.benchmark.cell.epochs import Purpose, Training, epochs
from prunebench.benchmark.cell.process import threads
from prunebench.benchmark.recipe import Recipe
from prunebench.datasets import Digits
from prunebench.models import LeNetSmall
from prunebench.seeding import seeded


def main(folder: Path) -> None:
    """Train for an epoch, in whose batches two processes have 5 and 4 examples, or fewer."""
    distributed.start()
    recipe = Recipe(
        epochs=1, batch_size=9, accumulation=4, optimizer="SGD", learning_rate=0.01, momentum=0.9
    )
    with threads(1), seeded(0, "initialisation"):
        task, model = Digits().load(folder), LeNetSmall()
        (done,) = epochs(Training(model, task, recipe, Purpose(0, "training")))
    left = {"loss": done.loss, "weights": model.state_dict()}
    torch.save(left, folder / f"{distributed.rank()}-of-{distributed.world_size()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
