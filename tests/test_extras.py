"""What comes with extras: all else works without it, and it is named where it is needed."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from prunebench import run
from prunebench.benchmark.command_line import main
from prunebench.datasets import Multi30k, ParallelText, Text
from prunebench.errors import UsageError
from prunebench.metrics import BLEU, UnsupportedError, as_onnx
from prunebench.metrics.runtimes import OnnxInt8, OnnxRuntime, OpenVINO
from prunebench.models import MODELS, Seq2SeqLSTM

SETTINGS = configparser.ConfigParser()
SETTINGS.read(Path(__file__).resolve().parents[1] / "setup.cfg")
EXTRAS = {
    extra: re.findall(r"^[a-z]+", SETTINGS["options.extras_require"][extra], re.MULTILINE)
    for extra in (
        *("corpora", "onnx", "openvino", "ray", "remote", "timm", "transformers"),
        *("translation", "tuning"),
    )
}
PACKAGES = [package for packages in EXTRAS.values() for package in packages]


@pytest.fixture
def lean(monkeypatch):
    """No package of an extra can be found or imported."""
    for package in PACKAGES:
        monkeypatch.setitem(sys.modules, package, None)


def sentence(extra: str, *packages: str) -> str:
    assert set(packages) <= set(EXTRAS[extra])
    said = f"{', '.join(packages)} not installed: pip install '.[{extra}]' in the checkout"
    return re.escape(said)


@pytest.mark.slow
def test_a_run_needs_no_extra_and_all_can_be_listed():
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({PACKAGES}))\n"
        "import prunebench\n"
        "from prunebench.benchmark.command_line import main\n"
        "assert main(['list']) == 0\n"
        "record = prunebench.run(prunebench.Experiment(dataset='Digits', model='LeNetSmall',\n"
        "    strategy='GlobalMagnitude', compression=2.0, pretraining={'epochs': 1}))\n"
        "assert record.status == 'ok', record.error\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "ParallelText" in done.stdout


@pytest.mark.parametrize("dataset", [ParallelText, Multi30k])
def test_translation_names_its_extra_before_a_file_is_read(lean, tmp_path, dataset):
    expected = f"^dataset {dataset.__name__}: {sentence('translation', 'sentencepiece')}"
    with pytest.raises(UsageError, match=expected):
        dataset().load(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_bleu_names_its_extra_before_anything_runs(reversal, monkeypatch):
    model = Seq2SeqLSTM(input_shape=reversal.input_shape, classes=reversal.classes)
    BLEU().check(reversal, model)
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(UsageError, match=f"^metric BLEU .*{sentence('translation', 'sacrebleu')}"):
        BLEU().check(reversal, model)


def test_a_network_of_timm_names_its_extra(lean):
    with pytest.raises(UsageError, match=f"^models of timm: {sentence('timm', 'timm')}"):
        MODELS.component("timm/resnet18d")


def test_a_language_model_of_transformers_and_its_tokenizer_name_their_extra(lean):
    said = sentence("transformers", "transformers")
    with pytest.raises(UsageError, match=f"^models of transformers: {said}"):
        MODELS.component("transformers/gpt_neo")
    with pytest.raises(UsageError, match=f"^dataset Text: vocabulary: {said}"):
        Text(vocabulary="transformers/gpt_neo")


def test_ray_names_its_extra_before_anything_runs(lean, tmp_path, capsys):
    arguments = ["run", "digits", "--executor", "ray", "--runs", str(tmp_path)]
    assert main(arguments) == 2
    assert re.search(f"executor ray: {sentence('ray', 'ray')}", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_a_url_names_its_extra_before_anything_runs(lean, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "digits", "--runs", "memory://bucket/runs"]) == 2
    said = capsys.readouterr().err
    assert re.search(f"memory://bucket/runs: {sentence('remote', 'fsspec')}", said)
    assert list(tmp_path.iterdir()) == []


def test_onnx_names_its_extra(lean):
    with pytest.raises(UnsupportedError, match=sentence("onnx", "onnx", "onnxscript")):
        as_onnx(nn.Linear(2, 2), torch.ones(2, 2))
    everything = sentence("onnx", "onnx", "onnxscript", "onnxruntime")
    for runtime in (OnnxRuntime(), OnnxInt8()):
        with pytest.raises(UnsupportedError, match=everything):
            runtime.prepare(nn.Linear(2, 2), torch.ones(2, 2))


def test_openvino_names_its_extra(lean):
    with pytest.raises(UnsupportedError, match=sentence("openvino", "openvino")):
        OpenVINO().prepare(nn.Linear(2, 2), torch.ones(2, 2))


@pytest.mark.slow
def test_an_export_names_its_extra(lean, experiment, tmp_path, capsys):
    record = run(experiment(pretraining={"epochs": 1}), runs=tmp_path)
    path = tmp_path / "x.onnx"
    arguments = ["export", record.id, "--runs", str(tmp_path), "--format", "onnx", "-o", str(path)]
    assert main(arguments) == 2
    assert re.search(sentence("onnx", "onnx", "onnxscript"), capsys.readouterr().err)
    assert not path.exists()
