"""``prunebench measure``: the times of finished runs in several runtimes."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...errors import UsageError, tell
from .options import (
    add_data,
    add_measuring,
    add_trust,
    chosen_device,
    chosen_protocol,
    place,
    positive_or_zero,
)

HELP = "time finished runs in several runtimes"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "runs",
        type=place,
        nargs="?",
        default=Path("runs"),
        help="records folder, or the path of one record's file",
    )
    add_data(parser)
    parser.add_argument(
        "--seed", nargs="+", type=int, metavar="N", help="measure only the runs of these seeds"
    )
    add_trust(parser)
    parser.add_argument(
        "--passes",
        type=positive_or_zero,
        default=0,
        metavar="N",
        help="time N whole passes over the test split as well, in eager PyTorch; 0 times none "
        "(default: 0)",
    )
    add_measuring(parser)


def execute(options: argparse.Namespace) -> int:
    """Time the runs, print, write and draw their times."""
    from ...results import Store, inference_as_text, inference_table, write_csv
    from ...results.break_even import plot_inference
    from ..studies.measuring import DEFAULT_RUNTIMES, measure

    one = options.runs.suffix == ".json"
    store = Store.holding(options.runs, options.runs) if one else Store(options.runs)
    records = [store.find(options.runs)] if one else list(store.records())
    if options.seed is not None:
        seeds = {record.experiment["seed"] for record in records}
        records = [record for record in records if record.experiment["seed"] in options.seed]
        if seeds and not records:
            raise UsageError(
                f"--seed: {' '.join(map(str, options.seed))} is not allowed: the runs have "
                f"{', '.join(map(str, sorted(seeds)))}"
            )
    measured = measure(
        records,
        runs=store.place,
        data=options.data,
        runtimes=options.runtimes or DEFAULT_RUNTIMES,
        batch_sizes=options.batch_sizes,
        protocol=chosen_protocol(options),
        passes=options.passes,
        device=chosen_device(options),
        trust=options.trust,
    )
    frame = inference_table(measured)
    write_csv(frame, store.folder / "inference.csv")
    print(inference_as_text(frame))
    print(f"\ninference:   {store.folder / 'inference.csv'}")
    try:
        plot_inference(frame, store.folder / "inference.png")
        print(f"plot:        {store.folder / 'inference.png'}")
    except UsageError as error:
        tell(f"no plot: {error}")
    return 0
