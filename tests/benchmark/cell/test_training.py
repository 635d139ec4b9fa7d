"""Training against a loop written out by hand."""

import copy
import shutil

import pytest
import torch
from contexts import context_of
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.prune import custom_from_mask
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from prunebench.benchmark.cell.epochs import Purpose, Training, epochs
from prunebench.benchmark.cell.evaluation import quality
from prunebench.benchmark.cell.optimisation import WeightAverage, make_optimizer
from prunebench.benchmark.cell.training import train
from prunebench.benchmark.experiment import Recipe
from prunebench.errors import UsageError
from prunebench.models import LeNet300100, LeNetDropout, LeNetSmall
from prunebench.seeding import generator
from prunebench.strategies import (
    STRATEGIES,
    ReparametrisedTraining,
    SparseTraining,
)


def small():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LeNetSmall()


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


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


def test_the_cosine_schedule_ends_at_zero(digits):
    model = small()
    recipe = Recipe(epochs=2, optimizer="SGD", learning_rate=0.1, learning_rate_schedule="cosine")
    steps = -(-digits.size("train") // recipe.batch_size) * recipe.epochs
    sizes, before = [], [p.detach().clone() for p in model.parameters()]

    class Recorder(SparseTraining):
        @torch.no_grad()
        def after_step(self):
            grads = sum(p.grad.square().sum() for p in model.parameters()).sqrt()
            pairs = list(zip(model.parameters(), before, strict=True))
            moved = sum((p - q).square().sum() for p, q in pairs).sqrt()
            sizes.append(float(moved / grads))
            for p, q in pairs:
                q.copy_(p)

    for _ in epochs(Training(model, digits, recipe, Purpose(0, "test"), Recorder(model, {}))):
        pass
    expected = 0.05 * (1 + torch.cos(torch.pi * torch.arange(steps) / steps))
    assert torch.allclose(torch.tensor(sizes), expected, rtol=0.02, atol=1e-5)


def test_the_step_schedule_divides_the_learning_rate_by_ten_at_its_drops(digits):
    seen = []

    class Recorder(SparseTraining):
        def after_step(self):
            seen.append(self._optimizer.param_groups[0]["lr"])

    recipe = Recipe(
        epochs=2, optimizer="SGD", learning_rate=0.1, learning_rate_schedule="step",
        learning_rate_drops=(0.5, 0.75),
    )  # fmt: skip
    for _ in epochs(Training(small(), digits, recipe, Purpose(0, "test"), Recorder(small(), {}))):
        pass
    steps = len(seen)
    first, second = round(steps * 0.5), round(steps * 0.75)
    assert seen[:first] == pytest.approx([0.1] * first)
    assert seen[first:second] == pytest.approx([0.01] * (second - first))
    assert seen[second:] == pytest.approx([0.001] * (steps - second))


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


def learning_rates(digits, **settings):
    """The learning rate of each step of a training."""
    seen = []

    class Recorder(SparseTraining):
        def after_step(self):
            seen.append(self._optimizer.param_groups[0]["lr"])

    recipe = Recipe(epochs=4, optimizer="SGD", learning_rate=0.1, **settings)
    for _ in epochs(Training(small(), digits, recipe, Purpose(0, "test"), Recorder(small(), {}))):
        pass
    return seen


def test_the_linear_schedule_falls_evenly_to_zero(digits):
    seen = learning_rates(digits, learning_rate_schedule="linear")
    expected = [0.1 * (1 - step / len(seen)) for step in range(len(seen))]
    assert seen == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear", "step"])
def test_warming_up_scales_the_schedule_until_it_is_reached(digits, schedule):
    plain = learning_rates(digits, learning_rate_schedule=schedule)
    warmed = learning_rates(digits, learning_rate_schedule=schedule, warmup_epochs=1.5)
    steps = round(1.5 * len(plain) / 4)
    factors = [
        1 / (steps + 1) + (1 - 1 / (steps + 1)) * min(step, steps) / steps
        for step in range(len(plain))
    ]
    assert warmed == pytest.approx([a * b for a, b in zip(plain, factors, strict=True)], abs=1e-9)
    assert warmed[0] == pytest.approx(0.1 / (steps + 1))


def test_nesterovs_momentum_is_that_of_torch(digits):
    ours, theirs = small(), small()
    recipe = Recipe(epochs=1, optimizer="SGD", learning_rate=0.05, momentum=0.9, nesterov=True)
    for _ in epochs(Training(ours, digits, recipe, Purpose(3, "test"))):
        pass
    steps = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, nesterov=True, fused=True)
    for x, y in digits.batches("train", 64, generator(3, "test", "order", 1)):
        steps.zero_grad()
        F.cross_entropy(theirs(x), y).backward()
        steps.step()
    assert same(ours, theirs)


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


def test_weights_are_averaged_while_training_goes_on_from_its_own(digits):
    model, plain, averages = small(), small(), []
    recipe = Recipe(epochs=2, batch_size=256)
    after_epochs = []
    for _ in epochs(
        Training(
            model, digits, recipe.model_copy(update={"weight_averaging": 0.8}), Purpose(0, "test")
        )
    ):
        averages.append([p.detach().clone() for p in model.parameters()])
    expected = [p.detach().clone() for p in plain.parameters()]

    class Watching(SparseTraining):
        @torch.no_grad()
        def after_step(self):
            for average, parameter in zip(expected, plain.parameters(), strict=True):
                average.mul_(0.8).add_(parameter, alpha=0.2)

    for _ in epochs(Training(plain, digits, recipe, Purpose(0, "test"), Watching(plain, {}))):
        after_epochs.append([average.clone() for average in expected])
    for ours, theirs in zip(averages, after_epochs, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert torch.allclose(one, other, atol=1e-6)
    assert same(model, plain)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_averages_move_in_any_precision(dtype):
    model = nn.Linear(1, 1).to(dtype)
    average = WeightAverage(model, 0.999)
    before = model.weight.item()
    with torch.no_grad():
        model.weight += 1
    after = model.weight.item()
    for _ in range(1_000):
        average.update()
    with average.in_place():
        moved = before + (after - before) * (1 - 0.999**1_000)
        assert model.weight.item() == pytest.approx(moved, abs=0.01)
        assert model.weight.dtype == dtype
    assert model.weight.item() == after


def test_averages_of_pruned_weights_are_zero(digits):
    model = small()
    masks = {"linear1.weight": torch.rand(model.linear1.weight.shape) > 0.7}
    sparsity = SparseTraining(model, masks)
    sparsity.apply()
    train(
        Training(
            model, digits, Recipe(epochs=2, weight_averaging=0.9), Purpose(0, "test"), sparsity
        )
    )
    assert (model.linear1.weight[~masks["linear1.weight"]] == 0).all()
    assert model.linear1.weight[masks["linear1.weight"]].all()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_learns_nearly_as_well_and_keeps_single_precision_weights(digits, precision):
    model = small()
    found = train(
        Training(model, digits, Recipe(epochs=4, precision=precision), Purpose(0, "test"))
    )
    expected = train(Training(small(), digits, Recipe(epochs=4), Purpose(0, "test")))
    assert found.validation["top1"] == pytest.approx(expected.validation["top1"], abs=0.04)
    assert found.validation["top1"] > 0.9
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


@pytest.fixture
def overflowing(monkeypatch):
    """Have the scaler of float16 begin with a scale at which some steps are skipped."""
    defaults = torch.amp.GradScaler.__init__.__defaults__
    larger = tuple(2.0**24 if each == 2.0**16 else each for each in defaults)
    monkeypatch.setattr(torch.amp.GradScaler.__init__, "__defaults__", larger)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.usefixtures("overflowing")
def test_momentum_begins_with_the_first_step_that_is_taken(digits, nesterov):
    """Torch is told to fill with NaN what it leaves open."""
    recipe = Recipe(
        epochs=1, optimizer="SGD", learning_rate=0.01, momentum=0.9, nesterov=nesterov,
        precision="float16",
    )  # fmt: skip
    torch.use_deterministic_algorithms(True)
    try:
        model = small()
        list(epochs(Training(model, digits, recipe, Purpose(0, "test"))))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert not same(model, small())


class Later(nn.Module):
    """A layer that has no part in the first two steps, and another."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(64, 10), nn.Linear(10, 10)
        self.calls = 0

    def forward(self, x):
        self.calls += self.training
        found = self.first(x.flatten(1))
        return found if self.calls <= 2 else self.second(found)


def test_a_layer_may_learn_later_than_others(digits):
    ours = Later()
    theirs = copy.deepcopy(ours)
    recipe = Recipe(epochs=1, optimizer="SGD", learning_rate=0.05, momentum=0.9)
    list(epochs(Training(ours, digits, recipe, Purpose(3, "test"))))
    steps = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9)
    for x, y in digits.batches("train", 64, generator(3, "test", "order", 1)):
        steps.zero_grad()
        F.cross_entropy(theirs(x), y).backward()
        steps.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_momentum_begins_with_the_bits_of_the_first_gradient():
    """Negative zeros are no others: the next step takes their sign over."""
    ours, theirs = (nn.Parameter(torch.tensor([0.0, -0.0, 1.0, -1.0])) for _ in range(2))
    recipe = Recipe(epochs=1, optimizer="SGD", learning_rate=0.1, momentum=0.9)
    optimizers = (
        make_optimizer([ours], recipe),
        torch.optim.SGD([theirs], lr=0.1, momentum=0.9, fused=True),
    )
    for gradient in ([-0.0, -0.0, 1.0, -1.0], [0.0, -0.0, -0.0, 0.0]):
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = torch.tensor(gradient)
            optimizer.step()
        assert torch.equal(ours.view(torch.int32), theirs.view(torch.int32))
        one, other = (each.state_dict()["state"][0]["momentum_buffer"] for each in optimizers)
        assert torch.equal(one.view(torch.int32), other.view(torch.int32))


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


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"nesterov": True}, "nesterov: True is not allowed: it needs a momentum"),
        ({"epochs": 2, "warmup_epochs": 2.0}, "warmup_epochs: 2 is not allowed"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(settings, sentence):
    with pytest.raises(UsageError, match=sentence):
        Recipe(**settings)


def test_averaging_is_refused_where_a_method_changes_weights_itself(experiment):
    with pytest.raises(UsageError, match=r"weight_averaging: 0\.99 is not allowed: RigL"):
        experiment(strategy="RigL", finetuning={"epochs": 2, "weight_averaging": 0.99})


@pytest.mark.parametrize("settings", [{"timing": "DuringTraining"}, {"strategy": "RigL"}])
def test_averaging_is_that_of_the_recipe_by_which_a_recovery_trains(experiment, settings):
    averaged = {"epochs": 2, "weight_averaging": 0.9}
    rewinding = {**settings, "recovery": "RewindLearningRate"}
    words = r"pretraining.weight_averaging: 0\.9 is not allowed: .* by the pretraining recipe"
    with pytest.raises(UsageError, match=words):
        experiment(**rewinding, pretraining=averaged)
    experiment(**rewinding, finetuning=averaged)
    experiment(**settings, pretraining=averaged)


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


TRAINED = (
    "GlobalMagnitude", "SET", "RigL", "DynamicNetworkSurgery",
    "STR", "HardConcrete", "Movement", "StraightThrough",
)  # fmt: skip


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


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.usefixtures("overflowing")
def test_nothing_is_learned_from_a_step_that_is_skipped(digits, name, monkeypatch):
    model = small()
    context = context_of(model, digits)
    few = {"updates": 4} if name in ("SET", "RigL", "Movement", "StraightThrough") else {}
    sparsity = STRATEGIES.find(name)(**few).prune(context, 2_000)
    after_step, skipped = sparsity.after_step, []

    def own():
        return [each.detach().clone() for each in getattr(sparsity, "own", list)()]

    def watched():
        before, masks = own(), sparsity.masks
        after_step()
        skipped.append(sparsity.skipped)
        if sparsity.skipped:
            assert all(map(torch.equal, before, own()))
            assert name not in ("SET", "RigL") or sparsity.masks is masks

    monkeypatch.setattr(sparsity, "after_step", watched)
    recipe = Recipe(epochs=2, precision="float16")
    list(epochs(Training(model, digits, recipe, Purpose(0, "test"), sparsity)))
    assert 3 < sum(skipped) < len(skipped) // 2
    assert sparsity.settled
    assert sum(int(mask.sum()) for mask in sparsity.masks.values()) == 2_000
    assert all(parameter.isfinite().all() for parameter in model.parameters())
