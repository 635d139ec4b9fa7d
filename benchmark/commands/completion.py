"""``prunebench completion``: what a shell needs to complete commands, options and names."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...errors import UsageError, lacking
from .options import file_path, folder_or_url, folder_path, place

HELP = "print what bash, zsh or fish needs to complete commands"

SHELLS = ("bash", "zsh", "fish")

# The kind of components whose names an option takes; others are called like their kind.
_KINDS = {
    "strategy": "strategies",
    "penalty": "penalties",
    "recovery": "recoveries",
    "measurements": "metrics",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("shell", choices=SHELLS, help="bash, zsh or fish")


def execute(options: argparse.Namespace) -> int:
    """Print the script of a shell, which runs no Python when it completes something."""
    if missing := lacking("completion", "shtab"):
        raise UsageError(f"completion: {missing}")
    import shtab

    parser: argparse.ArgumentParser = options.whole_parser()
    names = _names()
    for command in _commands(parser):
        for action in command._actions:
            _describe(action, names)
    print(shtab.complete(parser, shell=options.shell))
    return 0


def _commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield command
                yield from _commands(command)


def _names() -> Mapping[str, list[str]]:
    """The names of what there is to choose from, by kind."""
    from ..catalogue.memory import answers

    known = answers()
    if not known:  # where there are plug-ins nothing is remembered
        from ..catalogue.components import all_answers

        known = all_answers()
    names: dict[str, list[str]] = {}
    for kind, name in known:
        if kind and name:
            names.setdefault(kind, []).append(name)
    return names


def _describe(action: argparse.Action, names: Mapping[str, list[str]]) -> None:
    """Have an option say what it may be followed by; nothing is parsed with it any more."""
    import shtab

    if action.choices is not None:
        return
    setting = action.dest.rpartition(".")[2]
    kind = _KINDS.get(setting, setting if setting in names else f"{setting}s")
    if setting == "config" and action.type is None:
        action.complete = _config(names["experiments"])  # type: ignore[attr-defined]
    elif setting == "kind":
        action.choices = list(names)
    elif kind in names:
        action.choices = names[kind]
    elif action.type in (Path, file_path, place):
        action.complete = shtab.FILE  # type: ignore[attr-defined]
    elif action.type in (folder_path, folder_or_url):
        action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]


def _config(names: list[str]) -> dict[str, object]:
    """An experiment that comes along, or a YAML file of the user's."""
    words = " ".join(names)
    zsh = f"_alternative 'experiments:experiment:({words})' 'files:file:_files -g \"*.yaml\"'"
    bash = f"""compgen -W "{words}" -- "$1"; compgen -f -X "!*.yaml" -- "$1"; compgen -d -- "$1\""""
    return {
        "bash": "_prunebench_NameOrFile",
        "zsh": "_prunebench_config",
        "fish": f"{words} (__fish_complete_suffix .yaml)",
        "preamble": {
            "bash": f"_prunebench_NameOrFile() {{\n  {bash}\n}}",
            "zsh": f"_prunebench_config() {{\n  {zsh}\n}}",
        },
    }
