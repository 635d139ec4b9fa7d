"""``prunebench list``: what there is to choose from."""

from __future__ import annotations

import argparse

from ...errors import UsageError
from .options import add_data

HELP = "list strategies, models, data sets, metrics, …"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("kind", nargs="?", help="such as strategies; all kinds if left out")
    parser.add_argument("name", nargs="?", help="describe this one in detail")
    parser.add_argument("--markdown", action="store_true", help="the page of all methods")
    parser.add_argument("--model", help="list the parameters of this network: what is prunable")
    parser.add_argument("--dataset", help="the data set of that network")
    add_data(parser)
    for name, purpose in (("only", "to prune"), ("except", "to leave dense")):
        parser.add_argument(
            f"--prune-{name}",
            nargs="+",
            default=[],
            metavar="PATTERN",
            help=f"names of weights or layers {purpose}, as for run",
        )


def execute(options: argparse.Namespace) -> int:
    """Print components, the page of methods, or the parameters of a network."""
    if options.model or options.dataset:
        if options.kind:
            raise UsageError(
                f"{options.kind} is not allowed beside --model and --dataset, which list parameters"
            )
        return _list_parameters(options)
    if options.prune_only or options.prune_except:
        raise UsageError("--prune-only and --prune-except need --model and --dataset")
    if options.markdown:
        from ..catalogue.components import methods_as_markdown

        print(methods_as_markdown(), end="")
    else:
        print(_answer(options.kind, options.name or None))
    return 0


def _answer(kind: str | None, name: str | None) -> str:
    """What there is to say of a component, of a kind of them, or of all."""
    from ..catalogue.memory import answers

    if (answer := answers().get((kind, name))) is not None:
        return answer
    from ..catalogue.components import detail, overview

    return detail(kind, name) if kind and name else overview(kind)


def _list_parameters(options: argparse.Namespace) -> int:
    if not (options.model and options.dataset):
        raise UsageError("give both --model and --dataset to list the parameters of a network")
    from ..catalogue.parameters import parameters_as_text
    from ..sweeps.sweep import data_folder

    only, spared = options.prune_only, options.prune_except
    data = data_folder(options.data)
    print(parameters_as_text(options.model, options.dataset, data, only, spared))
    return 0
