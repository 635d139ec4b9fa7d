"""What is learned: the data sets, each of which loads as a :class:`Task`."""

from .cache import cache_folder
from .classification import Classification, sampled_labels
from .digits import Digits
from .mnist import KMNIST, MNIST, FashionMNIST
from .parallel_text import Multi30k, ParallelText
from .task import DATASETS, Batch, Dataset, Split, Task, register
from .translation import Translation

__all__ = [
    "DATASETS",
    "KMNIST",
    "MNIST",
    "Batch",
    "Classification",
    "Dataset",
    "Digits",
    "FashionMNIST",
    "Multi30k",
    "ParallelText",
    "Split",
    "Task",
    "Translation",
    "cache_folder",
    "register",
    "sampled_labels",
]
