"""Reading files of text, compressed or not."""

from __future__ import annotations

import gzip
from pathlib import Path

from ..errors import UsageError
from .task import Split


def text_file(dataset: str, folder: Path, name: str) -> Path:
    """The file of that name in ``folder``, or else the one that ends with ``.gz`` too.

    Args:
        dataset: whose file it is, for the sentence.
        folder: where it is.
        name: what it is called.

    Raises:
        UsageError: there is none.
    """
    found = [path for path in (folder / name, folder / f"{name}.gz") if path.exists()]
    if not found:
        raise UsageError(
            f"dataset {dataset}: there is no {folder / name}, and no such file that ends with .gz"
        )
    return found[0]


def names_of_splits(dataset: str, train: str, validation: str, test: str) -> dict[Split, str]:
    """What each split's file is called.

    Raises:
        UsageError: one file is to be two splits, so that what decides would have been learned.
    """
    names: dict[Split, str] = {"train": train, "validation": validation, "test": test}
    given: dict[str, Split] = {}
    for split, name in names.items():
        if (other := given.setdefault(name, split)) != split:
            raise UsageError(
                f"dataset {dataset}: {split}: {name!r} is not allowed: it is the {other} split too"
            )
    return names


def read_text(path: Path) -> str:
    """What is in a text file, to the letter.

    Raises:
        UsageError: it is no UTF-8 text.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return content.decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as UTF-8 text: {error}") from None
