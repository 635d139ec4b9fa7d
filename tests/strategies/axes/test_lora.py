"""LoRA as a recovery: low-rank additions under masks, which are in the weights in the end."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import prunebench
from prunebench.errors import UsageError
from prunebench.models import Perceptron
from prunebench.strategies import LastRound, LoRA

INPUTS = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Perceptron(input_shape=(6,), classes=3, hidden=(8,))


@pytest.fixture
def masks(network):
    generator = torch.Generator().manual_seed(2)
    names = ("hidden.0.weight", "output.weight")
    masks = {
        n: torch.rand(network.get_parameter(n).shape, generator=generator) < 0.5 for n in names
    }
    with torch.no_grad():
        for name, mask in masks.items():
            network.get_parameter(name).mul_(mask)
    return masks


def generator():
    return torch.Generator().manual_seed(3)


def learn(network, steps=5):
    """Change what is trained by some steps of gradient descent."""
    trained = [each for each in network.parameters() if each.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(network(INPUTS), torch.arange(20) % 3).backward()
        optimizer.step()


def by_hand(layer, weight, mask, scale):
    """The weight that a layer has while it is adapted, from its two small matrices."""
    (added,) = layer.parametrizations.weight
    return weight + scale * (added.left @ added.right) * mask


def test_the_network_that_was_trained_is_the_one_that_remains_with_its_masks(network, masks):
    before = copy.deepcopy(network)
    with LoRA(rank=2, alpha=6.0).adapting(network, masks, generator()):
        assert torch.equal(network(INPUTS), before(INPUTS))  # the addition begins at zero
        learn(network)
        trained = network(INPUTS)
        first = by_hand(network.hidden[0], before.hidden[0].weight, masks["hidden.0.weight"], 3)
        last = by_hand(network.output, before.output.weight, masks["output.weight"], 3)
    hidden = F.relu(F.linear(INPUTS, first, before.hidden[0].bias))
    expected = F.linear(hidden, last, before.output.bias)
    torch.testing.assert_close(network(INPUTS), expected)
    assert torch.equal(network(INPUTS), trained)
    for name, mask in masks.items():
        weight = network.get_parameter(name)
        assert not weight[~mask].any()
        assert not torch.equal(weight, before.get_parameter(name))


def test_only_the_two_matrices_are_trained_and_the_network_is_a_plain_one_again(network, masks):
    before = copy.deepcopy(network)
    network.hidden[0].bias.requires_grad_(False)
    with LoRA(rank=2).adapting(network, masks, generator()):
        shapes = [tuple(each.shape) for each in network.parameters() if each.requires_grad]
        assert sorted(shapes) == sorted([(2, 6), (8, 2), (2, 8), (3, 2)])
        learn(network)
    assert list(network.state_dict()) == list(before.state_dict())
    assert [type(each) for each in network.modules()] == [type(each) for each in before.modules()]
    assert torch.equal(network.output.bias, before.output.bias)
    trained = {name: each.requires_grad for name, each in network.named_parameters()}
    assert trained == {name: name != "hidden.0.bias" for name in trained}


def test_what_a_step_adds_has_the_rank_where_nothing_is_pruned(network):
    full = {"hidden.0.weight": torch.ones(8, 6, dtype=torch.bool)}
    before = network.hidden[0].weight.detach().clone()
    with LoRA(rank=2).adapting(network, full, generator()):
        learn(network)
    assert int(torch.linalg.matrix_rank(network.hidden[0].weight - before, atol=1e-5)) == 2


class Conv1D(nn.Module):
    """A linear layer whose weight has its inputs first, as GPT-2's do."""

    def __init__(self, linear):
        super().__init__()
        self.nf = linear.out_features
        self.weight = nn.Parameter(linear.weight.detach().T.clone())
        self.bias = nn.Parameter(linear.bias.detach().clone())

    def forward(self, inputs):
        return inputs @ self.weight + self.bias


def test_a_weight_with_its_inputs_first_learns_as_one_with_its_outputs_first():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(6, 3))
    turned = nn.Sequential(Conv1D(plain[0]))
    mask = torch.rand(3, 6) < 0.7
    for network, own in ((plain, mask), (turned, mask.T)):
        with torch.no_grad():
            network[0].weight.mul_(own)
        with LoRA(rank=2).adapting(network, {"0.weight": own}, generator()):
            learn(network)
    torch.testing.assert_close(turned[0].weight.T, plain[0].weight)


@pytest.mark.slow
def test_where_nothing_is_pruned_it_is_what_peft_does():
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(6, 3))
    theirs = copy.deepcopy(ours)
    config = peft.LoraConfig(r=2, lora_alpha=5, target_modules=["0"], init_lora_weights=True)
    theirs = peft.inject_adapter_in_model(config, theirs)
    full = {"0.weight": torch.ones(3, 6, dtype=torch.bool)}
    with LoRA(rank=2, alpha=5.0).adapting(ours, full, generator()):
        (added,) = ours[0].parametrizations.weight
        drawn = theirs[0].lora_A["default"].weight
        bound = 6**-0.5
        assert drawn.abs().max() <= bound
        assert bound / 2 < added.right.abs().max() <= bound
        with torch.no_grad():
            drawn.copy_(added.right)
        for network in (ours, theirs):
            learn(network)
        torch.testing.assert_close(ours(INPUTS), theirs(INPUTS))
    torch.testing.assert_close(ours(INPUTS), theirs(INPUTS))


def test_a_cell_recovers_by_it_and_keeps_its_budget_and_its_biases(experiment, tmp_path):
    settings = {
        "model": "Perceptron(hidden=(32,))",
        "strategy": "Random",
        "sparsity": 0.8,
        "rounds": 2,
        "finetuning": {"epochs": 2, "learning_rate": 0.01},
        "measurements": ["Size"],
    }
    runs = {"runs": tmp_path}
    without = prunebench.run(experiment(**settings, recovery="NoRecovery"), **runs)
    record = prunebench.run(experiment(**settings, recovery="LoRA(rank=4)"), **runs)
    assert record.finished, record.error
    assert record.final["nonzero"] == without.final["nonzero"]
    assert record.final["parameters"] == record.dense["parameters"]
    assert record.final["top1"] > without.final["top1"] + 0.1
    assert [each.training for each in record.history[-4:]] == 2 * ["fine-tuning 1"] + 2 * [
        "fine-tuning 2"
    ]
    one, other = (prunebench.load(each, **runs) for each in (record, without))
    assert torch.equal(one.output.bias, other.output.bias)
    assert prunebench.run(experiment(**settings, recovery="LoRA(rank=4)"), **runs, force=True)
    again = prunebench.run(experiment(**settings, recovery="LoRA(rank=4)"), **runs)
    assert again.result() == record.result()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"strategy": "RigL"}, "RigL trains the network by rules of its own"),
        ({"timing": "DuringTraining"}, "DuringTraining trains the network by rules of its own"),
        (
            {
                "finetuned_network": "shrunk",
                "strategy": "StructuredL1(structure=CoupledChannels)",
            },
            "it trains the network under masks, and finetuned_network is shrunk",
        ),
        (
            {"finetuning": {"epochs": 1, "penalty": "L1(strength=1e-5)"}},
            r"the weights that finetuning.penalty is of, L1\(strength=1e-05\), do not train",
        ),
    ],
)
def test_it_is_refused_where_others_say_how_a_network_trains(experiment, settings, sentence):
    with pytest.raises(UsageError, match=rf"^recovery: LoRA is not allowed: {sentence}"):
        experiment(recovery="LoRA", **settings)


def test_it_is_refused_where_no_linear_layer_is_pruned(experiment, tmp_path):
    made = experiment(recovery="LoRA", prune_only=["conv*"], sparsity=0.5)
    sentence = "recovery: LoRA.* is not allowed: LeNetSmall has no linear layer among those that"
    with pytest.raises(UsageError, match=f"^{sentence}"):
        prunebench.run(made, runs=tmp_path)
    other = made.revised(recovery="FineTune")
    with pytest.raises(UsageError, match=f"^{sentence}"):
        prunebench.sweep([other, made], runs=tmp_path, progress=False)
    assert not list(tmp_path.rglob("*.json"))


def test_it_cannot_stand_in_another_recovery():
    with pytest.raises(UsageError, match="last: LoRA"):
        LastRound(last=LoRA())
