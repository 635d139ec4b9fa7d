"""What is pruned on: the networks. Any ``nn.Module`` can be one."""

from .architecture import MODELS, register
from .gpt import GPT
from .hugging_face import CausalLanguageModel, transformers_model
from .initialisation import INITIALISATIONS, Initialisation, load_state
from .lenet import LeNet5, LeNet5Classic, LeNet300100, LeNetDropout, LeNetSmall
from .libraries import timm_model, torchvision_model
from .mobilenet import CifarMobileNetV2
from .perceptron import Perceptron
from .resnet import CifarResNet, ResNetSmall
from .seq2seq import Seq2SeqLSTM
from .vgg import CifarVGG
from .wide_resnet import WideResNet

__all__ = [
    "GPT",
    "INITIALISATIONS",
    "MODELS",
    "CausalLanguageModel",
    "CifarMobileNetV2",
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
    "WideResNet",
    "load_state",
    "register",
    "timm_model",
    "torchvision_model",
    "transformers_model",
]
