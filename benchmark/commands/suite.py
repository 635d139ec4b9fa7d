"""``prunebench suite``: a versioned comparison in which every method has the same chance."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError, tell
from .options import add_data, add_runs, folder_path, place, positive
from .output import tell_failures
from .run import INTERRUPTED, tell_estimate

if TYPE_CHECKING:
    from ...results import Outcome, Place
    from ..suites.cells import Cell
    from ..suites.running import Bench
    from ..suites.scoring import Studies
    from ..suites.suite import Suite

HELP = "run and score standard suites: the same tasks and budgets for every method"

_DRAWS = 200
_DIVISIONS = ("default", "tuned", "open")


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
        nargs="+",
        choices=_DIVISIONS,
        default=["default"],
        help="default: methods as their authors set them; tuned: as the same number of trials on "
        "validation splits sets each of them; open: by recipes of their own, for which "
        "--strategies names YAML files; of two, score says which ranks change",
    )
    parser.add_argument(
        "--studies",
        type=positive,
        default=1,
        metavar="N",
        help="studies of each method in the tuned division, of which the median counts (default 1)",
    )
    parser.add_argument(
        "--beside",
        nargs="*",
        type=place,
        metavar="FOLDER",
        help="records of others to stand in the same table; what is finished there is not run "
        "(default: results/published/SUITE, where that is this suite; none if nothing follows)",
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
        "baselines are always there",
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
    from ..suites.cells import cells_of
    from ..suites.division import asked_for, studied
    from ..suites.running import Bench, run_all, run_cells
    from ..suites.suite import suite

    found = suite(options.suite)
    (division,) = _divisions(options, most=1)
    beside = _beside(found, options, [options.runs])
    bench = Bench(options.runs, options.data, options.workers, options.timeout, beside)
    asked = asked_for(found, division, options.strategies)
    if options.dry_run or options.estimate:
        return _rehearse(found, cells_of(found, asked.values()), bench, options)
    try:
        studies = studied(
            found, division, asked, options.studies, lambda cells: run_all(cells, bench)
        )
        chosen = {str(each): each for own in studies.values() for each in own}
        records = run_cells(cells_of(found, chosen.values()), bench)
    except KeyboardInterrupt:
        tell("interrupted: give the same command again to go on")
        return INTERRUPTED
    store = Store(options.runs)
    status = tell_failures(records, store)
    outcomes = _outcomes([options.runs], beside)
    _report(found, division, studies, outcomes, store.folder, power=False)
    return status


def _divisions(options: argparse.Namespace, most: int) -> list[str]:
    """The divisions that were asked for, each once.

    Raises:
        UsageError: there are too many.
    """
    found = list(dict.fromkeys(options.division))
    if len(found) > most:
        raise UsageError(f"--division: {' '.join(found)} is not allowed: give at most {most}")
    return found


def _beside(found: Suite, options: argparse.Namespace, own: Sequence[Place]) -> Sequence[Place]:
    """Where records of others are: as given, or where this suite is published."""
    from ..suites.scoring import published

    if options.beside is not None:
        return list(options.beside)
    places = [each for each in published(found) if each not in own]
    for each in places:
        tell(f"beside the records of {each} (--beside without a folder leaves them out)")
    return places


def _outcomes(places: Sequence[Place], beside: Sequence[Place]) -> list[Outcome]:
    """All records, and a sentence on dense networks that are not those of others."""
    from ..suites.scoring import other_dense_networks, outcomes_of

    if beside:
        others, count = other_dense_networks(places, beside)
        if others:
            tell(
                f"{others} of {count} dense networks here are not those of "
                f"{', '.join(map(str, beside))}, as on another processor or with other versions: "
                "each run is held against its own"
            )
    return outcomes_of(places, beside)


def _rehearse(
    found: Suite, cells: Sequence[Cell], bench: Bench, options: argparse.Namespace
) -> int:
    """Say how many cells there are to run in each task, and how long that takes."""
    from ..suites.running import sound_cells

    sound, refused = sound_cells(cells, bench)
    for name in found.tasks:
        own, open_ = (sum(each.task == name for each in some) for some in (cells, sound))
        print(f"{name}: {own} cells, {open_} to run")
    print(f"{len(cells)} cells, {len(sound)} to run, {len(refused)} that cannot be run")
    if options.division == ["tuned"]:
        trials = found.tuning.trials * options.studies
        print(f"and before that {trials} trials of each method, each as a seed of the above")
    if options.estimate and sound:
        tell_estimate([cell.experiment for cell in sound], options)
    return 0


def _score(options: argparse.Namespace) -> int:
    """Score what is there."""
    from ...results.suites.moves import moves_as_text
    from ..suites.division import moves_between, replayed

    found = _suite_of(options)
    divisions = _divisions(options, most=2)
    beside = _beside(found, options, options.runs)
    outcomes, places = _outcomes(options.runs, beside), [*options.runs, *beside]
    strategies = options.strategies or []
    studies = {
        each: replayed(found, each, strategies, options.studies, places) for each in divisions
    }
    if len(divisions) > 1:
        moved = moves_between(found, studies, outcomes)
        print(f"{found.name}\n\n{moves_as_text(moved, divisions)}")
        return 0
    (division,) = divisions
    _report(found, division, studies[division], outcomes, options.output, power=options.power)
    return 0


def _suite_of(options: argparse.Namespace) -> Suite:
    """The suite that is named, or the one of which there are records.

    Raises:
        UsageError: there are records of none, or of several.
    """
    from ..catalogue.shipped import shipped
    from ..suites.scoring import outcomes_of
    from ..suites.suite import suite

    outcomes = outcomes_of(options.runs, options.beside or ())
    names = [options.suite] if options.suite else list(shipped("suites"))
    found = [each for each in map(suite, names) if _has_runs(each, outcomes)]
    if options.suite and not found:
        where = ", ".join(map(str, options.runs))
        raise UsageError(f"there are no records of {options.suite} in {where}")
    if len(found) != 1:
        which = " and ".join(each.name for each in found) or f"none of {', '.join(names)}"
        raise UsageError(f"there are records of {which}: name the suite with --suite")
    return found[0]


def _has_runs(suite: Suite, outcomes: Sequence[Outcome]) -> bool:
    from ...results.points import point_of
    from ..suites.cells import scored_tasks

    keys = {task.key for task in scored_tasks(suite)}
    return any(point_of(each.experiment).key in keys for each in outcomes)


def _report(
    suite: Suite,
    division: str,
    studies: Studies,
    outcomes: Sequence[Outcome],
    folder: Path | None,
    *,
    power: bool,
) -> None:
    """Print the score of a division, and write and draw it into a folder.

    Args:
        suite: the suite.
        division: in which methods were run.
        studies: what each was run with.
        outcomes: the records.
        folder: where tables and plots go, if anywhere.
        power: whether to say what differences the suite tells.
    """
    from ...results.suites.score import score
    from ...results.suites.text import power_as_text, score_as_text
    from ..suites.cells import scored_tasks
    from ..suites.division import runs_in

    found = score(scored_tasks(suite), runs_in(suite, division, studies, outcomes))
    print(f"{suite.name} · {division} division\n\n{score_as_text(found)}")
    if power:
        print(f"\n{power_as_text(found, _DRAWS)}")
    if folder is not None:
        from ...results.publication import draw, tables

        paths = draw(tables(outcomes, {}, found), folder, (), found)
        print(f"\nwritten: {', '.join(map(str, paths))}")
