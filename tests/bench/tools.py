"""sockperf and iperf3 beside our kernel TCP peer: it must not be slow."""

import json
import re
import shutil
import subprocess
import time

import figures
import shapes
from processes import Failed, free_port
from ways import Way

# Below this our peer is called slow.
FAIR = 0.9


class ToolCheck:
    """One tool and our peer, over the loopback, in turns."""

    def __init__(self, program, text, shape, spinning, commands, read):
        self.program, self.text, self.shape = program, text, shape
        self.way = Way("peer", "our peer", "tcp", "loopback", spinning=spinning)
        self.commands, self.read = commands, read
        self.theirs, self.ours = [], []

    def run(self, runner, duration):
        self.ours.append(self.shape.value(runner.run(self.way, self.shape)[1]))
        port = free_port()
        server, client = self.commands(port, max(1, round(duration)))
        first, second = runner.cpus[0], runner.cpus[-1]
        listener = subprocess.Popen(["taskset", "-c", str(first), *server],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL)
        value, done = None, None
        try:
            # Until the server listens; sockperf also takes a connect() in progress for a failed one.
            for _ in range(5):
                time.sleep(0.3)
                done = subprocess.run(["taskset", "-c", str(second), *client], text=True,
                                      capture_output=True, timeout=30, check=False)
                if done.returncode == 0:
                    value = self.read(done.stdout)
                    break
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{self.program} did not end") from error
        finally:
            listener.kill()
            listener.wait()
        if value is None:
            raise Failed(f"{' '.join(client)}: {(done.stderr or done.stdout).strip()}")
        self.theirs.append(value)

    def result(self):
        if not self.theirs or not self.ours:
            return None
        tool, peer = figures.median(self.theirs), figures.median(self.ours)
        ratio = figures.times_better(peer, tool, self.shape.latency)
        return {"text": self.text, "unit": self.shape.unit, "tool": tool, "peer": peer,
                "ratio": ratio, "fair": ratio >= FAIR}


def missing(check):
    if not shutil.which(check.program):
        return "scripts/setup --bench installs it"
    return "" if shutil.which("taskset") else "no taskset"


def sockperf(*spin):
    def commands(port, seconds):
        common = ["--tcp", "-i", "127.0.0.1", "-p", str(port), *spin]
        return (["sockperf", "server", *common],
                ["sockperf", "ping-pong", *common, "-m", "64", "-t", str(seconds), "--full-rtt"])
    return commands


def read_sockperf(text):
    match = re.search(r"percentile 50\.000\s*=\s*([\d.]+)", text)
    return float(match[1]) if match else None


def iperf3(port, seconds):
    return (["iperf3", "-s", "-1", "-B", "127.0.0.1", "-p", str(port)],
            ["iperf3", "-c", "127.0.0.1", "-p", str(port), "-l", "64K", "-N", "-J",
             "-t", str(seconds)])


def read_iperf3(text):
    try:
        return json.loads(text)["end"]["sum_received"]["bits_per_second"] / 1e9
    except (ValueError, KeyError):
        return None


PING_PONG = shapes.Shape("rr", 64)
STREAM = shapes.Shape("stream", 64 * shapes.KIB)

CHECKS = (
    ToolCheck("sockperf", "sockperf, ping-pong 64 B, spinning", PING_PONG, True,
              sockperf("--nonblocked"), read_sockperf),
    ToolCheck("sockperf", "sockperf, ping-pong 64 B, blocking", PING_PONG, False,
              sockperf(), read_sockperf),
    ToolCheck("iperf3", "iperf3, stream 64 KiB, blocking", STREAM, False, iperf3, read_iperf3),
)
