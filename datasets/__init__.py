"""What is learned: the data sets, each of which loads as a :class:`Task`."""

from .classification import Classification, sampled_labels
from .digits import Digits
from .mnist import KMNIST, MNIST, FashionMNIST
from .task import DATASETS, Batch, Dataset, Split, Task, register

__all__ = [
    "DATASETS",
    "KMNIST",
    "MNIST",
    "Batch",
    "Classification",
    "Dataset",
    "Digits",
    "FashionMNIST",
    "Split",
    "Task",
    "register",
    "sampled_labels",
]
