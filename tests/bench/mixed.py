"""One connection that ping-pongs beside streams of the other class: what each keeps of what it has
alone."""

from dataclasses import dataclass

import figures
from shapes import KIB, Shape
from ways import Way

STREAMS = (1, 4, 8)
QUICK_STREAMS = (4,)
ALONE = Shape("rr", 64)
LATENCIES = ("p50", "p99", "p99_9")


@dataclass(frozen=True)
class Mixed:
    """What a runner runs."""
    streams: int

    @property
    def name(self):
        return f"ping-pong 64 B beside {self.streams} streams"

    def options(self):
        return ["--mode", "mixed", "--size", ALONE.size, "--connections", self.streams]

    def alone(self):
        """The streams without the ping-pong."""
        return Shape("stream", 64 * KIB, self.streams)


def ways():
    nowhere = (None, None)
    return [Way("nd_memif", "ND, memif", "nd", "memif"),
            Way("tcp_spinning", "TCP spinning, loopback", "tcp", "loopback", nowhere, True),
            Way("tcp_blocking", "TCP blocking, loopback", "tcp", "loopback", nowhere, False)]


def runs_of(streams):
    """[(key, shape)] of one turn."""
    return [("alone", ALONE)] + [pair for n in streams for pair in
                                 ((("streams", n), Mixed(n).alone()), (("mixed", n), Mixed(n)))]


def rows(found, streams):
    """`found` holds clients' results by (way's name, key). A row for each way and number."""
    out = []
    for way in ways():
        def latency(key, what, name=way.name):
            return figures.median([r["latency_us"][what] for r in found.get((name, key), [])
                                   if r["latency_us"][what] is not None])

        def goodput(key, name=way.name):
            return figures.median([r["goodput_gbps"] for r in found.get((name, key), [])])

        for n in streams:
            row = {"way": way.name, "title": way.title, "streams": n,
                   "gbps": goodput(("mixed", n)), "gbps_alone": goodput(("streams", n))}
            row["kept"] = figures.times_better(row["gbps"], row["gbps_alone"], False)
            for what in LATENCIES:
                row[what] = latency(("mixed", n), what)
                row[f"{what}_alone"] = latency("alone", what)
                row[f"{what}_times"] = figures.times_better(row[what], row[f"{what}_alone"], False)
            if row["gbps"] is not None:
                out.append(row)
    return out


def targets(found):
    """Of rows()."""
    def get(way, key):
        return next((r[key] for r in found if (r["way"], r["streams"]) == (way, 4)), None)

    tail = figures.times_better(get("nd_memif", "p99"), get("tcp_spinning", "p99"), False)
    what = "memif, ping-pong 64 B beside 4 streams:"
    return [
        figures.target(f"{what} p50 to that alone", get("nd_memif", "p50_times"), 3, False),
        figures.target(f"{what} p99 to that alone", get("nd_memif", "p99_times"), 5, False),
        figures.target(f"{what} p99 to that of spinning kernel TCP", tail, 0.25, False),
        figures.target(f"{what} what the streams keep", get("nd_memif", "kept"), 0.8, unit=""),
    ]
