"""``prunebench run``: the experiments of a file, of options or of both."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...errors import UsageError, message_of, tell
from ..tracking.trackers import NAMES as TRACKERS
from ..tracking.trackers import tracker
from .options import (
    add_config,
    add_data,
    add_labels,
    add_runs,
    memory,
    positive,
    positive_or_zero,
    shard,
)
from .output import draw_quality_plots, tell_failures
from .ray_options import add_ray, chosen_ray
from .settings import add_settings, chosen_labels, overlaid

if TYPE_CHECKING:
    from ...results import Place, Record
    from ..experiment import Experiment

INTERRUPTED = 130
"""The exit status after Ctrl-C."""

HELP = "run experiments and make the leaderboard"


def add_options(parser: argparse.ArgumentParser) -> None:
    """An option for each setting of an experiment, and those that say where and how to run."""
    parser.usage = "prunebench run [CONFIG] [--SETTING VALUE ...] [option ...]"
    add_config(parser, nargs="?")
    add_settings(parser)
    running = parser.add_argument_group("running")
    add_runs(running)
    add_data(running)
    running.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help="processes that run cells (default: 1, and with Ray as many as there are CPUs)",
    )
    running.add_argument("--timeout", type=positive, help="seconds after which a cell fails")
    running.add_argument(
        "--memory-limit",
        type=memory,
        metavar="SIZE",
        help="memory, such as 4GB or 512MiB, that a worker may hold: the cell with which it holds "
        "more fails",
    )
    running.add_argument(
        "--checkpoint-minutes",
        type=positive_or_zero,
        default=10,
        metavar="N",
        help="minutes between two checkpoints, from which an interrupted training goes on; 0 makes "
        "none (default: 10)",
    )
    running.add_argument(
        "--stack",
        type=positive,
        default=1,
        metavar="N",
        help="networks of one shape that train together in a process where that is at least 1.3 "
        "times as fast; results then agree up to rounding, and records say so (default: 1)",
    )
    running.add_argument(
        "--shard",
        type=shard,
        metavar="I/N",
        help="run only the I-th of N parts of the cells, such as 3/16; see prunebench merge",
    )
    running.add_argument("--dry-run", action="store_true", help="show what would be run")
    running.add_argument(
        "--estimate",
        action="store_true",
        help="as --dry-run, and say how long it would take, from some 20 seconds of trying",
    )
    running.add_argument("--force", action="store_true", help="run finished cells again")
    running.add_argument("--no-weights", action="store_true", help="save records without weights")
    running.add_argument(
        "--track",
        nargs="+",
        choices=TRACKERS,
        default=[],
        help="keep a run for each cell there, with its settings, curves and final numbers",
    )
    add_labels(running)
    add_ray(parser.add_argument_group("running on Ray"))


def execute(options: argparse.Namespace) -> int:
    """Run what is not finished yet and report on all of it; fail if a cell failed."""
    from ..catalogue.shipped import settings_file
    from ..grid import grid, read_settings
    from ..sweeps import fork_server

    options.dry_run |= options.estimate
    options.config = settings_file(options.config) if options.config else None
    executor = chosen_ray(options)
    wanted = options.workers or 1, options.timeout, options.memory_limit
    apart = executor is None and fork_server.needed(*wanted)
    settings = read_settings(options.config) if options.config else {}
    settings = overlaid(settings, options)
    if apart and not options.dry_run:
        fork_server.start([settings.get("device", "cpu")])  # while this process imports torch too
    experiments = grid(**settings)
    labels = chosen_labels(options, experiments)
    if options.shard is not None and not (experiments := options.shard.of(experiments)):
        tell(f"none of the cells is in shard {options.shard}")
        return 0
    from ...results import Store
    from ..cell import distributed
    from ..sweeps.executors import local
    from ..sweeps.sweep import sweep, unfinished

    distributed.start(on_gpu=any(each.device == "cuda" for each in experiments))
    if distributed.world_size() > 1 and (apart or executor is not None):
        option = f"--workers: {wanted[0]}" if wanted[0] > 1 else "a limit"
        option = option if executor is None else "--executor: ray"
        raise UsageError(
            f"{option} is not allowed: torchrun has started "
            f"{distributed.world_size()} processes that share each cell"
        )
    if options.dry_run:
        return _rehearse(experiments, options, elsewhere=bool(options.address))
    trackers = [tracker(name, Store(options.runs).folder) for name in dict.fromkeys(options.track)]
    try:
        records = sweep(
            experiments,
            runs=options.runs,
            data=options.data,
            force=options.force,
            weights=not options.no_weights,
            checkpoint_minutes=options.checkpoint_minutes,
            executor=executor or local(*wanted, options.stack),
            trackers=trackers,
        )
    except KeyboardInterrupt:
        left = len(unfinished(experiments, Store(options.runs)))
        tell(
            f"interrupted; {len(experiments) - left} of {len(experiments)} cells are "
            f"finished and kept in {options.runs}: give the same command again to go on"
        )
        return INTERRUPTED
    return _report(records, options.runs, labels) if distributed.rank() == 0 else 0


def _rehearse(
    experiments: Sequence[Experiment], options: argparse.Namespace, *, elsewhere: bool
) -> int:
    """Show what would be run, and say of which cells it is known that they will fail."""
    from ...results import Store
    from ..sweeps.checking import check
    from ..sweeps.sweep import data_folder, unfinished

    waiting = experiments if options.force else unfinished(experiments, Store(options.runs))
    broken = check(waiting, data_folder(options.data), elsewhere=elsewhere)
    to_run = {experiment.id for experiment in waiting}
    for experiment in experiments:
        state = "to run" if experiment.id in to_run else "finished"
        print(f"{experiment.id}  {state:8}  {_title(experiment)}")
    done = sum(experiment.id not in to_run for experiment in experiments)
    cells = f"{len(experiments)} cell{'s' * (len(experiments) != 1)}"
    print(f"{cells}, {done} finished, {len(experiments) - done} to run")
    for id_, (experiment, error) in broken.items():
        reason = f"{type(error).__name__}: {message_of(error)}"
        tell(f"will fail: {_title(experiment)} ({id_}): {reason}")
    if options.estimate and (sound := [each for each in waiting if each.id not in broken]):
        tell_estimate(sound, options)
    return 1 if broken else 0


def _title(experiment: Experiment) -> str:
    """What tells a cell from the others, without writing all of its settings out."""
    from ...results.brief import title
    from ...results.targets import TARGET_NAMES

    told = {name: getattr(experiment, name) for name in ("seed", *TARGET_NAMES)}
    told |= {name: str(getattr(experiment, name)) for name in ("dataset", "model", "strategy")}
    return title(told)


def tell_estimate(experiments: Sequence[Experiment], options: argparse.Namespace) -> None:
    """Say how long experiments will take."""
    from ...results import Store
    from ...results.brief import duration
    from ..sweeps.estimate import estimate
    from ..sweeps.sweep import data_folder

    tell("trying out how fast this machine is, for some 20 seconds …")
    workers = options.workers or 1
    found = estimate(experiments, Store(options.runs).folder, data_folder(options.data), workers)
    total = sum(found.parts.values())
    shares = [f"{name} {100 * each / total:.0f} %" for name, each in found.parts.items() if each]
    print(f"dense networks to train: {found.dense_networks}")
    print(
        f"about {duration(found.seconds)} with --workers {workers} on this machine as busy as it "
        "is now"
    )
    print(f"({', '.join(shares)})")
    if found.untimed:
        tell(f"no time to try out the pruning of {', '.join(found.untimed)}")


def _report(records: Sequence[Record], runs: Place, labels: Mapping[str, str]) -> int:
    """Print what was run, write and draw all that is in its folder, and say what is amiss."""
    from ...results import Store, as_text, leaderboard, write_csv
    from ...results.changes import staleness
    from ...results.naming import labels_among, with_labels
    from ...results.points import point_of
    from ...results.publication import tables
    from ...results.report import report
    from ...results.tables import LEADERBOARD_FILE, SEEDS_FILE

    store = Store(runs)
    outcomes = list(store.outcomes(_left_out))
    # A shard may lack some of the strategies, and its folder have those of others.
    here, there = (
        labels_among({point_of(each.experiment).method for each in found}, labels)
        for found in (records, outcomes)
    )
    shown = with_labels(leaderboard(records), here)
    try:
        frames = tables(outcomes, there)
    except UsageError as error:
        tell(f"no labels in {runs}, where there are more strategies: {error}")
        frames = tables(outcomes, {})
    folder = store.folder
    for name, table in frames.items():
        write_csv(table, folder / name)
    frame = frames[LEADERBOARD_FILE]
    if any(record.finished for record in records):
        print(as_text(shown))
        print(f"\nleaderboard: {folder / LEADERBOARD_FILE}")
        print(f"single runs: {folder / SEEDS_FILE}")
        try:
            print(f"plots:       {', '.join(map(str, draw_quality_plots(frame, folder)))}")
        except UsageError as error:
            tell(f"no plots: {error}")
        report(frame, folder / "report.html", store.records(_pass_over))
        print(f"report:      {folder / 'report.html'}")
        print(f"records:     {runs}/??/*.json")
    for sentence in staleness(records):
        tell(f"stale results, {sentence}; --force runs them again")
    return tell_failures(records, store)


def _left_out(record_id: str, error: UsageError) -> None:
    tell(f"left out of the leaderboard: {error}")


def _pass_over(record_id: str, error: UsageError) -> None:
    """Say nothing of a record that cannot be read, which :func:`_left_out` has named."""
