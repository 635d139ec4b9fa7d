"""Reading files of text, compressed or not."""

from __future__ import annotations

import gzip
from pathlib import Path

from ..errors import UsageError


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
