"""What is computed in float64, where a device has none: as on MPS."""

import pytest
import torch
from contexts import context_of
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from prunebench import precision
from prunebench.models import LeNetSmall
from prunebench.seeding import generator

NOWHERE = torch.device("meta")


class WithoutFloat64(TorchDispatchMode):
    """Refuses float64 on the device of no memory; what comes from there is drawn."""

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        named = named or {}
        copied = function is torch.ops.aten._to_copy.default
        if copied and named.get("device") == torch.device("cpu"):
            return torch.rand(arguments[0].shape).to(named.get("dtype") or arguments[0].dtype)
        made = function(*arguments, **named)
        for each in tree_leaves(made):
            if isinstance(each, torch.Tensor) and each.device == NOWHERE:
                assert each.dtype != torch.float64, function
        return made


@pytest.fixture
def without_float64(monkeypatch):
    monkeypatch.setattr(precision, "_WITHOUT", (NOWHERE.type,))
    with WithoutFloat64():
        yield


@pytest.fixture
def context(digits, without_float64):
    return context_of(LeNetSmall().to(NOWHERE), digits.to(NOWHERE))


@pytest.mark.parametrize("name", ["Random", "LAMP", "SNIP", "SynFlow", "OBS", "WoodFisher"])
def test_scores_are_made_for_a_device_without_float64(context, frugal, name):
    scores = frugal(name).score(context)
    assert {name: each.shape for name, each in scores.items()} == {
        name: each.shape for name, each in context.weights.items()
    }
    assert {(each.device, each.dtype) for each in scores.values()} == {(NOWHERE, torch.float32)}


@pytest.mark.parametrize("name", ["OBS", "WoodFisher"])
def test_weights_are_updated_on_a_device_without_float64(context, frugal, name):
    for new in frugal(name).update(context, context.masks).values():
        assert (new.device, new.dtype) == (NOWHERE, torch.float32)


def test_random_growth_is_drawn_for_a_device_without_float64(context, frugal):
    (weight, *_) = context.weights.values()
    drawn = frugal("SET").growth(weight, generator(0, "growth"))
    assert (drawn.device, drawn.dtype) == (NOWHERE, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float64_is_computed_in_place_where_it_can_be(dtype):
    tensor = torch.randn(3, dtype=dtype)
    exact = precision.in_float64(tensor)
    assert torch.equal(exact, tensor.double())
    assert precision.from_float64(exact, tensor.device) is exact
