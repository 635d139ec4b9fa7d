"""What is asked of a submission beside being what it says: that its comparison is a fair one.

A submission is reported by its authors and verified by nobody yet; it has at least three seeds, and
under the same conditions the baselines that every paper should have. What a reader has to know, but
is no mistake, are remarks.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from ...results.changes import staleness
from ...results.checklist import LEAST_SEEDS
from ...results.comparison import is_random_baseline
from ...results.manifest import conditions
from ...results.points import Key, Point, Target, point_of
from ..cell.environment import knows_commit
from .published import Published
from .rules import Rule


def it_is_self_reported(published: Published) -> Iterator[str]:
    """A submission says who reports it, and does not call itself verified."""
    manifest = published.manifest
    if manifest.label != "self-reported":
        yield f"the manifest calls a submission {manifest.label}: only self-reported is true of one"
    if not manifest.by.strip():
        yield "the manifest does not say by whom it is reported"
    if manifest.verifications:
        yield "the manifest of a submission says that it was verified, which others will do"


def it_has_three_seeds(published: Published) -> Iterator[str]:
    """Every row has at least three finished seeds."""
    seeds: Counter[Point] = Counter()
    for record in published.records:
        seeds[point_of(record.experiment)] += record.finished  # one of which none has counts too
    for point, count in seeds.items():
        if count < LEAST_SEEDS:
            yield (
                f"{point.method.strategy} at {point.target.value:g} has {count or 'no'} finished "
                f"seed{'s' * (count > 1)}, and {LEAST_SEEDS} are needed"
            )


def it_has_the_baselines(published: Published) -> Iterator[str]:
    """Random and GlobalMagnitude are there at every target, under the same conditions."""
    strategies: dict[tuple[Key, Target], set[str]] = defaultdict(set)
    for record in published.records:
        if record.finished:
            point = point_of(record.experiment)
            name, source = point.method
            strategies[point.key, point.target].add(f"own {name}" if source else name)
    for (_, target), there in strategies.items():
        if not any(map(is_random_baseline, there)):
            yield f"pruning at random (Random) is missing at {target.value:g}"
        if not any(name.partition("(")[0] == "GlobalMagnitude" for name in there):
            yield f"GlobalMagnitude is missing at {target.value:g}"


def it_is_not_stale(published: Published) -> Iterator[str]:
    """No change of prunebench since has moved its results."""
    yield from staleness(published.records)


def its_commit_is_known(published: Published) -> Iterator[str]:
    """It was run by a commit of prunebench in which nothing was edited."""
    for commit in dict.fromkeys(record.environment.get("commit") for record in published.records):
        if commit is None:
            continue
        if str(commit).endswith("-dirty"):
            yield f"it was run by the commit {commit}, in which something was edited"
        elif knows_commit(str(commit)) is False:
            yield f"it was run by the commit {commit}, which is none of prunebench's"


SUBMISSION: tuple[Rule, ...] = (
    it_is_self_reported,
    it_has_three_seeds,
    it_has_the_baselines,
    it_is_not_stale,
    its_commit_is_known,
)
"""What is asked of submissions."""


def remarks(published: Published) -> Iterator[str]:
    """What is no mistake, but should be known."""
    records = published.records
    if failed := sum(not record.finished for record in records):
        yield f"{failed} of {len(records)} cells failed; tables show them as failed"
    if stacked := sum(record.stacked > 1 for record in records):
        yield f"{stacked} networks were trained together with others, and agree up to rounding only"
    kinds = {tuple(conditions(record).items()) for record in records}
    if len(kinds) > 1:
        yield f"cells were run in {len(kinds)} different environments"
    if any(record.environment.get("commit") is None for record in records):
        yield "it was run by an installed prunebench, which does not know its commit"
    if any(not record.digests for record in records if record.finished):
        yield "older records have no digests of data and networks"
