"""A bench's result as text, as JSON, and in docs/performance.md."""

import datetime
import json
import os
import platform
import re
import subprocess
from pathlib import Path

from figures import STAGES
from processes import ROOT, Failed
from shapes import QUICK

DOCS = ROOT / "docs"
METERED_SHAPES = {(s.mode, s.size, s.connections, s.depth) for s in QUICK}
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def number(value):
    """Three figures."""
    if value is None:
        return "-"
    for bound, digits in ((100, 0), (10, 1), (1, 2), (0.1, 3)):
        if abs(value) >= bound:
            return f"{value:,.{digits}f}"
    return "0" if value == 0 else f"{value:.2g}" if abs(value) < 0.01 else f"{value:.4f}"


def times(value):
    return "-" if value is None else f"{number(value)}x"


def percent(value):
    return "-" if value is None else f"{value:.0%}"


def with_spread(found):
    if not found or found["median"] is None:
        return "-"
    wide = found["spread"]
    return number(found["median"]) + ("" if wide is None else f" ±{wide:.0%}")


def cycles(ends, per):
    """What a packet or a byte costs, at the client + at the server."""
    if not ends:
        return "-"
    return " + ".join(number(sum(ends[end][per].values())) if end in ends else "-"
                      for end in ("client", "server"))


# ------------------------------------------------------------------------------------------ tables
#
# A table is (title, head, rows of cells, number of columns that are text).


def transport_tables(result):
    out = []
    for transport in dict.fromkeys(r["transport"] for r in result["rows"]):
        rows = [r for r in result["rows"] if r["transport"] == transport]
        ways = list(rows[0]["kernel"])
        titles = [result["kernel_ways"][way] for way in ways]
        over = "loopback" if transport == "memif" else "the same veth"
        body = [[r["shape"], r["unit"], with_spread(r["nd"]),
                 *[with_spread(r["kernel"][way]) for way in ways],
                 times(r["ratio_spinning"]), times(r["ratio_best"]),
                 with_spread(r["limit"]), percent(r["share"]),
                 cycles(r["cycles"], "packet"), cycles(r["cycles"], "byte")] for r in rows]
        head = ["shape", "unit", "ND", *titles, "ND/spinning", "ND/best", "limit", "of limit",
                "cycles/packet", "cycles/byte"]
        out.append((f"ND over {transport}, kernel TCP over {over}", head, body, 2))
    return out


def limit_table(result):
    body = [[limit["transport"], limit["shape"], limit["unit"], with_spread(limit)]
            for limit in result["limits"]]
    return [("Raw limits: no protocol", ["transport", "shape", "unit", "limit"], body, 3)] \
        if body else []


def stage_tables(result):
    out = []
    for per in ("packet", "byte"):
        body = []
        for r in result["rows"]:
            # The JSON has them all.
            if (r["mode"], r["size"], r["connections"], r["depth"]) not in METERED_SHAPES:
                continue
            for end, found in r["cycles"].items():
                body.append([r["transport"], r["shape"], end,
                             *[number(found[per][stage]) for stage in STAGES],
                             number(sum(found[per].values()))])
        if body:
            out.append((f"ND: TSC cycles a {per} by stage",
                        ["transport", "shape", "end", *STAGES, "all"], body, 3))
    return out


def loss_table(result):
    ways = {way: points for way, points in result["loss"].items()
            if any(p["median"] is not None for p in points)}
    if not ways:
        return []
    losses = [p["loss"] for p in next(iter(ways.values()))]
    titles = {"nd_memif": "ND, memif, --fault", "nd_af_xdp": "ND, af_xdp",
              "nd_af_packet": "ND, af_packet", "cubic": "TCP cubic", "bbr": "TCP bbr"}
    body = [[titles[way],
             *[f"{with_spread(p)} ({percent(p['retained'])})" for p in points]]
            for way, points in ways.items()]
    head = ["Gbit/s (of that at no loss)", *[f"{loss:.1%} lost" for loss in losses]]
    return [("Goodput of one stream when frames are lost; over veth but for memif", head, body, 1)]


def mixed_table(result):
    found = result.get("mixed", [])
    if not found:
        return []
    def cell(row, what):
        return f"{number(row[what])} ({times(row[f'{what}_times'])})"
    body = [[r["title"], str(r["streams"]), *[cell(r, what) for what in ("p50", "p99", "p99_9")],
             f"{number(r['gbps'])} ({percent(r['kept'])})"] for r in found]
    head = ["ping-pong 64 B beside streams", "streams", "p50 us (to alone)", "p99 us", "p99.9 us",
            "streams, Gbit/s (of alone)"]
    return [("Isolation: one ping-pong beside streams of 64 KiB writes, each host on one core",
             head, body, 1)]


def tool_table(result):
    body = [[c["text"], c["unit"], number(c["tool"]), number(c["peer"]), times(c["ratio"]),
             "no" if c["fair"] else "YES"] for c in result["tools"]]
    head = ["beside", "unit", "tool", "our kernel TCP peer", "peer/tool", "peer is slow"]
    return [("Is our kernel TCP peer slow?", head, body, 2)] if body else []


def target_table(result):
    body = []
    for t in result["targets"]:
        met = "not measured" if t["met"] is None else "met" if t["met"] else "NOT MET"
        measured = "-" if t["value"] is None else f"{number(t['value'])} {t['unit']}".rstrip()
        body.append([t["text"], t["wanted"], measured, met, times(t["by"])])
    return [("Targets", ["target", "wanted", "measured", "", "of what was asked"], body, 1)]


def tables(result):
    return [*transport_tables(result), *limit_table(result), *stage_tables(result),
            *mixed_table(result), *loss_table(result), *tool_table(result), *target_table(result)]


# ------------------------------------------------------------------------------------- as text


def text_table(table):
    title, head, body, left = table
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    lines = ["  ".join(c.ljust(w) if i < left else c.rjust(w)
                       for i, (c, w) in enumerate(zip(line, widths))).rstrip()
             for line in [head, *body]]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join([title, "", *lines, ""])


def markdown_table(table):
    title, head, body, left = table
    rule = [":--" if i < left else "--:" for i in range(len(head))]
    lines = ["| " + " | ".join(line) + " |" for line in [head, rule, *body]]
    return "\n".join([f"### {title}", "", *lines, ""])


def notes(result):
    how = f"{result['turns']} runs of {result['duration_s']:g} s each, in turns"
    if result["loss"]:
        how += f" (under loss {result['loss_turns']} of {result['loss_duration_s']:g} s)"
    m = result["machine"]
    out = [f"Medians of {how}; ± is the farthest run's distance from the median.",
           f"{m['date']}, commit {m['commit']}. {m['cpu']}, {m['cpus']} CPUs, "
           f"{m['memory_gib']} GiB{', a virtual machine' if m['virtual'] else ''}; "
           f"{m['system']}, Linux {m['kernel']}, DPDK {m['dpdk']}; "
           f"{'hugepages' if m['hugepages'] else 'no hugepages'}. Other processes took "
           f"{result['others_cpu']:.0%} of the CPUs meanwhile."]
    if not result["complete"]:
        out.append("The run was interrupted: figures are of what was done by then.")
    if result["quick"]:
        out.append("A quick run: few and short measurements.")
    out += [f"Left out: {what}." for what in result["left_out"]]
    failed = [f"{way}, {shape}: {count}" for (way, shape), count in failures(result).items()]
    return out + ([f"Failed runs: {'; '.join(failed)}."] if failed else [])


def failures(result):
    counts = {}
    for failure in result["failures"]:
        key = (failure["way"], failure["shape"])
        counts[key] = counts.get(key, 0) + 1
    return counts


def text(result):
    return "\n".join([*map(text_table, tables(result)), *notes(result)])


def markdown(result):
    parts = ["\n".join(f"{note}\n" for note in notes(result)),
             "![Figures of the last run](performance.svg)\n", *map(markdown_table, tables(result))]
    return "\n".join(parts)


# ----------------------------------------------------------------------------------------- files


def rounded(value):
    """Five figures say all that a run can; the file stays readable."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(v) for key, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


def write_json(result, file):
    # A single run's figures on one line.
    out = json.dumps(rounded(result), indent=1)
    out = re.sub(r"\[\s+([^][{}]*?)\s+\]",
                 lambda m: "[" + re.sub(r"\s*\n\s*", " ", m[1]) + "]", out)
    Path(file).write_text(out + "\n", encoding="utf-8")


def replaced(page, result):
    """The page with its generated part made anew."""
    begin, end = page.find(BEGIN), page.find(END)
    if begin < 0 or end < begin:
        raise Failed(f"docs/performance.md has no {BEGIN} ... {END}")
    return f"{page[:begin]}{BEGIN}\n\n{markdown(result)}\n{page[end:]}"


def write_docs(result, folder=DOCS):
    import chart  # matplotlib is not needed without it
    page = folder / "performance.md"
    write_json(result, folder / "performance.json")
    # From what was written, so that it can be made again.
    kept = json.loads((folder / "performance.json").read_text(encoding="utf-8"))
    page.write_text(replaced(page.read_text(encoding="utf-8"), kept), encoding="utf-8")
    chart.write(kept, folder / "performance")


# --------------------------------------------------------------------------------------- machine


def said(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "?"


def machine(cpus, hugepages):
    info = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    model = re.search(r"^model name\s*:\s*(.*)$", info, re.M)
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    family = re.search(r"^cpu family\s*:\s*(\d+)$", info, re.M)
    cpu = model[1].strip() if model else platform.machine()
    if family:
        cpu += f" (family {family[1]})"
    return {"date": datetime.date.today().isoformat(),
            "commit": said("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"),
            "cpu": cpu, "cpus": os.cpu_count(), "used_cpus": cpus,
            "virtual": " hypervisor " in info, "memory_gib": round(memory / 2**30),
            "system": release.get("PRETTY_NAME", platform.system()), "kernel": platform.release(),
            "dpdk": said("pkg-config", "--modversion", "libdpdk"), "hugepages": hugepages}
