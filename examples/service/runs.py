"""`/run`: whole sequences, one batch at a time, and how many requests may be here at once."""

import asyncio
from collections.abc import Iterator

from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from rnnx_runtime import PoolClosedError, PoolOverloaded, RnnxError
from service.answers import PiecewiseAnswer
from service.batches import Results, batch_from_bytes, batch_from_json, run_batch
from service.bounds import Bounds
from service.counts import Counts
from service.models import Models
from service.settings import Settings

JSON, OCTETS = "application/json", "application/octet-stream"


class Runs:
    """The requests of `/run`, each from its head to the end of its answer; `lock` is held while the encoder runs."""

    def __init__(self, models: Models, settings: Settings, counts: Counts) -> None:
        self._models = models
        self._settings = settings
        self._counts = counts
        self.lock = asyncio.Semaphore()
        self._writes = asyncio.Semaphore()
        self._present = 0
        self._begun = 0
        """Those of them whose bodies are here."""
        self._has_ended = False

    async def answer(self, request: Request) -> Response:
        """Run the sequences of a request.

        Raises:
            HTTPException: a head or a body that HTTP refuses.
            InputError: sequences that are none, or a batch beyond its bounds.
            PoolOverloaded, PoolClosedError: too many requests are here, or the service ends.
        """
        self._check_room()
        kind, wanted = _kinds(request)
        self._present += 1
        try:
            body = await self._body(request)
            results, pieces = await self._ran(body, kind, wanted, request.query_params)
        except ClientDisconnect:
            self._leave()
            return Response(status_code=400)  # which nobody reads
        except BaseException:
            self._leave()
            raise
        self._counts.runs.inc()
        self._begun += 1
        return PiecewiseAnswer(
            pieces,
            self._writes,
            media_type=wanted,
            size=results.octets if wanted == OCTETS else None,
            timeout_s=self._settings.answer_timeout_s,
            on_end=self._end_answer,
        )

    async def end(self) -> None:
        """Take no more requests, and wait until those whose bodies are here are answered."""
        self._has_ended = True
        while self._begun:
            await asyncio.sleep(0.01)

    async def _ran(self, body: bytes, kind: str, wanted: str, query: QueryParams) -> tuple[Results, Iterator[bytes]]:
        if self._has_ended:
            raise self._no_room()
        self._begun += 1
        try:
            async with self.lock:
                return await asyncio.to_thread(self._run, body, kind, wanted == JSON, query)
        finally:
            self._begun -= 1

    def _run(self, body: bytes, kind: str, as_json: bool, query: QueryParams) -> tuple[Results, Iterator[bytes]]:
        """Run a request; in a thread, so that neither parsing nor the model holds up the streams."""
        encoder = self._models.encoder
        if encoder is None:
            raise HTTPException(404, "this service has no encoder (RNNX_SERVICE_ENCODER_MODEL)")
        bounds = Bounds(contract=encoder.spec, settings=self._settings)
        if kind == JSON:
            sequences = batch_from_json(body, bounds, as_json=as_json)
        else:
            sequences = batch_from_bytes(body, query.get("lengths", ""), bounds, as_json=as_json)
        results = run_batch(encoder, sequences)
        return results, results.as_json() if as_json else results.as_octets()

    async def _body(self, request: Request) -> bytes:
        """The body, if it says its size, is small enough and comes in time."""
        if "content-length" not in request.headers:  # chunks of a byte take a hundred times longer to parse than one
            raise HTTPException(411, "send Content-Length, and no chunks", {"Connection": "close"})
        limit, parts, size = self._settings.max_body_bytes, [], 0
        try:
            async with asyncio.timeout(self._settings.request_timeout_s):
                async for part in request.stream():
                    size += len(part)
                    if size > limit:
                        raise HTTPException(413, f"at most {limit} bytes", {"Connection": "close"})
                    parts.append(part)
        except TimeoutError:
            raise HTTPException(408, "the body came too slowly", {"Connection": "close"}) from None
        return b"".join(parts)

    def _leave(self) -> None:
        self._present -= 1

    def _end_answer(self) -> None:
        self._begun -= 1
        self._leave()

    def _check_room(self) -> None:
        if self._has_ended or self._present > self._settings.max_waiting_runs:
            raise self._no_room()

    def _no_room(self) -> RnnxError:
        if self._has_ended:
            return PoolClosedError("/run", got="a request", expected="none: the service ends", remedy="ask another one")
        limit = f"at most {self._settings.max_waiting_runs} (RNNX_SERVICE_MAX_WAITING_RUNS)"
        return PoolOverloaded("/run", got=f"{self._present} waiting", expected=limit, remedy="try again later")


def _kinds(request: Request) -> tuple[str, str]:
    """What a request's body is, and what its answer is to be: the same, unless it accepts only the other.

    Raises:
        HTTPException: a kind that is none of both. A page of another origin may send neither unasked, as CORS has it.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (JSON, OCTETS):
        raise HTTPException(415, f"{JSON} or {OCTETS}")
    accepted = [part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")]
    other = OCTETS if kind == JSON else JSON
    return kind, other if other in accepted and kind not in accepted else kind
