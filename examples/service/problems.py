"""Errors as clients see them: problem details for HTTP APIs, RFC 9457, with the four parts of an `RnnxError`."""

from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rnnx_runtime import (
    DeadlineExceeded,
    InputError,
    PoolClosedError,
    PoolOverloaded,
    RnnxError,
    SnapshotError,
    StepTimeout,
    StreamEvicted,
)
from service.bounds import TooLargeError

_STATUS: dict[type[RnnxError], HTTPStatus] = {
    TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    InputError: HTTPStatus.BAD_REQUEST,
    SnapshotError: HTTPStatus.BAD_REQUEST,
    PoolOverloaded: HTTPStatus.SERVICE_UNAVAILABLE,
    PoolClosedError: HTTPStatus.SERVICE_UNAVAILABLE,
    StreamEvicted: HTTPStatus.GONE,
    DeadlineExceeded: HTTPStatus.GATEWAY_TIMEOUT,
    StepTimeout: HTTPStatus.GATEWAY_TIMEOUT,
}


def problem_from_error(error: RnnxError) -> dict[str, Any]:
    """The problem details of an error, whose kind is the error's class."""
    parts = {name: getattr(error, name) for name in ("subject", "got", "expected", "remedy")}
    status = _STATUS.get(type(error), HTTPStatus.INTERNAL_SERVER_ERROR)
    kind = type(error).__name__
    return {"type": f"urn:rnnx:error:{kind}", "title": kind, "status": status, "detail": str(error), **parts}


def problem_response(problem: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    """An answer of HTTP with problem details."""
    return JSONResponse(problem, problem["status"], headers, media_type="application/problem+json")


async def answer_error(request: Request, error: Exception) -> Response:
    """Answer a request whose handler raised an `RnnxError`."""
    assert isinstance(error, RnnxError)
    problem = problem_from_error(error)
    is_busy = problem["status"] == HTTPStatus.SERVICE_UNAVAILABLE
    return problem_response(problem, {"Retry-After": "1"} if is_busy else None)


async def answer_http_error(request: Request, error: Exception) -> Response:
    """Answer a request that HTTP itself refuses: no such path, no such method, too much, too slow."""
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    problem = {"type": "about:blank", "title": title, "status": error.status_code, "detail": error.detail}
    return problem_response(problem, dict(error.headers or {}))
