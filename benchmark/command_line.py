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
from typing import TYPE_CHECKING, Any

from ruamel.yaml.error import YAMLError

from ..errors import (
    UsageError,
    message_of,
    printable,
    printable_lines,
)
from ..results import Outcome, Record, Store
from .commands.options import parser

if TYPE_CHECKING:
    from pandas import DataFrame

    from ..results.layout import Layout
    from .experiment import Experiment

INTERRUPTED = 130
_NULLS = ("null", "Null", "NULL", "~")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in ``arguments`` (by default the process's own) and return its status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        options = parser(arguments).parse_args(arguments)
        return _COMMANDS[options.command](options)
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


def _run(options: argparse.Namespace) -> int:
    from .grid import grid, read_settings

    if options.timeout is not None and options.workers == 1:
        raise UsageError("--timeout needs --workers of at least 2: a process cannot stop itself")
    settings = read_settings(options.config) if options.config else {}
    experiments = grid(**_overlaid(settings, options))
    labels = _labels(options, experiments)
    from ..results.summary import title
    from .cell import distributed
    from .sweeps.sweep import check, data_folder, sweep, unfinished

    distributed.start()
    if distributed.world_size() > 1 and options.workers > 1:
        raise UsageError(
            f"--workers: {options.workers} is not allowed: torchrun has started "
            f"{distributed.world_size()} processes that share each cell"
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
    return _report(records, options.runs, labels) if distributed.rank() == 0 else 0


def _labels(options: argparse.Namespace, experiments: Sequence[Experiment]) -> dict[str, str]:
    """What strategies are to be called, as the file and the command line say, which has the say."""
    from ..results.naming import labelled, labels_of, named, source_of
    from .grid import read_labels

    of_file = read_labels(options.config) if options.config else {}
    versions = {
        (named(str(each.strategy)), source_of({"sources": each.sources}, "strategy"))
        for each in experiments
    }
    if options.strategy:  # in place of those of the file, whose labels may be of no use then
        names = {name for name, _ in versions}
        of_file = {text: label for text, label in of_file.items() if named(text) in names}
    labels = {**of_file, **labels_of(options.label)}
    labelled(versions, labels)  # what is wrong with them is to be said before anything is run
    return labels


def _overlaid(settings: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """The settings of the file, with those from the command line in their place."""
    from ..results.targets import TARGET_NAMES
    from .experiment import Experiment
    from .grid import LISTS

    settings = dict(settings)
    for option, given in vars(options).items():
        name, _, part = option.partition(".")
        if given is None or name not in Experiment.model_fields:
            continue
        values = [_value(text) for text in given]
        if part:
            settings[name] = _with_part(settings.get(name, {}), part, values)
        else:
            settings[name] = values if len(values) > 1 or name in LISTS else values[0]
    # A target on the command line takes the place of another kind of target in the file.
    if any(getattr(options, target) for target in TARGET_NAMES):
        for target in TARGET_NAMES:
            if not getattr(options, target):
                settings.pop(target, None)
    return settings


def _with_part(recipes: Any, part: str, values: Sequence[Any]) -> Any:
    """A recipe, or each of a list of them, with each of some values of one of its settings."""
    if isinstance(recipes, list):
        return [{**each, part: value} for each in recipes for value in values]
    changed = [{**recipes, part: value} for value in values]
    return changed if len(values) > 1 else changed[0]


def _value(text: str) -> Any:
    """A number, truth value, null, list of such or text as YAML reads it."""
    from .grid import parse_yaml

    try:
        value = parse_yaml(text)
    except YAMLError:
        return text
    if value is None:  # what is empty or a comment is no null
        return None if text.strip() in _NULLS else text
    return value if isinstance(value, int | float | bool | list) else text


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
    """Draw the plots of a leaderboard into a folder, say which are left out, return their paths."""
    from ..results.plots import LAYOUT, draw_plots

    drawn = draw_plots(frame, folder, layout or LAYOUT)
    for sentence in drawn.left_out:
        _say(f"prunebench: {sentence}")
    return drawn.paths


def _layout(options: argparse.Namespace, usual: Layout) -> Layout:
    """The layout that was asked for."""
    return usual.with_moved(panel=options.panel, colour=options.colour, line=options.line)


def _measure(options: argparse.Namespace) -> int:
    from ..metrics import Protocol
    from ..results import inference_as_text, inference_table, write_csv
    from ..results.break_even import plot_inference
    from .studies.measuring import DEFAULT_RUNTIMES, measure

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
    print(inference_as_text(frame))
    print(f"\ninference:   {store.folder / 'inference.csv'}")
    try:
        plot_inference(frame, store.folder / "inference.png")
        print(f"plot:        {store.folder / 'inference.png'}")
    except UsageError as error:
        _say(f"prunebench: no plot: {error}")
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
    from .studies.sensitivity import sensitivity

    experiments = grid(**read_settings(options.config))
    frame = sensitivity(experiments, options.sparsity, runs=options.runs, data=options.data)
    return _table_and_plot(frame, plot_sensitivity, options.output / "sensitivity")


def _heatmap(options: argparse.Namespace) -> int:
    from ..results.heatmap import plot_heatmaps
    from ..results.summary import title
    from .studies.heatmap import kept_in_blocks

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
    from .studies.break_even import break_even, linear, network
    from .studies.measuring import DEFAULT_RUNTIMES

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
    from .studies.export import export

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
    if options.model or options.dataset:
        return _list_parameters(options)
    from .commands.listing import detail, methods_as_markdown, overview

    if options.markdown:
        print(methods_as_markdown(), end="")
        return 0
    print(detail(options.kind, options.name) if options.name else overview(options.kind))
    return 0


def _list_parameters(options: argparse.Namespace) -> int:
    if not (options.model and options.dataset):
        raise UsageError("give both --model and --dataset to list the parameters of a network")
    from .commands.parameters import parameters_as_text
    from .sweeps.sweep import data_folder

    only, spared = options.prune_only, options.prune_except
    data = data_folder(options.data)
    print(parameters_as_text(options.model, options.dataset, data, only, spared))
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
    from .studies.publishing import publications

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
    from .conformance.checks import CHECKS
    from .conformance.networks import registered_network

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


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "list": _list,
    "leaderboard": _leaderboard,
    "publish": _publish,
    "show": _show,
    "study": _study,
    "sensitivity": _sensitivity,
    "heatmap": _heatmap,
    "curves": _curves,
    "distributions": _distributions,
    "measure": _measure,
    "break-even": _break_even,
    "export": _export,
    "check": _check,
}
