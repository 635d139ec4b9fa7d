"""Run by torchrun in a test: prune networks, and leave what each process has in the end.

    distributed_cell.py FOLDER MODEL STRATEGY STEP [FOLDER MODEL STRATEGY STEP ...]

Training is interrupted before that step, unless it is 0.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from prunebench.benchmark.cell import distributed
from prunebench.benchmark.cell.checkpoint import Checkpoints
from prunebench.benchmark.cell.loop import load_task
from prunebench.benchmark.cell.pretraining import Pretrained
from prunebench.benchmark.cell.process import threads
from prunebench.benchmark.cell.rounds import Pruned, Steps, prune
from prunebench.benchmark.cell.training import train
from prunebench.benchmark.experiment import Experiment


class Network(nn.Module):
    """A small network with dropout, so that each process draws noise of its own."""

    def __init__(self, input_shape: tuple[int, ...] = (1, 8, 8), classes: int = 10) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.layers(x)
        return outputs


def main(runs: Path, model: str, strategy: str, stop: int) -> None:
    """Prune, with a checkpoint as often as the processes ask each other for one."""
    distributed.start()
    training = {"optimizer": "SGD", "learning_rate": 0.05, "momentum": 0.9, "batch_size": 50}
    experiment = Experiment(
        dataset="Digits",
        model=model,
        strategy=strategy,
        sparsity=0.8,
        rounds=2 if strategy != "RigL" else 1,
        pretraining={**training, "epochs": 1},
        finetuning={**training, "epochs": 1},
    )
    if stop:
        _interrupt_before(stop)
    with threads(1):
        task = load_task(experiment.dataset, runs)
        checkpoints = Checkpoints(runs, experiment.id, 1e-9)
        try:
            steps = prune(experiment, task, Pretrained(experiment, task, runs), checkpoints)
            pruned = _finished(steps)
        except KeyboardInterrupt:
            return
    state = {"masks": pruned.masks, "weights": pruned.model.state_dict()}
    torch.save(state, runs / f"{distributed.rank()}-of-{distributed.world_size()}.pt")


def _finished(steps: Steps[Pruned]) -> Pruned:
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send(train(wanted))
    except StopIteration as end:
        pruned: Pruned = end.value
        return pruned


def _interrupt_before(stop: int) -> None:
    step, done = torch.optim.SGD.step, 0

    def counted(*arguments: object) -> object:
        nonlocal done
        done += 1
        if done == stop:
            raise KeyboardInterrupt
        return step(*arguments)  # type: ignore[arg-type]

    torch.optim.SGD.step = counted  # type: ignore[assignment]


if __name__ == "__main__":
    for place in range(1, len(sys.argv), 4):
        folder, network, method, step = sys.argv[place : place + 4]
        main(Path(folder), network, method, int(step))
