"""Network namespaces with veth pairs between them, and a wire that loses frames. Needs root."""

import json
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from processes import Failed

PREFIX = "ndbench"
LOSS_PROGRAM = Path(__file__).with_name("loss.bpf.c")
# Addresses of the kernel's; libndstack has its own, which the kernel does not know.
SERVER_IP, CLIENT_IP = "10.77.0.1", "10.77.0.2"
SEGMENTATION = ("tso", "gso", "gro")


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise Failed(f"{' '.join(map(str, command))}: {said}")
    return done.stdout


def missing():
    """Why there can be no namespaces here; empty if there can."""
    if os.geteuid() != 0:
        return "not root"
    tools = [tool for tool in ("ip", "ethtool") if not shutil.which(tool)]
    return f"no {' and no '.join(tools)}: scripts/setup --bench" if tools else ""


def loss_missing():
    tools = [tool for tool in ("tc", "clang") if not shutil.which(tool)]
    return f"no {' and no '.join(tools)}: scripts/setup --bench" if tools else ""


class Network:
    """Creates namespaces, and deletes them when it is left. Names carry our process id."""

    def __init__(self):
        self.spaces = []

    def __enter__(self):
        remove_leftovers()
        return self

    def __exit__(self, *_):
        for space in self.spaces:
            subprocess.run(["ip", "netns", "delete", space], check=False, capture_output=True)

    def space(self, name):
        space = f"{PREFIX}-{os.getpid()}-{name}"
        run("ip", "netns", "add", space)
        self.spaces.append(space)
        run("ip", "-n", space, "link", "set", "lo", "up")
        # Only our traffic: no router solicitations, no duplicate address detection.
        for which in ("all", "default"):
            run(*within(space), "sysctl", "-q", "-w", f"net.ipv6.conf.{which}.disable_ipv6=1")
        return space

    def pair(self, name, segmentation):
        """Two namespaces with a veth pair between them: (server's, client's). Both interfaces are
        called `nd0`. With segmentation offload they and the loopback are as the kernel makes them.
        """
        server, client = self.space(f"{name}-s"), self.space(f"{name}-c")
        run("ip", "-n", server, "link", "add", "nd0", "type", "veth",
            "peer", "name", "nd0", "netns", client)
        for space, address in ((server, SERVER_IP), (client, CLIENT_IP)):
            bring_up(space, "nd0", address)
            if not segmentation:
                for interface in ("lo", "nd0"):
                    no_segmentation(space, interface)
        return server, client

    def lossy(self, name):
        """A server's and a client's namespace, with a third between them that loses what it is
        told to. No segmentation offload anywhere."""
        return LossyPair(self.space(f"{name}-s"), self.space(f"{name}-m"), self.space(f"{name}-c"))


class LossyPair:
    """All that goes from one end to the other arrives as single frames at a tc program on the
    middle's ingress, from the kernel's TCP as from AF_XDP and AF_PACKET. On the ends themselves
    there is no such place: AF_XDP takes frames before clsact's ingress, and what it sends passes
    clsact's egress by."""

    # In the middle, so that each program knows the other's number before it is there.
    INDEX = {"to-server": 1001, "to-client": 1002}

    def __init__(self, server, middle, client):
        self.server, self.middle, self.client = server, middle, client
        for interface, space, address in (("to-server", server, SERVER_IP),
                                          ("to-client", client, CLIENT_IP)):
            run("ip", "-n", middle, "link", "add", "name", interface,
                "index", self.INDEX[interface], "type", "veth", "peer", "name", "nd0",
                "netns", space)
            bring_up(space, "nd0", address)
            run("ip", "-n", middle, "link", "set", interface, "up")
            no_segmentation(space, "nd0")
            no_segmentation(middle, interface)
            run("tc", "-n", middle, "qdisc", "add", "dev", interface, "clsact")

    def set_loss(self, loss, folder):
        """Attaches fresh programs, which begin with the first frame."""
        ends = list(self.INDEX)
        for seed, (here, there) in enumerate((ends, ends[::-1])):
            program = Path(folder) / f"{here}-{loss}.o"
            multiarch = f"/usr/include/{platform.machine()}-linux-gnu"
            run("clang", "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-idirafter", multiarch,
                f"-DLOSS_PER_MILLION={round(loss * 1e6)}", f"-DOUT_INTERFACE={self.INDEX[there]}",
                f"-DSEED={1 + seed}000000000ULL", "-c", LOSS_PROGRAM, "-o", program)
            at = ("dev", here, "ingress")
            subprocess.run(["tc", "-n", self.middle, "filter", "delete", *at], check=False,
                           capture_output=True)
            run("tc", "-n", self.middle, "filter", "add", *at, "bpf", "direct-action",
                "object-file", program, "section", "tc")

    def seen(self):
        """(frames, dropped) in both directions, since the interfaces are there."""
        frames = dropped = 0
        for interface in self.INDEX:
            statistics = json.loads(run("tc", "-n", self.middle, "-s", "-j", "qdisc", "show",
                                        "dev", interface, "clsact"))
            frames += sum(q.get("packets", 0) for q in statistics)
            dropped += sum(q.get("drops", 0) for q in statistics)
        return frames, dropped


def within(space):
    """What to put before a command that shall run there."""
    return ["ip", "netns", "exec", space] if space else []


def bring_up(space, interface, address):
    run("ip", "-n", space, "address", "add", f"{address}/24", "dev", interface)
    run("ip", "-n", space, "link", "set", interface, "up")


def no_segmentation(space, interface):
    for feature in SEGMENTATION:
        run(*within(space), "ethtool", "-K", interface, feature, "off")


def remove_leftovers():
    """Namespaces of a bench that was killed."""
    for line in run("ip", "netns", "list").splitlines():
        match = re.match(rf"({PREFIX}-(\d+)-\S+)", line)
        if match and not Path(f"/proc/{match[2]}").exists():
            run("ip", "netns", "delete", match[1])
