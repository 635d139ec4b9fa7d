"""The plots are PNG files of the right size, the same every time."""

from __future__ import annotations

import struct
import subprocess
import sys

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from prunebench.errors import UsageError
from prunebench.results import leaderboard, write_csv
from prunebench.results.drawing import looks
from prunebench.results.plots import (
    LAYOUT,
    as_svg,
    plot_quality,
    quality_figure,
)
from prunebench.results.targets import COMPRESSION, SPEEDUP
from prunebench.strategies import STRATEGIES
from prunebench.strategies.scores.random import Random

KINDS = pytest.mark.parametrize("kind", [COMPRESSION, SPEEDUP], ids=lambda kind: kind.name)


def size_of(path):
    """Width and height in pixels, from the header of a PNG file."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", content[16:24])


def test_characters_that_the_font_lacks_bring_no_warnings(make_record, tmp_path, recwarn):
    frame = leaderboard([make_record(strategy="mine.py:日本語")])
    plot_quality(frame, tmp_path / "plot.png", COMPRESSION)
    (found,) = as_svg(frame)
    assert "日本語" in found["compression"]
    assert [str(each.message) for each in recwarn if "Glyph" in str(each.message)] == []


@pytest.mark.slow
@KINDS
def test_a_plot_has_the_same_bytes_twice(make_sweep, tmp_path, kind):
    frame = leaderboard(make_sweep())
    plot_quality(frame, tmp_path / "first.png", kind)
    plot_quality(frame, tmp_path / "second.png", kind)
    content = (tmp_path / "first.png").read_bytes()
    assert content == (tmp_path / "second.png").read_bytes()
    assert b"Software" not in content, "the version of matplotlib is in the file"


@pytest.mark.slow
def test_one_panel_is_1024_pixels_wide_and_a_second_stands_beside_it(make_sweep, tmp_path):
    one, two = make_sweep(), make_sweep(dataset="KMNIST")
    plot_quality(leaderboard(one), tmp_path / "one.png", COMPRESSION)
    plot_quality(leaderboard(one + two), tmp_path / "two.png", COMPRESSION)
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
    plot_quality(leaderboard(make_sweep(**settings)), tmp_path / "plot.png", COMPRESSION)
    pixels = matplotlib.image.imread(tmp_path / "plot.png")[..., :3]
    assert pixels[:100].min() < 0.5, "there is no title"
    assert pixels[:100, -8:].min() == 1, "the title goes on to the edge"


def drawn(axes):
    """The lines with markers on some axes, each as its colour, marker, kind of line and fill."""
    return [
        (line.get_color(), line.get_marker(), str(line.get_linestyle()), line.get_markerfacecolor())
        for line in axes.lines
        if line.get_marker() not in ("", "None") and line.get_markersize() > 4
    ]


def names_of_rows(axes):
    """What stands beside the rows of dots, from top to bottom, without breaks of lines."""
    return [label.get_text().replace("\n", "") for label in axes.get_yticklabels()]


@KINDS
def test_a_comparison_at_one_target_is_a_sorted_row_of_dots_with_intervals(make_sweep, kind):
    strategies = ["Worst", "Middle(alpha=2)", "Best"]
    tops = dict(zip(strategies, (0.5, 0.9, 0.95), strict=True))
    records = [
        make.model_copy(update={"final": {**make.final, "top1": tops[name] - 0.02 * seed}})
        for name in strategies
        for seed, make in enumerate(make_sweep([name], [4]))
    ]
    (axes,) = quality_figure(leaderboard(records), kind).axes
    assert names_of_rows(axes) == ["Best", "Middle(alpha=2)", "Worst"]
    bars = [collection for collection in axes.collections if len(collection.get_segments())]
    assert len(bars) == 3
    for bar, name in zip(bars, ("Best", "Middle(alpha=2)", "Worst"), strict=True):
        (((low, _), (high, _)),) = bar.get_segments()
        assert low == pytest.approx(tops[name] - 0.04, abs=1e-6)  # mean − std of three even steps
        assert high == pytest.approx(tops[name], abs=1e-6)
    seeds = [line for line in axes.lines if line.get_markersize() == 3]
    for dots, name in zip(seeds, ("Best", "Middle(alpha=2)", "Worst"), strict=True):
        assert sorted(dots.get_xdata()) == pytest.approx(
            [tops[name] - 0.04, tops[name] - 0.02, tops[name]]
        )
    dense = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [float(line.get_xdata()[0]) for line in dense] == [pytest.approx(0.991)]


def test_what_a_file_without_single_seeds_has_is_drawn_all_the_same(make_sweep, tmp_path):
    frame = leaderboard(make_sweep(compressions=[4]))
    write_csv(frame.drop(columns=["top1_by_seed", "loss_by_seed"]), tmp_path / "old.csv")
    (axes,) = quality_figure(pd.read_csv(tmp_path / "old.csv"), COMPRESSION).axes
    assert names_of_rows(axes) == ["GlobalMagnitude", "Random"]
    assert len(axes.collections) == 2


def test_a_band_is_wholly_in_sight(make_record):
    records = [
        make_record(strategy=strategy, compression=compression, seed=seed, top1=top1)
        for strategy, spread in (("Sure", 0.001), ("Unsure", 0.06))
        for compression in (2.0, 4.0)
        for seed, top1 in enumerate((0.97 - spread, 0.97, min(0.97 + spread, 0.999)))
    ]
    frame = leaderboard(records)
    (axes,) = quality_figure(frame, COMPRESSION).axes
    low, high = axes.get_ylim()
    assert len(axes.collections) == 2
    for band, strategy in zip(axes.collections, ("Sure", "Unsure"), strict=True):
        heights = band.get_paths()[0].vertices[:, 1]
        assert low < heights.min() < heights.max() < high
        row = frame[frame["strategy"] == strategy].iloc[0]
        assert heights.min() == pytest.approx(row["top1_mean"] - row["top1_std"])
        if row["top1_mean"] + row["top1_std"] < 0.9999:
            assert heights.max() == pytest.approx(row["top1_mean"] + row["top1_std"])


@pytest.mark.slow
@KINDS
def test_thirty_methods_at_several_targets_are_in_panels_in_which_no_two_look_alike(
    make_sweep, kind
):
    names = [f"Method{number:02}" for number in range(30)]
    made = quality_figure(leaderboard(make_sweep(names, seeds=[0])), kind)
    looks_in_panels = [drawn(axes) for axes in made.axes]
    assert sum(map(len, looks_in_panels)) == 30
    assert all(len(panel) <= 16 for panel in looks_in_panels)
    everything = [look for panel in looks_in_panels for look in panel]
    assert len(set(everything)) == 30
    assert len({axes.get_ylim() for axes in made.axes}) == 1, "panels are not comparable"
    assert [axes.get_title(loc="left") for axes in made.axes] == [
        "LeNet5 on MNIST, part 1 of 2",
        "LeNet5 on MNIST, part 2 of 2",
    ]
    (legend,) = made.legends
    assert [text.get_text() for text in legend.get_texts()] == [*names, "unpruned network"]


def test_no_two_of_hundreds_of_names_look_alike_and_84_differ_without_the_kind_of_line():
    names = [f"name {number}" for number in range(420)]
    assert len(set(looks(names).values())) == 420
    assert len({look._replace(dashes="-") for look in looks(names[:84]).values()}) == 84


@pytest.mark.slow
def test_only_the_random_baselines_are_grey(make_sweep):
    def is_grey(strategy, **settings):
        (axes,) = quality_figure(leaderboard(make_sweep([strategy], **settings)), COMPRESSION).axes
        ((colour, *_),) = drawn(axes)
        red, green, blue = (int(to_hex(colour)[place : place + 2], 16) for place in (1, 3, 5))
        return red == green == blue

    ours = [
        name
        for name in STRATEGIES.names()
        if issubclass(STRATEGIES.find(name), Random) and STRATEGIES.find(name).score is Random.score
    ]
    assert {name for name in STRATEGIES.names() if is_grey(name)} == {
        name for name in ours if STRATEGIES.find(name)().capabilities.training == "masked"
    }
    assert is_grey("Random(structure=Filters)")
    assert not is_grey("RandomisedSmoothing")
    assert not is_grey("SNIP(tie_break='Random')")
    assert not is_grey("mine.py:Random", sources={"strategy": "0123abcd"})


@pytest.mark.slow
def test_methods_are_drawn_in_colour_and_the_random_baseline_in_grey(make_sweep, tmp_path):
    def colours(strategy):
        path = tmp_path / f"{strategy}.png"
        plot_quality(leaderboard(make_sweep([strategy])), path, COMPRESSION)
        pixels = matplotlib.image.imread(path)[..., :3]
        return float(np.ptp(pixels, axis=-1).max())

    assert colours("Random") < 0.01
    assert colours("SNIP") > 0.5


@pytest.mark.slow
@KINDS
def test_missing_single_and_non_finite_points_can_be_drawn(make_record, tmp_path, kind):
    records = [
        make_record(strategy="Random", compression=2.0),
        make_record(strategy="SNIP", compression=32.0, top1=0.0),
        make_record(strategy="Perfect", compression=2.0, top1=1.0),
        make_record(strategy="Diverged", compression=4.0, top1=float("nan")),
        make_record(strategy="Failed", compression=8.0, status="failed"),
    ]
    plot_quality(leaderboard(records), tmp_path / "plot.png", kind)
    assert size_of(tmp_path / "plot.png")[0] == 1024


@pytest.mark.slow
def test_an_accuracy_of_zero_is_drawn_as_a_very_small_one(make_record, tmp_path):
    for name, top1 in (("zero.png", 0.0), ("small.png", 0.0005)):
        records = [make_record(), make_record(compression=8.0, top1=top1)]
        plot_quality(leaderboard(records), tmp_path / name, COMPRESSION)
    assert (tmp_path / "zero.png").read_bytes() == (tmp_path / "small.png").read_bytes()


@KINDS
def test_a_metric_that_is_better_when_lower_can_be_drawn(make_record, tmp_path, kind):
    records = [
        make_record(
            quality={"loss": "lower"}, compression=compression, final={"loss": 0.1 * compression}
        )
        for compression in (1.0, 4.0)
    ]
    plot_quality(leaderboard(records), tmp_path / "plot.png", kind)
    assert size_of(tmp_path / "plot.png")[0] == 1024


@KINDS
def test_nothing_to_plot_is_a_usage_error_and_writes_nothing(make_record, tmp_path, kind):
    for records in ([], [make_record(status="failed")], [make_record(top1=float("nan"))]):
        with pytest.raises(UsageError, match="nothing to plot"):
            plot_quality(leaderboard(records), tmp_path / "plot.png", kind)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_plots_need_no_pyplot_and_so_no_display():
    program = "import prunebench.results.plots, sys; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_two_recoveries_in_one_panel_have_what_they_share_below_the_title(make_sweep):
    layout = LAYOUT.with_moved(line=["training"])
    records = make_sweep() + make_sweep(recovery="Rewind(epoch=2)")
    figure = quality_figure(leaderboard(records), COMPRESSION, layout)
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "LeNet5 on MNIST"
    (conditions,) = [text.get_text() for text in axes.texts]
    assert "1 round" in conditions
    assert "Rewind" not in conditions
    looks = drawn(axes)
    assert len(set(looks)) == len(looks) == 4
    (legend,) = figure.legends
    names = {text.get_text() for text in legend.get_texts()}
    assert names == {
        *("GlobalMagnitude", "Random", "retraining", "Rewind(epoch=2)", "unpruned network")
    }
