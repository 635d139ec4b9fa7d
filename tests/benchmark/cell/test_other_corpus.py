"""Networks are calibrated on another data set than the one they are trained and judged on."""

import hashlib
from pathlib import Path

import pytest

import prunebench
from prunebench import Experiment
from prunebench.benchmark.sweeps.checking import check
from prunebench.datasets import Text
from prunebench.errors import UsageError
from prunebench.seeding import generator

TINY = "GPT(width=16, depth=1, heads=2, hidden=24, dropout=0)"
WANDA = "Wanda(batches=2, batch_size=3)"
PROSE = {"own": "the cat sat on the mat\n", "other": "PACK MY BOX WITH FIVE DOZEN JUGS\n"}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Two corpora, as experiments name them."""
    folder = tmp_path_factory.mktemp("texts")
    for name, line in PROSE.items():
        (folder / name).mkdir()
        for split, count in (("train", 30), ("validation", 6), ("test", 6)):
            (folder / name / f"{split}.txt").write_text(line * count)
    return {name: f"Text(folder={str(folder / name)!r}, length=16)" for name in PROSE}


@pytest.fixture(scope="module")
def run(texts, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")

    def run(strategy=WANDA, **settings):
        record = prunebench.run(cell(texts, strategy=strategy, **settings), runs=runs, force=True)
        assert record.finished, record.error
        return record

    return run


def cell(texts, **settings):
    return Experiment(
        **{
            "dataset": texts["own"],
            "model": TINY,
            "strategy": WANDA,
            "sparsity": 0.5,
            "recovery": "NoRecovery",
            "measurements": ["Size"],
            "pretraining": {"epochs": 1},
            "least_dense_quality": 1000.0,
            "prune_only": ["blocks.*"],
            **settings,
        }
    )


def drawn_by_hand(text):
    """The digest of what two batches of three blocks of a text's training split are."""
    task = Text(folder=text.split("'")[1], length=16).load(Path())
    order = generator(0, "scoring", 1)
    digest = hashlib.sha256()
    for _, batch in zip(range(2), task.batches("train", 3, order), strict=False):
        for part in batch:
            digest.update(part.numpy().tobytes())
    return digest.hexdigest()


def test_what_pruned_the_network_is_of_the_other_corpus_and_all_else_is_the_same(run, texts):
    own, other = run(), run(calibration=texts["other"])
    for record, name in ((own, "own"), (other, "other")):
        (calibration,) = record.calibration
        assert (calibration.split, calibration.examples, calibration.shape) == ("train", 6, (16,))
        assert calibration.digest == drawn_by_hand(texts[name])
    assert other.experiment["calibration"] == texts["other"]
    assert own.dense == other.dense
    assert own.digests["data"] == other.digests["data"]
    assert own.digests["dense"] == other.digests["dense"]
    assert own.digests["pruned"] != other.digests["pruned"]


def test_scores_of_one_corpus_are_not_taken_for_those_of_another(run, texts):
    digests = [
        run(calibration=calibration, sparsity=sparsity).digests["calibration"]
        for sparsity in (0.6, 0.7)
        for calibration in (None, texts["other"])
    ]
    assert digests[:2] == digests[2:]
    assert digests[0] != digests[1]


def test_sequential_calibration_looks_at_the_other_corpus_too(run, texts):
    strategy = "SparseGPT(batches=2, batch_size=3)"
    record = run(strategy, calibration=texts["other"])
    assert {each.digest for each in record.calibration} == {drawn_by_hand(texts["other"])}


def test_calibration_is_an_axis_and_no_part_of_the_id_where_it_is_not_given(texts):
    plain = cell(texts)
    settings = plain.canonical()
    assert "calibration" not in settings
    assert cell(texts, calibration=None).id == plain.id
    cells = prunebench.grid(**{**settings, "calibration": [None, texts["other"]]})
    assert len({each.id for each in cells}) == 2
    assert len({each.pretraining_id for each in cells}) == 1
    assert cells[0].id == plain.id


def test_shorter_blocks_may_calibrate_a_language_model(run, texts):
    record = run(calibration=texts["other"].replace("length=16", "length=5"))
    assert [each.shape for each in record.calibration] == [(5,)]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            ("length=16", "length=17"),
            "its examples are 17 of 256 classes, and those of Text.* are 16 of 256",
        ),
        ((")", ", vocabulary=286)"), "its examples are 16 of 286 classes"),
        (None, "its examples are 1×8×8 of 10 classes"),
    ],
)
def test_a_corpus_that_the_network_cannot_take_is_refused_before_anything_runs(
    texts, tmp_path, changed, sentence
):
    other = texts["other"].replace(*changed) if changed else "Digits"
    with pytest.raises(UsageError, match=f"^calibration: .* is not allowed: {sentence}"):
        check([cell(texts, calibration=other)], tmp_path)


def test_other_tokens_of_the_same_number_are_refused(texts, tmp_path):
    own, other = (text.replace(")", ", vocabulary=286)") for text in texts.values())
    with pytest.raises(UsageError, match=r"its tokens are not those of Text.*; give both the same"):
        check([cell(texts, dataset=own, calibration=other)], tmp_path)
