"""The setting that every measurement is given: where, with what, how much, and the two servers side by side."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import clients, servers
from bench.figures import BARE, PRODUCT
from bench.http import Create, request_of
from bench.load import Load, run_load
from bench.machine import Cores
from bench.servers import PIECES, Server
from bench.workload import Workload

CONNECTIONS = 32
MOST_CREATES_A_SECOND = 2500
"""More than the product can make on one core: so many users wait for it."""


@dataclass(frozen=True, slots=True)
class Effort:
    """The amount that is measured."""

    rounds: int
    round_s: int
    creates_in_turn: int
    streams: int
    ramp_s: float
    delay_ms: float
    replies: int
    late_turn: int
    turns: int
    stored: tuple[int, int]


FULL = Effort(
    rounds=7,
    round_s=3,
    creates_in_turn=400,
    streams=2000,
    ramp_s=10,
    delay_ms=200,
    replies=40,
    late_turn=500,
    turns=100,
    stored=(1000, 1_000_000),
)
QUICK = Effort(
    rounds=2,
    round_s=2,
    creates_in_turn=100,
    streams=1000,
    ramp_s=5,
    delay_ms=200,
    replies=10,
    late_turn=200,
    turns=40,
    stored=(1000, 100_000),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """Tertulia and the bare application, both running."""

    servers: dict[str, Server]
    setting: "Setting"

    def load(self, name: str, seconds: int) -> Load:
        count = MOST_CREATES_A_SECOND * seconds if name == PRODUCT else 1000
        return self.setting.load(self.servers[name].url, self._creates(name, count), seconds)

    def requests(self, name: str, count: int) -> list[bytes]:
        return [request_of(self.setting.workload.path, create) for create in self._creates(name, count)]

    def _creates(self, name: str, count: int) -> list[Create]:
        """The bare application keeps nothing, so the same create will do again and again."""
        return self.setting.workload.take(count) if name == PRODUCT else [Create("x" * 200, "0" * 24)] * count


@dataclass(frozen=True, slots=True)
class Setting:
    """An installation in a folder, and what is done with it; the load runs on the core of this process."""

    folder: Path
    workload: Workload
    generator: str
    effort: Effort
    cores: Cores

    def load(self, url: str, creates: list[Create], seconds: int, connections: int = CONNECTIONS) -> Load:
        return run_load(self.generator, url, self.workload.path, creates, self.folder, connections, seconds)

    @contextmanager
    def pair(self, pieces: int = PIECES, delay_ms: float = 0) -> Generator[Pair]:
        """Start both servers; what the bare one streams is what the product has answered, with so many pieces."""
        settings = {"SCRIPTED_PIECES": str(pieces), "SCRIPTED_DELAY_MS": str(delay_ms)}
        with (
            servers.tertulia(self.folder, self.cores.server, settings) as product,
            servers.bare(self.lines(pieces), self.cores.server, delay_ms) as bare,
        ):
            yield Pair({PRODUCT: product, BARE: bare}, self)

    def lines(self, pieces: int = PIECES) -> Path:
        """A file of what the product answers to a create, with so many pieces."""
        file = self.folder / f"lines-{pieces}"
        if not file.exists():
            with servers.tertulia(self.folder, self.cores.server, {"SCRIPTED_PIECES": str(pieces)}) as product:
                request = request_of(self.workload.path, self.workload.take(1)[0])
                file.write_bytes(b"".join(clients.create_once(product.url, request)))
        return file
