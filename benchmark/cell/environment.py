"""What a result was measured with: versions, machine, threads."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("prunebench", "torch", "torchvision", "numpy", "fvcore")
"""Whose versions results may depend on."""

_ROOT = Path(__file__).resolve().parents[2]


def environment(device: str = "cpu") -> dict[str, Any]:
    """Versions of prunebench and of what computes, the processor, and the threads in use.

    Args:
        device: what computed; a GPU is named only if it did.
    """
    found = {**_machine(), "threads": torch.get_num_threads()}
    if device == "cuda" and torch.cuda.is_initialized():
        found["gpu"] = torch.cuda.get_device_name()
    return found


@cache
def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "commit": _commit(),
        "platform": platform.platform(),
        "processor": processor(torch.device("cpu")),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
    }


def processor(device: torch.device) -> str:
    """The name of what computes there; of a CPU the kernel knows it better than Python does."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _commit() -> str | None:
    """The commit of the checkout that runs, marked if it is dirty; None for an installed copy."""
    if not (_ROOT / ".git").exists():
        return None
    return _git("describe", "--always", "--dirty", "--abbrev=12").stdout.strip() or None


def knows_commit(commit: str) -> bool | None:
    """Whether the checkout that runs has a commit in its history; None for an installed copy."""
    if not (_ROOT / ".git").exists():
        return None
    return _git("rev-parse", "--quiet", "--verify", f"{commit}^{{commit}}").returncode == 0


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False
    )
