"""The command line: ``prunebench run | list | leaderboard | measure | export | …``.

Exit status: 0 all is well, 1 an experiment failed or a method violates a rule, 2 the user's
mistake, 130 interrupted. Torch is imported by those commands only that compute.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol

from .. import __version__
from ..errors import UsageError, option_suggestion, shown, suggestion, tell
from .commands import (
    break_even,
    check,
    compare,
    completion,
    curves,
    distributions,
    export,
    find,
    heatmap,
    leaderboard,
    listing,
    literature,
    measure,
    merge,
    publish,
    rank,
    run,
    sensitivity,
    show,
    site,
    study,
    submit,
    suite,
    verify,
)
from .commands.run import INTERRUPTED


class Command(Protocol):
    """What a module in ``commands/`` has.

    Attributes:
        HELP: what the command does, in a line.
    """

    HELP: str

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Tell the parser what the command takes."""

    def execute(self, options: argparse.Namespace) -> int:
        """Do what the command is for, and return the exit status.

        Raises:
            UsageError: the user's mistake, in a sentence.
        """


COMMANDS: dict[str, Command] = {
    "run": run,
    "list": listing,
    "leaderboard": leaderboard,
    "rank": rank,
    "compare": compare,
    "merge": merge,
    "suite": suite,
    "find": find,
    "publish": publish,
    "verify": verify,
    "submit": submit,
    "site": site,
    "literature": literature,
    "show": show,
    "study": study,
    "sensitivity": sensitivity,
    "heatmap": heatmap,
    "curves": curves,
    "distributions": distributions,
    "measure": measure,
    "break-even": break_even,
    "export": export,
    "check": check,
    "completion": completion,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in ``arguments`` (by default the process's own) and return its status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        options = _parser(arguments).parse_args(_with_descending_order(arguments))
        return COMMANDS[options.command].execute(options)
    except UsageError as error:
        tell(str(error))
        return 2
    except KeyboardInterrupt:
        tell("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        sys.stderr.close()
        return 1
    except OSError as error:  # a full disk, a folder that may not be written
        tell(f"{error}; nothing that was finished is lost")
        return 1


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of all commands; what is parsed has the name of its command as ``command``.

    Args:
        arguments: what is to be parsed. Options are looked up of those commands only that they
            name, since that takes time.
    """
    whole = _Parser(prog="prunebench", description="Compare neural-network pruning methods.")
    whole.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = whole.add_subparsers(
        dest="command", required=True, metavar="command", parser_class=_Parser
    )
    for name, command in COMMANDS.items():
        parser = commands.add_parser(name, help=command.HELP)
        if name in arguments:
            command.add_options(parser)
            parser.set_defaults(whole_parser=lambda: _parser([*COMMANDS]))
    return whole


def _with_descending_order(arguments: Sequence[str]) -> list[str]:
    """``--sort -column`` as ``--sort=-column``: argparse takes what begins with - for options."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] == "--sort" and re.match(r"-\w{2}", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one sentence, like all others."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but an option that a command does not know is a mistake here."""
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            flags = [flag for action in self._actions for flag in action.option_strings]
            hint = option_suggestion(unknown[0], flags) if unknown[0].startswith("-") else ""
            self.error(f"unrecognized arguments: {' '.join(map(shown, unknown))}{hint}")
        return namespace, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As argparse does, but with the nearest of the choices."""
        if action.choices is not None and value not in action.choices:
            hint = suggestion(str(value), map(str, action.choices))
            raise argparse.ArgumentError(action, f"invalid choice: {shown(value)}: {hint}")

    def error(self, message: str) -> NoReturn:
        """One sentence in place of the usage and a line."""
        raise UsageError(f"{message}; see '{self.prog} --help'")
