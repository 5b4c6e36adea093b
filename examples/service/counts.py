"""What the service counts beside its pool, for `/metrics`."""

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

from rnnx_runtime import StreamPool
from rnnx_runtime.pool.prometheus import PoolCollector


class Counts:
    """The service's own metrics, the pool's and the process's in one registry."""

    def __init__(self, pool: StreamPool) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(PoolCollector(pool))
        ProcessCollector(registry=self.registry)
        self.sockets = Gauge("rnnx_service_sockets", "Sockets that have a stream.", registry=self.registry)
        self.closes = Counter("rnnx_service_closes", "Sockets closed here.", ["code"], registry=self.registry)
        self.errors = Counter("rnnx_service_errors", "Errors sent to clients.", ["kind"], registry=self.registry)
        self.runs = Counter("rnnx_service_runs", "Batches of whole sequences run.", registry=self.registry)
        self.reloads = Counter("rnnx_service_reloads", "Models read anew.", ["result"], registry=self.registry)
