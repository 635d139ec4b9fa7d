"""What a published folder must be, rule by rule: it agrees with itself, before anything is run.

A rule is a function that says what is wrong, a sentence each; :func:`validate` goes through all of
them. What is forged but agrees with itself is found by running it again (``verifying.py``). What
more is asked of submissions is in ``submission_rules.py``.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from html import unescape
from itertools import chain, zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from ...errors import UsageError
from ...results import Record
from ...results.changes import CHANGES
from ...results.manifest import CONFIG_FILE, METHODS, summary
from ...results.publication import tables, unlike_manifest
from ...results.record_file import RECORDS_FILE, read_records
from ...results.report import report
from ...results.tables import LEADERBOARD_FILE, as_csv
from ..cell.record import described
from ..experiment import Experiment
from .plan import Plan
from .published import Published

Rule = Callable[[Published], Iterator[str]]
"""Says what is wrong with a published folder; nothing where it keeps the rule."""

_ROUNDING = 1e-9
_SOURCES = (RECORDS_FILE, CONFIG_FILE)


class Finding(NamedTuple):
    """What is wrong with a folder, and the name of the rule that says so."""

    rule: str
    sentence: str


def validate(published: Published, further: Sequence[Rule] = ()) -> list[Finding]:
    """What is wrong with a published folder; nothing where its files agree with each other.

    What cannot be read is not looked at any further: tables are held against records only where
    those are sound.

    Args:
        published: the folder.
        further: rules that it has to keep beside those of all folders.

    Raises:
        UsageError: it would execute code that is not trusted.
    """
    if not published.trust:
        _refuse_code(published)
    for rules in (FILES, RECORDS, SHOWN):
        if findings := _broken(published, rules):
            return findings
    return _broken(published, further)


def _refuse_code(published: Published) -> None:
    """Complain of the first record that names code which would have to be trusted."""
    try:
        named = [each for each in published.records if each.experiment.get("sources")]
    except UsageError:
        return  # a rule will say so
    if named:
        raise UsageError(
            f"{published.folder} has runs of Python files that are no part of prunebench, such as "
            f"{named[0].experiment['strategy']}: read what is in {published.folder / METHODS}, and "
            "give --trust (in Python trust=True) to have it executed"
        )


def _broken(published: Published, rules: Iterable[Rule]) -> list[Finding]:
    return [
        Finding(rule.__name__, sentence)
        for rule in rules
        for sentence in _complaints(rule, published)
    ]


def _complaints(rule: Rule, published: Published) -> Iterator[str]:
    try:
        yield from rule(published)
    except UsageError as error:
        yield str(error)


def files_are_those_of_the_manifest(published: Published) -> Iterator[str]:
    """Each file is there with the digest that the manifest has, and no other file."""
    yield from unlike_manifest(published.folder)


def the_records_can_be_read(published: Published) -> Iterator[str]:
    """There are records, each of another experiment."""
    ids = Counter(record.id for record in published.records)
    if not ids:
        yield "there are no records"
    yield from (f"the record {id_} is there {n} times" for id_, n in ids.items() if n > 1)


def the_manifest_says_what_the_records_say(published: Published) -> Iterator[str]:
    """Commits, environments, data and dense networks in the manifest are those of the records."""
    for name, counted in summary(published.records).items():
        said = published.manifest.made.get(name, {})
        for text in dict.fromkeys([*counted, *said]):
            if (claimed := said.get(text, 0)) != (found := counted.get(text, 0)):
                yield (
                    f"the manifest says under {name} that {claimed} records are of {text}, "
                    f"and {found} are"
                )


def verifications_are_of_these_records(published: Published) -> Iterator[str]:
    """What was verified are cells that are there."""
    ids = {record.id for record in published.records}
    for each in published.manifest.verifications:
        if strange := sorted(each.cells.keys() - ids):
            yield f"the manifest says that the cell {strange[0]} was verified, which is not there"
    if len(published.manifest.valid()) < len(published.manifest.verifications):
        yield "the manifest says that records were verified, and these are others"


def code_is_what_was_run(published: Published) -> Iterator[str]:
    """The Python files in the folder are those that records name, by digest, and have a licence."""
    files = published.manifest.files
    scripts = {name: digest for name, digest in files.items() if name.endswith((".py", ".so"))}
    for name, digest in scripts.items():
        if not name.startswith(f"{METHODS}/") or digest not in published.sources:
            yield f"{name} is not what was run: no record has its digest"
    for digest in sorted(published.sources - set(scripts.values())):
        yield f"the file with the digest {digest[:12]} was run, and is not in {METHODS}"
    if scripts and not published.manifest.code_licence:
        yield f"the manifest does not say under which licence the files in {METHODS} are"
    if scripts and not published.manifest.code_source:
        yield f"the manifest does not say where the files in {METHODS} come from"


def ids_are_those_of_the_settings(published: Published) -> Iterator[str]:
    """A record has the id, and all that else follows from them, of its settings."""
    for record in published.records:
        experiment = published.experiments[record.id]
        if experiment.id != record.id:
            yield f"the record {record.id} has the settings of the experiment {experiment.id}"
        else:
            yield from _other_settings(record, experiment)


def _other_settings(record: Record, experiment: Experiment) -> Iterator[str]:
    now = described(experiment)
    for name, value in record.experiment.items():
        if name not in now or now[name] != value:
            yield f"the record {record.id} has {name} {value!r}, and its settings give " + repr(
                now.get(name, "no such setting")
            )


def records_are_those_of_the_configuration(published: Published) -> Iterator[str]:
    """Each cell of the configuration has a record, and each record is of one."""
    cells, records = published.cells(), {record.id for record in published.records}
    if missing := sorted(cells.keys() - records):
        yield f"{len(missing)} of {len(cells)} cells have no record, such as {missing[0]}"
    if strange := sorted(records - cells.keys()):
        yield f"{len(strange)} records are of no cell of the configuration, such as {strange[0]}"


def numbers_of_a_record_agree(published: Published) -> Iterator[str]:
    """Sizes, sums, ratios and qualities of a record follow from one another."""
    for record in published.records:
        if record.revision > len(CHANGES):
            yield f"the record {record.id} knows of {record.revision} changes of prunebench"
        if record.finished:
            names = (name for name, holds in _follows(record) if not holds)
            yield from (f"the record {record.id} contradicts itself: {name}" for name in names)


def _follows(record: Record) -> Iterator[tuple[str, bool]]:
    """What follows from what in a finished record, and whether it does."""
    final, dense, layers = record.final, record.dense, {each.name: each for each in record.layers}
    size = (final.get("parameters") or 0, final.get("nonzero") or 0)
    yield "parameters", dense.get("parameters") == size[0]
    yield "nonzero", size[1] == sum(each.nonzero for each in layers.values())
    yield "compression", _equal(final.get("compression"), size[0], size[1])
    yield "sparsity", _equal(1 - (final.get("sparsity") or 0), size[1], size[0])
    prunable = (final.get("prunable_parameters") or 0, final.get("prunable_nonzero") or 0)
    yield "prunable_sparsity", _equal(1 - (final.get("prunable_sparsity") or 0), *prunable[::-1])
    yield (
        "density",
        all(_equal(each.density, each.nonzero, each.parameters) for each in record.layers),
    )
    if effective := final.get("effective_flops"):
        speedup = (final.get("theoretical_speedup"), dense.get("flops") or 0, effective)
        yield "theoretical_speedup", _equal(*speedup)
    shown = [each for each in record.distributions if each.name in layers]
    yield "distributions", all(sum(e.recovered) == layers[e.name].nonzero for e in shown)
    after = record.rounds[-1].after if record.rounds else {}
    for place, name in enumerate(record.quality):
        # What was chosen beside the task's own metric, such as BLEU, is measured in the end alone.
        if record.rounds and (place == 0 or name in after):
            yield f"final.{name}", after.get(name) == final.get(name)
        yield f"dense.{name}", name in dense and name in final


def _equal(ratio: float | None, above: float, below: float) -> bool:
    """Whether a ratio is that of two numbers, but for rounding; anything is that of nothing."""
    return not below or abs((ratio or 0) - above / below) <= _ROUNDING * max(1, above / below)


def dense_networks_are_the_same(published: Published) -> Iterator[str]:
    """Cells whose dense network has the same settings began from the same one."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in published.records:
        if record.finished:
            groups[published.experiments[record.id].pretraining_id].append(record)
    for records in groups.values():
        first = _dense(records[0])
        for record in records[1:]:
            for name, value in _dense(record).items():
                if name in first and first[name] != value:
                    yield (
                        f"the records {records[0].id} and {record.id} began from the same dense "
                        f"network, and have different {name}"
                    )


def _dense(record: Record) -> dict[str, object]:
    """What a record says of its dense network alone."""
    said: dict[str, object] = {f"dense.{name}": record.dense.get(name) for name in record.quality}
    said["curves of its training"] = [e for e in record.history if e.training == "pretraining"]
    return said | {f"digests.{n}": d for n, d in record.digests.items() if n in ("dense", "data")}


def data_are_the_same(published: Published) -> Iterator[str]:
    """Cells of the same data set had the same data."""
    found: dict[str, set[str]] = defaultdict(set)
    for record in published.records:
        if "data" in record.digests:
            found[record.experiment["dataset"]].add(record.digests["data"])
    for name, digests in found.items():
        if len(digests) > 1:
            yield f"the records of {name} have {len(digests)} different digests of its data"


def tables_are_what_the_records_give(published: Published) -> Iterator[str]:
    """The CSV files are those that today's code makes of the records."""
    for name, frame in tables(published.records, published.labels(), published.standing).items():
        path = published.folder / name
        if not path.is_file():
            yield f"there is no {name}"
            continue
        said, given = path.read_bytes().splitlines(), as_csv(frame).splitlines()
        lines = enumerate(zip_longest(said, given, fillvalue=b""), 1)
        if other := next((line for line, (one, two) in lines if one != two), None):
            yield f"{name} is not what its records give: line {other} differs"


def the_page_is_what_the_records_give(published: Published) -> Iterator[str]:
    """The numbers in the page's tables and in the data that it holds are what the records give.

    A page that an earlier version laid out otherwise is a true one still.
    """
    path = published.folder / "report.html"
    if not path.is_file():
        yield "there is no report.html"
        return
    records, config = ((published.folder / name).read_bytes() for name in _SOURCES)
    said, given = path.read_text(encoding="utf-8"), _page(records, config)
    known = set(_in_tables(given))
    for number in _in_tables(said):
        if number not in known:
            yield f"report.html says {number}, which its records do not give"
            return
    if (held := _in_data(said)) and held != _in_data(given):
        yield "report.html holds data that its records do not give"


@lru_cache(maxsize=2)
def _page(*sources: bytes) -> str:
    """The page of a folder with such :data:`_SOURCES`, which takes seconds to draw."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, content in zip(_SOURCES, sources, strict=True):
            (folder / name).write_bytes(content)
        read, plan = list(read_records(folder / RECORDS_FILE)), Plan(folder / CONFIG_FILE, folder)
        standing, page = plan.standing(read), folder / "report.html"
        report(tables(read, plan.labels(), standing)[LEADERBOARD_FILE], page, read, standing)
        return page.read_text(encoding="utf-8")


def _in_tables(page: str) -> list[str]:
    """The numbers in the cells of a page's tables."""
    cells = (re.sub(r"<[^>]*>", " ", cell) for cell in re.findall(r"<td.*?</td>", page, re.DOTALL))
    return list(chain(*(re.findall(r"\d+(?:[.,]\d+)*", unescape(cell)) for cell in cells)))


def _in_data(page: str) -> list[str]:
    """The data that a page holds for its script."""
    return re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)


FILES: tuple[Rule, ...] = (files_are_those_of_the_manifest, the_records_can_be_read)
RECORDS: tuple[Rule, ...] = (
    the_manifest_says_what_the_records_say,
    verifications_are_of_these_records,
    code_is_what_was_run,
    ids_are_those_of_the_settings,
    records_are_those_of_the_configuration,
    numbers_of_a_record_agree,
    dense_networks_are_the_same,
    data_are_the_same,
)
SHOWN: tuple[Rule, ...] = (tables_are_what_the_records_give, the_page_is_what_the_records_give)
