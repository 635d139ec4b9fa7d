"""Training in half precision, and what is done in steps that the scaler of float16 skips."""

import pytest
import torch
from contexts import context_of
from trainings import TRAINED, same, small

from prunebench.benchmark.cell.epochs import Purpose, Training, epochs
from prunebench.benchmark.cell.training import train
from prunebench.benchmark.recipe import Recipe
from prunebench.strategies import (
    STRATEGIES,
)


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
