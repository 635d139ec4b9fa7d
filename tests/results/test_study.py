"""A study compares what can be compared, and its figures say what they show."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO

import pandas as pd
import pytest

from prunebench.errors import UsageError
from prunebench.results import Layer, study
from prunebench.results.layout import FIELDS
from prunebench.results.study_plots import (
    LAYOUT,
    classes_at_figure,
    classes_figure,
    medians_figure,
    schemes_figure,
    usual_sparsities,
)

SPARSITIES = (0.5, 0.8, 0.9)


@pytest.fixture
def scheme(make_record):
    """Make the records of one scheme at some sparsities, of one dense network."""

    def make(strategy="GlobalMagnitude", sparsities=SPARSITIES, seeds=(0,), drop=0.1, **settings):
        no_settings = {"model", "dense_top1"}
        counted = {name: value for name, value in settings.items() if name not in no_settings}
        return [
            make_record(
                strategy=strategy,
                compression=None,
                sparsity=sparsity,
                seed=seed,
                top1=0.95 - drop * sparsity - 0.01 * seed,
                final={"prunable_sparsity": sparsity},
                **{"comparison": sha256(str(sorted(counted.items())).encode()).hexdigest()[:8]}
                | settings,
            )
            for sparsity in sparsities
            for seed in seeds
        ]

    return make


def dense_lines(axes):
    """The heights of the lines that go from side to side."""
    return sorted(
        float(line.get_ydata()[0]) for line in axes.lines if list(line.get_xdata()) == [0, 1]
    )


def looks_of_lines(axes):
    """What a reader tells the lines of some axes apart by."""
    return [
        (line.get_color(), line.get_marker(), str(line._dash_pattern), line.get_markerfacecolor())
        for line in axes.lines
        if len(line.get_xdata()) > 2
    ]


def legend_of(figure):
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def title_of(axes):
    """The title and the line below it."""
    (below,) = [text.get_text() for text in axes.texts if getattr(text, "xy", None) == (0, 1)]
    return axes.get_title(loc="left"), below


def test_each_dense_network_has_its_own_line_in_a_panel_of_its_own(scheme):
    accuracies = {"Uniform": 0.98, "XavierUniform": 0.9, "KaimingUniform": 0.7}
    records = [
        record
        for name, accuracy in accuracies.items()
        for record in scheme(initialisation=name, dense_top1=accuracy)
    ]
    panels = schemes_figure(study.schemes(records)).axes
    assert len(panels) == 3
    for axes in panels:
        title, conditions = title_of(axes)
        assert title == "LeNet5 on MNIST"
        initialisation = conditions.removeprefix("initialisation ")
        assert dense_lines(axes) == [pytest.approx(accuracies[initialisation])]


def test_dense_networks_of_different_recipes_are_never_averaged(scheme):
    short = scheme(pretraining={"epochs": 2}, dense_top1=0.8)
    long = scheme(pretraining={"epochs": 9}, dense_top1=0.98)
    panels = schemes_figure(study.schemes(short + long)).axes
    assert {title_of(axes)[1]: dense_lines(axes) for axes in panels} == {
        "pretraining epochs 2": [pytest.approx(0.8)],
        "pretraining epochs 9": [pytest.approx(0.98)],
    }


def test_two_models_in_one_panel_are_told_apart_by_the_kind_of_line_dense_and_pruned(scheme):
    models = {"Perceptron": 0.97, "Perceptron(dropout=0.2)": 0.96}
    records = [
        record
        for model, dense in models.items()
        for strategy in ("OBD", "GlobalMagnitude")
        for record in scheme(strategy, model=model, dense_top1=dense)
    ]
    figure = schemes_figure(study.schemes(records), LAYOUT.with_moved(line=["model"]))
    (axes,) = figure.axes
    assert title_of(axes)[0] == "Perceptron and Perceptron(dropout=0.2) on MNIST"
    assert dense_lines(axes) == [pytest.approx(0.96), pytest.approx(0.97)]
    looks = looks_of_lines(axes)
    assert len(looks) == len(set(looks)) == 4
    assert len({colour for colour, *_ in looks}) == 2
    assert legend_of(figure) == [
        *("GlobalMagnitude", "OBD"),
        *("Perceptron", "Perceptron(dropout=0.2)"),
        *("unpruned Perceptron", "unpruned Perceptron(dropout=0.2)"),
    ]


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ({"schedule": "Linear"}, {}, {"Geometric schedule", "Linear schedule"}),
        ({"rounds": 3}, {}, {"1 round", "3 rounds"}),
        ({"finetuning": {"epochs": 2}}, {}, {"fine-tuning epochs 2", "fine-tuning epochs 5"}),
        ({"timing": "A"}, {"timing": "B"}, {"timing A", "timing B"}),
        (
            {"start_epoch": 3},
            {"start_epoch": None},
            {"pruned after epoch 3", "pruned after pretraining"},
        ),
        (
            {"finetuning": {"epochs": 5, "gradient_clipping": 0.5}},
            {},
            {"fine-tuning gradient clipping 0.5", "fine-tuning gradient clipping none"},
        ),
        ({"recovery": "NoRecovery"}, {}, {"no retraining", "retraining"}),
        (
            {"recovery": "NoRecovery", "finetuning": {"epochs": 2}},
            {},
            {"no retraining", "retraining"},
        ),
    ],
)
def test_what_differs_and_nothing_else_is_in_the_names_of_lines(scheme, one, other, names):
    figure = schemes_figure(study.schemes(scheme(**one) + scheme(drop=0.2, **other)))
    assert set(legend_of(figure)) == {"GlobalMagnitude", "unpruned network", *names}
    (axes,) = figure.axes
    assert len(set(looks_of_lines(axes))) == 2


def test_settings_that_words_cannot_tell_apart_are_told_by_their_hash(scheme):
    records = scheme(comparison="aaaa1111") + scheme(comparison="bbbb2222", drop=0.2)
    table = study.schemes(records)
    assert set(table["conditions"]) == {f"settings {value}" for value in set(table["settings"])}


@pytest.mark.parametrize(
    ("strategies", "kinds"), [(2, 8), (7, 3), pytest.param(20, 3, marks=pytest.mark.slow)]
)
def test_no_two_lines_of_a_panel_look_alike_however_many_there_are(scheme, strategies, kinds):
    records = [
        record
        for strategy in range(strategies)
        for rounds in range(1, kinds + 1)
        for record in scheme(f"Method{strategy}", rounds=rounds, sparsities=(0.5, 0.8, 0.9))
    ]
    figure = schemes_figure(study.schemes(records))
    looks = [looks_of_lines(axes) for axes in figure.axes]
    assert sum(map(len, looks)) == strategies * kinds
    for panel in looks:
        assert len(panel) == len(set(panel)) <= 16
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    names = legend_of(figure)
    assert len(names) == len(set(names))


def test_accuracies_are_in_percent_as_in_the_leaderboard(scheme):
    (axes,) = schemes_figure(study.schemes(scheme())).axes
    assert axes.get_ylabel() == "Top-1 accuracy (%)"
    low, high = axes.get_ylim()
    ticks = [tick for tick in axes.get_yticks() if low <= tick <= high]
    shown = [float(label) for label in axes.yaxis.get_major_formatter().format_ticks(ticks)]
    assert shown == pytest.approx([100 * tick for tick in ticks])
    assert all(80 < label < 100 for label in shown)
    bars = medians_figure(study.medians(study.schemes(scheme()))).axes[0]
    assert [text.get_text() for text in bars.texts if text.get_text() == "87.00"]


def test_sparsities_near_one_are_spread_out(scheme):
    (axes,) = schemes_figure(study.schemes(scheme(sparsities=(0.5, 0.9, 0.99)))).axes
    place = axes.transData.transform
    half, ninety, extreme = (place((sparsity, 0.9))[0] for sparsity in (0.5, 0.9, 0.99))
    assert extreme - ninety > ninety - half


@pytest.mark.slow
def test_a_study_of_one_sparsity_is_a_row_of_dots_for_each_dense_network(scheme):
    records = [
        record
        for initialisation, dense in (("Uniform", 0.98), ("XavierUniform", 0.9))
        for place, batches in enumerate((1, 8, 64))
        for record in scheme(
            f"SNIP(batches={batches})",
            sparsities=[0.8],
            seeds=(0, 1, 2),
            drop=0.3 - 0.1 * place,
            initialisation=initialisation,
            dense_top1=dense,
        )
    ]
    panels = schemes_figure(study.schemes(records)).axes
    assert len(panels) == 2
    for axes in panels:
        rows = [label.get_text() for label in axes.get_yticklabels()]
        assert rows == ["SNIP(batches=64)", "SNIP(batches=8)", "SNIP(batches=1)"]
        assert sum(len(line.get_xdata()) == 3 for line in axes.lines) == 3, "single seeds"


def test_medians_are_over_the_sparsities_that_all_schemes_have(scheme):
    records = scheme("Short", sparsities=(0.5, 0.9)) + scheme("Long", sparsities=(0.1, *SPARSITIES))
    table = study.medians(study.schemes(records)).set_index("strategy")
    assert set(table["sparsities"]) == {2}
    assert set(table["targets"]) == {"50 %, 90 %"}
    expected = ((0.95 - 0.05) + (0.95 - 0.09)) / 2
    assert table["top1"].tolist() == [pytest.approx(expected)] * 2
    figure = medians_figure(table.reset_index())
    assert title_of(figure.axes[0])[1].split() == (
        ["over", "the", "2", "sparsities", "that", "all", "have:", "50", "%,", "90", "%"]
    )


def test_there_is_no_median_where_schemes_have_no_sparsity_in_common(scheme):
    records = scheme("One", sparsities=(0.5,)) + scheme("Other", sparsities=(0.9,))
    table = study.medians(study.schemes(records))
    assert table["sparsities"].tolist() == [0, 0]
    assert table["top1"].isna().all()
    medians_figure(table)


def test_a_record_in_two_folders_counts_once(scheme):
    records = scheme(seeds=(0, 1))
    table = study.schemes([*records, *records])
    assert table["seeds"].tolist() == [2] * len(SPARSITIES)
    assert table["top1_by_seed"].iloc[0] == "0.9 0.89"


def test_two_versions_of_a_strategy_have_lines_of_their_own(scheme):
    records = scheme("mine.py:Mine", sources={"strategy": "aaaa1111ffff"})
    records += scheme("mine.py:Mine", sources={"strategy": "bbbb2222ffff"})
    table = study.schemes(records)
    assert sorted(set(table["strategy"])) == ["Mine @aaaa1111", "Mine @bbbb2222"]


def with_classes(record, **pruned):
    """The record with ten weights in each class, of which so many are pruned."""
    layers = tuple(
        Layer(
            name=name,
            shape=(10,),
            parameters=10,
            nonzero=10 - zeros,
            density=1 - zeros / 10,
            flops=10,
            effective_flops=10 - zeros,
            weight_class=name,
        )
        for name, zeros in pruned.items()
    )
    return record.model_copy(update={"layers": layers})


def test_all_methods_stand_side_by_side_above_each_class_at_the_sparsities_asked_for(scheme):
    pruned = {"Even": (5, 5), "Skewed": (9, 1)}
    records = [
        with_classes(record, embedding=first, softmax=second)
        for name, (first, second) in pruned.items()
        for record in scheme(name, sparsities=(0.5, 0.8))
    ]
    table = study.classes(records)
    assert usual_sparsities(table) == [0.5, 0.8]
    figure = classes_at_figure(table, [0.5, 0.8])
    assert len(figure.axes) == 2
    for axes, sparsity in zip(figure.axes, ("50 %", "80 %"), strict=True):
        heights = [round(bar.get_height()) for bar in axes.patches]
        assert heights == [50, 50, 90, 10]
        assert title_of(axes) == ("LeNet5 on MNIST", f"{sparsity} of all weights pruned")
        classes = [label.get_text().split("\n")[0] for label in axes.get_xticklabels()]
        assert classes == ["embedding", "softmax"]
    assert legend_of(figure) == ["Even", "Skewed", "all weights"]
    with pytest.raises(UsageError, match=r"--at: 0\.7 is not allowed: the runs have 0\.5, 0\.8"):
        classes_at_figure(table, [0.7])
    assert len(classes_figure(table).axes) == 2
    assert len(classes_figure(table[table["target"] == "50 %"]).axes) == 2


def test_a_seed_counts_once_in_a_class_however_often_its_masks_were_trained(scheme):
    ways = ("FineTune", "NoRecovery", "RewindLearningRate")
    records = [
        with_classes(record, layer=4 + seed)
        for recovery in ways
        for seed in range(3)
        for record in scheme(sparsities=[0.5], seeds=(seed,), recovery=recovery)
    ]
    (row,) = study.classes(records).itertuples()
    assert (row.pruned, row.pruned_std) == (pytest.approx(0.5), pytest.approx(0.1))


def test_masks_of_more_rounds_are_not_averaged_with_those_made_at_once(scheme):
    records = [
        *(with_classes(each, layer=5) for each in scheme(sparsities=[0.5])),
        *(with_classes(each, layer=5) for each in scheme(sparsities=[0.5], recovery="NoRecovery")),
        *(with_classes(each, layer=7) for each in scheme(sparsities=[0.5], rounds=3)),
    ]
    table = study.classes(records)
    assert dict(zip(table["conditions"], table["pruned"], strict=True)) == {
        "1 round": pytest.approx(0.5),
        "3 rounds": pytest.approx(0.7),
    }


def test_bars_of_many_methods_are_told_apart(scheme):
    records = [
        with_classes(record, layer=5)
        for number in range(20)
        for record in scheme(f"Method{number:02}", sparsities=[0.5])
    ]
    figure = classes_at_figure(study.classes(records), [0.5])
    assert [len(axes.patches) for axes in figure.axes] == [10, 10]
    looks = {(bar.get_facecolor(), bar.get_hatch()) for axes in figure.axes for bar in axes.patches}
    assert len(looks) == 20


def test_a_layout_moves_fields_and_loses_none():
    layout = LAYOUT.with_moved(panel=["strategy"], line=["model", "pretraining"])
    places = [*layout.panel, *layout.colour, *layout.line]
    assert sorted(places) == sorted(FIELDS)
    assert layout.panel[0] == "strategy"
    assert layout.line[:2] == ("model", "pretraining")
    for chosen, message in (
        ({"colour": ["nonsense"]}, "--colour: 'nonsense' is not allowed: choose among dataset"),
        ({"panel": ["model"], "line": ["model"]}, "'model' is not allowed: it is given for"),
    ):
        with pytest.raises(UsageError, match=message):
            LAYOUT.with_moved(**chosen)


def test_the_tables_may_come_from_csv(scheme, tmp_path):
    records = [with_classes(record, layer=5) for record in scheme(seeds=(0, 1))]
    tables = [study.schemes(records), study.medians(study.schemes(records)), study.classes(records)]
    figures = [schemes_figure, medians_figure, classes_figure]
    for number, (table, figure) in enumerate(zip(tables, figures, strict=True)):
        table.to_csv(tmp_path / f"{number}.csv", index=False)
        drawn, again = figure(table), figure(pd.read_csv(tmp_path / f"{number}.csv"))
        assert [title_of(axes) for axes in drawn.axes] == [title_of(axes) for axes in again.axes]


@pytest.mark.slow
@pytest.mark.parametrize(
    "draw", [schemes_figure, medians_figure, classes_figure, classes_at_figure]
)
def test_names_of_any_length_leave_room_for_what_is_drawn(scheme, draw):
    long = {
        "dataset": f"ParallelText(folder='/{'a/long/way/' * 20}')",
        "model": f"Perceptron(hidden=({', '.join(['40'] * 60)}))",
    }
    records = [
        with_classes(record, encoder=3, decoder=6)
        for rounds in (1, 2)
        for record in scheme("name.py:" + "Strategy" * 12, rounds=rounds, **long)
    ]
    table = study.schemes(records)
    if draw is medians_figure:
        figure = draw(study.medians(table))
    elif draw is classes_at_figure:
        figure = draw(study.classes(records), [0.5, 0.8])
    else:
        figure = draw(table if draw is schemes_figure else study.classes(records))
    figure.savefig(BytesIO())  # which warns where it finds no place
    for axes in figure.axes:
        assert axes.get_position().height * figure.get_figheight() > 0.4
