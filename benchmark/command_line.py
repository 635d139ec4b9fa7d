"""The command line: ``prunebench run | list | leaderboard | measure | export | …``.

Exit status: 0 all is well, 1 an experiment failed or a method violates a rule, 2 the user's
mistake, 130 interrupted. Torch is imported by those commands only that compute.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ruamel.yaml.error import YAMLError

from .. import __version__
from ..errors import (
    UsageError,
    message_of,
    option_suggestion,
    printable,
    printable_lines,
    shown,
)
from ..results import Outcome, Record, Store
from ..results.record import MOST_THREADS

if TYPE_CHECKING:
    from pandas import DataFrame

    from ..results.layout import Layout
    from .experiment import Experiment

INTERRUPTED = 130
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in ``arguments`` (by default the process's own) and return its status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        options = _parser(arguments).parse_args(arguments)
        status: int = options.command(options)
        return status
    except UsageError as error:
        print(f"prunebench: {printable(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("prunebench: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        sys.stderr.close()
        return 1
    except OSError as error:  # a full disk, a folder that may not be written
        print(f"prunebench: {error}; nothing that was finished is lost", file=sys.stderr)
        return 1


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(prog="prunebench", description="Compare neural-network pruning methods.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command", parser_class=_Parser)

    run = commands.add_parser(
        "run",
        help="run experiments and make the leaderboard",
        usage="prunebench run [CONFIG.yaml] [--SETTING VALUE ...] [option ...]",
    )
    run.set_defaults(command=_run)
    if "run" in arguments:  # the only command whose options take time to look up
        _add_run_options(run)

    listing = commands.add_parser("list", help="list strategies, models, data sets, metrics, …")
    listing.add_argument("kind", nargs="?", help="such as strategies; all kinds if left out")
    listing.add_argument("name", nargs="?", help="describe this one in detail")
    listing.add_argument("--markdown", action="store_true", help="the page of all methods")
    listing.set_defaults(command=_list)

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
    table.set_defaults(command=_leaderboard)

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
    publish.set_defaults(command=_publish)

    show = commands.add_parser("show", help="show one record")
    show.add_argument("run", help="a record's id, the beginning of one, or the path of its file")
    show.add_argument("--runs", type=Path, default=Path("runs"), help="records folder")
    show.add_argument("--json", action="store_true", help="print the record as it is stored")
    show.set_defaults(command=_show)

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
    study.set_defaults(command=_study)

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
    alone.set_defaults(command=_sensitivity)

    heat = commands.add_parser("heatmap", help="draw which weights of a run are kept")
    heat.add_argument("run", help="a record's id, the beginning of one, or the path of its file")
    heat.add_argument("--runs", type=Path, default=Path("runs"), help="records folder")
    _add_output(heat, "heatmap")
    heat.set_defaults(command=_heatmap)

    curves = commands.add_parser("curves", help="draw how runs were trained, epoch by epoch")
    curves.add_argument(
        "run", nargs="+", help="records' ids, the beginnings of them, or the paths of their files"
    )
    curves.add_argument("--runs", type=Path, default=Path("runs"), help="records folder")
    _add_output(curves, "curves")
    curves.set_defaults(command=_curves)

    spread = commands.add_parser(
        "distributions", help="draw how a run's weights are distributed, before and after"
    )
    spread.add_argument("run", help="a record's id, the beginning of one, or the path of its file")
    spread.add_argument("--runs", type=Path, default=Path("runs"), help="records folder")
    _add_output(spread, "distributions")
    spread.set_defaults(command=_distributions)

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
    measure.set_defaults(command=_measure)

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
    pays.set_defaults(command=_break_even)

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
    export.set_defaults(command=_export)

    check = commands.add_parser("check", help="check that a strategy keeps the rules")
    check.add_argument("strategy", help="such as GlobalMagnitude or mymethod.py:MyScore(alpha=2)")
    check.add_argument(
        "--model",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="try it on these models instead of the small networks made for it",
    )
    check.set_defaults(command=_check)
    return parser


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


def _layout(options: argparse.Namespace, usual: Layout) -> Layout:
    """The layout that was asked for."""
    return usual.with_moved(panel=options.panel, colour=options.colour, line=options.line)


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
    from .experiment import Experiment, Recipe

    parser.add_argument("config", nargs="?", type=Path, help="YAML file with settings")
    settings = parser.add_argument_group(
        "settings", "they replace those of the file; several values make a grid"
    )
    for name, field in Experiment.model_fields.items():
        recipe = field.annotation
        if isinstance(recipe, type) and issubclass(recipe, Recipe):
            for part, part_field in recipe.model_fields.items():
                settings.add_argument(
                    _flag(f"{name}.{part}"),
                    dest=f"{name}.{part}",
                    metavar="VALUE",
                    help=f"{part_field.description} (default: {part_field.default})",
                )
        else:
            optional = not field.is_required() and field.default not in (None, ())
            default = f" (default: {field.default})" if optional else ""
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


def _run(options: argparse.Namespace) -> int:
    from .grid import grid, read_settings

    if options.timeout is not None and options.workers == 1:
        raise UsageError("--timeout needs --workers of at least 2: a process cannot stop itself")
    settings = read_settings(options.config) if options.config else {}
    experiments = grid(**_overlaid(settings, options))
    labels = _labels(options, experiments)
    from ..results.summary import title
    from . import distributed
    from .sweep import check, data_folder, sweep, unfinished

    distributed.start()
    if distributed.processes() > 1 and options.workers > 1:
        raise UsageError(
            f"--workers: {options.workers} is not allowed: torchrun has started "
            f"{distributed.processes()} processes that share each cell"
        )
    store = Store(options.runs)
    if options.dry_run:
        waiting = experiments if options.force else unfinished(experiments, store)
        broken = check(waiting, data_folder(options.data))
        _print_grid(experiments, {experiment.id for experiment in waiting})
        for id_, (experiment, error) in broken.items():
            reason = f"{type(error).__name__}: {message_of(error)}"
            _say(f"will fail: {title(experiment.model_dump(mode='json'))} ({id_}): {reason}")
        return 1 if broken else 0
    try:
        records = sweep(
            experiments,
            runs=options.runs,
            data=options.data,
            workers=options.workers,
            timeout=options.timeout,
            force=options.force,
            weights=not options.no_weights,
            checkpoint_minutes=options.checkpoint_minutes,
        )
    except KeyboardInterrupt:
        left = len(unfinished(experiments, store))
        _say(
            f"prunebench: interrupted; {len(experiments) - left} of {len(experiments)} cells are "
            f"finished and kept in {options.runs}: give the same command again to go on"
        )
        return INTERRUPTED
    return _report(records, options.runs, labels) if distributed.number() == 0 else 0


def _labels(options: argparse.Namespace, experiments: Sequence[Experiment]) -> dict[str, str]:
    """What strategies are to be called, as the file and the command line say, which has the say."""
    from ..results.naming import labelled, labels_of, named
    from .grid import read_labels

    of_file = read_labels(options.config) if options.config else {}
    versions = {(named(str(each.strategy)), each.strategy.source or "") for each in experiments}
    if options.strategy:  # in place of those of the file, whose labels may be of no use then
        names = {name for name, _ in versions}
        of_file = {text: label for text, label in of_file.items() if named(text) in names}
    labels = {**of_file, **labels_of(options.label)}
    labelled(versions, labels)  # what is wrong with them is to be said before anything is run
    return labels


def _overlaid(settings: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """The settings of the file, with those from the command line in their place."""
    from ..results.record import TARGETS
    from .experiment import Experiment

    settings = dict(settings)
    for option, given in vars(options).items():
        name, _, part = option.partition(".")
        if given is None or name not in Experiment.model_fields:
            continue
        if part:
            recipe = settings.setdefault(name, {})
            if not isinstance(recipe, dict):
                raise UsageError(f"{_flag(option)} cannot change a list of recipes in the file")
            settings[name] = {**recipe, part: _value(given)}
        else:
            values = [_value(text) for text in given]
            settings[name] = values if len(values) > 1 or name == "metrics" else values[0]
    # A target on the command line takes the place of another kind of target in the file.
    if any(getattr(options, target) for target in TARGETS):
        for target in TARGETS:
            if not getattr(options, target):
                settings.pop(target, None)
    return settings


def _value(text: str) -> Any:
    """A number, truth value or text as YAML reads it."""
    from .grid import parse_yaml

    try:
        value = parse_yaml(text)
    except YAMLError:
        return text
    return value if isinstance(value, int | float | bool) else text


def _print_grid(experiments: Sequence[Experiment], waiting: set[str]) -> None:
    from ..results.summary import title

    for experiment in experiments:
        state = "to run" if experiment.id in waiting else "finished"
        print(f"{experiment.id}  {state:8}  {title(experiment.model_dump(mode='json'))}")
    done = sum(experiment.id not in waiting for experiment in experiments)
    print(f"{len(experiments)} cells, {done} finished, {len(experiments) - done} to run")


def _report(records: Sequence[Record], runs: Path, labels: Mapping[str, str]) -> int:
    """Print what was run, write and draw all that is in its folder, and say what is amiss."""
    from ..results import as_text, leaderboard, write_csv
    from ..results.changes import staleness
    from ..results.naming import with_labels
    from ..results.report import report
    from ..results.summary import title

    store = Store(runs)
    shown, frame = with_labels(leaderboard(records), labels), leaderboard(_readable(store))
    try:
        frame = with_labels(frame, labels)
    except UsageError as error:
        _say(f"prunebench: no labels in {runs}, where there are more strategies: {error}")
    write_csv(frame, runs / "leaderboard.csv")
    failures = [record for record in records if record.error is not None]
    if len(failures) < len(records):
        print(as_text(shown))
        print(f"\nleaderboard: {runs / 'leaderboard.csv'}")
        try:
            print(f"plots:       {', '.join(map(str, _plots(frame, runs)))}")
        except UsageError as error:
            _say(f"prunebench: no plots: {error}")
        report(frame, runs / "report.html")
        print(f"report:      {runs / 'report.html'}")
        print(f"records:     {runs}/??/*.json")
    for sentence in staleness(records):
        _say(f"prunebench: stale results, {sentence}; --force runs them again")
    for record in failures:
        failure = record.error
        assert failure is not None  # these are the records that have one
        kept = "; its finished record stays" if store.is_finished(record.id) else ""
        reason = f"{failure.type}: {failure.message}{kept}"
        _say(f"failed: {title(record.experiment)} ({record.id}): {reason}")
    return 1 if failures else 0


def _readable(store: Store) -> Iterator[Outcome]:
    """All of a folder that can be read; what cannot, is named."""
    for record_id in store.ids():
        try:
            outcome = store.outcome(record_id)
        except UsageError as error:
            _say(f"prunebench: left out of the leaderboard: {error}")
            continue
        if outcome is not None:
            yield outcome


def _plots(frame: DataFrame, folder: Path, layout: Layout | None = None) -> list[Path]:
    """Draw the two plots of a leaderboard into a folder and return their paths."""
    from ..results.plots import LAYOUT, accuracy_vs_compression, accuracy_vs_speedup

    paths = [folder / "accuracy-vs-compression.png", folder / "accuracy-vs-speedup.png"]
    accuracy_vs_compression(frame, paths[0], layout or LAYOUT)
    accuracy_vs_speedup(frame, paths[1], layout or LAYOUT)
    return paths


def _measure(options: argparse.Namespace) -> int:
    from ..metrics import Protocol
    from ..results import inference_as_text, inference_table, write_csv
    from ..results.break_even import plot_inference
    from .measuring import DEFAULT_RUNTIMES, measure

    store = Store.holding(options.runs, options.runs)
    records = [store.find(options.runs)] if options.runs.suffix == ".json" else store.records()
    measured = measure(
        (r for r in records if options.seed is None or r.experiment.get("seed") in options.seed),
        runs=store.folder,
        data=options.data,
        runtimes=options.runtimes or DEFAULT_RUNTIMES,
        batch_sizes=options.batch_sizes,
        protocol=Protocol(repeats=max(options.repeats, 3)),
        passes=options.passes,
        device=_device(options),
        trust=options.trust,
    )
    frame = inference_table(measured)
    write_csv(frame, store.folder / "inference.csv")
    plot_inference(frame, store.folder / "inference.png")
    print(inference_as_text(frame))
    print(f"\ninference:   {store.folder / 'inference.csv'}")
    print(f"plot:        {store.folder / 'inference.png'}")
    return 0


def _device(options: argparse.Namespace) -> str:
    """The device on which networks are to be timed, which has to be there."""
    from torch import cuda

    if options.device == "cuda" and not cuda.is_available():
        raise UsageError("--device: 'cuda' is not allowed: there is no CUDA GPU here")
    return str(options.device)


def _study(options: argparse.Namespace) -> int:
    from ..results import study, study_plots, write_csv
    from ..results.record_file import read_records

    layout = _layout(options, study_plots.LAYOUT)
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


def _sensitivity(options: argparse.Namespace) -> int:
    from ..results.sensitivity import plot_sensitivity
    from .grid import grid, read_settings
    from .sensitivity import sensitivity

    experiments = grid(**read_settings(options.config))
    frame = sensitivity(experiments, options.sparsity, runs=options.runs, data=options.data)
    return _table_and_plot(frame, plot_sensitivity, options.output / "sensitivity")


def _heatmap(options: argparse.Namespace) -> int:
    from ..results.heatmap import plot_heatmaps
    from ..results.summary import title
    from .heatmap import kept_in_blocks

    store = Store.holding(options.run, options.runs)
    record = store.find(options.run)
    plot = partial(plot_heatmaps, title=title(record.experiment))
    return _table_and_plot(kept_in_blocks(record, store), plot, options.output / "heatmap")


def _curves(options: argparse.Namespace) -> int:
    from ..results.curves import curves, plot_curves

    store = Store(options.runs)
    frame = curves(store.find(run) for run in options.run)
    return _table_and_plot(frame, plot_curves, options.output / "curves")


def _distributions(options: argparse.Namespace) -> int:
    from ..results.distributions import distributions, plot_distributions
    from ..results.summary import title

    record = Store(options.runs).find(options.run)
    plot = partial(plot_distributions, title=title(record.experiment))
    return _table_and_plot(distributions(record), plot, options.output / "distributions")


def _table_and_plot(frame: DataFrame, plot: Callable[..., None], stem: Path) -> int:
    """Write a table and the plot of it, which differ in the ending of their names."""
    from ..results import write_csv

    table, picture = stem.with_suffix(".csv"), stem.with_suffix(".png")
    write_csv(frame, table)
    plot(frame, path=picture)
    print(f"table: {table}")
    print(f"plot:  {picture}")
    return 0


def _break_even(options: argparse.Namespace) -> int:
    from ..metrics import Protocol
    from ..results import write_csv
    from ..results.break_even import break_even_sentences, plot_break_even
    from ..results.naming import shown
    from .break_even import break_even, linear, network
    from .measuring import DEFAULT_RUNTIMES

    device = _device(options)
    if options.linear:
        title = f"Linear({options.linear[0]}, {options.linear[1]})"
        model, shape = linear(*options.linear)
        # Of a single layer the question is what sparse rows cost, and not whether to use them.
        default = [*DEFAULT_RUNTIMES[:-1], "SparseCSR(everywhere=True)"]
    else:
        title, default = shown(options.model), list(DEFAULT_RUNTIMES)
        model, shape = network(options.model, tuple(options.input_shape))
    frame = break_even(
        title,
        model,
        shape,
        kinds=options.kinds or (["weights"] if options.linear else ["weights", "channels"]),
        sparsities=sorted(options.sparsity),
        runtimes=options.runtimes or default,
        batch_sizes=options.batch_sizes,
        cpu_threads=options.threads,
        device=device,
        protocol=Protocol(repeats=max(options.repeats, 3)),
    )
    write_csv(frame, options.output / "break-even.csv")
    plot_break_even(frame, options.output / "break-even.png")
    print("\n".join(break_even_sentences(frame)))
    print(f"\ntable: {options.output / 'break-even.csv'}")
    print(f"plot:  {options.output / 'break-even.png'}")
    return 0


def _export(options: argparse.Namespace) -> int:
    from .export import export

    store = Store.holding(options.run, options.runs)
    record = store.find(options.run)
    suffix = {"onnx": "onnx", "pt": "pt2"}.get(options.format, "safetensors")
    path = options.output or Path(f"{record.id}.{suffix}")
    size = export(
        record, options.format, path, runs=store.folder, data=options.data, trust=options.trust
    )
    print(f"{path}: {size:,} bytes")
    return 0


def _list(options: argparse.Namespace) -> int:
    from .listing import detail, methods_as_markdown, overview

    if options.markdown:
        print(methods_as_markdown(), end="")
        return 0
    print(detail(options.kind, options.name) if options.name else overview(options.kind))
    return 0


def _leaderboard(options: argparse.Namespace) -> int:
    from ..results import as_text, leaderboard, write_csv
    from ..results.naming import labels_of, with_labels
    from ..results.record_file import read_records

    layout = None
    if options.panel or options.colour or options.line:
        from ..results.plots import LAYOUT

        layout = _layout(options, LAYOUT)
        if not options.plots:
            raise UsageError("--panel, --colour and --line arrange plots: give --plots FOLDER too")
    records = list(read_records(options.runs)) if options.runs.is_file() else options.runs
    frame = leaderboard(records)
    if frame.empty:
        raise UsageError(f"there are no records in {options.runs}")
    frame = with_labels(frame, labels_of(options.label))
    print(as_text(frame))
    if options.output:
        write_csv(frame, options.output)
        print(f"\n{options.output}")
    if options.plots:
        print("\n".join(map(str, _plots(frame, options.plots, layout))))
    if options.seeds:
        from ..results.seeds import single_seeds

        write_csv(single_seeds(read_records(options.runs)), options.seeds)
        print(options.seeds)
    if options.report:
        from ..results.report import report

        report(frame, options.report)
        print(options.report)
    return 0


def _publish(options: argparse.Namespace) -> int:
    from .publishing import publications

    stale = 0
    for each in publications(options.config, options.published):
        reasons = each.stale()
        state = "stale" if reasons else "fresh" if each.config else "other"
        print(f"{state:7}{each.folder}", *reasons, sep="\n       - ")
        if each.config is None:
            print("       made by another command, which stands on the page beside it")
        elif reasons and not options.check:
            runs = options.runs / each.folder.name
            records = each.renew(runs, data=options.data, workers=options.workers)
            failures = sum(not record.finished for record in records)
            print(f"       made anew from {len(records)} records, {failures} of them failed")
            reasons = each.stale()
        stale += bool(reasons)
    return 1 if stale else 0


def _show(options: argparse.Namespace) -> int:
    record = Store(options.runs).find(options.run)
    if options.json:
        # JSON escapes what a terminal obeys, but for some.
        text = record.to_json().decode()
        print("\n".join(_escaped(line) for line in text.split("\n")), end="")
    else:
        from ..results.summary import summary

        print(summary(record))
    return 0


def _escaped(line: str) -> str:
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


def _check(options: argparse.Namespace) -> int:
    from ..strategies import STRATEGIES
    from .conformance import CHECKS
    from .conformance_networks import registered_network

    strategy = STRATEGIES.component(options.strategy).create()
    networks = [registered_network(name) for name in options.model]
    broken = 0
    for check in CHECKS:
        violations = check.violations(strategy, networks)
        print(f"{'broken' if violations else 'kept':8}{check.rule}")
        for violation in violations:
            print(f"{'':10}{violation}")
        broken += bool(violations)
    print(f"{options.strategy} keeps {len(CHECKS) - broken} of {len(CHECKS)} rules")
    return 1 if broken else 0


def _say(sentence: str) -> None:
    """To the terminal beside the output proper, which may be read by another program."""
    print(printable_lines(sentence), file=sys.stderr)
