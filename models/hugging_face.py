"""Models of text of the transformers library by name: ``transformers/gpt2``.

A name is a family of the library (``gpt2``, ``llama``, ``opt``), a model of the Hugging Face hub as
``owner/name``, or a folder that begins with ``.`` or ``/``.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import UsageError, lacking, suggestion
from ..notation import written
from ..protocols import ChannelGroup
from .architecture import MODELS
from .transformer_channels import channel_groups, resize


class CausalLanguageModel(nn.Module):
    """A network of the transformers library, whose outputs are logits alone.

    Args:
        network: the library's own, which has a language-modelling head.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (batch × steps × tokens) of what follows each of ``tokens`` (batch × steps)."""
        logits: Tensor = self.network(input_ids=tokens, use_cache=False).logits
        # Losses of logits in half precision would be as coarse as these.
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def generate(self, tokens: Tensor, count: int) -> Tensor:
        """The ``count`` most probable tokens after ``tokens`` (batch × steps), by the library."""
        network: Any = self.network
        outputs: Tensor = network.generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            do_sample=False,
            num_beams=1,
            min_new_tokens=count,
            max_new_tokens=count,
        )
        return outputs[:, tokens.shape[1] :]

    def channel_groups(self) -> list[ChannelGroup]:
        """What can be removed: heads of attention, and units of feed-forward layers."""
        return channel_groups(self)

    def resize(self) -> None:
        """Have modules say the number of heads that there are."""
        resize(self)


class SequenceClassifier(nn.Module):
    """A network of the transformers library that classifies texts, whose outputs are logits alone.

    Args:
        network: the library's own, which has a head for sequence classification.
        name: what it is called, for sentences.

    Attributes:
        filling: the token that its configuration says to be padding.
    """

    def __init__(self, network: nn.Module, name: str) -> None:
        super().__init__()
        self.network = network
        self._name = name
        configuration: Any = network.config
        self.filling = int(configuration.pad_token_id or 0)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (batch × classes) of texts as tokens (batch × steps), their filling left out."""
        mask = (tokens != self.filling).long()
        try:
            logits: Tensor = self.network(input_ids=tokens, attention_mask=mask).logits
        except IndexError:
            raise UsageError(
                f"model transformers/{self._name} has fewer tokens than the vocabulary of this "
                "data set: give it more by config={'vocab_size': …}"
            ) from None
        return logits.to(torch.promote_types(logits.dtype, torch.float32))


@MODELS.library("transformers")
@cache
def transformers_model(name: str) -> type[nn.Module]:
    """A language model or classifier of transformers (Wolf et al. 2020), to be installed.

    Raises:
        UsageError: there can be none of this name, or transformers is not installed.
    """
    if reason := lacking("transformers", "transformers"):
        raise UsageError(f"models of transformers: {reason}")
    if not _is_folder(name) and name.count("/") != 1 and name not in _families():
        raise UsageError(
            f"unknown transformers model {name!r}: give a model of the hub as owner/name, a folder "
            "that begins with . or /, or a family of the library: "
            f"{suggestion(name, ['gpt2', 'gpt_neox', 'llama', 'mistral', 'opt', 'qwen2'])}"
        )
    return _model_class(name)


def _model_class(name: str) -> type[nn.Module]:
    """A class that a registry can hold, whose instances are of one of the classes above."""

    def make(
        cls: type[nn.Module],
        *,
        input_shape: tuple[int, ...] = (256,),
        classes: int = 256,
        pretrained: bool = False,
        config: dict[str, Any] | None = None,
        revision: str = "main",
        dtype: Literal["float32", "bfloat16", "float16"] = "float32",
        head: Literal["language", "classification"] = "language",
    ) -> nn.Module:
        if len(input_shape) != 1:
            shape = "×".join(map(str, input_shape))
            raise UsageError(
                f"model transformers/{name} needs sequences of tokens, as Text has, and the "
                f"examples of this data set are {shape}"
            )
        given = getattr(torch, dtype)
        heads = "CausalLM" if head == "language" else "SequenceClassification"
        network = _built(
            name, revision, pretrained, config or {}, input_shape[0], classes, given, heads
        )
        if head == "language":
            return CausalLanguageModel(network)
        return SequenceClassifier(network, name)

    body: dict[str, Any] = {
        "__new__": make,
        # Never called, as instances are of another class; it says which hyperparameters there are.
        "__init__": make,
        "__doc__": f"{name} of transformers; ``pretrained`` takes its weights, ``config`` replaces "
        "what its configuration says, ``revision`` is a branch, tag or commit of the hub, "
        "``dtype`` is the type of the weights, ``head`` what it predicts: the next token, or the "
        "class of a text.",
        "__module__": __name__,
        "__signature__": inspect.Signature(list(inspect.signature(make).parameters.values())[1:]),
    }
    if _is_folder(name):
        body["identity_of"] = staticmethod(lambda arguments: _identity(Path(name), arguments))
    return type(f"transformers/{name}", (nn.Module,), body)


def _built(
    name: str,
    revision: str,
    pretrained: bool,
    changes: Mapping[str, Any],
    length: int,
    classes: int,
    dtype: torch.dtype,
    heads: str,
) -> nn.Module:
    """The library's network, with weights of its own or drawn ones."""
    import transformers  # importing it takes seconds

    try:
        if not pretrained and name in _families():
            configuration = _of_family(name, changes, length, classes, heads)
        else:
            configuration = transformers.AutoConfig.from_pretrained(name, revision=revision)
            _require_known(configuration, name, changes)
            configuration.update(changes)
            if heads == "SequenceClassification":
                configuration.num_labels = classes
        skipped = _skipped_positions(configuration, heads)
        _require_room(configuration, name, length, classes if heads == "CausalLM" else 0, skipped)
        factory = getattr(transformers, f"AutoModelFor{heads}")
        if not pretrained:
            drawn: nn.Module = factory.from_config(configuration, dtype=dtype)
            return drawn
        read: nn.Module = factory.from_pretrained(
            name,
            revision=revision,
            config=configuration,
            dtype=dtype,
            use_safetensors=True,  # other formats may execute what is in them
        )
        return read
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise UsageError(
            f"model transformers/{name} cannot be read or downloaded: {reason}"
        ) from None


def _of_family(name: str, changes: Mapping[str, Any], length: int, classes: int, heads: str) -> Any:
    """The configuration of a family, which fits the task where nothing else is asked for.

    The numbers of special tokens that it has are those of a vocabulary that is not there.
    """
    from transformers import AutoConfig

    usual = AutoConfig.for_model(name)
    _require_known(usual, name, changes)
    names = usual.attribute_map
    positions = names.get("max_position_embeddings", "max_position_embeddings")
    special = ("bos_token_id", "eos_token_id", "pad_token_id")
    fitting: dict[str, Any] = {positions: length, **dict.fromkeys(special)}
    if heads == "CausalLM":
        fitting["vocab_size"] = classes
    else:
        fitting |= {"num_labels": classes, "pad_token_id": 0}
    known = {key: value for key, value in fitting.items() if hasattr(usual, key)}
    asked = {names.get(key, key): value for key, value in changes.items()}
    configuration = AutoConfig.for_model(name, **(known | asked))
    if positions in known and positions not in asked:
        configuration.update({positions: length + _skipped_positions(configuration, heads)})
    return configuration


def _skipped_positions(configuration: Any, heads: str) -> int:
    """How many of its positions such a network never uses, as RoBERTa counts from its padding."""
    import transformers

    with torch.device("meta"):
        network = getattr(transformers, f"AutoModelFor{heads}").from_config(configuration)
    for module in network.modules():
        embedding = getattr(module, "position_embeddings", None)
        if isinstance(embedding, nn.Embedding) and embedding.padding_idx is not None:
            return int(embedding.padding_idx) + 1
    return 0


def _require_known(configuration: Any, name: str, changes: Mapping[str, Any]) -> None:
    for key in changes:
        if not hasattr(configuration, key):
            known = {*configuration.to_dict(), *configuration.attribute_map}
            raise UsageError(
                f"model transformers/{name}: config: {key!r} is not allowed: "
                f"{suggestion(key, known)}"
            )


def _require_room(configuration: Any, name: str, length: int, classes: int, skipped: int) -> None:
    positions = (getattr(configuration, "max_position_embeddings", None) or length) - skipped
    tokens = getattr(configuration, "vocab_size", None) or classes
    for there, needed, what in (
        (positions, length, "positions, and blocks of this data set have"),
        (tokens, classes, "tokens, and the vocabulary of this data set has"),
    ):
        if there < needed:
            raise UsageError(f"model transformers/{name} has {there:,} {what} {needed:,}")


@cache
def _families() -> frozenset[str]:
    """Types of the library that may have such models, found without importing it."""
    spec = find_spec("transformers")
    folders = (spec and spec.submodule_search_locations) or []
    found = (path for folder in folders for path in Path(folder).glob("models/*/modeling_*.py"))
    head = re.compile(rb"class \w+(ForCausalLM|LMHeadModel|ForSequenceClassification)\(")
    homes = {path.parent for path in found if head.search(path.read_bytes())}
    settings = (path for home in homes for path in home.glob("configuration_*.py"))
    named = re.compile(r"""^    model_type(?:: \w+)? = ["'](.+)["']""", re.MULTILINE)
    return frozenset(name for path in settings for name in named.findall(path.read_text("utf-8")))


def _is_folder(name: str) -> bool:
    return name.startswith((".", "/"))


def _identity(folder: Path, arguments: Mapping[str, Any]) -> str:
    """The model by what is in its folder, and not by its path."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")]):
        digest.update(f"{path.name} {_digest(path, path.stat().st_mtime_ns)}\n".encode())
    return f"{written('transformers', arguments)}@{digest.hexdigest()}"


@cache
def _digest(path: Path, changed: int) -> str:
    """SHA-256 of a file that was last changed at that time; it is read once."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
