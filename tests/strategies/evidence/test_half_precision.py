"""What is seen of a network in half precision is added up in float32."""

import pytest
import torch
from contexts import context_of
from torch import nn

from prunebench.errors import UsageError
from prunebench.strategies import FPGM, SparseGPT, Wanda
from prunebench.strategies.evidence.activations import input_norms
from prunebench.strategies.evidence.grams import grams


class Half(nn.Module):
    """A layer of few inputs, which are so large that their squares are no float16."""

    def __init__(self, dtype):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(8, 4, bias=False).to(dtype)

    def forward(self, inputs):
        return self.layer(inputs.to(self.layer.weight.dtype))


class Numbers:
    """A task of a few examples."""

    inputs = 300 * torch.randn(40, 8, generator=torch.Generator().manual_seed(1))

    def batches(self, split, batch_size, generator=None):
        yield self.inputs, torch.zeros(len(self.inputs))

    def loss(self, model, batch):
        return model(batch[0]).float().square().mean()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_norms_and_products_are_those_of_the_rounded_inputs(dtype):
    rounded = Numbers.inputs.to(dtype).double()
    context = context_of(Half(dtype), Numbers())
    (norms,) = input_norms(context, 1, 40).values()
    torch.testing.assert_close(norms.double(), rounded.norm(dim=0), rtol=1e-4, atol=0)
    (gram,) = grams(context, 1, 40).values()
    expected = (rounded.T @ rounded).float()
    torch.testing.assert_close(gram[0], expected, rtol=1e-4, atol=1e-4 * float(expected.max()))


class Sequences(Numbers):
    """The same numbers as one channel of short sequences."""

    inputs = Numbers.inputs.unsqueeze(1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_norms_under_kernels_are_those_of_the_rounded_inputs(dtype):
    model = Half(dtype)
    model.layer = nn.Conv1d(1, 4, 8, bias=False).to(dtype)
    rounded = Sequences.inputs.to(dtype).double()
    (norms,) = input_norms(context_of(model, Sequences()), 1, 40).values()
    expected = rounded.norm(dim=0).expand_as(norms)
    torch.testing.assert_close(norms.double(), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("strategy", [Wanda(batches=1), SparseGPT(batches=1)])
def test_weights_keep_their_type_and_the_budget_is_met(strategy, dtype):
    context = context_of(Half(dtype), Numbers())
    strategy.prune(context, 16)
    weight = context.model.layer.weight
    assert weight.dtype == dtype
    assert int(weight.count_nonzero()) == 16


class Lookup(nn.Module):
    """An embedding, of which one row is looked up more often than bfloat16 can count."""

    def __init__(self):
        super().__init__()
        self.rows = nn.Embedding(3, 2, dtype=torch.bfloat16)

    def forward(self, inputs):
        return self.rows(inputs)


class Tokens(Numbers):
    inputs = torch.tensor([1] * 1001 + [2] * 3)


def test_lookups_are_counted_one_by_one():
    (found,) = input_norms(context_of(Lookup(), Tokens()), 1, 2000).values()
    assert found.square().flatten().tolist() == pytest.approx([0, 1001, 3])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_distances_of_filters_are_taken_in_float32(dtype):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.Flatten(), nn.Linear(6 * 36, 2)).to(dtype)
    halves = FPGM().score(context_of(model, strategy=FPGM()))["0.weight"]
    precise = FPGM().score(context_of(model.float(), strategy=FPGM()))["0.weight"]
    assert torch.allclose(halves.float(), precise, rtol=1e-2)


def test_what_no_factor_is_of_gets_one_clear_sentence():
    model = Half(torch.float32)
    numbers = Numbers()
    numbers.inputs = torch.full((40, 8), float("nan"))
    with pytest.raises(UsageError, match=r"damping: 0\.01 is too small for what flows into"):
        SparseGPT(batches=1).prune(context_of(model, numbers), 16)
