"""From which sparsity on pruning pays, on timings that are given and on some that are measured."""

import math
from importlib import import_module

import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from torch import nn

from prunebench.benchmark.command_line import main
from prunebench.benchmark.studies.break_even import KINDS, break_even, linear, network
from prunebench.errors import UsageError
from prunebench.metrics import Protocol
from prunebench.metrics.conditions import ProcessorTimes
from prunebench.results.break_even import (
    BREAK_EVEN_COLUMNS,
    break_even_sentences,
    crossing,
    plot_break_even,
)

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
            "speedup_low": speedup and speedup - 0.02,
            "speedup_high": speedup and speedup + 0.02,
            "control": 1.0,
            "reason": reason,
            "doubt": "",
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
    ).astype({"speedup": float, "speedup_low": float, "speedup_high": float})
    head = "Linear(8, 8), weights pruned, batch of 4,"
    assert break_even_sentences(frame) == [
        f"{head} SparseCSR masked: pays from 70 % on; 4.00× (3.98–4.02) at 90 %",
        f"{head} Eager masked: does not pay; 0.99× (0.97–1.01) to 1.04× (1.02–1.06)",
        f"{head} OnnxRuntime masked: not measured (not installed)",
        f"{head} Compiled masked: does not pay; 0.90× (0.88–0.92) to 1.30× (1.28–1.32)",
        f"{head} SemiStructured masked: pays at all measured; 1.40× (1.38–1.42) at 90 %",
    ]


def test_where_one_measurement_is_in_doubt_there_is_no_verdict():
    """What was once announced as paying from 45 % on, 2.82×, where identical networks had 0.35."""
    frame = pd.DataFrame(rows_of((0.5, 1.0, 2.82)) + rows_of((0.5, 1.0, 2.82), "Eager"))
    frame.loc[1, "doubt"] = "identical networks came out at 0.35× (0.30–0.40)"
    head = "Linear(8, 8), weights pruned, batch of 4,"
    assert break_even_sentences(frame) == [
        f"{head} SparseCSR masked: no verdict; at 70 % identical networks came out at 0.35× "
        "(0.30–0.40)",
        f"{head} Eager masked: pays from 70 % on; 2.82× (2.80–2.84) at 90 %",
    ]


def test_what_is_above_1_by_less_than_its_interval_only_may_pay():
    frame = pd.DataFrame(rows_of((0.9, 1.02, 1.06))).assign(speedup_low=0.98)
    (sentence,) = break_even_sentences(frame)
    assert sentence.endswith("SparseCSR masked: may pay; 1.06× (0.98–1.08) at 90 %")


def test_a_table_that_is_older_than_the_control_says_so():
    frame = pd.DataFrame(rows_of((0.5, 1.0, 4.0))).drop(columns=["control", "doubt"])
    (sentence,) = break_even_sentences(frame)
    assert sentence.endswith("4.00× (3.98–4.02) at 90 %, measured without a control")


def test_what_is_in_doubt_is_drawn_hollow_and_without_a_line(tmp_path, monkeypatch):
    frame = pd.DataFrame(rows_of((0.5, 1.0, 2.82))).reindex(columns=list(BREAK_EVEN_COLUMNS))
    frame = frame.assign(theoretical_speedup=[2.0, 3.3, 10.0])
    frame.loc[1, "doubt"] = "other processes took 55 % of the processor"
    drawn = []
    monkeypatch.setattr(
        "prunebench.results.break_even.save_figure", lambda figure, path: drawn.append(figure)
    )
    plot_break_even(frame, tmp_path / "x.png")
    (axes,) = drawn[0].axes
    (line,) = (each for each in axes.lines if each.get_label() == "SparseCSR, masked")
    assert [math.isnan(value) for value in line.get_ydata()] == [False, True, False]
    (hollow,) = (each for each in axes.collections if isinstance(each, PathCollection))
    assert hollow.get_offsets().tolist() == [[0.7, 1.0]]
    assert hollow.get_facecolors().size == 0
    assert any("1 of 3 are in doubt" in text.get_text() for text in axes.texts)


def test_panels_side_by_side_have_one_scale(tmp_path, monkeypatch):
    frame = pd.DataFrame(rows_of((0.5, 1.0, 2.8))).assign(theoretical_speedup=[2.0, 3.3, 10.0])
    slow = frame.assign(batch_size=64, speedup=frame["speedup"] / 10, theoretical_speedup=1.0)
    drawn = []
    monkeypatch.setattr(
        "prunebench.results.break_even.save_figure", lambda figure, path: drawn.append(figure)
    )
    plot_break_even(pd.concat([frame, slow], ignore_index=True), tmp_path / "x.png")
    first, second = drawn[0].axes
    assert first.get_ylim() == second.get_ylim()
    assert first.get_ylim()[0] < 0.05
    assert first.get_ylim()[1] > 10


@pytest.mark.parametrize(("count", "marker"), [(1, "."), (3, "")])
def test_theory_is_seen_where_it_is_a_single_point(tmp_path, monkeypatch, count, marker):
    frame = pd.DataFrame(rows_of((0.5, 1.0, 2.8))).assign(theoretical_speedup=[2.0, 3.3, 10.0])
    drawn = []
    monkeypatch.setattr(
        "prunebench.results.break_even.save_figure", lambda figure, path: drawn.append(figure)
    )
    plot_break_even(frame[:count], tmp_path / "x.png")
    (theory,) = (each for each in drawn[0].axes[0].lines if each.get_label() == "theory")
    assert theory.get_marker().strip("None ") == marker


class _Slower(nn.Sequential):
    """A layer on a machine where some of its copies, by their number, take three times as long."""

    def __init__(self, clock, slow, seconds=0.01, copies=None):
        super().__init__(nn.Linear(6, 4))
        self.clock, self.slow, self.seconds = clock, slow, seconds
        self.copies = [] if copies is None else copies

    def forward(self, inputs):
        self.clock.now += self.seconds
        return super().forward(inputs)

    def __deepcopy__(self, memo):
        number = len(self.copies)
        self.copies.append(number)
        seconds = self.seconds * (3 if number in self.slow else 1)
        twin = _Slower(self.clock, self.slow, seconds, self.copies)
        twin.load_state_dict(self.state_dict())
        return twin


class _Clock:
    now = 0.0

    def perf_counter(self):
        return self.now


def timed_at_0_and_50(monkeypatch, slow, samples=6):
    """The rows of a network of which ``slow`` copies are slow, and how many copies were made.

    The masked network is copied before the control each time.
    """
    clock = _Clock()
    monkeypatch.setattr(import_module("prunebench.metrics.timing"), "time", clock)
    books = ProcessorTimes(0, 0, {}, frozenset(), None, 2)
    monkeypatch.setattr(
        import_module("prunebench.metrics.inference"), "processor_times", lambda: books
    )
    model = _Slower(clock, slow)
    frame = break_even(
        "x",
        model,
        (6,),
        kinds=["weights"],
        sparsities=[0.0, 0.5],
        runtimes=[],
        batch_sizes=[1],
        protocol=Protocol(repeats=samples, most_repeats=samples, sample_ms=1e-3),
        progress=False,
    )
    return frame, len(model.copies)


def test_the_network_of_which_nothing_is_pruned_is_a_control_too(monkeypatch):
    frame, copies = timed_at_0_and_50(monkeypatch, slow={0, 2, 4})
    masked = frame[frame["network"] == "masked"]
    assert copies == 8, "three attempts at 0 and one at 50 %"
    assert masked["control"].tolist() == pytest.approx([1, 1])
    assert set(masked["doubt"]) == {"identical networks came out at 0.33× (0.33–0.33)"}
    assert set(frame.loc[frame["network"] == "dense", "doubt"]) == {""}
    (sentence,) = break_even_sentences(frame)
    assert "no verdict; at 0 %, 50 % identical networks" in sentence


def test_what_is_in_doubt_is_measured_again(monkeypatch):
    frame, copies = timed_at_0_and_50(monkeypatch, slow={0, 5})
    assert copies == 8, "at 0 the masked network was slow, and at 50 % the control"
    assert set(frame["doubt"]) == {""}
    assert frame["sparsity"].tolist() == [0, 0, 0.5, 0.5]


def test_what_has_too_few_samples_is_measured_once(monkeypatch):
    frame, copies = timed_at_0_and_50(monkeypatch, slow={0}, samples=5)
    assert copies == 4
    assert "5 samples are too few" in frame["doubt"].iloc[1]


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


def test_a_layer_keeps_a_weight_at_least():
    frame = break_even(
        "x",
        linear(4, 4)[0],
        (4,),
        kinds=["weights"],
        sparsities=[0.98],
        runtimes=[],
        batch_sizes=[1],
        protocol=QUICK,
        progress=False,
    )
    assert frame["theoretical_speedup"].tolist() == [16, 16]


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
def test_the_command_says_what_pays_and_writes_table_and_plot(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("prunebench.benchmark.commands.break_even.chosen_protocol", lambda _: QUICK)
    options = ["--sparsity", "0.5", "0.9", "--batch-sizes", "2", "--repeats", "3"]
    runtimes = ["--runtimes", "SparseCSR(everywhere=True)"]
    folder = tmp_path / "out"
    assert main(["break-even", "--linear", "16", "8", *options, *runtimes, "-o", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "Linear(16, 8), weights pruned, batch of 2, SparseCSR(everywhere=True) masked:" in out
    assert len(pd.read_csv(folder / "break-even.csv")) == 2 * 3
    assert (folder / "break-even.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("model", "shape"), [("GPT", ["16"]), ("Seq2SeqLSTM", ["2", "16"])])
def test_a_network_that_takes_no_images_is_refused_in_a_sentence(model, shape, tmp_path, capsys):
    command = ["break-even", "--model", model, "--input-shape", *shape, "-o", str(tmp_path)]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert f"{model} does not run on an example of {'×'.join(shape)} numbers" in said
    assert "Traceback" not in said
