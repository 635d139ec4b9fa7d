"""Where finished runs have kept weights, block by block."""

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
