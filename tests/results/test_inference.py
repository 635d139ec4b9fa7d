"""The table of measured times: speedups with their intervals, or why there is no verdict."""

import json
import math

import pandas as pd
import pytest

from prunebench.results import Inference, Record, inference_as_text, inference_table
from prunebench.results.break_even import plot_inference
from prunebench.results.inference import INFERENCE_COLUMNS

BUSY = "other processes took 55 % of the processor"


def timed(network, speedup, **more):
    """A measurement in Eager on a quiet machine."""
    plain = {
        "runtime": "Eager",
        "network": network,
        "batch_size": 8,
        "memory_format": "",
        "median_ms": 2.0,
        "iqr_ms": 0.1,
        "repeats": 30,
        "speedup": speedup,
        "speedup_low": speedup - 0.01,
        "speedup_high": speedup + 0.01,
        "speedup_over_eager": speedup,
        "peak_bytes": 100,
        "difference": 0.0,
        "reason": "",
        "control": 1.0,
        "control_low": 0.99,
        "control_high": 1.01,
        "load": 0.01,
    }
    return Inference(**{**plain, **more})


@pytest.fixture
def measured(make_record):
    """Make a record that was measured."""

    def make(*rows, **settings):
        size = {"theoretical_speedup": 1.0, "file_bytes": 400}
        record = make_record(dense=size, final={"file_bytes_sparse": 100}, **settings)
        where = {"threads": 1, "processor": "x"}
        return record.model_copy(update={"inference": rows, "inference_environment": where})

    return make


def test_a_speedup_stands_with_its_interval_and_the_control_below(measured):
    text = inference_as_text(inference_table([measured(timed("dense", 1.0), timed("masked", 2.0))]))
    assert "2.00 (1.99–2.01)" in text
    assert "identical networks, at worst: Eager 1.00 (0.99–1.01)" in text
    assert "?" not in text


def test_what_is_in_doubt_gets_a_question_mark_and_the_reason(measured, tmp_path):
    rows = [timed("dense", 1.0, doubt=BUSY), timed("masked", 5.4, doubt=BUSY, load=0.55)]
    frame = inference_table([measured(*rows)])
    assert frame["doubt"].tolist() == [BUSY, BUSY]
    assert frame["speedup"].tolist() == [1.0, 5.4], "the CSV keeps it, beside the doubt"
    text = inference_as_text(frame)
    assert "5.4" not in text
    assert f"? no verdict: Eager: {BUSY}" in text
    path = tmp_path / "inference.csv"
    frame.to_csv(path, index=False)
    assert inference_as_text(pd.read_csv(path)) == text
    plot_inference(frame, tmp_path / "inference.png")
    assert (tmp_path / "inference.png").read_bytes().startswith(b"\x89PNG")


def test_of_several_seeds_those_in_doubt_are_left_out_unless_all_are(measured):
    good, bad = timed("masked", 2.0), timed("masked", 5.4, doubt=BUSY, load=0.55, control=1.2)
    records = [measured(row, seed=seed) for seed, row in enumerate((bad, good, bad))]
    (row,) = inference_table(records).to_dict("records")
    assert (row["speedup"], row["seeds"], row["doubt"], row["load"]) == (2.0, 1, "", 0.01)
    (row,) = inference_table(records[::2]).to_dict("records")
    assert (row["speedup"], row["seeds"], row["doubt"], row["control"]) == (5.4, 2, BUSY, 1.2)


def test_times_of_other_machines_or_threads_have_rows_and_tables_of_their_own(measured, tmp_path):
    machines = [
        {"processor": "Laptop", "threads": 1},
        {"processor": "Laptop", "threads": 4},
        {"processor": "Server", "threads": 4, "cores": 64},
    ]
    records = [
        measured(
            timed("dense", 1.0, median_ms=ms), timed("masked", 2.0, median_ms=ms), seed=seed
        ).model_copy(update={"inference_environment": where})
        for seed, (ms, where) in enumerate(zip((2.0, 40.0, 3.0), machines, strict=True))
    ]
    frame = inference_table([*records, *records[:1]])
    dense = frame[frame["network"] == "dense"]
    columns = ["processor", "threads", "seeds", "median_ms"]
    assert dense[columns].to_numpy().tolist() == [
        ["Laptop", 1, 2, 2.0],
        ["Laptop", 4, 1, 40.0],
        ["Server", 4, 1, 3.0],
    ]
    text = inference_as_text(frame)
    assert "batch of 8, 1 CPU threads · Laptop" in text
    assert "batch of 8, 4 CPU threads · Laptop" in text
    assert "batch of 8, 4 CPU threads · Server" in text
    frame.to_csv(tmp_path / "inference.csv", index=False)
    assert inference_as_text(pd.read_csv(tmp_path / "inference.csv")) == text
    plot_inference(frame, tmp_path / "three.png")
    plot_inference(frame[frame["processor"] == "Server"], tmp_path / "one.png")
    assert (tmp_path / "three.png").stat().st_size > (tmp_path / "one.png").stat().st_size


def test_a_theoretical_speedup_that_is_not_finite_is_not_taken_for_zero(measured):
    records = [measured(timed("masked", 2.0), seed=seed) for seed in range(2)]
    infinite = records[1].final | {"theoretical_speedup": None}  # as records keep it
    records[1] = records[1].model_copy(update={"final": infinite})
    (row,) = inference_table(records).to_dict("records")
    assert math.isnan(row["theoretical_speedup"])


def test_whole_passes_have_rows_and_a_table_of_their_own(measured):
    whole = {"passes": 20, "median_ms": None, "iqr_ms": None, "repeats": None}
    frame = inference_table(
        [
            measured(
                timed("dense", 1.0),
                timed("masked", 1.1),
                timed("dense", 1.0, pass_seconds=1.5, **whole),
                timed("masked", 1.2, pass_seconds=1.25, **whole),
            )
        ]
    )
    assert frame["pass_seconds"].dropna().tolist() == [1.5, 1.25]
    forward, passes = inference_as_text(frame).split("\n\nLeNet5 on ")
    assert "· batch of 8, 1 CPU threads" in forward
    assert "1.10 (1.09–1.11)" in forward
    assert "20 passes over the test split in batches of 8" in passes
    assert "Dense network: 1.5 s a pass" in passes
    assert "1.20 (1.19–1.21)" in passes


def test_records_and_tables_that_are_older_than_the_control_still_load(measured):
    record = measured(timed("dense", 1.0), timed("masked", 2.0))
    content = json.loads(record.to_json())
    new = ("passes", "pass_seconds", "control", "control_low", "control_high", "load", "doubt")
    new += ("speedup_over_eager_low", "speedup_over_eager_high")
    del content["doubts"]
    for row in content["inference"]:
        for name in new:
            del row[name]
    frame = inference_table([Record.from_json(json.dumps(content))])
    assert list(frame.columns) == list(INFERENCE_COLUMNS)
    text = inference_as_text(frame.drop(columns=list(new)))
    assert "2.00 (1.99–2.01)" in text
    assert "measured without a control of identical networks" in text


def test_names_that_no_terminal_shows_as_they_are_have_their_times_too(measured):
    odd = "ImageFolder(folder='my\u200bphotos')"
    table = inference_table([measured(timed("dense", 1.0), timed("masked", 2.0), dataset=odd)])
    assert list(table["speedup"]) == [1.0, 2.0]
    assert "photos" in inference_as_text(table)
