"""A bench's result as a chart, SVG and PNG. Needs matplotlib (scripts/setup --bench)."""

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "ndstack"  # the same figures make the same file
from matplotlib import pyplot  # noqa: E402

from figures import find  # noqa: E402
from shapes import KIB, WRITES, size_text  # noqa: E402

ND = {"memif": "#1f5fa8", "af_xdp": "#4a90d9", "af_packet": "#9cc4ec"}
TCP = {"tcp_loopback_spinning": ("#c0392b", "TCP, loopback, spinning"),
       "tcp_loopback_blocking": ("#e59866", "TCP, loopback, blocking"),
       "tcp_veth_spinning": ("#7d6608", "TCP, veth, spinning"),
       "tcp_veth_blocking": ("#d4ac0d", "TCP, veth, blocking")}
LIMIT = "#7f8c8d"


def bars(axes, result, mode, size, depth, title, unit):
    """One bar for each way of one shape, and a line where its limit is."""
    entries = []
    for transport, color in ND.items():
        row = find(result["rows"], transport, mode, size, depth)
        if row and row["nd"]:
            limit = row["limit"] and row["limit"]["median"]
            entries.append((f"ND, {transport}", row["nd"]["median"], color, limit))
    for way, (color, name) in TCP.items():
        row = next((r for r in result["rows"] if r["kernel"].get(way)
                    and (r["mode"], r["size"], r["depth"], r["connections"])
                    == (mode, size, depth, 1)), None)
        if row:
            entries.append((name, row["kernel"][way]["median"], color, None))
    for place, (_, value, color, limit) in enumerate(entries):
        axes.barh(place, value, color=color)
        axes.text(value, place, f" {value:.3g}", va="center", fontsize=8)
        if limit:
            axes.plot([limit, limit], [place - 0.45, place + 0.45], color=LIMIT, lw=2.5,
                      label="limit without a protocol" if place == 0 else None)
    axes.set_yticks(range(len(entries)), [e[0] for e in entries], fontsize=8)
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(unit, fontsize=8)
    axes.margins(x=0.15)
    if any(e[3] for e in entries):
        axes.legend(fontsize=7)


def stream_lines(axes, result):
    """Goodput by the size of a write, of one connection."""
    def line(transport, read, label, color, style):
        points = [(size, read(row)) for size in WRITES
                  if (row := find(result["rows"], transport, "stream", size))]
        points = [(size, value) for size, value in points if value]
        if points:
            axes.plot(*zip(*points), style, color=color, label=label, marker="o", ms=4)

    for transport, color in ND.items():
        line(transport, lambda r: r["nd"] and r["nd"]["median"], f"ND, {transport}", color, "-")
        line(transport, lambda r: r["limit"] and r["limit"]["median"], f"limit of {transport}",
             color, ":")
    for way, (color, name) in TCP.items():
        transport = "memif" if "loopback" in way else "af_xdp"
        line(transport, lambda r, way=way: r["kernel"].get(way) and r["kernel"][way]["median"],
             name, color, "--")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(WRITES, [size_text(size) for size in WRITES])
    axes.set_title("stream, one connection, by the size of a write", fontsize=10)
    axes.set_ylabel("Gbit/s", fontsize=8)
    if axes.lines:
        axes.legend(fontsize=6, ncol=2)


def loss_lines(axes, result):
    names = {"nd_memif": ("ND, memif, --fault", ND["memif"]),
             "nd_af_xdp": ("ND, af_xdp", ND["af_xdp"]),
             "nd_af_packet": ("ND, af_packet", ND["af_packet"]),
             "cubic": ("TCP cubic", "#c0392b"), "bbr": ("TCP bbr", "#d4ac0d")}
    for way, points in result["loss"].items():
        shown = [(100 * p["loss"], p["median"]) for p in points if p["median"]]
        if shown:
            label, color = names[way]
            axes.plot(*zip(*shown), color=color, label=label, marker="o", ms=4)
    axes.set_xscale("symlog", linthresh=0.1)
    axes.set_xticks([0, 0.1, 1, 5, 10], ["0", "0.1", "1", "5", "10"])
    axes.set_yscale("log")
    axes.set_title("one stream over veth (and memif), frames lost", fontsize=10)
    axes.set_xlabel("% lost", fontsize=8)
    axes.set_ylabel("Gbit/s", fontsize=8)
    if axes.lines:
        axes.legend(fontsize=7)


def write(result, prefix):
    """PREFIX.svg and PREFIX.png."""
    figure, axes = pyplot.subplots(3, 2, figsize=(12, 12))
    bars(axes[0][0], result, "rr", 64, 1, "ping-pong 64 B, median (less is better)", "µs")
    bars(axes[0][1], result, "pipeline", 64, 32, "pipeline 64 B, depth 32", "million messages/s")
    bars(axes[1][0], result, "pipeline", 64, 256, "pipeline 64 B, depth 256", "million messages/s")
    bars(axes[1][1], result, "stream", 64 * KIB, 1, "stream, writes of 64 KiB", "Gbit/s")
    stream_lines(axes[2][0], result)
    loss_lines(axes[2][1], result)
    figure.tight_layout()
    figure.savefig(f"{prefix}.svg", metadata={"Date": None})
    figure.savefig(f"{prefix}.png", dpi=100, metadata={"Software": None})
    pyplot.close(figure)
