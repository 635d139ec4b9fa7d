"""Every strategy keeps the rules on the networks of the field, not only on those of the kit."""

import pytest
from contexts import removable

from prunebench.benchmark.conformance.checks import CHECKS
from prunebench.benchmark.conformance.networks import ORDINARY, Synthetic, registered_network
from prunebench.errors import UsageError
from prunebench.strategies import STRATEGIES

NETWORKS = {
    "LeNet300100": registered_network("LeNet300100", (1, 8, 8)),
    "LeNet5": registered_network("LeNet5", (1, 16, 16)),
    "ResNetSmall": registered_network("ResNetSmall"),
    "LSTM": ORDINARY[-1],
}


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("name", STRATEGIES.names())
def test_the_rules_are_kept(name, network, frugal):
    strategy = frugal(name)
    if name == "ActivationChange" and network is NETWORKS["LeNet5"]:
        pytest.skip("a forward pass for each of its 580 channels takes too long")
    if not removable(strategy, network.fresh()):
        pytest.skip(f"{name} finds nothing to prune in it")
    try:
        strategy.check(Synthetic(), network.fresh())
    except UsageError as error:
        pytest.skip(f"{name} refuses it: {error}")
    for check in CHECKS:
        assert check.violations(strategy, [network]) == [], check.rule
