#!/usr/bin/env python3
"""The bench's arithmetic, its tables, and the part of docs/performance.md that it writes."""

import copy
import json
import tempfile
import unittest

import bench
import figures
import mixed
import report
import shapes
import tools
import ways
from processes import Failed

RR = shapes.Shape("rr", 64)
STREAM = shapes.Shape("stream", 64 * shapes.KIB)
SPINNING, BLOCKING = "tcp_loopback_spinning", "tcp_loopback_blocking"


def runs(*values):
    return [{"value": v} for v in values]


def nd_result(packets, payload, **cycles):
    counters = {"rx_packets": packets // 2, "tx_packets": packets - packets // 2,
                "payload_bytes_sent": payload, "payload_bytes_received": 0}
    return {"counters": counters | {f"cycles_{stage}": n for stage, n in cycles.items()}}


def client(gbps, p50=None, p99=None):
    return {"goodput_gbps": gbps, "latency_us": {"p50": p50, "p99": p99, "p99_9": p99}}


MIXED = mixed.rows({
    ("nd_memif", "alone"): [client(1, 2.0, 3.0)],
    ("nd_memif", ("streams", 4)): [client(g) for g in (90, 100, 130)],
    ("nd_memif", ("mixed", 4)): [client(g, 5.0, 18.0) for g in (70, 85, 99)],
    ("tcp_spinning", ("mixed", 4)): [client(20, 12.0, 100.0)]}, (4,))


def make_rows(measured, metered=None):
    names = {"nd": "nd_memif", "raw": "raw_memif"}
    return [figures.make_row(shape, "memif", names, [SPINNING, BLOCKING], measured, metered or {})
            for shape in (RR, STREAM, shapes.Shape("stream", 64), shapes.Shape("crr", 64),
                          shapes.Shape("pipeline", 64, 1, 32),
                          shapes.Shape("pipeline", 64, 1, 256))]


def example():
    measured = {
        ("nd_memif", RR): [{"value": v, "p99_us": 3 * v} for v in (1.0, 2.0, 4.0)],
        (SPINNING, RR): runs(12, 16, 14), (BLOCKING, RR): runs(50),
        ("raw_memif", shapes.RawShape("echo", 64)): runs(1),
        ("nd_memif", STREAM): runs(60), (SPINNING, STREAM): runs(20), (BLOCKING, STREAM): runs(40),
        ("raw_memif", shapes.RawShape("stream", 0)): runs(100),
    }
    metered = {("nd_memif", RR, "client"): [
        figures.cycles_of(nd_result(10, 1000, rx=100 * k, copy=50)) for k in (1, 2, 9)]}
    rows = make_rows(measured, metered)
    loss = {"nd_af_xdp": figures.retained([{"loss": 0, "median": 4.0, "spread": 0, "runs": [4.0]},
                                           {"loss": 0.01, "median": 2.0, "spread": 0, "runs": []}]),
            "cubic": figures.retained([{"loss": 0, "median": 5.0, "spread": 0, "runs": [5.0]},
                                       {"loss": 0.01, "median": 0.5, "spread": 0, "runs": []}])}
    return {
        "complete": True, "quick": False, "turns": 3, "duration_s": 0.6, "loss_turns": 3,
        "loss_duration_s": 1.5, "machine": report.machine([0, 1], False), "others_cpu": 0.02,
        "kernel_ways": {SPINNING: "TCP spinning", BLOCKING: "TCP blocking"}, "rows": rows,
        "limits": [{"transport": "memif", "shape": "one way", "unit": "Gbit/s",
                    **figures.summarize(runs(100.0))}],
        "loss": loss, "tools": [{"text": "iperf3", "unit": "Gbit/s", "tool": 40.0, "peer": 38.0,
                                 "ratio": 0.95, "fair": True}],
        "mixed": MIXED, "targets": figures.check_targets(rows, loss) + mixed.targets(MIXED),
        "failures": [], "left_out": ["what (why)"],
    }


class Arithmetic(unittest.TestCase):
    def test_median_and_spread(self):
        self.assertEqual(figures.median([5, 1, 3]), 3)
        self.assertEqual(figures.median([4, 1, 2, 3]), 2.5)
        self.assertIsNone(figures.median([]))
        self.assertAlmostEqual(figures.spread([90, 100, 130]), 0.3)
        self.assertAlmostEqual(figures.spread([60, 100, 130]), 0.4)
        self.assertEqual(figures.spread([7]), 0)
        self.assertIsNone(figures.spread([]))
        self.assertIsNone(figures.spread([0, 0]))

    def test_ratio_says_how_many_times_better(self):
        self.assertEqual(figures.times_better(30, 10, False), 3)
        self.assertEqual(figures.times_better(2, 10, True), 5)
        self.assertIsNone(figures.times_better(None, 10, True))
        self.assertIsNone(figures.times_better(1, None, False))
        self.assertIsNone(figures.times_better(1, 0, False))
        self.assertEqual(figures.best([None, 3, 2], True), 2)
        self.assertEqual(figures.best([None, 3, 2], False), 3)
        self.assertIsNone(figures.best([None], False))

    def test_a_row(self):
        rr, stream = make_rows({
            ("nd_memif", RR): runs(1, 2, 4), (SPINNING, RR): runs(14), (BLOCKING, RR): runs(50),
            ("raw_memif", shapes.RawShape("echo", 64)): runs(1),
            ("nd_memif", STREAM): runs(60), (SPINNING, STREAM): runs(20),
            (BLOCKING, STREAM): runs(40),
            ("raw_memif", shapes.RawShape("stream", 0)): runs(100)})[:2]
        self.assertEqual(rr["nd"]["median"], 2)
        self.assertEqual(rr["ratio_spinning"], 7)
        self.assertEqual(rr["ratio_best"], 7)
        self.assertEqual(rr["share"], 0.5)  # the limit's round trip is half as long
        self.assertEqual(stream["ratio_spinning"], 3)
        self.assertEqual(stream["ratio_best"], 1.5)
        self.assertEqual(stream["share"], 0.6)

    def test_a_row_without_measurements(self):
        row = make_rows({(SPINNING, RR): runs(14)})[0]
        self.assertIsNone(row["nd"])
        self.assertIsNone(row["ratio_best"])
        self.assertIsNone(row["share"])

    def test_cycles(self):
        cycles = figures.cycles_of(nd_result(10, 1000, rx=100, tx=50))
        self.assertEqual(cycles["packet"]["rx"], 10)
        self.assertEqual(cycles["byte"]["tx"], 0.05)
        self.assertEqual(cycles["packet"]["copy"], 0)
        for nothing in (None, {}, {"counters": {}}, nd_result(10, 1000), nd_result(0, 0, rx=1)):
            self.assertIsNone(figures.cycles_of(nothing))
        rr = example()["rows"][0]
        self.assertEqual(rr["cycles"]["client"]["packet"]["rx"], 20)
        self.assertNotIn("server", rr["cycles"])

    def test_retained(self):
        points = figures.retained([{"loss": 0, "median": 4.0}, {"loss": 0.1, "median": 1.0},
                                   {"loss": 0.05, "median": None}])
        self.assertEqual([p["retained"] for p in points], [1, 0.25, None])
        self.assertIsNone(figures.retained([{"loss": 0.1, "median": 1.0}])[0]["retained"])


class Targets(unittest.TestCase):
    def check(self, text):
        found = [t for t in example()["targets"] if t["text"].startswith(text)]
        self.assertEqual(len(found), 1, text)
        return found[0]

    def test_met(self):
        share = self.check("memif, stream 64 KiB: share")
        self.assertTrue(share["met"])
        self.assertAlmostEqual(share["by"], 1.2)
        self.assertTrue(self.check("memif, ping-pong 64 B: median")["met"])
        self.assertTrue(self.check("memif, ping-pong 64 B: to spinning")["met"])
        self.assertAlmostEqual(self.check("1 % loss over veth: goodput")["value"], 4)
        self.assertAlmostEqual(self.check("1 % loss over veth: what is left")["value"], 5)

    def test_not_met(self):
        best = self.check("memif, stream 64 KiB: to kernel")
        self.assertEqual(best["met"], False)
        self.assertAlmostEqual(best["by"], 1.5 / 1.6)
        tail = self.check("memif, ping-pong 64 B: p99")
        self.assertEqual((tail["value"], tail["met"]), (3, False))

    def test_mixed(self):
        what = "memif, ping-pong 64 B beside 4 streams: "
        self.assertEqual((self.check(what + "p50")["value"], self.check(what + "p50")["met"]),
                         (2.5, True))
        self.assertEqual((self.check(what + "p99 to that alone")["value"],
                          self.check(what + "p99 to that alone")["met"]), (6, False))
        self.assertAlmostEqual(self.check(what + "p99 to that of")["value"], 0.18)
        self.assertAlmostEqual(self.check(what + "what the streams")["value"], 0.85)
        self.assertTrue(all(t["met"] is None for t in mixed.targets([])))
        line = next(line for line in report.text(example()).splitlines()
                    if line.startswith("ND, memif  ") and "(2.50x)" in line)
        self.assertIn("85.0 (85%)", line)

    def test_not_measured(self):
        for text in ("memif, stream of 64 B", "memif, pipeline 64 B, depth 32", "af_xdp, pipeline"):
            self.assertIsNone(self.check(text)["met"])


class Shapes(unittest.TestCase):
    def test_limits(self):
        self.assertEqual(RR.limit(), shapes.RawShape("echo", 64, 1))
        self.assertEqual(shapes.Shape("pipeline", 64, 16, 32).limit().depth, 512)
        self.assertEqual(STREAM.limit(), shapes.RawShape("stream", 0))
        self.assertIsNone(shapes.Shape("crr", 64).limit())
        # A limit is in the unit of what it limits.
        for shape in shapes.ALL:
            if shape.limit():
                self.assertEqual(shape.limit().unit, shape.unit, shape.name)

    def test_names_differ(self):
        self.assertEqual(len({s.name for s in shapes.ALL}), len(shapes.ALL))
        self.assertTrue(set(shapes.QUICK) <= set(shapes.ALL))
        self.assertEqual(shapes.Shape("stream", 64 * shapes.KIB, 16).name,
                         "stream, writes of 64 KiB, 16 conn.")

    def test_values(self):
        result = {"latency_us": {"p50": 2.5}, "goodput_gbps": 40.0, "messages_per_s": 3e6}
        self.assertEqual(RR.value(result), 2.5)
        self.assertEqual(shapes.Shape("rr", 64, 16).value(result), 3)
        self.assertEqual(STREAM.value(result), 40)
        self.assertEqual(shapes.Shape("crr", 64).value(result), 3000)
        self.assertEqual(shapes.SMALL.value(result), 3)


class Memory(unittest.TestCase):
    def test_hugepages_where_there_are_enough(self):
        meminfo = "MemTotal: 1 kB\nHugePages_Free: {}\nHugepagesize: 2048 kB\n"
        mounts = "none /proc proc rw 0 0\nnone {} hugetlbfs rw 0 0\n"
        with tempfile.TemporaryDirectory() as folder:
            there = mounts.format(folder)
            self.assertIn("--huge-unlink", ways.hugepage_memory(meminfo.format(288), there))
            self.assertIsNone(ways.hugepage_memory(meminfo.format(287), there))
        self.assertIsNone(ways.hugepage_memory(meminfo.format(512), there))  # it is gone
        self.assertIsNone(ways.hugepage_memory("MemTotal: 1 kB\n", there))


class Tools(unittest.TestCase):
    def test_reading(self):
        said = ("sockperf: ---> percentile 75.000 =   12.658\n"
                "sockperf: ---> percentile 50.000 =   12.418\n")
        self.assertEqual(tools.read_sockperf(said), 12.418)
        self.assertIsNone(tools.read_sockperf("sockperf: ERROR"))
        done = {"end": {"sum_received": {"bits_per_second": 4.2e10}}}
        self.assertAlmostEqual(tools.read_iperf3(json.dumps(done)), 42)
        for bad in ("", "{}", '{"error": "refused"}'):
            self.assertIsNone(tools.read_iperf3(bad))


class Reports(unittest.TestCase):
    def test_numbers(self):
        for value, text in ((None, "-"), (0, "0"), (1.804, "1.80"), (92.63, "92.6"),
                            (1234.5, "1,234"), (0.4567, "0.457"), (0.012, "0.0120"),
                            (0.0012, "0.0012")):
            self.assertEqual(report.number(value), text)

    def test_text(self):
        text = report.text(example())
        lines = text.splitlines()
        rr = next(line for line in lines if line.startswith("ping-pong 64 B"))
        for cell in ("2.00 ±100%", "14.0 ±14%", "7.00x", "50%", "25.0 + -"):
            self.assertIn(cell, rr)
        self.assertTrue(any("NOT MET" in line for line in lines))
        self.assertIn("Left out: what (why).", lines)
        self.assertIn("2.00 ±0% (50%)", text)

    def test_a_run_that_was_ended_at_once(self):
        nothing = example() | {"complete": False, "rows": [], "limits": [], "loss": {}, "tools": [],
                               "targets": figures.check_targets([], {})}
        self.assertIn("interrupted", report.text(nothing))
        self.assertIn("not measured", report.text(nothing))

    def test_the_page(self):
        page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
        result = example()
        written = report.replaced(page, result)
        self.assertNotIn("old", written)
        self.assertTrue(written.startswith("before") and written.endswith("after\n"))
        self.assertEqual(report.replaced(written, result), written)
        with self.assertRaises(Failed):
            report.replaced("no marks", result)
        for line in written.splitlines():
            if line.startswith("|"):
                self.assertTrue(line.endswith("|"))

    def test_json_reads_back(self):
        result = copy.deepcopy(example())
        rounded = report.rounded(result)
        self.assertEqual(json.loads(json.dumps(rounded)), rounded)
        self.assertEqual(report.rounded(1.23456789), 1.2346)

    def test_last_words(self):
        error = "server ended with 1: x\n  | EAL: hello /tmp/nd-bench\n  | nd-echo: peer lost\n"
        self.assertEqual(bench.last_words(error), "nd-echo: peer lost")
        self.assertEqual(bench.last_words("short"), "short")

    def test_the_docs_are_what_was_measured(self):
        page = (report.DOCS / "performance.md").read_text(encoding="utf-8")
        self.assertIn(report.BEGIN, page)
        kept = report.DOCS / "performance.json"
        if not kept.exists():
            self.skipTest("nothing was measured yet")
        result = json.loads(kept.read_text(encoding="utf-8"))
        self.assertEqual(report.replaced(page, result), page, "scripts/bench --write-docs")


if __name__ == "__main__":
    unittest.main()
