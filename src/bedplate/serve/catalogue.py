"""`Catalogue`: what is served, by the names that requests use."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bedplate.adapt.face import Answerer, Base, Classifier
from bedplate.console import Console
from bedplate.families.encoder_model import EncoderModel
from bedplate.generate.model import TextModel
from bedplate.machine.probe import memory
from bedplate.serve.admission import Admission
from bedplate.serve.api_error import ApiError, refused
from bedplate.serve.continuation import Writer
from bedplate.serve.daemon_pool import DaemonPool
from bedplate.serve.endpoint_writer import EndpointWriter
from bedplate.serve.local_writer import LocalWriter
from bedplate.serve.opening import Opener, is_adapted, streams_as_it_comes
from bedplate.serve.worker import Lane, Worker

_GREETING = "Ready?"
"""What things are asked once before they are served, so that what they load late is there."""


@dataclass(frozen=True)
class Served:
    """A name and what it can be asked. admission: of embedding and classifying; a writer has its own. pool: where it
    classifies, where that is a request to somebody else's server, `at_once` texts together; in the worker where
    None."""

    name: str
    admission: Admission
    writer: Writer | None = None
    encoder: EncoderModel | None = None
    classifier: Classifier | None = None
    pool: DaemonPool | None = None
    at_once: int = 1
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def abilities(self) -> list[str]:
        """Of chat, completions, embeddings, classify."""
        writer = self.writer
        chats = isinstance(writer, EndpointWriter) or (isinstance(writer, LocalWriter) and writer.template is not None)
        completes = isinstance(writer, LocalWriter) and writer.face is None
        said = {"chat": chats, "completions": completes, "embeddings": self.encoder, "classify": self.classifier}
        return [name for name, can in said.items() if can]

    def described(self) -> dict[str, Any]:
        """As /v1/models has it, and more: `abilities`, `context`, `grounded` (answers come whole, once they have been
        held against their sources), `remote` (its base is somebody else's server)."""
        writer = self.writer
        return {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "bedplate",
            "abilities": self.abilities,
            "context": writer.context if isinstance(writer, LocalWriter) else None,
            "grounded": writer is not None and writer.holds,
            "remote": isinstance(writer, EndpointWriter) or self.pool is not None,
        }


class Catalogue:
    """Names in the order they were given."""

    def __init__(self, served: Sequence[Served]) -> None:
        self._served = {s.name: s for s in served}

    def __iter__(self) -> Iterator[Served]:
        return iter(self._served.values())

    @property
    def load(self) -> int:
        """Continuations and other requests that were let in and aren't over."""
        return sum(admission.load for admission in self._admissions())

    @property
    def capacity(self) -> int:
        """How many can be let in."""
        return sum(admission.slots + admission.max_queue for admission in self._admissions())

    @property
    def pools(self) -> list[DaemonPool]:
        """The threads that wait for somebody else's server."""
        writing = [s.writer.pool for s in self if isinstance(s.writer, EndpointWriter)]
        return writing + [s.pool for s in self if s.pool is not None]

    def _admissions(self) -> Collection[Admission]:
        each = [s.admission for s in self] + [s.writer.admission for s in self if s.writer is not None]
        return {id(admission): admission for admission in each}.values()

    def find(self, name: str) -> Served:
        """Raises a 404 that lists the names."""
        if name not in self._served:
            shown = name if len(name) <= 100 else name[:97] + "..."
            raise ApiError(
                404,
                f"there is no model {shown!r}; there are: {', '.join(self._served)}",
                param="model",
                code="model_not_found",
            )
        return self._served[name]

    def writer(self, name: str) -> Writer:
        """Raises where the model doesn't answer conversations."""
        served = self.find(name)
        if served.writer is None:
            raise _cannot(served, "answer conversations")
        return served.writer

    def completer(self, name: str) -> LocalWriter:
        """Raises where the model doesn't continue plain text."""
        served = self.find(name)
        if not isinstance(served.writer, LocalWriter) or served.writer.face is not None:
            raise _cannot(served, "continue plain text")
        return served.writer

    def encoder(self, name: str) -> tuple[EncoderModel, Admission]:
        """Raises where the model doesn't embed."""
        served = self.find(name)
        if served.encoder is None:
            raise _cannot(served, "embed")
        return served.encoder, served.admission

    def classifier(self, name: str) -> tuple[Classifier, Served]:
        """Raises where the model doesn't classify."""
        served = self.find(name)
        if served.classifier is None:
            raise _cannot(served, "classify")
        return served.classifier, served


_ROUTES = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
    "classify": "/v1/classify",
}


def _cannot(served: Served, what: str) -> ApiError:
    routes = ", ".join(_ROUTES[ability] for ability in served.abilities)
    return refused(f"model {served.name!r} doesn't {what}; ask it at {routes}", "model", "model_not_supported")


def open_catalogue(
    paths: dict[str, Path],
    worker: Worker,
    *,
    base: Path | None,
    dtype: str | None,
    slots: int,
    max_queue: int,
    console: Console,
) -> Catalogue:
    """Load what lies at the paths. Raises the errors of opening it."""
    opener, served = Opener(dtype), []
    lanes = _Lanes(worker, slots, max_queue, len(paths))
    for name, path in paths.items():
        console.say(f"loading {name} from {path}")
        served.append(_open(name, path, opener, lanes, base=base))
    return Catalogue(served)


def _open(name: str, path: Path, opener: Opener, lanes: _Lanes, *, base: Path | None) -> Served:
    aside = Admission(1, lanes.max_queue)
    if not is_adapted(path):
        if (encoder := opener.encoder(path)) is not None:
            return Served(name, aside, encoder=encoder)
        model = opener.model(path)
        return Served(name, aside, writer=LocalWriter(name, *lanes.of(model)))
    face = opener.face(path, base)
    classifier = face if isinstance(face, Classifier) else None
    if classifier is not None:
        classifier.classify([_GREETING])
        if (at_once := _concurrency(getattr(face, "base", None))) is not None:
            pool = DaemonPool(1, "bedplate-classify")
            return Served(name, aside, classifier=classifier, pool=pool, at_once=at_once)
    return Served(name, aside, writer=_writer(name, face, lanes), classifier=classifier)


def _writer(name: str, face: Any, lanes: _Lanes) -> Writer | None:
    from bedplate.adapt.bases import LocalBase
    from bedplate.adapt.opening import ModelAnswerer

    if not isinstance(face, Answerer):
        return None
    if isinstance(face, ModelAnswerer) and isinstance(face.base, LocalBase):
        return LocalWriter(name, *lanes.of(face.base.model))
    face.prepare([{"role": "user", "content": _GREETING}])
    holds = not streams_as_it_comes(face)
    if isinstance(face.base, LocalBase):
        return LocalWriter(name, *lanes.of(face.base.model), face=face, holds=holds)
    admission = Admission(_concurrency(face.base) or 1, lanes.max_queue)
    return EndpointWriter(name, face, admission, holds=holds)


def _concurrency(base: Base | None) -> int | None:
    """Requests that may be under way to an endpoint; None for what isn't one."""
    from bedplate.adapt.endpoint import EndpointBase

    return base.config.concurrency if isinstance(base, EndpointBase) else None


class _Lanes:
    """One lane a model, and the shares of the machine's memory that their caches may take."""

    def __init__(self, worker: Worker, slots: int, max_queue: int, count: int) -> None:
        self._worker, self._slots, self.max_queue, self._count = worker, slots, max_queue, count
        self._of: dict[int, tuple[Lane, TextModel, Admission]] = {}

    def of(self, model: TextModel) -> tuple[Lane, TextModel, Admission]:
        if id(model) not in self._of:
            lane = self._worker.lane(model, self._slots, self._cache_tokens(model))
            self._of[id(model)] = lane, model, Admission(lane.slots, self.max_queue)
        return self._of[id(model)]

    def _cache_tokens(self, model: TextModel) -> int | None:
        """Positions of keys and values that a quarter of the free memory holds, shared among the models: the cache
        may grow to twice what it is bound to, and is copied when sequences join."""
        free = memory().available if model.device.type == "cpu" else _device_memory(model)
        if free is None:
            return None
        position = model.net.cache_width * model.dtype.itemsize
        return max(free // 4 // self._count // position, 1) if position else None


def _device_memory(model: TextModel) -> int | None:
    import torch

    return torch.cuda.mem_get_info(model.device)[0] if model.device.type == "cuda" else None
