"""Training curves and distributions of weights, from the record to the figure."""

import math

import pandas as pd
import pytest

from prunebench.errors import UsageError
from prunebench.results import Distribution, Epoch
from prunebench.results.curves import CURVE_COLUMNS, curves, plot_curves
from prunebench.results.distributions import (
    DISTRIBUTION_COLUMNS,
    distributions,
    plot_distributions,
)


@pytest.fixture
def record(make_record):
    """A run of two epochs of pretraining and one of fine-tuning, whose last loss was no number."""
    points = (
        ("pretraining", 1, 2.0, 0.5),
        ("pretraining", 2, 1.0, 0.8),
        ("fine-tuning 1", 1, math.nan, 0.7),
    )
    history = [
        Epoch(training=training, epoch=epoch, loss=loss, validation={"top1": top1, "loss": 0.1})
        for training, epoch, loss, top1 in points
    ]
    bins = {"dense": (0, 5, 5, 1), "pruned": (), "recovered": (0, 1, 0, 1)}
    return make_record().model_copy(
        update={
            "history": tuple(history),
            "distributions": (Distribution(name="fc.weight", limit=2.0, **bins),),
        }
    )


def test_the_table_of_curves_counts_epochs_over_all_trainings(record):
    table = curves([record])
    expected = [name for name in CURVE_COLUMNS if "<quality>" not in name]
    assert list(table.columns) == [*expected, "top1"]
    assert list(table["epochs_before"]) == [0, 1, 2]
    assert list(table["epoch"]) == [1, 2, 1]
    assert list(table["top1"]) == [0.5, 0.8, 0.7]
    assert table["loss"].isna().tolist() == [False, False, True]


def test_runs_of_one_title_are_told_apart_by_their_settings(record, make_record):
    other = make_record(finetuning={"epochs": 7}).model_copy(update={"history": record.history})
    third = make_record(seed=1).model_copy(update={"history": record.history})
    names = list(dict.fromkeys(curves([record, other, third])["run"]))
    common = "GlobalMagnitude at 4× on LeNet5 and MNIST, seed"
    assert names == [
        f"{common} 0, finetuning.epochs 5",
        f"{common} 0, finetuning.epochs 7",
        f"{common} 1",
    ]


def test_bins_have_their_edges_and_states_that_are_not_known_are_empty(record):
    table = distributions(record)
    assert list(table.columns) == list(DISTRIBUTION_COLUMNS)
    assert list(table["low"]) == [-2, -1, 0, 1]
    assert list(table["high"]) == [-1, 0, 1, 2]
    assert list(table["dense"]) == [0, 5, 5, 1]
    assert table["pruned"].isna().all()


@pytest.mark.slow
def test_figures_are_drawn_from_tables_that_were_read_from_csv(record, tmp_path):
    curves([record]).to_csv(tmp_path / "curves.csv", index=False)
    distributions(record).to_csv(tmp_path / "distributions.csv", index=False)
    plot_curves(pd.read_csv(tmp_path / "curves.csv"), tmp_path / "curves.png")
    frame = pd.read_csv(tmp_path / "distributions.csv")
    plot_distributions(frame, "a run", tmp_path / "distributions.png")
    for name in ("curves.png", "distributions.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("table", [lambda record: curves([record]), distributions])
def test_a_record_of_an_earlier_version_is_refused_by_name(make_record, table):
    with pytest.raises(UsageError, match="run it again with --force"):
        table(make_record())
