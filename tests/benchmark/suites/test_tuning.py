"""The tuned division: as many trials for each method, judged on validation splits alone."""

from types import SimpleNamespace

import pytest
from tiny_suite import written

from prunebench import UsageError
from prunebench.benchmark.command_line import main
from prunebench.benchmark.suites.suite import suite
from prunebench.benchmark.suites.tuning import tuned
from prunebench.results import Store
from prunebench.strategies import SNIP

pytest.importorskip("optuna", reason="tuning is an extra")


class Bench:
    """Stands for runs: what is validated follows from the settings, and nothing is trained."""

    def __init__(self, validated, test=0.5, achieved=1.0):
        self.asked, self._validated, self._test, self._achieved = [], validated, test, achieved

    def __call__(self, cells):
        self.asked.append([cell.experiment for cell in cells])
        return {each.id: self._record(each) for each in self.asked[-1]}

    def _record(self, experiment):
        return SimpleNamespace(
            status="ok",
            experiment=experiment.model_dump(mode="json"),
            quality={"top1": "higher"},
            final={"top1": self._test, "compression": self._achieved * experiment.compression},
            rounds=(SimpleNamespace(validation={"top1": self._validated(experiment)}),),
        )

    def settings(self):
        """What was tried, in order: a strategy and a learning rate each."""
        return [(str(own[0].strategy), own[0].finetuning.learning_rate) for own in self.asked]


@pytest.fixture
def found(tmp_path):
    return suite(str(written(tmp_path)))


def by_rate(experiment):
    return 0.3 + experiment.finetuning.learning_rate * 10 + len(str(experiment.strategy)) / 1000


def test_each_method_gets_the_same_number_of_trials_the_first_with_its_defaults(found):
    for strategy in ("SNIP", "Random"):
        bench = Bench(by_rate)
        tuned(found, strategy, bench)
        assert len(bench.asked) == found.tuning.trials
        assert bench.settings()[0] == (strategy, 0.01)
        seeds = {each.seed for own in bench.asked for each in own}
        assert seeds == {found.tuning.seed}
        # Each trial is one choice for all tasks and operating points.
        for own in bench.asked:
            assert len(own) == 4
            assert len({(str(e.strategy), e.finetuning.learning_rate) for e in own}) == 1


def test_the_choice_is_the_trial_of_the_best_validation(found):
    bench = Bench(by_rate)
    choice = tuned(found, "SNIP", bench)
    best = max(bench.asked, key=lambda own: by_rate(own[0]))[0]
    assert choice.strategy == str(best.strategy)
    assert 0.01 * choice.rate == pytest.approx(best.finetuning.learning_rate)


def test_the_tuner_never_sees_the_test_split(found):
    choices = {tuned(found, "SNIP", Bench(by_rate, test)) for test in (0.0, 0.9, None)}
    assert len(choices) == 1


def test_a_study_that_is_begun_again_asks_for_the_same_trials(found):
    first, second = Bench(by_rate), Bench(by_rate)
    assert tuned(found, "RigL", first) == tuned(found, "RigL", second)
    assert first.settings() == second.settings()


def test_studies_differ_in_their_seeds(found):
    benches = [Bench(by_rate) for _ in range(3)]
    for study, bench in enumerate(benches):
        tuned(found, "RigL", bench, study)
        seed = found.tuning.seed + study
        assert {each.seed for own in bench.asked for each in own} == {seed}
    tried = [bench.settings() for bench in benches]
    assert [own[0] for own in tried] == [("RigL", 0.01)] * 3
    assert len({tuple(own) for own in tried}) > 1
    with pytest.raises(UsageError, match="study 2 would have seed 10, one of the suite's"):
        tuned(found.model_copy(update={"seeds": (0, 10)}), "RigL", Bench(by_rate), 1)


def test_only_declared_values_are_tried_and_what_was_given_stays(found):
    bench = Bench(by_rate)
    tuned(found.model_copy(update={"tuning": found.tuning.model_copy(update={"trials": 12})}),
          "SNIP(batch_size=64)", bench)  # fmt: skip
    tried = {own[0].strategy.create() for own in bench.asked}
    assert {each.batch_size for each in tried} == {64}
    assert 1 < len({each.batches for each in tried}) <= len(SNIP.search_space["batches"])
    assert {each.batches for each in tried} <= {*SNIP.search_space["batches"]}
    bench = Bench(by_rate)
    tuned(found, "SNIP(batches=2)", bench)
    assert {own[0].strategy.create().batches for own in bench.asked} == {2}


def test_a_search_space_without_the_default_is_refused_before_any_trial(found, tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(
        "from dataclasses import dataclass\n"
        "from prunebench.strategies import Random\n\n\n"
        "@dataclass(frozen=True)\nclass Mine(Random):\n"
        "    alpha: float = 0.5\n    search_space = {'alpha': (0.1, 1.0)}\n"
    )
    run = ["suite", "run", str(tmp_path / "tiny-1.yaml"), "--runs", str(tmp_path / "runs")]
    assert main([*run, "--division", "tuned", "--strategies", f"{path}:Mine"]) == 2
    said = capsys.readouterr().err
    assert "Mine: search_space has not the default of alpha, 0.5" in said
    assert not (tmp_path / "runs").exists()
    bench = Bench(by_rate)
    tuned(found, f"{path}:Mine(alpha=0.1)", bench)
    assert {own[0].strategy.create().alpha for own in bench.asked} == {0.1}


def test_what_falls_short_of_its_operating_point_is_worth_nothing(found):
    # All trials are then as bad as each other, so that the first stays.
    choice = tuned(found, "SNIP", Bench(by_rate, achieved=0.5))
    assert (choice.strategy, choice.rate) == ("SNIP", 1.0)


def test_a_missing_optuna_is_named(found, monkeypatch):
    monkeypatch.setattr("prunebench.benchmark.suites.tuning.lacking", lambda *_: "no optuna here")
    with pytest.raises(UsageError, match="the tuned division: no optuna here"):
        tuned(found, "SNIP", Bench(by_rate))


@pytest.mark.slow
def test_tuned_methods_are_placed_and_scored_again_from_their_records(tmp_path, capsys):
    path = written(tmp_path)
    options = ["--division", "tuned", "--strategies", "GlobalMagnitude"]
    run = ["suite", "run", str(path), "--runs", str(tmp_path), *options]
    assert main(run) == 0
    output = capsys.readouterr()
    assert output.err.count("tuned in 3 trials: ") == 2
    assert "tiny-1 · tuned division" in output.out
    before = sorted(tmp_path.glob("??/*.json"))
    tried = {each.experiment["seed"] for each in Store(tmp_path).outcomes()}
    assert tried == {0, 1, 9}
    score = ["suite", "score", str(tmp_path), "--suite", str(path), *options]
    assert main(score) == 0
    table = capsys.readouterr().out
    assert output.out.startswith(table.rstrip("\n"))
    assert sorted(tmp_path.glob("??/*.json")) == before
    assert main(["suite", "run", str(path), "--runs", str(tmp_path), *options[2:]]) == 0
    capsys.readouterr()
    both = ["suite", "score", str(tmp_path), "--suite", str(path), "--division", "default", "tuned"]
    assert main([*both, "--strategies", "GlobalMagnitude"]) == 0
    assert "of 3 methods in both divisions" in capsys.readouterr().out
    assert main([*score, "SNIP"]) == 2
    assert "SNIP: trials of the tuned division have not been run" in capsys.readouterr().err
