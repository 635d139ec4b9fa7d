"""``prunebench verify``: published cells run again, and held against their records."""

from __future__ import annotations

import argparse
import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError, printable, tell
from .options import add_data, add_trust, positive, positive_or_zero
from .run import INTERRUPTED

if TYPE_CHECKING:
    from ...results import Record
    from ..studies.published import Published
    from ..studies.rules import Finding
    from ..studies.verifying import Draw, Repeated

HELP = "check a published folder, and run a sample of its cells again"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("folder", type=Path, help="a published folder, or a submitted one")
    many = parser.add_mutually_exclusive_group()
    many.add_argument(
        "--cells",
        type=positive_or_zero,
        default=5,
        metavar="N",
        help="cells to run again; 0 checks the files alone (default: 5)",
    )
    many.add_argument("--all", action="store_true", help="run all cells again that time allows")
    parser.add_argument(
        "--minutes",
        type=positive,
        default=10,
        metavar="N",
        help="time for running cells again; those that would take longer are passed over, and "
        "none is begun when it is over (default: 10)",
    )
    parser.add_argument(
        "--seed", type=positive_or_zero, help="of the draw of cells (default: another each time)"
    )
    add_data(parser)
    add_trust(parser)
    parser.add_argument(
        "--submission", action="store_true", help="ask of it what is asked of submissions, too"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument(
        "--record",
        metavar="WHO",
        help="write into the manifest that WHO has verified these cells, if all of them agree",
    )


def execute(options: argparse.Namespace) -> int:
    """Check the files, run cells again, and say what came of it; fail if anything differs."""
    from ..studies.published import Published
    from ..studies.rules import validate
    from ..studies.submission_rules import SUBMISSION, remarks

    if not options.folder.is_dir():
        raise UsageError(f"there is no folder {options.folder} to verify")
    published = Published(options.folder, options.trust)
    findings = validate(published, SUBMISSION if options.submission else ())
    if findings:
        _tell_refusal(options, findings)
        return 1
    notes = list(remarks(published)) if options.submission else []
    if not options.json:
        _tell_files(published, notes)
    if not (options.all or options.cells):
        if options.json:
            print(json.dumps({"folder": str(options.folder), "refused": [], "remarks": notes}))
        return 0
    return _run_again(published, notes, options)


def _tell_refusal(options: argparse.Namespace, findings: Sequence[Finding]) -> None:
    if options.json:
        refused = [each._asdict() for each in findings]
        print(json.dumps({"folder": str(options.folder), "refused": refused}, indent=1))
        return
    print(f"refused  {options.folder}")
    for each in findings:
        print(f"       - {printable(each.sentence)}")


def _tell_files(published: Published, notes: Sequence[str]) -> None:
    print(f"sound    {published.folder}: files, digests, {len(published.records)} records, tables")
    for each in notes:
        print(f"       - note: {printable(each)}")


def _run_again(published: Published, notes: Sequence[str], options: argparse.Namespace) -> int:
    """Run what was drawn; Ctrl-C keeps what is known by then."""
    from tqdm import tqdm

    from ..studies.verifying import draw, note_verification, repeat

    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    seconds = 60.0 * options.minutes
    drawn = draw(published, None if options.all else options.cells, seconds, seed)
    if drawn.passed_over and not drawn.chosen:
        raise UsageError(
            f"--minutes: {options.minutes} is not enough for any cell of {published.folder}"
        )
    tell(f"cells drawn by --seed {seed}")
    repeated: list[Repeated] = []
    status = 0
    with tqdm(total=len(drawn.chosen), unit="cell", disable=None) as bar:
        try:
            for each in repeat(published, drawn.chosen, data=options.data, seconds=seconds):
                repeated.append(each)
                bar.update()
                if not options.json:
                    bar.write(f"{each.agreement.verdict:10}{printable(each.sentence())}")
        except KeyboardInterrupt:
            status = INTERRUPTED
    known = {each.record.id for each in repeated}
    unreached = [each for each in drawn.chosen if each.id not in known]
    counts = _count(repeated)
    if counts["different"]:
        status = 1
    if options.json:
        report = _as_json(published, notes, seed, repeated, unreached, drawn)
        print(json.dumps(report, indent=1))
    else:
        _tell_result(counts, unreached, drawn, seed)
    if options.record and status == 0:
        note_verification(published, repeated, options.record)
    return status


def _count(repeated: Sequence[Repeated]) -> dict[str, int]:
    verdicts = ["failed" if each.fails_again else each.agreement.verdict for each in repeated]
    return {name: verdicts.count(name) for name in ("identical", "equal", "failed", "different")}


def _tell_result(
    counts: dict[str, int], unreached: Sequence[Record], drawn: Draw, seed: int
) -> None:
    from ...results.brief import title

    for why, records in (("not reached", unreached), ("too long", drawn.passed_over)):
        for each in records:
            print(f"{why:12}{title(each.experiment)} ({each.id})")
    again = f"{counts['failed']} failed again, " if counts["failed"] else ""
    left_out = [
        f"{title(each.experiment)} ({each.id}: {each.error.type})"
        for each in drawn.not_repeated
        if each.error is not None
    ]
    print(
        f"{counts['identical']} with identical bits, {counts['equal']} equal within the tolerance, "
        f"{again}{counts['different']} different, {len(unreached)} not reached, "
        f"{len(drawn.passed_over)} passed over as too long; seed {seed}"
        + (f"; not run again: {', '.join(left_out)}" if left_out else "")
    )


def _as_json(
    published: Published,
    notes: Sequence[str],
    seed: int,
    repeated: Sequence[Repeated],
    unreached: Sequence[Record],
    drawn: Draw,
) -> dict[str, Any]:
    return {
        "folder": str(published.folder),
        "refused": [],
        "remarks": list(notes),
        "seed": seed,
        "cells": [each.as_json() for each in repeated],
        "not_reached": [each.id for each in unreached],
        "passed_over": [each.id for each in drawn.passed_over],
        "not_run_again": [each.id for each in drawn.not_repeated],
    }
