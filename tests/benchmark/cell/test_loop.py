"""The loop: what becomes of a network between the pretrained weights and the record."""

import copy
import math
import random
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.utils import prune as torch_prune

import prunebench
from prunebench.benchmark.cell import epochs, rounds
from prunebench.benchmark.cell.evaluation import quality
from prunebench.benchmark.cell.loop import load_task
from prunebench.benchmark.cell.pretraining import Pretrained, build
from prunebench.benchmark.studies.restoring import experiment_of
from prunebench.datasets import DATASETS
from prunebench.metrics import Flops, Latency, Storage
from prunebench.results import Store, leaderboard
from prunebench.results.summary import summary
from prunebench.seeding import generator
from prunebench.strategies import Context, LastRound, NoRecovery, Scorings


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One folder for the module, so that the dense network is trained once."""
    return tmp_path_factory.mktemp("runs")


def weights_of(record, runs):
    return load_file(Store(runs).weights_path(record.id))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["GlobalMagnitude", "Random", "GlobalGradientMagnitude"])
@pytest.mark.parametrize("rounds", [1, 3])
def test_the_network_keeps_exactly_as_many_parameters_as_the_compression_leaves(
    experiment, runs, strategy, rounds
):
    record = prunebench.run(
        experiment(strategy=strategy, compression=8.0, rounds=rounds), runs=runs
    )
    assert record.final["nonzero"] == round(71_754 / 8)
    nonzero = sum(int(t.count_nonzero()) for t in weights_of(record, runs).values())
    assert nonzero == record.final["nonzero"]


def test_without_training_global_magnitude_equals_what_torch_prunes(experiment, runs, digits):
    made = experiment(sparsity=0.9, recovery="NoRecovery")
    record = prunebench.run(made, runs=runs)
    reference = build(made, digits)
    reference.load_state_dict(Pretrained(made, digits, runs).state())
    reference.to(memory_format=torch.contiguous_format)  # torch's pruning needs it
    layers = [m for m in reference.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    torch_prune.global_unstructured(
        [(layer, "weight") for layer in layers], torch_prune.L1Unstructured, amount=0.9
    )
    ours = weights_of(record, runs)
    for name, layer in reference.named_modules():
        if layer in layers:
            assert torch.equal(ours[f"{name}.weight"], layer.weight)
            assert torch.equal(ours[f"{name}.bias"], layer.bias)
    assert record.final["top1"] == quality(reference, digits, "test")["top1"]


@pytest.mark.slow
def test_weights_once_pruned_stay_zero_through_later_rounds(experiment, runs):
    shared = {"strategy": "Random", "finetuning": {"epochs": 1, "optimizer": "SGD",
              "momentum": 0.9, "weight_decay": 0.01, "learning_rate": 0.01}}  # fmt: skip
    # The first round of a linear schedule of two rounds to 90 % is one round to 45 %.
    first = prunebench.run(experiment(sparsity=0.45, **shared), runs=runs)
    both = prunebench.run(
        experiment(sparsity=0.9, rounds=2, schedule="Linear", **shared), runs=runs
    )
    assert both.rounds[0].kept == first.rounds[0].kept
    earlier, later = weights_of(first, runs), weights_of(both, runs)
    for layer in ("conv1", "conv2", "linear1", "linear2"):
        gone = earlier[f"{layer}.weight"] == 0
        assert gone.any()
        assert (later[f"{layer}.weight"][gone] == 0).all()


def test_rewinding_without_pruning_trains_on_from_the_weights_of_that_epoch(
    experiment, runs, digits
):
    made = experiment(recovery="Rewind(epoch=2)", compression=1.0)
    record = prunebench.run(made, runs=runs)
    by_hand = build(made, digits)
    by_hand.load_state_dict(Pretrained(made, digits, runs).at_epoch(2))
    from prunebench.benchmark.cell.epochs import Purpose, Training
    from prunebench.benchmark.cell.training import train

    train(Training(by_hand, digits, made.finetuning, Purpose(made.seed, "fine-tuning 1")))
    for name, tensor in weights_of(record, runs).items():
        assert torch.equal(tensor, by_hand.state_dict()[name]), name


def test_an_epoch_of_the_history_is_the_same_training_cut_short(experiment, runs, digits):
    short = experiment(pretraining={"epochs": 2})
    history = Pretrained(experiment(), digits, runs).at_epoch(2)
    last = Pretrained(short, digits, runs).at_epoch(2)
    assert all(torch.equal(history[name], last[name]) for name in last)
    initial = Pretrained(short, digits, runs).at_epoch(0)
    assert all(torch.equal(t, initial[n]) for n, t in build(short, digits).state_dict().items())


def test_an_epoch_of_the_history_that_is_interrupted_goes_on_from_its_checkpoint(
    experiment, runs, digits, tmp_path
):
    made = experiment(pretraining={"epochs": 3, "weight_averaging": 0.9})
    steps = 2 * digits.steps(made.pretraining.batch_size)
    ours, done = Pretrained(made, digits, tmp_path, 0), 0
    step = epochs.TrainingSteps.step
    with pytest.MonkeyPatch.context() as patch:

        def counted(*arguments):
            nonlocal done
            done += 1
            step(*arguments)
            if done % (steps - 1) == 0:
                raise KeyboardInterrupt

        patch.setattr(epochs.TrainingSteps, "step", counted)
        with pytest.raises(KeyboardInterrupt):
            ours.at_epoch(2)
        found = ours.at_epoch(2)
    # The last step before the interruption had not been saved.
    assert done == steps + 1
    expected = Pretrained(made, digits, runs).at_epoch(2)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert not list((tmp_path / "checkpoints").iterdir())


def test_an_epoch_of_the_history_has_the_averages_that_were_validated(experiment, runs, digits):
    made = experiment(pretraining={"epochs": 3, "weight_averaging": 0.98})
    pretrained, model = Pretrained(made, digits, runs), build(made, digits)
    for point in pretrained.report().curve:
        model.load_state_dict(pretrained.at_epoch(point.epoch))
        assert quality(model, digits, "validation") == point.validation


@pytest.mark.slow
def test_reinitialising_keeps_the_mask_and_draws_other_weights(experiment, runs):
    none = {"compression": 4.0, "finetuning": {"epochs": 1, "learning_rate": 1e-12}}
    kept = weights_of(prunebench.run(experiment(recovery="FineTune", **none), runs=runs), runs)
    drawn = weights_of(prunebench.run(experiment(recovery="Reinitialise", **none), runs=runs), runs)
    for layer in ("conv1", "linear1"):
        assert torch.equal(kept[f"{layer}.weight"] != 0, drawn[f"{layer}.weight"] != 0)
        assert not torch.allclose(kept[f"{layer}.weight"], drawn[f"{layer}.weight"], atol=1e-3)


def test_the_record_has_the_epochs_of_all_trainings(experiment, runs):
    made = experiment(rounds=2, compression=4.0, pretraining={"epochs": 3})
    record = prunebench.run(made, runs=runs)
    trainings = [(point.training, point.epoch) for point in record.history]
    rounds = [(f"fine-tuning {number}", epoch + 1) for number in (1, 2)
              for epoch in range(made.finetuning.epochs)]  # fmt: skip
    assert trainings == [("pretraining", 1), ("pretraining", 2), ("pretraining", 3), *rounds]
    last = [p.validation["top1"] for p in record.history if p.training == "fine-tuning 2"]
    assert max(last) == record.rounds[-1].validation["top1"]


def test_the_record_has_the_distribution_of_weights_before_and_after(experiment, runs, digits):
    made = experiment(sparsity=0.9, rounds=1)
    record = prunebench.run(made, runs=runs)
    dense, final = Pretrained(made, digits, runs).state(), weights_of(record, runs)
    assert [row.name for row in record.distributions] == [
        layer.name for layer in record.layers if layer.weight_class
    ]
    for row in record.distributions:
        limit = max(float(dense[row.name].abs().max()), float(final[row.name].abs().max()))
        assert row.limit == limit
        edges = np.linspace(-limit, limit, len(row.dense) + 1)
        for counts, state in ((row.dense, dense), (row.recovered, final)):
            weights = state[row.name].numpy().ravel()
            expected, _ = np.histogram(weights[weights != 0], edges)
            # A weight on an edge may be counted on either side of it.
            assert abs(np.subtract(counts, expected)).sum() <= 4
            assert sum(counts) == expected.sum()
        # Magnitude pruning keeps the weights that are largest, as they are.
        assert sum(row.pruned) == sum(row.recovered)
        assert all(after <= before for after, before in zip(row.pruned, row.dense, strict=True))


def test_the_classifier_can_be_left_dense(experiment, runs):
    record = prunebench.run(experiment(prune_classifier=False, compression=16.0), runs=runs)
    densities = {layer.name: layer.density for layer in record.layers}
    assert densities["linear2.weight"] == 1
    assert densities["linear1.weight"] < 1
    assert record.final["compression"] == pytest.approx(16, rel=1e-3)


@pytest.mark.slow
def test_no_bias_is_ever_pruned(experiment, runs):
    for strategy in ("GlobalMagnitude", "StructuredL1", "Random"):
        record = prunebench.run(experiment(strategy=strategy, compression=16.0), runs=runs)
        biases = [layer for layer in record.layers if layer.name.endswith("bias")]
        assert len(biases) == 4
        assert all(layer.density == 1 for layer in biases)


@pytest.mark.slow
def test_a_collapsed_layer_is_found_and_named(experiment, runs, tmp_path):
    # Small weights on purpose: a global ranking takes all of the first layer.
    path = tmp_path / "unbalanced.py"
    path.write_text(
        "from dataclasses import dataclass\n"
        "from prunebench.strategies import GlobalMagnitude\n"
        "@dataclass(frozen=True)\n"
        "class Unbalanced(GlobalMagnitude):\n"
        "    '''Ranks the first layer last.'''\n"
        "    def score(self, context):\n"
        "        scores = super().score(context)\n"
        "        return {n: s - 100 * (n == 'conv1.weight') for n, s in scores.items()}\n"
    )
    dead = prunebench.run(experiment(strategy=f"{path}:Unbalanced"), runs=runs)
    assert dead.status == "collapsed"
    assert dead.collapsed_layers == ("conv1.weight",)
    assert "nothing is left of conv1.weight" in summary(dead)
    guarded = f"{path}:Unbalanced(allocation=Global(minimum=1))"
    alive = prunebench.run(experiment(strategy=guarded), runs=runs)
    assert alive.status == "ok"
    assert {la.name: la.nonzero for la in alive.layers}["conv1.weight"] == 1
    assert alive.final["nonzero"] == dead.final["nonzero"]


def test_a_method_that_breaks_leaves_a_failed_record_that_says_why(experiment, runs, tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(
        "from prunebench.strategies import ScoredStrategy\n"
        "class Broken(ScoredStrategy):\n"
        "    '''Breaks.'''\n"
        "    def score(self, context):\n"
        "        return {n: w / 0 * 0 for n, w in context.weights.items()}\n"
    )
    made = experiment(strategy=f"{path}:Broken")
    record = prunebench.run(made, runs=runs)
    assert record.status == "failed"
    assert "contains NaN" in record.error.message
    assert "Broken" in record.error.traceback
    assert record.error.traceback in summary(record)
    assert not Store(runs).weights_path(made.id).exists()


def test_a_method_that_lets_pruned_weights_grow_fails_by_name(experiment, runs, tmp_path):
    path = tmp_path / "growing.py"
    path.write_text(
        "from prunebench.strategies import GlobalMagnitude, SparseTraining\n"
        "class Unmasked(SparseTraining):\n"
        "    def after_step(self):\n"
        "        pass\n"
        "class Growing(GlobalMagnitude):\n"
        "    '''Forgets its masks.'''\n"
        "    def training(self, context, masks, budget):\n"
        "        return Unmasked(context.model, masks)\n"
    )
    record = prunebench.run(experiment(strategy=f"{path}:Growing"), runs=runs)
    assert record.status == "failed"
    assert "pruned weights of conv1.weight are not zero" in record.error.message


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        ({"compression": 500.0}, "383.7"),
        ({"strategy": "StructuredL1", "compression": 64.0}, "33.6"),
        ({"strategy": "StructuredL1", "sparsity": 0.999}, "0.9905"),
    ],
)
def test_an_unreachable_target_is_refused_with_the_one_that_can_be_reached(
    experiment, tmp_path, settings, limit
):
    with pytest.raises(prunebench.UsageError, match=f"can reach at most {limit}"):
        prunebench.run(experiment(**settings), runs=tmp_path)
    assert not list(tmp_path.rglob("*.json"))


def test_the_dense_baseline_is_the_pretrained_network(experiment, runs, digits):
    made = experiment(recovery="NoRecovery", compression=1.0)
    record = prunebench.run(made, runs=runs)
    dense = build(made, digits)
    dense.load_state_dict(Pretrained(made, digits, runs).state())
    assert record.dense["top1"] == quality(dense, digits, "test")["top1"] == record.final["top1"]
    assert record.rounds[0].before == record.rounds[0].after


def test_a_users_metric_is_recorded_for_the_dense_and_the_pruned_network(
    experiment, runs, tmp_path
):
    path = tmp_path / "norms.py"
    path.write_text(
        "from prunebench.metrics import Metric\n"
        "class Norm(Metric):\n"
        "    '''Norm.'''\n"
        "    definitions = {'norm': 'sum of |w|'}\n"
        "    def measure(self, subject):\n"
        "        parameters = subject.model.parameters()\n"
        "        return {'norm': sum(float(p.detach().abs().sum()) for p in parameters)}\n"
    )
    record = prunebench.run(experiment(recovery="NoRecovery", metrics=[f"{path}:Norm"]), runs=runs)
    final = sum(float(t.abs().sum()) for t in weights_of(record, runs).values())
    assert record.final["norm"] == pytest.approx(final)
    assert record.final["norm"] < record.dense["norm"]


def test_scoring_never_sees_the_validation_or_the_test_split(experiment, runs, digits):
    made = experiment(strategy="GlobalGradientMagnitude", recovery="NoRecovery")
    watched = copy.copy(digits)
    seen = []
    batches = digits.batches

    def watching(split, *arguments):
        seen.append(split)
        return batches(split, *arguments)

    watched.batches = watching
    original = Context.gradients
    splits_in_scoring = []

    def gradients(context, *arguments):
        before = len(seen)
        result = original(context, *arguments)
        splits_in_scoring.extend(seen[before:])
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Context, "gradients", gradients)
        patch.setattr(rounds, "_SCORINGS", Scorings(0))
        assert not list(rounds.prune(made, watched, Pretrained(made, watched, runs)))
    assert set(splits_in_scoring) == {"train"}


@pytest.mark.parametrize(
    ("recovery", "test", "validation"), [("NoRecovery", 1, 1), ("FineTune", 2, 3)]
)
def test_no_split_is_looked_at_more_often_than_something_has_changed(
    recovery, test, validation, experiment, runs, digits, monkeypatch
):
    made = experiment(recovery=recovery, finetuning={"epochs": 3})
    prunebench.run(made, runs=runs)  # which leaves the dense network
    passes = Counter()
    batches = type(digits).batches

    def watching(task, split, *arguments):
        passes[split] += 1
        return batches(task, split, *arguments)

    monkeypatch.setattr(type(digits), "batches", watching)
    record = prunebench.run(made, runs=runs, force=True)
    assert (passes["test"], passes["validation"]) == (test, validation)
    assert record.by_class


def test_a_record_names_the_commit_that_it_was_made_with(experiment, runs):
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if described.returncode:
        pytest.skip("this is no checkout")
    record = prunebench.run(experiment(), runs=runs)
    assert record.environment["commit"] == described.stdout.strip()


# When pruning begins, and when it takes place.


@pytest.mark.slow
def test_pruning_at_initialisation_prunes_the_untrained_weights(experiment, runs, digits):
    made = experiment(start_epoch=0, sparsity=0.5, recovery="NoRecovery")
    record = prunebench.run(made, runs=runs)
    initial = build(made, digits).state_dict()
    for name, tensor in weights_of(record, runs).items():
        kept = tensor != 0
        assert torch.equal(tensor[kept], initial[name][kept]), name
    assert record.final["top1"] < 0.3
    trained = prunebench.run(experiment(sparsity=0.5), runs=runs)
    assert record.dense == trained.dense  # the baseline is the trained network all the same


def test_pruning_may_begin_at_any_epoch_of_pretraining(experiment, runs, digits):
    made = experiment(start_epoch=2, sparsity=0.5, recovery="NoRecovery")
    record = prunebench.run(made, runs=runs)
    early = Pretrained(made, digits, runs).at_epoch(2)
    for name, tensor in weights_of(record, runs).items():
        kept = tensor != 0
        assert torch.equal(tensor[kept], early[name][kept]), name


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["GlobalMagnitude", "Random", "GlobalGradientMagnitude"])
def test_rounds_within_one_training_end_at_exactly_the_target(experiment, runs, strategy):
    made = experiment(
        strategy=strategy,
        sparsity=0.9,
        rounds=10,
        schedule="Cubic",
        timing="DuringTraining(begin=0.1, end=0.6)",
        finetuning={"epochs": 3},
    )
    record = prunebench.run(made, runs=runs)
    assert [each.round for each in record.rounds] == [10]
    assert record.rounds[0].kept == record.final["prunable_nonzero"]
    assert record.final["prunable_sparsity"] == pytest.approx(0.9, abs=1e-5)
    assert record.rounds[0].before["top1"] == record.dense["top1"]
    assert record.timings["scoring_seconds"] > 0


@pytest.mark.slow
def test_one_round_during_training_at_its_beginning_is_nearly_a_round_before_it(experiment, runs):
    shared = {"sparsity": 0.9, "finetuning": {"epochs": 1, "learning_rate": 1e-12}}
    during = prunebench.run(experiment(timing="DuringTraining(end=0.01)", **shared), runs=runs)
    before = prunebench.run(experiment(**shared), runs=runs)
    one, other = weights_of(during, runs), weights_of(before, runs)
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)


@pytest.mark.slow
def test_rewinding_the_learning_rate_trains_the_kept_weights_by_the_rest_of_the_recipe(
    experiment, runs, digits
):
    recipe = {"epochs": 3, "learning_rate_schedule": "cosine", "optimizer": "SGD",
              "learning_rate": 0.05}  # fmt: skip
    made = experiment(recovery="RewindLearningRate(epoch=1)", compression=1.0, pretraining=recipe)
    record = prunebench.run(made, runs=runs)
    by_hand = build(made, digits)
    by_hand.load_state_dict(Pretrained(made, digits, runs).state())
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.05, fused=True)
    steps = -(-digits.size("train") // 64)
    best = (-1.0, None)
    step = steps  # as if one epoch were done
    for epoch in (2, 3):
        for batch in digits.batches("train", 64, generator(0, "fine-tuning 1", "order", epoch)):
            rate = 0.025 * (1 + torch.cos(torch.tensor(torch.pi * step / (3 * steps))).item())
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            digits.loss(by_hand, batch).backward()
            optimizer.step()
            step += 1
        score = quality(by_hand, digits, "validation")["top1"]
        if score > best[0]:
            best = score, copy.deepcopy(by_hand.state_dict())
    for name, tensor in weights_of(record, runs).items():
        assert torch.allclose(tensor, best[1][name], atol=1e-5), name


@pytest.mark.slow
def test_a_method_that_prunes_in_training_gives_a_record_like_any_other(experiment, runs):
    made = experiment(strategy="DynamicNetworkSurgery", sparsity=0.9, finetuning={"epochs": 2})
    record = prunebench.run(made, runs=runs)
    assert record.status == "ok"
    assert record.final["prunable_sparsity"] == pytest.approx(0.9, abs=1e-5)
    zeros = sum(int((t == 0).sum()) for t in weights_of(record, runs).values())
    assert zeros == record.final["parameters"] - record.final["nonzero"]


@pytest.mark.slow
def test_the_last_round_may_recover_otherwise_than_those_before_it(experiment, runs):
    shared = {"sparsity": 0.75, "rounds": 2, "finetuning": {"epochs": 1}}
    ticket = prunebench.run(experiment(recovery="Rewind", **shared), runs=runs)
    control = prunebench.run(experiment(recovery="LastRound", **shared), runs=runs)
    assert ticket.rounds[0] == control.rounds[0]
    one, other = weights_of(ticket, runs), weights_of(control, runs)
    for name in ("conv1.weight", "conv2.weight", "linear1.weight", "linear2.weight"):
        assert torch.equal(one[name] == 0, other[name] == 0), name  # the same mask,
        assert not torch.allclose(one[name], other[name], atol=1e-2), name  # other weights


def test_two_recoveries_go_back_where_one_of_them_does(experiment):
    gated = {"strategy": "FeatureBoosting", "sparsity": 0.5}
    experiment(recovery="LastRound(last=FineTune(), before=FineTune())", **gated)
    for recovery in ("LastRound", "LastRound(last=FineTune())", "LastRound(before=FineTune())"):
        with pytest.raises(prunebench.UsageError, match=r"recovery: LastRound.* is not allowed"):
            experiment(recovery=recovery, **gated)


def test_a_recovery_that_does_not_train_cannot_stand_in_another():
    with pytest.raises(prunebench.UsageError, match="last: NoRecovery is not allowed"):
        LastRound(last=NoRecovery())


# What is measured.


def test_what_is_not_to_be_measured_is_not(experiment, runs, monkeypatch):
    def too_long(*_):
        raise AssertionError("this takes time")

    monkeypatch.setattr("prunebench.benchmark.cell.record.layer_table", too_long)
    monkeypatch.setattr(Latency, "measure_and_doubt", too_long)
    for metric in (Flops, Storage):
        monkeypatch.setattr(metric, "measure", too_long)
    record = prunebench.run(experiment(measurements=["Size"], seed=5), runs=runs)
    assert record.status == "ok", record.error
    assert not {"flops", "theoretical_speedup", "file_bytes"} & {*record.final, *record.dense}
    assert not [name for name in record.timings if "latency" in name]
    assert record.final["compression"] == pytest.approx(4.0, rel=1e-3)
    assert {layer.flops for layer in record.layers} == {None}
    assert sum(layer.nonzero for layer in record.layers) == record.final["nonzero"]
    assert "effective FLOPs" in summary(record)


def test_latency_is_measured_in_the_batches_that_are_asked_for(experiment, runs):
    latency = "Latency(batch_sizes=(3,), repeats=3, sample_ms=0.01)"
    record = prunebench.run(experiment(measurements=["Size", latency]), runs=runs)
    assert record.timings["latency_batch3_dense_ms"] > 0
    assert "latency_batch1_dense_ms" not in record.timings
    (row,) = leaderboard([record]).to_dict("records")
    assert row["latency_batch3_dense_ms"] == record.timings["latency_batch3_dense_ms"]
    assert math.isnan(row["latency_batch1_dense_ms"])


def test_a_speedup_can_be_asked_for_where_flops_are_not_measured(experiment, runs):
    settings = {"compression": None, "speedup": 2.0, "measurements": ["Size"]}
    structured = "StructuredL1(structure=CoupledChannels)"
    record = prunebench.run(experiment(strategy=structured, **settings), runs=runs)
    assert record.status == "ok", record.error
    assert record.final["compression"] > 1.5


MINE = """
from dataclasses import dataclass

from prunebench.datasets import Digits


@dataclass(frozen=True)
class Mine(Digits):
    def load(self, folder):
        task = super().load(folder)
        task.version = {version}
        return task
"""


def test_a_data_set_whose_file_has_changed_is_loaded_again(tmp_path):
    found = []
    for version in (1, 2):
        (tmp_path / "mine.py").write_text(MINE.format(version=version))
        dataset = DATASETS.component(f"{tmp_path}/mine.py:Mine")
        found.append(load_task(dataset, tmp_path).version)
    assert found == [1, 2]


THRESHOLDED = """
from dataclasses import dataclass

from prunebench.metrics import Metric


@dataclass(frozen=True)
class Mine(Metric):
    limits: tuple[float, ...] | list[float] = (0.5,)
    definitions = {{"above_{name}": "how many weights are larger"}}

    def measure(self, subject):
        weights = [each.abs() for each in subject.model.parameters()]
        return {{"above_{name}": float(sum((w > max(self.limits)).sum() for w in weights))}}
"""


def test_metrics_have_lists_for_arguments_and_sources_of_their_own(experiment, runs, tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.py").write_text(THRESHOLDED.format(name=name))
    metrics = [f"{tmp_path}/{name}.py:Mine(limits=[0.1, 0.2])" for name in "ab"]
    made = experiment(metrics=metrics)
    record = prunebench.run(made, runs=runs)
    assert record.final["above_a"] == record.final["above_b"] > 0
    assert len(set(made.sources.values())) == 2
    assert experiment_of(record, trust=True).id == made.id


KINDS = """
from torch import nn


class Volumes(nn.Module):
    def __init__(self, input_shape, classes):
        super().__init__()
        self.flat, self.deep = nn.Conv2d(1, 8, 3, padding=1), nn.Conv3d(1, 2, 3, padding=1)
        self.last = nn.Linear(2 * 8, classes)

    def forward(self, images):
        volumes = self.deep(self.flat(images).relu().unsqueeze(1)).relu()
        return self.last(volumes.mean((3, 4)).flatten(1))
"""


def test_a_network_may_have_convolutions_of_two_and_of_three_dimensions(experiment, runs, tmp_path):
    (tmp_path / "kinds.py").write_text(KINDS)
    made = experiment(model=f"{tmp_path}/kinds.py:Volumes", least_dense_quality=0.0)
    assert prunebench.run(made, runs=runs).finished


DRAWING = """
import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import random_split

from prunebench.datasets import Digits
from prunebench.metrics import Metric
from prunebench.strategies import Recovery, ScoredStrategy


@dataclass(frozen=True)
class Part(Digits):
    def load(self, folder):
        task = super().load(folder)
        task.order = [*random_split(range(9), (4, 5))[0], *np.random.permutation(9)]
        task.order.append(random.random())
        return task


class Noisy(nn.Module):
    def __init__(self, input_shape, classes):
        super().__init__()
        self.first, self.last = nn.Linear(64, 16), nn.Linear(16, classes)

    def forward(self, images):
        hidden = F.relu(self.first(images.flatten(1)))
        return self.last(F.dropout(hidden, 0.5, training=True))


@dataclass(frozen=True)
class Lottery(ScoredStrategy):
    def score(self, context):
        return {name: torch.rand_like(w) + np.random.rand() for name, w in context.weights.items()}


@dataclass(frozen=True)
class Anew(Recovery):
    def start(self, history):
        return {name: torch.randn_like(w) for name, w in history.fresh().items()}


@dataclass(frozen=True)
class Drawn(Metric):
    definitions = {"drawn": "a number"}

    def measure(self, subject):
        return {"drawn": torch.rand(()).item() + random.random()}
"""


def test_what_users_draw_without_a_generator_depends_on_nothing_that_ran_before(
    experiment, tmp_path
):
    path = tmp_path / "drawing.py"
    path.write_text(DRAWING)
    found = []
    for number in range(2):
        torch.manual_seed(number)
        random.seed(number)
        np.random.seed(number)
        made = experiment(
            dataset=f"{path}:Part",
            model=f"{path}:Noisy",
            strategy=f"{path}:Lottery",
            recovery=f"{path}:Anew",
            metrics=[f"{path}:Drawn"],
            measurements=["Size"],
            least_dense_quality=0.0,
            rounds=2,
        )
        folder = tmp_path / str(number)  # in which the data are loaded anew
        record = prunebench.run(made, runs=folder, data=folder)
        order = load_task(made.dataset, folder).order
        found.append((record.dense, record.rounds, record.final, record.digests, order))
    assert found[0] == found[1]


MEASURING = """
from dataclasses import dataclass

import numpy as np
import torch

from prunebench.datasets import Digits
from prunebench.metrics import Metric


@dataclass(frozen=True)
class Mine(Metric):
    kind: str

    definitions = {"half": "a half"}
    quality = {"half": "higher"}

    def measure(self, subject):
        return {
            "tensor": {"half": torch.tensor([0.5])},
            "numpy": {"half": np.float32(0.5)},
            "none": {"half": None},
            "other": {"Half": 0.5},
        }[self.kind]


@dataclass(frozen=True)
class Data(Digits):
    what: str = "steps"

    def load(self, folder):
        task = super().load(folder)
        if self.what == "steps":
            whole = task.training_batches
            task.training_batches = lambda *arguments: list(whole(*arguments))[:-1]
        elif self.what == "size":
            task.size = lambda split: 6
        else:
            task.inputs = lambda size: {"left": torch.ones(size, 1, 8, 8)}
        return task
"""


@pytest.fixture
def measuring(tmp_path):
    path = tmp_path / "measuring.py"
    path.write_text(MEASURING)
    return path


@pytest.mark.parametrize("kind", ["tensor", "numpy"])
def test_a_metric_may_give_numbers_of_torch_and_numpy(experiment, runs, measuring, kind):
    made = experiment(metrics=[f"{measuring}:Mine(kind={kind!r})"])
    record = prunebench.run(made, runs=runs)
    assert record.dense["half"] == record.final["half"] == 0.5


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"metrics": ["{path}:Mine(kind='none')"]},
            "metric Mine: measure() gives half as a NoneType, and not as a number, nan where there "
            "is none",
        ),
        (
            {"metrics": ["{path}:Mine(kind='other')"]},
            "metric Mine: measure() gives no half, which its quality names first; it gives Half",
        ),
        (
            {"dataset": "{path}:Data(what='steps')"},
            "gives 19 batches in a pass over the training split, and its steps(64) says 20",
        ),
        (
            {"dataset": "{path}:Data(what='size')", "pretraining": {"epochs": 0}},
            "gives 180 examples of the validation split, and its size() says 6",
        ),
    ],
)
def test_numbers_of_users_that_do_not_fit_fail_by_name(
    experiment, runs, measuring, settings, sentence
):
    def there(value):
        return value.format(path=measuring) if isinstance(value, str) else value

    settings = {
        name: [there(each) for each in value] if isinstance(value, list) else there(value)
        for name, value in settings.items()
    }
    record = prunebench.run(experiment(**settings), runs=runs)
    assert record.error.type == "UsageError"
    assert sentence in record.error.message


def test_loading_data_gives_a_task(experiment, tmp_path):
    path = tmp_path / "loaders.py"
    path.write_text(
        "from prunebench.datasets import Dataset\n"
        "class Loaders(Dataset):\n"
        "    def load(self, folder):\n"
        "        return [], [], []\n"
    )
    with pytest.raises(prunebench.UsageError, match=r"load\(\) gives a tuple, where a Task is"):
        prunebench.run(experiment(dataset=f"{path}:Loaders"), runs=tmp_path)


def test_an_example_is_one_tensor(experiment, runs, measuring):
    made = experiment(dataset=f"{measuring}:Data(what='dict')")
    with pytest.raises(prunebench.UsageError, match=r"inputs\(\) gives a dict, where a tensor"):
        prunebench.run(made, runs=runs)
