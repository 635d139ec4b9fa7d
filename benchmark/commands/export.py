"""``prunebench export``: a run's pruned network in a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import add_data, add_record, add_trust, file_path

HELP = "write a run's pruned network to a file"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_record(parser)
    parser.add_argument(
        "--format",
        default="safetensors",
        help="safetensors, sparse (bitmasks in place of zeros), onnx or pt (default: safetensors)",
    )
    parser.add_argument(
        "-o", "--output", type=file_path, help="its file (default: named by the run)"
    )
    add_data(parser)
    add_trust(parser)


def execute(options: argparse.Namespace) -> int:
    """Write the network, and say how large its file is."""
    from ...results import Store
    from ..studies.export import export

    store = Store.holding(options.run, options.runs)
    record = store.find(options.run)
    suffix = {"onnx": "onnx", "pt": "pt2"}.get(options.format, "safetensors")
    path = options.output or Path(f"{record.id}.{suffix}")
    size = export(
        record, options.format, path, runs=store.place, data=options.data, trust=options.trust
    )
    print(f"{path}: {size:,} bytes")
    return 0
