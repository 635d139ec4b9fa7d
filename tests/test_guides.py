"""The pages in docs/ tell commands that are understood, code that runs, and names that exist."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import prunebench
from prunebench import datasets, metrics, models, strategies
from prunebench.benchmark.command_line import COMMANDS, main

ROOT = Path(__file__).resolve().parents[1]
GUIDES = sorted((ROOT / "docs").glob("*.md"))
LACKING = re.compile("not installed|could not be downloaded")
"""What is said of a command that needs an extra or the internet."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    text = "\n".join(blocks(page, "console")).replace("\\\n", " ")
    lines = (line[2:] for line in text.splitlines() if line.startswith("$ "))
    return [words for line in lines if (words := shlex.split(line))[0] == "prunebench"]


@pytest.mark.slow
@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_every_command_of_a_guide_is_understood(page, tmp_path, monkeypatch, capsys, real_data):
    monkeypatch.chdir(tmp_path)
    for folder in ("examples", "results"):
        Path(folder).symlink_to(ROOT / folder)
    network = models.LeNetSmall(input_shape=(1, 8, 8), classes=10)
    torch.save(network.state_dict(), "pruned-there.pt")
    for block in blocks(page, "python"):
        Path(block.partition("\n")[0].removeprefix("# ").replace(" ", "-")).write_text(block)
    for _, name, *arguments in commands(page):
        if name == "run":
            understood = main([name, *arguments, "--dry-run"]) == 0
            assert understood or LACKING.search(capsys.readouterr().err), arguments
        else:
            monkeypatch.setattr(COMMANDS[name], "execute", lambda _: 0)
            assert main([name, *arguments]) == 0, arguments


@pytest.mark.slow
def test_tables_of_the_lecturers_page_have_the_headings_of_its_commands(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/for-lecturers.md").read_text()
    found = re.findall(r"```console\n\$ prunebench ([^`]*)```\n\n```\n(strategy .*)\n", page)
    assert len(found) == 3
    for command, headings in found:
        quick = ["--seed", "0", "--pretraining.epochs", "1", "--least-dense-quality", "0"]
        assert main([*shlex.split(command.replace("\\\n", "")), *quick]) == 0
        (shown,) = (
            line for line in capsys.readouterr().out.splitlines() if line.startswith("strategy ")
        )
        assert re.split(" {2,}", shown) == re.split(" {2,}", headings)


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_code_of_a_guide_is_python(page):
    for block in blocks(page, "python"):
        ast.parse(block)


@pytest.mark.slow
def test_what_torch_has_pruned_is_counted_and_what_is_pruned_here_can_be_taken(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(ROOT / "docs/from-torch-prune.md", "python"):
        exec(compile(block, "from-torch-prune.md", "exec"), names)
    there = torch.load("pruned-there.pt")
    record, network = names["record"], names["network"]
    assert record.final["nonzero"] == sum(int(weight.count_nonzero()) for weight in there.values())
    assert record.final["compression"] > 9
    masks = {name.removesuffix("_mask"): mask for name, mask in network.named_buffers()}
    assert len(masks) == 4
    for name, mask in masks.items():
        assert torch.equal(mask != 0, there[name] != 0)


TABLES = [ROOT / "docs/from-shrinkbench.md", ROOT / "docs/from-torch-prune.md"]


@pytest.mark.parametrize("page", TABLES, ids=lambda page: page.stem)
def test_every_component_and_setting_beside_a_foreign_name_exists(page):
    places = (prunebench, strategies, models, datasets, metrics)
    cells = [row.split(" | ")[-1] for row in page.read_text().splitlines() if row.startswith("| ")]
    code = " ".join(text for cell in cells for text in re.findall(r"`([^`]*)`", cell))
    components = set(re.findall(r"\b[A-Z]+[a-z]+[A-Za-z0-9]*\b", code))
    components -= {"FOLDER", "RUN", "True", "False", *strategies.RECOVERIES.names()}
    missing = {name for name in components if not any(hasattr(each, name) for each in places)}
    assert missing <= {"FromFile"}
    assert {"FromFile"} <= set(models.INITIALISATIONS.names())
    settings = set(re.findall(r"\b([a-z_]+)=", code)) - {"depth", "pretrained", "path"}
    axes = {"structure", "allocation"}
    assert settings <= set(prunebench.Experiment.model_fields) | axes
    assert len(components) > 10


setup = runpy.run_path(str(ROOT / "setup.py"))
RELATIVE = re.compile(r"\]\((?!https?://)")


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def test_the_description_of_the_package_has_no_link_that_is_dead_away_from_the_checkout():
    assert RELATIVE.search(without_code((ROOT / "README.md").read_text()))
    description = setup["long_description"]()
    assert not RELATIVE.search(without_code(description))
    assert "the page of methods" in description


def test_links_and_pictures_of_the_readme_lead_to_the_repository_where_it_is_known():
    url = "https://host.example/prunebench"
    text = without_code(setup["readable_elsewhere"]((ROOT / "README.md").read_text(), url))
    found = re.findall(rf"\]\({url}/(raw|blob)/HEAD/([^)#]*)", text)
    assert len(found) > 10
    assert ("raw", "results/published/lenet-mnist/quality-vs-compression.png") in found
    for _, path in found:
        assert (ROOT / path).exists(), path
    code = 'x = f"[{a}](b)"'
    fenced = f"```python\n{code}\n```"
    assert setup["readable_elsewhere"](f"![p](a.png) [w](b.md#c) [d](#e)\n{fenced}", "") == (
        f" w d\n{fenced}"
    )


@pytest.mark.slow
@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("sphinx", "furo", "myst_parser")),
    reason="the documentation is built with the extra docs",
)
def test_the_documentation_is_built_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--quiet", "-c", "docs"]
    done = subprocess.run(
        [*command, "-d", str(tmp_path / "state"), ".", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site/docs/api/prunebench.html").read_text()
    for name in prunebench.__all__:
        assert f"prunebench.{name}" in page, name
    assert "RelativeMagnitude" in (tmp_path / "site/README.html").read_text()
