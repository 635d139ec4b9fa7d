"""Pruning layer by layer: SparseGPT against explicit inverses, and what later layers are shown."""

import copy
import gc

import pytest
import torch
from contexts import context_of
from torch import nn
from torch.nn import functional as F

from prunebench import Experiment, UsageError, run
from prunebench.benchmark.conformance.networks import Synthetic
from prunebench.models import LeNetSmall
from prunebench.seeding import generator
from prunebench.strategies import (
    ERK,
    CalibratedLayer,
    GlobalMagnitude,
    LayerByLayer,
    LayerMagnitude,
    PackedMasks,
    SparseGPT,
    Wanda,
    kept,
)


def layer(outputs=5, inputs=12, examples=200, groups=1, seed=0):
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(groups, examples, inputs, generator=rng, dtype=torch.float64)
    for j in range(1, inputs):  # neighbours are alike, as pixels and features are
        x[..., j] = 0.9 * x[..., j - 1] + 0.44 * x[..., j]
    weight = torch.randn(groups, outputs, inputs, generator=rng, dtype=torch.float64)
    return x, CalibratedLayer(
        weight, torch.ones_like(weight, dtype=torch.bool), x.mT @ x, generator(0, "test")
    )


def by_explicit_inverses(weight, mask, hessian):
    """Remove weights column by column, inverting what is left of the Hessian each time."""
    weight = weight.clone()
    for j in range(weight.shape[1]):
        inverse = torch.linalg.inv(hessian[j:, j:])
        for row in range(len(weight)):
            if not mask[row, j]:
                weight[row, j:] -= weight[row, j] / inverse[0, 0] * inverse[0]
    return weight * mask


@pytest.mark.parametrize("block_size", [1, 4, 5, 12, 100])
@pytest.mark.parametrize("groups", [1, 2])
def test_what_is_kept_makes_up_for_what_goes_as_by_explicit_inverses(block_size, groups):
    _, calibrated = layer(groups=groups)
    count = 30 * groups
    mask, values = SparseGPT(block_size=block_size).prune_layer(calibrated, count)
    assert int(mask.sum()) == count
    for group in range(groups):
        hessian = calibrated.gram[group]
        hessian = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(12)
        expected = by_explicit_inverses(calibrated.weight[group], mask[group], hessian)
        assert torch.allclose(values[group], expected, rtol=1e-8, atol=1e-10)


def test_the_first_block_loses_the_weights_of_lowest_saliency():
    _, calibrated = layer()
    mask, _ = SparseGPT(block_size=12).prune_layer(calibrated, 20)
    hessian = calibrated.gram[0] + 0.01 * calibrated.gram[0].diagonal().mean() * torch.eye(12)
    scores = torch.stack(
        [
            calibrated.weight[0, :, j] ** 2 / torch.linalg.inv(hessian[j:, j:])[0, 0]
            for j in range(12)
        ],
        1,
    )
    assert scores[mask[0]].min() > scores[~mask[0]].max()


def test_what_was_pruned_before_stays_pruned_and_is_not_counted():
    _, calibrated = layer()
    mask = torch.rand(calibrated.mask.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    calibrated = calibrated._replace(mask=mask, weight=calibrated.weight * mask)
    count = int(mask.sum()) - 3
    later, values = SparseGPT(block_size=4).prune_layer(calibrated, count)
    assert int(later.sum()) == count
    assert not (later & ~mask).any()
    assert not values[~later].any()


@pytest.mark.parametrize("seed", range(3))
def test_the_error_of_a_layer_is_below_those_of_magnitude_and_wanda(seed):
    x, calibrated = layer(outputs=20, inputs=40, examples=500, seed=seed)
    weight, inputs = calibrated.weight[0].float(), x[0].float()
    model = nn.Sequential(nn.Linear(40, 20, bias=False))
    model[0].weight.data.copy_(weight)

    class Given(Synthetic):
        def batches(self, split, batch_size, generator=None):
            yield inputs, torch.zeros(len(inputs), dtype=torch.long)

    def error(strategy):
        pruned = copy.deepcopy(model)
        strategy.prune(context_of(pruned, Given()), 400)
        assert int(pruned[0].weight.count_nonzero()) == 400
        return F.mse_loss(pruned(inputs), model(inputs)).item()

    ours = error(SparseGPT(batches=1))
    assert ours < 0.6 * min(error(LayerMagnitude()), error(Wanda(batches=1)))


class Branches(nn.Module):
    """Convolutions with groups, strides and padding, a layer that is used first and one never."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.last = nn.Linear(8, 10)
        self.unused = nn.Linear(4, 4)
        self.grouped = nn.Conv2d(8, 8, 3, stride=2, padding="valid", groups=2)
        self.first = nn.Conv2d(1, 8, 3, padding=1, padding_mode="reflect")

    def forward(self, images):
        return self.last(self.grouped(self.first(images).relu()).relu().mean((2, 3)))


@pytest.mark.slow
def test_each_layer_is_calibrated_on_what_the_pruned_layers_before_it_give_out(digits):
    model = Branches()
    shown = {}

    class Watching(SparseGPT):
        def prune_layer(self, layer, kept):
            shown[len(shown)] = layer.gram, copy.deepcopy(model)
            return super().prune_layer(layer, kept)

    task, names = digits, ["first", "grouped", "last", "unused"]
    context = context_of(model, task)
    Watching(batches=2, batch_size=32).prune(context, kept(context.masks) // 2)
    # What went in, by the network as it was when each layer's turn came, and torch's own patches.
    batches = list(context_of(model, task).batches(2, 32))
    for turn, name in enumerate(names[:3]):
        gram, then = shown[turn]
        assert not any((then.get_submodule(later).weight == 0).any() for later in names[turn:])
        assert all((then.get_submodule(before).weight == 0).any() for before in names[:turn])
        seen = []
        module = then.get_submodule(name)
        module.register_forward_hook(lambda _, inputs, __, seen=seen: seen.append(inputs[0]))
        for inputs, _ in batches:
            then(inputs)
        assert torch.allclose(gram, by_gradients(module, torch.cat(seen)), rtol=1e-4, atol=1e-4)
    assert not shown[3][0].any()


def by_gradients(module, inputs):
    """Σ x·xᵀ, each x being the gradient of one output by the weights of its first row."""
    groups = getattr(module, "groups", 1)
    found = []
    for group in range(groups):
        row = group * len(module.weight) // groups
        rows = []
        for example in inputs:
            outputs = module(example[None]).movedim(1, -1).reshape(-1, len(module.weight))
            for output in outputs[:, row]:
                (slope,) = torch.autograd.grad(output, module.weight, retain_graph=True)
                rows.append(slope[row].flatten())
        x = torch.stack(rows).double()
        found.append(x.T @ x)
    return torch.stack(found)


@pytest.mark.slow
def test_no_masks_or_scores_of_the_whole_network_are_in_memory_at_once():
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(64, 64) for _ in range(12)))
    weights = {id(each) for each in model.parameters()}
    seen = []

    class Given(Synthetic):
        def batches(self, split, batch_size, generator=None):
            yield torch.randn(32, 64), torch.zeros(32, dtype=torch.long)

    class Watching(SparseGPT):
        def prune_layer(self, layer, kept):
            gc.collect()
            tensors = [each for each in gc.get_objects() if type(each) is torch.Tensor]
            storages = {
                each.untyped_storage().data_ptr(): each.untyped_storage().nbytes()
                for each in tensors
                if id(each) not in weights and each.numel() >= 64 * 64
            }
            seen.append(sum(storages.values()))
            return super().prune_layer(layer, kept)

    sparsity = Watching(batches=1).prune(context_of(model, Given()), 12 * 64 * 32)
    # The second layer's turn needs as much as the last one's: nothing piles up.
    assert max(seen) - seen[1] <= 64 * 64
    assert kept(sparsity.masks) == 12 * 64 * 32


def test_packed_masks_give_back_what_was_put_in():
    packed, masks = PackedMasks(), {}
    for shape in ((3, 5), (2, 3, 3, 3), (1, 1), (8, 8)):
        masks[str(shape)] = torch.rand(shape) < 0.5
        packed.add(str(shape), masks[str(shape)])
    assert list(packed.in_order(reversed(masks))) == list(reversed(masks))
    assert all(torch.equal(packed[name], mask) for name, mask in masks.items())
    assert kept(packed) == sum(int(mask.sum()) for mask in masks.values())


@pytest.mark.slow
def test_it_runs_like_every_other_method_with_rounds_and_rewinding(tmp_path, experiment):
    settings = {"rounds": 2, "recovery": "Rewind(epoch=1)", "sparsity": 0.8}
    record = run(experiment(strategy="SparseGPT(batches=2)", **settings), runs=tmp_path)
    assert record.error is None
    again = run(experiment(strategy="SparseGPT(batches=2)", **settings), runs=tmp_path / "again")
    assert record.result() == again.result()
    assert record.final["prunable_sparsity"] == pytest.approx(0.8, abs=1e-3)


@pytest.mark.slow
def test_without_retraining_it_is_better_than_magnitudes(tmp_path, experiment):
    top1 = {
        strategy: run(
            experiment(strategy=strategy, sparsity=0.8, recovery="NoRecovery"), runs=tmp_path
        ).final["top1"]
        for strategy in ("SparseGPT", "LayerMagnitude")
    }
    assert top1["SparseGPT"] > top1["LayerMagnitude"] + 0.05


def test_only_densities_that_are_known_before_can_be_kept():
    assert isinstance(SparseGPT(allocation=ERK()), LayerByLayer)
    with pytest.raises(UsageError, match="allocation: Global is not allowed"):
        Experiment(
            dataset="Digits", model="LeNetSmall", compression=2,
            strategy="SparseGPT(allocation=Global())",
        )  # fmt: skip
    assert GlobalMagnitude().scorable(LeNetSmall(), ["x"]) == ["x"]
