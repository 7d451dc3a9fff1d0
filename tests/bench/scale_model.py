#!/usr/bin/env python3
"""Predicts what libndstack moves with up to 16 io and 8 dcopy lcores on links of 100 to 400 Gbit/s.

The machine that this runs on has two cores, or few more. So the cost of each step is measured here,
on one and two cores, and whole hosts of the stack are played on made cores, each of which is busy
for as long as what it has done costs (tests/model). What the model says of one and two cores is
compared with what they do; beyond 15 % the exit code is 1. docs/scaling.md has the assumptions.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import report
import scaling
from processes import ROOT, Failed, Load

DOCS = ROOT / "docs"
BEGIN, END = "<!-- scale-model:begin -->", "<!-- scale-model:end -->"
ROUNDS = {"one": "one socket", "many": f"{scaling.MANY} sockets"}


def say(text):
    print(f"scale-model: {text}", file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------ text


def table(head, rows, left):
    """A Markdown table; the first `left` columns are text."""
    marks = [":--" if i < left else "--:" for i in range(len(head))]
    return "\n".join("| " + " | ".join(str(c) for c in row) + " |" for row in [head, marks, *rows])


def checks_table(result):
    rows = [(c["what"], f"{c['measured']:.1f}", f"{c['predicted']:.1f}", f"{c['deviation']:+.1%}",
             "" if c["met"] else "BEYOND 15 %") for c in result["checks"]]
    return table(("shape", "measured, Gbit/s", "predicted", "deviation", ""), rows, 1)


def costs_table(result):
    sets = ("inline", "one", *(f"many {mtu}" for mtu in scaling.MTUS), "memif")
    rows = [(f"`{name}`", text, *(f"{result['costs'][s][name]:.4g}" for s in sets))
            for name, text in result["explained"]]
    return table(("cost", "of", "inline", "one socket",
                  *(f"{scaling.MANY}, MTU {mtu}" for mtu in scaling.MTUS), "memif"), rows, 2)


def of(result, **what):
    return [c for c in result["cases"] if all(c[k] == v for k, v in what.items())]


def shown(case):
    p = case["predicted"]
    return f"{p['gbps']:.0f} {short(p['limit'])}"


def short(limit):
    """link, or whose core."""
    words = {"sender's io": "si", "receiver's io": "ri", "sender's application": "sa",
             "receiver's application": "ra", "sender's dcopy": "sd", "receiver's dcopy": "rd",
             "link": "L"}
    for name, letters in words.items():
        if limit.startswith(f"waiting ({name}"):
            return "w:" + letters
        if limit.startswith(name):
            return letters
    return "w"


def result_tables(result):
    out = []
    for mtu in dict.fromkeys(c["mtu"] for c in result["cases"]):
        for sockets in (1, scaling.MANY):
            those = of(result, mtu=mtu, sockets=sockets)
            if not those:
                continue
            name = ROUNDS["one" if sockets == 1 else "many"]
            rows = []
            for gbps in scaling.RATES:
                one = of(result, mtu=mtu, sockets=sockets, gbps=gbps, where="inline")
                for c in one:
                    rows.append((gbps, "inline", shown(c), *[""] * (len(scaling.IO) - 1)))
                for dcopy in sorted({c["dcopy"] for c in those}):
                    line = [of(result, mtu=mtu, sockets=sockets, gbps=gbps, where="apart",
                               dcopy=dcopy, io=io) for io in scaling.IO]
                    rows.append((gbps, dcopy, *(shown(c[0]) if c else "" for c in line)))
            head = ("link, Gbit/s", "dcopy lcores", *(f"{io} io" for io in scaling.IO))
            out.append(f"#### {name}, MTU {mtu}\n\n{table(head, rows, 2)}")
    return "\n\n".join(out)


def text(result):
    m = result["machine"]
    lost = sum(c["predicted"]["lost"] for c in result["cases"])
    parts = [
        f"Measured on {m['date']} at {m['commit']}: {m['cpu']}, {m['cpus']} CPUs, {m['system']}, "
        f"Linux {m['kernel']}, TSC {result['costs']['inline']['hz'] / 1e9:.2f} GHz; the fastest of "
        f"{result['turns']} runs of {result['duration_s']} s each. Other processes took "
        f"{result['others_cpu']:.0%} of the CPUs meanwhile.",
        "### One and two cores: predicted and measured", checks_table(result),
        "### Costs, in TSC cycles", costs_table(result)]
    if result["cases"]:
        parts += [
            "### Predictions: Gbit/s that the receiver's application reads, and what limits them",
            "L link, si sender's io lcore, ri receiver's, sa sender's application, ra receiver's, "
            "sd sender's dcopy lcore, rd receiver's; `w:` nobody is at work all the time, and that "
            f"one most. {lost} frames were lost in all runs together.",
            result_tables(result)]
    return "\n\n".join(parts) + "\n"


def write_docs(result, folder=DOCS):
    import scale_chart  # matplotlib is not needed without it
    page = folder / "scaling.md"
    old = page.read_text(encoding="utf-8")
    begin, end = old.find(BEGIN), old.find(END)
    if begin < 0 or end < begin:
        raise Failed(f"docs/scaling.md has no {BEGIN} ... {END}")
    report.write_json(result, folder / "scaling.json")
    kept = json.loads((folder / "scaling.json").read_text(encoding="utf-8"))
    page.write_text(f"{old[:begin]}{BEGIN}\n\n![Predictions](scaling.svg)\n\n{text(kept)}\n"
                    f"{old[end:]}", encoding="utf-8")
    scale_chart.write(kept, folder / "scaling")


# -------------------------------------------------------------------------------- command line


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/scale-model", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true",
                        help="only measure, and compare one and two cores with the model")
    parser.add_argument("--duration", type=float, default=0.25, metavar="S",
                        help="seconds a run (default 0.25)")
    parser.add_argument("--turns", type=int, default=4, metavar="N",
                        help="runs of each; the fastest counts (default 4)")
    parser.add_argument("--json", metavar="FILE", help="write all figures and the single runs")
    parser.add_argument("--chart", metavar="PREFIX", help="write PREFIX.svg and PREFIX.png")
    parser.add_argument("--write-docs", action="store_true",
                        help="write docs/scaling.md's figures, .json, .svg and .png")
    parser.add_argument("--from", dest="source", metavar="FILE",
                        help="measure nothing: report what --json has written")
    options = parser.parse_args()
    if options.duration <= 0 or options.turns < 1:
        parser.error("--duration must be more than 0, --turns at least 1")
    if options.check and (options.write_docs or options.chart):
        parser.error("--check makes no predictions to draw")
    return options


def explained():
    lines = subprocess.run([scaling.SCALE_MODEL, "--explain"], capture_output=True, text=True,
                           check=True).stdout.splitlines()
    return [line.split("\t") for line in lines]


def measure(options):
    if len(os.sched_getaffinity(0)) < 2:
        raise Failed("takes two CPUs")
    measurement = scaling.Measurement(options.duration, options.turns, say)
    load = Load(measurement.cpus)
    measurement.run()
    result = {"machine": report.machine(measurement.cpus, False), "turns": options.turns,
              "duration_s": options.duration, "others_cpu": load.others(),
              "explained": explained()}
    result["costs"] = scaling.costs_of(measurement.results)
    result["checks"] = scaling.check(measurement.results, result["costs"])
    result["cases"] = [] if options.check else scaling.predict(result["costs"], scaling.grid())
    return result


def main():
    options = arguments()
    try:
        if options.chart or options.write_docs:
            import scale_chart  # before the minutes, not behind them
        if options.source:
            result = json.loads(Path(options.source).read_text(encoding="utf-8"))
        else:
            result = measure(options)
        print(text(result))
        if options.json:
            report.write_json(result, options.json)
        if options.chart:
            scale_chart.write(result, options.chart)
        if options.write_docs:
            write_docs(result)
    except (Failed, OSError, ValueError, ImportError, subprocess.SubprocessError) as error:
        say(f"{error}")
        return 1
    if result["others_cpu"] > 0.05:
        say(f"other processes took {result['others_cpu']:.0%} of these CPUs meanwhile")
    beyond = [c for c in result["checks"] if not c["met"]]
    for c in beyond:
        say(f"{c['what']}: predicted {c['predicted']:.1f} Gbit/s, measured {c['measured']:.1f} "
            f"({c['deviation']:+.1%})")
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
