"""What may be pruned, and which layer is the output."""

import copy

import pytest
import torch
import torchvision
from contexts import context_of
from torch import nn

import prunebench
from prunebench.errors import UsageError
from prunebench.strategies import (
    NM,
    Block,
    Channels,
    Filters,
    Global,
    GlobalMagnitude,
    StructuredL1,
    Uniform,
    Unstructured,
    find_prunable,
    output_weights,
    prunable_weights,
)


class Mixed(nn.Module):
    """Parameters of all kinds, of which a few are trained weight matrices."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.conv = nn.Conv1d(4, 4, 3)
        self.batch_norm = nn.BatchNorm1d(4)
        self.layer_norm = nn.LayerNorm([4, 4])
        self.lstm = nn.LSTM(4, 4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.position = nn.Parameter(torch.zeros(3, 4))
        self.output = nn.Linear(4, 7)
        self.output.weight = self.embedding.weight


def found(model, example=None, **settings):
    example = torch.zeros(3, 2) if example is None else example
    return find_prunable(model, example, **settings)


def test_only_trained_weight_matrices_are_prunable_and_shared_ones_once():
    assert prunable_weights(Mixed()) == [
        "embedding.weight",
        "conv.weight",
        "lstm.weight_ih_l0",
        "lstm.weight_hh_l0",
    ]


def test_a_lone_layer_is_prunable():
    assert prunable_weights(nn.Linear(2, 2)) == ["weight"]


def test_a_network_without_a_weight_by_its_name_has_nothing_to_prune():
    class Lists(nn.Module):
        def __init__(self):
            super().__init__()
            self.matrices = nn.ParameterList([nn.Parameter(torch.ones(2, 3))])

        def forward(self, inputs):
            return inputs @ self.matrices[0]

    nothing = found(Lists(), torch.ones(1, 2))
    assert nothing.names == nothing.outputs == ()
    assert nothing.spared == {"matrices.0": "its name has no 'weight'"}


COMPLEX = """
import torch
from torch import nn


class Complex(nn.Module):
    def __init__(self, input_shape, classes):
        super().__init__()
        self.first = nn.Linear(64, 16, dtype=torch.complex64)
        self.last = nn.Linear(16, classes)

    def forward(self, images):
        return self.last(self.first(images.flatten(1).to(torch.complex64)).abs())
"""


@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
def test_complex_weights_are_trained_and_not_pruned(experiment, tmp_path, optimizer):
    (tmp_path / "complex.py").write_text(COMPLEX)
    recipe = {"epochs": 1, "optimizer": optimizer, "momentum": 0.9 * (optimizer == "SGD")}
    made = experiment(
        model=f"{tmp_path}/complex.py:Complex",
        compression=1.1,
        pretraining=recipe,
        finetuning=recipe,
        least_dense_quality=0.0,
    )
    record = prunebench.run(made, runs=tmp_path)
    assert record.finished, record.error
    assert [layer.name for layer in record.layers if layer.density < 1] == ["last.weight"]


def test_a_lazy_module_is_to_be_called_before(experiment, tmp_path):
    with pytest.raises(UsageError, match=r"^1.weight of Sequential has no shape, as in lazy"):
        found(nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), torch.ones(1, 2))
    path = tmp_path / "lazy.py"
    path.write_text("import torch\n\nclass Lazy(torch.nn.LazyLinear):\n    pass\n")
    model = f"{path}:Lazy(out_features=10)"
    with pytest.raises(UsageError, match=r"^weight of Lazy has no shape, as in lazy"):
        prunebench.run(experiment(model=model, strategy="SynFlow"), runs=tmp_path)


def test_the_output_layer_is_the_last_one_and_can_be_left_out():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    assert output_weights(model) == ("2.weight",)
    assert found(model, prune_classifier=False).names == ("0.weight", "1.weight")


def test_a_frozen_output_layer_is_the_output_layer_still():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 2).requires_grad_(False))
    assert output_weights(model) == ("2.weight",)
    for classifier in (True, False):
        assert found(model, prune_classifier=classifier).names == ("0.weight", "1.weight")


def test_an_output_layer_that_shares_its_weight_goes_by_the_name_of_the_first_that_has_it():
    assert output_weights(Mixed()) == ("embedding.weight",)


@pytest.mark.parametrize("named", ["0", "1"])
def test_a_model_may_say_which_its_output_layer_is(named):
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    model.output_layer = named
    assert output_weights(model) == (f"{named}.weight",)
    assert found(model).outputs == (f"{named}.weight",)
    assert f"{named}.weight" not in found(model, prune_classifier=False).names


PARAMETRISED = {
    "weight normalisation": nn.utils.parametrizations.weight_norm,
    "weight normalisation by a hook": nn.utils.weight_norm,
    "spectral normalisation": nn.utils.parametrizations.spectral_norm,
    "spectral normalisation by a hook": nn.utils.spectral_norm,
    "pruning by torch": lambda layer: nn.utils.prune.l1_unstructured(layer, "weight", amount=0.5),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
@pytest.mark.parametrize("name", PARAMETRISED)
def test_a_weight_that_is_computed_from_others_is_refused_until_it_is_a_plain_one(name):
    model = nn.Sequential(nn.Linear(2, 3), PARAMETRISED[name](nn.Linear(3, 2)))
    for look in (prunable_weights, output_weights):
        with pytest.raises(UsageError, match=r"weight of the Linear '1' is not prunable") as told:
            look(model)
    for parameter in model[1].parameters():
        parameter.requires_grad_(False)
    assert prunable_weights(model) == ["0.weight"]
    # What the sentence says is what helps.
    call = str(told.value).rpartition(" by ")[2]
    model.requires_grad_(True)
    eval(call, {"torch": torch, "module": model[1]})
    assert prunable_weights(model) == ["0.weight", "1.weight"]


def test_normalised_vectors_are_no_matter():
    class Scaled(nn.Linear):
        def __init__(self):
            super().__init__(3, 3)
            self.weight_of_outputs = nn.Parameter(torch.ones(3))
            nn.utils.parametrize.register_parametrization(self, "weight_of_outputs", nn.Softmax(0))

    assert prunable_weights(Scaled()) == ["weight"]


class Decoder(nn.Module):
    """A language model whose output embeddings are its input embeddings, in one of three ways."""

    def __init__(self, way):
        super().__init__()
        torch.manual_seed(0)
        self.way = way
        self.embedding = nn.Embedding(11, 6)
        if way == "head first":
            self.head = nn.Linear(6, 11, bias=False)
            self.head.weight = self.embedding.weight
        self.hidden = nn.LSTM(6, 6, batch_first=True)
        self.norm = nn.LayerNorm(6)
        if way == "head last":
            self.head = nn.Linear(6, 11, bias=False)
            self.head.weight = self.embedding.weight

    def forward(self, tokens):
        x = self.norm(self.hidden(self.embedding(tokens))[0])
        return x @ self.embedding.weight.T if self.way == "no head" else self.head(x)


@pytest.mark.parametrize("way", ["head first", "head last", "no head"])
def test_tied_output_embeddings_are_the_output_layer_wherever_they_are_registered(way):
    model, tokens = Decoder(way), torch.tensor([[1, 2, 3]])
    prunable = found(model, tokens)
    assert prunable.names == ("embedding.weight", "hidden.weight_ih_l0", "hidden.weight_hh_l0")
    assert prunable.outputs == ("embedding.weight",)
    assert found(model, tokens, prune_classifier=False).names == prunable.names[1:]


class Heads(nn.Module):
    """Two heads on one body, and a layer that is registered last and used first."""

    def __init__(self, give):
        super().__init__()
        self.give = give
        self.near, self.far = nn.Linear(4, 3), nn.Linear(4, 2)
        self.body = nn.Linear(5, 4)
        self.first = nn.Linear(2, 5)

    def forward(self, x):
        x = torch.relu_(self.body(self.first(x)))
        return self.give(self.near(x), self.far(x))


@pytest.mark.parametrize(
    "give",
    [
        lambda a, b: (a, b),
        lambda a, b: [a, {"other": b}],
        lambda a, b: {"a": a, "b": b},
        lambda a, b: torch.cat([a.softmax(1), b.sigmoid()], 1),
    ],
)
def test_a_network_with_several_heads_has_several_output_layers(give):
    model = Heads(give)
    assert set(found(model).outputs) == {"near.weight", "far.weight"}
    assert set(found(model, prune_classifier=False).names) == {"body.weight", "first.weight"}


def test_looking_for_heads_leaves_no_trace():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 2))
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    found(model)
    assert model.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "vgg11", "mobilenet_v2", "densenet121", "vit_b_16",
                                  "swin_t", "squeezenet1_0"])  # fmt: skip
def test_the_output_layer_of_known_networks_is_the_one_that_tells_classes_apart(name):
    model = torchvision.models.get_model(name, weights=None, num_classes=7)
    prunable = found(model.eval(), torch.zeros(1, 3, 224, 224))
    (output,) = prunable.outputs
    assert model.get_parameter(output).shape[0] == 7
    matrices = {n for n, p in model.named_parameters() if p.ndim >= 2 and n.endswith("weight")}
    assert set(prunable.names) <= matrices


def test_patterns_name_weights_or_layers():
    model = Heads(lambda a, b: (a, b))
    assert set(found(model, prune_only=["body", "f*"]).names) == {
        "body.weight",
        "far.weight",
        "first.weight",
    }
    chosen = found(model, prune_only=["*ar"], prune_except=["far.weight"])
    assert chosen.names == ("near.weight",)
    assert chosen.spared == {
        "near.bias": "no matrix or kernel",
        "far.weight": "named by prune_except",
        "far.bias": "no matrix or kernel",
        "body.weight": "not named by prune_only",
        "body.bias": "no matrix or kernel",
        "first.weight": "not named by prune_only",
        "first.bias": "no matrix or kernel",
    }
    for option, patterns in (
        ("prune_only", ["boddy"]),
        ("prune_except", ["x*"]),
    ):
        with pytest.raises(
            UsageError, match=f"{option}: .* matches none of the prunable weights of"
        ):
            found(model, **{option: patterns})


class Conv1D(nn.Module):
    """A linear layer with its inputs first, as in GPT-2."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf = nf
        self.weight, self.bias = nn.Parameter(torch.randn(nx, nf)), nn.Parameter(torch.zeros(nf))

    def forward(self, x):
        return x @ self.weight + self.bias


@pytest.mark.parametrize("structure", [Filters(), Channels(), NM(), Block(), Unstructured()])
@pytest.mark.parametrize("allocation", [Global(), Uniform()])
def test_weights_with_their_inputs_first_are_pruned_as_if_they_were_the_other_way(
    structure, allocation
):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(8, 12), nn.Linear(12, 4))
    turned = nn.Sequential(Conv1D(12, 8), Conv1D(4, 12))
    for one, other in zip(plain, turned, strict=True):
        other.weight.data.copy_(one.weight.T)
    strategy = GlobalMagnitude(structure=structure, allocation=allocation)
    masks, others = (
        strategy.masks(context_of(each, strategy=strategy), 60) for each in (plain, turned)
    )
    assert masks.keys() == others.keys()
    assert all(torch.equal(masks[name], others[name].T) for name in masks)


def test_transposed_convolutions_lose_whole_output_channels():
    torch.manual_seed(0)
    model = nn.Sequential(nn.ConvTranspose2d(3, 6, 2), nn.Conv2d(6, 2, 2))
    mask = StructuredL1().masks(context_of(model, strategy=StructuredL1()), 36)["0.weight"]
    kept_channels = mask.any(0).flatten(1).any(1)
    assert kept_channels.sum() == 3
    norms = model[0].weight.abs().sum((0, 2, 3))
    assert norms[kept_channels].min() > norms[~kept_channels].max()
    assert mask.movedim(1, 0)[kept_channels].all()
