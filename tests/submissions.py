"""A submitted folder in the hands of somebody who forges it."""

import gzip
import hashlib
import json
from pathlib import Path

from prunebench.benchmark.studies.published import Published
from prunebench.benchmark.studies.rules import validate
from prunebench.benchmark.studies.submission_rules import SUBMISSION
from prunebench.results.manifest import summary
from prunebench.results.publication import tables
from prunebench.results.report import report
from prunebench.results.tables import as_csv

ROOT = Path(__file__).resolve().parents[1]


METHOD = """\
from dataclasses import dataclass

from prunebench.strategies import Context, Scores, ScoredStrategy


@dataclass(frozen=True)
class Mine(ScoredStrategy):
    \"\"\"Prune the weights that are smallest beside the spread of their layer.\"\"\"

    beta: float = 1.0

    def score(self, context: Context) -> Scores:
        return {name: w.abs() / (w.std() + self.beta) for name, w in context.weights.items()}
"""


class Forger:
    """Edits a folder, and makes what depends on it fit, knowing how it will be checked."""

    def __init__(self, folder):
        self.folder = folder

    def records(self, change):
        """Let ``change`` edit the list of records as plain data."""
        path = self.folder / "records.jsonl.gz"
        records = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
        change(records)
        text = "".join(json.dumps(each) + "\n" for each in records)
        path.write_bytes(gzip.compress(text.encode(), mtime=0))

    def replace(self, name, old, new):
        path = self.folder / name
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new, 1))

    def manifest(self, change):
        path = self.folder / "manifest.json"
        manifest = json.loads(path.read_bytes())
        change(manifest)
        path.write_text(json.dumps(manifest))

    def fit_digests(self):
        """Write today's digests of all files into the manifest."""
        files = [p for p in self.folder.rglob("*") if p.is_file() and p.name != "manifest.json"]
        digests = {
            path.relative_to(self.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }
        self.manifest(lambda manifest: manifest.update(files=digests))

    def fit_everything(self):
        """Make tables, page, sums and digests of the forged records, as if they were honest."""
        published = Published(self.folder, trust=True)
        frames = tables(published.records, published.labels())
        for name, frame in frames.items():
            (self.folder / name).write_bytes(as_csv(frame))
        report(frames["leaderboard.csv"], self.folder / "report.html", published.records)
        self.manifest(lambda manifest: manifest.update(made=summary(published.records)))
        self.fit_digests()


def refusals(folder):
    """What is said of a folder that somebody submits."""
    return [each.sentence for each in validate(Published(folder, trust=True), SUBMISSION)]


FILES = (
    *("records.jsonl.gz", "leaderboard.csv", "seeds.csv", "report.html", "experiments.yaml"),
    *("quality-vs-compression.png", "METHOD"),
)


def path_of(folder, name):
    return next((folder / "methods").iterdir()) if name == "METHOD" else folder / name
