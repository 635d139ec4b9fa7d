"""What is learned: the data sets, each of which loads as a :class:`Task`."""

from .cache import discard, note_digest, noted_digest, whole
from .cifar import CIFAR10, CIFAR100, SVHN
from .classification import Classification, LabelClassification, sampled_labels
from .corpora import C4, PennTreebank, TinyStories, WikiText2, WikiText103
from .digits import Digits
from .image_folder import ImageFolder, ImageNet, TinyImageNet
from .labelled_text import LabelledText, TextClassification
from .language import LanguageModelling
from .mnist import KMNIST, MNIST, FashionMNIST
from .parallel_text import Multi30k, ParallelText
from .task import DATASETS, Batch, Dataset, Split, Task, register
from .text import Multi30kText, Text
from .translation import Translation

__all__ = [
    "C4",
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
    "LabelClassification",
    "LabelledText",
    "LanguageModelling",
    "Multi30k",
    "Multi30kText",
    "ParallelText",
    "PennTreebank",
    "Split",
    "Task",
    "Text",
    "TextClassification",
    "TinyImageNet",
    "TinyStories",
    "Translation",
    "WikiText2",
    "WikiText103",
    "discard",
    "note_digest",
    "noted_digest",
    "register",
    "sampled_labels",
    "whole",
]
