"""The score of a suite: areas in closed form, the worst for what fails, and ranks that are sure."""

import math
import re

import numpy as np
import pandas as pd
import pytest

from prunebench import UsageError
from prunebench.results.statistics.fronts import hypervolume
from prunebench.results.statistics.rank_bootstrap import bootstrap_ranks, power
from prunebench.results.statistics.ranks import Rank
from prunebench.results.statistics.tasks import performance_profile
from prunebench.results.suites.levels import INT8, NARROWER, RUN_COLUMNS, ScoredTask
from prunebench.results.suites.moves import Move, moves, moves_as_text
from prunebench.results.suites.page import standing_as_html
from prunebench.results.suites.plots import curves_figure
from prunebench.results.suites.publication import draw_score, score_tables
from prunebench.results.suites.score import METHOD_COLUMNS, TASK_COLUMNS, score
from prunebench.results.suites.text import power_as_text, score_as_text

POINTS, SEEDS = (2.0, 4.0, 16.0), (0, 1, 2)
TASKS = [ScoredTask(f"task{i}", (str(i),), {}, (), POINTS, SEEDS, 0.1, 1.0) for i in range(5)]


def rows(method, level, state="ok", tasks=TASKS, seeds=SEEDS, points=POINTS):
    """Runs of a method whose level is a function of task, seed and point."""
    for number, task in enumerate(tasks):
        for seed in seeds:
            for point in points:
                value = level(number, seed, point) if state == "ok" else 0.0
                yield {
                    "task": task.name, "method": method, "seed": seed, "point": point,
                    "state": state, "quality": 90 * value, "loss": 90 * (1 - value),
                    "level": value, "speedup": point, "epochs": 2, "scoring_epochs": 0.5,
                    "record": f"{number}{seed}{point:g}",
                }  # fmt: skip


def frame(*runs):
    return pd.DataFrame([each for some in runs for each in some], columns=list(RUN_COLUMNS))


def simulated(rng, methods=8, tasks=7, seeds=3):
    """Areas of a suite: methods differ, tasks differ for each, and seeds by a point."""
    base = rng.normal(0.9, 0.05, methods) + rng.normal(0, 0.03, (tasks, methods))
    return base[:, :, None] + rng.normal(0, 0.01, (tasks, methods, seeds))


def test_the_area_is_the_mean_level_along_log_compression():
    level = {2.0: 1.0, 4.0: 0.8, 16.0: 0.4}
    found = score(
        TASKS,
        frame(rows("A", lambda task, seed, p: level[p]), rows("B", lambda task, seed, p: 0.5)),
    )
    by_method = found.by_method.set_index("method")
    assert by_method.loc["A", "area"] == pytest.approx((0.9 * 1 + 0.6 * 2) / 3)
    assert by_method.loc["B", "area"] == pytest.approx(0.5)
    # The staircase: 1 up to 2×, 0.8 up to 4×, 0.4 up to 16×.
    assert by_method.loc["A", "hypervolume"] == pytest.approx((1 + 0.8 + 2 * 0.4) / 4)
    assert by_method.loc["A", "epochs"] == 2 * len(TASKS) * len(POINTS)
    assert by_method.loc["A", "scoring_epochs"] == 0.5 * len(TASKS) * len(POINTS)


def test_methods_are_held_against_8_bits_at_as_many_bytes_between_their_points():
    level = {2.0: 1.0, 4.0: 0.8, 16.0: 0.4}
    rounded = [
        each
        for point, quality, tasks in (
            (8.0, 0.9, TASKS[:2]),
            (3.0, 0.5, TASKS[2:3]),
            (20.0, 0.1, TASKS[3:4]),
        )
        for each in rows(INT8, lambda task, seed, p, q=quality: q, tasks=tasks, points=[point])
    ]
    found = score(
        TASKS,
        frame(
            rows("A", lambda task, seed, p: level[p]),
            rows("B", lambda *_: 0.5),
            rows(NARROWER, lambda task, seed, p: math.log2(p) / 4),
            rounded,
        ),
    )
    assert {*found.methods} == {"A", "B", NARROWER}
    assert not found.incomplete
    own = found.by_task.set_index(["method", "task"])["against_int8"]
    assert own["A"].tolist()[:2] == pytest.approx([0.6 - 0.9] * 2)
    assert own["A", "task2"] == pytest.approx(1 - 0.2 * math.log2(1.5) - 0.5)
    assert own["A"].isna().tolist() == [False, False, False, True, True]
    # Without zeros there are no bits that say where they are: 8× with them is 6.4× without.
    assert own[NARROWER, "task0"] == pytest.approx(math.log2(6.4) / 4 - 0.9)
    means = found.by_method.set_index("method")["against_int8"]
    assert means["A"] == pytest.approx(own["A"].mean())
    assert means["B"] == pytest.approx((2 * (0.5 - 0.9) + 0.0) / 3)
    assert f"{100 * means['A']:+.1f}" in score_as_text(found)
    assert INT8 in {handle.get_text().split(",")[0] for handle in legend_of(curves_figure(found))}


def test_curves_are_drawn_above_the_grid_and_say_along_what():
    methods = [rows(name, lambda *_: 0.5) for name in "ABCDEFGH"]
    figure = curves_figure(score(TASKS, frame(*methods)))
    panel = figure.axes[0]
    assert len(panel.lines) == 8
    assert min(line.zorder for line in panel.lines) > panel.xaxis.get_zorder()
    visible = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_xlabel() for axes in visible] == [""] + ["Compression"] * 4


def legend_of(figure):
    return figure.legends[0].get_texts()


def test_a_loss_of_at_most_a_point_is_read_off_between_the_points():
    loss = {2.0: 0.0, 4.0: 2.0, 16.0: 9.0}
    found = score(
        TASKS,
        frame(
            rows("A", lambda task, seed, p: 1 - loss[p] / 90), rows("B", lambda task, seed, p: 0.0)
        ),
    )
    limits = found.by_task.set_index(["task", "method"])["compression_at_loss"]
    assert limits["task0", "A"] == f"{2 * math.sqrt(2):.3g}×"
    assert limits["task0", "B"] == "< 2×"


def test_what_fails_counts_as_the_worst_and_never_as_missing():
    found = score(
        TASKS,
        frame(
            rows("Good", lambda task, seed, p: 0.9 + seed / 1000),
            rows("Poor", lambda task, seed, p: 0.1 + seed / 1000),
            rows("Broken", None, "failed"),
            rows("Dead", None, "collapsed"),
        ),
    )
    assert found.methods[:2] == ("Good", "Poor")
    by_method = found.by_method.set_index("method")
    assert by_method.loc["Broken", ["area", "mean_rank", "failed"]].tolist() == [0, 3.5, 45]
    assert by_method.loc["Dead", ["area", "mean_rank", "collapsed"]].tolist() == [0, 3.5, 45]
    # Equal ones share a rank, and are told from those that are better.
    assert [str(each) for each in found.places()] == ["1", "2", "3–4", "3–4"]


def test_a_method_of_which_cells_were_not_run_is_named_and_not_ranked():
    found = score(
        TASKS,
        frame(
            rows("A", lambda task, seed, p: 0.9),
            rows("B", lambda task, seed, p: 0.8),
            rows("C", lambda task, seed, p: 1.0, seeds=(0, 1)),
        ),
    )
    assert set(found.methods) == {"A", "B"}
    assert found.incomplete == {"C": len(TASKS) * len(POINTS)}
    assert "not ranked, since 15 cells have not been run: C" in score_as_text(found)
    with pytest.raises(UsageError, match=r"fewer than two methods are complete.*C \(15\)"):
        score(TASKS, frame(rows("C", lambda task, seed, p: 1.0, seeds=(0, 1))))


def test_the_same_method_under_two_names_is_told_apart_in_no_more_than_a_twentieth_of_suites():
    rng = np.random.default_rng(1)
    apart = 0
    for _ in range(200):
        areas = simulated(rng, tasks=5)
        areas[:, 1] = areas[:, :1].mean(axis=(1, 2))[:, None] + rng.normal(0, 0.01, (5, 3))
        areas[:, 0] = areas[:, :1].mean(axis=(1, 2))[:, None] + rng.normal(0, 0.01, (5, 3))
        apart += bool(bootstrap_ranks(areas, 200).apart[0, 1])
    assert apart <= 10


def test_larger_differences_are_told_more_often():
    areas = simulated(np.random.default_rng(2))
    told = [power(areas, difference, 20) for difference in (0.0, 0.01, 0.1)]
    assert told[0] <= 0.05
    assert told == sorted(told)
    assert told[2] >= 0.9


def test_intervals_of_mean_ranks_hold_them_and_ties_have_ranks_in_common():
    found = bootstrap_ranks(simulated(np.random.default_rng(3)))
    assert (found.low <= found.means).all()
    assert (found.means <= found.high).all()
    assert (found.apart == found.apart.T).all()
    assert not found.apart.diagonal().any()
    places = found.places()
    for i, j in zip(*np.nonzero(~found.apart), strict=True):
        assert places[i].best <= places[j].worst


def test_of_fewer_than_four_tasks_nothing_is_told_apart():
    areas = np.array([[[0.9, 0.91], [0.1, 0.11], [0.5, 0.51]]] * 3)
    assert [str(each) for each in bootstrap_ranks(areas).places()] == ["1–3"] * 3
    areas = np.array([[[0.9, 0.91], [0.1, 0.11], [0.5, 0.51]]] * 4)
    assert [str(each) for each in bootstrap_ranks(areas).places()] == ["1", "3", "2"]


def test_a_profile_says_in_how_many_tasks_a_method_is_how_near_to_the_best():
    scores = np.array([[0.9, 0.8], [0.5, 0.6], [0.7, 0.7], [0.4, 0.1]])
    found = performance_profile(scores, np.array([0.0, 0.1, 0.3]))
    assert found.tolist() == [[0.75, 1.0, 1.0], [0.5, 0.75, 1.0]]


def test_the_hypervolume_is_the_area_under_the_staircase():
    assert hypervolume([(1, 0.8), (2, 0.4), (1.5, 0.2)], 4) == pytest.approx((0.8 + 0.4) / 4)
    assert hypervolume([(9, 0.5), (1, -1)], 4) == pytest.approx(0.5)
    assert hypervolume([], 4) == 0


def test_the_score_is_told_written_and_drawn(tmp_path):
    rng = np.random.default_rng(4)
    noise = {name: rng.normal(0, 0.01, (5, 3)) for name in "ABC"}
    runs = frame(
        *(
            rows(name, lambda task, seed, p, n=name, m=mean: m + noise[n][task, seed])
            for name, mean in {"A": 0.9, "B": 0.89, "C": 0.3}.items()
        )
    )
    found = score(TASKS, runs)
    text = score_as_text(found)
    assert "smallest difference that would have been told in 80 % of cases: " in text
    assert "of 20 simulated suites" in power_as_text(found, 20)
    tables = score_tables(found)
    assert {name: [*table.columns] for name, table in tables.items()} == {
        "methods.csv": [*METHOD_COLUMNS],
        "tasks.csv": [*TASK_COLUMNS],
        "suite-runs.csv": [*RUN_COLUMNS],
    }
    assert len(tables["suite-runs.csv"]) == len(runs)
    paths = draw_score(found, tmp_path)
    assert [path.name for path in paths] == ["ranks.png", "curves.png", "performance-profile.png"]
    assert all(path.stat().st_size for path in paths)


def test_the_page_has_the_numbers_of_the_table_and_leads_to_the_pages_of_methods():
    found = score(
        TASKS,
        frame(
            rows("A<b>", lambda task, seed, p: 0.9),
            rows("B", lambda task, seed, p: 0.85 + seed / 100),
            rows("C", None, "failed"),
        ),
    )
    html = standing_as_html(found, {"B": "methods/B.html"}.get)
    assert '<a href="methods/B.html">B</a>' in html
    assert "A&lt;b&gt;" in html
    assert "<b>" not in html
    lines = re.findall(r"<tr><th scope=\"row\">.*?</tr>", html, re.DOTALL)
    assert len(lines) == 3
    for line, area in zip(lines, ("90.00", "86.00", "0.00"), strict=True):
        assert f"<td>{area}</td>" in line
    assert lines[0].count('class="best"') == len(TASKS)
    assert "45 failed" in lines[2]


def test_ranks_in_two_divisions_are_among_the_methods_of_both():
    level = {"A": 0.9, "B": 0.8, "C": 0.7, "D": 0.6, "Only": 0.95}
    tuned = {"A": 0.5, "B": 0.8, "C": 0.7, "D": 0.6}
    rng = np.random.default_rng(5)
    noise = {(n, i): rng.normal(0, 1e-4, 3) for n in level for i in range(8)}
    tasks = [ScoredTask(f"task{i}", (str(i),), {}, (), POINTS, SEEDS, 0.1, 1.0) for i in range(8)]

    def runs(levels):
        return frame(
            *(
                rows(name, lambda task, seed, p, n=name, m=m: m + noise[n, task][seed], tasks=tasks)
                for name, m in levels.items()
            )
        )

    found = {each.method: each for each in moves(tasks, runs(level), runs(tuned))}
    assert [*found] == ["A", "B", "C", "D"]
    assert {name: each.means for name, each in found.items()} == {
        "A": (1, 4), "B": (2, 1), "C": (3, 2), "D": (4, 3)
    }  # fmt: skip
    assert all(each.is_sure for each in found.values())
    text = moves_as_text([*found.values()], ["default", "tuned"])
    assert "of 4 methods in both divisions 4 have another mean rank, 4 by more than" in text
    same = moves(tasks, runs(level), runs(level))
    assert len(same) == 5
    assert not any(each.is_sure for each in same)
    assert "0 have another mean rank, 0 by more" in moves_as_text(same, ["default", "tuned"])
    with pytest.raises(UsageError, match="fewer than two methods are complete in both"):
        moves(tasks, runs({"A": 0.9, "B": 0.8}), runs({"B": 0.9, "C": 0.8}))


def test_ranks_whose_intervals_meet_are_not_surely_others():
    assert not Move("A", (Rank(1, 3), Rank(3, 5)), (2, 4)).is_sure
    assert Move("A", (Rank(1, 2), Rank(3, 5)), (1.5, 4)).is_sure
    assert Move("A", (Rank(4, 5), Rank(1, 3)), (4.5, 2)).is_sure
