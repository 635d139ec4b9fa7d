"""Networks that train together end where each of them ends alone, up to rounding."""

import copy
from pathlib import Path

import pytest
import torch

import prunebench
from prunebench.benchmark.cell import stacking
from prunebench.benchmark.cell.epochs import Purpose, Training
from prunebench.benchmark.cell.stacking import train_all, train_together
from prunebench.benchmark.cell.training import train
from prunebench.benchmark.grid import grid
from prunebench.benchmark.recipe import Recipe
from prunebench.models import LeNetDropout, LeNetSmall, Perceptron, ResNetSmall
from prunebench.seeding import generator
from prunebench.strategies import GradualTraining, SparseTraining, full_masks, keep_largest

MODELS = {
    "linear": lambda: Perceptron(input_shape=(1, 8, 8), classes=10),
    "channels last": lambda: LeNetSmall().to(memory_format=torch.channels_last),
    "batch normalisation": ResNetSmall,
}
RECIPES = {
    "Adam": Recipe(epochs=2, batch_size=256, learning_rate_schedule="cosine"),
    "SGD": Recipe(epochs=2, batch_size=256, optimizer="SGD", momentum=0.9, learning_rate=0.05),
    "clipped and averaged": Recipe(
        epochs=2,
        batch_size=256,
        optimizer="SGD",
        gradient_clipping=0.1,
        weight_averaging=0.9,
        label_smoothing=0.1,
        warmup_epochs=1,
    ),
}


def density_masks(model, keep):
    weights = {name: each for name, each in model.named_parameters() if each.ndim > 1}
    return {
        name: keep_largest(each.detach().abs(), each.numel() // keep, generator(0))
        for name, each in weights.items()
    }


def trainings(task, make, recipe, epoch=1):
    """Three networks: one dense, two pruned to different densities."""
    made = []
    for seed, keep in enumerate((None, 2, 8)):
        torch.manual_seed(seed)
        model = make()
        sparsity = keep and SparseTraining(model, density_masks(model, keep))
        if sparsity:
            sparsity.apply()
        made.append(Training(model, task, recipe, Purpose(0, "test"), sparsity, epoch))
    return made


def close(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.allclose(a.float(), b.float(), rtol=1e-3, atol=1e-4) for a, b in pairs)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_each_network_ends_where_it_ends_alone(model, recipe, digits):
    together = trainings(digits, MODELS[model], RECIPES[recipe])
    alone = trainings(digits, MODELS[model], RECIPES[recipe])
    results = train_together(together)
    for ours, theirs, result in zip(together, alone, results, strict=True):
        expected = train(theirs)
        assert close(ours.model, theirs.model)
        assert [point.loss for point in result.curve] == pytest.approx(
            [point.loss for point in expected.curve], rel=1e-3
        )
        assert result.validation["loss"] == pytest.approx(expected.validation["loss"], rel=1e-3)
        assert (result.stacked, expected.stacked) == (3, 1)
        if ours.sparsity is not None:
            weights = dict(ours.model.named_parameters())
            assert all(not weights[n][~mask].any() for n, mask in ours.sparsity.masks.items())


def test_batches_that_draw_without_a_generator_are_those_of_each_network_alone(digits, monkeypatch):
    def noisy(batch_size, generator):
        for images, labels in digits.batches("train", batch_size, generator):
            yield images + torch.rand_like(images), labels

    monkeypatch.setattr(digits, "training_batches", noisy, raising=False)
    together, alone = (
        trainings(digits, MODELS["linear"], RECIPES["SGD"]) for _ in ("together", "alone")
    )
    train_together(together)
    for ours, theirs in zip(together, alone, strict=True):
        train(theirs)
        assert close(ours.model, theirs.model)


def test_a_training_may_begin_at_a_later_epoch(digits):
    recipe = RECIPES["Adam"]
    (ours, *_), (theirs, *_) = (trainings(digits, LeNetSmall, recipe, epoch=2) for _ in range(2))
    train_together([ours])
    train(theirs)
    assert close(ours.model, theirs.model)


def test_masks_are_tightened_in_each_network_by_its_own_rule(digits):
    def gradual(keep):
        torch.manual_seed(keep)
        model = LeNetSmall()
        weights = {name: each for name, each in model.named_parameters() if each.ndim > 1}

        def tighten(number, masks):
            return density_masks(model, keep * number)

        sparsity = GradualTraining(model, full_masks(weights), tighten, 2, 0.0, 0.5)
        return Training(model, digits, RECIPES["Adam"], Purpose(0, "test"), sparsity)

    together, alone = [gradual(2), gradual(4)], [gradual(2), gradual(4)]
    train_together(together)
    for ours, theirs in zip(together, alone, strict=True):
        train(theirs)
        assert close(ours.model, theirs.model)
        expected = sum(int(mask.sum()) for mask in theirs.sparsity.masks.values())
        assert sum(int(mask.sum()) for mask in ours.sparsity.masks.values()) == expected


def test_networks_share_nothing_when_they_have_trained(digits):
    together = trainings(digits, LeNetSmall, RECIPES["Adam"])
    train_together(together)
    before = copy.deepcopy(together[1].model.state_dict())
    with torch.no_grad():
        for parameter in together[0].model.parameters():
            parameter.fill_(7.0)
    after = together[1].model.state_dict()
    assert all(torch.equal(after[name], each) for name, each in before.items())
    stored = {each.untyped_storage().nbytes() // each.element_size() for each in after.values()}
    assert stored == {each.numel() for each in after.values()}, "slices of something larger"
    assert together[0].model.conv1.weight.shape == (16, 1, 3, 3)


@pytest.mark.parametrize(
    ("make", "recipe"),
    [
        (LeNetDropout, RECIPES["Adam"]),
        (LeNetSmall, Recipe(epochs=1, batch_size=512, accumulation=2)),
        (LeNetSmall, Recipe(epochs=1, batch_size=512, penalty="L1(strength=1e-4)")),
    ],
    ids=["its own noise", "accumulation", "penalty"],
)
def test_what_cannot_be_shared_is_trained_alone_to_the_same_bits(
    make, recipe, digits, mnist_sized, monkeypatch
):
    monkeypatch.setattr(stacking, "WORTHWHILE", 0.01)
    task = mnist_sized if make is LeNetDropout else digits
    ours, theirs = (trainings(task, make, recipe) for _ in range(2))
    for one, other, result in zip(ours, theirs, train_all(ours), strict=True):
        train(other)
        assert result.stacked == 1
        states = one.model.state_dict(), other.model.state_dict()
        assert all(torch.equal(states[0][name], each) for name, each in states[1].items())


class Scaled(LeNetSmall):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return self.scale * super().forward(x)


def test_networks_that_differ_in_more_than_their_tensors_train_apart(digits, monkeypatch):
    monkeypatch.setattr(stacking, "WORTHWHILE", 0.01)
    recipe, scales = Recipe(epochs=1, batch_size=512), iter((1.0, 2.0, 2.0))
    ours = trainings(digits, lambda: Scaled(next(scales)), recipe)
    assert [each.stacked for each in train_all(ours)] == [1, 2, 2]


@pytest.mark.parametrize(
    ("settings", "stacked"),
    [
        ({"strategy": "FeatureBoosting(penalty=0.0)", "model": "LeNetSmall"}, 1),
        ({"strategy": "GlobalMagnitude", "model": "Perceptron", "recovery": "LoRA"}, 2),
    ],
)
def test_networks_in_another_form_train_together_where_they_compute_the_same(
    settings, stacked, experiment, tmp_path, monkeypatch
):
    monkeypatch.setattr(stacking, "WORTHWHILE", 0.01)
    made = [experiment(**settings, sparsity=sparsity) for sparsity in (0.25, 0.75)]
    apart = prunebench.sweep(made, runs=tmp_path / "apart", progress=False)
    together = prunebench.sweep(made, runs=tmp_path / "together", stack=2, progress=False)
    for one, other in zip(together, apart, strict=True):
        assert one.stacked == stacked
        assert one.final["loss"] == pytest.approx(other.final["loss"], rel=1e-3)


@pytest.fixture
def mnist_sized(digits):
    """Digits enlarged to 28×28, for networks that need it."""
    larger = copy.copy(digits)
    larger.input_shape = (1, 28, 28)

    def enlarged(images):
        return torch.nn.functional.interpolate(images, (28, 28))

    larger.batches = lambda *given: ((enlarged(x), y) for x, y in digits.batches(*given))
    larger.training_batches = lambda *given: (
        (enlarged(x), y) for x, y in digits.training_batches(*given)
    )
    return larger


def test_what_goes_wrong_in_one_training_of_its_own_ends_no_other(digits):
    class Broken(SparseTraining):
        def after_step(self):
            raise ArithmeticError("broken")

    first, second, third = trainings(digits, LeNetSmall, Recipe(epochs=1, batch_size=512))
    broken = second._replace(sparsity=Broken(second.model, second.sparsity.masks))
    results = train_all([first, broken, third])
    assert isinstance(results[1], ArithmeticError)
    assert results[0].curve
    assert results[2].curve


def experiments():
    return grid(
        dataset="Digits",
        model="Perceptron",
        strategy=["GlobalMagnitude", "Random", "RigL"],
        compression=[2, 4],
        rounds=2,
        measurements=("Size",),
        pretraining={"epochs": 4, "batch_size": 256, "learning_rate": 0.01},
        finetuning={"epochs": 2, "batch_size": 256},
        least_dense_quality=0.0,
    )


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_records_of_cells_say_that_they_trained_together_and_agree_with_those_apart(
    workers, tmp_path, monkeypatch
):
    made = experiments()
    apart = prunebench.sweep(made, runs=tmp_path / "apart", progress=False)
    monkeypatch.setattr(stacking, "WORTHWHILE", 0.01)
    together = prunebench.sweep(
        made, runs=tmp_path / "together", workers=workers, stack=6, progress=False
    )
    assert len(apart) == len(together) == 6
    for one, other in zip(together, apart, strict=True):
        assert one.id == other.id
        if other.experiment["strategy"] == "RigL":  # which exchanges weights as it trains
            assert one.result() == other.result()
            continue
        # Workers share the cells out; they load the code anew, and decide by what they measure.
        assert one.stacked == 4 if workers == 1 else one.stacked in (1, 2, 3)
        assert one.final["nonzero"] == other.final["nonzero"]
        assert [each.kept for each in one.rounds] == [each.kept for each in other.rounds]
        assert one.final["loss"] == pytest.approx(other.final["loss"], rel=1e-3)
        assert one.final["top1"] == pytest.approx(other.final["top1"], abs=0.01)
        assert all(other.stacked == 1 for other in apart)


def test_cells_train_apart_to_the_same_bits_where_it_is_not_worthwhile(tmp_path, monkeypatch):
    monkeypatch.setattr(stacking, "WORTHWHILE", float("inf"))
    made = [each for each in experiments() if str(each.strategy) == "GlobalMagnitude"]
    apart, together = (
        prunebench.sweep(made, runs=tmp_path / str(stack), stack=stack, progress=False)
        for stack in (1, 2)
    )
    assert [each.result() for each in apart] == [each.result() for each in together]


@pytest.mark.slow
def test_a_cell_that_ends_its_process_takes_no_other_of_its_stack_with_it(tmp_path: Path):
    (tmp_path / "ending.py").write_text(
        "import os\n"
        "from dataclasses import dataclass\n"
        "from prunebench.strategies import ScoredStrategy\n"
        "@dataclass(frozen=True)\n"
        "class Ending(ScoredStrategy):\n"
        '    """Ends.\n\n    Source: none.\n    """\n'
        "    def score(self, context):\n"
        "        os._exit(3)\n"
    )
    made = grid(
        dataset="Digits",
        model="LeNetSmall",
        strategy=["Random", f"{tmp_path}/ending.py:Ending", "GlobalMagnitude"],
        compression=2,
        pretraining={"epochs": 1},
        finetuning={"epochs": 1},
        least_dense_quality=0.0,
    )
    records = prunebench.sweep(made, runs=tmp_path / "runs", workers=2, stack=3, progress=False)
    assert [each.status for each in records] == ["ok", "failed", "ok"]
    assert "exit code 3" in records[1].error.message
