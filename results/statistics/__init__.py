"""Statistics over seeds and tasks: plain functions of numbers, each beside what it assumes.

``sample`` describes one sample, ``paired`` compares two on the same seeds, ``bootstrap`` has an
interval that does not take values for normally distributed, ``ranks`` orders several with what is
sure of the order, ``curves`` sums up quality over compression, ``fronts`` finds what nothing beats,
``tasks`` compares over data sets and networks, and ``rank_bootstrap`` does so with what seeds and
tasks leave open.
"""

from .sample import Statistics, describe

__all__ = ["Statistics", "describe"]
