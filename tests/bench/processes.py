"""Processes of a bench: started, waited for, and never left behind."""

import json
import os
import resource
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
ND_ECHO = BUILD / "apps" / "nd-echo"
TCP_PEER = BUILD / "tests" / "tcp-peer"


class Failed(Exception):
    """A measurement that did not work; the text says why."""


class Processes:
    """Children of ours, none of which outlives the with block."""

    def __init__(self):
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.wait()

    def start(self, name, arguments, folder, environment):
        log = open(folder / f"{name}.log", "w+", encoding="utf-8", errors="replace")
        out = open(folder / f"{name}.out", "w+", encoding="utf-8", errors="replace")
        process = subprocess.Popen([str(a) for a in arguments], stdin=subprocess.DEVNULL,
                                   stdout=out, stderr=log, env=environment)
        process.name, process.log, process.out = name, log, out
        self.running.append(process)
        return process


def text_of(file):
    file.seek(0)
    return file.read()


def wait_for(processes, limit):
    """Waits until all have ended well. One that has not makes the others pointless."""
    end = time.monotonic() + limit
    while True:
        codes = [p.poll() for p in processes]
        if all(code == 0 for code in codes):
            return
        bad = any(code not in (None, 0) for code in codes)
        if bad:
            # Its partner's message often says more.
            time.sleep(0.5)
        if bad or time.monotonic() > end:
            break
        time.sleep(0.02)
    lines = []
    for p in processes:
        code = p.poll()
        state = "still runs" if code is None else f"ended with {code}"
        lines.append(f"{p.name} {state}: {' '.join(map(str, p.args))}")
        lines += [f"  | {line}" for line in text_of(p.log).splitlines()]
    raise Failed("\n".join(lines))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def pair_results(commands, limit=30):
    """Runs a server and a client until both have ended; what each has printed as JSON, or None.
    `commands` gets a folder of their own and returns both."""
    with tempfile.TemporaryDirectory(prefix="nd-bench-") as name, Processes() as processes:
        folder = Path(name)
        # The EAL leaves files in its runtime folder.
        environment = dict(os.environ, RUNTIME_DIRECTORY=str(folder))
        pair = [processes.start(role, command, folder, environment)
                for role, command in zip(("server", "client"), commands(folder))]
        wait_for(pair, limit)
        return tuple(json.loads(text) if text else None for text in
                     (text_of(process.out) for process in pair))


def nd_files(role):
    """Two DPDK processes of one machine need different names for their files."""
    return f"--file-prefix=nd-bench-{os.getpid()}-{role}"


def memif_arguments(role, folder, cpu, memory=("--no-huge", "-m", "512")):
    """EAL options of one end of a memif."""
    memif = f"role={role},socket={folder}/memif.sock,socket-abstract=no,bsize=9216,rsize=10"
    return ["-l", cpu, *memory, "--no-pci", "--no-telemetry", nd_files(role),
            f"--vdev=net_memif0,{memif}"]


def tcp_arguments(cpu, spinning):
    """tcp-peer, pinned where there is a CPU for it."""
    pinned = [] if cpu is None else ["--cpu", cpu]
    return [TCP_PEER, *(["--spin"] if spinning else []), *pinned]


class Load:
    """How much of our CPUs others took meanwhile."""

    def __init__(self, cpus):
        self.cpus = [f"cpu{cpu}" for cpu in cpus]
        self.before = self.busy()
        self.begin = time.monotonic()

    def busy(self):
        """Seconds that these CPUs have worked, without those for our children."""
        ticks = 0
        for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
            name, *times = line.split()
            if name in self.cpus:
                # Not idle and iowait; guests are in user and nice already.
                ticks += sum(map(int, times[:8])) - int(times[3]) - int(times[4])
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return ticks / os.sysconf("SC_CLK_TCK") - children.ru_utime - children.ru_stime

    def others(self):
        """0 to 1."""
        elapsed = time.monotonic() - self.begin
        return max(0, self.busy() - self.before) / (elapsed * len(self.cpus))
