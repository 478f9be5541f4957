"""The ways of adapting and what each can be told. No torch here."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, model_validator

from bedplate.config import Config

Kind = Literal["prompt", "probe", "adapter", "model", "baseline"]


class _Way(Config):
    """name: what reports call it."""

    name: str | None = Field(None, description="what reports call it; the way's own name where absent")


class Majority(_Way):
    """Always the commonest class of the training examples."""

    way: Literal["majority"] = Field("majority", description="always the commonest class")


class Keywords(_Way):
    """Rules learned from counts: the words that speak most for each class."""

    way: Literal["keywords"] = Field("keywords", description="words that speak for a class")
    words: int = Field(20, gt=0, description="words kept for each class")


class Tfidf(_Way):
    """TF-IDF features and logistic regression, by scikit-learn: the specialised baseline that needs no base."""

    way: Literal["tfidf"] = Field("tfidf", description="TF-IDF and logistic regression")
    ngrams: int = Field(2, ge=1, le=3, description="longest word n-gram")
    strengths: tuple[float, ...] = Field((1.0, 10.0, 100.0), description="inverse regularisation, tried on validation")


class ZeroShot(_Way):
    """A prompt alone. For classes: each label is scored by its likelihood, so nothing is parsed."""

    way: Literal["zero-shot"] = Field("zero-shot", description="a prompt alone")
    instruction: str | None = Field(None, description="what the base is told; made from the task where absent")
    list_labels: bool = Field(False, description="whether the prompt names all classes")


class FewShot(_Way):
    """A prompt with examples from the training set."""

    way: Literal["few-shot"] = Field("few-shot", description="a prompt with examples")
    instruction: str | None = Field(None, description="what the base is told; made from the task where absent")
    list_labels: bool = Field(False, description="whether the prompt names all classes")
    examples: Literal["fixed", "random", "nearest"] = Field(
        "nearest", description="the same for all, drawn for each text, or the nearest by the encoder"
    )
    shots: int = Field(4, gt=0, le=64, description="examples in a prompt")


class Nearest(_Way):
    """A vote of the nearest training examples by the encoder; each counts by its similarity."""

    way: Literal["nearest"] = Field("nearest", description="a vote of the nearest examples")
    neighbours: tuple[int, ...] = Field((1, 3, 5, 9, 15), description="numbers of neighbours, tried on validation")


class Probe(_Way):
    """Logistic regression on the encoder's embeddings, which stay as they are."""

    way: Literal["probe"] = Field("probe", description="logistic regression on embeddings")
    strengths: tuple[float, ...] = Field((1.0, 10.0, 100.0), description="inverse regularisation, tried on validation")


class Retrieval(_Way):
    """Answers from an index with citations, or says that the sources don't hold it. For prompt-and-answer tasks."""

    way: Literal["retrieval"] = Field("retrieval", description="answers from an index, with citations")
    passages: int = Field(3, gt=0, le=50, description="passages put before the base")
    search: Literal["hybrid", "vector", "bm25"] = Field("hybrid", description="how passages are found")
    instruction: str | None = Field(None, description="what the base is told; the default says to answer from sources")
    threshold: float | None = Field(
        None, ge=0, le=1, description="least support of an answer by a passage; below it the answer is declined"
    )


class _Tuned(_Way):
    """What all kinds of fine-tuning share. The whole budget includes the ladder of learning rates."""

    tune: Literal["base", "encoder"] = Field("base", description="which input is tuned")
    learning_rates: tuple[float, ...] = Field(description="ladder: each tried briefly, the best by validation goes on")
    epochs: float = Field(3.0, gt=0, description="most passes over the training examples; the budget may allow fewer")
    batch: int = Field(
        16, gt=0, description="examples, or packed rows, in a step; fewer where an epoch holds less than eight batches"
    )
    length: int = Field(256, gt=0, description="longest example, or packed row, in tokens; what is longer is refused")
    too_long: Literal["refuse", "truncate"] = Field("refuse", description="what to do with an example beyond `length`")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps that the learning rate rises")
    weight_decay: float = Field(0.01, ge=0, description="on matrices")

    @model_validator(mode="after")
    def _some_rates(self) -> Self:
        if not self.learning_rates or min(self.learning_rates) <= 0:
            raise ValueError(f"learning_rates {list(self.learning_rates)}: needs at least one, above 0")
        return self


class Lora(_Tuned):
    """Low-rank adapters on every linear layer (Hu et al. 2021, arXiv 2106.09685)."""

    way: Literal["lora"] = Field("lora", description="low-rank adapters")
    learning_rates: tuple[float, ...] = Field((2e-4, 1e-3), description="ladder, tried on validation")
    rank: int = Field(16, gt=0, description="rank of each adapter")
    alpha: float = Field(32.0, gt=0, description="numerator of the scale, alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="on an adapter's input while it is trained")
    rslora: bool = Field(False, description="scale by alpha / sqrt(rank) (arXiv 2312.03732)")


class LastLayer(_Tuned):
    """Only the last block and what comes after it."""

    way: Literal["last-layer"] = Field("last-layer", description="the last block alone")
    learning_rates: tuple[float, ...] = Field((1e-4, 1e-3), description="ladder, tried on validation")


class BitFit(_Tuned):
    """Only biases, or norms' gains where a model has no biases (Ben Zaken et al. 2021, arXiv 2106.10199)."""

    way: Literal["bitfit"] = Field("bitfit", description="biases, or the norms' gains where there are none")
    learning_rates: tuple[float, ...] = Field((1e-3, 5e-3), description="ladder, tried on validation")


class Full(_Tuned):
    """Every weight."""

    way: Literal["full"] = Field("full", description="every weight")
    learning_rates: tuple[float, ...] = Field((2e-5, 1e-4), description="ladder, tried on validation")


Way = Annotated[
    Majority | Keywords | Tfidf | ZeroShot | FewShot | Nearest | Probe | Retrieval | Lora | LastLayer | BitFit | Full,
    Discriminator("way"),
]

KINDS: dict[str, Kind] = {
    "majority": "baseline",
    "keywords": "baseline",
    "tfidf": "baseline",
    "zero-shot": "prompt",
    "few-shot": "prompt",
    "retrieval": "prompt",
    "nearest": "probe",
    "probe": "probe",
    "lora": "adapter",
    "last-layer": "adapter",
    "bitfit": "adapter",
    "full": "model",
}
"""Way -> the kind of artefact that it makes."""

TUNED = frozenset({"lora", "last-layer", "bitfit", "full"})
"""Ways that train a network, and so draw on the budget's operations."""

RANDOM = frozenset({"few-shot", *TUNED})
"""Ways whose result depends on the seed, and so are run with several (few-shot unless its examples are the nearest)."""


class TaskConfig(Config):
    """A task file: JSON Lines or CSV of text and label, or of prompt and answer. The split is fixed by a hash of the
    text, unless the file says it in a column or the test set is a file of its own."""

    file: str | None = Field(None, description="JSONL or CSV; absent where the stage has a `task` input")
    test_file: str | None = Field(None, description="a test set of its own; `file` is then split in two")
    text: str | None = Field(None, description="field of the text to classify; `text` where present")
    label: str | None = Field(None, description="field of its class; `label` or `category` where present")
    prompt: str | None = Field(None, description="field of the question; `prompt` or `question` where present")
    answer: str | None = Field(None, description="field of the answer; `answer` or `completion` where present")
    split: str | None = Field(None, description="field that says train, validation or test")
    validation: float = Field(0.2, gt=0, lt=1, description="share of examples for choices")
    test: float = Field(0.2, gt=0, lt=1, description="share of examples for the one final score")
    description: str | None = Field(None, description="what the labels say of the text, for prompts")
    label_texts: dict[str, str] | None = Field(None, description="label -> how a prompt writes it")


class EndpointConfig(Config):
    """Any OpenAI-compatible server as a base. The key is read from the environment, never from the recipe."""

    url: str = Field(description="base URL, up to and including /v1")
    model: str = Field(description="the model's name there")
    key: str | None = Field(None, description="environment variable that holds the key")
    timeout: float = Field(60.0, gt=0, description="seconds for one request")
    retries: int = Field(3, ge=0, description="more tries after a failure that may pass")
    concurrency: int = Field(4, gt=0, le=64, description="requests under way at once")
    prompt_price: float = Field(0.0, ge=0, description="price of a million prompt tokens")
    completion_price: float = Field(0.0, ge=0, description="price of a million completion tokens")
    label_scores: Literal["auto", "logprobs", "parse"] = Field(
        "auto", description="classify by echoed log-probabilities (/v1/completions) or by the text of the answer"
    )


class BudgetConfig(Config):
    """What each way may spend, the same for all."""

    labels: int | None = Field(None, gt=0, description="most labelled training examples; all where null")
    validation: int | None = Field(None, gt=0, description="most validation examples; all where null")
    flops: float | None = Field(
        None, gt=0, description="most floating-point operations of fitting, the search included; unbounded where null"
    )


def described(way: Any) -> str:
    """What reports call a way: its name, or the way with what tells it from its like."""
    if way.name:
        return str(way.name)
    extra = {"few-shot": getattr(way, "examples", ""), **dict.fromkeys(TUNED, getattr(way, "tune", ""))}.get(
        way.way, ""
    )
    return f"{way.way} ({extra})" if extra else str(way.way)
