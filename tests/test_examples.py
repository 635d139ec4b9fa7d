"""The examples run as they stand."""

import ast
import shlex
from pathlib import Path

import pytest

from prunebench.benchmark.command_line import main
from prunebench.results import Store

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.stem)
def test_the_command_of_an_example_runs(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    documentation = ast.get_docstring(ast.parse(path.read_text()))
    command = documentation[documentation.index("prunebench run") :].replace("\\\n", " ")
    assert main([*shlex.split(command)[1:], "--runs", str(tmp_path)]) == 0
    records = list(Store(tmp_path).records())
    assert {record.status for record in records} == {"ok"}
    assert len(records) == 4
    for record in records:
        assert record.dense["top1"] > 0.9
        assert set(record.experiment["sources"]) == {"dataset", "model"}
    assert "GlobalMagnitude" in capsys.readouterr().out
