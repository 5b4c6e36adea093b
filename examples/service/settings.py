"""What an operator may set, each value by an environment variable of its own."""

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from rnnx_runtime import InputError

PREFIX = "RNNX_SERVICE_"

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
_EVERY_ADDRESS = ("", "0.0.0.0", "::")
_NAMES = {
    "allowed_hosts": re.compile(r"\*|(\*\.)?[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]"),
    "allowed_origins": re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/@\s]+"),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The service's models and limits; `RNNX_SERVICE_PORT=8080` sets `port`."""

    stream_model: Path
    """What streams run on: a cell, or a model that carries its states, of one input and one output of float32."""
    encoder_model: Path | None = None
    """The encoder that whole sequences run on, exported with `--lengths`; without one there is no `/run`."""
    host: str = "127.0.0.1"
    port: int = 8000
    allowed_hosts: str = ""
    """Names by commas that clients may ask `/run` and `/stream` by, such as `rnn.example.com`, `*.example.com` or `*`;
    localhost, 127.0.0.1, [::1] and `host` are allowed without."""
    allowed_origins: str = ""
    """Origins by commas whose pages may use `/run` and `/stream`, such as `https://app.example.com`, or `*`; pages of
    the host that is asked may without."""
    max_streams: int = 1024
    """Streams open at once; one more is closed with code 1013."""
    max_queue: int = 4096
    """Pushes that may wait for a step; one more is answered with an error."""
    max_message_bytes: int = 1 << 16
    """The largest WebSocket message; a larger one closes its socket with code 1009."""
    max_bad_messages: int = 8
    """So many bad messages one after the other close their socket with code 1008."""
    max_push_answer_mib: float = 1.0
    """What the outputs of one message may take."""
    push_timeout_s: float = 5.0
    """The longest wait of a push for its output."""
    idle_s: float = 300.0
    """A stream without pushes for so long is evicted: the client gets a snapshot, and code 4000."""
    ping_s: float = 20.0
    """How often a socket is asked whether it is alive."""
    peer_timeout_s: float = 20.0
    """How long a peer may leave a ping unanswered, or what was sent to it unread."""
    send_buffer_bytes: int = 1 << 17
    """What the system holds for a peer that does not read."""
    request_timeout_s: int = 10
    """How long the head of a request may take, and its body once more."""
    max_body_bytes: int = 1 << 20
    max_padded_frames: int = 1 << 14
    """The longest sequence of a batch times its number of sequences: what a run needs time for."""
    max_padded_mib: float = 32.0
    """What the inputs, outputs and states of a run may take, padded to the longest sequence."""
    max_answer_mib: float = 16.0
    """What an answer may take: 4 bytes a number as octets, and counted as 24 as JSON."""
    answer_timeout_s: float = 30.0
    """How long a peer may take to read an answer of `/run`."""
    max_waiting_runs: int = 16
    """Whole-sequence requests that may be here beside one: their bodies come, they wait, or their answers are read."""
    drain_s: float = 10.0
    """How long the end of the service waits for answers on their way."""
    step_timeout_s: float = 10.0
    """A step that takes longer counts as hanging."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name in ("port", "max_waiting_runs") else None
            if field.type in (int, float) and not (value > 0 or value == least):
                raise _invalid(field.name, repr(value), "a number ≥ 0" if least == 0 else "a number > 0")
        for name, pattern in _NAMES.items():
            for part in _parts(getattr(self, name)):
                if not pattern.fullmatch(part):
                    raise _invalid(name, repr(part), "names by commas")

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every name that `/run` and `/stream` may be asked by."""
        address = f"[{self.host}]" if ":" in self.host else self.host
        own = () if self.host in _EVERY_ADDRESS else (address,)
        return (*_LOCAL_HOSTS, *own, *_parts(self.allowed_hosts))

    @property
    def origins(self) -> tuple[str, ...]:
        """Every origin, beside the host that is asked, whose pages may use `/run` and `/stream`."""
        return tuple(part.lower() for part in _parts(self.allowed_origins))


def settings_from_environment(environment: Mapping[str, str]) -> Settings:
    """The settings in the variables that begin with `RNNX_SERVICE_`; defaults for those that are not there.

    Raises:
        InputError: an unknown or malformed variable, or a model that is not named.
    """
    known = {PREFIX + field.name.upper(): field for field in fields(Settings)}
    unknown = [name for name in environment if name.startswith(PREFIX) and name not in known]
    if unknown:
        raise InputError(unknown[0], got="no setting of that name", expected=" | ".join(known), remedy="correct it")
    values: dict[str, Any] = {}
    for name, field in known.items():
        if name in environment:
            values[field.name] = _parsed(field.name, field.type, environment[name])
        elif field.default is MISSING:
            raise _invalid(field.name, "nothing", "the path of a model")
    return Settings(**values)


def _parts(names: str) -> list[str]:
    return [part for name in names.split(",") if (part := name.strip())]


def _parsed(name: str, kind: Any, text: str) -> Any:
    try:
        value = Path(text) if kind == Path | None else kind(text)
    except ValueError:
        value = math.nan
    if value != value or value in (math.inf, -math.inf):
        raise _invalid(name, repr(text), "a finite number" if kind is float else "a whole number")
    return value


def _invalid(name: str, got: str, expected: str) -> InputError:
    return InputError(PREFIX + name.upper(), got=got, expected=expected, remedy="see examples/service/settings.py")
