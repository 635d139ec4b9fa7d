"""Any metric of quality has its table and plots, by its own title, unit and direction."""

import io

import pandas as pd
import pytest

from prunebench.errors import UsageError
from prunebench.quality import ACCURACY, Quality
from prunebench.results import as_text, leaderboard
from prunebench.results.comparison import comparisons
from prunebench.results.curves import curves, plot_curves
from prunebench.results.plots import quality_figure
from prunebench.results.qualities import descriptions
from prunebench.results.record import Epoch, Record
from prunebench.results.report import report
from prunebench.results.study import medians, schemes
from prunebench.results.study_plots import medians_figure, schemes_figure
from prunebench.results.tables import as_csv
from prunebench.results.targets import COMPRESSION

F1 = {"f1": {"title": "F1 score", "unit": "%"}}
ERROR = {"gap": {"title": "Gap", "unit": "dB"}}


def sweep(make_record, **settings):
    return [
        make_record(
            compression=compression,
            strategy=strategy,
            seed=seed,
            quality={"top1": "higher", "loss": "lower", **settings.get("quality", {})},
            described=settings.get("described"),
            dense=settings.get("dense"),
            final={n: v / compression for n, v in settings.get("dense", {}).items()},
        )
        for strategy in ("Random", "GlobalMagnitude")
        for compression in (2.0, 4.0)
        for seed in (0, 1)
    ]


CHOSEN = {"quality": {"f1": "higher"}, "described": F1, "dense": {"f1": 0.8125}}


def read_back(frame):
    return pd.read_csv(io.BytesIO(as_csv(frame)))


@pytest.mark.parametrize(
    ("value", "spread", "written"),
    [
        (20.1234, 0.08619, ("20.12", "0.09")),
        (20.0, 0.001, ("20.00", "0.00")),
        (41.18, 1.1108, ("41.18", "1.11")),
        (0.012345, 0.1, ("0.01235", "0.10000")),
        (9999.6, 3.0, ("1e+04", "3")),
        (123456.0, 7.0, ("1.235e+05", "7")),
        (1e-9, 1e-10, ("1e-09", "1e-10")),
        (0.0, 0.5, ("0.000", "0.500")),
        (float("inf"), float("nan"), ("inf", "nan")),
    ],
)
def test_a_spread_has_as_many_places_as_the_value_beside_it(value, spread, written):
    assert Quality("lower").written_with(value, spread) == written


def test_fractions_are_written_in_percent_with_their_spread():
    assert ACCURACY["top1"].written_with(0.98761, 0.0012) == ("98.76", "0.12")


@pytest.mark.parametrize("as_read", [lambda frame: frame, read_back])
def test_a_metric_chosen_beside_the_tasks_own_has_a_table_of_its_own(make_record, as_read):
    frame = as_read(leaderboard(sweep(make_record, **CHOSEN)))
    own, chosen = as_text(frame).split("\n\nLeNet5")
    assert "Top-1 accuracy (%), mean" in own
    assert "F1 score (%), mean ± std of 2 seeds; unpruned 81.25" in chosen
    assert "40.62 ± 0.00" in chosen


def test_what_is_better_and_how_it_is_drawn_is_what_the_metric_says(make_record):
    settings = {"quality": {"gap": "lower"}, "described": ERROR, "dense": {"gap": 3.0}}
    frame = leaderboard(sweep(make_record, **settings))
    _, gap = comparisons(frame)
    assert gap.metric == Quality("lower", "Gap", "dB")
    own, drawn = quality_figure(frame, COMPRESSION).axes
    assert drawn.get_ylabel() == "Gap (dB), lower is better"
    assert drawn.get_yscale() == "log"
    assert own.get_ylabel() == "Top-1 accuracy (%)"
    _, f1 = quality_figure(leaderboard(sweep(make_record, **CHOSEN)), COMPRESSION).axes
    assert (f1.get_ylabel(), f1.get_yscale()) == ("F1 score (%)", "logit")


def test_a_tasks_own_metric_of_any_name_is_the_only_one_that_compares(make_record):
    quality = {"f1": "higher", "precision": "higher"}
    values = {"f1": 0.5, "precision": 0.25}
    record = make_record(quality=quality, described=F1, final=values, dense=values)
    (only,) = comparisons(leaderboard([record]))
    assert only.metric.heading == "F1 score (%)"


@pytest.mark.slow
def test_the_page_has_a_section_for_each_metric_with_its_direction(make_record, tmp_path):
    settings = {"quality": {"gap": "lower"}, "described": ERROR, "dense": {"gap": 3.0}}
    report(leaderboard(sweep(make_record, **settings)), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Gap (dB) by strategy and target" in page
    assert page.count("Lower is better.") == page.count("Higher is better.") == 1


def test_the_tables_of_a_study_say_what_metrics_are(make_record):
    table = schemes(sweep(make_record, **CHOSEN))
    assert set(table["f1_title"]) == {"F1 score"}
    assert [axes.get_ylabel() for axes in schemes_figure(table).axes] == [
        "Top-1 accuracy (%)",
        "F1 score (%)",
    ]
    (axes,) = medians_figure(medians(table)).axes
    assert axes.get_xlabel() == "Median F1 score (%)"


def test_curves_are_of_the_metric_in_its_unit(make_record, tmp_path, monkeypatch):
    epochs = [
        Epoch(training="pretraining", epoch=n, loss=1.0, validation={"f1": n / 10}) for n in (1, 2)
    ]
    made = make_record(quality={"f1": "higher"}, described=F1, final={"f1": 0.5})
    frame = curves([made.model_copy(update={"history": tuple(epochs)})])
    drawn = []
    name = "prunebench.results.curves.save_figure"
    monkeypatch.setattr(name, lambda figure, _: drawn.append(figure))
    plot_curves(frame, tmp_path / "curves.png")
    _, axes = drawn[0].axes
    assert axes.get_ylabel() == "F1 score (%)"
    assert list(axes.lines[0].get_ydata()) == [10, 20]


def test_tables_of_our_own_metrics_have_no_columns_more_than_ever(make_record):
    frame = leaderboard(sweep(make_record))
    assert not [name for name in frame.columns if name.endswith(("_title", "_unit"))]


def test_a_table_that_is_older_than_descriptions_compares_by_bleu_once_more(make_record):
    values = {"perplexity": 5.0, "loss": 1.6, "bleu": 40.0}
    quality = {"perplexity": "lower", "loss": "lower", "bleu": "higher"}
    frame = read_back(leaderboard([make_record(quality=quality, final=values, dense=values)]))
    assert [each.metric.title for each in comparisons(frame)] == ["Perplexity", "BLEU"]
    assert not [name for name in frame.columns if name.endswith("_title")]


def test_only_what_a_name_does_not_say_is_described():
    score, own = Quality("higher", "F1 score", "%"), {"top1": ACCURACY["top1"]}
    assert descriptions(own, {}) == {}
    assert descriptions(own, {"f1": score}) == {"f1": score}
    assert descriptions({"f1": score, "recall": score}, {}) == {"f1": score}
    other = Quality("higher", "My accuracy", "%")
    assert descriptions({"top1": other}, {}) == {"top1": other}


def test_a_direction_that_is_none_is_refused():
    with pytest.raises(UsageError, match="'more' is not allowed: say whether a 'higher' or"):
        Quality("more")


def test_a_record_describes_nothing_but_its_metrics_of_quality(make_record):
    made = make_record(quality={"f1": "higher"}, described=F1, final={"f1": 0.5})
    assert Record.from_json(made.to_json()) == made
    with pytest.raises(ValueError, match="no quality metric"):
        make_record(described=F1)
