"""What scripts/scale-model measures, the costs that follow from it, and the cases it asks about."""

import json
import os
import subprocess
import tempfile

from processes import BUILD, Failed
from shapes import KIB, Shape
from ways import Runner, Way

STAGE_COSTS = BUILD / "tests" / "stage-costs"
SCALE_MODEL = BUILD / "tests" / "scale-model"
MTUS = (9000, 1500)  # that costs are measured at
BETWEEN = 4000       # and one that they are only predicted for
MANY = 16            # sockets
RATES = (100, 200, 400)
IO = (1, 2, 4, 8, 16)
DCOPY = (0, 1, 2, 4, 8)
DELAY_NS = 4000      # one way
MARK_NS = 10_000     # of the link's time in the queue
QUEUE_NS = 100_000
SEND_BUFFER, RECEIVE_BUFFER = 2 << 20, 2 << 20
WITHIN = 0.15


def run_json(command, text=None):
    with tempfile.TemporaryDirectory(prefix="nd-scale-") as folder:
        environment = dict(os.environ, RUNTIME_DIRECTORY=folder)
        done = subprocess.run([str(c) for c in command], input=text, capture_output=True, text=True,
                              timeout=600, check=False, env=environment)
    if done.returncode != 0:
        raise Failed(f"{command[0].name} ended with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


# ------------------------------------------------------------------------------------- measuring


def runs_of_process():
    """Options of stage-costs by name: what one process does with both hosts in it."""
    out = {}
    for mtu in MTUS:
        for sockets in (1, MANY):
            for metered in (False, True):
                out[f"{mtu}/{sockets}/{'metered' if metered else 'plain'}"] = [
                    "--mtu", mtu, "--sockets", sockets, *(["--meter"] if metered else [])]
    out["between"] = ["--mtu", BETWEEN]
    out["handed"] = ["--handed"]
    out["dcopy write/metered"] = ["--dcopy", "write", "--meter"]
    out["dcopy read/metered"] = ["--dcopy", "read", "--meter"]
    out["dcopy write"] = ["--dcopy", "write"]
    out["dcopy read"] = ["--dcopy", "read"]
    out["two lcores"] = ["--lcores", 2]
    return out


class Measurement:
    """Runs everything in turns; results[name] is a list of what each run has printed."""

    def __init__(self, duration, turns, say):
        self.duration, self.turns, self.say = duration, turns, say
        self.cpus = sorted(os.sched_getaffinity(0))[:2]
        self.results = {}

    def run(self):
        for turn in range(self.turns):
            for name, options in runs_of_process().items():
                command = [STAGE_COSTS, *options, "--seconds", self.duration]
                self.results.setdefault(name, []).append(run_json(command))
            for mtu in (*MTUS, BETWEEN):
                for metered in (False, True) if mtu in MTUS else (False,):
                    self.memif(mtu, metered)
            self.say(f"{turn + 1}/{self.turns} measured: one core "
                     f"{self.results['9000/1/plain'][-1]['gbps']:.1f} Gbit/s, memif "
                     f"{self.results['memif 9000'][-1]['client']['goodput_gbps']:.1f} Gbit/s")

    def memif(self, mtu, metered):
        runner = Runner(self.cpus, self.duration, self.duration / 4, metered)
        runner.settings += ["--set", f"mtu={mtu}"]
        shape = Shape("stream", 64 * KIB)
        server, client = runner.run(Way("nd_memif", "ND, memif", "nd", "memif"), shape)
        name = f"memif {mtu}" + ("/metered" if metered else "")
        self.results.setdefault(name, []).append({"server": server, "client": client})


# ----------------------------------------------------------------------------------------- costs


def least(runs, read):
    """What disturbs a run only makes it slower: the best one tells most, here and in check()."""
    return min(read(run) for run in runs)


def most(runs, read):
    return max(read(run) for run in runs)


def stages(end, names):
    return sum(end[f"cycles_{name}"] for name in names)


def solve(points):
    """a and b of cost = a * packets + b * bytes, from two (packets, bytes, cost); none is negative,
    whatever the noise."""
    (p1, b1, c1), (p2, b2, c2) = points
    det = p1 * b2 - p2 * b1
    a, b = (c1 * b2 - c2 * b1) / det, (p1 * c2 - p2 * c1) / det
    if a < 0:
        return 0.0, (c1 / b1 + c2 / b2) / 2
    if b < 0:
        return (c1 / p1 + c2 / p2) / 2, 0.0
    return a, b


SENDING = ("channel", "socket", "tx")
RECEIVING = ("rx", "parse", "channel", "socket")


def parts_of(near, far, payload, segment, scale):
    """What one run says, a byte of payload: {part: (packets, bytes, cycles)}."""
    def part(packets, size, cycles):
        return packets / payload, size / payload, scale * cycles / payload
    wire = far.get("cycles_wire", 0)
    return {
        "send": part(near["tx_packets"], near["tx_bytes"], stages(near, SENDING)),
        "receive": part(far["rx_packets"], far["rx_bytes"], stages(far, RECEIVING) - wire),
        "wire": part(far["rx_packets"], far["rx_bytes"], wire),
        "write": part(payload / segment, payload, near["cycles_copy"]),
        "read": part(payload / segment, payload, far["cycles_copy"]),
        "receive_ack": part(near["rx_packets"], 0, stages(near, ("rx", "parse"))),
        "send_ack": part(far["tx_packets"], 0, far["cycles_tx"]),
    }


def fitted(at):
    """Costs from parts_of() of two packet sizes."""
    out = {}
    for name in ("send", "receive", "wire", "write", "read"):
        out[f"{name}_packet"], out[f"{name}_byte"] = solve([parts[name] for parts in at])
    for name in ("receive_ack", "send_ack"):
        out[name] = sum(parts[name][2] / parts[name][0] for parts in at) / len(at)
    return out


def at_one_size(parts, one):
    """Costs of one packet size, a byte's taken from `one`: with many sockets no two
    numbers describe both sizes."""
    out = {}
    for name in ("send", "receive", "wire", "write", "read"):
        packets, size, cycles = parts[name]
        out[f"{name}_byte"] = min(one[f"{name}_byte"], cycles / size)
        out[f"{name}_packet"] = max(0.0, (cycles - out[f"{name}_byte"] * size) / packets)
    for name in ("receive_ack", "send_ack"):
        out[name] = parts[name][2] / parts[name][0]
    return out


def metered_sum(run):
    """Cycles of all stages; the wire's are in those of rx."""
    return sum(stages(run[end], (*RECEIVING, "copy", "tx")) + run[end].get("cycles_idle", 0)
               for end in ("near", "far"))


def scale_of(plain, metered):
    """What the stages of a metered run must be multiplied with, so that they add up to what passes
    without the meter."""
    run = fastest(metered)
    return least(plain, lambda r: r["cycles"] / r["bytes"]) / (metered_sum(run) / run["bytes"])


def fastest(runs):
    """Its stages belong together."""
    return max(runs, key=lambda r: r["gbps"])


def process_parts(results, sockets):
    at = []
    for mtu in MTUS:
        plain, metered = (results[f"{mtu}/{sockets}/{kind}"] for kind in ("plain", "metered"))
        run = fastest(metered)
        at.append(parts_of(run["near"], run["far"], run["bytes"], run["max_segment"],
                           scale_of(plain, metered)))
    return at


def memif_costs(results, scale):
    at = []
    for mtu in MTUS:
        run = max(results[f"memif {mtu}/metered"], key=lambda r: r["client"]["goodput_gbps"])
        near, far = run["client"]["counters"], run["server"]["counters"]
        segment = results[f"{mtu}/1/plain"][0]["max_segment"]
        at.append(parts_of(near, far, near["payload_bytes_sent"], segment, scale))
    return fitted(at)


def costs_of(results):
    """{name of a set: costs}: `core`: one core does all, as measured; `one` and `many MTU`: NICs,
    and applications on other cores, for one socket and many; `memif`."""
    one = results["9000/1/plain"]
    base = {"hz": one[0]["hz"],
            "idle_turn": least(one, lambda r: r["idle_turn"])}
    segment = one[0]["max_segment"]
    scale = scale_of(one, results["9000/1/metered"])

    def total(name):
        return least(results[name], lambda r: r["cycles"] / r["bytes"])

    def per_byte(name, read):
        return least(results[name], lambda r: read(r) / r["bytes"])

    # Each packet changes lcores once, one way or the other, and there are two ends of that.
    base["hand_packet"] = max(0, total("handed") - total("9000/1/plain")) * segment / 2
    for way, end in (("write", "near"), ("read", "far")):
        name = f"dcopy {way}/metered"
        counter = "dcopy_bytes_written" if way == "write" else "dcopy_bytes_read"
        base[f"dcopy_{way}"] = least(
            results[name], lambda r, c=counter: r["dcopy"]["cycles_dcopy"] / r["dcopy"][c])
        base[f"order_{way}"] = scale * segment * per_byte(
            name, lambda r, e=end: r[e]["cycles_copy"])
    base["collect_packet"] = max(0, scale * segment * (
        per_byte("dcopy write/metered", lambda r: stages(r["near"], SENDING))
        - per_byte("9000/1/metered", lambda r: stages(r["near"], SENDING))))
    one_socket = fitted(process_parts(results, 1))
    sets = {"core": base | one_socket}
    many = {f"core {mtu}": base | at_one_size(parts, one_socket)
            for mtu, parts in zip(MTUS, process_parts(results, MANY))}
    sets |= many
    nic = {"wire_packet": 0, "wire_byte": 0}
    # Where application and io lcore are two cores, copies cost what they cost a dcopy lcore.
    apart = nic | {"write_byte": base["dcopy_write"], "read_byte": base["dcopy_read"]}
    sets["one"] = sets["core"] | apart
    sets["inline"] = sets["core"] | nic
    for mtu in MTUS:
        sets[f"many {mtu}"] = many[f"core {mtu}"] | apart
        sets[f"many inline {mtu}"] = many[f"core {mtu}"] | nic
    # The device that the core plays: its copies meet mbufs that the dcopy lcore had last. A NIC's
    # do not, so this is of the check alone.
    for way in ("write", "read"):
        sets[f"core, dcopy {way}"] = sets["core"] | {
            "wire_packet": 0,
            "wire_byte": scale * per_byte(f"dcopy {way}/metered",
                                          lambda r: r["far"]["cycles_wire"])}
    sets["memif"] = base | memif_costs(results, scale)
    return sets


# ----------------------------------------------------------------------------------------- cases


def link_case(gbps, **what):
    return {"gbps": gbps, "delay_ns": DELAY_NS, "mark_bytes": int(gbps * MARK_NS / 8),
            "queue_bytes": int(gbps * QUEUE_NS / 8), "send_buffer": SEND_BUFFER,
            "receive_buffer": RECEIVE_BUFFER,
            "warm_up_us": 2500, "time_us": 1500, **what}


def grid():
    """In order of packet sizes."""
    out = []
    for mtu, copiers in ((9000, DCOPY), (1500, (0,))):
        for gbps in RATES:
            for sockets in (1, MANY):
                out.append(link_case(gbps, mtu=mtu, sockets=sockets, io=1, dcopy=0,
                                     where="inline",
                                     costs="inline" if sockets == 1 else f"many inline {mtu}"))
                for dcopy in copiers:
                    for io in IO:
                        out.append(link_case(
                            gbps, mtu=mtu, sockets=sockets, io=io, dcopy=dcopy, dcopy_near=dcopy,
                            dcopy_far=dcopy, where="apart",
                            costs="one" if sockets == 1 else f"many {mtu}"))
    return out


def predict(costs, cases):
    """Each case with what the model says of it."""
    said = {}
    for mtu in dict.fromkeys(case["mtu"] for case in cases):  # the pools of one fill the memory
        those = [case for case in cases if case["mtu"] == mtu]
        said[mtu] = iter(run_json([SCALE_MODEL], json.dumps({"costs": costs, "cases": those})))
    return [case | {"predicted": next(said[case["mtu"]])} for case in cases]


def checks(results):
    """(what, cores, the case, measured Gbit/s)"""
    def rate(name):
        return most(results[name], lambda r: r["gbps"])

    def memif(mtu):
        return most(results[f"memif {mtu}"], lambda r: r["client"]["goodput_gbps"])
    together = {"where": "together", "costs": "core"}
    out = [
        ("one core, both hosts, MTU 9000", 1, together | {"mtu": 9000}, rate("9000/1/plain")),
        ("one core, both hosts, 16 sockets", 1, together | {"mtu": 9000, "sockets": MANY,
                                                            "costs": "core 9000"},
         rate(f"9000/{MANY}/plain")),
        ("two cores, a dcopy lcore for writes", 2, together | {"mtu": 9000, "dcopy_near": 1,
                                                               "costs": "core, dcopy write"},
         rate("dcopy write")),
        ("two cores, a dcopy lcore for reads", 2, together | {"mtu": 9000, "dcopy_far": 1,
                                                              "costs": "core, dcopy read"},
         rate("dcopy read")),
        ("two cores, two io lcores", 2, together | {"mtu": 9000, "io": 2, "sockets": 2},
         rate("two lcores")),
        ("memif, a host a core, MTU 9000", 1,
         {"where": "inline", "costs": "memif", "mtu": 9000}, memif(9000)),
        (f"one core, both hosts, MTU {BETWEEN}", 1, together | {"mtu": BETWEEN}, rate("between")),
        (f"memif, a host a core, MTU {BETWEEN}", 1,
         {"where": "inline", "costs": "memif", "mtu": BETWEEN}, memif(BETWEEN)),
        ("one core, both hosts, MTU 1500", 1, together | {"mtu": 1500}, rate("1500/1/plain")),
        ("memif, a host a core, MTU 1500", 1,
         {"where": "inline", "costs": "memif", "mtu": 1500}, memif(1500)),
    ]
    out.append(("one core, both hosts, 16 sockets, MTU 1500", 1,
                together | {"mtu": 1500, "sockets": MANY, "costs": "core 1500"},
                rate(f"1500/{MANY}/plain")))
    return out


def check(results, costs):
    asked = checks(results)
    predicted = predict(costs, [case for _, _, case, _ in asked])
    out = []
    for (what, cores, _, measured), answer in zip(asked, predicted):
        said = answer["predicted"]["gbps"]
        off = said / measured - 1
        out.append({"what": what, "cores": cores, "measured": measured, "predicted": said,
                    "deviation": off, "met": abs(off) <= WITHIN})
    return out
