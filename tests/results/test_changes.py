"""Which records a change of the code makes stale."""

import pytest

from prunebench.results import Distribution, Round
from prunebench.results.changes import CHANGES, moved_dense, outdated_by, staleness
from prunebench.results.record import Layer

AVERAGED = {"epochs": 3, "weight_averaging": 0.9}


@pytest.fixture
def old(make_record):
    """Make a record of a time when records had distributions, and before any other change."""

    def make(**settings):
        row = Distribution(name="a", limit=1.0, dense=(1,), pruned=(1,), recovered=(1,))
        return make_record(**settings).model_copy(update={"revision": 1, "distributions": (row,)})

    return make


@pytest.mark.parametrize(
    ("settings", "summary"),
    [
        ({"finetuning": {"epochs": 1, "gradient_clipping": 1.0}}, "clipped"),
        ({"model": "Transformer"}, "FLOPs are counted by"),
        ({"model": "own.py:Network(width=3)", "dataset": "Digits"}, "padding by name"),
        ({"model": "torchvision/vit_b_16", "initialisation": "Uniform"}, "rounded as others"),
        ({"model": "transformers/gpt2", "metrics": ["Int8Weights"]}, "rounded as others"),
        ({"model": "torchvision/maxvit_t"}, "torch.einsum"),
        ({"model": "own.py:Network(width=3)", "dataset": "Digits"}, "torch.einsum"),
        ({"strategy": "Random(structure=Filters)"}, "whatever their sizes"),
        ({"strategy": "RIA", "model": "CifarMobileNetV2"}, "grouped convolution"),
        (
            {"strategy": "FPGM(structure=CoupledChannels)", "model": "CifarMobileNetV2"},
            "channels are found",
        ),
        (
            {"strategy": "FPGM(structure=CoupledChannels, allocation=Uniform(minimum=4))"},
            "as many as the allocation says",
        ),
        ({"model": "timm/levit_128s"}, "weights it has then"),
        ({"strategy": "OBS", "model": "Seq2SeqLSTM"}, "tokens are the examples"),
        ({"strategy": "BatchNormSlimming", "model": "WideResNet"}, "follows the convolution"),
        (
            {"initialisation": "FromFile(path='a.pt')", "pretraining": {"epochs": 0}, "seed": 1},
            "loaded weights",
        ),
        ({"strategy": "GlobalMagnitude(allocation=ERK())"}, "budget"),
        ({"strategy": "RigL"}, "budget"),
        ({"strategy": "FeatureBoosting"}, "grew"),
        (
            {"model": "transformers/gpt2(dtype='bfloat16')", "finetuning": AVERAGED},
            "averages of weights in half precision",
        ),
        ({"start_epoch": 2, "pretraining": AVERAGED}, "validated after it"),
        ({"recovery": "Rewind(epoch=1)", "pretraining": AVERAGED}, "validated after it"),
        (
            {"recovery": "LastRound(before=Rewind(epoch=2))", "pretraining": AVERAGED},
            "validated after it",
        ),
        ({"pretraining": {"epochs": 1, "precision": "float16", "momentum": 0.9}}, "float16"),
        (
            {"strategy": "Movement", "finetuning": {"epochs": 1, "precision": "float16"}},
            "float16",
        ),
        (
            {"strategy": "FeatureBoosting", "finetuning": {"epochs": 1, "accumulation": 2}},
            "penalty of gates",
        ),
        (
            {
                "strategy": "FeatureBoosting(penalty=0.01)",
                "recovery": "RewindLearningRate",
                "pretraining": {"epochs": 1, "precision": "float16"},
            },
            "penalty of gates",
        ),
        ({"model": "Seq2SeqLSTM", "pretraining": {"penalty": "GroupLasso()"}}, "of a penalty"),
        ({"model": "Seq2SeqLSTM", "finetuning": {"penalty": "GroupLasso()"}}, "of a penalty"),
    ],
)
def test_a_change_concerns_the_experiments_whose_numbers_it_moves(old, settings, summary):
    assert any(summary in change.summary for change in outdated_by(old(**settings)))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"strategy": "SynFlow"},
        {"start_epoch": 0, "pretraining": AVERAGED},
        {"start_epoch": 2},
        {"recovery": "Rewind(epoch=0)", "pretraining": AVERAGED},
        {"recovery": "Rewind(epoch=1)", "finetuning": AVERAGED},
        {"recovery": "LastRound", "pretraining": AVERAGED},
        {"pretraining": {"epochs": 0, "precision": "float16", "momentum": 0.9}},
        {"strategy": "Movement", "pretraining": {"epochs": 1, "precision": "float16"}},
        {"finetuning": {"epochs": 1, "precision": "float16"}},
        {"strategy": "Random"},
        {"strategy": "StructuredRandom(structure=Filters)"},
        {"strategy": "WoodFisher"},
        {"strategy": "StructuredL1(structure=CoupledChannels)", "model": "LeNetDropout"},
        {"strategy": "BatchNormSlimming", "model": "CifarResNet(depth=20)"},
        {"initialisation": "FromFile(path='a.pt')", "pretraining": {"epochs": 0}, "seed": 0},
        {"model": "Seq2SeqLSTM"},
        {"pretraining": {"epochs": 1, "gradient_clipping": 1.0}},
        {
            "recovery": "NoRecovery",
            "finetuning": {"epochs": 1, "gradient_clipping": 1.0},
        },
    ],
)
def test_no_change_concerns_the_others(old, settings):
    assert outdated_by(old(**settings)) == []


@pytest.mark.parametrize(
    ("strategy", "stacked", "stale"),
    [("FeatureBoosting", 2, True), ("FeatureBoosting", 1, False), ("GlobalMagnitude", 2, False)],
)
def test_only_gated_networks_that_trained_together_are_of_another_kind(
    old, strategy, stacked, stale
):
    record = old(strategy=strategy).model_copy(update={"stacked": stacked})
    assert any("train apart" in each.summary for each in outdated_by(record)) == stale


@pytest.mark.parametrize(("nonzero", "stale"), [(300, True), (250, False)])
def test_averages_concern_only_records_of_networks_that_were_not_pruned(old, nonzero, stale):
    recipe = {"epochs": 2, "weight_averaging": 0.9}
    record = old(recovery="RewindLearningRate", pretraining=recipe)
    last = Round(round=1, density=0.25, kept=250, before={}, after={}, validation={})
    final = {**record.final, "prunable_nonzero": nonzero}
    record = record.model_copy(update={"rounds": (last,), "final": final})
    assert bool(outdated_by(record)) == stale


@pytest.mark.parametrize(
    "settings",
    [
        {"strategy": "FeatureBoosting", "finetuning": {"epochs": 1, "precision": "bfloat16"}},
        {"strategy": "FeatureBoosting", "pretraining": {"epochs": 1, "accumulation": 2}},
        {
            "strategy": "FeatureBoosting(penalty=0.0)",
            "finetuning": {"epochs": 1, "accumulation": 2},
        },
    ],
)
def test_gates_whose_penalty_counted_as_it_should_keep_their_records(old, settings):
    assert not any("penalty of gates" in each.summary for each in outdated_by(old(**settings)))


@pytest.mark.parametrize(
    ("densities", "kept", "stale"),
    [((0.5, 0.25), 1000, True), ((0.5, 0.25), 250, False), ((0.25, 0.25), 1000, False)],
)
def test_rounds_concern_only_records_whose_method_removes_nothing(old, densities, kept, stale):
    rounds = tuple(
        Round(round=number, density=each, kept=kept, before={}, after={}, validation={})
        for number, each in enumerate(densities, 1)
    )
    final = {**old().final, "prunable_parameters": 1000}
    changes = outdated_by(old().model_copy(update={"rounds": rounds, "final": final}))
    assert any("removes nothing" in each.summary for each in changes) == stale


def test_libraries_networks_without_einsum_keep_their_counts(old):
    changes = outdated_by(old(model="torchvision/resnet18"))
    assert not any("einsum" in each.summary for each in changes)


def test_a_histogram_that_lacks_weights_is_stale(old):
    shape = {"name": "a", "shape": (2,), "parameters": 2, "density": 1.0}
    flops = {"flops": None, "effective_flops": None}
    for nonzero in (1, 2):  # of which one is in the histogram
        layer = Layer(nonzero=nonzero, **shape, **flops)
        changes = outdated_by(old().model_copy(update={"layers": (layer,)}))
        assert any("NaN" in each.summary for each in changes) == (nonzero == 2)


def test_records_of_today_and_failed_ones_are_never_stale(make_record):
    clipped = {"finetuning": {"epochs": 1, "gradient_clipping": 1.0}}
    today = make_record(**clipped).model_copy(update={"revision": len(CHANGES)})
    failed = make_record(status="failed", **clipped)
    assert staleness([today, failed]) == []


def test_sentences_count_the_records_that_a_change_concerns(old):
    records = [old(strategy="FeatureBoosting", seed=seed) for seed in range(3)]
    (sentence,) = staleness([*records, old()])
    assert sentence.endswith("against the dense one (3 records)")


@pytest.mark.parametrize(
    ("settings", "moved"),
    [
        ({}, 0),
        ({"model": "Seq2SeqLSTM", "pretraining": {"penalty": "GroupLasso()"}}, 1),
        ({"model": "Seq2SeqLSTM", "finetuning": {"penalty": "GroupLasso()"}}, 0),
        ({"pretraining": {"penalty": "GroupLasso()"}}, 0),
        ({"model": "torchvision/vit_b_16", "initialisation": "Uniform"}, 1),
        ({"model": "torchvision/vit_b_16", "initialisation": "Default"}, 0),
        ({"model": "torchvision/vit_b_16", "metrics": ["Int8Weights"]}, 0),
        ({"pretraining": {"precision": "float16", "momentum": 0.9}}, 1),
        ({"finetuning": {"precision": "float16", "momentum": 0.9}}, 0),
        ({"model": "transformers/gpt2(dtype='float16')", "pretraining": AVERAGED}, 1),
    ],
)
def test_changes_that_move_dense_networks_concern_those_whose_training_they_move(
    old, settings, moved
):
    experiment = old(**settings).experiment
    assert len(moved_dense(experiment, 0)) == moved
    assert moved_dense(experiment, len(CHANGES)) == []
