"""The options of all commands, and what their texts may be."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, get_origin

from ... import __version__
from ...errors import UsageError, option_suggestion, shown
from ...results.record import MOST_THREADS

_MOST_DIGITS = 15


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one sentence, like all others."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but an option that a command does not know is a mistake here."""
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            flags = [flag for action in self._actions for flag in action.option_strings]
            hint = option_suggestion(unknown[0], flags) if unknown[0].startswith("-") else ""
            self.error(f"unrecognized arguments: {' '.join(map(shown, unknown))}{hint}")
        return namespace, unknown

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see '{self.prog} --help'")


def parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of all commands; what is parsed has the name of its command as ``command``.

    Args:
        arguments: what is to be parsed; ``run`` needs time to look its options up.
    """
    whole = _Parser(prog="prunebench", description="Compare neural-network pruning methods.")
    whole.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = whole.add_subparsers(
        dest="command", required=True, metavar="command", parser_class=_Parser
    )

    run = commands.add_parser(
        "run",
        help="run experiments and make the leaderboard",
        usage="prunebench run [CONFIG.yaml] [--SETTING VALUE ...] [option ...]",
    )
    if "run" in arguments:  # the only command whose options take time to look up
        _add_run_options(run)

    listing = commands.add_parser("list", help="list strategies, models, data sets, metrics, …")
    listing.add_argument("kind", nargs="?", help="such as strategies; all kinds if left out")
    listing.add_argument("name", nargs="?", help="describe this one in detail")
    listing.add_argument("--markdown", action="store_true", help="the page of all methods")
    listing.add_argument("--model", help="list the parameters of this network: what is prunable")
    listing.add_argument("--dataset", help="the data set of that network")
    listing.add_argument("--data", type=Path, help="folder of data sets, or set PRUNEBENCH_DATA")
    for name, purpose in (("only", "to prune"), ("except", "to leave dense")):
        listing.add_argument(
            f"--prune-{name}",
            nargs="+",
            default=[],
            metavar="PATTERN",
            help=f"names of weights or layers {purpose}, as for run",
        )

    table = commands.add_parser("leaderboard", help="make a leaderboard from records")
    table.add_argument(
        "runs",
        type=Path,
        nargs="?",
        default=Path("runs"),
        help="records folder, or a published file of records",
    )
    table.add_argument("-o", "--output", type=_file, help="write the leaderboard to this CSV file")
    table.add_argument(
        "--plots", type=_folder, metavar="FOLDER", help="draw the plots into a folder"
    )
    table.add_argument("--seeds", type=_file, metavar="FILE", help="write single runs as CSV")
    table.add_argument("--report", type=_file, metavar="FILE", help="write it all as an HTML page")
    _add_labels(table)
    _add_layout(table)

    publish = commands.add_parser(
        "publish", help="make anew those published comparisons that are stale"
    )
    publish.add_argument(
        "config", type=Path, nargs="*", help="YAML files in experiments; all published ones if none"
    )
    publish.add_argument(
        "--published",
        type=Path,
        default=Path("results/published"),
        metavar="FOLDER",
        help="where comparisons are published (default: results/published)",
    )
    publish.add_argument("--runs", type=Path, default=Path("runs"), help="records folders' folder")
    publish.add_argument("--data", type=Path, help="folder of data sets, or set PRUNEBENCH_DATA")
    publish.add_argument("--workers", type=_positive, default=1, help="processes that run cells")
    publish.add_argument(
        "--check", action="store_true", help="only say what is stale and why; status 1 if any is"
    )

    show = commands.add_parser("show", help="show one record")
    show.add_argument("run", help="a record's id, the beginning of one, or the path of its file")
    show.add_argument("--runs", type=Path, default=Path("runs"), help="records folder")
    show.add_argument("--json", action="store_true", help="print the record as it is stored")

    study = commands.add_parser(
        "study", help="compare schemes, medians and classes of weights in finished runs"
    )
    study.add_argument(
        "runs",
        type=Path,
        nargs="*",
        default=[Path("runs")],
        help="records folders, or published files of records",
    )
    study.add_argument(
        "--at",
        nargs="+",
        type=_fraction,
        metavar="S",
        help="sparsities at which classes of weights stand side by side (default: 0.5 0.8)",
    )
    _add_layout(study)
    _add_output(study, "study")

    alone = commands.add_parser(
        "sensitivity", help="prune each class of weights alone and measure what that changes"
    )
    alone.add_argument("config", type=Path, help="YAML file with settings, as for run")
    alone.add_argument("--runs", type=Path, default=Path("runs"), help="records folder")
    alone.add_argument("--data", type=Path, help="folder of data sets, or set PRUNEBENCH_DATA")
    alone.add_argument(
        "--sparsity",
        nargs="+",
        type=_fraction,
        default=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
        metavar="S",
        help="fractions of each class of weights (default: 0.1 to 0.9)",
    )
    _add_output(alone, "sensitivity")

    heat = commands.add_parser("heatmap", help="draw which weights of a run are kept")
    heat.add_argument("run", help="a record's id, the beginning of one, or the path of its file")
    heat.add_argument("--runs", type=Path, default=Path("runs"), help="records folder")
    _add_output(heat, "heatmap")

    curves = commands.add_parser("curves", help="draw how runs were trained, epoch by epoch")
    curves.add_argument(
        "run", nargs="+", help="records' ids, the beginnings of them, or the paths of their files"
    )
    curves.add_argument("--runs", type=Path, default=Path("runs"), help="records folder")
    _add_output(curves, "curves")

    spread = commands.add_parser(
        "distributions", help="draw how a run's weights are distributed, before and after"
    )
    spread.add_argument("run", help="a record's id, the beginning of one, or the path of its file")
    spread.add_argument("--runs", type=Path, default=Path("runs"), help="records folder")
    _add_output(spread, "distributions")

    measure = commands.add_parser("measure", help="time finished runs in several runtimes")
    measure.add_argument(
        "runs",
        type=Path,
        nargs="?",
        default=Path("runs"),
        help="records folder, or the path of one record's file",
    )
    measure.add_argument("--data", type=Path, help="folder of data sets, or set PRUNEBENCH_DATA")
    measure.add_argument(
        "--seed", nargs="+", type=int, metavar="N", help="measure only the runs of these seeds"
    )
    _add_trust(measure)
    measure.add_argument(
        "--passes",
        type=_positive_or_zero,
        default=0,
        metavar="N",
        help="time N whole passes over the test split as well, in eager PyTorch; 0 times none "
        "(default: 0)",
    )
    _add_measuring_options(measure)

    pays = commands.add_parser(
        "break-even", help="measure from which sparsity on pruning makes a network faster"
    )
    what = pays.add_mutually_exclusive_group(required=True)
    what.add_argument("--linear", nargs=2, type=_positive, metavar=("IN", "OUT"), help="a layer")
    what.add_argument("--model", help="such as LeNet5 or torchvision/resnet50")
    pays.add_argument(
        "--input-shape",
        nargs="+",
        type=_positive,
        default=[3, 224, 224],
        metavar="N",
        help="of one example, for --model (default: 3 224 224)",
    )
    pays.add_argument(
        "--kinds",
        nargs="+",
        choices=("weights", "2:4", "channels"),
        help="what is pruned (default: weights of a layer, and both of a model)",
    )
    pays.add_argument(
        "--sparsity",
        nargs="+",
        type=_fraction,
        default=[0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98],
        metavar="S",
        help="fractions of the weights or channels of each layer",
    )
    pays.add_argument("--threads", type=_threads, default=1, help="CPU threads (default: 1)")
    _add_output(pays, "break-even")
    _add_measuring_options(pays)

    export = commands.add_parser("export", help="write a run's pruned network to a file")
    export.add_argument("run", help="a record's id, the beginning of one, or the path of its file")
    export.add_argument(
        "--format",
        default="safetensors",
        help="safetensors, sparse (bitmasks in place of zeros), onnx or pt (default: safetensors)",
    )
    export.add_argument("-o", "--output", type=_file, help="the file (default: named by the run)")
    export.add_argument("--runs", type=Path, default=Path("runs"), help="records folder")
    export.add_argument("--data", type=Path, help="folder of data sets, or set PRUNEBENCH_DATA")
    _add_trust(export)

    check = commands.add_parser("check", help="check that a strategy keeps the rules")
    check.add_argument("strategy", help="such as GlobalMagnitude or mymethod.py:MyScore(alpha=2)")
    check.add_argument(
        "--model",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="try it on these models instead of the small networks made for it",
    )
    return whole


def _add_labels(parser: Any) -> None:
    """What tables and plots are to call strategies."""
    parser.add_argument(
        "--label",
        nargs="+",
        default=[],
        metavar="STRATEGY=LABEL",
        help="what tables and plots call a strategy, such as 'MyScore(alpha=2)=Ours'",
    )


def _add_output(parser: argparse.ArgumentParser, folder: str) -> None:
    """The folder that a command writes tables and plots to."""
    parser.add_argument(
        "-o",
        "--output",
        type=_folder,
        default=Path(folder),
        metavar="FOLDER",
        help=f"where tables and plots go (default: {folder})",
    )


def _add_trust(parser: argparse.ArgumentParser) -> None:
    """Whether to execute what somebody else's record names."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="execute Python from outside prunebench that a record names, if it is unchanged",
    )


def _add_layout(parser: argparse.ArgumentParser) -> None:
    """Which differences make panels, colours and kinds of lines in plots."""
    for place, what in (("panel", "panels"), ("colour", "colours"), ("line", "kinds of lines")):
        parser.add_argument(
            f"--{place}",
            nargs="+",
            metavar="FIELD",
            help=f"{what} stand for these: dataset, model, initialisation, pretraining, strategy, "
            "training or conditions; all else stays where it is",
        )


def _add_measuring_options(parser: argparse.ArgumentParser) -> None:
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
        type=_positive,
        default=[1, 256],
        metavar="N",
        help="examples in a forward pass; each is measured (default: 1 256)",
    )
    parser.add_argument(
        "--repeats",
        type=_positive,
        default=30,
        help="least number of samples; there are more until the interval is within 2 %% "
        "(default: 30)",
    )


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    """An option for each setting of an experiment, and those that say where and how to run."""
    from ..experiment import Experiment, Recipe
    from ..grid import LISTS

    parser.add_argument("config", nargs="?", type=Path, help="YAML file with settings")
    settings = parser.add_argument_group(
        "settings", "they replace those of the file; several values make a grid"
    )
    for name, field in Experiment.model_fields.items():
        recipe = field.annotation
        # Python 3.10 takes dict[str, str] for a type.
        if isinstance(recipe, type) and not get_origin(recipe) and issubclass(recipe, Recipe):
            for part, part_field in recipe.model_fields.items():
                settings.add_argument(
                    _flag(f"{name}.{part}"),
                    dest=f"{name}.{part}",
                    nargs="+",
                    metavar="VALUE",
                    help=f"{part_field.description} (default: {part_field.default})",
                )
        else:
            optional = not field.is_required() and field.default not in (None, ())
            usual = " ".join(field.default) if name in LISTS else field.default
            default = f" (default: {usual})" if optional else ""
            settings.add_argument(
                _flag(name),
                dest=name,
                nargs="+",
                metavar="VALUE",
                help=f"{field.description}{default}",
            )
    running = parser.add_argument_group("running")
    running.add_argument("--runs", type=Path, default=Path("runs"), help="records folder")
    running.add_argument("--data", type=Path, help="folder of data sets, or set PRUNEBENCH_DATA")
    running.add_argument("--workers", type=_positive, default=1, help="processes that run cells")
    running.add_argument("--timeout", type=_positive, help="seconds after which a cell fails")
    running.add_argument(
        "--checkpoint-minutes",
        type=_positive_or_zero,
        default=10,
        metavar="N",
        help="minutes between two checkpoints, from which an interrupted training goes on; 0 makes "
        "none (default: 10)",
    )
    running.add_argument("--dry-run", action="store_true", help="show what would be run")
    running.add_argument("--force", action="store_true", help="run finished cells again")
    running.add_argument("--no-weights", action="store_true", help="save records without weights")
    _add_labels(running)


def _flag(setting: str) -> str:
    """The option of a setting, such as ``--start-epoch`` of ``start_epoch``."""
    return f"--{setting.replace('_', '-')}"


def _positive(text: str) -> int:
    if not text.isdecimal() or len(text) > _MOST_DIGITS or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is not allowed: at least 1 is needed, and at most {_MOST_DIGITS} digits"
        )
    return int(text)


def _threads(text: str) -> int:
    if (count := _positive(text)) > MOST_THREADS:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: at most {MOST_THREADS} threads")
    return count


def _positive_or_zero(text: str) -> int:
    return 0 if text == "0" else _positive(text)


def _file(text: str) -> Path:
    """A file to write, which is no folder: better said before hours of work than after."""
    if Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder: give the name of a file")
    return Path(text)


def _folder(text: str) -> Path:
    """A folder to write files into, which need not be there."""
    if Path(text).exists() and not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a file: give the name of a folder")
    return Path(text)


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: give a fraction below 1")
    return value
