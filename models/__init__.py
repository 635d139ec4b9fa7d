"""What is pruned on: the networks. Any ``nn.Module`` can be one."""

from .architecture import MODELS, register
from .initialisation import INITIALISATIONS, Initialisation
from .lenet import LeNet5, LeNet5Classic, LeNet300100, LeNetDropout, LeNetSmall
from .perceptron import Perceptron
from .resnet import CifarResNet, ResNetSmall
from .seq2seq import Seq2SeqLSTM
from .vgg import CifarVGG

__all__ = [
    "INITIALISATIONS",
    "MODELS",
    "CifarResNet",
    "CifarVGG",
    "Initialisation",
    "LeNet5",
    "LeNet5Classic",
    "LeNet300100",
    "LeNetDropout",
    "LeNetSmall",
    "Perceptron",
    "ResNetSmall",
    "Seq2SeqLSTM",
    "register",
]
