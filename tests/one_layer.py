"""A layer that a method trains for a few steps of plain gradient descent."""

import torch
from contexts import context_of
from torch import nn
from torch.nn import functional as F


class OneLayer(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(20, 10, bias=False)

    def forward(self, inputs):
        return self.layer(inputs)


def step_by_hand(strategy, steps=1, lr=0.1, budget=80):
    """The layer after some steps of plain gradient descent, and what its training remembers."""
    model = OneLayer()
    context = context_of(model)
    initial = model.layer.weight.detach().clone()
    sparsity = strategy.prune(context, budget)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    sparsity.start(optimizer, 100)
    torch.manual_seed(5)
    inputs, targets = torch.randn(50, 20), torch.randn(50, 10)
    seen = []
    for _ in range(steps):
        seen.append(model.layer.weight.detach().clone())
        optimizer.zero_grad()
        F.mse_loss(model(inputs), targets).backward()
        sparsity.after_backward()
        optimizer.step()
        sparsity.after_step()
    seen.append(model.layer.weight.detach().clone())
    return initial, seen, inputs, targets


def gradient_at(weight, inputs, targets):
    weight = weight.clone().requires_grad_()
    F.mse_loss(inputs @ weight.T, targets).backward()
    return weight.grad
