"""Who answers: a served model, many requests at once, or a local one, a batch after another."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from bedplate.data.synthesis.asking import Answer, Journal, Request, Unanswered
from bedplate.data.synthesis.client import ChatClient, ServedError
from bedplate.data.synthesis.config import ServedModel, SynthesizeConfig
from bedplate.errors import InputError

if TYPE_CHECKING:
    from bedplate.ledger import Artefact


class ServedWriter:
    """Each answer is put on record as it comes; those under way at a kill are lost."""

    def __init__(self, served: ServedModel, config: SynthesizeConfig) -> None:
        self.name = served.model
        self._concurrency = served.concurrency
        self._client = ChatClient(served, temperature=config.temperature, max_tokens=config.max_tokens)

    def answers(self, requests: Sequence[Request], journal: Journal) -> list[Answer | Unanswered]:
        def answer(request: Request) -> Answer | Unanswered:
            found = journal.find(request)
            if found is None:
                try:
                    found = self._client.ask(request)
                except ServedError as error:
                    if error.hopeless:
                        raise
                    return Unanswered(error.reason, error.problem)
                journal.add([(request, found)])
            return found

        with ThreadPoolExecutor(self._concurrency) as pool:
            try:
                return list(pool.map(answer, requests))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


class LocalWriter:
    """Batches are the same ones after an interruption: a model's last digits may depend on what it reads together."""

    def __init__(self, artefact: Artefact, config: SynthesizeConfig) -> None:
        from bedplate.generate.model import load_text

        self.name = f"{artefact.name}@{artefact.digest[:12]}"
        self._model = load_text(artefact.path)
        self._model.chat_prompt([{"role": "user", "content": "?"}])  # a base model is refused before anything is asked
        self._config = config

    def answers(self, requests: Sequence[Request], journal: Journal) -> list[Answer | Unanswered]:
        found: list[Answer | Unanswered] = []
        for start in range(0, len(requests), self._config.batch):
            batch = requests[start : start + self._config.batch]
            kept = [journal.find(request) for request in batch]
            found += self._write(batch, journal, kept) if None in kept else [one for one in kept if one is not None]
        return found

    def _write(
        self, batch: Sequence[Request], journal: Journal, kept: Sequence[Answer | None]
    ) -> list[Answer | Unanswered]:
        from bedplate.generate.params import SamplingParams

        context = self._model.config.max_position_embeddings
        prompts: list[list[int] | Unanswered] = []
        for request in batch:
            try:
                tokens = self._model.chat_prompt(request.openai())
            except InputError as error:
                prompts.append(Unanswered("template_refuses", error.problem))
                continue
            long = f"{len(tokens)} tokens where the model reads {context}"
            prompts.append(tokens if len(tokens) < context else Unanswered("too_long", long))
        if all(one is not None or isinstance(prompt, Unanswered) for one, prompt in zip(kept, prompts, strict=True)):
            return [one or prompt for one, prompt in zip(kept, prompts, strict=True)]  # type: ignore[misc]
        chosen = [i for i, prompt in enumerate(prompts) if not isinstance(prompt, Unanswered)]
        params = [
            SamplingParams(max_tokens=self._config.max_tokens, temperature=self._config.temperature, seed=batch[i].seed)
            for i in chosen
        ]
        written = self._model.generate([prompts[i] for i in chosen], params)  # type: ignore[misc]
        found: list[Answer | Unanswered] = list(prompts)  # type: ignore[arg-type]
        for i, generation in zip(chosen, written, strict=True):
            usage = generation.usage
            found[i] = Answer(
                generation.text,
                generation.finish_reason == "length",
                usage.prompt_tokens,
                usage.completion_tokens,
            )
        journal.add([(batch[i], answer) for i in chosen if isinstance(answer := found[i], Answer)])
        return found
