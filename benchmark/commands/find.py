"""``prunebench find``: how far networks can be pruned without losing more than so much."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...errors import UsageError
from ...results.targets import TARGET_NAMES
from .options import add_config, add_data, add_runs, file_path, number_from_zero, positive
from .settings import add_settings, overlaid

if TYPE_CHECKING:
    import pandas as pd

HELP = "find how far networks can be pruned without losing more than so much quality"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What is pruned, as for run, and what is to be found."""
    parser.usage = (
        "prunebench find [CONFIG] [--SETTING VALUE ...] --loss-at-most POINTS [option ...]"
    )
    add_config(parser, nargs="?")
    add_settings(parser)
    aim = parser.add_argument_group("what is to be found")
    aim.add_argument(
        "--loss-at-most",
        type=number_from_zero,
        required=True,
        metavar="POINTS",
        help="points of the task's quality that may be lost, such as 1 for one percentage point",
    )
    aim.add_argument(
        "--target",
        choices=TARGET_NAMES,
        default="compression",
        help="in what is said how far to prune (default: compression)",
    )
    aim.add_argument(
        "--highest",
        type=_ratio,
        default=256.0,
        metavar="RATIO",
        help="the highest ratio to try; 256 leaves 1/256 (default: 256)",
    )
    aim.add_argument(
        "--resolution",
        type=_ratio,
        default=1.1,
        metavar="RATIO",
        help="of a target to the one below it (default: 1.1)",
    )
    running = parser.add_argument_group("running")
    add_runs(running)
    add_data(running)
    running.add_argument("--workers", type=positive, default=1, help="processes that run cells")
    running.add_argument("-o", "--output", type=file_path, help="write the table to this CSV file")


def execute(options: argparse.Namespace) -> int:
    """Search, print what was found, and write it where that is asked for."""
    from ...results import write_csv
    from ...results.targets import TARGET_NAMES, TARGETS
    from ..catalogue.shipped import settings_file
    from ..grid import grid, read_settings
    from ..studies.finding import Aim, find

    for name in TARGET_NAMES:
        if getattr(options, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} is what is to be found: leave it out")
    config = read_settings(settings_file(options.config)) if options.config else {}
    settings = overlaid(config, options)
    settings = {name: value for name, value in settings.items() if name not in TARGET_NAMES}
    kind = next(kind for kind in TARGETS if kind.name == options.target)
    aim = Aim(kind, options.loss_at_most, options.highest, options.resolution)
    lowest = 0.0 if kind.is_fraction else 1.0
    experiments = grid(**settings, **{kind.name: lowest})
    frame = find(experiments, aim, data=options.data, runs=options.runs, workers=options.workers)
    print(_as_text(frame, aim.kind.written))
    if options.output:
        write_csv(frame, options.output)
        print(f"\n{options.output}")
    return 1 if frame["note"].str.contains("failed").any() else 0


def _as_text(frame: pd.DataFrame, written: Callable[[float], str]) -> str:
    """The brackets, with what was lost at both ends."""
    from ...results.text_table import text_table

    def end(value: float | None, loss: float | None) -> str:
        if value is None or value != value:
            return "—"
        if loss is None or loss != loss or loss == float("inf"):
            return f"{written(value)} (cannot be reached)"
        return f"{written(value)} ({-loss:+.2f})"

    rows = [
        (
            each["strategy"],
            f"{each['model']} on {each['dataset']}",
            each["seed"],
            end(each["held"], each["held_loss"]),
            end(each["not_held"], each["not_held_loss"]),
            each["cells"],
            each["note"],
        )
        for each in frame.to_dict("records")
    ]
    headers = ("strategy", "network", "seed", "held", "did not hold", "cells", "note")
    return text_table(rows, headers)


def _ratio(text: str) -> float:
    """A number above 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 < value <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: give a ratio above 1")
    return value
