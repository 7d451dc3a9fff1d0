#!/usr/bin/env python3
"""Measures libndstack, kernel TCP in the same shapes, and what each transport can do at most.

scripts/bench builds what this runs. A server and a client, one core each, in turns: libndstack over
memif, af_xdp and af_packet; the same port without a protocol; kernel TCP over the loopback and over
the same veth, blocking and spinning, with and without segmentation offload. Then the goodput that
is left when frames are lost, and sockperf and iperf3 beside our kernel TCP peer.

What needs root (namespaces, veth) or a package that is not there (scripts/setup --bench) is left
out, and the report says so. SIGINT ends the run; what there is by then is reported.
"""

import argparse
import dataclasses
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import figures
import mixed
import network
import report
import shapes
import tools
from processes import ROOT, Failed, Load
from ways import Runner, Way

TRANSPORTS = ("memif", "af_xdp", "af_packet")
PARTS = (*TRANSPORTS, "mixed", "loss", "tools")
MODES = ("rr", "pipeline", "stream", "crr")
LOSSES = (0, 0.001, 0.01, 0.05, 0.1)
# Less is no median of a ping-pong, but a machine that is too busy.
ROUND_TRIPS = 100
QUICK_LIMIT = 165  # seconds
LOSS_SHAPE = shapes.Shape("stream", 64 * shapes.KIB)
RAW_EXTRA = (shapes.SMALL, shapes.RawShape("stream", 0), shapes.RawShape("echo", 64))


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Bench:
    """One run. `result` is what is known so far, whenever it ends."""

    def __init__(self, options):
        self.options = options
        self.cpus = sorted(os.sched_getaffinity(0))[:2]
        self.runner = Runner(self.cpus, options.duration, options.duration / 4)
        self.metered_runner = Runner(self.cpus, min(options.duration, 0.3), 0.05, metered=True)
        self.shapes = [s for s in (shapes.QUICK if options.quick else shapes.ALL)
                       if s.mode in options.modes]
        self.measured = {}   # (way's name, shape) -> runs
        self.metered = {}    # (way's name, shape, end) -> runs of figures.cycles_of()
        self.failures = []
        self.tables = []     # (transport, {"nd": way, "raw": way}, [names of kernel ways])
        self.kernel = {}     # name -> title
        self.left_out = []
        self.loss = {}
        self.mixed = []
        self.tool_checks = []
        self.complete = False
        self.began = time.monotonic()

    def elapsed(self):
        return time.monotonic() - self.began

    # ------------------------------------------------------------------------------------- running

    def measure(self, way, shape):
        """One run, and a second one if that failed; a failure is kept, and the rest goes on."""
        return self.attempt(way, shape) or self.attempt(way, shape)

    def attempt(self, way, shape):
        try:
            server, client = self.runner.run(way, shape)
        except Failed as error:
            self.fail(way.name, shape.name, error)
            return None
        result = client or server
        run = {"value": shape.value(result)}
        if not run["value"]:
            self.fail(way.name, shape.name, "nothing came")
            return None
        if shape.latency and result["latency_us"]["count"] < ROUND_TRIPS:
            self.fail(way.name, shape.name, f"{result['latency_us']['count']} round trips only")
            return None
        if shape.latency:
            run["p99_us"] = result["latency_us"]["p99"]
        self.measured.setdefault((way.name, shape), []).append(run)
        return run["value"]

    def fail(self, way, shape, why):
        why = last_words(why).replace(str(ROOT), ".")
        self.failures.append({"way": way, "shape": shape, "why": why})
        say(f"{way}, {shape}: failed: {why}")

    def meter(self, way, shape):
        """A run that counts cycles by stage. Counting costs some, so its value does not count."""
        try:
            ends = self.metered_runner.run(way, shape)
        except Failed as error:
            say(f"{way.name}, {shape.name}, metered, failed: {last_words(error)}")
            return
        for end, result in zip(("server", "client"), ends):
            self.metered.setdefault((way.name, shape, end), []).append(figures.cycles_of(result))

    def turns(self, groups):
        """`groups`: [(nd way, raw way)], then kernel ways; all of them once a turn for each shape,
        so that what disturbs the machine disturbs all."""
        pairs, kernels = groups
        first = self.elapsed()
        for turn in range(self.options.turns):
            a_turn = (self.elapsed() - first) / max(turn, 1)
            if self.options.quick and self.elapsed() + a_turn > QUICK_LIMIT:
                self.left_out.append(f"turn {turn + 1} and later (time is up)")
                break
            raw_done = set()
            for number, shape in enumerate(self.shapes):
                values = []
                for nd, raw in pairs:
                    values.append((nd.name, self.measure(nd, shape)))
                    if turn < self.options.metered_turns:
                        self.meter(nd, shape)
                    limit = shape.limit()
                    if limit and (raw.name, limit) not in raw_done:
                        raw_done.add((raw.name, limit))
                        self.measure(raw, limit)
                for way in kernels:
                    values.append((way.name, self.measure(way, shape)))
                shown = "  ".join(f"{name} {report.number(v)}" for name, v in values)
                say(f"{turn + 1}/{self.options.turns} {number + 1}/{len(self.shapes)} "
                    f"{shape.name} [{shape.unit}]  {shown}")
            for _, raw in pairs:
                for limit in RAW_EXTRA:
                    if (raw.name, limit) not in raw_done:
                        self.measure(raw, limit)

    def run(self):
        parts = self.options.parts
        with network.Network() if not network.missing() else Nothing() as net:
            pairs, kernels = self.prepare(net)
            if "tools" in parts:
                self.run_tools()
            if "mixed" in parts:
                self.run_mixed()
            if "loss" in parts:
                self.run_loss(net)
            if pairs:
                self.turns((pairs, kernels))
        self.complete = True

    def prepare(self, net):
        """Creates the namespaces and the ways; ([(nd, raw)], [kernel way])."""
        wanted = [t for t in TRANSPORTS if t in self.options.parts]
        why = network.missing()
        if why and wanted:
            self.left_out.append(f"all over veth, and TCP without segmentation offload ({why})")
        offloads = [True] if self.options.quick or why else [True, False]
        if why:
            wanted = [t for t in wanted if t == "memif"]
        over = (["loopback"] if "memif" in wanted else []) + (["veth"] if wanted and
                                                              set(wanted) - {"memif"} else [])
        kernels = []
        veth = (None, None)
        for offload in offloads:
            if net and over:
                pair = net.pair("on" if offload else "off", offload)
                veth = pair if offload else veth
            else:
                pair = (None, None)
            for transport in over:
                spaces = pair if transport == "veth" else (pair[0], pair[0])
                for spinning in (True, False):
                    kernels.append(tcp_way(transport, spaces, spinning, offload))
        pairs = []
        for transport in wanted:
            spaces = (None, None) if transport == "memif" else veth
            pair = (Way(f"nd_{transport}", f"ND, {transport}", "nd", transport, spaces),
                    Way(f"raw_{transport}", f"limit of {transport}", "raw", transport, spaces))
            pairs.append(pair)
            names = [k.name for k in kernels
                     if k.transport == ("loopback" if transport == "memif" else "veth")]
            self.tables.append((transport, {"nd": pair[0].name, "raw": pair[1].name}, names))
        self.kernel = {k.name: k.title for k in kernels}
        return pairs, kernels

    def run_mixed(self):
        streams = mixed.QUICK_STREAMS if self.options.quick else mixed.STREAMS
        found = {}
        try:
            for turn in range(self.options.turns):
                for key, shape in mixed.runs_of(streams):
                    line = []
                    for way in mixed.ways():
                        result = (self.client_of(way, shape) or self.client_of(way, shape))
                        if result is None:
                            continue
                        found.setdefault((way.name, key), []).append(result)
                        latency = result["latency_us"]
                        line.append(f"{way.name} {report.number(result['goodput_gbps'])} Gbit/s, "
                                    f"{report.number(latency['p50'])} and "
                                    f"{report.number(latency['p99'])} us")
                    say(f"{turn + 1}/{self.options.turns} {shape.name}  {'  '.join(line)}")
        finally:
            self.mixed = mixed.rows(found, streams)

    def client_of(self, way, shape):
        try:
            return self.runner.run(way, shape)[1]
        except Failed as error:
            self.fail(way.name, shape.name, error)
            return None

    def run_loss(self, net):
        why = network.missing() or network.loss_missing()
        if why:
            self.left_out.append(f"goodput under loss ({why})")
            return
        pair = net.lossy("loss")
        spaces = (pair.server, pair.client)
        there = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text("ascii")
        ways = [Way(f"nd_{t}", f"ND, {t}", "nd", t, spaces) for t in ("af_xdp", "af_packet")]
        ways.append(Way("nd_memif", "ND, memif", "nd", "memif"))
        for name in ("cubic", "bbr"):
            if name in there.split():
                ways.append(Way(name, f"TCP {name}", "tcp", "veth", spaces, congestion=name))
            else:
                self.left_out.append(f"TCP with {name} (this kernel has none)")
        losses = (0, 0.01) if self.options.quick else LOSSES
        found = {(way.name, loss): [] for way in ways for loss in losses}
        runner = Runner(self.cpus, self.options.loss_duration, 0.3)
        with tempfile.TemporaryDirectory(prefix="nd-bench-") as folder:
            try:
                for turn in range(self.options.loss_turns):
                    for loss in losses:
                        line = []
                        for way in ways:
                            value = (self.run_lossy(pair, loss, folder, runner, way)
                                     or self.run_lossy(pair, loss, folder, runner, way))
                            if value is not None:
                                found[way.name, loss].append(value)
                            line.append(f"{way.name} {report.number(value)}")
                        say(f"{turn + 1}/{self.options.loss_turns} loss {loss:.1%} [Gbit/s]  "
                            + "  ".join(line))
            finally:
                for way in ways:
                    points = [{"loss": loss, "median": figures.median(found[way.name, loss]),
                               "spread": figures.spread(found[way.name, loss]),
                               "runs": found[way.name, loss]} for loss in losses]
                    self.loss[way.name] = figures.retained(points)

    def run_lossy(self, pair, loss, folder, runner, way):
        name = f"{loss:.1%} loss"
        if way.transport == "memif":
            return self.run_faulty(loss, runner, way, name)
        try:
            pair.set_loss(loss, folder)
            before = pair.seen()
            client = runner.run(way, LOSS_SHAPE)[1]
            frames, dropped = (now - then for now, then in zip(pair.seen(), before))
        except Failed as error:
            self.fail(way.name, name, error)
            return None
        # The program must have done what it is for.
        expected = loss * frames
        if frames == 0 or abs(dropped - expected) > 5 * expected ** 0.5:
            self.fail(way.name, name, f"{dropped} of {frames} frames were dropped")
            return None
        return LOSS_SHAPE.value(client)

    def run_faulty(self, loss, runner, way, name):
        """No kernel between the two: each end drops what it sends."""
        fault = f"loss={loss},seed=1" if loss else ""
        try:
            return LOSS_SHAPE.value(runner.run(dataclasses.replace(way, fault=fault),
                                               LOSS_SHAPE)[1])
        except Failed as error:
            self.fail(way.name, name, error)
            return None

    def run_tools(self):
        for tool in tools.CHECKS:
            if why := tools.missing(tool):
                self.left_out.append(f"{tool.program} ({why})")
                continue
            for turn in range(min(self.options.turns, 3)):
                try:
                    tool.run(self.runner, self.options.duration)
                except Failed as error:
                    self.fail(tool.program, tool.shape.name, error)
            if line := tool.result():
                self.tool_checks.append(line)
                say(f"{line['text']}: {report.number(line['tool'])}, our peer "
                    f"{report.number(line['peer'])} {line['unit']}")

    # ------------------------------------------------------------------------------------- results

    def result(self, others_cpu):
        rows = [figures.make_row(shape, transport, ways, kernels, self.measured,
                                 self.metered)
                for transport, ways, kernels in self.tables for shape in self.shapes]
        rows = [r for r in rows if r["nd"] or any(r["kernel"].values())]
        limits = []
        for transport, ways, _ in self.tables:
            for limit in sorted({s for way, s in self.measured if way == ways["raw"]},
                                key=lambda s: (s.mode, s.depth, s.size)):
                found = figures.summarize(self.measured[ways["raw"], limit])
                limits.append({"transport": transport, "shape": limit.name, "unit": limit.unit,
                               **found})
        return {
            "complete": self.complete, "quick": self.options.quick,
            "turns": self.options.turns, "duration_s": self.options.duration,
            "loss_turns": self.options.loss_turns, "loss_duration_s": self.options.loss_duration,
            "machine": report.machine(self.cpus, self.runner.hugepages),
            "others_cpu": others_cpu, "kernel_ways": self.kernel, "rows": rows, "limits": limits,
            "loss": self.loss, "mixed": self.mixed, "tools": self.tool_checks,
            "targets": figures.check_targets(rows, self.loss) + mixed.targets(self.mixed),
            "failures": self.failures, "left_out": self.left_out,
        }


class Nothing:
    """No network."""

    def __enter__(self):
        return None

    def __exit__(self, *_):
        pass


def last_words(error):
    """Of a failed pair, what the first that complained said."""
    lines = [line.strip() for line in str(error).splitlines()]
    names = ("nd-echo: ", "raw-limit: ", "tcp-peer: ")
    said = [line[1:].strip() for line in lines
            if line.startswith("|") and any(name in line for name in names)]
    return (said or lines or ["?"])[-1 if not said else 0]


def tcp_way(transport, spaces, spinning, offload):
    name = f"tcp_{transport}_{'spinning' if spinning else 'blocking'}"
    title = f"TCP {'spinning' if spinning else 'blocking'}"
    if not offload:
        name += "_no_offload"
        title += ", no offload"
    return Way(name, title, "tcp", transport, spaces, spinning)


# ----------------------------------------------------------------------------------- command line


def words(text):
    wanted = [w for w in text.replace(",", " ").split() if w]
    for word in wanted:
        if word not in PARTS + MODES:
            raise argparse.ArgumentTypeError(
                f"'{word}' is none of {', '.join(PARTS + MODES)}")
    return wanted


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true",
                        help="fewer shapes, fewer and shorter runs: less than 3 minutes")
    parser.add_argument("--only", type=words, default=[], metavar="WORDS",
                        help=f"parts ({', '.join(PARTS)}) and modes ({', '.join(MODES)}), with "
                             "commas; without a word of a kind, all of it")
    parser.add_argument("--duration", type=float, metavar="S",
                        help="seconds a run (default 0.6; quick 0.3)")
    parser.add_argument("--turns", type=int, metavar="N",
                        help="runs of each; the median counts (default 5; quick 2)")
    parser.add_argument("--json", metavar="FILE", help="write all figures and the single runs")
    parser.add_argument("--chart", metavar="PREFIX", help="write PREFIX.svg and PREFIX.png")
    parser.add_argument("--check", action="store_true",
                        help="exit code 1 when a target is not met, or was not measured")
    parser.add_argument("--write-docs", action="store_true",
                        help="write docs/performance.md's figures, .json, .svg and .png")
    parser.add_argument("--from", dest="source", metavar="FILE",
                        help="measure nothing; report what --json has written")
    options = parser.parse_args()
    quick = options.quick
    options.duration = options.duration or (0.3 if quick else 0.6)
    options.turns = options.turns or (2 if quick else 5)
    if options.duration <= 0 or options.turns < 1:
        parser.error("--duration must be more than 0, --turns at least 1")
    options.metered_turns = 1 if quick else 3
    options.loss_duration, options.loss_turns = (0.8, 1) if quick else (1.5, options.turns)
    options.parts = [w for w in options.only if w in PARTS] or list(PARTS)
    options.modes = [w for w in options.only if w in MODES] or list(MODES)
    return options


def check_outputs(options):
    """Before the hour, not behind it."""
    if options.chart or options.write_docs:
        import chart  # noqa: F401
    for file in (options.json, options.chart):
        if file and not os.access(Path(file).absolute().parent, os.W_OK):
            raise Failed(f"{file}: no such folder, or it can't be written to")


def stop(*_):
    raise KeyboardInterrupt


def measure(options):
    """(result, whether it was interrupted)"""
    bench = Bench(options)
    if len(bench.cpus) < 2:
        say("only one CPU: both ends share it, unpinned; expect little of the figures")
    load = Load(bench.cpus)
    interrupted = False
    try:
        bench.run()
    except KeyboardInterrupt:
        interrupted = True
        say("interrupted; what there is:")
    return bench.result(load.others()), interrupted


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, stop)
    interrupted = False
    try:
        check_outputs(options)
        if options.source:
            result = json.loads(Path(options.source).read_text(encoding="utf-8"))
        else:
            result, interrupted = measure(options)
        print(report.text(result))
        if options.json:
            report.write_json(result, options.json)
        if options.chart:
            import chart  # matplotlib is not needed without it
            chart.write(result, options.chart)
        if options.write_docs:
            report.write_docs(result)
    except Failed as error:
        say(f"{error}")
        return 1
    except KeyError as error:
        if not options.source:
            raise
        say(f"{options.source} is not what --json writes: it has no {error}")
        return 1
    except (OSError, ValueError, ImportError) as error:
        say(f"{error}")
        return 1
    if result["others_cpu"] > 0.05:
        say(f"other processes took {result['others_cpu']:.0%} of these CPUs meanwhile; poll-mode "
            "figures need cores of their own")
    if interrupted:
        return 130
    return 1 if options.check and not all(t["met"] for t in result["targets"]) else 0


if __name__ == "__main__":
    sys.exit(main())
