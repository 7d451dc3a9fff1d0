#!/usr/bin/env python3
"""Measures libndstack between two processes, and kernel TCP in the same shapes beside it.

scripts/demo builds what this runs. Two processes on two cores, a server and a client, in
turns over libndstack (memif), over kernel TCP on the loopback spinning in a non-blocking recv(),
and over kernel TCP blocking. The client's and the server's loops are the same in all three. Needs no
root and no hugepages.
"""

import argparse
import json
import os
import signal
import statistics
import sys
from pathlib import Path

from processes import (ND_ECHO, Failed, Load, free_port, memif_arguments, pair_results,
                       tcp_arguments)

# Name, options of the client, unit, how to read the result, whether less is better.
SHAPES = [
    ("ping-pong 64 B", ["--mode", "rr", "--size", "64"], "us",
     lambda r: r["latency_us"]["p50"], True),
    ("pipeline 64 B, depth 32", ["--mode", "pipeline", "--size", "64", "--depth", "32"], "Mmsg/s",
     lambda r: r["messages_per_s"] / 1e6, False),
    ("pipeline 64 B, depth 256", ["--mode", "pipeline", "--size", "64", "--depth", "256"], "Mmsg/s",
     lambda r: r["messages_per_s"] / 1e6, False),
    ("stream 64 KiB", ["--mode", "stream", "--size", "64K"], "Gbit/s",
     lambda r: r["goodput_gbps"], False),
]
WAYS = [("nd", "ND"), ("tcp_spinning", "TCP spinning"), ("tcp_blocking", "TCP blocking")]


def measure(way, shape, cpus, timing):
    """One run of server and client; the client's results."""
    def pair(folder):
        if way == "nd":
            server = [ND_ECHO, *memif_arguments("server", folder, cpus[0]), "--",
                      "--ip", "10.19.0.1/24", "--port", "4000"]
            client = [ND_ECHO, *memif_arguments("client", folder, cpus[-1]), "--",
                      "--ip", "10.19.0.2/24"]
            target = "10.19.0.1:4000"
        else:
            port = free_port()
            target = f"127.0.0.1:{port}"
            first, second = cpus if len(cpus) > 1 else (None, None)
            server = [*tcp_arguments(first, way == "tcp_spinning"), "--port", port]
            client = tcp_arguments(second, way == "tcp_spinning")
        return ([*server, "--server", "--once", "--json", "-"],
                [*client, "--client", target, "--json", "-", *shape, *timing])
    return pair_results(pair)[1]


def ratio(shape, nd, tcp):
    """How many times better ND is."""
    less_is_better = shape[4]
    best, other = (tcp, nd) if less_is_better else (nd, tcp)
    return best / other if other else float("inf")


def table(rows):
    head = ["shape", "unit", *[title for _, title in WAYS], "ND/spinning", "ND/blocking"]
    body = [[r["shape"], r["unit"], *[f"{r[way]:.2f}" for way, _ in WAYS],
             f"{r['ratio_spinning']:.2f}x", f"{r['ratio_blocking']:.2f}x"] for r in rows]
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    lines = []
    for line in [head, *body]:
        cells = [c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def run(options):
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(cpus) < 2:
        print("demo: only one CPU: both ends share it, unpinned; expect little of the figures",
              file=sys.stderr)
    load = Load(cpus)
    timing = ["--duration", options.duration, "--warmup", "0.2"]
    results = {(s[0], way): [] for s in SHAPES for way, _ in WAYS}
    for turn in range(options.repetitions):
        for shape in SHAPES:
            line = f"demo: {turn + 1}/{options.repetitions}  {shape[0]:<26}"
            for way, title in WAYS:
                value = shape[3](measure(way, shape[1], cpus, timing))
                results[shape[0], way].append(value)
                line += f"  {title} {value:.2f}"
            print(line, shape[2], file=sys.stderr, flush=True)

    rows = []
    for shape in SHAPES:
        middle = {way: statistics.median(results[shape[0], way]) for way, _ in WAYS}
        rows.append({
            "shape": shape[0], "unit": shape[2], **middle,
            "ratio_spinning": ratio(shape, middle["nd"], middle["tcp_spinning"]),
            "ratio_blocking": ratio(shape, middle["nd"], middle["tcp_blocking"]),
            "runs": {way: results[shape[0], way] for way, _ in WAYS},
        })
    return {"cpus": cpus, "duration_s": options.duration, "repetitions": options.repetitions,
            "others_cpu": load.others(), "less_is_better": [s[0] for s in SHAPES if s[4]],
            "shapes": rows}


def stop(*_):
    raise KeyboardInterrupt


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", help="write the table's figures and single runs")
    parser.add_argument("--duration", type=float, default=0.9, metavar="S",
                        help="seconds a measurement (default 0.9)")
    parser.add_argument("--repetitions", type=int, default=3, metavar="N",
                        help="times each is measured, in turns; the median counts (default 3)")
    options = parser.parse_args()
    if options.duration <= 0 or options.repetitions < 1:
        parser.error("--duration must be more than 0, --repetitions at least 1")
    return options


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, stop)
    try:
        result = run(options)
    except Failed as error:
        print(f"demo: a measurement failed\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return 130

    print(table(result["shapes"]))
    print(f"\nMedians of {options.repetitions} runs of {options.duration} s, one core each for "
          "server and client. Ping-pong: median round trip.\nStream: what the other side received. "
          "ND/...: how many times better ND is; more is better for ND in every row.")
    if result["others_cpu"] > 0.05:
        print(f"demo: other processes took {result['others_cpu']:.0%} of these CPUs meanwhile; "
              "poll-mode figures need cores of their own", file=sys.stderr)
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
