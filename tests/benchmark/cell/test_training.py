"""Training against a loop written out by hand."""

import copy
import shutil

import pytest
import torch
from torch.nn import functional as F
from trainings import same, small

from prunebench.benchmark.cell.epochs import Purpose, Training, epochs
from prunebench.benchmark.cell.evaluation import quality
from prunebench.benchmark.cell.training import train
from prunebench.benchmark.recipe import Recipe
from prunebench.models import LeNet300100, LeNetDropout
from prunebench.seeding import generator


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "optimizer"),
    [
        (
            Recipe(epochs=2, optimizer="SGD", learning_rate=0.05, momentum=0.9, weight_decay=1e-3),
            lambda ps: torch.optim.SGD(ps, lr=0.05, momentum=0.9, weight_decay=1e-3, fused=True),
        ),
        (
            Recipe(epochs=2, learning_rate=3e-3),
            lambda ps: torch.optim.Adam(ps, lr=3e-3, fused=True),
        ),
        (
            Recipe(epochs=2, optimizer="AdamW", weight_decay=0.1),
            lambda ps: torch.optim.AdamW(ps, lr=1e-3, weight_decay=0.1, fused=True),
        ),
    ],
)
def test_training_equals_a_loop_written_out_bit_for_bit(digits, recipe, optimizer):
    ours, theirs = small(), small()
    for _ in epochs(Training(ours, digits, recipe, Purpose(3, "test"))):
        pass
    steps = optimizer(theirs.parameters())
    for epoch in (1, 2):
        for x, y in digits.batches("train", 64, generator(3, "test", "order", epoch)):
            steps.zero_grad()
            F.cross_entropy(theirs(x), y).backward()
            steps.step()
    assert same(ours, theirs)


def test_the_epoch_that_validates_best_is_kept_even_if_training_then_goes_astray(
    digits, monkeypatch
):
    scores = iter([0.3, 0.9, 0.5])
    states = []

    def validation(model, task, split):
        assert split == "validation"
        states.append(copy.deepcopy(model.state_dict()))
        return {"top1": next(scores), "loss": 1.0}

    monkeypatch.setattr("prunebench.benchmark.cell.training.quality", validation)
    model = small()
    chosen = train(Training(model, digits, Recipe(epochs=3), Purpose(0, "test")))
    assert chosen.validation["top1"] == 0.9
    assert [point.validation["top1"] for point in chosen.curve] == [0.3, 0.9, 0.5]
    assert all(torch.equal(model.state_dict()[n], t) for n, t in states[1].items())
    assert not torch.equal(states[1]["linear1.weight"], states[2]["linear1.weight"])


@pytest.mark.parametrize("accumulation", [1, 4])
def test_the_curve_has_the_mean_over_examples_of_the_loss_that_was_minimised(digits, accumulation):
    """At a learning rate of nothing the network stays as it is, so that its loss is known."""
    model = small()
    recipe = Recipe(
        epochs=2, batch_size=100, learning_rate=1e-30, optimizer="SGD", accumulation=accumulation
    )
    curve = train(Training(model, digits, recipe, Purpose(0, "fine-tuning 1"))).curve
    assert [(point.training, point.epoch) for point in curve] == [
        ("fine-tuning 1", 1),
        ("fine-tuning 1", 2),
    ]
    (batch,) = digits.batches("train", 10_000)
    with torch.no_grad():
        expected = F.cross_entropy(model(batch[0]), batch[1]).item()
    assert [point.loss for point in curve] == pytest.approx([expected] * 2, rel=1e-5)
    assert curve[0].validation == quality(model, digits, "validation")


def test_data_order_and_dropout_depend_on_seed_and_purpose_alone(digits):
    def trained(seed, name, disturbance):
        torch.manual_seed(disturbance)
        model = LeNetDropout(input_shape=(1, 28, 28))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(0.01)
        shape = copy.copy(digits)
        shape.batches = lambda *a: ((F.interpolate(x, size=28), y) for x, y in digits.batches(*a))
        torch.manual_seed(disturbance)
        for _ in epochs(
            Training(model, shape, Recipe(epochs=1, batch_size=256), Purpose(seed, name))
        ):
            pass
        return model

    first = trained(0, "a", disturbance=1)
    assert same(first, trained(0, "a", disturbance=2))
    assert not same(first, trained(1, "a", disturbance=1))
    assert not same(first, trained(0, "b", disturbance=1))


def test_training_leaves_the_global_random_state_alone(digits):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for _ in epochs(Training(small(), digits, Recipe(epochs=1), Purpose(0, "test"))):
        pass
    assert torch.equal(torch.get_rng_state(), before)


def test_frozen_parameters_are_not_trained(digits):
    model = LeNet300100(input_shape=(1, 8, 8))
    model.linear1.weight.requires_grad_(False)
    before = model.linear1.weight.clone()
    train(Training(model, digits, Recipe(epochs=1, weight_decay=0.1), Purpose(0, "test")))
    assert torch.equal(model.linear1.weight, before)


def test_a_diverged_epoch_is_never_preferred(digits, monkeypatch):
    scores = iter([float("nan"), 0.2, float("nan")])
    monkeypatch.setattr(
        "prunebench.benchmark.cell.training.quality", lambda *a: {"top1": next(scores), "loss": 0.0}
    )
    trained = train(Training(small(), digits, Recipe(epochs=3), Purpose(0, "t")))
    assert trained.validation["top1"] == 0.2
    assert [point.validation["top1"] for point in trained.curve] == [None, 0.2, None]


def test_quality_is_measured_in_evaluation_mode_and_leaves_the_mode_alone(digits):
    model = small().train()
    assert quality(model, digits, "test") == quality(model, digits, "test")
    assert model.training


@pytest.mark.slow
@pytest.mark.parametrize("parts", [2, 5])
def test_gradients_of_parts_add_up_to_those_of_the_batch(digits, parts):
    whole, divided = small().double(), small().double()
    task = copy.copy(digits)
    task.batches = lambda *a: ((x.double(), y) for x, y in digits.batches(*a))
    settings = {"epochs": 1, "optimizer": "SGD", "learning_rate": 0.05, "batch_size": 50}
    for model, recipe in (
        (whole, Recipe(**settings)),
        (divided, Recipe(**settings, accumulation=parts)),
    ):
        for _ in epochs(Training(model, task, recipe, Purpose(0, "test"))):
            pass
    for one, other in zip(whole.parameters(), divided.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-12)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:Skipping serialization:UserWarning")  # torch 2.6
def test_a_compiled_training_gives_what_a_plain_one_gives(digits):
    plain, compiled = small(), small()
    one = train(Training(plain, digits, Recipe(epochs=2), Purpose(0, "test")))
    other = train(Training(compiled, digits, Recipe(epochs=2, compiled=True), Purpose(0, "test")))
    assert other.validation["top1"] == pytest.approx(one.validation["top1"], abs=0.03)
    for a, b in zip(plain.parameters(), compiled.parameters(), strict=True):
        assert torch.allclose(a, b, atol=0.05)
