"""Calibration in sequence: layers are shown what the pruned layers before them give out."""

import pytest
import torch
from contexts import context_of
from torch import nn

from prunebench import Experiment, UsageError
from prunebench.benchmark.conformance.checks import CHECKS
from prunebench.benchmark.conformance.networks import Synthetic
from prunebench.strategies import (
    ERK,
    NM,
    Channels,
    CoupledChannels,
    GlobalActivationMagnitude,
    LayerActivationMagnitude,
    PerOutput,
    SparseGPT,
    Wanda,
    kept,
)


class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(8, 4)  # registered first, used last
        self.first, self.second = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 8, 3)

    def forward(self, inputs):
        images = inputs.view(-1, 1, 6, 6)
        return self.last(self.second(self.first(images).relu()).relu().mean((2, 3)))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(6, 2, 12, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.last = nn.Linear(6, 4)

    def forward(self, inputs):
        return self.last(self.encoder(inputs.view(-1, 6, 6)).mean(1))


USED = {
    Convolutions: ["first", "second", "last"],
    Attention: [f"encoder.layers.{i}.linear{j}" for i in (0, 1) for j in (1, 2)] + ["last"],
}


def network(kind):
    torch.manual_seed(0)
    return kind()


def shown(model, name, batches):
    """What a layer takes in when the model runs on the batches, caught by a hook."""
    seen = []
    hook = model.get_submodule(name).register_forward_hook(lambda _, x, __: seen.append(x[0]))
    for inputs, _ in batches:
        model(inputs)
    hook.remove()
    return torch.cat(seen)


def norms(module, inputs):
    if isinstance(module, nn.Linear):
        return inputs.flatten(0, -2).norm(dim=0)
    patches = nn.functional.unfold(inputs, module.kernel_size).transpose(1, 2).flatten(0, 1)
    return patches.norm(dim=0).view(1, *module.weight.shape[1:])


def smallest_half(scores):
    mask = torch.ones(scores.numel(), dtype=torch.bool)
    mask[scores.flatten().argsort()[: scores.numel() // 2]] = False
    return mask.view(scores.shape)


@pytest.mark.parametrize("kind", USED)
@torch.no_grad()
def test_each_layer_is_scored_by_what_the_network_pruned_so_far_shows_it(kind):
    strategy = Wanda(batches=2, batch_size=32, sequential=True)
    model, by_hand = network(kind), network(kind)
    context = context_of(model, Synthetic(), strategy=strategy)
    batches = list(context_of(by_hand, Synthetic()).batches(2, 32))
    masks = strategy.prune(context, kept(context.masks) // 2).masks
    assert set(masks) == {f"{name}.weight" for name in USED[kind]}
    for name in USED[kind]:
        module = by_hand.get_submodule(name)
        scores = module.weight.abs() * norms(module, shown(by_hand, name, batches))
        module.weight *= smallest_half(scores)
        assert torch.equal(masks[f"{name}.weight"], module.weight != 0)
    assert all(map(torch.equal, model.state_dict().values(), by_hand.state_dict().values()))
    at_once = Wanda(batches=2, batch_size=32).masks(
        context_of(network(kind), Synthetic(), strategy=strategy), kept(context.masks) // 2
    )
    same = [torch.equal(at_once[f"{name}.weight"], masks[f"{name}.weight"]) for name in USED[kind]]
    assert same[0]
    assert not all(same)


@torch.no_grad()
def test_sparsegpt_can_be_calibrated_on_the_network_as_it_was():
    seen = {}

    class Watching(SparseGPT):
        def prune_layer(self, layer, kept):
            seen[layer.weight.shape[1:]] = layer.gram[0].clone()
            return super().prune_layer(layer, kept)

    dense = network(Convolutions)
    context = context_of(network(Convolutions), Synthetic())
    batches = list(context_of(dense, Synthetic()).batches(2, 32))
    Watching(batches=2, batch_size=32, sequential=False).prune(context, kept(context.masks) // 2)
    inputs = shown(dense, "last", batches)
    assert torch.allclose(seen[dense.last.weight.shape], inputs.T @ inputs)


@pytest.mark.parametrize("allocation", [ERK(), PerOutput()], ids=str)
def test_layers_keep_what_they_would_keep_if_all_were_scored_at_once(allocation):
    counts = []
    for sequential in (False, True):
        strategy = LayerActivationMagnitude(allocation=allocation, sequential=sequential)
        context = context_of(network(Convolutions), Synthetic())
        masks = strategy.prune(context, 200).masks
        counts.append({name: int(mask.sum()) for name, mask in masks.items()})
    assert counts[0] == counts[1]


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=str)
@pytest.mark.parametrize(
    "strategy",
    [
        Wanda(batches=2, batch_size=32, sequential=True, allocation=PerOutput()),
        LayerActivationMagnitude(
            batch_size=32, sequential=True, allocation=ERK(), structure=Channels()
        ),
        SparseGPT(batches=2, batch_size=32, allocation=ERK(), structure=NM(), block_size=8),
    ],
    ids=str,
)
def test_every_rule_is_kept_however_it_is_calibrated(strategy, check):
    assert check.violations(strategy) == []


def test_what_cannot_be_pruned_layer_by_layer_is_refused():
    with pytest.raises(UsageError, match="GlobalActivationMagnitude: allocation: Global is not"):
        GlobalActivationMagnitude(sequential=True)
    with pytest.raises(UsageError, match="sequential: with structure CoupledChannels it is not"):
        Wanda(structure=CoupledChannels(), sequential=True)
    with pytest.raises(UsageError, match="structure: Channels is not allowed: it must be Unstr"):
        SparseGPT(structure=Channels())


def test_methods_that_are_calibrated_as_ever_are_who_they_were():
    def identity(strategy):
        return Experiment(dataset="Digits", model="LeNetSmall", compression=2, strategy=strategy).id

    assert identity(Wanda()) == "34ec965b85999a79"
    assert identity("Wanda(batches=4)") == "8ad55e3c2a177860"
    assert identity(SparseGPT(sequential=True)) == "3d5082dbef898b43"
    assert identity("Wanda(sequential=True)") != identity("Wanda")
