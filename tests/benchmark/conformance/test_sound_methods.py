"""The conformance kit says nothing against sound methods of many kinds."""

import copy
from dataclasses import dataclass

import pytest
import torch
from planted import broken_rules
from torch import nn

from prunebench.benchmark.conformance.checks import CHECKS
from prunebench.strategies import (
    ALLOCATIONS,
    STRATEGIES,
    Allocation,
    CoupledChannels,
    Filters,
    Global,
    GlobalMagnitude,
    LayerMagnitude,
    Random,
    ScoredStrategy,
    Structure,
    Uniform,
    evaluation_mode,
)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=str)
@pytest.mark.parametrize("name", STRATEGIES.names())
def test_every_strategy_of_ours_keeps_every_rule(name, check, frugal):
    assert check.violations(frugal(name)) == []


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=str)
@pytest.mark.parametrize(
    "name",
    [
        "StructuredL1",
        "StructuredL2",
        "StructuredRandom",
        "FPGM",
        "ChannelTaylor",
        "BatchNormSlimming",
        "GlobalMagnitude",
        "SNIP",
    ],
)
def test_a_strategy_keeps_every_rule_where_it_removes_coupled_channels(name, check, frugal):
    assert check.violations(frugal(name, structure=CoupledChannels())) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ALLOCATIONS.names())
def test_every_allocation_of_ours_keeps_every_rule(name):
    arguments = {"densities": {"last": 0.5}} if name == "Explicit" else {}
    allocation = ALLOCATIONS.find(name)(**arguments)
    assert broken_rules(GlobalMagnitude(allocation=allocation)) == {}


class Lamp(ScoredStrategy):
    """w² over the sum of the squares that are no smaller, in its layer."""

    def score(self, context):
        return {name: self.of_layer(weight) for name, weight in context.weights.items()}

    def of_layer(self, weight):
        squares = weight.flatten().square()
        order = squares.argsort(descending=True)
        sums = torch.empty_like(squares)
        sums[order] = squares[order].cumsum(0)
        return (squares / sums.clamp(min=1e-30)).view_as(weight)


@dataclass(frozen=True)
class GeometricMedian(ScoredStrategy):
    """FPGM: the distances of a filter from all others."""

    allocation: Allocation = Uniform()
    structure: Structure = Filters()

    def score(self, context):
        return {name: self.of_layer(weight) for name, weight in context.weights.items()}

    def of_layer(self, weight):
        filters = weight.flatten(1)
        distances = torch.cdist(filters, filters).sum(1)
        return distances.view(-1, *[1] * (weight.ndim - 1)).expand_as(weight)


class HessianProducts(ScoredStrategy):
    """The Hessian times a vector, for scores of second order."""

    def products(self, context, vector=None):
        parameters = dict(context.model.named_parameters())
        weights = [parameters[name] for name in context.masks]
        with evaluation_mode(context.model):
            (batch,) = context.batches(1, 256)
            loss = context.task.loss(context.model, batch)
            gradients = torch.autograd.grad(loss, weights, create_graph=True)
            vector = vector or [gradient.detach() for gradient in gradients]
            return torch.autograd.grad(gradients, weights, vector, materialize_grads=True)


class GradientFlow(HessianProducts):
    """GraSP: w·Hg, a signed score."""

    def score(self, context):
        products = self.products(context)
        return {
            name: weight * product
            for (name, weight), product in zip(context.weights.items(), products, strict=True)
        }


class Hutchinson(HessianProducts):
    """OBD with a single random probe of the Hessian's diagonal: signed, and mostly noise."""

    def score(self, context):
        probes = [
            torch.randn(weight.shape, generator=context.generator).sign()
            for weight in context.weights.values()
        ]
        products = self.products(context, probes)
        return {
            name: weight.square() * probe * product
            for (name, weight), probe, product in zip(
                context.weights.items(), probes, products, strict=True
            )
        }


class SynapticFlow(ScoredStrategy):
    """One round of SynFlow, on a copy in float64."""

    def score(self, context):
        model = copy.deepcopy(context.model).double().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.abs_()
        weights = dict(model.named_parameters())
        chosen = [weights[name] for name in context.masks]
        flow = model(torch.ones(1, *context.task.input_shape, dtype=torch.float64)).sum()
        gradients = torch.autograd.grad(flow, chosen, materialize_grads=True)
        return {
            name: weight.detach() * gradient
            for name, weight, gradient in zip(context.masks, chosen, gradients, strict=True)
        }


class InputNorms(ScoredStrategy):
    """Wanda: |w| times the norm of the layer's inputs, seen by hooks."""

    def score(self, context):
        norms, hooks = {}, []
        for name, module in context.model.named_modules():
            if isinstance(module, nn.Linear):
                hooks.append(module.register_forward_hook(self.note(norms, f"{name}.weight")))
        with torch.no_grad(), evaluation_mode(context.model):
            for inputs, _ in context.batches(2, 64):
                context.model(inputs)
        for hook in hooks:
            hook.remove()
        return {name: weight.abs() * norms.get(name, 1) for name, weight in context.weights.items()}

    def note(self, norms, name):
        return lambda module, inputs, output: norms.__setitem__(name, inputs[0].norm(dim=0))


class LinearLayersOnly(LayerMagnitude):
    """Finds nothing to prune in some networks."""

    def removable(self, model, prunable):
        return [
            f"{name}.weight" for name, module in model.named_modules() if type(module) is nn.Linear
        ][:1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "strategy",
    [
        Lamp(),
        GeometricMedian(),
        GradientFlow(),
        Hutchinson(),
        SynapticFlow(),
        InputNorms(),
        LinearLayersOnly(),
        Random(allocation=Uniform(), structure=Filters()),
        GlobalMagnitude(structure=Filters()),
        GlobalMagnitude(allocation=Global(minimum=3)),
        LayerMagnitude(allocation=Uniform(minimum=50)),
    ],
    ids=lambda strategy: str(strategy),
)
def test_sound_methods_of_other_kinds_raise_no_alarm(strategy):
    assert broken_rules(strategy) == {}
