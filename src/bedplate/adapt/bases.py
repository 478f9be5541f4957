"""`LocalBase`: a model on this machine as what ways build on. It answers, and it says how likely a text is."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bedplate.adapt.face import Answer, Message
from bedplate.errors import InputError, TokenizerError
from bedplate.generate.generation import Generation
from bedplate.generate.params import SamplingParams

if TYPE_CHECKING:
    from bedplate.adapt.label_scoring import LabelScores
    from bedplate.generate.model import TextModel


class LocalBase:
    """A model folder (loaded when it is first asked), or a model that is loaded already.

    A folder is loaded in bfloat16 where the hardware multiplies it, which reads half the bytes for a token; in float32
    elsewhere. Every conversation is put by the model's own chat template.
    """

    def __init__(self, source: TextModel | Path | str, *, name: str | None = None) -> None:
        self._source = source
        if name is None:
            name = Path(source).resolve().name if isinstance(source, str | Path) else "model"
        self.name = name

    @cached_property
    def model(self) -> TextModel:
        """Raises what `bedplate.load` raises."""
        if not isinstance(self._source, str | Path):
            return self._source
        from bedplate.generate.model import load_text
        from bedplate.machine.choose import choose_compute_dtype, choose_device

        return load_text(self._source, dtype=choose_compute_dtype(choose_device("auto")).name)

    @property
    def context(self) -> int:
        """Most tokens of a prompt and its answer together."""
        return self.model.config.max_position_embeddings

    def check_chat(self) -> None:
        """Raise TokenizerError, without loading any weights, where there is no chat template to ask it by, WeightsError
        for an encoder."""
        tokenizer = None
        if isinstance(self._source, str | Path):
            from bedplate.families.model import model_folder, read_config, read_tokenizer

            folder = model_folder(self._source)
            read_config(folder)
            tokenizer = read_tokenizer(folder)
        else:
            tokenizer = self._source.tokenizer
        if tokenizer is None or tokenizer.chat_template is None:
            raise TokenizerError(
                f"{self.name}: no chat template, as in base models, which only continue text",
                "Take a model that was tuned for chat, or add its chat_template.jinja to the folder.",
            )

    def prompt_tokens(self, messages: Sequence[Message]) -> list[int]:
        """The tokens that put a conversation and ask for its answer. Raises as `TextModel.chat_prompt`."""
        return self.model.chat_prompt(messages)

    def generate(self, messages: Sequence[Message], params: SamplingParams | None = None) -> Answer:
        return self.generate_many([messages], params)[0]

    def generate_many(
        self, conversations: Sequence[Sequence[Message]], params: SamplingParams | None = None
    ) -> list[Answer]:
        """Answer several conversations in one batch. Raises InputError for one that fills the model's context."""
        if not conversations:
            return []
        prompts = [self._fitting(messages) for messages in conversations]
        return [_answer(generation) for generation in self.model.generate(prompts, params or SamplingParams())]

    def stream(self, messages: Sequence[Message], params: SamplingParams | None = None) -> Generator[str, None, Answer]:
        generation = yield from self.model.stream(self._fitting(messages), params or SamplingParams())
        return _answer(generation)

    def score(self, prompts: Sequence[Sequence[Message]], continuations: Sequence[str]) -> LabelScores:
        """How likely the base finds each continuation as its whole answer to each prompt: see `label_scoring`.

        What prompts have in common at their beginnings, and continuations at theirs, is computed once.
        """
        from bedplate.adapt.label_scoring import score_answers

        return score_answers(self.model, [self.prompt_tokens(p) for p in prompts], continuations)

    def _fitting(self, messages: Sequence[Message]) -> list[int]:
        tokens = self.prompt_tokens(messages)
        if len(tokens) >= self.context:
            raise InputError(
                f"the conversation makes {len(tokens)} tokens, and the context of {self.name} is {self.context}",
                "Shorten it.",
            )
        return tokens


def _answer(generation: Generation) -> Answer:
    return Answer(generation.text, generation.usage, finish_reason=generation.finish_reason)
