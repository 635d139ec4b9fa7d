"""``prunebench leaderboard``: tables, plots and a page made from records."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...errors import UsageError
from .options import add_labels, add_layout, chosen_layout, file_path, folder_path, place
from .output import draw_quality_plots

HELP = "make a leaderboard from records"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "runs",
        type=place,
        nargs="*",
        help="folders of records, published folders, files of records, or URLs of these such as "
        "s3://bucket/runs (default: runs)",
    )
    parser.add_argument(
        "--where",
        nargs="+",
        action="extend",
        default=[],
        metavar="CONDITION",
        help="only rows with these values in columns of the CSV, such as strategy=Random,SNIP "
        "dataset!=MNIST 'sparsity>=0.9'; all have to hold",
    )
    parser.add_argument(
        "--sort",
        metavar="COLUMN[,COLUMN...]",
        help="order rows by columns of the CSV, such as model,-top1_mean; after - the largest "
        "comes first",
    )
    parser.add_argument("-o", "--output", type=file_path, help="write the table to this CSV file")
    parser.add_argument(
        "--plots", type=folder_path, metavar="FOLDER", help="draw the plots into a folder"
    )
    parser.add_argument(
        "--figures",
        nargs="+",
        choices=("png", "pdf", "svg"),
        metavar="FORMAT",
        help="write the plots as png, pdf or svg, or several of them (default: png)",
    )
    parser.add_argument(
        "--format",
        choices=("text", "markdown", "latex", "html", "csv"),
        default="text",
        help="how the table is printed (default: text)",
    )
    parser.add_argument("--seeds", type=file_path, metavar="FILE", help="write single runs as CSV")
    parser.add_argument("--report", type=file_path, metavar="FILE", help="write it all as a page")
    parser.add_argument(
        "--checklist",
        action="store_true",
        help="say of each strategy which of the field's rules of reporting it keeps",
    )
    add_labels(parser)
    add_layout(parser)


def execute(options: argparse.Namespace) -> int:
    """Print the tables, and write and draw what is asked for."""
    from ...results import leaderboard, write_csv
    from ...results.formats import FORMATS
    from ...results.naming import labels_of, with_labels
    from ...results.selection import in_order, selected

    layout = None
    if options.plots:
        from ...results.plots import LAYOUT

        layout = chosen_layout(options, LAYOUT)
    elif options.panel or options.colour or options.line:
        raise UsageError("--panel, --colour and --line arrange plots: give --plots FOLDER too")
    elif options.figures:
        raise UsageError("--figures says how plots are written: give --plots FOLDER too")
    if options.checklist and options.format != "text":
        raise UsageError(f"--checklist is text: leave out --format {options.format}")
    places = options.runs or [Path("runs")]
    frame = leaderboard(places)
    if frame.empty:
        raise UsageError(f"there are no records in {' and '.join(map(str, places))}")
    frame = with_labels(frame, labels_of(options.label))
    frame = in_order(
        selected(frame, options.where), options.sort.split(",") if options.sort else []
    )
    print(FORMATS[options.format](frame))
    if options.checklist:
        from ...results.checklist import checklist_as_text

        print(f"\n{checklist_as_text(frame)}")
    if options.output:
        write_csv(frame, options.output)
        print(f"\n{options.output}")
    if options.plots:
        formats = options.figures or ["png"]
        paths = draw_quality_plots(frame, options.plots, layout, formats)
        print("\n".join(map(str, paths)))
    if options.seeds:
        from ...results.gathering import gathered
        from ...results.seeds import single_seeds

        write_csv(single_seeds(gathered(places), frame), options.seeds)
        print(options.seeds)
    if options.report:
        from ...results.gathering import whole_records
        from ...results.report import report

        report(frame, options.report, whole_records(places))
        print(options.report)
    return 0
