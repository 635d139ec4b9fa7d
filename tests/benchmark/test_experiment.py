"""An experiment is checked data with an identity."""

import hashlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import prunebench
from prunebench import Experiment, UsageError
from prunebench.strategies import Global, GlobalMagnitude, LayerMagnitude


def test_the_identity_is_pinned_so_that_old_records_are_found_by_new_versions(experiment):
    made = experiment(compression=8, rounds=3, seed=2)
    canonical = (
        '{"compression":8.0,"dataset":"Digits","finetuning":{"epochs":1},"model":"LeNetSmall",'
        '"pretraining":{"epochs":3},"rounds":3,"seed":2,"strategy":"GlobalMagnitude"}'
    )
    assert made.id == hashlib.sha256(canonical.encode()).hexdigest()[:16] == "11064bff403e6c91"
    rest = '{"finetuning":{"epochs":1},"pretraining":{"epochs":3},"rounds":3}'
    assert made.comparison == hashlib.sha256(rest.encode()).hexdigest()[:8]


def test_a_copy_with_other_settings_has_an_identity_of_its_own(experiment):
    one = experiment()
    identity = one.id
    assert one.model_copy(update={"seed": 3}).id == experiment(seed=3).id != identity
    assert one == experiment()
    assert one.model_copy() == one
    assert "id" not in one.model_dump()


def test_settings_at_their_default_do_not_change_the_identity(experiment):
    explicit = experiment(rounds=1, schedule="Geometric", recovery="FineTune", threads=1)
    assert explicit.id == experiment().id


@pytest.mark.parametrize(
    "change",
    [
        {"strategy": "LayerMagnitude"},
        {"strategy": "GlobalMagnitude(allocation=Global(minimum=1))"},
        {"compression": 5.0},
        {"sparsity": 0.75},
        {"rounds": 2},
        {"schedule": "OneShot"},
        {"recovery": "Rewind(epoch=1)"},
        {"prune_classifier": False},
        {"pretraining": {"epochs": 4}},
        {"finetuning": {"epochs": 1, "learning_rate": 1e-4}},
        {"seed": 1},
        {"threads": 2},
        {"dataset": "Digits(validation=200)"},
    ],
)
def test_whatever_can_change_the_result_changes_the_identity(experiment, change):
    assert experiment(**change).id != experiment().id


def test_only_what_determines_the_dense_network_changes_its_identity(experiment):
    base = experiment().pretraining_id
    assert experiment(strategy="Random", compression=2.0, rounds=3).pretraining_id == base
    assert experiment(seed=1).pretraining_id != base
    assert experiment(pretraining={"epochs": 5}).pretraining_id != base


def test_a_component_is_the_same_however_it_is_written(experiment):
    written = experiment(strategy="GlobalMagnitude( allocation = Global( ) )")
    assert str(written.strategy) == "GlobalMagnitude"
    assert written.id == experiment(strategy=GlobalMagnitude()).id == experiment().id
    changed = experiment(strategy=LayerMagnitude(allocation=Global(minimum=3)))
    assert str(changed.strategy) == "LayerMagnitude(allocation=Global(minimum=3))"
    assert changed.id == experiment(strategy=str(changed.strategy)).id


def test_a_method_in_a_file_is_identified_by_its_contents_and_not_by_its_path(experiment, tmp_path):
    code = (
        "from prunebench.strategies import GlobalMagnitude\n"
        "class Mine(GlobalMagnitude):\n    '''Mine.'''\n"
    )
    paths = [tmp_path / "a" / "mine.py", tmp_path / "b" / "mine.py", tmp_path / "c" / "mine.py"]
    for path in paths:
        path.parent.mkdir()
    paths[0].write_text(code)
    paths[1].write_text(code)
    paths[2].write_text(code + "# edited\n")
    first, moved, edited = (experiment(strategy=f"{path}:Mine") for path in paths)
    assert first.id == moved.id != edited.id


def test_a_comparison_is_of_the_same_settings_and_of_any_method_target_and_seed(experiment):
    first = experiment()
    for same in ({"strategy": "Random"}, {"sparsity": 0.5}, {"seed": 5}, {"model": "LeNet300100"}):
        assert experiment(**same).comparison == first.comparison
    for other in ({"rounds": 2}, {"finetuning": {"epochs": 2}}, {"start_epoch": 0}):
        assert experiment(**other).comparison != first.comparison


def test_an_experiment_is_the_same_again_from_its_plain_data(experiment):
    made = experiment(strategy="StructuredL1", metrics=["Size"], pretraining={"epochs": 7})
    plain = json.loads(json.dumps(made.model_dump(mode="json")))
    assert Experiment(**plain) == made
    assert Experiment(**plain).id == made.id


def test_one_target_is_needed_and_no_more(experiment):
    for targets in ({"compression": None}, {"compression": 2.0, "sparsity": 0.5}):
        with pytest.raises(UsageError, match="exactly one of compression, sparsity"):
            experiment(**targets)


def test_rewinding_beyond_the_pretraining_is_refused(experiment):
    with pytest.raises(UsageError, match="pretraining has only 3 epochs"):
        experiment(recovery="Rewind(epoch=4)")


def test_drops_of_a_learning_rate_that_does_not_drop_are_refused_rather_than_ignored(experiment):
    with pytest.raises(UsageError, match="only the schedule step has drops"):
        experiment(finetuning={"learning_rate_drops": [0.5]})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"recovery": "RewindLearningRate(epoch=3)"}, "pretraining has only 3 epochs"),
        ({"start_epoch": 4}, "start_epoch: 4 is not allowed: pretraining has only 3 epochs"),
        (
            {"strategy": "RigL", "recovery": "NoRecovery"},
            "recovery: NoRecovery is not allowed: RigL prunes while the network trains",
        ),
        (
            {"timing": "DuringTraining", "recovery": "NoRecovery"},
            "recovery: NoRecovery is not allowed: DuringTraining prunes while the network trains",
        ),
        (
            {"strategy": "RigL", "timing": "DuringTraining"},
            "timing: DuringTraining is not allowed: RigL itself says when it prunes",
        ),
        ({"timing": "DuringTraining(begin=0.8)"}, "begin: 0.8 is not allowed"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(experiment, settings, words):
    with pytest.raises(UsageError, match=re.escape(words)):
        experiment(**settings)


def test_a_penalty_of_a_users_own_counts_by_its_contents(experiment, tmp_path):
    code = "from prunebench.strategies import L1\nclass Mine(L1):\n    '''Mine.'''\n"
    ids = []
    for folder, text in (("a", code), ("b", code), ("c", code + "# edited\n")):
        path = tmp_path / folder / "mine.py"
        path.parent.mkdir()
        path.write_text(text)
        made = experiment(pretraining={"epochs": 3, "penalty": f"{path}:Mine"})
        assert list(made.sources) == ["pretraining.penalty"]
        ids.append((made.id, made.pretraining_id))
    assert ids[0] == ids[1]
    assert ids[2][0] != ids[0][0]
    assert ids[2][1] != ids[0][1]


def test_momentum_without_sgd_is_refused_rather_than_ignored(experiment):
    with pytest.raises(UsageError, match="only the optimizer SGD"):
        experiment(finetuning={"optimizer": "Adam", "momentum": 0.9})


@pytest.mark.parametrize(
    "wrong",
    [
        {"compression": 0.5},
        {"compression": float("inf")},
        {"compression": True},
        {"sparsity": 1.0, "compression": None},
        {"rounds": 0},
        {"rounds": 1.5},
        {"rounds": "3"},
        {"seed": -1},
        {"prune_classifier": "False"},
        {"pretraining": {"epochs": -1}},
        {"pretraining": {"optimizer": "Sgdm"}},
    ],
)
def test_values_out_of_range_or_of_the_wrong_type_are_refused(experiment, wrong):
    with pytest.raises(ValidationError):
        experiment(**wrong)


@pytest.mark.slow
@given(seeds=st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True))
def test_a_grid_holds_every_combination_once_with_whole_comparisons_first(seeds):
    experiments = prunebench.grid(
        dataset="Digits",
        model="LeNetSmall",
        strategy=["Random", "GlobalMagnitude"],
        compression=[2, 4, 8],
        seed=seeds,
    )
    found = [(e.seed, str(e.strategy), e.compression) for e in experiments]
    expected = [
        (s, n, c) for s in seeds for n in ("Random", "GlobalMagnitude") for c in (2.0, 4.0, 8.0)
    ]
    assert found == expected
    assert len({e.id for e in experiments}) == len(expected)
    alone = [Experiment(**e.model_dump(mode="json")) for e in experiments]
    assert [(e, e.id) for e in alone] == [(e, e.id) for e in experiments]


def test_an_experiment_cannot_be_changed(experiment):
    with pytest.raises(ValidationError):
        experiment().seed = 3
    assert isinstance(experiment(), Experiment)


def test_what_is_measured_is_part_of_the_identity_unless_it_is_as_usual(experiment):
    usual = ["Size", "Flops", "Storage", "Latency"]
    assert experiment(measurements=usual).id == experiment().id
    assert experiment(measurements=usual[::-1]).id == experiment().id, "order changes nothing"
    fewer = experiment(measurements=["Latency(batch_sizes=(1,))", "Size"])
    assert list(map(str, fewer.measurements)) == ["Size", "Latency(batch_sizes=(1,))"]
    assert fewer.id != experiment().id
    assert fewer.pretraining_id == experiment().pretraining_id
    assert Experiment(**json.loads(json.dumps(fewer.model_dump(mode="json")))).id == fewer.id


@pytest.mark.parametrize(
    ("measurements", "words"),
    [
        (["Flops"], "measurements: Flops is not allowed: Size is always needed"),
        ([], "measurements: nothing is not allowed: Size is always needed"),
        (["Size", "Size"], "measurements: Size is given more than once"),
        (["Size", "BLEU"], "measurements: BLEU is not allowed: choose among Size, Flops, Storage"),
        (["Size", "Latency(batch_sizes=(0,))"], "Latency: batch_sizes.0: 0 is not allowed"),
    ],
)
def test_measurements_that_are_none_are_refused(experiment, measurements, words):
    with pytest.raises(UsageError, match=re.escape(words)):
        experiment(measurements=measurements)


def test_a_range_is_an_axis_of_a_grid():
    settings = {"dataset": "Digits", "model": "LeNetSmall", "strategy": "Random", "compression": 2}
    assert [each.seed for each in prunebench.grid(**settings, seed=range(3))] == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sparsity": 90}, "sparsity: 90 is not allowed: give a fraction below 1, such as 0.9"),
        ({"sparsity": "90%"}, "'90%' is not allowed: give a number, percentages as fractions"),
        ({"compression": "2x"}, "'2x' is not allowed: give a number without a unit or quotes"),
        (
            {"compression": "2,4.5"},
            "several values stand apart, such as 2 4.5, and in a file as",
        ),
        ({"strategy": "Random,snip"}, "unknown strategy 'Random,snip': several values stand apart"),
        ({"metrics": "Accuracy"}, "metrics: 'Accuracy' is not allowed: give a list, such as [Acc"),
        ({"metrics": [["Size"], ["BLEU"]]}, "metrics: [['Size'], ['BLEU']] is not allowed: it is"),
        ({"prune_only": [["conv1"]]}, "prune_only: [['conv1']] is not allowed: it is one list, of"),
        ({"finetuning": 3}, "finetuning: 3 is not allowed: give settings by their names, such as"),
        (
            {"finetuning": {"epochs": [1, 2]}},
            "several recipes make a grid, such as finetuning: [{epochs: 1}, {epochs: 2}]",
        ),
        ({"seed": "0-2"}, "'0-2' is not allowed: several values stand apart, such as 0 1 2"),
        ({"prune_classifier": "no"}, "prune_classifier: 'no' is not allowed: give true or false"),
        ({"device": "gpu"}, "device: 'gpu' is not allowed: give auto, cpu, cuda or mps"),
        ({"model": ...}, "give --model, or model in the file: see `prunebench list models`"),
    ],
)
def test_a_value_in_another_form_is_told_how_to_write_it(change, words):
    settings = {"dataset": "Digits", "model": "LeNetSmall", "strategy": "Random", "compression": 2}
    if "sparsity" in change:
        del settings["compression"]
    settings = {name: v for name, v in {**settings, **change}.items() if v is not ...}
    with pytest.raises(UsageError, match=re.escape(words)):
        prunebench.grid(**settings)


def test_the_words_of_a_setting_are_taken_in_any_case(experiment):
    finetuning = {"optimizer": "sgd", "learning_rate_schedule": "Cosine", "precision": "BFloat16"}
    revised = experiment().revised(finetuning=finetuning, finetuned_network="MASKED", device="CPU")
    assert (revised.finetuned_network, revised.device) == ("masked", "cpu")
    assert revised.finetuning.canonical() == {
        "optimizer": "SGD",
        "learning_rate_schedule": "cosine",
        "precision": "bfloat16",
    }
