"""Methods that score channels, against removing the channels, and against geometry."""

import pytest
import torch
from contexts import context_of, removable
from scipy.spatial.distance import cdist
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune
from torch.nn.utils.rnn import pack_sequence

from prunebench.models import LeNet5, ResNetSmall
from prunebench.strategies import (
    FPGM,
    ActivationChange,
    ActivationGradient,
    BatchNormSlimming,
    ChannelTaylor,
    GlobalMagnitude,
    StructuredL2,
    StructuredLInf,
    StructuredRandom,
    Unstructured,
    Wanda,
    full_masks,
    kept,
)


class Convolutional(nn.Module):
    """Its inputs are images of 1×6; a channel has several positions."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.hidden, self.out = nn.Conv1d(1, 4, 3), nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, x):
        x = F.relu(self.conv(x.unsqueeze(1)), inplace=True)
        x = torch.tanh(self.hidden(x.transpose(1, 2)))  # a linear layer on a sequence
        return self.out(x.mean(1))


def scaled(model, layer, channel, factor):
    """A hook that multiplies a channel of a layer's output."""

    def hook(module, inputs, output):
        output = output.clone()
        output.select(1 if layer == "conv" else -1, channel).mul_(factor)
        return output

    return getattr(model, layer).register_forward_hook(hook)


def losses(model, task):
    """The loss of each example by itself."""
    with torch.no_grad():
        return torch.stack(
            [task.loss(model, (task.x[i : i + 1], task.y[i : i + 1])) for i in range(len(task.x))]
        )


def slopes(model, task, layer, channel, step=1e-5):
    """d loss / d factor at 1, for each example."""
    sides = []
    for factor in (1 + step, 1 - step):
        handle = scaled(model, layer, channel, factor)
        sides.append(losses(model, task))
        handle.remove()
    return (sides[0] - sides[1]) / (2 * step)


@pytest.mark.parametrize("layer", ["conv", "hidden"])
@pytest.mark.parametrize("size", [60, 16])
def test_taylor_scores_are_the_first_order_effect_of_scaling_a_channel(regression, layer, size):
    model = Convolutional().double()
    batches = -(-60 // size)
    taylor = ChannelTaylor(batches=batches, batch_size=size).channel_scores(
        context_of(model, regression)
    )
    signed = ActivationGradient(batches=batches, batch_size=size).channel_scores(
        context_of(model, regression)
    )
    for channel in range(4):
        effects = slopes(model, regression, layer, channel)
        name = f"{layer}.weight"
        assert taylor[name][channel].item() == pytest.approx(effects.abs().mean().item(), rel=1e-5)
        assert signed[name][channel].item() == pytest.approx(
            abs(effects.mean().item()), rel=1e-4, abs=1e-9
        )


@pytest.mark.parametrize("layer", ["conv", "hidden"])
def test_the_exact_change_is_what_removing_the_channel_costs(regression, layer):
    model = Convolutional().double()
    scores = ActivationChange(batches=2, batch_size=30).channel_scores(
        context_of(model, regression)
    )
    base = losses(model, regression).mean()
    for channel in range(4):
        handle = scaled(model, layer, channel, 0.0)
        change = (losses(model, regression).mean() - base).abs().item()
        handle.remove()
        assert scores[f"{layer}.weight"][channel].item() == pytest.approx(change, rel=1e-9)


def test_the_exact_change_and_its_first_order_form_agree_where_activations_are_small(regression):
    model = Convolutional().double()
    with torch.no_grad():
        model.hidden.weight *= 1e-4
        model.hidden.bias *= 1e-4
    context = context_of(model, regression)
    exact = ActivationChange(batches=1, batch_size=60).channel_scores(context)["hidden.weight"]
    linear = ActivationGradient(batches=1, batch_size=60).channel_scores(context)["hidden.weight"]
    assert torch.allclose(exact, linear, rtol=1e-3)
    assert (exact > 0).all()


def test_fpgm_is_the_sum_of_distances_and_removes_the_geometric_median(regression):
    model = nn.Sequential(nn.Linear(6, 9), nn.Linear(9, 2)).double()
    corners = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]], dtype=torch.float64)
    points = torch.cat([corners, 3 * corners, torch.zeros(1, 2)])  # the last one is the median
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].weight[:, :2] = points
    scores = FPGM().channel_scores(context_of(model, regression))["0.weight"]
    assert torch.allclose(scores, torch.tensor(cdist(points, points).sum(1)))
    masks = {"0.weight": torch.ones(9, 6, dtype=torch.bool)}
    kept_masks = FPGM().masks(context_of(model, regression, masks=masks), 8 * 6)
    assert kept_masks["0.weight"].any(1).tolist() == [True] * 8 + [False]


def test_fpgm_measures_no_distance_to_filters_that_are_gone(regression):
    model = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2)).double()
    masks = {"0.weight": torch.ones(4, 6, dtype=torch.bool)}
    masks["0.weight"][1] = False
    with torch.no_grad():
        model[0].weight[1] = 0
    scores = FPGM().channel_scores(context_of(model, regression, masks=masks))["0.weight"]
    left = model[0].weight.detach()[[0, 2, 3]]
    assert torch.allclose(scores[[0, 2, 3]], torch.tensor(cdist(left, left).sum(1)))


def test_slimming_prunes_the_channels_of_smallest_scale_over_all_layers():
    torch.manual_seed(0)
    model = ResNetSmall()
    strategy = BatchNormSlimming()
    names = removable(strategy, model)
    assert "linear.weight" not in names
    assert "block2.shortcut.0.weight" in names
    scales = {}
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.copy_(torch.randn(module.num_features))
        scales["conv.weight"] = model.norm.weight.abs()
        scales["block1.conv1.weight"] = model.block1.norm1.weight.abs()
        scales["block2.shortcut.0.weight"] = model.block2.shortcut[1].weight.abs()
    parameters = dict(model.named_parameters())
    masks = full_masks({name: parameters[name] for name in names})
    context = context_of(model, None, masks=masks)
    scores = strategy.channel_scores(context)
    for name, expected in scales.items():
        assert torch.equal(scores[name], expected), name
    pruned = strategy.masks(context, kept(masks) // 2)
    stay = {name: mask.flatten(1).any(1) for name, mask in pruned.items()}
    assert all(kept_channels.any() for kept_channels in stay.values())
    removed = torch.cat([scores[name][~stay[name]] for name in stay])
    for name, kept_channels in stay.items():
        best = scores[name] == scores[name].max()  # which stays whatever its rank
        assert (scores[name][kept_channels & ~best] >= removed.max()).all(), name


def test_slimming_finds_nothing_where_nothing_is_normalised():
    assert removable(BatchNormSlimming(), LeNet5()) == []


@pytest.mark.parametrize(("strategy", "n"), [(StructuredL2(), 2), (StructuredLInf(), float("inf"))])
def test_filters_of_smallest_norm_are_those_of_torchs_ln_structured(strategy, n):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 10, 3), nn.Conv2d(10, 8, 3), nn.Linear(8, 2))
    weights = {name: p for name, p in model.named_parameters() if p.ndim == 4}
    masks = strategy.masks(context_of(model, None, masks=full_masks(weights)), 495)  # half
    for name, mask in masks.items():
        module = model[int(name[0])]
        reference = type(module)(*weights[name].shape[1::-1], 3)
        reference.load_state_dict(module.state_dict())
        prune.ln_structured(reference, "weight", amount=len(mask) // 2, n=n, dim=0)
        assert torch.equal(mask, reference.weight_mask.bool())


def test_random_filters_are_drawn_evenly():
    model = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 2))
    masks = {"0.weight": torch.ones(8, 3, dtype=torch.bool)}
    counts = torch.zeros(8)
    for seed in range(300):
        context = context_of(model, None, seed=seed, masks=masks)
        mask = StructuredRandom().masks(context, 12)["0.weight"]
        assert torch.equal(mask.any(1), mask.all(1))
        counts += mask.any(1)
    assert counts.sum() == 4 * 300
    chi_square = ((counts - 150) ** 2 / 75).sum()
    assert chi_square < 24.3  # 0.1 % of the distribution with 7 degrees of freedom lies beyond


def test_a_channels_score_ranks_all_its_weights_where_single_weights_are_pruned(regression):
    model = Convolutional().double()
    scores = ChannelTaylor(structure=Unstructured()).score(context_of(model, regression))
    for name, score in scores.items():
        assert score.shape == dict(model.named_parameters())[name].shape
        assert torch.equal(
            score, score.flatten(1)[:, :1].view(-1, *[1] * (score.ndim - 1)).expand_as(score)
        )
    assert removable(GlobalMagnitude(), model) == list(scores)


class Steps(nn.Module):
    """A recurrent network on sequences of 3 steps, whose tensors have the examples somewhere."""

    def __init__(self, layout):
        super().__init__()
        torch.manual_seed(0)
        self.layout = layout
        self.inputs = nn.Linear(2, 5)
        self.recurrent = nn.RNN(5, 4, batch_first=layout == "batch first")
        self.hidden, self.out = nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, x):
        x = x.reshape(-1, 3, 2)
        if self.layout == "batch first":
            x = self.recurrent(torch.tanh(self.inputs(x)))[0]
            return self.out(torch.tanh(self.hidden(x))).sum(1)
        x = x.transpose(0, 1)
        if self.layout == "steps and examples in one":
            x = self.inputs(x.flatten(0, 1)).unflatten(0, (3, -1))
        else:
            x = self.inputs(x)
        x = self.recurrent(torch.tanh(x))[0]
        if self.layout == "packed":
            rows = pack_sequence(list(x.unbind(1))).data
            return self.out(torch.tanh(self.hidden(rows))).unflatten(0, (3, -1)).sum(0)
        return self.out(torch.tanh(self.hidden(x))).sum(0)


@pytest.mark.parametrize("layout", ["steps first", "steps and examples in one", "packed"])
@pytest.mark.parametrize("kind", [ChannelTaylor, ActivationGradient, ActivationChange, Wanda])
def test_where_a_network_has_its_examples_does_not_change_the_scores(regression, kind, layout):
    strategy = kind(batches=2, batch_size=40)  # the second one is smaller
    first, other = (
        strategy.score(
            context_of(
                model,
                regression,
                masks=full_masks(
                    {n: p for n, p in model.named_parameters() if n in removable(strategy, model)}
                ),
            )
        )
        for model in (Steps("batch first").double(), Steps(layout).double())
    )
    assert {"inputs.weight", "hidden.weight"} <= set(first)
    for name, score in first.items():
        assert torch.allclose(score, other[name], rtol=1e-9, atol=0), name


def test_examples_that_cannot_be_told_apart_are_scored_one_by_one(regression):
    class Sorted(Convolutional):
        """The rows of the hidden layer are in no order of the examples."""

        def forward(self, x):
            x = F.relu(self.conv(x.unsqueeze(1)))
            rows = x.transpose(1, 2).flatten(0, 1)
            order = rows.sum(1).argsort()
            x = torch.empty(len(rows), 5).double()
            hidden = torch.tanh(self.hidden(rows[order]))
            x = torch.zeros_like(hidden).index_copy(0, order, hidden)
            return self.out(x.unflatten(0, (-1, 4)).mean(1))

    strategy = ChannelTaylor(batches=2, batch_size=30)
    plain, other = (
        strategy.channel_scores(context_of(model.double(), regression))
        for model in (Convolutional(), Sorted())
    )
    for name, score in plain.items():
        assert torch.allclose(score, other[name], rtol=1e-9, atol=0), name
