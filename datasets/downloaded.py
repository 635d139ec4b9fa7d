"""Data sets that torchvision reads and downloads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from ..errors import UsageError

T = TypeVar("T")


def of_torchvision(name: str) -> Any:
    """The class of that name in ``torchvision.datasets``."""
    from torchvision import datasets  # importing it takes nearly as long as torch

    return getattr(datasets, name)


def read_or_download(name: str, folder: Path, files: Path, read: Callable[[bool], T]) -> T:
    """What ``read`` gives, which downloads the data set first where it is missing.

    Args:
        name: of the data set, for sentences.
        folder: where it is downloaded.
        files: the folder that has its files then.
        read: reads the data set from ``folder``; whether it may download it is its argument.

    Raises:
        UsageError: the files are damaged, or neither there nor to be had.
    """
    try:
        return read(False)
    except RuntimeError:  # torchvision's way of saying that the files are not there
        pass
    except Exception as error:  # whatever reading a damaged file leads to
        raise UsageError(
            f"{name} in {files} cannot be read ({error}): delete the files there, so that they are "
            "downloaded again"
        ) from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{name}.lock"):
            return read(True)
    except (OSError, RuntimeError) as error:
        raise UsageError(
            f"{name} is not in {folder} and could not be downloaded there ({error}): connect to "
            f"the internet for the first run, or put its files into {files}, or name the folder "
            "that has them with --data or PRUNEBENCH_DATA"
        ) from None
