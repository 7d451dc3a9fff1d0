#!/usr/bin/env python3
"""Two processes over memif, each with faults on what it sends, that open, use and end connections
in all ways for a long time; now and then one is killed, or asked to end, and started again. Every
byte is checked. In between everything comes to rest: no connection may be left, and every mbuf must
be back. At the end memory must not have grown. Last line: N passed, N failed."""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAGE_NOISE = 64 << 10       # RSS is counted in pages, and some are the C library's
WARM_UP_MOST = 300          # seconds, or a fifth of the run
REST_LIMIT = 240            # a connection that stands still fails after 180 s
EXPLAINED_AFTER_RESTART = 15
FAULTS = "loss=0.005,dup=0.005,reorder=0.01,corrupt=0.002,seed={seed}"


def cpu_of(index):
    cpus = sorted(os.sched_getaffinity(0))
    return cpus[0] if index == 0 else cpus[-1]


class Worker:
    """One process, and what it has said last. A restarted one goes on under the same name."""

    def __init__(self, name, options, folder):
        self.name, self.options, self.folder = name, options, folder
        self.starts, self.process, self.report = 0, None, {}
        self.failures = []
        self.ended = {}  # sums of the lives before

    def start(self):
        server = self.name == "a"
        vdev = (f"net_memif0,role={'server' if server else 'client'},"
                f"socket={self.folder}/memif.sock,socket-abstract=no,bsize=2048")
        options = self.options
        faults = FAULTS.format(seed=options.seed + 100 * self.starts + server)
        command = [
            options.worker, "--lcores", f"0@{cpu_of(0 if server else 1)}", "--no-huge", "-m", "256",
            "--no-pci", "--no-telemetry", "--log-level", "lib.eal:error",
            "--file-prefix", self.folder.name + self.name, f"--vdev={vdev}", "--", "--ip", "10.19.0.1/24" if server else "10.19.0.2/24"]
        if not options.no_faults:
            command += ["--fault", faults]
        # On a busy machine a process may not run for seconds.
        for setting in ("peer_timeout=20s", "keepalive=1s", "connect_timeout=60s", "backlog=1024",
                        "linger=5s"):
            command += ["--set", setting]
        command += ["10.19.0.2" if server else "10.19.0.1",
                    str(options.seed * 1000 + self.starts * 2 + server), str(options.connections)]
        self.log = open(self.folder / f"{self.name}.log", "ab")
        # A session of its own: Ctrl-C is for us.
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.log, start_new_session=True)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.starts += 1
        self.text = b""
        self.report = {}

    def say(self, command):
        try:
            self.process.stdin.write(command.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # look() finds out

    def read(self):
        """Takes in what it has said. False at the end of its output."""
        data = self.process.stdout.read()
        if data is None:
            return True
        self.text += data
        *lines, self.text = self.text.split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "failure" in said:
                self.failures.append(f"{self.name}: {said['failure']}")
                print(self.failures[-1], flush=True)
            else:
                self.report = said
        return bool(data)

    def total(self, key):
        return self.ended.get(key, 0) + self.report.get(key, 0)

    def end(self, how):
        """Ends it: "kill", "term" or "stop". Returns its exit code."""
        if how == "kill":
            self.process.kill()
        elif how == "stop":
            self.say("stop")
        if how != "kill":
            self.process.stdin.close()
        deadline = time.monotonic() + 60
        while self.read() and time.monotonic() < deadline:
            time.sleep(0.02)
        try:
            code = self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        for key, value in self.report.items():
            self.ended[key] = self.ended.get(key, 0) + value
        self.report = {}
        self.process.stdout.close()
        if how == "kill":
            self.process.stdin.close()
        self.log.close()
        return code


class Soak:
    def __init__(self, options, folder):
        self.options = options
        self.random = random.Random(options.seed)
        self.a, self.b = Worker("a", options, folder), Worker("b", options, folder)
        self.both = (self.a, self.b)
        self.began = time.monotonic()
        self.stopped = False
        self.failures, self.rests, self.clean_rests, self.restarts = [], 0, 0, 0
        self.restarted_at = -1e9
        self.lost_before, self.lost_explained = 0, 0
        self.baseline, self.last_rss = {}, {}
        self.next_line = self.began

    def total(self, key):
        return sum(worker.total(key) for worker in self.both)

    def elapsed(self):
        return time.monotonic() - self.began

    def fail(self, why):
        self.failures.append(why)
        print(why, flush=True)

    # What is lost near a restart is its doing. The rest are processes that starved, or a bug.
    def explain_losses(self):
        lost = self.total("lost")
        if time.monotonic() - self.restarted_at < EXPLAINED_AFTER_RESTART:
            self.lost_explained += lost - self.lost_before
        self.lost_before = lost

    def look(self, seconds):
        """Waits while the two work."""
        end = time.monotonic() + seconds
        while True:
            for worker in self.both:
                if not worker.read() or worker.process.poll() is not None:
                    code = worker.process.wait()
                    raise RuntimeError(f"process {worker.name} ended by itself, code {code}")
            self.explain_losses()
            if time.monotonic() >= self.next_line:
                self.next_line += 10 if self.options.total > 120 else 2
                self.line()
            if time.monotonic() >= end:
                return
            time.sleep(0.05)

    def line(self):
        total = self.total
        failed = len(self.failures) + sum(len(w.failures) for w in self.both)
        rss = ", ".join(f"{w.report.get('rss', 0) >> 20}" for w in self.both)
        print(f"soak: {self.elapsed():.0f} s of {self.options.total:.0f}: "
              f"{total('as_planned')} connections, {total('bytes') >> 20} MiB checked, "
              f"{self.restarts} restarts, {self.lost_explained} lost by them and "
              f"{self.lost_before - self.lost_explained} otherwise, {total('refused')} refused, "
              f"{failed} failures; RSS {rss} MiB",
              file=sys.stderr, flush=True)

    def start_both(self):
        self.a.start()
        self.b.start()
        end = time.monotonic() + 60
        while not all(w.report for w in self.both):
            self.look(0.1)
            if time.monotonic() > end:
                raise RuntimeError("a process says nothing")

    def restart(self):
        how = self.random.choice(("kill", "kill", "stop"))
        code = self.b.end(how)
        if how == "stop" and code != 0:
            self.fail(f"process b ended with code {code}")
        self.restarted_at = time.monotonic()
        pause = time.monotonic() + self.random.uniform(0, 2)
        while time.monotonic() < pause:
            self.a.read()
            time.sleep(0.02)
        self.b.start()
        self.b.say("go")
        self.restarts += 1
        self.restarted_at = time.monotonic()

    def rest(self):
        """Everything ends; then nothing may be held."""
        for worker in self.both:
            worker.say("rest")
        end = time.monotonic() + REST_LIMIT
        held = None
        while time.monotonic() < end:
            self.look(0.3)
            if not all(w.report for w in self.both):
                continue
            held = {f"{w.name}.{key}": w.report[key] for w in self.both
                    for key in ("talking", "waiting", "rx_mbufs_in_use", "tx_mbufs_in_use",
                                "packet_mbufs_in_use")
                    if w.report[key] > 0}
            if not held:
                break
        self.rests += 1
        self.clean_rests += not held
        if held:
            self.fail(f"at rest after {self.elapsed():.0f} s something is held: {held}")
        for worker in self.both:
            self.last_rss[worker.name] = (worker.starts, worker.report["rss"])
        if self.elapsed() >= min(WARM_UP_MOST, self.options.total / 5) and not self.baseline:
            self.baseline = dict(self.last_rss)

    def judge_memory(self):
        """Growth since the warm-up, of a process that was not restarted since."""
        for worker in self.both:
            starts, now = self.last_rss.get(worker.name, (0, 0))
            began, then = self.baseline.get(worker.name, (-1, 0))
            if starts != began or now == 0:
                print(f"RSS of {worker.name}: {now >> 10} KiB, restarted since the warm-up")
                continue
            growth = (now - then) / then * 100
            print(f"RSS of {worker.name}: {then >> 10} KiB after the warm-up, {now >> 10} KiB "
                  f"at the end: {growth:+.2f} %")
            # A short run is all warm-up.
            if self.options.total >= 600 and now - then > max(then / 100, PAGE_NOISE):
                self.fail(f"RSS of {worker.name} has grown by {growth:.2f} %")

    def run(self):
        total = self.options.total
        # Rounds: work, in every second one a restart, rest.
        length = min(max(total / 10, 3), 45)
        self.start_both()
        number = 0
        while not self.stopped and (self.elapsed() < total or number < 2):
            number += 1
            for worker in self.both:
                worker.say("go")
            half = self.random.uniform(0.3, 0.7) * length
            self.work(half)
            if number % 2 == 0 and not self.options.no_restarts and not self.stopped:
                self.restart()
            self.work(length - half)
            self.rest()

    def work(self, seconds):
        end = time.monotonic() + seconds
        while not self.stopped and time.monotonic() < end:
            self.look(0.1)

    def finish(self):
        for worker in self.both:
            if worker.process is None:
                continue
            code = worker.end("stop")
            if code != 0:
                self.fail(f"process {worker.name} ended with code {code}")

    def summary(self):
        total = self.total
        self.line()
        self.judge_memory()
        failures = self.failures + self.a.failures + self.b.failures
        print(f"{self.elapsed():.0f} s: {total('as_planned')} ends of connections as planned, "
              f"{total('bytes')} bytes checked, "
              f"{self.clean_rests} of {self.rests} rests with nothing held")
        print(f"{self.restarts} restarts, {self.lost_explained} ends lost by them; "
              f"{self.lost_before - self.lost_explained} lost otherwise, "
              f"{total('refused')} refused")
        for key in ("packets_lost", "records_retransmitted", "drop_checksum", "drop_duplicate",
                    "probe_timeouts", "peers_lost", "drop_no_memory", "tx_no_mbuf",
                    "protocol_errors"):
            print(f"  {key}: {total(key)}")
        if total("protocol_errors") > 0:
            failures.append("a peer broke the protocol")
        if total("as_planned") == 0:
            failures.append("nothing was done")
        print(f"{total('as_planned') + self.clean_rests} passed, {len(failures)} failed")
        return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worker", required=True, help="tests/nd-soak of a build")
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--connections", type=int, default=48, help="that each opens at a time")
    parser.add_argument("--no-restarts", action="store_true")
    parser.add_argument("--no-faults", action="store_true")
    options = parser.parse_args()
    options.total = options.minutes * 60 + options.seconds
    if options.total <= 0:
        parser.error("--minutes or --seconds")

    folder = Path(tempfile.mkdtemp(prefix="nd-soak-"))
    soak = Soak(options, folder)

    def stop(*_):
        soak.stopped = True
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        soak.run()
        soak.finish()
    except RuntimeError as e:
        soak.fail(str(e))
    finally:
        for worker in soak.both:
            if worker.process is not None and worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()
        for worker in soak.both:
            log = folder / f"{worker.name}.log"
            if log.exists() and (text := log.read_text(errors="replace").strip()):
                print(f"---- {worker.name} said:\n{text[-4000:]}", file=sys.stderr)
                if "mbufs are missing" in text:
                    soak.fail(f"process {worker.name}: mbufs are missing at its end")
            # The EAL's own, which it leaves where there was memif.
            for root in ("/var/run", os.environ.get("XDG_RUNTIME_DIR", "/tmp")):
                shutil.rmtree(f"{root}/dpdk/{folder.name}{worker.name}", ignore_errors=True)
        shutil.rmtree(folder)
    sys.exit(soak.summary())


if __name__ == "__main__":
    main()
