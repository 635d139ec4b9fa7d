"""``prunebench check``: whether a strategy keeps the rules."""

from __future__ import annotations

import argparse

HELP = "check that a strategy keeps the rules"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("strategy", help="such as GlobalMagnitude or mymethod.py:MyScore(alpha=2)")
    parser.add_argument(
        "--model",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="try it on these models instead of the small networks made for it",
    )


def execute(options: argparse.Namespace) -> int:
    """Print which rules the strategy keeps; fail if it breaks any."""
    from ...strategies import STRATEGIES
    from ..conformance.checks import CHECKS
    from ..conformance.networks import registered_network

    strategy = STRATEGIES.component(options.strategy).create()
    networks = [registered_network(name) for name in options.model]
    broken = 0
    for check in CHECKS:
        violations = check.violations(strategy, networks)
        print(f"{'broken' if violations else 'kept':8}{check.rule}")
        for violation in violations:
            print(f"{'':10}{violation}")
        broken += bool(violations)
    print(f"{options.strategy} keeps {len(CHECKS) - broken} of {len(CHECKS)} rules")
    return 1 if broken else 0
