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
    NM,
    CalibratedLayer,
    GlobalMagnitude,
    LayerByLayer,
    LayerMagnitude,
    PackedMasks,
    PerOutput,
    SparseGPT,
    Unstructured,
    Wanda,
    kept,
)
from prunebench.strategies.scores.sparsegpt import inverted_factor_


def layer(outputs=5, inputs=12, examples=200, groups=1, seed=0):
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(groups, examples, inputs, generator=rng, dtype=torch.float64)
    for j in range(1, inputs):  # neighbours are alike, as pixels and features are
        x[..., j] = 0.9 * x[..., j - 1] + 0.44 * x[..., j]
    weight = torch.randn(groups, outputs, inputs, generator=rng, dtype=torch.float64)
    return x, CalibratedLayer(
        weight, torch.ones_like(weight, dtype=torch.bool), x.mT @ x, generator(0, "test")
    )


def prune(strategy, calibrated, count):
    """The mask and the new weights of a layer that is needed as it is later on."""
    return strategy.prune_layer(
        calibrated._replace(weight=calibrated.weight.clone(), gram=calibrated.gram.clone()), count
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
    mask, values = prune(SparseGPT(block_size=block_size), calibrated, count)
    assert int(mask.sum()) == count
    for group in range(groups):
        hessian = calibrated.gram[group]
        hessian = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(12)
        expected = by_explicit_inverses(calibrated.weight[group], mask[group], hessian)
        assert torch.allclose(values[group], expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("block_size", [1, 5, 16, 37, 64])
def test_the_inverted_factor_takes_the_place_of_the_matrix(block_size):
    x = torch.randn(2, 60, 37, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrix = x.mT @ x
    factor = inverted_factor_(held := matrix.clone(), block_size)
    assert factor.data_ptr() == held.data_ptr()
    assert torch.equal(factor, factor.triu())
    assert torch.allclose(factor.mT @ factor, torch.linalg.inv(matrix), rtol=1e-8)


def test_the_first_block_loses_the_weights_of_lowest_saliency():
    _, calibrated = layer()
    mask, _ = prune(SparseGPT(block_size=12), calibrated, 20)
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
    later, values = prune(SparseGPT(block_size=4), calibrated, count)
    assert int(later.sum()) == count
    assert not (later & ~mask).any()
    assert not values[~later].any()


def by_the_paper(weight, hessian, keep, width):
    """Column by column: of the next ``width`` columns some weights are to stay, the others go.

    Args:
        keep: gives a mask from scores of those columns.
    """
    weight, columns = weight.clone(), weight.shape[1]
    mask = torch.ones_like(weight, dtype=torch.bool)
    saliencies = [torch.linalg.inv(hessian[j:, j:])[0, 0] for j in range(columns)]
    for j in range(columns):
        if j % width == 0:
            group = range(j, j + width)
            mask[:, group] = keep(
                torch.stack([weight[:, k] ** 2 / saliencies[k] for k in group], 1)
            )
        inverse = torch.linalg.inv(hessian[j:, j:])
        for row in range(len(weight)):
            if not mask[row, j]:
                weight[row, j:] -= weight[row, j] / inverse[0, 0] * inverse[0]
    return mask, weight * mask


def two_of_a_row(scores):
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, scores.topk(2).indices, True)


def half_of_all(scores):
    return scores > scores.flatten().sort().values[scores.numel() // 2 - 1]


@pytest.mark.parametrize(
    ("structure", "keep", "width"),
    [(Unstructured(), half_of_all, 12), (NM(), two_of_a_row, 4)],
    ids=["unstructured", "2:4"],
)
def test_masks_weights_and_errors_are_those_of_the_published_algorithm(structure, keep, width):
    x, calibrated = layer()
    hessian = calibrated.gram[0] + 0.01 * calibrated.gram[0].diagonal().mean() * torch.eye(12)
    expected, weights = by_the_paper(calibrated.weight[0], hessian, keep, width)
    if structure == NM():
        calibrated = calibrated._replace(channels=12)
    strategy = SparseGPT(structure=structure)
    (mask,), (values,) = prune(strategy, calibrated, calibrated.weight.numel() // 2)
    assert torch.equal(mask, expected)
    assert torch.allclose(values, weights, rtol=1e-8, atol=1e-10)
    error, of_paper = (
        (x[0] @ (w - calibrated.weight[0]).T).square().sum() for w in (values, weights)
    )
    assert error.item() == pytest.approx(of_paper.item(), rel=1e-8)


@pytest.mark.parametrize("inputs", [12, 14, 256])
def test_blocks_of_any_size_give_the_same_where_groups_decide_what_goes(inputs):
    _, calibrated = layer(outputs=6, inputs=inputs, examples=600)
    calibrated = calibrated._replace(channels=inputs)
    kept = NM().most(calibrated.weight[0])
    masks, values = zip(
        *(
            prune(SparseGPT(structure=NM(), block_size=size), calibrated, kept)
            for size in (1, 6, 128)
        ),
        strict=True,
    )
    assert int(masks[0].sum()) == kept
    assert torch.equal(masks[0], masks[1])
    assert torch.equal(masks[0], masks[2])
    assert torch.allclose(values[0], values[1], rtol=1e-8, atol=1e-10)
    assert torch.allclose(values[0], values[2], rtol=1e-8, atol=1e-10)


def test_more_may_go_than_the_pattern_takes():
    _, calibrated = layer()
    mask, _ = prune(SparseGPT(structure=NM()), calibrated._replace(channels=12), 20)
    assert int(mask.sum()) == 20
    assert mask.unflatten(2, (-1, 4)).sum(3).max() <= 2


@pytest.fixture(scope="module")
def trained(digits):
    torch.manual_seed(0)
    model = LeNetSmall()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    rng = generator(0, "training")
    for _ in range(3):
        for batch in digits.batches("train", 64, rng):
            optimizer.zero_grad()
            digits.loss(model, batch).backward()
            optimizer.step()
    assert max(batch_accuracies(model, digits)) > 0.9
    return model


def batch_accuracies(model, task):
    with torch.no_grad():
        return [(model(x).argmax(1) == y).float().mean() for x, y in task.batches("test", 500)]


@pytest.mark.slow
@pytest.mark.parametrize("structure", [Unstructured(), NM()], ids=str)
@torch.no_grad()
def test_on_every_layer_of_a_trained_network_the_error_is_the_least(trained, digits, structure):
    """Each layer by itself: what leaves it on what the unpruned network shows it."""
    settings = {"batches": 4, "sequential": False, "structure": structure}
    context = context_of(trained, digits, strategy=SparseGPT())
    batches = list(context_of(trained, digits).batches(4, 128))

    def errors(strategy):
        pruned = copy.deepcopy(trained)
        of_copy = context_of(pruned, digits, strategy=SparseGPT())
        budget = strategy.largest_budget(of_copy.weights)
        masks = strategy.prune(of_copy, min(budget, kept(context.masks) // 2)).masks
        found = {}
        for name in masks:
            module, other = (m.get_submodule(name[:-7]) for m in (trained, pruned))
            seen = []
            hook = module.register_forward_hook(
                lambda _, x, y, other=other, seen=seen: seen.append(
                    (other(x[0]) - y).square().sum()
                )
            )
            for inputs, _ in batches:
                trained(inputs)
            hook.remove()
            found[name] = sum(seen).item()
        return found

    ours = errors(SparseGPT(**settings))
    others = errors(Wanda(**settings)), errors(LayerMagnitude(structure=structure))
    assert len(ours) >= 3
    for name, error in ours.items():
        assert error < min(other[name] for other in others), name


@torch.no_grad()
def test_in_a_convolution_groups_are_of_channels_at_one_place_of_the_kernel(digits):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3, groups=2), nn.Flatten(), nn.Linear(64, 10)
    )
    half = (72 + 144 + 640) // 2
    masks = SparseGPT(structure=NM(1, 2), batches=1).prune(context_of(model, digits), half).masks
    assert kept(masks) == half
    assert (masks["2.weight"].unflatten(1, (2, 2)).sum(2) == 1).all()
    assert (masks["4.weight"].unflatten(1, (32, 2)).sum(2) == 1).all()
    assert torch.equal(model[2].weight != 0, masks["2.weight"])


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
            shown[len(shown)] = layer.gram.clone(), copy.deepcopy(model)
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
        expected = by_gradients(module, torch.cat(seen))
        assert torch.allclose(gram.double(), expected, rtol=1e-4, atol=1e-4)
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


def test_an_allocation_that_would_do_nothing_is_refused():
    with pytest.raises(UsageError, match=r"allocation: PerOutput.* is not allowed: it chooses"):
        SparseGPT(allocation=PerOutput())
