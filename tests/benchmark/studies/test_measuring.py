"""Finished runs are built again from their files, timed, and exported to others."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from prunebench import load, run
from prunebench.benchmark.cell.pretraining import weights_of
from prunebench.benchmark.command_line import main
from prunebench.benchmark.studies.export import export
from prunebench.benchmark.studies.measuring import measure
from prunebench.benchmark.studies.restoring import experiment_of, restore
from prunebench.benchmark.sweeps.sweep import data_folder
from prunebench.errors import UsageError
from prunebench.metrics import Accuracy, Protocol, Subject, UnsupportedError, decode
from prunebench.metrics.runtimes import OnnxInt8
from prunebench.results import Store, inference_as_text, inference_table

CHANNELS = "StructuredL1(structure=CoupledChannels)"
MEASURED = ["Size", "Flops", "Storage"]
QUICK = Protocol(repeats=3, most_repeats=3, sample_ms=1e-3)


@pytest.fixture(scope="module")
def finished(experiment, tmp_path_factory):
    """A run that removed channels, and one that removed weights."""
    folder = tmp_path_factory.mktemp("measuring")
    for strategy in (CHANNELS, "GlobalMagnitude"):
        run(experiment(strategy=strategy, compression=4.0, measurements=MEASURED), runs=folder)
    return folder


@pytest.fixture
def runs(finished, tmp_path):
    """Both runs, to do with as a test likes."""
    return Path(shutil.copytree(finished, tmp_path / "runs"))


def ways_to_say(runs, record):
    """Each way to say which run is meant, with the arguments that it needs."""
    stem = runs / record.id[:2] / record.id
    return [
        (record, {"runs": runs}),
        (record.id[:6], {"runs": runs}),
        (f"sha256:{record.id}", {"runs": str(runs)}),
        (stem.with_suffix(".json"), {}),
        (str(stem.with_suffix(".safetensors")), {}),
        (f"{runs}/{record.id[:6]}", {}),
    ]


def record_of(runs, strategy):
    return next(r for r in Store(runs).records() if r.experiment["strategy"] == strategy)


def test_a_loaded_network_has_the_weights_and_the_accuracy_of_the_record(runs):
    record = record_of(runs, "GlobalMagnitude")
    task = restore(record, Store(runs), data_folder(None)).task
    shutil.rmtree(runs / "pretrained")  # which it has no need of
    weights = load_file(Store(runs).weights_path(record.id))
    for reference, options in ways_to_say(runs, record):
        network = load(reference, **options)
        assert not network.training
        state = network.state_dict()
        assert state.keys() == weights.keys()
        assert all(torch.equal(state[name], weights[name]) for name in weights)
    correct = sum(
        int((network(inputs).argmax(1) == labels).sum())
        for inputs, labels in task.batches("test", 500)
    )
    assert correct / task.size("test") == record.final["top1"]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # exporters warn of their own code
def test_a_runtime_that_rounds_says_what_becomes_of_the_quality(runs):
    if torch.__version__.startswith("2.6."):
        pytest.skip("torch 2.6 exports no batch normalisation with today's onnxscript")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    record = record_of(runs, "GlobalMagnitude")
    restored = restore(record, Store(runs), data_folder(None))
    (measured,) = measure(
        [record], runs=runs, runtimes=["OnnxInt8"], batch_sizes=[64], protocol=QUICK, progress=False
    )
    found = [row for row in measured.inference if row.quality is not None]
    rounded = {row.network: row.quality for row in found}
    assert {row.runtime for row in found} == {"OnnxInt8"}
    assert rounded.keys() == {"dense", "masked"}
    examples, _ = next(iter(restored.task.batches("train", 500)))
    for kind, found in rounded.items():
        network = OnnxInt8().rounded(restored.networks[kind], examples)
        right = sum(
            int((network(inputs).argmax(1) == labels).sum())
            for inputs, labels in restored.task.batches("test", 100)
        )
        size = restored.task.size("test")
        # Other examples have nearly the same least and largest values.
        assert abs(found["top1"] - right / size) <= 5 / size
    frame = inference_table([measured])
    exact = frame[frame["runtime"] == "Eager"].set_index("network")["quality"]
    assert exact.to_dict() == {"dense": record.dense["top1"], "masked": record.final["top1"]}
    eight = frame[frame["runtime"] == "OnnxInt8"].set_index("network")["quality"]
    assert eight.to_dict() == {kind: found["top1"] for kind, found in rounded.items()}
    percent = f"{100 * eight['dense']:.2f} instead of {100 * exact['dense']:.2f}"
    said = f"OnnxInt8 rounds: Top-1 accuracy (%) of dense is {percent}"
    assert (said in inference_as_text(frame)) == (eight["dense"] != exact["dense"])


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_quality_that_cannot_be_found_out_is_not_that_of_the_record(runs, monkeypatch):
    if torch.__version__.startswith("2.6."):
        pytest.skip("torch 2.6 exports no batch normalisation with today's onnxscript")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

    def refuse(self, model, examples):
        raise UnsupportedError("it takes batches of one size only")

    monkeypatch.setattr(OnnxInt8, "rounded", refuse)
    record = record_of(runs, "GlobalMagnitude")
    (measured,) = measure(
        [record], runs=runs, runtimes=["OnnxInt8"], batch_sizes=[64], protocol=QUICK, progress=False
    )
    frame = inference_table([measured]).set_index("runtime")
    assert frame.loc["OnnxInt8", "median_ms"].notna().all()
    assert frame.loc["OnnxInt8", "quality"].isna().all()
    assert frame.loc["Eager", "quality"].notna().all()


def test_a_network_is_loaded_without_its_channels_where_they_are_gone(runs):
    record = record_of(runs, CHANNELS)
    network, small = load(record, runs=runs), load(record, runs=runs, shrunk=True)
    inputs = torch.rand(4, 1, 8, 8)
    assert torch.allclose(network(inputs), small(inputs), atol=1e-5)
    sizes = [sum(each.numel() for each in model.parameters()) for model in (network, small)]
    assert sizes[1] == record.final["nonzero"] < sizes[0]
    with pytest.raises(UsageError, match="removes no channels"):
        load(record_of(runs, "GlobalMagnitude"), runs=runs, shrunk=True)


def test_what_cannot_be_loaded_is_said_in_a_sentence(runs):
    record = record_of(runs, "GlobalMagnitude")
    Store(runs).weights_path(record.id).unlink()
    with pytest.raises(UsageError, match="has no weights: there is no"):
        load(record, runs=runs)
    for reference in ("00ff", runs / "00ff", runs / "00/00ff.json", runs / "00/00ff.safetensors"):
        with pytest.raises(UsageError, match="there is no record"):
            load(reference, runs=runs)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [CHANNELS, "GlobalMagnitude"])
def test_the_networks_of_a_run_score_what_the_record_says(runs, strategy):
    record = record_of(runs, strategy)
    restored = restore(record, Store(runs), data_folder(None))
    assert ("shrunk" in restored.networks) == (strategy == CHANNELS)
    for kind, network in restored.networks.items():
        subject = Subject(network, network, restored.task, ())
        expected = record.dense if kind == "dense" else record.final
        measured = Accuracy().measure(subject)
        assert measured["top1"] == expected["top1"]
        assert measured["loss"] == pytest.approx(expected["loss"], rel=1e-5)


@pytest.mark.slow
def test_measuring_adds_times_to_the_records_and_changes_nothing_else(runs):
    before = {record.id: record for record in Store(runs).records()}
    measured = measure(
        before.values(),
        runs=runs,
        runtimes=["SparseCSR(everywhere=True)"],
        batch_sizes=[1, 4],
        protocol=QUICK,
        progress=False,
    )
    assert [record.id for record in measured] == list(before)
    for record in Store(runs).records():
        assert record.result() == before[record.id].result()
        assert record.timings == before[record.id].timings
        networks = 3 if record.experiment["strategy"] == CHANNELS else 2
        assert len(record.inference) == 2 * (networks + 1)
        assert {row.batch_size for row in record.inference} == {1, 4}
        assert record.inference_environment["threads"] == 1
        assert all(row.median_ms > 0 for row in record.inference)
    frame = inference_table(measured)
    assert set(frame["network"]) == {"dense", "masked", "shrunk"}
    dense = frame[(frame["network"] == "dense")]
    assert set(dense["theoretical_speedup"]) == {1.0}
    text = inference_as_text(frame)
    assert "batch of 4, 1 CPU threads" in text
    assert CHANNELS in text


@pytest.mark.slow
def test_a_second_measurement_takes_the_place_of_the_first(runs):
    records = list(Store(runs).records())
    for _ in range(2):
        records = measure(
            records, runs=runs, runtimes=[], batch_sizes=[1], protocol=QUICK, progress=False
        )
    assert len(record_of(runs, "GlobalMagnitude").inference) == 2


@pytest.mark.slow
def test_the_command_writes_a_table_and_a_plot(runs, capsys, monkeypatch):
    monkeypatch.setattr("prunebench.benchmark.commands.measure.chosen_protocol", lambda _: QUICK)
    arguments = ["--runtimes", "Eager", "--batch-sizes", "200", "--repeats", "3", "--passes", "2"]
    assert main(["measure", str(runs), *arguments]) == 0
    out = capsys.readouterr().out
    assert "2 passes over the test split in batches of 200, 1 CPU threads" in out
    assert "? no verdict: Eager: 2 samples are too few" in out
    for record in Store(runs).records():
        whole = [row for row in record.inference if row.passes]
        assert {row.passes for row in whole} == {2}
        assert all(row.pass_seconds > 0 and row.median_ms is None for row in whole)
        # One pass takes several batches, of which a forward pass was timed.
        assert whole[0].network == record.inference[0].network == "dense"
    assert "GlobalMagnitude" in out
    assert (runs / "inference.csv").read_text().startswith("dataset,model,strategy,target_compr")
    assert (runs / "inference.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["measure", "{runs}", "--runtimes", "Egaer"], "did you mean 'Eager'"),
        (["measure", "{runs}", "--batch-sizes", "0"], "'0' is not allowed"),
        (["measure", "{runs}", "--repeats", "2"], "2 is not allowed: at least 3 samples"),
        (["measure", "{runs}/none"], "there is no folder"),
        (["measure", "{runs}", "--passes", "1"], "passes: 1 is not allowed"),
        (["measure", "{runs}", "--seed", "7"], "--seed: 7 is not allowed: the runs have 0"),
        (["export", "{id}", "--runs", "{runs}", "--format", "pickle"], "'pickle' is not allowed"),
        (["export", "nothing", "--runs", "{runs}"], "there is no record nothing"),
        (["break-even", "--linear", "8", "8", "--sparsity", "1"], "'1' is not allowed"),
        (["break-even", "--model", "torchvision/resnet5"], "unknown torchvision model 'resnet5'"),
        (["break-even", "--linear", "8", "8", "--repeats", "1"], "1 is not allowed: at least 3"),
        (["break-even", "--model", "LeNet"], "unknown model 'LeNet'"),
        (["break-even"], "--linear --model is required"),
    ],
)
def test_a_mistake_gets_one_sentence(runs, capsys, arguments, sentence):
    record_id = record_of(runs, CHANNELS).id
    assert main([text.format(runs=runs, id=record_id) for text in arguments]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("what", [["measure", "{runs}"], ["break-even", "--linear", "8", "8"]])
def test_a_gpu_that_is_not_there_is_not_timed(runs, capsys, what):
    assert main([*(text.format(runs=runs) for text in what), "--device", "cuda"]) == 2
    assert "--device: 'cuda' is not allowed: there is no CUDA GPU" in capsys.readouterr().err


@pytest.mark.gpu
def test_runs_are_timed_on_a_gpu(runs):
    for measured in measure(Store(runs).records(), runs=runs, protocol=QUICK, device="cuda"):
        rows = {(row.runtime, row.network): row for row in measured.inference}
        assert rows["Eager", "dense"].median_ms > 0
        assert measured.inference_environment["processor"] == torch.cuda.get_device_name()


def test_a_run_without_weights_is_named(runs):
    record = record_of(runs, CHANNELS)
    Store(runs).weights_path(record.id).unlink()
    with pytest.raises(UsageError, match=f"the run {record.id} has no weights"):
        restore(record, Store(runs), data_folder(None))


def test_a_run_without_its_dense_network_is_named(runs):
    record = record_of(runs, CHANNELS)
    weights_of(experiment_of(record), runs).unlink()
    with pytest.raises(UsageError, match=f"the dense network of the run {record.id} is missing"):
        restore(record, Store(runs), data_folder(None))


def shrunk_network(runs, record):
    return restore(record, Store(runs), data_folder(None)).deployed


def test_an_exported_state_is_that_of_the_shrunk_network(runs, tmp_path):
    record = record_of(runs, CHANNELS)
    path = tmp_path / "network.safetensors"
    size = export(record, "safetensors", path, runs=runs)
    assert path.stat().st_size == size < record.final["file_bytes"] / 3
    network = shrunk_network(runs, record)
    network.load_state_dict(load_file(path))
    assert network.conv1.out_channels < 16


def test_an_exported_sparse_state_is_the_masked_network_bit_by_bit(runs, tmp_path):
    record = record_of(runs, "GlobalMagnitude")
    path = tmp_path / "network.safetensors"
    export(record, "sparse", path, runs=runs)
    saved = load_file(Store(runs).weights_path(record.id))
    back = decode(str(path))
    assert back.keys() == saved.keys()
    assert all(torch.equal(back[n].view(torch.int32), saved[n].view(torch.int32)) for n in saved)


_WITHOUT_PRUNEBENCH = """
import sys
sys.modules["prunebench"] = None  # importing it is an error from here on
import numpy as np
batches = np.load(sys.argv[2]).values()
if sys.argv[1].endswith(".onnx"):
    import onnxruntime
    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    logits = [session.run(None, {"input": images})[0] for images in batches]
else:
    import torch
    network = torch.export.load(sys.argv[1]).module()
    logits = [network(torch.from_numpy(images)).detach().numpy() for images in batches]
np.savez(sys.argv[3], *logits)
"""


@pytest.mark.slow  # exporters and processes take their time
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("model", ["ResNetSmall"])
@pytest.mark.parametrize(("file_format", "suffix"), [("onnx", "onnx"), ("pt", "pt2")])
def test_an_exported_program_runs_without_prunebench_on_any_batch(
    experiment, tmp_path, model, file_format, suffix
):
    if file_format == "onnx" and torch.__version__.startswith("2.6."):
        pytest.skip("torch 2.6 exports no batch normalisation with today's onnxscript")
    chosen = experiment(
        model=model,
        strategy=CHANNELS,
        compression=2.0,
        measurements=["Size"],
        recovery="NoRecovery",
    )
    record = run(chosen, runs=tmp_path)
    path, inputs, outputs = (tmp_path / f"x.{name}" for name in (suffix, "in.npz", "out.npz"))
    export(record, file_format, path, runs=tmp_path)
    network = shrunk_network(tmp_path, record)
    batches = [torch.randn(count, 1, 8, 8) for count in (1, 5)]
    np.savez(inputs, *(images.numpy() for images in batches))
    command = [sys.executable, "-c", _WITHOUT_PRUNEBENCH, path, inputs, outputs]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    for images, logits in zip(batches, np.load(outputs).values(), strict=True):
        with torch.no_grad():
            expected = network(images).numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-5)


GROUPED = """
from torch import nn


class Grouped(nn.Sequential):
    def __init__(self, input_shape=(1, 8, 8), classes=10):
        super().__init__(
            nn.Conv2d(1, 8, 3),
            nn.Conv2d(8, 8, 3, groups=8),
            nn.Conv2d(8, 8, 1),
            nn.ConvTranspose2d(8, 4, 2, 2, groups=4),
            nn.Flatten(),
            nn.Linear(256, classes),
        )
"""


@pytest.mark.slow
def test_the_groups_of_convolutions_are_told_in_the_file(experiment, tmp_path):
    from safetensors import safe_open

    (tmp_path / "grouped.py").write_text(GROUPED)
    chosen = experiment(
        model=f"{tmp_path / 'grouped.py'}:Grouped",
        strategy=CHANNELS,
        compression=None,
        channel_sparsity=0.5,
        measurements=["Size"],
        recovery="NoRecovery",
        least_dense_quality=0.0,
    )
    record = run(chosen, runs=tmp_path)
    path = tmp_path / "x.safetensors"
    export(record, "safetensors", path, runs=tmp_path, trust=True)
    with safe_open(path, "numpy") as file:
        assert json.loads(file.metadata()["groups"]) == {"1": 4, "3": 4}
