"""What the process from which workers are forked has imported; see :mod:`.fork_server`.

The collector of garbage waits, since there is none, and looking for it takes a third as long again.
"""

import gc

gc.disable()

import torch._dynamo  # noqa: E402 # which torch's optimizers need, and import at their first use

from . import executors  # noqa: E402

gc.enable()

__all__ = ["executors", "torch"]
