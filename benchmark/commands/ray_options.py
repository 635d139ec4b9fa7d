"""Options that have cells run on Ray."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError, shown
from .options import positive_or_zero

if TYPE_CHECKING:
    from ..sweeps.executors import Executor

_OPTIONS = ("address", "cpus_per_cell", "gpus_per_cell", "retries", "shared_folder")


def add_ray(parser: Any) -> None:
    """Whether cells run on Ray, on which, and what each is given there."""
    parser.add_argument(
        "--executor",
        choices=("processes", "ray"),
        default="processes",
        help="what runs cells: processes of this machine, or Ray (default: processes)",
    )
    parser.add_argument(
        "--address",
        help="of a Ray cluster, or auto for the one that this machine is a node of; without it Ray "
        "is started here",
    )
    parser.add_argument(
        "--cpus-per-cell",
        type=amount,
        metavar="N",
        help="CPUs that Ray reserves for a cell, such as 0.5 (default: as many as its threads)",
    )
    parser.add_argument(
        "--gpus-per-cell",
        type=amount,
        metavar="N",
        help="GPUs that Ray reserves for a cell, such as 0.25 (default: 1 on the device cuda)",
    )
    parser.add_argument(
        "--retries",
        type=positive_or_zero,
        metavar="N",
        help="how often Ray begins a cell again whose worker or node is lost (default: 2)",
    )
    parser.add_argument(
        "--shared-folder",
        type=Path,
        metavar="FOLDER",
        help="folder that all nodes of a cluster see, where checkpoints go; there are none else",
    )


def chosen_ray(options: argparse.Namespace) -> Executor | None:
    """Ray as the options of :func:`add_ray` want it; None where processes are to run cells.

    Raises:
        UsageError: options are for Ray and it was not asked for, or it is not installed.
    """
    given = {name: value for name in _OPTIONS if (value := getattr(options, name)) is not None}
    if options.executor != "ray":
        if given:
            option = next(iter(given)).replace("_", "-")
            raise UsageError(f"--{option} needs --executor ray")
        return None
    from ..sweeps.executors import RayCluster

    if options.memory_limit is not None:
        raise UsageError(
            "--memory-limit is for processes of this machine: Ray watches memory itself"
        )
    if options.workers and options.address:
        raise UsageError(
            f"--workers: {options.workers} is not allowed with --address: a cluster runs as many "
            "cells as it has room for; give --cpus-per-cell"
        )
    return RayCluster(
        address=options.address,
        workers=options.workers,
        cpus=options.cpus_per_cell,
        gpus=options.gpus_per_cell,
        retries=RayCluster.retries if options.retries is None else options.retries,
        timeout=options.timeout,
        stack=options.stack,
        shared_folder=options.shared_folder,
    )


def amount(text: str) -> float:
    """A number of processors: whole, or a part of one."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (0 < value < 1 or (value >= 1 and value == value // 1)):
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is not allowed: give a whole number, or a fraction between 0 and 1"
        )
    return value
