#!/usr/bin/env python3
"""Tests libndstack on PCI NICs: two virtual machines, joined NIC by NIC.

scripts/vm-test builds what this runs. Each guest is a Debian kernel and an initramfs with busybox,
nd-echo, nd-cat and DPDK's drivers. Its NICs are bound to uio_pci_generic, its hugepages are real,
and DPDK drives the NICs by PCI and DMA as it would on iron. The processors are emulated (TCG), so
the figures say that it works, not how fast it is. Both guests boot once, and all tests run in them,
one at a time.

The NIC virtio-mq has four queue pairs, of which libndstack uses one. Its two ends are taps on a
bridge, in a network namespace of this program's own, which needs root or user namespaces.
"""

import argparse
import contextlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cases
import guests
import image

ROOT = Path(__file__).resolve().parents[2]
NICS = [
    guests.Nic("virtio", "virtio-net-pci", 4),
    guests.Nic("e1000e", "e1000e", 5),
    guests.Nic("vmxnet3", "vmxnet3", 6),
    guests.Nic("virtio-mq", "virtio-net-pci,mq=on,rss=on,hash=on,vectors=10", 7, tap_queues=4),
]


def arguments():
    parser = argparse.ArgumentParser(prog="vm-test", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [n.name for n in NICS]
    parser.add_argument("--nic", action="append", choices=names,
                        help=f"only this one; may be repeated ({', '.join(names)})")
    parser.add_argument("--encap", action="append", choices=["ip", "udp"], help="only this one")
    parser.add_argument("--duration", type=float, default=0.5, metavar="SECONDS",
                        help="how long nd-echo measures in each mode (default 0.5)")
    parser.add_argument("--cpus", type=int, default=1, metavar="N",
                        help="processors of a guest (default 1; the program uses one)")
    parser.add_argument("--keep", action="store_true",
                        help="keep what the guests said, and print where")
    parser.add_argument("--build", default=ROOT / "build", metavar="DIR", type=Path,
                        help="the build to test (default build)")
    parser.add_argument("--own-namespace", action="store_true", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if not 0 < a.duration <= 10:
        parser.error("--duration: more than 0 and at most 10")
    if not 1 <= a.cpus <= 8:
        parser.error("--cpus: 1 to 8")
    return a


def into_own_namespace():
    """Starts this program again in a network namespace; comes back where that can't be."""
    unshare = ["unshare", "--net"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    try:
        subprocess.run([*unshare, "true"], check=True, timeout=10, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return
    os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv, "--own-namespace"])


def pluggable(nics, explicit, in_namespace):
    """The NICs that can be had here; the taps of those are there when it returns."""
    out = []
    for nic in nics:
        if nic.tap_queues:
            why = None if in_namespace else "no network namespace of our own"
            if why is None:
                try:
                    nic.plug()
                except (OSError, subprocess.SubprocessError) as e:
                    why = str(getattr(e, "stderr", None) or e).strip()
            if why is not None:
                if explicit:
                    raise image.Missing(f"{nic.name}: {why}")
                print(f"{nic.name}: left out, {why}", flush=True)
                continue
        out.append(nic)
    return out


def prepare(pair):
    """Waits for the guests, gives each a file to send, and returns the files' sums."""
    sums = []
    for guest in pair:
        guest.wait_ready()
        guest.start(f"head -c {cases.DATA_BYTES} /dev/urandom >{cases.DATA}; "
                    f"sha256sum <{cases.DATA}", 60)
    for guest in pair:
        answer = guest.answer()
        if answer.code != 0:
            raise guests.Broken(f"guest {guest.number} cannot make its file: {answer.err}")
        sums.append(answer.out.split()[0])
    return sums


def run_case(case, nic, encap, pair, sums, duration):
    server, client = pair
    listen, connect = case.commands(nic, encap, duration)
    server.start(listen, cases.SECONDS)
    client.start(connect, cases.SECONDS)
    seen = case.during(nic, server) if hasattr(case, "during") else None
    of_client = client.answer()
    if of_client.code != 0:
        server.stop()
    of_server = server.answer()
    outcome = case.judge(encap, of_server, of_client, sums)
    if seen:
        outcome.problems += seen.problems
        outcome.figures = seen.figures
    if outcome.problems:
        for who, answer in (("server", of_server), ("client", of_client)):
            # Of nd-echo's counters those that have counted.
            said = re.sub(r'"\w+":0,?', "", answer.out) + "\n" + answer.err
            for line in said.strip().splitlines()[-20:]:
                print(f"    {who}: {line[:1500]}")
    return outcome


def row(*columns):
    print("{:<10} {:<5} {:<34} {:<7} {:>5}  {}".format(*columns).rstrip(), flush=True)


def run_all(options, pair, nics, sums):
    passed = failed = 0
    row("NIC", "encap", "test", "result", "s", "")
    plan = [(case, nic, encap) for nic in nics for encap in options.encap or ["ip", "udp"]
            for case in cases.CASES]
    plan += [(cases.Queues(), nic, "udp") for nic in nics if nic.tap_queues]
    plan += [(case, nics[0], "ip") for case in cases.spoilt_cases()]
    for n, (case, nic, encap) in enumerate(plan):
        began = time.monotonic()
        try:
            outcome = run_case(case, nic, encap, pair, sums, options.duration)
        except guests.Broken as e:
            row(nic.name, encap, case.name, "FAILED", f"{time.monotonic() - began:.1f}", str(e))
            left = len(plan) - n - 1
            print(f"vm-test: a guest is gone; {left} more tests could not run")
            return passed, failed + 1 + left
        if outcome.problems:
            failed += 1
        else:
            passed += 1
        row(nic.name, encap, case.name, "FAILED" if outcome.problems else "passed",
            f"{time.monotonic() - began:.1f}",
            "; ".join(outcome.problems) or outcome.figures)
    return passed, failed


def run(options):
    nics = [n for n in NICS if not options.nic or n.name in options.nic]
    build = options.build.resolve()
    # Before the namespace, which has no network to download anything from.
    kernel, modules = image.kernel(build / "vm")
    if not options.own_namespace and any(n.tap_queues for n in nics):
        into_own_namespace()
    for tool in ("qemu-system-x86_64", "cpio", "setpriv", "ldd", "objdump", "pkg-config"):
        if shutil.which(tool) is None:
            raise image.Missing(f"{tool} is not installed")
    nics = pluggable(nics, bool(options.nic), options.own_namespace)
    folder = Path(tempfile.mkdtemp(prefix="nd-vm-"))
    try:
        initramfs = folder / "initramfs"
        image.initramfs(initramfs, build, modules, ["nd-echo", "nd-cat"])
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            pair = [stack.enter_context(guests.Guest(n, folder, kernel, initramfs, nics,
                                                     options.cpus)) for n in (0, 1)]
            sums = prepare(pair)
            print(f"two guests are up after {time.monotonic() - began:.0f} s\n", flush=True)
            return run_all(options, pair, nics, sums)
    finally:
        if options.keep:
            print(f"vm-test: what the guests said is in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def ended(number, _frame):
    sys.exit(128 + number)


def main():
    options = arguments()
    if platform.machine() != "x86_64":
        sys.exit("vm-test: the guests are x86-64, like the library")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ended)
    try:
        passed, failed = run(options)
    except (image.Missing, guests.Broken) as e:
        print(f"vm-test: {e}")
        passed, failed = 0, 1
    print(f"\n{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
