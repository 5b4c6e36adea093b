"""Which browser pages may drive the service: those of its own host, and those that the settings name.

A browser sends `Origin` with every WebSocket handshake and every POST of a page; other clients send none. A page whose
name was bound to this machine's address after it was loaded has an origin that equals its `Host`: that is why hosts are
checked before, by Starlette's `TrustedHostMiddleware`.
"""

from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.problems import problem_response

ANY = "*"


class OriginMiddleware:
    """Answers 403 to a request, or a handshake, that a page of another origin makes."""

    def __init__(self, app: ASGIApp, allowed_origins: Sequence[str]) -> None:
        self._app = app
        self._allowed = allowed_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        refused = [origin for origin in headers.getlist("origin") if not self._may_ask(origin, headers.get("host", ""))]
        if not refused:
            await self._app(scope, receive, send)
            return
        status = HTTPStatus.FORBIDDEN
        parts = {
            "subject": "Origin",
            "got": refused[0][:100],
            "expected": "none, the host that is asked, or one of RNNX_SERVICE_ALLOWED_ORIGINS",
            "remedy": "add the origin to RNNX_SERVICE_ALLOWED_ORIGINS",
        }
        detail = f"Origin: got {parts['got']!r}, expected {parts['expected']}; {parts['remedy']}"
        problem = {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail, **parts}
        await problem_response(problem)(scope, receive, send)

    def _may_ask(self, origin: str, host: str) -> bool:
        if ANY in self._allowed or origin.lower() in self._allowed:
            return True
        try:
            parts = urlsplit(origin.lower())
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and parts.netloc == host.lower() != ""
