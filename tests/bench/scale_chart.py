"""The predictions of scripts/scale-model as a chart, SVG and PNG. Needs matplotlib."""

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "ndstack"  # the same figures make the same file
from matplotlib import pyplot  # noqa: E402

COLORS = {0: "#7f8c8d", 1: "#9cc4ec", 2: "#4a90d9", 4: "#1f5fa8", 8: "#0b2f5b"}


def write(result, prefix):
    """PREFIX.svg and PREFIX.png: a column for each link, a row for one socket and for many."""
    cases = [c for c in result["cases"] if c["mtu"] == 9000 and c["where"] == "apart"]
    rates = sorted({c["gbps"] for c in cases})
    counts = sorted({c["sockets"] for c in cases})
    figure, axes = pyplot.subplots(len(counts), len(rates), figsize=(12, 7), squeeze=False)
    for row, sockets in enumerate(counts):
        for column, gbps in enumerate(rates):
            one = axes[row][column]
            those = [c for c in cases if c["gbps"] == gbps and c["sockets"] == sockets]
            for dcopy in sorted({c["dcopy"] for c in those}):
                points = sorted((c["io"], c["predicted"]["gbps"]) for c in those
                                if c["dcopy"] == dcopy)
                one.plot(*zip(*points), color=COLORS[dcopy], marker="o", ms=4,
                         label=f"{dcopy} dcopy lcores")
            one.axhline(gbps, color="#c0392b", lw=1, ls=":")
            one.set_xscale("log", base=2)
            ticks = sorted({c["io"] for c in those})
            one.set_xticks(ticks, [str(t) for t in ticks])
            one.set_ylim(0, gbps * 1.08)
            name = "one socket" if sockets == 1 else f"{sockets} sockets"
            one.set_title(f"{name}, {gbps} Gbit/s", fontsize=10)
            one.set_xlabel("io lcores of each host", fontsize=8)
            one.set_ylabel("Gbit/s, predicted", fontsize=8)
    axes[0][0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(f"{prefix}.svg", metadata={"Date": None})
    figure.savefig(f"{prefix}.png", dpi=100, metadata={"Software": None})
    pyplot.close(figure)
