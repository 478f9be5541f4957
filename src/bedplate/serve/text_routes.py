"""POST /v1/embeddings and POST /v1/classify"""

from __future__ import annotations

import base64
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bedplate.adapt.face import Classification, Classifier
from bedplate.errors import InputError
from bedplate.families.encoder_model import EncoderModel
from bedplate.generate.endpoint_http import EndpointError
from bedplate.serve.api_error import ApiError, refused
from bedplate.serve.body import read_body, while_connected
from bedplate.serve.fields import parsed
from bedplate.serve.pool_job import PoolJob
from bedplate.serve.service import Service
from bedplate.serve.text_requests import ClassifyRequest, EmbeddingRequest, read_classify, read_embedding
from bedplate.serve.work import Work

EMBEDDING_TOKENS = 2048
"""Positions, padding included, that are embedded in one turn of the worker."""

Vectors = npt.NDArray[np.float32]


async def embed(service: Service, request: Request) -> Response:
    """Vectors of texts."""
    body = await read_body(request)
    return await while_connected(request, _embed(service, body), service.timeout)


async def classify(service: Service, request: Request) -> Response:
    """Classes of texts with their probabilities: not in the OpenAI API."""
    body = await read_body(request)
    return await while_connected(request, _classify(service, body), service.timeout)


async def _embed(service: Service, body: bytes) -> Response:
    asked = await service.off_loop(lambda: read_embedding(parsed(body)))
    encoder, admission = service.catalogue.encoder(asked.model)
    if asked.dimensions not in (None, encoder.width):
        raise refused(
            f"dimensions is {asked.dimensions}, and the vectors of model {asked.model!r} have {encoder.width}",
            "dimensions",
        )
    with admission.entered(1):
        ids = await service.off_loop(lambda: _tokens(encoder, asked))
        vectors = await service.worker.compute(_vectors(encoder, ids))
    return await service.off_loop(lambda: _embeddings(asked, ids, vectors))  # JSON of many numbers takes its time


def _tokens(encoder: EncoderModel, asked: EmbeddingRequest) -> list[list[int]]:
    """The texts' tokens. Raises a 400 for one that is too long: its end would be missing from its vector."""
    encoded = encoder.encode_batch(asked.texts)
    if encoded.truncated:
        for i, text in enumerate(asked.texts):
            if encoder.encode_batch([text]).truncated:
                count = len(encoder.tokenizer.encode(text, post_process=True))
                raise refused(
                    f"input[{i}] has {count} tokens, and model {asked.model!r} reads {encoder.max_length}",
                    f"input[{i}]",
                    "context_length_exceeded",
                )
    return list(encoded)


def _vectors(encoder: EncoderModel, ids: Sequence[Sequence[int]]) -> Generator[None, None, Vectors]:
    vectors = np.empty((len(ids), encoder.width), dtype=np.float32)
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    while order:
        count = max(1, EMBEDDING_TOKENS // len(ids[order[0]]))
        rows, order = order[:count], order[count:]
        with torch.inference_mode():
            tokens, valid = encoder.padded([ids[i] for i in rows])
            vectors[rows] = encoder.embed_tokens(tokens, valid).float().cpu().numpy()
        yield
    return vectors


def _embeddings(asked: EmbeddingRequest, ids: Sequence[Sequence[int]], vectors: Vectors) -> Response:
    def shown(vector: Vectors) -> str | list[float]:
        if asked.base64:
            return base64.b64encode(vector.astype("<f4").tobytes()).decode()
        return vector.tolist()

    data = [{"object": "embedding", "index": i, "embedding": shown(v)} for i, v in enumerate(vectors)]
    return JSONResponse({"object": "list", "data": data, "model": asked.model, "usage": _usage(sum(map(len, ids)))})


async def _classify(service: Service, body: bytes) -> Response:
    asked = await service.off_loop(lambda: read_classify(parsed(body)))
    classifier, served = service.catalogue.classifier(asked.model)
    with Work(served.admission.enter(1).leave) as work:
        if served.pool is None:
            parts = await service.worker.compute(_classified(classifier, asked, 1))
        else:
            job = PoolJob(served.pool, _classified(classifier, asked, served.at_once))
            work.under_way = [job]
            parts = await job.result()
    data: list[dict[str, Any]] = []
    for part in parts:
        for label, scores in zip(part.labels, part.scores.tolist(), strict=True):
            by_class = dict(zip(part.classes, scores, strict=True))
            data.append({"index": len(data), "label": label, "score": by_class[label], "scores": by_class})
    tokens = sum(sum(part.prompt_tokens) for part in parts)
    return JSONResponse(
        {
            "object": "list",
            "model": asked.model,
            "classes": list(classifier.classes),
            "data": data,
            "usage": _usage(tokens),
        }
    )


def _classified(
    classifier: Classifier, asked: ClassifyRequest, at_once: int
) -> Generator[None, None, list[Classification]]:
    """at_once: texts in one turn; in the worker one, for others' tokens wait until it is over. Raises a 400 for a text
    that can't be classified; it doesn't repeat what the classifier said, which may quote the text and name files."""
    parts = []
    for start in range(0, len(asked.texts), at_once):
        texts = asked.texts[start : start + at_once]
        try:
            parts.append(classifier.classify(texts))
        except InputError:
            where = f"input[{start}]" if len(texts) == 1 else "input"
            longest = max(map(len, texts))
            raise refused(
                f"model {asked.model!r} can't classify {where}, most likely for its length of {longest} characters",
                where,
                "context_length_exceeded",
            ) from None
        except EndpointError as error:
            raise ApiError(502, f"the server behind model {asked.model!r} didn't answer", code="upstream") from error
        yield
    return parts


def _usage(tokens: int) -> dict[str, Any]:
    return {"prompt_tokens": tokens, "total_tokens": tokens}
