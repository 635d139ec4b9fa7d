"""``prunebench suite``: a versioned comparison in which every method has the same chance."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from .options import add_data, add_runs, folder_path, place, positive
from .output import draw_quality_plots, say
from .run import INTERRUPTED, say_estimate

if TYPE_CHECKING:
    from ...results import Outcome, Place, Record
    from ..suites.cells import Cell, Choice, Refusal
    from ..suites.suite import Suite

HELP = "run and score standard suites: the same tasks and budgets for every method"

_DRAWS = 200


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be done with suites."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    actions.add_parser("list", help="list the suites that come along")
    _add_suite(actions.add_parser("show", help="show tasks, budgets and methods of a suite"))
    _add_run(actions.add_parser("run", help="run methods in a suite, and place them"))
    _add_score(actions.add_parser("score", help="score records of a suite"))


def _add_suite(parser: Any) -> None:
    parser.add_argument("suite", help="name of one of `prunebench suite list`, or a YAML file")


def _add_division(parser: Any) -> None:
    parser.add_argument(
        "--division",
        choices=("default", "tuned"),
        default="default",
        help="methods as their authors set them, or as the same number of trials on validation "
        "splits sets each of them (default: default)",
    )


def _add_run(parser: Any) -> None:
    _add_suite(parser)
    _add_division(parser)
    parser.add_argument(
        "--strategies",
        nargs="+",
        required=True,
        metavar="STRATEGY",
        help="methods to place, such as SNIP mymethod.py:Mine, or all of the suite's; the "
        "baselines are always run",
    )
    parser.add_argument(
        "--beside",
        nargs="+",
        type=place,
        default=[],
        metavar="FOLDER",
        help="records of others, such as a published folder, to stand in the same table; what is "
        "finished there is not run",
    )
    add_runs(parser)
    add_data(parser)
    parser.add_argument("--workers", type=positive, default=1, help="processes that run cells")
    parser.add_argument("--timeout", type=positive, help="seconds after which a cell fails")
    parser.add_argument("--dry-run", action="store_true", help="show what would be run")
    parser.add_argument(
        "--estimate",
        action="store_true",
        help="as --dry-run, and say how long it would take, from some 20 seconds of trying",
    )


def _add_score(parser: Any) -> None:
    parser.add_argument(
        "runs", type=place, nargs="+", help="folders of runs, published folders or files of records"
    )
    parser.add_argument("--suite", help="the suite; by default that of which there are records")
    _add_division(parser)
    parser.add_argument(
        "--strategies",
        nargs="+",
        metavar="STRATEGY",
        help="methods of the tuned division, as they were run; all of the suite's by default",
    )
    parser.add_argument(
        "-o", "--output", type=folder_path, metavar="FOLDER", help="where tables and plots go"
    )
    parser.add_argument(
        "--power",
        action="store_true",
        help=f"say how often {_DRAWS} simulated suites tell a method from itself, and from one "
        "that is a point better",
    )


def execute(options: argparse.Namespace) -> int:
    """List, show, run or score."""
    actions = {"list": _list, "show": _show, "run": _run, "score": _score}
    return actions[options.action](options)


def _list(options: argparse.Namespace) -> int:
    from ..catalogue.shipped import overview

    print(overview("suites"))
    return 0


def _show(options: argparse.Namespace) -> int:
    from ..suites.suite import released, suite
    from ..suites.text import suite_as_text

    found = suite(options.suite)
    print(suite_as_text(found, released().get(found.name)))
    return 0


def _run(options: argparse.Namespace) -> int:
    """Run what is not finished, and place the methods among all that is there."""
    from ...results import Store
    from ..suites.cells import Choice, cells_of
    from ..suites.suite import strategies_of, suite

    found = suite(options.suite)
    choices = [Choice(each) for each in strategies_of(options.strategies, found)]
    cells = cells_of(found, choices)
    if options.dry_run or options.estimate:
        return _rehearse(found, cells, options)
    try:
        if options.division == "tuned":
            choices = _tuned(found, choices, lambda trial: _trial(trial, options))
            cells = cells_of(found, choices)
        records = _sweep(cells, options)
    except KeyboardInterrupt:
        say("prunebench: interrupted: give the same command again to go on")
        return INTERRUPTED
    for record in records:
        if record.error is not None:
            say(f"failed: {record!r}")
    chosen = choices if options.division == "tuned" else None
    folder = Store(options.runs).folder
    _report(found, chosen, [options.runs, *options.beside], folder, power=False)
    return 1 if any(record.error for record in records) else 0


def _tuned(
    found: Suite, choices: Sequence[Choice], run: Callable[[Sequence[Cell]], Mapping[str, Record]]
) -> list[Choice]:
    """What each method is tuned to."""
    from ..suites.tuning import tuned

    chosen = [tuned(found, each.strategy, run) for each in choices]
    for choice in chosen:
        say(f"tuned in {found.tuning.trials} trials: {choice}")
    return chosen


def _trial(cells: Sequence[Cell], options: argparse.Namespace) -> dict[str, Record]:
    """Run the cells of a trial, and return their records, failed ones too."""
    from ...results import Store

    _sweep(cells, options)
    store = Store(options.runs)
    found = [store.load(cell.experiment.id) for cell in cells]
    return {each.id: each for each in found if each is not None}


def _sound(cells: Sequence[Cell], options: argparse.Namespace) -> tuple[list[Cell], list[Refusal]]:
    """Those of the cells that are to be run, and those that cannot be, of which is told."""
    from ..suites.cells import refusals
    from ..sweeps.sweep import data_folder

    waiting = _unfinished(cells, options)
    refused = refusals(waiting, data_folder(options.data))
    _tell(refused)
    known = {each.cell.experiment.id for each in refused}
    return [cell for cell in waiting if cell.experiment.id not in known], refused


def _unfinished(cells: Iterable[Cell], options: argparse.Namespace) -> list[Cell]:
    """Those of the cells that are finished neither here nor in the folders beside."""
    from ...results import Store
    from ...results.gathering import gathered

    there = (
        {each.id for each in gathered(options.beside) if each.finished} if options.beside else {}
    )
    store = Store(options.runs)
    return [
        cell
        for cell in cells
        if cell.experiment.id not in there and not store.is_finished(cell.experiment.id)
    ]


def _tell(refused: Sequence[Refusal]) -> None:
    """Say which methods cannot prune which tasks, and why."""
    from ...results.naming import named

    told: dict[tuple[str, str, str], list[str]] = {}
    for (task, method, experiment), reason in refused:
        points = told.setdefault((task, named(method), str(reason)), [])
        if (point := f"{experiment.compression:g}×") not in points:
            points.append(point)
    for (task, method, why), points in told.items():
        say(f"{method} counts as the worst in {task} at {', '.join(points)}: {why}")


def _rehearse(found: Suite, cells: Sequence[Cell], options: argparse.Namespace) -> int:
    """Say how many cells there are to run in each task, and how long that takes."""
    sound, refused = _sound(cells, options)
    for name in found.tasks:
        own, open_ = (sum(each.task == name for each in some) for some in (cells, sound))
        print(f"{name}: {own} cells, {open_} to run")
    print(f"{len(cells)} cells, {len(sound)} to run, {len(refused)} that cannot be run")
    if options.division == "tuned":
        trials = found.tuning.trials
        print(f"and before that {trials} trials of each method, each as a seed of the above")
    if options.estimate and sound:
        say_estimate([cell.experiment for cell in sound], options)
    return 0


def _sweep(cells: Sequence[Cell], options: argparse.Namespace) -> list[Record]:
    """Train the dense networks, go on only if all have reached their mark, and run all else.

    What cannot be run has a failed record then.

    Raises:
        UsageError: a dense network has not learned what the suite asks for.
    """
    from ..suites.cells import first_cells, note
    from ..sweeps.sweep import sweep

    sound, refused = _sound(cells, options)
    note(refused, options.runs)
    given = {"runs": options.runs, "data": options.data, "workers": options.workers}
    given["timeout"] = options.timeout
    for record in sweep(first_cells(sound), **given):
        if record.error is not None and record.error.type == "UntrainedError":
            raise UsageError(f"the suite does not go on: {record.error.message}")
    return sweep([cell.experiment for cell in sound], **given)


def _score(options: argparse.Namespace) -> int:
    """Score what is there."""
    from ..catalogue.shipped import shipped
    from ..suites.suite import suite

    outcomes = _outcomes(options.runs)
    names = [options.suite] if options.suite else list(shipped("suites"))
    found = [each for each in map(suite, names) if _has_runs(each, outcomes)]
    if len(found) != 1:
        which = " and ".join(each.name for each in found) or f"none of {', '.join(names)}"
        raise UsageError(f"there are records of {which}: name the suite with --suite")
    choices = _replayed(found[0], options) if options.division == "tuned" else None
    _report(found[0], choices, options.runs, options.output, power=options.power)
    return 0


def _replayed(found: Suite, options: argparse.Namespace) -> list[Choice]:
    """What methods were tuned to, as the records of their trials say.

    Raises:
        UsageError: some of the trials have not been run.
    """
    from ...results.record_file import RECORDS_FILE, read_records
    from ..suites.cells import Choice
    from ..suites.suite import strategies_of

    files = [each / RECORDS_FILE for each in options.runs]
    places = [f if f.is_file() else p for f, p in zip(files, options.runs, strict=True)]
    known = {record.id: record for place in places for record in read_records(place)}

    def kept(cells: Sequence[Cell]) -> Mapping[str, Record]:
        for cell in cells:
            if cell.experiment.id not in known:
                raise UsageError(
                    f"{cell.method}: trials of the tuned division have not been run: run them, or "
                    "name those that were with --strategies"
                )
        return known

    strategies = strategies_of(options.strategies or ["all"], found)
    return _tuned(found, [Choice(each) for each in strategies], kept)


def _outcomes(places: Sequence[Place]) -> list[Outcome]:
    from ...results.gathering import gathered

    return list(gathered(places))


def _has_runs(suite: Suite, outcomes: Sequence[Outcome]) -> bool:
    from ...results.aggregation import comparable
    from ..suites.cells import scored_tasks

    keys = {task.key for task in scored_tasks(suite)}
    return any(comparable(each.experiment).comparison in keys for each in outcomes)


def _report(
    suite: Suite,
    choices: Sequence[Choice] | None,
    places: Sequence[Place],
    folder: Path | None,
    *,
    power: bool,
) -> None:
    """Print the score of the records in some places, and write and draw it into a folder.

    Args:
        suite: whose records they are.
        choices: methods of the tuned division; None scores all of the default one.
        places: where records are.
        folder: where tables and plots go, if anywhere.
        power: whether to say what differences the suite tells.
    """
    from ...results.suites.levels import levels
    from ...results.suites.score import score
    from ...results.suites.text import power_as_text, score_as_text
    from ..suites.cells import scored_tasks, tuned_levels

    tasks, outcomes = scored_tasks(suite), _outcomes(places)
    runs = levels(tasks, outcomes) if choices is None else tuned_levels(suite, choices, outcomes)
    found = score(tasks, runs)
    division = "default" if choices is None else "tuned"
    print(f"{suite.name} · {division} division\n\n{score_as_text(found, tasks)}")
    if power:
        print(f"\n{power_as_text(found, _DRAWS)}")
    if folder is None:
        return
    from ...results import leaderboard, write_csv
    from ...results.report import report
    from ...results.suites.publication import write_score
    from ...results.tables import LEADERBOARD_FILE

    paths = write_score(found, runs, folder)
    known = {task.key for task in tasks} | {key for task in tasks for key in task.narrower}
    frame = leaderboard(_of_suite(outcomes, known))
    write_csv(frame, folder / LEADERBOARD_FILE)
    paths += [folder / LEADERBOARD_FILE, *draw_quality_plots(frame, folder)]
    report(frame, folder / "report.html")
    paths.append(folder / "report.html")
    print(f"\nwritten: {', '.join(map(str, paths))}")


def _of_suite(outcomes: Iterable[Outcome], keys: set[tuple[str, ...]]) -> list[Outcome]:
    from ...results.aggregation import comparable

    return [each for each in outcomes if comparable(each.experiment).comparison in keys]
