"""A kind of target is declared once, and all else is made of the declaration."""

import subprocess
import sys

import pytest

from prunebench.results.targets import TARGETS

# What somebody would write into results/targets.py, before the tuple of all kinds.
DECLARED = """
@dataclass(frozen=True)
class Left(TargetKind):
    "The fraction that stays, of which less prunes more."
    is_fraction, higher_prunes_more, bounds = True, False, {"gt": 0, "le": 1}
    def left(self, value, total):
        return round(value * total)
    def is_missed(self, asked, achieved, by):
        return abs(asked - achieved) > by * asked
    def value(self, left, total):
        return left / total

DENSITY = Left(
    name="density", description="what stays", definition="What was to stay.", unit=" % left",
    phrase="density {:g}", achieved="density", axis="Weights left (%)",
)
"""

WRITTEN = """
import importlib.machinery
read = importlib.machinery.SourceFileLoader.get_data
def get_data(self, path):
    content = read(self, path)
    if path.endswith("results/targets.py"):
        before, all_kinds, after = content.partition(b"TARGETS: tuple")
        after = after.replace(b"SPEEDUP)", b"SPEEDUP, DENSITY)", 1)
        content = before + declared.encode() + all_kinds + after
    return content
def path_stats(self, path):
    if path.endswith("results/targets.py"):
        raise OSError("nothing is to be taken from what was compiled before")
    return stats(self, path)
stats = importlib.machinery.SourceFileLoader.path_stats
importlib.machinery.SourceFileLoader.path_stats = path_stats
importlib.machinery.SourceFileLoader.get_data = get_data
"""

USED = """
import sys, tempfile
from pathlib import Path
import prunebench
from prunebench.benchmark import command_line
from prunebench.benchmark.cell import target
from prunebench.results import as_text, leaderboard
from prunebench.results.plots import quality_figure
from prunebench.results.targets import DENSITY
from prunebench.metrics import Size

target.COSTS[DENSITY] = target.parameters_left
plain = Size.measure
Size.measure = lambda self, subject: (
    (found := plain(self, subject)) | {"density": found["nonzero"] / found["parameters"]}
)
runs = Path(tempfile.mkdtemp())
command = ["run", "--dataset", "Digits", "--model", "LeNetSmall", "--strategy", "Random",
           "--pretraining.epochs", "3", "--recovery", "NoRecovery", "--measurements", "Size",
           "--runs", str(runs)]
assert command_line.main([*command, "--density", "0.5", "0.25"]) == 0
frame = leaderboard(runs)
assert frame["target_density"].tolist() == [0.25, 0.5]
assert [round(1 / value, 3) for value in frame["compression_mean"]] == [0.25, 0.5]
assert "25 % left" in as_text(frame)
assert (runs / "quality-vs-density.png").exists()
(axes,) = quality_figure(frame, DENSITY).axes
assert axes.get_xlabel() == "Weights left (%)"
assert command_line.main([*command, "--density", "0"]) == 2
assert command_line.main([*command, "--density", "0.0001"]) == 2
channels = ["--strategy", "StructuredL1(structure=CoupledChannels)", "--density", "0.4"]
assert command_line.main([*command, *channels]) == 0
row = leaderboard(runs).query("target_density == 0.4 and seeds == 1").iloc[0]
assert 0.3 < 1 / row["compression_mean"] <= 0.45, row["compression_mean"]
"""


@pytest.mark.slow
def test_a_new_kind_of_target_needs_one_declaration_and_its_cost():
    program = f"declared = {DECLARED!r}\n{WRITTEN}{USED}"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Random can reach no less than" in done.stderr


@pytest.mark.parametrize("kind", TARGETS, ids=lambda kind: kind.name)
def test_what_a_value_leaves_says_the_value_again(kind):
    value = 0.75 if kind.is_fraction else 4.0
    left = kind.left(value, 1000)
    assert left == 250
    assert kind.value(left, 1000) == value
    assert kind.left(kind.bounds["ge"], 1000) == 1000, "the least value prunes nothing"
