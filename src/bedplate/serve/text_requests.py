"""`/v1/embeddings` and `/v1/classify`: what is asked, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bedplate.serve.api_error import refused
from bedplate.serve.fields import Fields, one_of

MAX_TEXTS = 2048


@dataclass(frozen=True)
class EmbeddingRequest:
    """dimensions: how many numbers a vector must have; whatever the encoder gives where None."""

    model: str
    texts: list[str]
    base64: bool
    dimensions: int | None


@dataclass(frozen=True)
class ClassifyRequest:
    model: str
    texts: list[str]


def read_embedding(fields: Fields) -> EmbeddingRequest:
    """Raises a 400 naming the field that is wrong or not supported."""
    model, texts = _model_and_texts(fields)
    encoding = one_of(fields, "encoding_format", ("float", "base64"), "float")
    dimensions = fields.whole("dimensions", 1, 2**31 - 1)
    fields.ignore("user", (str,))
    fields.close()
    return EmbeddingRequest(model, texts, encoding == "base64", dimensions)


def read_classify(fields: Fields) -> ClassifyRequest:
    """Raises a 400 naming the field that is wrong or not supported."""
    model, texts = _model_and_texts(fields)
    fields.ignore("user", (str,))
    fields.close()
    return ClassifyRequest(model, texts)


def _model_and_texts(fields: Fields) -> tuple[str, list[str]]:
    fields.need("model")
    model = str(fields.text("model"))
    given: Any = fields.need("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise fields.wrong("input", given, "a string or an array of strings")
    if len(texts) > MAX_TEXTS:
        raise refused(f"input has {len(texts)} texts, and the limit is {MAX_TEXTS}", "input")
    for i, text in enumerate(texts):
        if isinstance(text, int | list) and not isinstance(text, bool):
            raise refused(f"input[{i}]: token ids aren't supported, give texts", f"input[{i}]")
        if not isinstance(text, str) or not text:
            raise refused(f"input[{i}] must be a string that isn't empty", f"input[{i}]", "invalid_value")
    return model, texts
