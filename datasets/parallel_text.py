"""Parallel text: files of sentences and of their translations, line by line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from filelock import FileLock
from pydantic import Field

from ..errors import UsageError, lacking
from ..folders import cache_folder
from .cache import in_one_go
from .subwords import Subwords
from .task import Dataset, Task, register
from .text_files import names_of_splits, read_text, text_file
from .translation import Translation


@register
@dataclass(frozen=True)
class ParallelText(Dataset):
    """Sentences and their translations from text files of your own, to be translated.

    For each split there are two files of UTF-8 text with as many lines, a sentence on each, such as
    ``corpus/train.de`` and ``corpus/train.en``; each may end with ``.gz`` and be compressed so.
    Subwords are learned by byte-pair encoding from the training split.

    Args:
        folder: where the files are, below the folder of data sets unless it is absolute.
        source: ending of the files to translate from.
        target: ending of the files to translate into.
        train: name of the files of the training split.
        validation: name of the files of the validation split.
        test: name of the files of the test split.
        vocabulary: number of subwords of each language.
        shared: whether both languages have one vocabulary of that size, which networks need that
            tie all embeddings.
        longest: pairs of more subwords than this are left out of the training split.
    """

    folder: str = "."
    source: str = "de"
    target: str = "en"
    train: str = "train"
    validation: str = "val"
    test: str = "test"
    vocabulary: Annotated[int, Field(ge=5)] = 4_000
    shared: bool = False
    longest: Annotated[int, Field(ge=2)] = 100

    def __post_init__(self) -> None:
        if self.source == self.target:
            raise UsageError(
                f"dataset {type(self).__name__}: target: {self.target!r} is not allowed: it is "
                "the source too"
            )

    def load(self, folder: Path) -> Task:
        """Read the files, and learn the subwords if that has not been done."""
        if reason := lacking("translation", "sentencepiece"):
            raise UsageError(f"dataset {type(self).__name__}: {reason}")
        names = names_of_splits(type(self).__name__, self.train, self.validation, self.test)
        splits = {split: self._read(folder / self.folder, name) for split, name in names.items()}
        sources, targets = splits["train"]
        texts = [[*sources, *targets]] if self.shared else [sources, targets]
        cache = cache_folder() / "vocabularies"
        subwords = [Subwords.learned(text, self.vocabulary, cache) for text in texts]
        return Translation(splits, subwords[0], subwords[-1], self.longest)

    def _read(self, folder: Path, name: str) -> tuple[list[str], list[str]]:
        """The lines of the two files of a split."""
        paths = [self.file(folder, f"{name}.{language}") for language in (self.source, self.target)]
        sources, targets = map(_lines, paths)
        if len(sources) != len(targets):
            raise UsageError(
                f"{paths[0]} has {len(sources):,} lines and {paths[1]} has {len(targets):,}: each "
                "line of one must be the translation of that line of the other"
            )
        return sources, targets

    def file(self, folder: Path, name: str) -> Path:
        """The file of that name in ``folder``, compressed or not.

        Raises:
            UsageError: there is none.
        """
        return text_file(type(self).__name__, folder, name)


@register
@dataclass(frozen=True)
class Multi30k(ParallelText):
    """Descriptions of pictures in four languages (Elliott et al. 2016): 29,000 + 1,014 sentences.

    Subwords are learned by byte-pair encoding from the training split. The text is neither
    lower-cased nor split into words before.

    Args:
        folder: where the files are, below the folder of data sets, and where they are downloaded.
        source: language to translate from: ``cs``, ``de``, ``en`` or ``fr``.
        target: language to translate into.
        train: name of the files of the training split.
        validation: name of the files of the validation split.
        test: name of the files of the test split: ``test_2016_flickr``, ``test_2017_flickr``,
            ``test_2017_mscoco``, or ``test_2018_flickr``.
        vocabulary: number of subwords of each language.
        shared: whether both languages have one vocabulary of that size, which networks need that
            tie all embeddings.
        longest: pairs of more subwords than this are left out of the training split.
    """

    folder: str = "multi30k"
    test: str = "test_2016_flickr"

    languages: ClassVar[tuple[str, ...]] = ("cs", "de", "en", "fr")
    splits: ClassVar[dict[str, tuple[str, ...]]] = {
        "train": ("train",),
        "validation": ("val",),
        "test": ("test_2016_flickr", "test_2017_flickr", "test_2017_mscoco", "test_2018_flickr"),
    }
    url: ClassVar[str] = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw"

    def __post_init__(self) -> None:
        allowed = {"source": self.languages, "target": self.languages, **self.splits}
        for option, choices in allowed.items():
            if (given := getattr(self, option)) not in choices:
                raise UsageError(
                    f"dataset Multi30k: {option}: {given!r} is not allowed: give "
                    f"{', '.join(choices)}"
                )
        super().__post_init__()

    def file(self, folder: Path, name: str) -> Path:
        """The file of that name in ``folder``, which is downloaded if it is not there."""
        try:
            return super().file(folder, name)
        except UsageError:
            pass
        from torchvision.datasets.utils import (
            download_url,  # importing it takes nearly as long as torch
        )

        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / f"{name}.lock"):
                if not (folder / f"{name}.gz").exists():
                    with in_one_go(folder / f"{name}.gz") as part:
                        download_url(f"{self.url}/{name}.gz", str(folder), part.name)
        except (OSError, RuntimeError) as error:
            raise UsageError(
                f"Multi30k: {name}.gz is not in {folder} and could not be downloaded there "
                f"({error}): connect to the internet for the first run, or put the files of "
                "data/task1/raw of the repository multi30k/dataset there, or name the folder that "
                "has multi30k with --data or PRUNEBENCH_DATA"
            ) from None
        return folder / f"{name}.gz"


def _lines(path: Path) -> list[str]:
    """The lines of a text file without the white space around them.

    Raises:
        UsageError: it is no UTF-8 text, has no lines, or one of them is empty.
    """
    # Only line feeds: some texts have other characters within a line that Python would split at.
    lines = [line.strip() for line in read_text(path).removesuffix("\n").split("\n")]
    for number, line in enumerate(lines, 1):
        if not line:
            raise UsageError(f"{path}: line {number} is empty: each line must have a sentence")
    return lines
