"""`ApiError`: what a client is told when a request can't be answered, in the shape of OpenAI's errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

KINDS = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """A request that isn't answered. The message is for the client: no paths, no addresses, no traces.

    param: the field that is wrong. code: a word that programs look for.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    def content(self) -> dict[str, Any]:
        """{"error": {...}}"""
        kind = KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        return JSONResponse(self.content(), status_code=self.status, headers=self.headers)


def refused(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A 400 for a field."""
    return ApiError(400, message, param=param, code=code)
