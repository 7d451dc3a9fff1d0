"""What is run in two guests, and what must come of it."""

import json
import time
from dataclasses import dataclass, field

SERVER, CLIENT = "10.19.0.1", "10.19.0.2"
# An emulated core is slow, and the host may give it to somebody else for long.
PATIENCE = ["peer_timeout=5s", "keepalive=500ms", "connect_timeout=10s", "linger=5s"]
SECONDS = 30  # for one command in a guest
DATA = "/tmp/data"
DATA_BYTES = 4_000_037


@dataclass
class Outcome:
    """What a case came to: no problems, and it passed."""
    figures: str = ""
    problems: list = field(default_factory=list)

    def need(self, good, problem):
        if not good:
            self.problems.append(problem)


def program(name, nic, address, encap, settings, own):
    """A command line of nd-echo or nd-cat."""
    sets = "".join(f" --set {s}" for s in PATIENCE + settings)
    return (f"{name} -l 0 -a {nic.pci} -m 112 --huge-unlink --no-telemetry -- --ip {address}/24 "
            f"--encap {encap}{sets} {own}")


class Echo:
    """nd-echo in one mode; every byte is checked at both ends."""

    def __init__(self, mode, options="", settings=(), fault="", name=None):
        self.mode, self.options, self.settings, self.fault = mode, options, list(settings), fault
        self.name = name or mode

    def commands(self, nic, encap, seconds):
        fault = f" --fault {self.fault}" if self.fault else ""
        return (program("nd-echo", nic, SERVER, encap, self.settings, "--server --once --json -"),
                program("nd-echo", nic, CLIENT, encap, self.settings,
                        f"--client {SERVER} --mode {self.mode} {self.options} --verify --json - "
                        f"--wait 15 --warmup 0.2 --duration {seconds}{fault}"))

    def judge(self, encap, server, client, _sums):
        o = Outcome()
        results = {}
        for who, answer in (("server", server), ("client", client)):
            o.need(answer.code == 0, f"{who}: exit code {answer.code}")
            try:
                results[who] = json.loads(answer.out)
            except ValueError:
                o.problems.append(f"{who}: no JSON")
        if len(results) < 2:
            return o
        for who, r in results.items():
            o.need(r["encap"] == encap, f"{who}: encap {r['encap']}")
            o.need(r["mode"] == self.mode, f"{who}: mode {r['mode']}")
            o.need(r["messages"] > 0 and r["bytes"] > 0, f"{who}: nothing was received")
            o.need(r["errors"] == 0, f"{who}: {r['errors']} connections failed")
            o.need(r["verify_failures"] == 0, f"{who}: {r['verify_failures']} wrong bytes")
            for name in ("peers_lost", "protocol_errors"):
                o.need(r["counters"][name] == 0, f"{who}: {name} {r['counters'][name]}")
            if not self.fault:
                for name in ("drop_checksum", "drop_malformed"):
                    o.need(r["counters"][name] == 0, f"{who}: {name} {r['counters'][name]}")
        self.more(o, results["server"], results["client"])
        r = results["client"]
        if self.mode == "stream":
            o.figures = f"{r['goodput_gbps'] * 1000:.0f} Mbit/s"
        else:
            o.figures = f"{r['messages_per_s']:.0f} /s, p50 {r['latency_us']['p50'] or 0:.0f} us"
        return o

    def more(self, outcome, server, client):
        pass


class Jumbo(Echo):
    """A stream in packets of 9000 bytes."""

    def __init__(self, name="stream, MTU 9000", settings=()):
        super().__init__("stream", settings=["mtu=9000", *settings], name=name)

    def more(self, outcome, server, client):
        c = server["counters"]
        mean = c["rx_bytes"] / max(c["rx_packets"], 1)
        outcome.need(mean > 4500, f"server: packets of {mean:.0f} bytes on average")


class LongQueues(Jumbo):
    """Queues that hold more mbufs than a standard pool has: 20 MiB are 2240 of this size."""

    def __init__(self):
        super().__init__("stream, MTU 9000, long queues",
                         ["rx_descriptors=4096", "tx_descriptors=2048"])

    def more(self, outcome, server, client):
        super().more(outcome, server, client)
        for who, r in (("server", server), ("client", client)):
            n = r["counters"]["tx_no_mbuf"]
            outcome.need(n == 0, f"{who}: tx_no_mbuf {n}")


class Corrupt(Echo):
    """What the wire turns is seen, whoever checks the checksum, and sent again."""

    def __init__(self):
        super().__init__("stream", fault="corrupt=0.005", name="stream, bits turned")

    def more(self, outcome, server, client):
        outcome.need(server["counters"]["drop_checksum"] > 0, "server: drop_checksum 0")


class Cat:
    """A file each way at the same time over one connection, compared by SHA-256."""
    name = "nd-cat SHA-256"
    afterwards = ""

    def commands(self, nic, encap, _seconds):
        end = f" <{DATA} >/tmp/got && {self.afterwards}sha256sum </tmp/got"
        return (program("nd-cat", nic, SERVER, encap, [], "--listen 4000") + end,
                program("nd-cat", nic, CLIENT, encap, [], f"--wait 15 {SERVER} 4000") + end)

    def judge(self, _encap, server, client, sums):
        o = Outcome()
        for who, answer, sent in (("server", server, sums[1]), ("client", client, sums[0])):
            o.need(answer.code == 0, f"{who}: exit code {answer.code}")
            got = answer.out.split()[0] if answer.out else "none"
            o.need(got == sent, f"{who}: SHA-256 of what came is {got}, of what was sent {sent}")
        rate = [line for line in client.err.splitlines() if "bit/s" in line]
        o.figures = rate[-1].removeprefix("nd-cat: ").strip() if rate else ""
        return o


class Queues(Echo):
    """What the device with several queues says while it runs: all are there, the first is used.
    It offers RSS, which is of use with a second queue only, and so isn't asked for."""
    WAIT = 20

    def __init__(self):
        super().__init__("pipeline", name="queues, as the device sees them")

    def commands(self, nic, encap, _seconds):
        return super().commands(nic, encap, 2)

    def during(self, nic, guest):
        path = f"/machine/peripheral/{nic.device_id}/virtio-backend"
        deadline = time.monotonic() + self.WAIT

        def received(n):
            queue = guest.ask_qemu("x-query-virtio-queue-status", path=path, queue=2 * n)
            return queue["used-idx"]

        # 32 packets from a client: it is measuring.
        while received(0) < 32 and time.monotonic() < deadline:
            time.sleep(0.2)
        status = guest.ask_qemu("x-query-virtio-status", path=path)
        o = Outcome()
        for who, names in (("host", ["VIRTIO_NET_F_RSS"]),
                           ("guest", ["VIRTIO_NET_F_MQ", "VIRTIO_NET_F_CSUM",
                                      "VIRTIO_NET_F_GUEST_CSUM"])):
            features = {f.split(":")[0] for f in status[f"{who}-features"]["dev-features"]}
            for name in names:
                o.need(name in features, f"{who}: no {name}")
        if not o.problems:  # without MQ there are no more queues to ask for
            for n in range(nic.tap_queues):
                o.need((received(n) > 0) == (n == 0), f"queue {n}: {received(n)} packets")
        o.figures = f"{nic.tap_queues} queue pairs, queue 0 in use"
        return o


class Spoilt:
    """A case that must fail, and for the reason that it was made to fail for."""

    def __init__(self, case, name, reason):
        self.case, self.name, self.reason = case, name, reason

    def commands(self, nic, encap, seconds):
        return self.case.commands(nic, encap, seconds)

    def judge(self, encap, server, client, sums):
        inner = self.case.judge(encap, server, client, sums)
        o = Outcome()
        seen = [p for p in inner.problems if self.reason in p]
        o.need(seen, f"nobody noticed; the problems were: {inner.problems or 'none'}")
        o.figures = seen[0][:60] if seen else ""
        return o


CASES = [Echo("rr"), Echo("stream"), Echo("pipeline", "--depth 32"),
         Echo("crr", "--connections 2"), Cat(), Jumbo(), LongQueues(), Corrupt()]


def spoilt_cases():
    cat = Cat()
    cat.afterwards = "dd if=/dev/zero of=/tmp/got bs=16 count=1 seek=777 conv=notrunc && "
    # Without a checksum nothing but nd-echo's own check is left. A stream: thousands of packets,
    # however slow the machine.
    echo = Echo("stream", "", ["checksum=none"], "corrupt=0.005")
    return [Spoilt(cat, "noticed: 16 bytes of a copy", "SHA-256"),
            Spoilt(echo, "noticed: no checksum, bits turned", "wrong bytes")]
