"""What pruning looked at, and what it cost, stand in the record."""

import hashlib
from dataclasses import dataclass

import pytest
import torch

import prunebench
from prunebench.metrics.memory import peak_within
from prunebench.results import Record
from prunebench.results.agreement import differences
from prunebench.results.summary import summary
from prunebench.strategies import ScoredStrategy


@dataclass(frozen=True)
class Looking(ScoredStrategy):
    """Looks at some examples, remembers them, and takes a lot of memory meanwhile."""

    batches: int = 3
    batch_size: int = 20
    megabytes: int = 0

    seen = []

    def score(self, context):
        taken = torch.ones(self.megabytes * 2**18)
        self.seen.append([*context.batches(self.batches, self.batch_size)])
        return {name: weight.abs() + 0 * taken.sum() for name, weight in context.weights.items()}


@pytest.fixture(scope="module")
def run_with(experiment, tmp_path_factory):
    """Run a small experiment; what has been run is there."""
    runs = tmp_path_factory.mktemp("runs")

    def run(strategy, **settings):
        Looking.seen.clear()
        quick = {"recovery": "NoRecovery", "measurements": ["Size"], "sparsity": 0.5}
        cell = experiment(strategy=strategy, pretraining={"epochs": 1}, **{**quick, **settings})
        return prunebench.run(cell, runs=runs, force=True)

    return run


def by_hand(batches):
    content = [part.numpy().tobytes() for batch in batches for part in batch]
    return hashlib.sha256(b"".join(content)).hexdigest()


def test_a_record_pins_the_very_examples_by_which_the_network_was_pruned(run_with):
    record = run_with(f"{__name__}:Looking(batches=3)", rounds=2)
    first, second = record.calibration
    assert (first.round, first.split, first.batches, first.examples) == (1, "train", 3, 60)
    assert first.shape == (1, 8, 8)
    assert [first.digest, second.digest] == [by_hand(seen) for seen in Looking.seen]
    assert second.round == 2
    assert second.digest != first.digest  # other examples in each round
    assert "60  1×8×8" in summary(record)
    assert Record.from_json(record.to_json()) == record


def test_the_digest_is_the_same_again_and_another_by_another_seed_or_batch_size(run_with):
    def digest(strategy="Wanda(batches=2, batch_size=16)", **settings):
        return run_with(strategy, **settings).digests["calibration"]

    first = digest()
    assert digest() == first
    assert digest(sparsity=0.7) == first  # by the scores of the one before
    assert digest("Wanda(batches=2, batch_size=16, sequential=True)") == first
    assert digest("SparseGPT(batches=2, batch_size=16)") == first
    others = {digest(seed=1), digest("Wanda(batches=2, batch_size=8)"), digest("Wanda(batches=1)")}
    assert len({first, *others}) == 4


def test_a_score_that_looks_at_no_examples_has_no_calibration(run_with):
    record = run_with("GlobalMagnitude")
    assert record.calibration == ()
    assert "calibration" not in record.digests


def test_examples_are_compared_where_both_records_know_them(run_with):
    record = run_with("Wanda(batches=1)")
    older = record.model_copy(
        update={
            "calibration": (),
            "digests": {k: v for k, v in record.digests.items() if k != "calibration"},
        }
    )
    assert older.result() == record.result()
    assert list(differences(older, record)) == []
    other = record.model_copy(update={"digests": {**record.digests, "calibration": "0" * 64}})
    assert [each.place for each in differences(record, other)] == ["digests.calibration"]


def test_time_and_memory_of_pruning_are_recorded_though_scores_were_made_before(run_with):
    with peak_within(torch.device("cpu")) as peak:
        pass
    if peak.bytes is None:
        pytest.skip("this system does not tell the peak of what is resident")
    greedy = f"{__name__}:Looking(megabytes=256)"
    first, again = run_with(greedy), run_with(greedy, sparsity=0.7)
    assert not Looking.seen  # the second has the scores of the first
    for record in (first, again):
        assert record.timings["scoring_seconds"] > 0
        assert record.timings["scoring_peak_bytes"] > 240 * 2**20
    assert run_with(f"{__name__}:Looking").timings["scoring_peak_bytes"] < 128 * 2**20
