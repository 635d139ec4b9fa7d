"""The plots are PNG files of the right size, the same every time."""

from __future__ import annotations

import struct
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest

from prunebench.errors import UsageError
from prunebench.results import leaderboard
from prunebench.results.plots import accuracy_vs_compression, accuracy_vs_speedup

PLOTS = pytest.mark.parametrize("plot", [accuracy_vs_compression, accuracy_vs_speedup])


def size_of(path):
    """Width and height in pixels, from the header of a PNG file."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", content[16:24])


@pytest.mark.slow
@PLOTS
def test_a_plot_has_the_same_bytes_twice(make_sweep, tmp_path, plot):
    frame = leaderboard(make_sweep())
    plot(frame, tmp_path / "first.png")
    plot(frame, tmp_path / "second.png")
    content = (tmp_path / "first.png").read_bytes()
    assert content == (tmp_path / "second.png").read_bytes()
    assert b"Software" not in content, "the version of matplotlib is in the file"


def test_one_panel_is_1024_pixels_wide_and_a_second_stands_beside_it(make_sweep, tmp_path):
    one, two = make_sweep(), make_sweep(dataset="KMNIST")
    accuracy_vs_compression(leaderboard(one), tmp_path / "one.png")
    accuracy_vs_compression(leaderboard(one + two), tmp_path / "two.png")
    width, height = size_of(tmp_path / "one.png")
    assert width == 1024
    assert 736 < height < 1000
    assert size_of(tmp_path / "two.png") == (2 * width, height)


def test_long_titles_are_broken_and_not_cut_off(make_sweep, tmp_path):
    settings = {
        "dataset": "ImageFolder(folder='pictures of cats and dogs', size=128, augmentation='crop')",
        "initialisation": "FromFile(path='a long way/to the/weights.safetensors')",
        "timing": "DuringTraining(begin=0.1, end=0.9)",
    }
    accuracy_vs_compression(leaderboard(make_sweep(**settings)), tmp_path / "plot.png")
    pixels = matplotlib.image.imread(tmp_path / "plot.png")[..., :3]
    assert pixels[:100].min() < 0.5, "there is no title"
    assert pixels[:100, -8:].min() == 1, "the title goes on to the edge"


def test_methods_are_drawn_in_colour_and_the_random_baseline_in_grey(make_sweep, tmp_path):
    def colours(strategy):
        path = tmp_path / f"{strategy}.png"
        accuracy_vs_compression(leaderboard(make_sweep([strategy])), path)
        pixels = matplotlib.image.imread(path)[..., :3]
        return float(np.ptp(pixels, axis=-1).max())

    assert colours("Random") < 0.01
    assert colours("SNIP") > 0.5


@PLOTS
def test_missing_single_and_non_finite_points_can_be_drawn(make_record, tmp_path, plot):
    records = [
        make_record(strategy="Random", compression=2.0),
        make_record(strategy="SNIP", compression=32.0, top1=0.0),
        make_record(strategy="Perfect", compression=2.0, top1=1.0),
        make_record(strategy="Diverged", compression=4.0, top1=float("nan")),
        make_record(strategy="Failed", compression=8.0, status="failed"),
    ]
    plot(leaderboard(records), tmp_path / "plot.png")
    assert size_of(tmp_path / "plot.png")[0] == 1024


def test_an_accuracy_of_zero_is_drawn_as_a_very_small_one(make_record, tmp_path):
    for name, top1 in (("zero.png", 0.0), ("small.png", 0.0005)):
        records = [make_record(), make_record(compression=8.0, top1=top1)]
        accuracy_vs_compression(leaderboard(records), tmp_path / name)
    assert (tmp_path / "zero.png").read_bytes() == (tmp_path / "small.png").read_bytes()


@PLOTS
def test_a_metric_that_is_better_when_lower_can_be_drawn(make_record, tmp_path, plot):
    records = [
        make_record(
            quality={"loss": "lower"}, compression=compression, final={"loss": 0.1 * compression}
        )
        for compression in (1.0, 4.0)
    ]
    plot(leaderboard(records), tmp_path / "plot.png")
    assert size_of(tmp_path / "plot.png")[0] == 1024


@PLOTS
def test_nothing_to_plot_is_a_usage_error_and_writes_nothing(make_record, tmp_path, plot):
    for records in ([], [make_record(status="failed")], [make_record(top1=float("nan"))]):
        with pytest.raises(UsageError, match="nothing to plot"):
            plot(leaderboard(records), tmp_path / "plot.png")
    assert list(tmp_path.iterdir()) == []


def test_the_plots_need_no_pyplot_and_so_no_display():
    program = "import prunebench.results.plots, sys; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
