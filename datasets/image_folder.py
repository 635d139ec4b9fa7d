"""Images in folders, one for each class: held in memory if they are small, else read as needed."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor
from tqdm import tqdm

from ..errors import UsageError
from ..folders import cache_folder
from ..seeding import generator as seeded_generator
from .cache import kept
from .classification import Classification, ImageClassification
from .task import Batch, Dataset, Split, Task, register

Files = list[tuple[Path, int]]
"""Image files, each with the number of its class."""

# ImageNet's, by which networks trained on it expect images to be normalised.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
_BATCHES_AHEAD = 3
# Those that torchvision's ImageFolder reads.
_SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}


@register
@dataclass(frozen=True)
class ImageFolder(Dataset):
    """Images of your own: a folder for each split, in it one for each class, in it the images.

    With ``augmentation="crop"`` or ``"none"`` all images are decoded once, scaled to ``size`` and
    held in memory, one byte a value; with ``"resized crop"``, as is usual for photographs, they are
    read and decoded whenever they are needed, by as many threads as there are processor cores.

    Args:
        folder: where the splits are, below the folder of data sets unless it is absolute.
        train: name of the folder of the training split.
        test: name of the folder of the test split.
        validation: fraction of the training images that is held out for validation.
        size: pixels of a side of an image, as the network sees it.
        augmentation: ``crop`` shifts training images by up to an eighth of their size and mirrors
            half of them (He et al. 2016), ``resized crop`` takes a random part of random
            proportions (Szegedy et al. 2015) and mirrors half, ``none`` leaves them as they are.
    """

    folder: str = "."
    train: str = "train"
    test: str = "test"
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    size: Annotated[int, Field(ge=4)] = 224
    augmentation: Literal["crop", "resized crop", "none"] = "resized crop"

    def load(self, folder: Path) -> Task:
        """Find the files, and decode them if they are to be held in memory."""
        root = folder / self.folder
        names, files = _files(root / self.train)
        splits = dict(zip(("train", "validation"), self._held_out(files), strict=True))
        splits["test"] = self.test_files(root, names)
        if self.augmentation == "resized crop":
            return StreamedImages(splits, names, self.size)  # type: ignore[arg-type]
        decoded = {name: _decoded(each, self.size) for name, each in splits.items()}
        crops = self.augmentation == "crop"
        task = Classification(
            decoded,  # type: ignore[arg-type]
            len(names),
            self.size // 8 if crops else 0,
            crops,
        )
        task.class_names = tuple(names)
        return task

    def test_files(self, root: Path, names: Sequence[str]) -> Files:
        """The files of the test split.

        Raises:
            UsageError: they are of other classes than those of the training split.
        """
        found, files = _files(root / self.test)
        if found != names:
            differing = sorted(set(found) ^ set(names))
            raise UsageError(
                f"{root / self.test} and {root / self.train} must have the same folders of "
                f"classes; they differ in {', '.join(differing[:5])}"
            )
        return files

    def _held_out(self, files: Files) -> tuple[Files, Files]:
        order = torch.randperm(
            len(files), generator=seeded_generator(0, "hold out", "ImageFolder validation")
        ).tolist()
        count = round(self.validation * len(files))
        if not 0 < count < len(files):
            raise UsageError(
                f"dataset {type(self).__name__}: validation: {self.validation:g} is not allowed: "
                f"it takes {count} of {len(files)} training images"
            )
        return [files[place] for place in order[count:]], [files[place] for place in order[:count]]


@register
@dataclass(frozen=True)
class ImageNet(ImageFolder):
    """ImageNet's thousand classes (Russakovsky et al. 2015), unpacked as one folder for each class.

    It cannot be downloaded without an account: put ``train`` and ``val`` below ``imagenet``. Tested
    is on the images of ``val``, as is usual.

    Args:
        folder: where the splits are, below the folder of data sets unless it is absolute.
        train: name of the folder of the training split.
        test: name of the folder of the test split.
        validation: fraction of the training images that is held out for validation.
        size: pixels of a side of an image, as the network sees it.
        augmentation: as for ``ImageFolder``.
    """

    folder: str = "imagenet"
    test: str = "val"
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.01


@register
@dataclass(frozen=True)
class TinyImageNet(ImageFolder):
    """Two hundred classes of ImageNet at 64×64 pixels, as ``tiny-imagenet-200.zip`` unpacks.

    The test split is the 10,000 images of ``val``, since the labels of the others are not public.

    Args:
        folder: where the splits are, below the folder of data sets unless it is absolute.
        train: name of the folder of the training split.
        test: name of the folder of the test split.
        validation: fraction of the training images that is held out for validation.
        size: pixels of a side of an image, as the network sees it.
        augmentation: as for ``ImageFolder``.
    """

    folder: str = "tiny-imagenet-200"
    test: str = "val"
    size: Annotated[int, Field(ge=4)] = 64
    augmentation: Literal["crop", "resized crop", "none"] = "crop"

    def test_files(self, root: Path, names: Sequence[str]) -> Files:
        """The images of ``val``, whose classes are in a file of their own."""
        listing = root / self.test / "val_annotations.txt"
        if not listing.exists():
            raise UsageError(f"dataset TinyImageNet: there is no {listing}")
        places = {name: place for place, name in enumerate(names)}
        lines = [line.split("\t") for line in listing.read_text().splitlines()]
        if unknown := {line[1] for line in lines} - places.keys():
            raise UsageError(
                f"dataset TinyImageNet: {listing} has the class {min(unknown)!r}, of which there "
                "is no folder in train"
            )
        return [(root / self.test / "images" / line[0], places[line[1]]) for line in lines]


class StreamedImages(ImageClassification):
    """Classification of images that are decoded whenever they are needed, by several threads.

    Training images are random parts, scaled to the network's size, half of them mirrored; all
    others are scaled so that their middle, an eighth off on each side, fills it.

    Args:
        splits: the files of train, validation and test.
        names: of the classes.
        size: pixels of a side of an image, as the network sees it.
    """

    def __init__(self, splits: Mapping[Split, Files], names: Sequence[str], size: int) -> None:
        shape = (1, 3, 1, 1)
        mean, deviation = torch.tensor(_MEAN).view(shape), torch.tensor(_DEVIATION).view(shape)
        super().__init__(len(names), (3, size, size), 1 / (255 * deviation), -mean / deviation)
        self.class_names = tuple(names)
        self._files = splits
        self._size = size

    def size(self, split: Split) -> int:
        """Number of images in a split."""
        return len(self._files[split])

    def batches(
        self, split: Split, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """One pass over a split, of which no image is changed; see :meth:`Task.batches`."""
        order = torch.arange(self.size(split))
        if generator is not None:
            order = torch.randperm(len(order), generator=generator)
        yield from self._read(split, order.split(batch_size), None)

    def training_batches(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """One pass over the training split, each image a random part of itself or its mirror."""
        order = torch.randperm(self.size("train"), generator=generator)
        yield from self._read("train", order.split(batch_size), generator)

    def inputs(self, batch_size: int) -> Tensor:
        """The first ``batch_size`` test images, from the start again if there are fewer."""
        places = torch.arange(batch_size) % self.size("test")
        return next(self._read("test", [places], None))[0]

    def _read(
        self, split: Split, batches: Sequence[Tensor], generator: torch.Generator | None
    ) -> Iterator[Batch]:
        """Decode batches, some of them ahead of time."""
        files = self._files[split]
        waiting: deque[tuple[list[Future[Tensor]], Tensor]] = deque()
        with ThreadPoolExecutor(_cores()) as threads:
            for places in batches:
                chosen = [files[place] for place in places.tolist()]
                # What each image becomes is drawn here, in an order that no thread can change.
                drawn: Iterable[Any] = [None] * len(chosen)
                if generator is not None:
                    drawn = torch.rand(len(chosen), _DRAWN, generator=generator).tolist()
                images = [
                    threads.submit(decode, path, self._size, numbers)
                    for (path, _), numbers in zip(chosen, drawn, strict=True)
                ]
                waiting.append((images, torch.tensor([label for _, label in chosen])))
                if len(waiting) > _BATCHES_AHEAD:
                    yield self._finished(*waiting.popleft())
            while waiting:
                yield self._finished(*waiting.popleft())

    def _finished(self, images: list[Future[Tensor]], labels: Tensor) -> Batch:
        return self._normalised(torch.stack([each.result() for each in images])), labels


# Numbers that decide which part of an image is taken: area, proportions, place, and whether it is
# mirrored.
_DRAWN = 5
_LEAST_AREA = 0.08
_PROPORTIONS = 4 / 3


def decode(path: Path, size: int, drawn: Sequence[float] | None, margin: float = 1 / 8) -> Tensor:
    """An image as 3 × ``size`` × ``size`` bytes.

    Args:
        path: an image file.
        size: pixels of a side.
        drawn: five numbers between 0 and 1 that say which part of it is taken, a random one of 8 to
            100 % of the area and of proportions between 3:4 and 4:3 if they are random (Szegedy et
            al. 2015), and whether that is mirrored. None takes the middle.
        margin: share of the shorter side that the middle leaves out.

    Raises:
        UsageError: it is no image that can be read.
    """
    try:
        with Image.open(path) as image:
            deep = image.mode.startswith(("I", "F"))
            picture = image.convert("RGB")
    except Exception as error:  # broken files make Pillow raise of all kinds
        raise UsageError(f"{path} cannot be read as an image: {error}") from None
    if deep:
        raise UsageError(
            f"{path} cannot be read as an image: it has more than 8 bits a pixel (mode "
            f"{image.mode}), which would be cut off; save it with 8"
        )
    width, height = picture.size
    if drawn is None:
        across = down = (1 - margin) * min(width, height)
        left, top = (width - across) / 2, (height - down) / 2
    else:
        area = (_LEAST_AREA + (1 - _LEAST_AREA) * drawn[0]) * width * height
        proportions = _PROPORTIONS ** (2 * drawn[1] - 1)
        across = min(width, (area * proportions) ** 0.5)
        down = min(height, (area / proportions) ** 0.5)
        left, top = drawn[2] * (width - across), drawn[3] * (height - down)
    box = (left, top, left + across, top + down)
    picture = picture.resize((size, size), Image.Resampling.BILINEAR, box=box)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    return pixels.flip(2) if drawn is not None and drawn[4] < 0.5 else pixels


def _decoded(files: Files, size: int) -> Batch:
    """All images of a split and their labels, from the cache if they were decoded before."""
    digest = hashlib.sha256(f"{size}".encode())
    for path, label in files:
        digest.update(f"{path.resolve()} {path.stat().st_mtime_ns} {label}\n".encode())
    cached = cache_folder() / "images" / f"{digest.hexdigest()[:16]}.pt"
    labels = torch.tensor([label for _, label in files])

    def read(path: Path) -> Tensor:
        images: Tensor = torch.load(path, mmap=True)
        if images.dtype != torch.uint8 or images.shape != (len(files), 3, size, size):
            raise ValueError(f"{path} holds other images")
        return images

    def make(path: Path) -> None:
        torch.save(_all_images(files, size), path)

    try:
        return kept(cached, read, make), labels
    except OSError:  # nothing is kept where nothing can be written
        return _all_images(files, size), labels


def _all_images(files: Files, size: int) -> Tensor:
    images = torch.empty(len(files), 3, size, size, dtype=torch.uint8)
    with ThreadPoolExecutor(_cores()) as threads:
        decoded = threads.map(lambda file: decode(file[0], size, None, margin=0), files)
        bar = tqdm(decoded, total=len(files), desc="decoding", unit="image", leave=False)
        for place, image in enumerate(bar):
            images[place] = image
    return images


def _files(folder: Path) -> tuple[list[str], Files]:
    """The names of the classes in a folder, in alphabetical order, and the images of all of them.

    Raises:
        UsageError: there are none.
    """
    if not folder.is_dir():
        raise UsageError(
            f"there is no folder {folder}, which must have a folder of images for each class; say "
            "where it is with the data set's folder, or with --data or PRUNEBENCH_DATA"
        )
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    files = [
        (path, label)
        for label, name in enumerate(names)
        for path in sorted((folder / name).rglob("*"))
        if path.suffix.lower() in _SUFFIXES
    ]
    present = {label for _, label in files}
    if len(names) < 2 or len(present) < len(names):
        missing = [name for label, name in enumerate(names) if label not in present]
        raise UsageError(
            f"{folder} must have a folder of images for each of at least two classes; "
            + (f"{missing[0]} has no images" if missing else f"it has {len(names)}")
        )
    return names, files


def _cores() -> int:
    """How many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
