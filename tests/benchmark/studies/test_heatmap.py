"""Where finished runs have kept weights, block by block."""

import re
from importlib import import_module

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from prunebench import run
from prunebench.benchmark.studies.heatmap import kept_in_blocks
from prunebench.results import Store


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_of_any_precision_are_read(experiment, tmp_path, dtype):
    record = run(experiment(), runs=tmp_path)
    store = Store(tmp_path)
    blocks = kept_in_blocks(record, store)
    path = store.weights_path(record.id)
    save_file({name: tensor.to(dtype) for name, tensor in load_file(path).items()}, path)
    pd.testing.assert_frame_equal(kept_in_blocks(record, store), blocks)


def test_a_heat_map_says_what_its_rows_and_columns_are(experiment, tmp_path, monkeypatch):
    drawn = []
    module = import_module("prunebench.results.heatmap")
    monkeypatch.setattr(module, "save_figure", lambda figure, path: drawn.append(figure))
    record = run(experiment(), runs=tmp_path)
    module.plot_heatmaps(kept_in_blocks(record, Store(tmp_path)), "a run", tmp_path / "map.png")
    assert drawn[0].get_supxlabel() == "Column of the weight, usually an input"
    assert drawn[0].get_supylabel() == "Row of the weight, usually an output"
    assert all(re.search(r", \d+ % kept$", axes.get_title("left")) for axes in drawn[0].axes[:-1])
