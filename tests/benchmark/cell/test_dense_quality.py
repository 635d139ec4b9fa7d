"""A dense network that did not learn is no baseline: its cells fail by name."""

from collections import Counter
from math import exp, log

import pytest
import torch
from safetensors.torch import save_file

import prunebench
from prunebench.benchmark.cell.pretraining import build
from prunebench.benchmark.studies.sensitivity import sensitivity
from prunebench.errors import UsageError
from prunebench.metrics import METRICS
from prunebench.results import as_text, leaderboard

# Decayed to nothing in every step, the weights leave the same answer to every input.
NOTHING_LEARNED = {"epochs": 1, "optimizer": "AdamW", "weight_decay": 1000.0}


def test_a_dense_network_that_did_not_learn_fails_its_cells_by_name(experiment, tmp_path):
    record = prunebench.run(experiment(pretraining=NOTHING_LEARNED, seed=3), runs=tmp_path)
    assert record.status == "failed"
    sentence = record.error.message
    assert sentence.startswith("the dense network did not learn: LeNetSmall on Digits with seed 3 ")
    assert "on the validation split, and at least 0.176667 is asked for" in sentence
    assert "the data set's own" in sentence


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_sensitivity_trains_no_network_elsewhere_than_it_is_to_be_trained(experiment, tmp_path):
    with pytest.raises(UsageError, match="device: 'cuda' is not allowed: there is none here"):
        sensitivity([experiment(device="cuda")], [0.5], runs=tmp_path, progress=False)
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_seeds_whose_dense_network_did_not_learn_are_in_no_baseline(experiment, tmp_path):
    # Of one comparison, but that seed 1 is trained by a recipe that destroys the network.
    records = [
        prunebench.run(experiment(seed=0, sparsity=0.5), runs=tmp_path),
        prunebench.run(
            experiment(seed=1, sparsity=0.5, pretraining=NOTHING_LEARNED), runs=tmp_path
        ),
    ]
    settings = {**records[1].experiment, "comparison": records[0].experiment["comparison"]}
    records[1] = records[1].model_copy(update={"experiment": settings})
    frame = leaderboard(records)
    assert frame["seeds"].tolist() == frame["seeds_failed"].tolist() == [1]
    assert frame["top1_dense_mean"].tolist() == [records[0].dense["top1"]]
    assert frame["least_dense_quality"].tolist() == pytest.approx([0.1766667])
    assert " · dense networks ≥ 17.67 % in validation · settings" in as_text(frame, width=500)


def test_the_data_sets_own_bound_is_a_twentieth_above_the_most_frequent_class(digits):
    labels = Counter(
        label for _, batch in digits.batches("validation", 7) for label in batch.tolist()
    )
    share = max(labels.values()) / sum(labels.values())
    least = METRICS.component("Accuracy").create().least(digits, "validation")
    assert least == pytest.approx(share + (1 - share) / 20)


def test_the_bound_of_translation_is_a_twentieth_below_the_entropy_of_its_tokens(reversal):
    tokens = Counter(
        token
        for _, labels in reversal.batches("validation", 7)
        for token in labels.flatten().tolist()
        if token
    )
    total = sum(tokens.values())
    entropy = -sum(n / total * log(n / total) for n in tokens.values())
    least = METRICS.component("Perplexity").create().least(reversal, "validation")
    assert least == pytest.approx(exp(0.95 * entropy))


@pytest.mark.slow
def test_an_experiment_may_ask_for_more_and_for_less(experiment, tmp_path):
    strict = prunebench.run(experiment(least_dense_quality=0.9999), runs=tmp_path)
    assert strict.status == "failed"
    assert "at least 0.9999 is asked for (least_dense_quality):" in strict.error.message
    lax = experiment(pretraining=NOTHING_LEARNED, least_dense_quality=0.0)
    assert prunebench.run(lax, runs=tmp_path).status == "ok"


def test_networks_pruned_at_initialisation_are_held_to_the_trained_baseline(experiment, tmp_path):
    made = experiment(strategy="SNIP", start_epoch=0, pretraining=NOTHING_LEARNED)
    assert "did not learn" in prunebench.run(made, runs=tmp_path).error.message


@pytest.mark.slow
def test_of_a_network_that_is_not_trained_nothing_is_asked(experiment, tmp_path):
    record = prunebench.run(experiment(pretraining={"epochs": 0}), runs=tmp_path)
    assert record.status == "ok"
    assert record.least_dense_quality is None
    assert "pretraining none" in as_text(leaderboard([record]))


def test_weights_from_a_file_have_to_have_learned(experiment, digits, tmp_path):
    made = experiment(pretraining={"epochs": 0})
    state = {name: value.contiguous() for name, value in build(made, digits).state_dict().items()}
    save_file(state, tmp_path / "random.safetensors")
    text = f"FromFile(path='{tmp_path / 'random.safetensors'}')"
    loaded = experiment(pretraining={"epochs": 0}, initialisation=text)
    assert "did not learn" in prunebench.run(loaded, runs=tmp_path / "runs").error.message


def test_what_no_class_loses_is_not_measured_of_a_network_that_did_not_learn(experiment, tmp_path):
    with pytest.raises(UsageError, match="the dense network did not learn"):
        sensitivity([experiment(pretraining=NOTHING_LEARNED)], [0.5], runs=tmp_path, progress=False)


def test_the_bound_counts_only_where_it_is_given(experiment):
    plain, asked = experiment(), experiment(least_dense_quality=0.5)
    assert experiment(least_dense_quality=None).id == plain.id != asked.id
    assert asked.pretraining_id == plain.pretraining_id
    assert asked.comparison != plain.comparison


@pytest.mark.slow
def test_a_users_metric_of_the_dense_network_is_known_by_its_contents(experiment, tmp_path):
    """Moved it is the same and is not measured again; edited it is another."""
    measured = []
    for place, value in (("here", 0.5), ("there", 0.5), ("edited", 0.25)):
        path = tmp_path / place / "half.py"
        path.parent.mkdir()
        path.write_text(
            "from prunebench.metrics import Metric\n"
            "class Half(Metric):\n"
            '    """Says the same of any network."""\n'
            "    definitions = {'half': 'a number'}\n"
            "    quality = {'half': 'higher'}\n"
            f"    def measure(self, subject): return {{'half': {value}}}\n"
        )
        made = experiment(metrics=[f"{path}:Half"], recovery="NoRecovery")
        record = prunebench.run(made, runs=tmp_path / "runs")
        assert record.dense["half"] == value
        (*files,) = (tmp_path / "runs/pretrained").glob(f"{made.pretraining_id}-*.json")
        measured.append(len(files))
    assert measured == [2, 2, 3], "beside it lies what no metric of quality says"
