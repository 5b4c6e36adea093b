"""`python -m service`: settings from the environment; SIGHUP reads the models anew, SIGTERM drains and ends."""

import asyncio
import os
import signal
import socket
import sys

import uvicorn

from rnnx_runtime import RnnxError
from service.app import Service
from service.connections import DrainingServer, HttpConnection, WebSocketConnection
from service.settings import Settings, settings_from_environment


def main() -> None:
    """Serve until a signal; exit code 2 with one line where the settings or the models are wrong."""
    try:
        settings = settings_from_environment(os.environ)
        service = Service(settings)
    except RnnxError as error:
        sys.exit(_wrong_call(error))
    sys.setswitchinterval(0.001)  # so long streams may wait for a thread that reads or writes JSON; 5 ms by default
    asyncio.run(_serve(service, settings))


async def _serve(service: Service, settings: Settings) -> None:
    config = uvicorn.Config(
        service.app,
        host=settings.host,
        port=settings.port,
        http=HttpConnection,
        ws=WebSocketConnection,
        ws_max_size=settings.max_message_bytes,
        ws_ping_interval=settings.ping_s,
        ws_ping_timeout=settings.peer_timeout_s,
        ws_per_message_deflate=False,  # floats do not shrink, each socket would hold a window, and bombs do
        timeout_keep_alive=settings.request_timeout_s,
        timeout_graceful_shutdown=1,  # what is left then has had `drain_s`
        lifespan="on",
        access_log=False,
    )
    listener = config.bind_socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.send_buffer_bytes)  # its connections inherit it
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, service.reload)
    await DrainingServer(config, service.drain).serve([listener])


def _wrong_call(error: RnnxError) -> int:
    print(error, file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
