"""The application: its four routes, what they share, and how it begins and ends."""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Coroutine
from itertools import count
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from rnnx_runtime import PoolOptions, PoolOverloaded, RnnxError
from service.conversation import GOING_AWAY, TRY_LATER, Conversation
from service.counts import Counts
from service.models import Models
from service.origins import OriginMiddleware
from service.problems import answer_error, answer_http_error
from service.runs import Runs
from service.settings import Settings

_LOG = logging.getLogger("uvicorn.error")


class Service:
    """What the routes of one application share. Made before its event loop; `app` is what a server runs.

    Raises:
        RnnxError: a model cannot be loaded, or is not what the service needs.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        options = PoolOptions(
            max_streams=settings.max_streams,
            max_queue=settings.max_queue,
            idle_s=settings.idle_s,
            on_evict=self._on_evict,
            step_timeout_s=settings.step_timeout_s,
        )
        self._models = Models(settings, options)
        self._counts = Counts(self._models.pool)
        self._conversations: dict[str, Conversation] = {}
        self._names = count(1)
        self._runs = Runs(self._models, settings, self._counts)
        self._is_draining = False
        self._tasks: set[asyncio.Task[None]] = set()
        guards = [
            Middleware(TrustedHostMiddleware, allowed_hosts=settings.hosts, www_redirect=False),
            Middleware(OriginMiddleware, allowed_origins=settings.origins),
        ]
        self.app = Starlette(
            routes=[
                WebSocketRoute("/stream", self.stream, middleware=guards),
                Route("/run", self.run, methods=["POST"], middleware=guards),
                Route("/healthz", self.healthz),
                Route("/metrics", self.metrics),
            ],
            exception_handlers={RnnxError: answer_error, HTTPException: answer_http_error},
            lifespan=self._lifespan,
        )

    # Routes

    async def stream(self, socket: WebSocket) -> None:
        """`/stream`: one stream for as long as the socket is open."""
        await socket.accept()
        if self._is_draining:
            await self._refuse(socket, GOING_AWAY, "the service ends")
            return
        name, pool = str(next(self._names)), self._models.pool
        try:
            seat = pool.open(name)
        except PoolOverloaded as error:
            self._counts.errors.labels(type(error).__name__).inc()
            await self._refuse(socket, TRY_LATER, "too many streams")
            return
        async with seat as stream:
            conversation = Conversation(socket, stream, self._models.sizes, self._settings, self._counts)
            self._conversations[name] = conversation
            try:
                with self._counts.sockets.track_inprogress():
                    await conversation.serve()
            finally:
                del self._conversations[name]

    async def run(self, request: Request) -> Response:
        """`/run`: whole sequences through the encoder."""
        return await self._runs.answer(request)

    async def healthz(self, request: Request) -> Response:
        """`/healthz`: what the pool says of itself; 503 unless it serves."""
        health = self._models.pool.describe() | {"sockets": len(self._conversations)}
        if self._is_draining:
            health["status"] = "draining"
        plain = {name: None if value == math.inf else value for name, value in health.items()}
        return JSONResponse(plain, 200 if health["status"] == "serving" else 503)

    async def metrics(self, request: Request) -> Response:
        """`/metrics`: for Prometheus."""
        return Response(generate_latest(self._counts.registry), media_type=CONTENT_TYPE_LATEST)

    # Beginning, change and end

    def reload(self) -> None:
        """Read the models' files again, beside the work that goes on; for an event loop's signal handler."""
        self._spawn(self._reload())

    async def drain(self) -> None:
        """Take nothing new, answer what was begun, close the sockets; within `drain_s`."""
        self._is_draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_s):
                leaving = (conversation.leave() for conversation in self._conversations.values())
                await asyncio.gather(self._runs.end(), *leaving)
                while self._conversations:
                    await asyncio.sleep(0.01)

    async def _reload(self) -> None:
        try:
            async with self._runs.lock:  # one reload at a time, and no run on an encoder that is closed meanwhile
                await asyncio.to_thread(self._models.reload)
        except RnnxError as error:
            _LOG.error("the models that run go on: %s", error)
            self._counts.reloads.labels("refused").inc()
        else:
            _LOG.info("serving the models as they are on disk now")
            self._counts.reloads.labels("done").inc()

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self._loop = asyncio.get_running_loop()
        yield
        await asyncio.gather(*self._tasks)
        await asyncio.to_thread(self._models.close)

    def _on_evict(self, name: str, snapshot: bytes) -> None:
        """Called by a thread of the pool."""
        self._loop.call_soon_threadsafe(self._tell_evicted, name, snapshot)

    def _tell_evicted(self, name: str, snapshot: bytes) -> None:
        conversation = self._conversations.get(name)
        if conversation is not None:
            self._spawn(conversation.end_idle(snapshot))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # a loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)

    # Parts of the routes

    async def _refuse(self, socket: WebSocket, code: int, reason: str) -> None:
        self._counts.closes.labels(code).inc()
        await socket.close(code, reason)
