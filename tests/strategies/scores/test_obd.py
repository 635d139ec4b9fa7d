"""OBD, held to the losses that pruning really costs on a quadratic loss."""

import pytest
from contexts import context_of
from quadratic import at_the_minimum, loss_of

from prunebench.datasets import Task
from prunebench.errors import UsageError
from prunebench.strategies import OBD, Exact


def test_obd_is_the_increase_of_a_quadratic_loss_when_one_weight_goes(linear, regression):
    at_the_minimum(linear, regression)
    context = context_of(linear, regression)
    scores = OBD(curvature=Exact(batches=1, batch_size=60)).score(context)["0.weight"]
    weight = linear[0].weight.detach()
    base = loss_of(linear, regression, weight)
    for place in [(0, 0), (0, 3), (1, 5), (1, 2)]:
        without = weight.clone()
        without[place] = 0
        increase = loss_of(linear, regression, without) - base
        assert scores[place].item() == pytest.approx(increase, rel=1e-9)


def test_a_task_that_cannot_draw_targets_is_told_what_is_missing(linear, regression):
    class NoSampling(type(regression)):
        sampled_loss = Task.sampled_loss

    with pytest.raises(UsageError, match=r"NoSampling has no sampled_loss\(\)"):
        OBD().score(context_of(linear, NoSampling()))
