"""A linear model whose loss is quadratic, at its minimum and anywhere else."""

import torch


def at_the_minimum(model, task):
    """Set the linear model to the least-squares solution."""
    with torch.no_grad():
        model[0].weight.copy_(torch.linalg.lstsq(task.x, task.y).solution.T)


def loss_of(model, task, weight):
    with torch.no_grad():
        saved = model[0].weight.clone()
        model[0].weight.copy_(weight)
        loss = task.loss(model, (task.x, task.y)).item()
        model[0].weight.copy_(saved)
    return loss
