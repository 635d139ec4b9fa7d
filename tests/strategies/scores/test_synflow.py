"""SynFlow: conservation, no collapse, no data."""

import itertools

import pytest
import torch
from contexts import context_of
from torch import nn

import prunebench
from prunebench.benchmark.conformance.networks import Synthetic
from prunebench.errors import UsageError
from prunebench.models import LeNet5, LeNet300100, ResNetSmall
from prunebench.strategies import (
    CoupledChannels,
    Global,
    GlobalMagnitude,
    SynFlow,
    collapsed,
    kept,
)
from prunebench.strategies.axes import structure


class Images(Synthetic):
    def __init__(self, shape, seed=0):
        super().__init__()
        self._shape, self._seed = shape, seed

    def inputs(self, batch_size):
        torch.manual_seed(self._seed)
        return torch.randn(batch_size, *self._shape)


@pytest.mark.parametrize(
    ("make", "shape"), [(LeNet300100, (1, 28, 28)), (LeNet5, (1, 28, 28))], ids=["MLP", "LeNet"]
)
def test_the_same_flow_goes_through_every_layer(make, shape):
    torch.manual_seed(0)
    scores = SynFlow().score(context_of(make(), Images(shape)))
    sums = torch.stack([score.sum() for score in scores.values()])
    assert torch.allclose(sums, sums[0].expand_as(sums), rtol=1e-9)
    assert all((score >= 0).all() for score in scores.values())


def test_the_flow_through_a_weight_is_the_sum_over_all_paths_that_use_it():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    scores = SynFlow().score(context_of(model, Images((4,))))
    first, second = model[0].weight.detach().double().abs(), model[2].weight.detach().double().abs()
    expected = {"0.weight": torch.zeros(3, 4).double(), "2.weight": torch.zeros(2, 3).double()}
    for i, h, o in itertools.product(range(4), range(3), range(2)):
        product = first[h, i] * second[o, h]
        expected["0.weight"][h, i] += product
        expected["2.weight"][o, h] += product
    for name, score in scores.items():
        assert torch.allclose(score, expected[name]), name


@pytest.mark.slow
def test_a_small_layer_survives_where_magnitude_empties_it():
    torch.manual_seed(0)
    model = LeNet300100()
    with torch.no_grad():  # trained networks have layers as unequal as this
        model.linear2.weight *= 0.05
    budget = 266_200 // 1_000
    ours = SynFlow(allocation=Global(minimum=0))
    masks = ours.masks(context_of(model, Images((1, 28, 28))), budget)
    assert kept(masks) == budget
    assert not collapsed(masks)
    magnitude = GlobalMagnitude()
    theirs = magnitude.masks(context_of(model, Images((1, 28, 28))), budget)
    assert "linear2.weight" in collapsed(theirs)


@pytest.mark.slow
def test_the_network_still_computes_something_when_almost_nothing_is_left():
    torch.manual_seed(0)
    model = LeNet300100()
    masks = SynFlow().masks(context_of(model, Images((1, 28, 28))), 6)
    assert kept(masks) == 6
    assert not collapsed(masks)  # two paths of three weights each


@pytest.mark.slow
def test_one_iteration_ranks_worse_than_many():
    torch.manual_seed(0)
    model = LeNet300100()
    with torch.no_grad():
        model.linear2.weight *= 0.05
    once = SynFlow(iterations=1)
    assert collapsed(once.masks(context_of(model, Images((1, 28, 28))), 60))
    many = SynFlow(iterations=100)
    assert not collapsed(many.masks(context_of(model, Images((1, 28, 28))), 60))


@pytest.mark.slow
def test_neither_data_nor_signs_nor_biases_matter():
    torch.manual_seed(0)
    model = LeNet300100()
    one = SynFlow().masks(context_of(model, Images((1, 28, 28), seed=1)), 5_000)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name:
                parameter.uniform_(-3, 3)
            else:
                parameter.mul_(torch.where(torch.rand_like(parameter) < 0.5, -1, 1))
    other = SynFlow().masks(context_of(model, Images((1, 28, 28), seed=2)), 5_000)
    assert all(torch.equal(mask, other[name]) for name, mask in one.items())


# Networks of all kinds: what flows into a unit flows out of it.


def flows(model, shape, tokens=False):
    """The flow through each weight, of a network whose inputs have this shape."""
    torch.manual_seed(1)
    task = Images(shape)
    if tokens:
        task.inputs = lambda batch_size: torch.randint(1, 10, (batch_size, *shape))
    SynFlow().check(task, model)
    return SynFlow().score(context_of(model, task))


class Bag(nn.Module):
    """The mean of a sentence's embeddings, with tokens' places beside them."""

    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(200, 4), nn.Embedding(6, 4)
        self.norm, self.out = nn.LayerNorm(4), nn.Linear(4, 2)

    def forward(self, tokens):
        places = torch.arange(tokens.shape[1])
        features = self.tokens(tokens) + self.places(places)
        return self.out(self.norm(features).mean(1)).log_softmax(-1)


def chain(*between):
    """Layers in a chain, with something between the first two."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 6, 3), *between, nn.Conv2d(6, 4, 2), nn.ReLU(), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(64, 3))
    with torch.no_grad():  # as after a training
        for module in model.modules():
            if getattr(module, "weight", None) is not None and module.weight.ndim == 1:
                module.weight.normal_()
                module.bias.normal_()
            if isinstance(getattr(module, "running_var", None), torch.Tensor):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return model


@pytest.mark.parametrize(
    "between",
    [
        [nn.Tanh()],
        [nn.GELU()],
        [nn.SiLU()],
        [nn.Sigmoid()],
        [nn.ReLU6(inplace=True)],
        [nn.Hardswish()],
        [nn.LeakyReLU()],
        [nn.ELU()],
        [nn.BatchNorm2d(6), nn.ReLU()],
        [nn.BatchNorm2d(6, track_running_stats=False), nn.ReLU()],
        [nn.GroupNorm(3, 6), nn.GELU()],
        [nn.InstanceNorm2d(6, affine=True), nn.ReLU()],
        [nn.LayerNorm([6, 5, 5]), nn.ReLU()],
        [nn.LayerNorm([6, 5, 5], elementwise_affine=False), nn.Softmax(1)],
        [nn.Dropout(), nn.ReLU()],
    ],
    ids=lambda between: between[0]._get_name(),
)
def test_the_flow_is_conserved_through_activations_and_normalisation_of_all_kinds(between):
    model = chain(*between).eval()
    scores = flows(model, (2, 7, 7))
    sums = torch.stack([score.sum() for score in scores.values()])
    assert torch.allclose(sums, sums[0].expand_as(sums), rtol=1e-9)
    assert sums[0] > 0
    # Through each channel between the convolutions as much flows in as out.
    first, second = list(scores.values())[:2]
    assert torch.allclose(first.sum((1, 2, 3)), second.sum((0, 2, 3)), rtol=1e-9)


def test_the_flow_is_conserved_where_branches_meet():
    torch.manual_seed(0)
    scores = flows(ResNetSmall(), (1, 8, 8))
    # All of it goes through the first layer and the last, and divides between.
    assert scores["conv.weight"].sum().item() == pytest.approx(scores["linear.weight"].sum().item())
    branches = ("block2.conv2.weight", "block2.shortcut.0.weight")
    # Into each channel before the last layer, by the two ways to it, as much as out of it.
    into = sum(scores[name].sum((1, 2, 3)) for name in branches)
    assert torch.allclose(into, scores["linear.weight"].sum(0), rtol=1e-9)


def test_flow_enters_through_every_row_of_an_embedding_and_no_sentence_matters():
    torch.manual_seed(0)
    model = Bag()
    one, other = flows(model, (6,), tokens=True), flows(model, (6,), tokens=True)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (one["tokens.weight"].sum(1) > 0).all()
    assert set(one) == {"tokens.weight", "places.weight", "out.weight"}
    # R = 1ᵀ|W| γ (Σ of all rows of both tables), for each of the features.
    absolute = {name: p.detach().double().abs() for name, p in model.named_parameters()}
    rows = absolute["tokens.weight"].sum(0) + absolute["places.weight"].sum(0)
    leaving = absolute["out.weight"].sum(0) * absolute["norm.weight"]
    assert torch.allclose(one["out.weight"].sum(0), leaving * rows)
    assert torch.allclose(one["tokens.weight"], absolute["tokens.weight"] * leaving)
    task = Images((6,))
    task.inputs = lambda batch_size: torch.tensor([[1, 2, 3, 4, 5, 6]])
    masks = SynFlow().masks(context_of(model, task), 500)
    assert int(masks["tokens.weight"].any(1).sum()) > 100


class Squeezed(nn.Module):
    """Channels times gates that are computed from them."""

    def __init__(self):
        super().__init__()
        self.conv, self.gates, self.out = nn.Conv2d(1, 4, 3), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, images):
        x = torch.relu(self.conv(images)).mean((2, 3))
        return self.out(x * torch.sigmoid(self.gates(x)))


class Attends(nn.Module):
    """Attention of an image's rows, written out or by torch's own module."""

    def __init__(self, own):
        super().__init__()
        self.own = own
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.out = nn.Linear(6, 2)

    def forward(self, images):
        x = images.squeeze(1)
        if self.own:
            return self.out(self.attention(x, x, x)[0].mean(1))
        query, key, value = (x @ self.attention.in_proj_weight.T).chunk(3, -1)
        return self.out(((query @ key.mT).softmax(-1) @ value).mean(1))


class Recurs(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.layer, self.out = kind(6, 6, batch_first=True), nn.Linear(6, 2)

    def forward(self, images):
        return self.out(self.layer(images.squeeze(1))[0][:, -1])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Recurs(nn.LSTM), r"it has a recurrent layer \(lstm\)"),
        (lambda: Recurs(nn.GRU), r"it has a recurrent layer \(gru\)"),
        (lambda: Attends(own=True), "it has attention"),
        (lambda: Attends(own=False), "is not what flows into it"),
        (Squeezed, "is not what flows into it"),
    ],
)
def test_a_network_that_does_not_conserve_the_flow_is_refused_in_a_sentence(make, reason):
    torch.manual_seed(0)
    model, task = make(), Images((1, 6, 6))
    for refused in (
        lambda: SynFlow().check(task, model),
        lambda: SynFlow().score(context_of(model, task)),
        lambda: SynFlow().masks(context_of(model, task), 20),
    ):
        with pytest.raises(UsageError, match=f"SynFlow is not possible on .*: .*{reason}"):
            refused()


def test_it_is_refused_before_anything_is_trained(tmp_path):
    (tmp_path / "rows.py").write_text(
        "from torch import nn\n\n"
        "class Rows(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.layer, self.out = nn.LSTM(8, 4, batch_first=True), nn.Linear(4, 10)\n\n"
        "    def forward(self, images):\n"
        "        return self.out(self.layer(images.squeeze(1))[0][:, -1])\n"
    )
    experiment = prunebench.Experiment(
        dataset="Digits", model=f"{tmp_path / 'rows.py'}:Rows", strategy="SynFlow", sparsity=0.5
    )
    with pytest.raises(UsageError, match=r"SynFlow is not possible on Rows: it has a recurrent"):
        prunebench.sweep([experiment], runs=tmp_path / "runs", progress=False)
    assert not (tmp_path / "runs").exists()


def test_channels_are_looked_for_once_and_not_in_every_iteration(monkeypatch):
    searches = []
    search = structure.couple
    monkeypatch.setattr(structure, "couple", lambda *args: searches.append(args) or search(*args))
    torch.manual_seed(0)
    strategy = SynFlow(iterations=5, structure=CoupledChannels())
    context = context_of(ResNetSmall(), Images((1, 8, 8)), strategy=strategy)
    masks = strategy.masks(context, sum(m.numel() for m in context.masks.values()) // 2)
    assert kept(masks) > 0
    assert len(searches) == 1
