"""``prunebench study``: schemes, medians and classes of weights compared."""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import add_layout, add_output, chosen_layout, fraction, place

HELP = "compare schemes, medians and classes of weights in finished runs"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "runs",
        type=place,
        nargs="*",
        default=[Path("runs")],
        help="records folders, or published files of records",
    )
    parser.add_argument(
        "--at",
        nargs="+",
        type=fraction,
        metavar="S",
        help="sparsities at which classes of weights stand side by side (default: 0.5 0.8)",
    )
    add_layout(parser)
    add_output(parser, "study")


def execute(options: argparse.Namespace) -> int:
    """Write and draw the comparisons of all runs given."""
    from ...results import study, study_plots, write_csv
    from ...results.record_file import read_records

    layout = chosen_layout(options, study_plots.LAYOUT)
    records = [record for runs in options.runs for record in read_records(runs)]
    schemes = study.schemes(records)
    write_csv(schemes, options.output / "schemes.csv")
    study_plots.plot_schemes(schemes, options.output / "schemes.png", layout)
    medians = study.medians(schemes)
    write_csv(medians, options.output / "medians.csv")
    study_plots.plot_medians(medians, options.output / "medians.png")
    classes = study.classes(records)
    write_csv(classes, options.output / "classes.csv")
    study_plots.plot_classes(classes, options.output / "classes.png")
    study_plots.plot_classes_at(classes, options.output / "classes-at.png", options.at)
    for name in ("schemes", "medians", "classes"):
        print(f"{name}: {options.output / name}.csv, {options.output / name}.png")
    print(f"classes side by side: {options.output / 'classes-at.png'}")
    return 0
