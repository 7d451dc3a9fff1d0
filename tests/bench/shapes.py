"""What is measured: the shapes of traffic, how their results are read, and what limits them."""

from dataclasses import dataclass

KIB = 1024


def size_text(size):
    for factor, unit in ((KIB * KIB, "MiB"), (KIB, "KiB")):
        if size >= factor and size % factor == 0:
            return f"{size // factor} {unit}"
    return f"{size} B"


@dataclass(frozen=True)
class Shape:
    mode: str
    size: int
    connections: int = 1
    depth: int = 1

    @property
    def name(self):
        text = {"rr": "ping-pong {}", "pipeline": "pipeline {}, depth " + str(self.depth),
                "stream": "stream, writes of {}", "crr": "connect, {}, close"}[self.mode]
        text = text.format(size_text(self.size))
        return text if self.connections == 1 else f"{text}, {self.connections} conn."

    @property
    def latency(self):
        """A round trip is read, and less is better; else a rate."""
        return self.mode == "rr" and self.connections == 1

    @property
    def unit(self):
        if self.latency:
            return "us"
        return {"stream": "Gbit/s", "crr": "k/s"}.get(self.mode, "Mmsg/s")

    def options(self):
        """Of nd-echo's client, and of tcp-peer's."""
        depth = ["--depth", self.depth] if self.mode == "pipeline" else []
        return ["--mode", self.mode, "--size", self.size, "--connections", self.connections, *depth]

    def value(self, result):
        if self.latency:
            return result["latency_us"]["p50"]
        if self.mode == "stream":
            return result["goodput_gbps"]
        return result["messages_per_s"] / (1e3 if self.mode == "crr" else 1e6)

    def limit(self):
        """The shape of the raw run that bounds this one; None where none does. All connections'
        messages are on their way at once; a stream fills packets, whatever the writes."""
        if self.mode == "crr":
            return None
        if self.mode == "stream":
            return RawShape("stream", 0)
        return RawShape("echo", self.size, self.depth * self.connections)


@dataclass(frozen=True)
class RawShape:
    """A run of raw-limit. Size 0 is what fits the MTU."""
    mode: str
    size: int
    depth: int = 1

    @property
    def name(self):
        if self.mode == "echo":
            if self.depth == 1:
                return f"ping-pong {size_text(self.size)}"
            return f"echo {size_text(self.size)}, {self.depth} outstanding"
        return f"one way, {size_text(self.size)} a packet" if self.size else "one way, full packets"

    @property
    def latency(self):
        return self.mode == "echo" and self.depth == 1

    @property
    def unit(self):
        if self.mode == "stream":
            return "Mpkt/s" if self.size else "Gbit/s"
        return "us" if self.latency else "Mmsg/s"

    def options(self):
        return ["--mode", self.mode, "--size", self.size, "--depth", self.depth]

    def value(self, result):
        if self.latency:
            return result["latency_us"]["p50"]
        if self.mode == "stream" and not self.size:
            return result["goodput_gbps"]
        return result["messages_per_s"] / 1e6


SMALL = RawShape("stream", 64)  # packets a second

MESSAGES = (64, KIB, 4 * KIB)
WRITES = (64, 4 * KIB, 64 * KIB, KIB * KIB)

ALL = tuple(
    [Shape("rr", size, connections) for connections in (1, 16) for size in MESSAGES]
    + [Shape("pipeline", size, connections, depth)
       for connections in (1, 16) for depth in (32, 256) for size in MESSAGES]
    + [Shape("stream", size, connections) for connections in (1, 16) for size in WRITES]
    + [Shape("crr", 64, connections) for connections in (1, 16)])

QUICK = (Shape("rr", 64), Shape("pipeline", 64, 1, 32), Shape("pipeline", 64, 1, 256),
         Shape("stream", 64), Shape("stream", 64 * KIB), Shape("stream", 64 * KIB, 16),
         Shape("crr", 64))
