"""A training that is interrupted and goes on ends as if nothing had happened."""

import copy
import time

import pytest
import torch
from torch.nn import functional as F

import prunebench
from prunebench.benchmark.cell import distributed, training
from prunebench.benchmark.cell.checkpoint import Checkpoint, Checkpoints
from prunebench.benchmark.cell.epochs import Purpose, Training
from prunebench.benchmark.cell.training import train
from prunebench.benchmark.recipe import Recipe
from prunebench.benchmark.sweeps.sweep import sweep
from prunebench.errors import UsageError
from prunebench.models import LeNetDropout
from prunebench.results import Store
from prunebench.strategies import STRATEGIES, PackedMasks, SparseTraining


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LeNetDropout(input_shape=(1, 16, 16))


def enlarged(digits, stop_after=None):
    """The digits at twice their size, whose training is interrupted after so many batches."""
    task, left = copy.copy(digits), [stop_after]

    def batches(split, *arguments):
        for x, y in digits.batches(split, *arguments):
            if split == "train" and left[0] is not None:
                if left[0] == 0:
                    raise KeyboardInterrupt
                left[0] -= 1
            yield F.interpolate(x, scale_factor=2), y

    task.batches = batches
    return task


RECIPES = {
    "Adam": Recipe(epochs=3, batch_size=128),
    "momentum, cosine, warm-up": Recipe(
        epochs=3,
        batch_size=128,
        optimizer="SGD",
        learning_rate=0.05,
        momentum=0.9,
        learning_rate_schedule="cosine",
        warmup_epochs=1.0,
    ),
    "step, averaged": Recipe(
        epochs=3, batch_size=128, learning_rate_schedule="step", weight_averaging=0.9
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("stop_after", [1, 10, 13, 31])
def test_an_interrupted_training_ends_with_the_same_bits(digits, tmp_path, recipe, stop_after):
    assert digits.size("train") // 128 == 9  # ten batches an epoch
    expected, ours = network(), network()
    found = train(Training(expected, enlarged(digits), recipe, Purpose(0, "test")))
    path = tmp_path / "training.pt"
    arguments = (recipe, Purpose(0, "test"), None, 1)
    try:
        train(Training(ours, enlarged(digits, stop_after), *arguments, Checkpoint(path, 0)))
    except KeyboardInterrupt:
        assert path.exists()
    ours = network()
    again = train(Training(ours, enlarged(digits), *arguments, Checkpoint(path, 0)))
    assert again[:2] == found[:2]
    for name, tensor in expected.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor), name


@pytest.mark.slow
def test_a_finished_training_is_not_repeated(digits, tmp_path, monkeypatch):
    start = time.monotonic()
    recipe, checkpoint = RECIPES["Adam"], Checkpoint(tmp_path / "x.pt", 0)
    model = network()
    found = train(Training(model, enlarged(digits), recipe, Purpose(0, "t"), None, 1, checkpoint))
    monkeypatch.setattr(training, "epochs", None)
    other, seconds = network(), time.monotonic() - start
    checkpoint = Checkpoint(tmp_path / "x.pt", 0)
    again = train(Training(other, enlarged(digits), recipe, Purpose(0, "t"), None, 1, checkpoint))
    assert again[:2] == found[:2]
    assert 0 < checkpoint.seconds_before <= seconds
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage", [lambda c: c[:-9], lambda c: c[:99] + b"?" + c[100:], bytes.upper]
)
def test_a_damaged_checkpoint_is_named_and_the_training_begins_again(
    digits, tmp_path, capsys, damage
):
    path, recipe = tmp_path / "x.pt", RECIPES["Adam"]
    found = train(Training(network(), enlarged(digits), recipe, Purpose(0, "t")))
    with pytest.raises(KeyboardInterrupt):
        train(
            Training(
                network(),
                enlarged(digits, 13),
                recipe,
                Purpose(0, "t"),
                None,
                1,
                Checkpoint(path, 0),
            )
        )
    path.write_bytes(damage(path.read_bytes()))
    arguments = (recipe, Purpose(0, "t"), None, 1, Checkpoint(path, 0))
    assert train(Training(network(), enlarged(digits), *arguments))[:2] == found[:2]
    assert f"{path} is damaged" in capsys.readouterr().err


def test_a_checkpoint_that_cannot_be_read_is_damaged(tmp_path, capsys):
    path = tmp_path / "x.pt"
    Checkpoint(path, 0).save({"finished": True, "best": PackedMasks()})
    assert Checkpoint(path, 0).load() is None
    assert f"{path} is damaged" in capsys.readouterr().err
    assert not path.exists()


@pytest.mark.parametrize(("made_by", "going_on"), [(1, 2), (2, 1)])
def test_processes_of_another_number_do_not_go_on(digits, tmp_path, monkeypatch, made_by, going_on):
    path, recipe = tmp_path / "x.pt", RECIPES["Adam"]
    arguments = (recipe, Purpose(0, "t"), None, 1, Checkpoint(path, 0))
    monkeypatch.setattr(distributed, "gathered", lambda own: [own] * made_by)
    with pytest.raises(KeyboardInterrupt):
        train(Training(network(), enlarged(digits, 13), *arguments))
    before = path.read_bytes()
    monkeypatch.setattr(distributed, "world_size", lambda: going_on)
    monkeypatch.setattr(distributed, "agreed", lambda answer: answer)
    with pytest.raises(UsageError, match=f"{path} is the checkpoint of {made_by} process"):
        train(Training(network(), enlarged(digits), *arguments))
    assert path.read_bytes() == before


def test_masks_are_kept_up_after_an_interruption(digits, tmp_path):
    masks = {"linear1.weight": torch.rand(network().linear1.weight.shape) > 0.7}
    path = tmp_path / "x.pt"
    for stop_after in (13, None):
        model = network()
        sparsity = SparseTraining(model, masks)
        sparsity.apply()
        arguments = (RECIPES["Adam"], Purpose(0, "t"), sparsity, 1, Checkpoint(path, 0))
        try:
            train(Training(model, enlarged(digits, stop_after), *arguments))
        except KeyboardInterrupt:
            continue
    assert (model.linear1.weight[~masks["linear1.weight"]] == 0).all()


def test_nothing_is_saved_before_it_is_time(digits, tmp_path):
    train(Training(
        network(), enlarged(digits), RECIPES["Adam"], Purpose(0, "t"), None, 1,
        Checkpoint(tmp_path / "x.pt", 3_600),
    ))  # fmt: skip
    assert not list(tmp_path.iterdir())
    assert Checkpoints(tmp_path, "id", None).of("training") is None


WITH_RULES_OF_THEIR_OWN = [
    name for name in STRATEGIES.names() if STRATEGIES.find(name)().capabilities.training == "own"
]


def test_methods_with_rules_of_their_own_are_known():
    some = {"RigL", "DynamicNetworkSurgery", "STR", "HardConcrete", "Movement"}
    assert some <= set(WITH_RULES_OF_THEIR_OWN)


@pytest.mark.slow
@pytest.mark.parametrize(
    "strategy",
    [
        "GlobalMagnitude",
        "gradual",
        "gradual SNIP",
        "SparseGPT(batches=2)",
        "Wanda(batches=2, sequential=True)",
        *WITH_RULES_OF_THEIR_OWN,
    ],
)
def test_a_cell_that_is_interrupted_gives_the_record_it_would_have_given(
    experiment, tmp_path, monkeypatch, strategy
):
    settings: dict[str, object] = {"strategy": strategy}
    if strategy.startswith("gradual"):
        pruned_by = strategy.partition(" ")[2] or "GlobalMagnitude"
        settings = {"strategy": pruned_by, "rounds": 9, "timing": "DuringTraining"}
    elif strategy == "GlobalMagnitude":
        settings["rounds"] = 2
    made = experiment(**settings, metrics=["Size"])
    steps, step, stops = [0], torch.optim.Adam.step, []

    def counted(self, *arguments):
        steps[0] += 1
        if steps[0] in stops:
            raise KeyboardInterrupt
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", counted)
    expected = prunebench.run(made, runs=tmp_path / "whole")
    assert expected.error is None
    needed, steps[0] = steps[0], 0
    stops += [needed // 4, needed // 2, 2 * needed // 3, needed - 3]
    runs = tmp_path / "interrupted"
    interruptions = 0
    while True:
        try:
            (record,) = sweep([made], runs=runs, checkpoint_minutes=1e-9, progress=False)
            break
        except KeyboardInterrupt:
            interruptions += 1
    assert interruptions == 4
    assert record.result() == expected.result()
    assert record.calibration == expected.calibration
    assert (record.timings["scoring_seconds"] or 0) > 0
    # What was done is not done again: the step in which it was interrupted is, and a method's own
    # optimizer may have been stopped after that of the network.
    assert steps[0] <= needed + 2 * interruptions
    assert not list((runs / "checkpoints").iterdir())
    assert Store(runs).is_finished(made.id)
