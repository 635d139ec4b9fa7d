"""Jobs that are run where they share no folder with the sweep: all that they need goes along."""

from dataclasses import replace
from importlib.metadata import version

import pytest

from prunebench.benchmark.sweeps.jobs import Job, run_stack
from prunebench.benchmark.sweeps.shipping import dense_files, keep, luggage, perform
from prunebench.errors import UsageError
from prunebench.results import Store

METHOD = '''
from prunebench.strategies import GlobalMagnitude

class Mine(GlobalMagnitude):
    """A user's own: this one has the number {number}."""
'''


@pytest.fixture
def job(experiment, tmp_path):
    """A job with a user's own method, in a file whose path is relative."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "mine.py").write_text(METHOD.format(number=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path / "here")
        made = experiment(
            model="Perceptron",
            strategy="mine.py:Mine",
            recovery="Rewind(epoch=1)",
            measurements=["Size"],
        )
        yield Job(made, tmp_path / "runs", tmp_path, weights=True)


def test_a_users_file_and_a_dense_network_go_along_and_all_that_is_made_comes_back(
    job, tmp_path, monkeypatch
):
    here = replace(job, runs=tmp_path / "as-ever")
    (expected,) = run_stack((here,))
    assert dense_files(job) == {}
    taken = luggage([job], None)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "here" / "mine.py").unlink()
    monkeypatch.chdir(tmp_path / "elsewhere")
    left = perform(run_stack, [job.plain()], taken, dense_files(here))
    assert left.dense == {}  # it was there, and is what was given
    assert [record.result() for record in keep(left, (job,))] == [expected.result()]
    again = perform(run_stack, [job.plain()], taken, {})
    assert again.dense.keys() == dense_files(here).keys()
    keep(again, (job,))
    assert dense_files(job).keys() == dense_files(here).keys()
    weights = [Store(each).weights_path(expected.id).read_bytes() for each in (here.runs, job.runs)]
    assert weights[0] == weights[1]


def test_cells_of_one_dense_network_share_their_scoring_in_whichever_folder_it_is(
    job, experiment, tmp_path
):
    mine = tmp_path / "here" / "mine.py"
    mine.write_text(
        "from pathlib import Path\n"
        "from prunebench.strategies import GlobalGradientMagnitude\n"
        "class Mine(GlobalGradientMagnitude):\n"
        '    """Tells when it scores."""\n'
        "    def score(self, context):\n"
        f"        with Path({str(tmp_path / 'scored')!r}).open('a') as told: told.write('.')\n"
        "        return super().score(context)\n"
    )
    settings = {"model": "Perceptron", "recovery": "NoRecovery", "measurements": ["Size"]}
    made = [
        replace(job, experiment=experiment(strategy="mine.py:Mine", compression=each, **settings))
        for each in (2.0, 4.0, 8.0)
    ]
    taken, dense = luggage(made, None), {}
    for each in made:
        left = perform(run_stack, [each.plain()], taken, dense)
        dense = {**dense, **left.dense}
    assert (tmp_path / "scored").read_text() == "."


def test_a_file_that_has_changed_since_is_another_method(job, tmp_path):
    taken = luggage([job], None)
    changed = METHOD.format(number=2).encode()
    with pytest.raises(UsageError, match="has changed since the sweep began"):
        perform(run_stack, [job.plain()], replace(taken, sources={"mine.py": changed}), {})


def test_other_versions_elsewhere_are_refused(job):
    taken = luggage([job], None)
    assert taken.versions["torch"] == version("torch")
    other = replace(taken, versions={**taken.versions, "torch": "1.0"})
    with pytest.raises(UsageError, match=r"has torch .* was begun with 1\.0"):
        perform(run_stack, [job.plain()], other, {})
