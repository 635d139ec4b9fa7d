"""The papers' settings of pruning language models, on networks of their families that are small."""

import sys

import pytest

import prunebench
from prunebench.benchmark.command_line import main

pytest.importorskip("transformers")
pytestmark = pytest.mark.slow  # importing the library takes seconds

SIZES = "'num_hidden_layers': 2, 'hidden_size': 16, 'num_attention_heads': 2"
FAMILIES = {
    "one-shot-opt-125m": f"opt(config={{{SIZES}, 'word_embed_proj_dim': 16, 'ffn_dim': 24}})",
    "one-shot-bloom-560m": "bloom(config={'n_layer': 2, 'hidden_size': 16, 'n_head': 2})",
    "one-shot-llama-2-7b": f"llama(config={{{SIZES}, 'intermediate_size': 24}}, dtype='float16')",
}
LINES = {"own": "the cat sat on the mat\n", "other": "PACK MY BOX WITH FIVE DOZEN JUGS\n"}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    for name, line in LINES.items():
        (folder / name).mkdir()
        for split in ("train", "validation", "test"):
            (folder / name / f"{split}.txt").write_text(30 * line)
    return {name: f"Text(folder={str(folder / name)!r}, length=16)" for name in LINES}


@pytest.mark.parametrize("name", FAMILIES)
def test_all_cells_of_the_settings_fit_a_network_of_the_family(name, texts, tmp_path, capsys):
    smaller = ["--model", f"transformers/{FAMILIES[name]}", "--runs", str(tmp_path)]
    data = ["--dataset", texts["own"], "--calibration", texts["other"]]
    assert main(["run", name, "--dry-run", *data, *smaller]) == 0
    assert "18 cells, 0 finished, 18 to run" in capsys.readouterr().out


def test_without_the_corpora_a_rehearsal_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "datasets", None)
    places = ["--data", str(tmp_path / "data"), "--runs", str(tmp_path / "runs")]
    assert main(["run", "one-shot-opt-125m", "--dry-run", *places]) == 2
    said = capsys.readouterr().err
    assert "dataset WikiText2: datasets not installed: pip install '.[corpora]'" in said


@pytest.mark.parametrize("strategy", ["Wanda(batches=2, structure=NM)", "SparseGPT(batches=2)"])
def test_a_network_in_half_precision_goes_through_a_cell(strategy, texts, tmp_path):
    record = prunebench.run(
        prunebench.Experiment(
            dataset=texts["own"],
            calibration=texts["other"],
            model=f"transformers/{FAMILIES['one-shot-llama-2-7b']}",
            strategy=strategy,
            sparsity=0.5,
            prune_only=["network.model.layers.*"],
            recovery="NoRecovery",
            pretraining={"epochs": 0},
            measurements=["Size"],
        ),
        runs=tmp_path,
    )
    assert record.finished, record.error
    pruned = prunebench.load(record, runs=tmp_path)
    assert {str(each.dtype) for each in pruned.parameters()} == {"torch.float16"}
    layers = [each for each in record.layers if each.name.startswith("network.model.layers.")]
    counted = [each for each in layers if each.nonzero < each.parameters]
    assert len(counted) == 2 * 7
    assert all(each.nonzero <= each.parameters / 2 + 1 for each in counted)
