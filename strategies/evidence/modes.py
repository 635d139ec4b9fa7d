"""The modes in which a model is scored; each leaves the model as it found it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm

from ...networks import modes_kept


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put ``model`` into evaluation mode, and each module back into its own mode afterwards."""
    with modes_kept(model):
        model.eval()
        yield


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, but batch normalisation takes its statistics from the batch.

    At initialisation the running statistics say nothing yet, so that methods which score an
    untrained network need those of the batch. The running ones are the same afterwards.
    """
    with evaluation_mode(model):
        normalisations = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        tracking = [module.track_running_stats for module in normalisations]
        statistics = [(each.running_mean, each.running_var) for each in normalisations]
        try:
            for module in normalisations:
                module.track_running_stats = False
                module.running_mean = module.running_var = None
            yield
        finally:
            for module, tracked, (mean, variance) in zip(
                normalisations, tracking, statistics, strict=True
            ):
                module.track_running_stats = tracked
                module.running_mean, module.running_var = mean, variance


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Compute recurrent layers and attention by operations that have second derivatives.

    The fused kernels of oneDNN and cuDNN, and those of attention, have only first ones.
    """
    with warnings.catch_warnings():
        # torch says so whenever these flags are set where there is no Intel GPU.
        warnings.filterwarnings("ignore", "TF32 acceleration on top of oneDNN")
        with (
            torch.backends.mkldnn.flags(enabled=False),
            torch.backends.cudnn.flags(enabled=False),
            sdpa_kernel(SDPBackend.MATH),
        ):
            yield
