"""Translation through the loop: trained, pruned, judged, measured, and looked at."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import prunebench
from prunebench.benchmark import command_line
from prunebench.benchmark.cell.epochs import Purpose, Training, epochs
from prunebench.benchmark.cell.pretraining import Pretrained
from prunebench.benchmark.experiment import Experiment
from prunebench.benchmark.recipe import Recipe
from prunebench.benchmark.studies.export import export
from prunebench.benchmark.studies.measuring import measure
from prunebench.benchmark.studies.restoring import restore
from prunebench.metrics import BLEU, Protocol, Subject
from prunebench.models import Seq2SeqLSTM
from prunebench.results import Store, as_text, leaderboard
from prunebench.results.heatmap import HEATMAP_COLUMNS
from prunebench.results.record_file import write_records
from prunebench.results.sensitivity import SENSITIVITY_COLUMNS
from prunebench.results.summary import summary
from prunebench.strategies import MaskedWeights, SparseTraining, prunable_weights

MODEL = "Seq2SeqLSTM(embedding=24, hidden=32, dropout=0.0)"
TRAINING = {"batch_size": 32, "learning_rate": 0.01, "gradient_clipping": 1.0}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def translate(corpus):
    """Make an experiment on the made-up languages."""

    def make(**settings):
        return Experiment(
            **{
                "dataset": f"ParallelText(folder='{corpus}', source='xx', target='yy', "
                "vocabulary=30)",
                "model": MODEL,
                "strategy": "GlobalMagnitude",
                "sparsity": 0.5,
                "metrics": ["BLEU"],
                "pretraining": {**TRAINING, "epochs": 8, "label_smoothing": 0.1},
                "finetuning": {**TRAINING, "epochs": 1},
                **settings,
            }
        )

    return make


@pytest.fixture(scope="module")
def record(translate, runs):
    return prunebench.run(translate(), runs=runs)


@pytest.mark.slow
def test_a_network_learns_to_translate_and_is_judged_by_perplexity_and_bleu(record):
    assert record.status == "ok"
    assert list(record.quality.items()) == [
        ("perplexity", "lower"),
        ("perplexity_per_word", "lower"),
        ("loss", "lower"),
        ("bleu", "higher"),
    ]
    assert record.dense["bleu"] > 80
    assert record.dense["perplexity"] < 1.5
    assert record.final["bleu"] > 60
    assert record.final["prunable_sparsity"] == pytest.approx(0.5, abs=1e-4)
    assert "beam:5" in record.signatures["BLEU"]
    assert f"BLEU: {record.signatures['BLEU']}" in summary(record)


@pytest.mark.slow
def test_the_same_experiment_gives_the_same_record(translate, record, tmp_path):
    assert prunebench.run(translate(), runs=tmp_path).result() == record.result()


@pytest.mark.slow
def test_the_dense_network_is_translated_with_once(translate, record, runs, monkeypatch):
    asked = []
    monkeypatch.setattr(BLEU, "measure", lambda *_: asked.append(1) or {"bleu": 1.0})
    other = prunebench.run(translate(sparsity=0.25, recovery="NoRecovery"), runs=runs)
    assert len(asked) == 1
    assert other.dense["bleu"] == record.dense["bleu"]
    assert other.final["bleu"] == 1.0


def test_the_record_knows_the_class_of_each_prunable_weight(record):
    classes = {layer.name: layer.weight_class for layer in record.layers}
    assert classes["decoder.0.weight_hh_l0"] == "decoder 1 hidden-to-hidden"
    assert classes["attention.combine.weight"] == "attention"
    assert classes["softmax.bias"] == ""


@pytest.mark.slow
@pytest.mark.parametrize("finetuned", ["masked", "shrunk"])
def test_hidden_units_and_embedding_features_are_cut_out(translate, runs, task_of, finetuned):
    made = translate(
        strategy="StructuredL1(structure=CoupledChannels)",
        sparsity=None,
        channel_sparsity=0.5,
        finetuned_network=finetuned,
    )
    record = prunebench.run(made, runs=runs)
    assert record.status == "ok"
    restored = restore(record, Store(runs), runs)
    small, masked = restored.networks["shrunk"], restored.networks["masked"]
    nonzero = sum(int(parameter.count_nonzero()) for parameter in masked.parameters())
    assert sum(parameter.numel() for parameter in small.parameters()) >= nonzero
    assert record.final["file_bytes_shrunk"] < 0.5 * record.final["file_bytes"]
    for network in (small, masked):
        found = BLEU().measure(Subject(network, network, task_of(made), ()))
        assert found["bleu"] == pytest.approx(record.final["bleu"], abs=1e-6)


@pytest.fixture(scope="module")
def task_of():
    from prunebench.benchmark.cell.loop import load_task

    return lambda made: load_task(made.dataset, Path())


@pytest.mark.slow
@pytest.mark.parametrize(
    "strategy",
    [
        "GlobalMagnitude(allocation=ClassUniform)",
        "GlobalMagnitude(allocation=ClassDistribution)",
        "OBD",
        "Random",
        "SNIP(batches=2, batch_size=32)",
        "Wanda",
        "Movement",
    ],
)
def test_every_kind_of_score_prunes_a_translator(translate, runs, strategy):
    record = prunebench.run(translate(strategy=strategy), runs=runs)
    assert record.error is None
    assert record.final["prunable_sparsity"] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.slow
def test_tied_weights_are_counted_stored_and_pruned_once(translate, runs, tmp_path):
    model = "Seq2SeqLSTM(embedding=24, hidden=24, dropout=0.0, tied='target')"
    pretraining = {**TRAINING, "epochs": 1}
    record = prunebench.run(translate(model=model, pretraining=pretraining), runs=runs)
    assert record.error is None
    rows = [layer for layer in record.layers if layer.shape == (30, 24)]
    assert [layer.weight_class for layer in rows] == ["source embedding", "embeddings and softmax"]
    assert record.final["prunable_sparsity"] == pytest.approx(0.5, abs=1e-4)
    parameters = record.final["parameters"]
    assert 4 * parameters < record.final["file_bytes"] < 4 * parameters + 30 * 24 * 4
    restored = restore(record, Store(runs), runs).deployed
    assert restored.softmax.weight is restored.target_embedding.weight
    nonzero = sum(int(parameter.count_nonzero()) for parameter in restored.parameters())
    assert nonzero == record.final["nonzero"]
    for form in ("safetensors", "sparse"):
        path = tmp_path / f"{form}.safetensors"
        assert export(record, form, path, runs=runs) == path.stat().st_size
    assert set(load_file(tmp_path / "safetensors.safetensors")) == set(restored.state_dict())


@pytest.mark.slow
def test_class_uniform_prunes_the_same_fraction_of_each_class(translate, runs):
    made = translate(strategy="GlobalMagnitude(allocation=ClassUniform)")
    record = prunebench.run(made, runs=runs)
    classes = {}
    for layer in record.layers:
        if layer.weight_class:
            count = classes.setdefault(layer.weight_class, [0, 0])
            count[0] += layer.parameters
            count[1] += layer.nonzero
    assert len(classes) == 8
    for parameters, nonzero in classes.values():
        assert nonzero == pytest.approx(parameters / 2, abs=1)


@pytest.mark.slow
def test_finished_runs_are_timed_where_a_runtime_can_run_them(record, runs):
    quick = Protocol(repeats=3, most_repeats=3, sample_ms=1e-3)
    (measured,) = measure(
        [record],
        runs=runs,
        runtimes=["Eager", "OnnxRuntime"],
        batch_sizes=[4],
        protocol=quick,
        progress=False,
    )
    by_runtime = {(row.runtime, row.network): row for row in measured.inference}
    assert by_runtime["Eager", "masked"].median_ms > 0
    # What is computed depends on the longest sentence of the batch, which ONNX's tracing refuses.
    assert by_runtime["OnnxRuntime", "masked"].median_ms is None
    assert by_runtime["OnnxRuntime", "masked"].reason.startswith("no ONNX export: ")
    assert "\x1b" not in by_runtime["OnnxRuntime", "masked"].reason


def test_the_weights_are_exported(record, runs, tmp_path):
    assert export(record, "safetensors", tmp_path / "x.safetensors", runs=runs) > 0


@pytest.mark.slow
def test_the_study_is_told_by_three_tables_and_figures(translate, record, runs, tmp_path, capsys):
    plain = [
        prunebench.run(translate(sparsity=sparsity, recovery="NoRecovery"), runs=runs)
        for sparsity in (0.25, 0.5)
    ]
    records = tmp_path / "records.jsonl.gz"  # without what other tests have run
    write_records([record, *plain], records)
    assert command_line.main(["study", str(records), "-o", str(tmp_path)]) == 0
    table = pd.read_csv(tmp_path / "schemes.csv")
    table = table[table.model == MODEL]
    row = table[(table.strategy == "GlobalMagnitude") & (table.training == "retraining")].iloc[0]
    assert row.bleu == pytest.approx(record.final["bleu"], rel=1e-5)
    assert row.bleu_dense == pytest.approx(record.dense["bleu"], rel=1e-5)
    middle = pd.read_csv(tmp_path / "medians.csv")
    middle = middle[middle.model == MODEL]
    plain = middle[(middle.strategy == "GlobalMagnitude") & (middle.training == "no retraining")]
    rows = table[(table.strategy == "GlobalMagnitude") & (table.training == "no retraining")]
    rows = rows[rows.target.isin(plain.targets.item().split(", "))]
    assert plain.bleu.item() == pytest.approx(rows.bleu.median(), rel=1e-5)
    assert plain.sparsities.item() == len(rows)
    classes = pd.read_csv(tmp_path / "classes.csv")
    classes = classes[classes.model == MODEL]
    blind = classes[(classes.strategy == "GlobalMagnitude") & (classes.sparsity.round(3) == 0.5)]
    pruned = (blind.pruned * blind.weights).sum() / blind.weights.sum()
    assert pruned == pytest.approx(0.5, abs=1e-4)
    for name in ("schemes", "medians", "classes", "classes-at"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_sensitivity_prunes_one_class_alone(translate, record, runs, tmp_path):
    made = translate()
    config = tmp_path / "config.yaml"
    config.write_text(
        f'dataset: "{made.dataset}"\nmodel: "{made.model}"\nstrategy: GlobalMagnitude\n'
        "sparsity: [0.2, 0.5]\n"
        "pretraining: {epochs: 8, batch_size: 32, learning_rate: 0.01, gradient_clipping: 1.0, "
        "label_smoothing: 0.1}\n"
    )
    arguments = ["sensitivity", str(config), "--runs", str(runs), "--sparsity", "0.0", "0.5"]
    assert command_line.main([*arguments, "-o", str(tmp_path)]) == 0
    table = pd.read_csv(tmp_path / "sensitivity.csv")
    documented = [name for name in SENSITIVITY_COLUMNS if "<" not in name]
    assert list(table.columns)[: len(documented)] == documented
    assert len(table) == 2 * 8
    nothing = table[table.sparsity == 0]
    assert (nothing.perplexity_change == 0).all()
    assert (nothing.removed == 0).all()
    half = table[table.sparsity == 0.5].set_index("weight_class")
    assert (half.removed == (half.weights / 2).round()).all()
    state = Pretrained(made, None, runs).state()
    softmax = state["softmax.weight"].abs().flatten().sort().values
    assert half.largest_removed["softmax"] == pytest.approx(
        float(softmax[len(softmax) // 2 - 1]), rel=1e-5
    )
    assert half.perplexity_change["softmax"] > 0
    assert (tmp_path / "sensitivity.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_heat_map_shows_what_is_kept(record, runs, tmp_path):
    arguments = ["heatmap", record.id, "--runs", str(runs), "-o", str(tmp_path)]
    assert command_line.main(arguments) == 0
    blocks = pd.read_csv(tmp_path / "heatmap.csv")
    assert list(blocks.columns) == list(HEATMAP_COLUMNS)
    for layer in record.layers:
        if layer.weight_class:
            mine = blocks[blocks.weight == layer.name]
            assert (mine.block_rows * mine.block_columns).sum() == layer.parameters
            kept = (mine.kept * mine.block_rows * mine.block_columns).sum()
            assert kept == pytest.approx(layer.nonzero, rel=1e-4)
    assert (tmp_path / "heatmap.png").read_bytes().startswith(b"\x89PNG")


def test_the_leaderboard_has_perplexity_and_bleu(runs, record):
    frame = leaderboard(runs)
    assert {"perplexity_mean", "bleu_mean", "bleu_change_mean"} <= set(frame.columns)
    assert set(frame.quality) == {"perplexity"}
    assert set(frame.better) == {"lower"}
    text = as_text(frame[frame.target_sparsity == 0.5])
    assert "Perplexity, 1 seed" in text
    assert "BLEU, 1 seed" in text
    assert f"{record.final['bleu']:.4g}" in text


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
def test_pruned_weights_of_an_lstm_stay_exactly_zero_through_a_thousand_steps(reversal, optimizer):
    torch.manual_seed(0)
    model = Seq2SeqLSTM(classes=reversal.classes, embedding=8, hidden=8)
    weights = dict(model.named_parameters())
    masks = {name: torch.rand(weights[name].shape) > 0.5 for name in prunable_weights(model)}
    MaskedWeights(model, masks).apply()
    recipe = Recipe(
        epochs=40,
        batch_size=32,
        optimizer=optimizer,
        learning_rate=0.01,
        momentum=0.9 if optimizer == "SGD" else 0.0,
        weight_decay=1e-4,
        gradient_clipping=0.5,
    )
    assert recipe.epochs * reversal.steps(32) >= 1_000
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    sparsity = SparseTraining(model, masks)
    for _ in epochs(Training(model, reversal, recipe, Purpose(0, "test"), sparsity)):
        pass
    for name, mask in masks.items():
        assert (weights[name][~mask] == 0).all(), name
        assert (weights[name] != before[name])[mask].any()


def test_clipping_bounds_the_norm_of_all_gradients(reversal):
    torch.manual_seed(0)
    model = Seq2SeqLSTM(classes=reversal.classes, embedding=8, hidden=8, dropout=0.0)
    recipe = Recipe(
        epochs=1, batch_size=32, optimizer="SGD", learning_rate=1.0, gradient_clipping=0.01
    )
    norms = []

    class Watching(SparseTraining):
        def after_step(self):
            super().after_step()
            norms.append(float(nn.utils.get_total_norm([p.grad for p in model.parameters()])))

    for _ in epochs(Training(model, reversal, recipe, Purpose(0, "test"), Watching(model, {}))):
        pass
    assert len(norms) == reversal.steps(32)
    assert max(norms) <= 0.01 * 1.001
    assert min(norms) > 0.0099
