"""A tiny chat model and a tiny encoder as artefacts, a small real-enough task, and one way fitted in one call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bedplate.adapt.stage import ADAPT, AdaptConfig
from bedplate.codecs.text import TextTokenizer
from bedplate.console import Console
from bedplate.families.bert import build as build_bert
from bedplate.families.bert_config import BertConfig
from bedplate.families.encoder_model import EncoderModel
from bedplate.families.imports import import_model
from bedplate.families.llama import build as build_llama
from bedplate.families.llama_config import LlamaConfig
from bedplate.generate.model import TextModel
from bedplate.ledger import Artefact, produce

MakeModel = Callable[..., TextModel]
Adapt = Callable[..., Artefact]

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

FRUIT = ("apple", "banana", "cherry", "grape", "melon", "pear", "plum", "quince")
TOOL = ("hammer", "chisel", "drill", "pliers", "saw", "spanner", "vice", "wrench")
BIRD = ("crow", "finch", "heron", "kite", "magpie", "owl", "robin", "wren")
CAPITALS = """
France Paris Spain Madrid Italy Rome Greece Athens Japan Tokyo Peru Lima Cuba Havana Kenya Nairobi
Norway Oslo Poland Warsaw Egypt Cairo Chile Santiago Iran Tehran Iraq Baghdad Qatar Doha Malta Valletta
"""
SENTENCES = ("I saw a {} today", "where is my {}?", "this {} is old", "she drew a small {}", "one {} too many")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny products only lose by threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tokenizer() -> TextTokenizer:
    """Byte-level BPE of 400 tokens, three of them special, with a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([Path(__file__).read_text()], trainer)
    settings = {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    return TextTokenizer(backend.to_str(), settings, chat_template=TEMPLATE)


@pytest.fixture(scope="session")
def make_model(tokenizer: TextTokenizer) -> MakeModel:
    """`make_model(num_hidden_layers=1)`: a random chat model whose distributions are neither flat nor certain."""

    def make(*, seed: int = 0, **changes: Any) -> TextModel:
        shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        shape |= {"num_key_value_heads": 2, "vocab_size": 400, "max_position_embeddings": 256}
        config = LlamaConfig.model_validate(shape | {"bos_token_id": 0, "eos_token_id": 2} | changes)
        net = build_llama(config).eval()
        _randomise(net, seed)
        return TextModel(config, net, tokenizer)

    return make


@pytest.fixture(scope="session")
def base(make_model: MakeModel, tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    """The tiny chat model as an imported model artefact."""
    folder = tmp_path_factory.mktemp("base")
    make_model().save(folder / "hf")
    return import_model(folder / "hf", folder / "base", console=Console.quiet())


@pytest.fixture(scope="session")
def make_encoder(tokenizer: TextTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Artefact]:
    """`make_encoder(seed)`: a tiny encoder of random weights as an imported model artefact."""

    def make(seed: int) -> Artefact:
        folder = tmp_path_factory.mktemp(f"encoder{seed}")
        shape = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
        config = BertConfig.model_validate(shape | {"num_attention_heads": 4, "max_position_embeddings": 64})
        net = build_bert(config).eval()
        _randomise(net, seed)
        EncoderModel(config, net, _framed(tokenizer)).save(folder / "hf")
        return import_model(folder / "hf", folder / "encoder", console=Console.quiet())

    return make


def _framed(tokenizer: TextTokenizer) -> TextTokenizer:
    """The same with a token before and after each text, as encoders have them."""
    from tokenizers import Tokenizer, processors

    backend = Tokenizer.from_str(tokenizer.backend.to_str())
    around = [("<|im_start|>", 1), ("<|im_end|>", 2)]
    backend.post_processor = processors.TemplateProcessing(single="<|im_start|> $A <|im_end|>", special_tokens=around)
    return TextTokenizer(backend.to_str(), {"pad_token": "<|endoftext|>"})


@pytest.fixture(scope="session")
def encoder(make_encoder: Callable[[int], Artefact]) -> Artefact:
    return make_encoder(0)


@pytest.fixture(scope="session")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task of three classes that the words give away: 120 sentences about fruits, tools and birds."""
    rows = [
        {"text": sentence.format(word), "label": label}
        for label, words in (("a_fruit", FRUIT), ("a_tool", TOOL), ("a_bird", BIRD))
        for word in words
        for sentence in SENTENCES
    ]
    return _written(tmp_path_factory.mktemp("task") / "things.jsonl", rows)


@pytest.fixture(scope="session")
def capitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task of questions and free answers."""
    places = CAPITALS.split()
    rows = [
        {"prompt": f"What is the capital of {country}?", "answer": city}
        for country, city in zip(places[::2], places[1::2], strict=True)
    ]
    return _written(tmp_path_factory.mktemp("task") / "capitals.jsonl", rows)


@pytest.fixture
def adapt(tmp_path: Path, base: Artefact, encoder: Artefact) -> Adapt:
    """`adapt({"way": "probe"}, task_file, inputs=("encoder",))`: the artefact that the stage makes of it.

    inputs: roles to give, of "base" and "encoder", or artefacts by role. More keywords go into the configuration.
    """
    made: list[Path] = []

    def make(way: dict[str, Any], task: Path, inputs: Any = (), **more: Any) -> Artefact:
        known = {"base": base, "encoder": encoder}
        given = inputs if isinstance(inputs, dict) else {role: known[role] for role in inputs}
        config = AdaptConfig.model_validate({"task": {"file": str(task)}, "way": way} | more)
        made.append(tmp_path / f"{way['way']}-{len(made)}")
        return produce(ADAPT, config, given, made[-1], name=way["way"], console=Console.quiet())

    return make


def _randomise(net: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * (1.0 if parameter.dim() == 1 else 0.35))


def _written(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
