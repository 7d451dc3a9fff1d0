"""From single runs to figures: medians, spread, ratios, shares, cycles, and the targets."""

import statistics

STAGES = ("rx", "parse", "channel", "socket", "copy", "tx")


def median(runs):
    """None without runs."""
    return statistics.median(runs) if runs else None


def spread(runs):
    """The farthest run's distance from the median, as a part of the median."""
    middle = median(runs)
    if not middle:
        return None
    return max(abs(run - middle) for run in runs) / middle


def times_better(one, other, less_is_better):
    """How many times better `one` is than `other`; None if either is missing."""
    good, bad = (other, one) if less_is_better else (one, other)
    if good is None or not bad:
        return None
    return good / bad


def best(values, less_is_better):
    there = [v for v in values if v is not None]
    if not there:
        return None
    return min(there) if less_is_better else max(there)


def cycles_of(result):
    """TSC cycles by stage a packet (received and sent) and a byte of payload (both ways), of an
    end that ran with meter=on; None of one that did not. All counters are of its whole life."""
    counters = (result or {}).get("counters", {})
    cycles = {stage: counters.get(f"cycles_{stage}", 0) for stage in STAGES}
    packets = counters.get("rx_packets", 0) + counters.get("tx_packets", 0)
    payload = counters.get("payload_bytes_sent", 0) + counters.get("payload_bytes_received", 0)
    if not any(cycles.values()) or not packets or not payload:
        return None
    return {"packet": {stage: cycles[stage] / packets for stage in STAGES},
            "byte": {stage: cycles[stage] / payload for stage in STAGES}}


def median_cycles(runs):
    """The median of each stage over runs of cycles_of()."""
    runs = [run for run in runs if run]
    if not runs:
        return None
    return {per: {stage: median([run[per][stage] for run in runs]) for stage in STAGES}
            for per in ("packet", "byte")}


def summarize(runs):
    """One way's runs of one shape, each {"value": ..., "p99_us": ...}."""
    values = [run["value"] for run in runs]
    out = {"median": median(values), "spread": spread(values), "runs": values}
    tails = [run["p99_us"] for run in runs if run.get("p99_us") is not None]
    if tails:
        out["p99_us"] = median(tails)
    return out


def make_row(shape, transport, ways, kernels, measured, metered):
    """A row of a table: libndstack over a transport beside kernel TCP and the raw limit. `measured`
    holds the runs by (way, shape), `metered` cycles_of() by (way, shape, end)."""
    def of(way, what=shape):
        runs = measured.get((way, what), [])
        return summarize(runs) if runs else None

    nd = of(ways["nd"])
    limit = of(ways["raw"], shape.limit()) if shape.limit() else None
    kernel = {way: of(way) for way in kernels}
    middle = {way: k and k["median"] for way, k in kernel.items()}
    value = nd and nd["median"]
    spinning = middle.get(kernels[0])
    all_best = best(middle.values(), shape.latency)
    cycles = {end: median_cycles(metered.get((ways["nd"], shape, end), []))
              for end in ("client", "server")}
    return {
        "transport": transport, "shape": shape.name, "mode": shape.mode, "size": shape.size,
        "connections": shape.connections, "depth": shape.depth, "unit": shape.unit,
        "less_is_better": shape.latency, "nd": nd, "kernel": kernel, "limit": limit,
        "cycles": {end: found for end, found in cycles.items() if found},
        "ratio_spinning": times_better(value, spinning, shape.latency),
        "ratio_best": times_better(value, all_best, shape.latency),
        "share": times_better(value, limit and limit["median"], shape.latency),
    }


def retained(points):
    """Adds to each point of a loss curve what is left of the goodput at no loss. A point is
    {"loss": ..., "median": ...}."""
    whole = next((p["median"] for p in points if p["loss"] == 0), None)
    for p in points:
        p["retained"] = p["median"] / whole if whole and p["median"] is not None else None
    return points


# ------------------------------------------------------------------------------------- the targets


def find(rows, transport, mode, size, depth=1, connections=1):
    wanted = (transport, mode, size, depth, connections)
    return next((r for r in rows if (r["transport"], r["mode"], r["size"], r["depth"],
                                     r["connections"]) == wanted), None)


def target(text, value, bound, at_least=True, unit="x"):
    """One line of the check. `by` is how many times better than asked, below 1 if not met."""
    met = None if value is None else (value >= bound if at_least else value <= bound)
    by = None if not value else (value / bound if at_least else bound / value)
    return {"text": text, "wanted": f"{'>=' if at_least else '<='} {bound:g} {unit}".rstrip(),
            "value": value, "unit": unit, "met": met, "by": by}


def check_targets(rows, loss):
    """What was asked of the stack, and what was measured. A ratio is to the better of kernel TCP
    spinning and blocking where the line says "kernel TCP", else to spinning kernel TCP."""
    def get(row, key):
        return row and row.get(key)

    stream = find(rows, "memif", "stream", 64 * 1024)
    small = find(rows, "memif", "stream", 64)
    rr = find(rows, "memif", "rr", 64)
    nd = get(rr, "nd") or {}
    tail = times_better(nd.get("p99_us"), nd.get("median"), False)
    out = [
        target("memif, stream 64 KiB: share of the raw limit", get(stream, "share"), 0.5, unit=""),
        target("memif, stream 64 KiB: to kernel TCP over loopback", get(stream, "ratio_best"), 1.6),
        target("memif, stream of 64 B writes: to kernel TCP over loopback",
               get(small, "ratio_best"), 20),
        target("memif, ping-pong 64 B: to spinning kernel TCP", get(rr, "ratio_spinning"), 6),
        target("memif, ping-pong 64 B: median", nd.get("median"), 2.2, False, "us"),
        target("memif, ping-pong 64 B: p99 to the median", tail, 2, False),
        target("memif, pipeline 64 B, depth 32: to spinning kernel TCP",
               get(find(rows, "memif", "pipeline", 64, 32), "ratio_spinning"), 3),
        target("memif, pipeline 64 B, depth 256: to spinning kernel TCP",
               get(find(rows, "memif", "pipeline", 64, 256), "ratio_spinning"), 1.2),
        target("af_xdp, pipeline 64 B, depth 256: to spinning kernel TCP over the same veth",
               get(find(rows, "af_xdp", "pipeline", 64, 256), "ratio_spinning"), 1),
    ]

    def at_one_percent(way, key):
        point = next((p for p in loss.get(way, []) if p["loss"] == 0.01), None)
        return point and point[key]

    nd_way = "nd_af_xdp" if loss.get("nd_af_xdp") else "nd_af_packet"
    for key, what in (("median", "goodput"), ("retained", "what is left of the goodput")):
        ratio = times_better(at_one_percent(nd_way, key), at_one_percent("cubic", key), False)
        out.append(target(f"1 % loss over veth: {what}, to kernel TCP with cubic", ratio, 3))
    return out
