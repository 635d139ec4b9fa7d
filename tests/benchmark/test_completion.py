"""What a shell completes: commands, options, and the names of what there is to choose from."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from prunebench.benchmark.command_line import COMMANDS, main
from prunebench.benchmark.commands.completion import SHELLS
from prunebench.errors import UsageError
from prunebench.models import MODELS
from prunebench.strategies import STRATEGIES

pytest.importorskip("shtab", reason="completion is an extra")


def script(shell, capsys):
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.fixture
def complete(tmp_path, capsys):
    """What bash offers for the last word of a line."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    path = tmp_path / "script"
    path.write_text(script("bash", capsys))
    (tmp_path / "mine.yaml").touch()
    (tmp_path / "notes.txt").touch()
    drive = (
        f'source {path}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_prunebench;'
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )

    def complete(*words):
        # compopt complains, as nothing is being completed by hand.
        command = [bash, "-c", drive, "bash", "prunebench", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return set(done.stdout.split())

    return complete


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ([""], set(COMMANDS)),
        (["lead"], {"leaderboard"}),
        (["run", "digi"], {"digits"}),
        (["run", "mi"], {"mine.yaml"}),
        (["run", "no"], set()),
        (["run", "--strategy", ""], set(STRATEGIES.names())),
        (["run", "--strategy", "Random", "SNI"], {"SNIP"}),
        (["run", "--model", "LeNet"], {n for n in MODELS.names() if n.startswith("LeNet")}),
        (["run", "--recovery", "Rewind"], {"Rewind", "RewindLearningRate"}),
        (["run", "--pretraining.ep"], {"--pretraining.epochs"}),
        (["leaderboard", "--whe"], {"--where"}),
        (["leaderboard", "not"], {"notes.txt"}),
        (["list", "strat"], {"strategies"}),
        (["suite", "run", "min"], {"mini-1"}),
        (["completion", ""], set(SHELLS)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bash_offers_what_may_come_next(complete, words, offered):
    assert complete(*words) == offered


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_is_told_all_commands_options_and_names(shell, capsys):
    text = script(shell, capsys)
    words = set(re.split(r"[^\w.-]+", text))
    dashes = "" if shell == "fish" else "--"
    assert {*COMMANDS, *STRATEGIES.names(), "digits", f"{dashes}finetuning.epochs"} <= words
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=text, text=True, check=True, capture_output=True)


def test_without_what_writes_the_script_a_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(UsageError, match=r"shtab not installed: pip install '\.\[completion\]'"):
        COMMANDS["completion"].execute(None)


@pytest.mark.slow
def test_plug_ins_are_offered_like_what_comes_along(tmp_path):
    folder = tmp_path / "plug_in-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: plug-in\nVersion: 1.0\n")
    entry = "[prunebench.strategies]\nPlugged = prunebench.strategies:GlobalMagnitude\n"
    (folder / "entry_points.txt").write_text(entry)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "prunebench", "completion", "bash"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {"Plugged", "SNIP", "digits"} <= set(re.split(r"[^\w.-]+", done.stdout))
