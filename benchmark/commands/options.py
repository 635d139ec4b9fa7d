"""Options that several commands take, and what their texts may be."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError, shown

if TYPE_CHECKING:
    from ...metrics import Protocol
    from ...results import Place
    from ...results.layout import Layout
    from ..sweeps.shards import Shard

_MOST_DIGITS = 15
_LEAST_MEMORY = 1_000_000


def add_config(parser: Any, **further: Any) -> None:
    """The YAML file of experiments, as somebody writes it; ``settings_file`` says which it is."""
    parser.add_argument(
        "config",
        help="YAML file with settings, or the name of one of `prunebench list experiments`",
        **further,
    )


def add_runs(parser: Any) -> None:
    """The folder of records."""
    parser.add_argument(
        "--runs",
        type=place,
        default=Path("runs"),
        help="records folder, or a URL such as s3://bucket/runs (default: runs)",
    )


def add_record(parser: Any) -> None:
    """One record, and the folder in which it is sought."""
    parser.add_argument(
        "run",
        help="a record's id, the beginning of one (also with its folder), or the path of its file",
    )
    add_runs(parser)


def add_data(parser: Any) -> None:
    """The folder of data sets."""
    parser.add_argument("--data", type=Path, help="folder of data sets, or set PRUNEBENCH_DATA")


def add_labels(parser: Any) -> None:
    """What tables and plots are to call strategies."""
    parser.add_argument(
        "--label",
        nargs="+",
        default=[],
        metavar="STRATEGY=LABEL",
        help="what tables and plots call a strategy, such as 'MyScore(alpha=2)=Ours'",
    )


def add_output(parser: Any, folder: str) -> None:
    """The folder that a command writes tables and plots to."""
    parser.add_argument(
        "-o",
        "--output",
        type=folder_path,
        default=Path(folder),
        metavar="FOLDER",
        help=f"where tables and plots go (default: {folder})",
    )


def add_trust(parser: Any) -> None:
    """Whether to execute what somebody else's record names."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="execute Python from outside prunebench that a record names, if it is unchanged",
    )


def add_layout(parser: Any) -> None:
    """Which differences make panels, colours and kinds of lines in plots."""
    for place, what in (("panel", "panels"), ("colour", "colours"), ("line", "kinds of lines")):
        parser.add_argument(
            f"--{place}",
            nargs="+",
            metavar="FIELD",
            help=f"{what} stand for these: dataset, model, initialisation, pretraining, strategy, "
            "training or conditions; all else stays where it is",
        )


def chosen_layout(options: argparse.Namespace, usual: Layout) -> Layout:
    """The layout that the options of :func:`add_layout` ask for."""
    return usual.with_moved(panel=options.panel, colour=options.colour, line=options.line)


def add_measuring(parser: Any) -> None:
    """How finished networks are timed."""
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: cpu)")
    parser.add_argument(
        "--runtimes",
        nargs="+",
        metavar="RUNTIME",
        help="such as Eager Compiled OnnxRuntime SparseCSR, which is the default",
    )
    parser.add_argument(
        "--batch-sizes",
        nargs="+",
        type=positive,
        default=[1, 256],
        metavar="N",
        help="examples in a forward pass; each is measured (default: 1 256)",
    )
    parser.add_argument(
        "--repeats",
        type=sample_count,
        default=30,
        metavar="N",
        help="least number of samples, 3 or more; there are more until the interval is within 2 %% "
        "(default: 30)",
    )


def chosen_device(options: argparse.Namespace) -> str:
    """The device on which networks are to be timed, which has to be there."""
    from torch import cuda

    if options.device == "cuda" and not cuda.is_available():
        raise UsageError("--device: 'cuda' is not allowed: there is no CUDA GPU here")
    return str(options.device)


def chosen_protocol(options: argparse.Namespace) -> Protocol:
    """How often networks are to be timed."""
    from ...metrics import Protocol

    return Protocol(repeats=options.repeats)


def positive(text: str) -> int:
    """A number from 1 on."""
    return _whole(text, 1)


def sample_count(text: str) -> int:
    """A number of samples of which a median can be believed."""
    if (count := positive(text)) < 3:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: at least 3 samples are needed")
    return count


def positive_or_zero(text: str) -> int:
    """A number from 0 on."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or len(text) > _MOST_DIGITS or int(text) < least:
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is not allowed: give a whole number of at least {least}, and of at "
            f"most {_MOST_DIGITS} digits"
        )
    return int(text)


def memory(text: str) -> int:
    """An amount of memory in bytes, given with its unit."""
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        size = int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError:
        size = 0
    if size < _LEAST_MEMORY:
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is not allowed: give at least 1MB, such as 4GB or 512MiB"
        )
    return size


def shard(text: str) -> Shard:
    """A part of the cells, such as 3/16."""
    from ..sweeps.shards import Shard

    return Shard.parse(text)


def thread_count(text: str) -> int:
    """A number of CPU threads."""
    from ...results.record import MOST_THREADS

    if (count := positive(text)) > MOST_THREADS:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: at most {MOST_THREADS} threads")
    return count


def number_from_zero(text: str) -> float:
    """A number that is neither negative nor infinite."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{shown(text)} is not allowed: give a number from 0 on")
    return value


def fraction(text: str) -> float:
    """A fraction from 0 on and below 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: give a fraction below 1")
    return value


def place(text: str) -> Place:
    """Where records are: a folder, or a URL of one elsewhere."""
    from ...results import place_of

    return place_of(text)


def file_path(text: str) -> Path:
    """A file to write, which is no folder: better said before hours of work than after."""
    if Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder: give the name of a file")
    return Path(text)


def figure_path(text: str) -> Path:
    """A file to draw a figure into, whose ending says how."""
    if (path := file_path(text)).suffix.lower() not in (".png", ".pdf", ".svg"):
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is not allowed: give a name that ends with .png, .pdf or .svg"
        )
    return path


def folder_or_url(text: str) -> Place:
    """Where records are to be written: a folder, which need not be there, or a URL."""
    found = place(text)
    return folder_path(text) if isinstance(found, Path) else found


def folder_path(text: str) -> Path:
    """A folder to write files into, which need not be there."""
    if Path(text).exists() and not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a file: give the name of a folder")
    return Path(text)
