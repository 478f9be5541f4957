"""`Service`: what all routes work with, and how what goes wrong is told: plainly to the client, fully to the log."""

from __future__ import annotations

import asyncio
import secrets
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from bedplate.errors import InternalError, WeightsError
from bedplate.serve.api_error import ApiError
from bedplate.serve.catalogue import Catalogue
from bedplate.serve.daemon_pool import DaemonPool
from bedplate.serve.worker import Report, Worker

T = TypeVar("T")

PREPARING = 4
"""Threads that parse, render templates, tokenise and search."""


@dataclass
class Service:
    """timeout: seconds that a request may take. draining: no more are taken in, and those under way are finished."""

    catalogue: Catalogue
    worker: Worker
    report: Report
    timeout: float
    draining: bool = False
    pool: DaemonPool = field(default_factory=lambda: DaemonPool(PREPARING, "bedplate-prepare"))

    async def off_loop(self, work: Callable[[], T]) -> T:
        """The result of a blocking call, made in a thread."""
        return await asyncio.wrap_future(self.pool.submit(work))

    def stop(self) -> None:
        """End the threads that are at nothing; the others end with the process."""
        for pool in (self.pool, *self.catalogue.pools):
            pool.stop()

    def explain(self, error: Exception) -> ApiError:
        """What the client is told of an error."""
        if isinstance(error, ApiError):
            if error.status >= 500 and error.__cause__ is not None:
                self.report(f"{error.message}: {error.__cause__}")
            return error
        if isinstance(error, WeightsError):
            self.report(str(error))
            return ApiError(500, "the model's numbers are broken; the server's log says more", code="broken_model")
        name = secrets.token_hex(4)
        trace = "".join(traceback.format_exception(error))
        self.report(f"error {name}\n{trace}")
        what = "generating failed" if isinstance(error, InternalError) else "something failed here"
        return ApiError(500, f"{what}; the server's log says more of error {name}", code=name)
