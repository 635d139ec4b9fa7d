"""What is learned: the data sets, each of which loads as a :class:`Task`."""

from .cache import discard, note_digest, whole
from .cifar import CIFAR10, CIFAR100, SVHN
from .classification import Classification, sampled_labels
from .digits import Digits
from .image_folder import ImageFolder, ImageNet, TinyImageNet
from .language import LanguageModelling
from .mnist import KMNIST, MNIST, FashionMNIST
from .parallel_text import Multi30k, ParallelText
from .task import DATASETS, Batch, Dataset, Split, Task, register
from .text import Multi30kText, Text
from .translation import Translation

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "DATASETS",
    "KMNIST",
    "MNIST",
    "SVHN",
    "Batch",
    "Classification",
    "Dataset",
    "Digits",
    "FashionMNIST",
    "ImageFolder",
    "ImageNet",
    "LanguageModelling",
    "Multi30k",
    "Multi30kText",
    "ParallelText",
    "Split",
    "Task",
    "Text",
    "TinyImageNet",
    "Translation",
    "discard",
    "note_digest",
    "register",
    "sampled_labels",
    "whole",
]
