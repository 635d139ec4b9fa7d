"""Run by torchrun in a test: prune a network, and leave what each process has in the end."""

import sys
from pathlib import Path

import torch

from prunebench.benchmark import distributed
from prunebench.benchmark.experiment import Experiment
from prunebench.benchmark.loop import load_task, prune, threads
from prunebench.benchmark.pretraining import Pretrained

distributed.start()
runs, strategy = Path(sys.argv[1]), sys.argv[2]
training = {"optimizer": "SGD", "learning_rate": 0.05, "momentum": 0.9, "batch_size": 50}
experiment = Experiment(
    dataset="Digits",
    model="LeNetSmall",
    strategy=strategy,
    sparsity=0.8,
    rounds=2,
    pretraining={**training, "epochs": 1},
    finetuning={**training, "epochs": 1},
)
with threads(1):
    task = load_task(experiment.dataset, runs)
    pruned = prune(experiment, task, Pretrained(experiment, task, runs))
state = {"masks": pruned.masks, "weights": pruned.model.state_dict()}
torch.save(state, runs / f"{distributed.number()}-of-{distributed.processes()}.pt")
