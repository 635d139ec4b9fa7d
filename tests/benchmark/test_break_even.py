"""From which sparsity on pruning pays, on timings that are given and on some that are measured."""

import pandas as pd
import pytest
from torch import nn

from prunebench.benchmark.break_even import KINDS, break_even, linear, network
from prunebench.benchmark.command_line import main
from prunebench.errors import UsageError
from prunebench.metrics import Protocol
from prunebench.results.break_even import BREAK_EVEN_COLUMNS, break_even_sentences, crossing

QUICK = Protocol(repeats=3, most_repeats=3, sample_ms=1e-3)


@pytest.mark.parametrize(
    ("speedups", "expected"),
    [
        ([0.5, 0.5, 2.0, 4.0], 0.7),  # halfway between 0.6 and 0.8 in the logarithm
        ([0.5, 1.0, 2.0, 4.0], 0.6),
        ([1.5, 1.6, 2.0, 4.0], 0.4),
        ([2.0, 0.5, 2.0, 2.0], 0.7),  # for good
        ([0.1, 0.2, 0.3, 0.9], None),
        ([2.0, 2.0, 2.0, 0.9], None),
    ],
)
def test_the_crossing_is_where_the_speedup_stays_above_1(speedups, expected):
    found = crossing([0.4, 0.6, 0.8, 0.9], speedups)
    assert found == (None if expected is None else pytest.approx(expected))


def rows_of(speedups, runtime="SparseCSR", reason=""):
    return [
        {
            "network_title": "Linear(8, 8)",
            "kind": "weights",
            "batch_size": 4,
            "runtime": runtime,
            "network": "masked",
            "sparsity": sparsity,
            "speedup": speedup,
            "speedup_low": speedup,
            "reason": reason,
        }
        for sparsity, speedup in zip((0.5, 0.7, 0.9), speedups, strict=True)
    ]


def test_sentences_state_the_sparsity_or_that_it_does_not_pay():
    frame = pd.DataFrame(
        rows_of((0.5, 1.0, 4.0))
        + rows_of((0.99, 1.01, 1.04), "Eager")
        + rows_of((None, None, None), "OnnxRuntime", "not installed")
        + rows_of((1.2, 1.3, 0.9), "Compiled")
        + rows_of((1.2, 1.3, 1.4), "SemiStructured")
    ).astype({"speedup": float, "speedup_low": float})
    head = "Linear(8, 8), weights pruned, batch of 4,"
    assert break_even_sentences(frame) == [
        f"{head} SparseCSR masked: pays from 70 % on; 4.00× at 90 %",
        f"{head} Eager masked: does not pay; 0.99× to 1.04×",
        f"{head} OnnxRuntime masked: not measured (not installed)",
        f"{head} Compiled masked: does not pay; 0.90× to 1.30×",
        f"{head} SemiStructured masked: pays at all measured; 1.40× at 90 %",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [["weights"], ["channels"], KINDS])
def test_a_network_is_pruned_to_each_sparsity_and_timed(kinds):
    model, shape = network("LeNetSmall", (1, 8, 8))
    frame = break_even(
        "LeNetSmall",
        model,
        shape,
        kinds=kinds,
        sparsities=[0.25, 0.75],
        runtimes=["Eager"],
        batch_sizes=[2],
        protocol=QUICK,
        progress=False,
    )
    assert list(frame.columns) == list(BREAK_EVEN_COLUMNS)
    assert set(frame["kind"]) == set(kinds)
    rows = {"weights": 2 * 2, "2:4": 2, "channels": 2 * 3}  # the pattern has one sparsity
    assert len(frame) == sum(rows[kind] for kind in kinds)
    assert (frame["median_ms"] > 0).all()
    weights = frame[(frame["kind"] == "weights") & (frame["sparsity"] == 0.75)]
    assert weights["theoretical_speedup"].between(3.8, 4).all()  # the output layer stays
    channels = frame[(frame["kind"] == "channels") & (frame["sparsity"] == 0.75)]
    assert (channels["theoretical_speedup"] > 4).all()  # rows and columns go


@pytest.mark.parametrize(
    ("model", "share"),
    [(linear(6, 4)[0], 0.5), (nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4)), 35 / 50)],
)
def test_an_output_layer_is_pruned_only_if_it_is_all_there_is(model, share):
    """Of 30 and 20 weights half of the 30 go, and so 35 of 50 multiply–adds are left."""
    frame = break_even(
        "x",
        model,
        (6,),
        kinds=["weights"],
        sparsities=[0.5],
        runtimes=[],
        batch_sizes=[1],
        protocol=QUICK,
        progress=False,
    )
    assert frame["theoretical_speedup"].tolist() == [pytest.approx(1 / share)] * 2


def test_a_network_without_channels_is_refused():
    model, shape = linear(6, 4)
    with pytest.raises(UsageError, match="no channels that could be removed"):
        break_even(
            "x",
            model,
            shape,
            kinds=["channels"],
            sparsities=[0.5],
            runtimes=[],
            batch_sizes=[1],
            progress=False,
        )


@pytest.mark.slow
def test_the_command_says_what_pays_and_writes_table_and_plot(tmp_path, capsys):
    options = ["--sparsity", "0.5", "0.9", "--batch-sizes", "2", "--repeats", "3"]
    runtimes = ["--runtimes", "SparseCSR(everywhere=True)"]
    folder = tmp_path / "out"
    assert main(["break-even", "--linear", "16", "8", *options, *runtimes, "-o", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "Linear(16, 8), weights pruned, batch of 2, SparseCSR(everywhere=True) masked:" in out
    assert len(pd.read_csv(folder / "break-even.csv")) == 2 * 3
    assert (folder / "break-even.png").read_bytes().startswith(b"\x89PNG")
