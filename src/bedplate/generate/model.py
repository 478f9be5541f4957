"""`TextModel`, a model that writes, and `load`, which brings one in from wherever it is."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch

from bedplate.codecs.chat_tokens import chat_prompt_ids
from bedplate.deltas.adapter import is_adapter, load_adapter
from bedplate.deltas.lineage import base_of
from bedplate.errors import InputError, TokenizerError, UserError, WeightsError
from bedplate.families.encoder_model import EncoderModel
from bedplate.families.hub import fetch, hub_id, pin
from bedplate.families.model import Model, nearest_sibling
from bedplate.families.opening import load_any
from bedplate.families.seq2seq_model import Seq2SeqModel
from bedplate.generate import engine
from bedplate.generate.generation import Generation
from bedplate.generate.params import SamplingParams


class TextModel(Model):
    """A `Model` that generates: `bedplate.load` gives one."""

    def generate(
        self,
        prompts: str | Sequence[engine.Prompt],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        seeds: Sequence[int] | None = None,
        **options: Any,
    ) -> list[Generation]:
        """Continue each prompt: see `bedplate.generate.engine.generate`."""
        return engine.generate(self, prompts, params, seeds=seeds, **options)

    def stream(
        self, prompt: engine.Prompt, params: SamplingParams | None = None, **options: Any
    ) -> Generator[str, None, Generation]:
        """Continue one prompt, its text as it comes: see `bedplate.generate.engine.stream`."""
        return engine.stream(self, prompt, params, **options)

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        params: SamplingParams | None = None,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> Generation:
        """Answer a conversation, `[{"role": "user", "content": "..."}]`, put by the model's own chat template."""
        return self.generate([self.chat_prompt(messages, tools=tools)], params, **options)[0]

    def chat_prompt(
        self, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[int]:
        """The tokens that put a conversation to the model and ask for its answer.

        Special tokens that somebody typed into a message stay plain text. Raises TokenizerError where the model has no
        chat template, InputError where the template refuses or leaves out what it is given.
        """
        tokenizer = self.tokenizer
        if tokenizer is None or tokenizer.chat_template is None:
            raise TokenizerError(
                "the model has no chat template", "A base model only continues text: use generate, or chat --raw."
            )
        return chat_prompt_ids(tokenizer, messages, tools)


class RewritingModel(Seq2SeqModel):
    """A `Seq2SeqModel` that generates: `bedplate.load` of an encoder-decoder gives one."""

    def generate(
        self,
        prompts: str | Sequence[engine.Prompt],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        seeds: Sequence[int] | None = None,
        **options: Any,
    ) -> list[Generation]:
        """Answer each prompt: see `bedplate.generate.engine.generate`."""
        return engine.generate(self, prompts, params, seeds=seeds, **options)

    def stream(
        self, prompt: engine.Prompt, params: SamplingParams | None = None, **options: Any
    ) -> Generator[str, None, Generation]:
        """Answer one prompt, its text as it comes: see `bedplate.generate.engine.stream`."""
        return engine.stream(self, prompt, params, **options)

    def chat(self, *_: Any, **__: Any) -> NoReturn:
        """Raises WeightsError: an encoder-decoder holds no conversations."""
        raise WeightsError(
            f"a {self.config.model_type} model is an encoder-decoder: it answers one text and holds no conversation",
            'Use generate(["translate English to German: ..."]), or load a model with a chat template.',
        )


def load(
    path: str | Path,
    *,
    dtype: str | torch.dtype | None = None,
    device: str = "auto",
    revision: str | None = None,
    adapter: str | Path | None = None,
) -> TextModel | RewritingModel | EncoderModel:
    """The model at `path`: an artefact of kind model, run or release, any Hugging Face folder, a model on the hub,
    `hub:organisation/model` (no prefix where a revision is given), or an adapter artefact, which says its base.

    A folder that holds an encoder gives an `EncoderModel`, an encoder-decoder a `RewritingModel`. dtype: "float32",
    "bfloat16" or "float16"; as stored where None. device: auto, cpu, cuda, mps. revision: on the hub, a branch, tag or
    commit; the commit that the hub's main branch is now at where None. adapter: the folder of an adapter, ours or
    PEFT's, to load on the model.
    Raises UserError for a GGUF file, which is imported first, ArtefactError for an adapter whose base isn't where it
    was, WeightsError for one that was trained on other weights; else as `bedplate.families.model.load`.
    """
    folder = _folder(path, revision)
    if adapter is None and is_adapter(folder):
        folder, adapter = base_of(folder), folder
    model = load_any(folder, dtype, device, writer=TextModel, rewriter=RewritingModel)
    if adapter is not None:
        load_adapter(adapter, model, base=folder)
        model.net.eval()
    return model


def load_text(
    path: str | Path,
    *,
    dtype: str | torch.dtype | None = None,
    device: str = "auto",
    revision: str | None = None,
    adapter: str | Path | None = None,
) -> TextModel:
    """`load` where a model that continues texts is needed. Raises WeightsError for an encoder or encoder-decoder."""
    model = load(path, dtype=dtype, device=device, revision=revision, adapter=adapter)
    if isinstance(model, RewritingModel):
        raise WeightsError(
            f"{path}: an encoder-decoder: it answers one text and can't continue or chat",
            "Name a decoder here (Llama, Qwen, GPT-2 ...). From Python this one works: bedplate.load(...).generate.",
        )
    if not isinstance(model, TextModel):
        raise WeightsError(
            f"{path}: an encoder: it turns texts into vectors and can't write", "Name a language model here."
        )
    return model


def _folder(path: str | Path, revision: str | None) -> Path:
    """The folder on this machine, fetched from the hub if need be."""
    if (on_hub := hub_id(str(path), revision)) is not None:
        return Path(fetch(on_hub, pin(on_hub, revision)))
    if revision is not None:
        raise UserError(f"revision={revision}: {path} is no hub id", "Leave the revision out.")
    if str(path).lower().endswith(".gguf"):
        raise UserError(f"{path} is a GGUF file", f"Import it first: bedplate import {path} FOLDER")
    if not Path(path).exists():
        raise InputError(
            f"{path}: no such folder{nearest_sibling(Path(path))}",
            "Give a model's folder, or hub:organisation/model for one on the hub.",
        )
    return Path(path)
