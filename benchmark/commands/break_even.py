"""``prunebench break-even``: from which sparsity on pruning makes a network faster."""

from __future__ import annotations

import argparse

from .options import (
    add_measuring,
    add_output,
    chosen_device,
    chosen_protocol,
    fraction,
    positive,
    thread_count,
)

HELP = "measure from which sparsity on pruning makes a network faster"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--linear",
        nargs=2,
        type=positive,
        metavar=("IN", "OUT"),
        help="a linear layer of so many inputs and outputs",
    )
    what.add_argument("--model", help="such as LeNet5 or torchvision/resnet50")
    parser.add_argument(
        "--input-shape",
        nargs="+",
        type=positive,
        default=[3, 224, 224],
        metavar="N",
        help="of one example, for --model (default: 3 224 224)",
    )
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=("weights", "2:4", "channels"),
        help="what is pruned (default: weights of a layer, and both of a model)",
    )
    parser.add_argument(
        "--sparsity",
        nargs="+",
        type=fraction,
        default=[0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98],
        metavar="S",
        help="fractions of the weights or channels of each layer",
    )
    parser.add_argument("--threads", type=thread_count, default=1, help="CPU threads (default: 1)")
    add_output(parser, "break-even")
    add_measuring(parser)


def execute(options: argparse.Namespace) -> int:
    """Time networks more and more pruned, and say from where on that pays."""
    from ...results import write_csv
    from ...results.break_even import break_even_sentences, plot_break_even
    from ...results.naming import shown
    from ..studies.break_even import break_even, linear, network
    from ..studies.measuring import DEFAULT_RUNTIMES

    device = chosen_device(options)
    if options.linear:
        title = f"Linear({options.linear[0]}, {options.linear[1]})"
        model, shape = linear(*options.linear)
        # Of a single layer the question is what sparse rows cost, and not whether to use them.
        default = [*DEFAULT_RUNTIMES[:-1], "SparseCSR(everywhere=True)"]
    else:
        title, default = shown(options.model), list(DEFAULT_RUNTIMES)
        model, shape = network(options.model, tuple(options.input_shape))
    frame = break_even(
        title,
        model,
        shape,
        kinds=options.kinds or (["weights"] if options.linear else ["weights", "channels"]),
        sparsities=sorted(options.sparsity),
        runtimes=options.runtimes or default,
        batch_sizes=options.batch_sizes,
        cpu_threads=options.threads,
        device=device,
        protocol=chosen_protocol(options),
    )
    write_csv(frame, options.output / "break-even.csv")
    plot_break_even(frame, options.output / "break-even.png")
    print("\n".join(break_even_sentences(frame)))
    print(f"\ntable: {options.output / 'break-even.csv'}")
    print(f"plot:  {options.output / 'break-even.png'}")
    return 0
