"""How a shape is measured: libndstack, no protocol, or kernel TCP, each over some transport."""

import os
from dataclasses import dataclass
from pathlib import Path

from network import SERVER_IP, within
from processes import (BUILD, ND_ECHO, free_port, memif_arguments, nd_files, pair_results,
                       tcp_arguments)

RAW_LIMIT = BUILD / "tests" / "raw-limit"
MEMORY_MIB = 256  # of each end
ND_SERVER, ND_CLIENT = "10.19.0.1", "10.19.0.2"


@dataclass(frozen=True)
class Way:
    """`spaces`: the namespaces of server and client; None for where we are."""
    name: str
    title: str
    kind: str  # nd, raw or tcp
    transport: str
    spaces: tuple = (None, None)
    spinning: bool = False
    congestion: str = ""
    fault: str = ""


def hugepage_memory(meminfo, mounts):
    """EAL options for hugepages where there are enough that are free, and a place to map them that
    we may write to; None elsewhere. Of the texts of /proc/meminfo and /proc/mounts."""
    fields = dict(line.split(":", 1) for line in meminfo.splitlines())
    free = int(fields.get("HugePages_Free", "0")) * int(fields.get("Hugepagesize", "0").split()[0])
    mounted = [line.split()[1] for line in mounts.splitlines() if line.split()[2] == "hugetlbfs"]
    enough = free >= (2 * MEMORY_MIB + 64) * 1024
    writable = any(os.access(folder, os.W_OK) for folder in mounted)
    return ["-m", MEMORY_MIB, "--huge-unlink"] if enough and writable else None


class Runner:
    """Runs one shape one way, on two CPUs."""

    def __init__(self, cpus, duration, warmup, metered=False):
        self.cpus = cpus
        self.timing = ["--duration", duration, "--warmup", warmup]
        self.settings = ["--set", "meter=on"] if metered else []
        self.limit = 30 + 4 * duration
        texts = (Path("/proc", name).read_text("ascii") for name in ("meminfo", "mounts"))
        self.memory = hugepage_memory(*texts) or ["--no-huge", "-m", MEMORY_MIB]

    @property
    def hugepages(self):
        return "--no-huge" not in self.memory

    def eal(self, way, role, folder):
        cpu = self.cpus[0] if role == "server" else self.cpus[-1]
        if way.transport == "memif":
            return memif_arguments(role, folder, cpu, self.memory)
        driver = f"--vdev=net_{way.transport}0,iface=nd0"
        return ["-l", cpu, *self.memory, "--no-pci", "--no-telemetry", driver, nd_files(role)]

    def commands(self, way, shape, folder):
        """Of server and client."""
        if way.kind == "tcp":
            port = free_port()
            cpus = self.cpus if len(self.cpus) > 1 else (None, None)
            extra = ["--congestion", way.congestion] if way.congestion else []
            server = [*tcp_arguments(cpus[0], way.spinning), *extra, "--server", "--once",
                      "--port", port]
            target = f"{SERVER_IP if way.spaces[0] != way.spaces[1] else '127.0.0.1'}:{port}"
            client = [*tcp_arguments(cpus[-1], way.spinning), *extra, "--client", target,
                      *shape.options(), *self.timing]
        elif way.kind == "nd":
            settings = [*self.settings, *(["--fault", way.fault] if way.fault else [])]
            server = [ND_ECHO, *self.eal(way, "server", folder), "--", "--ip", f"{ND_SERVER}/24",
                      *settings, "--server", "--once", "--port", "4000"]
            client = [ND_ECHO, *self.eal(way, "client", folder), "--", "--ip", f"{ND_CLIENT}/24",
                      *settings, "--client", f"{ND_SERVER}:4000", *shape.options(), *self.timing]
        else:
            common = [*shape.options(), *self.timing]
            server = [RAW_LIMIT, *self.eal(way, "server", folder), "--", "--server", *common]
            client = [RAW_LIMIT, *self.eal(way, "client", folder), "--", "--client", *common]
        return ([*within(way.spaces[0]), *server, "--json", "-"],
                [*within(way.spaces[1]), *client, "--json", "-"])

    def run(self, way, shape):
        """(server's, client's) results; None for an end that has none."""
        return pair_results(lambda folder: self.commands(way, shape, folder), self.limit)
