"""Optimal brain damage and Fisher pruning: the loss that a weight's removal is expected to cost."""

from __future__ import annotations

from dataclasses import dataclass

from ..axes.allocation import Allocation, Uniform
from ..evidence.context import Context
from ..evidence.curvature import Curvature, EmpiricalFisher, GaussNewton
from ..scored import ScoredStrategy, Scores
from ..strategy import register


@register
@dataclass(frozen=True)
class OBD(ScoredStrategy):
    """Prune what costs the least loss by the Hessian's diagonal (LeCun, Denker & Solla 1990).

    Optimal brain damage: at a minimum of the loss, to second order, and as if weights went one by
    one. How the diagonal is estimated is a setting of its own.

    Formula: ½ · h · w², h = ∂²L/∂w².
    Source: LeCun, Denker, Solla: Optimal Brain Damage, NeurIPS 1989, equation 5.
    Use: on a trained network, above all without or with little fine-tuning.
    Cost: that of the curvature; with ``GaussNewton`` a forward and a backward pass a batch.

    Args:
        curvature: the estimator of h.
    """

    curvature: Curvature = GaussNewton()

    def score(self, context: Context) -> Scores:
        """½ · h · w²."""
        diagonal = self.curvature.diagonal(context)
        return {
            name: diagonal[name] * weight.square() / 2 for name, weight in context.weights.items()
        }


@register
@dataclass(frozen=True)
class LayerOBD(OBD):
    """Prune the same fraction of each layer, what costs the least loss by the Hessian's diagonal.

    Args:
        curvature: the estimator of h.
    """

    allocation: Allocation = Uniform()


@register
@dataclass(frozen=True)
class Fisher(OBD):
    """Prune what costs the least loss by the squared gradients of examples (Theis et al. 2018).

    Formula: ½ · mean of g² over examples · w².
    Source: Theis, Korshunova, Tejani, Huszár: Faster gaze prediction with dense networks and Fisher
        pruning, 2018, equation 7.
    Use: on a trained network, above all without or with little fine-tuning.
    Cost: one forward and one backward pass for each example.

    Args:
        curvature: the estimator of h.
    """

    curvature: Curvature = EmpiricalFisher()
