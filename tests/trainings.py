"""What tests of training have in common: a small network, and methods that train it."""

import torch

from prunebench.models import LeNetSmall


def small():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LeNetSmall()


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


TRAINED = (
    "GlobalMagnitude", "SET", "RigL", "DynamicNetworkSurgery",
    "STR", "HardConcrete", "Movement", "StraightThrough",
)  # fmt: skip
