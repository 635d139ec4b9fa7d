"""Clipped gradients: those of kept weights count, and no others."""

import pytest
import torch
from contexts import context_of
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.prune import custom_from_mask
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from trainings import TRAINED, same, small

from prunebench.benchmark.cell.epochs import Purpose, Training, epochs
from prunebench.benchmark.recipe import Recipe
from prunebench.seeding import generator
from prunebench.strategies import (
    STRATEGIES,
    ReparametrisedTraining,
    SparseTraining,
)


def pruned_at_random(model, sparsity):
    names = [name for name, weight in model.named_parameters() if weight.ndim > 1]
    shapes = {name: dict(model.named_parameters())[name].shape for name in names}
    lots = generator(0, "masks")
    return {name: torch.rand(shape, generator=lots) >= sparsity for name, shape in shapes.items()}


@pytest.mark.slow
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_clipped_training_under_masks_is_that_of_torchs_own_pruning(digits, momentum):
    ours, theirs = small(), small()
    masks = pruned_at_random(ours, 0.95)
    settings = {"lr": 0.1, "momentum": momentum, "weight_decay": 1e-3}
    recipe = Recipe(
        epochs=2, optimizer="SGD", learning_rate=0.1, momentum=momentum, weight_decay=1e-3,
        gradient_clipping=0.05,
    )  # fmt: skip
    sparsity = SparseTraining(ours, masks)
    sparsity.apply()
    for _ in epochs(Training(ours, digits, recipe, Purpose(3, "test"), sparsity)):
        pass

    for name, mask in masks.items():
        custom_from_mask(theirs.get_submodule(name.removesuffix(".weight")), "weight", mask)
    optimizer, clipped = torch.optim.SGD(theirs.parameters(), **settings), 0
    for epoch in (1, 2):
        for x, y in digits.batches("train", 64, generator(3, "test", "order", epoch)):
            optimizer.zero_grad()
            F.cross_entropy(theirs(x), y).backward()
            clipped += int(clip_grad_norm_(theirs.parameters(), 0.05) > 0.05)
            optimizer.step()
    assert clipped > 10
    for name, mask in masks.items():
        layer = theirs.get_submodule(name.removesuffix(".weight"))
        weight = ours.get_parameter(name)
        assert torch.allclose(weight, layer.weight_orig * mask, rtol=1e-4, atol=1e-6), name
        assert torch.allclose(ours.get_parameter(name.replace("weight", "bias")), layer.bias,
                              rtol=1e-4, atol=1e-6)  # fmt: skip


def test_clipping_without_pruning_is_that_of_torch_bit_for_bit(digits):
    ours, theirs = small(), small()
    recipe = Recipe(epochs=1, optimizer="SGD", learning_rate=0.1, gradient_clipping=0.3)
    for _ in epochs(Training(ours, digits, recipe, Purpose(3, "test"), SparseTraining(ours, {}))):
        pass
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, fused=True)
    for x, y in digits.batches("train", 64, generator(3, "test", "order", 1)):
        optimizer.zero_grad()
        F.cross_entropy(theirs(x), y).backward()
        clip_grad_norm_(theirs.parameters(), 0.3)
        optimizer.step()
    assert same(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_a_clipped_step_is_as_long_as_it_may_be_in_what_is_trained(digits, name):
    """The first step of SGD moves what counts by the clipping times the learning rate."""
    model = small()
    strategy = STRATEGIES.find(name)()
    context = context_of(model, digits)
    sparsity = strategy.prune(context, 2_000)
    learns_latent = isinstance(sparsity, ReparametrisedTraining)
    moved = []

    def weights():
        return {each: weight.detach().clone() for each, weight in model.named_parameters()}

    def before(optimizer, *_):
        moved.append(weights())

    def after(optimizer, *_):
        # Here the model holds latent weights, where there are any; all of them learn.
        distances = {each: weight - moved[-1][each] for each, weight in weights().items()}
        if not learns_latent:
            distances |= {each: distances[each] * mask for each, mask in sparsity.masks.items()}
        moved[-1] = float(sum(each.square().sum() for each in distances.values()) ** 0.5)

    recipe = Recipe(epochs=1, optimizer="SGD", learning_rate=0.5, gradient_clipping=1e-3)
    hooks = [register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after)]
    try:
        for _ in epochs(Training(model, digits, recipe, Purpose(0, "test"), sparsity)):
            pass
    finally:
        for hook in hooks:
            hook.remove()
    lengths = [each for each in moved if isinstance(each, float)]
    assert lengths[0] == pytest.approx(0.5e-3, rel=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["RigL", "SET"])
def test_weights_come_back_by_their_gradients_where_these_are_clipped_too(digits, name):
    """A limit that no gradient reaches changes nothing, the choice of weights included."""
    models = [small(), small()]
    for model, limit in zip(models, (None, 1e6), strict=True):
        strategy = STRATEGIES.find(name)(updates=4)
        context = context_of(model, digits)
        recipe = Recipe(epochs=1, gradient_clipping=limit)
        sparsity = strategy.prune(context, 2_000)
        first = sparsity.masks
        for _ in epochs(Training(model, digits, recipe, Purpose(0, "test"), sparsity)):
            pass
        assert any(not torch.equal(first[each], mask) for each, mask in sparsity.masks.items())
    assert same(*models)
