#!/usr/bin/env python3
"""A fuzzer that cannot fail finds nothing: each fault that is planted must be reported.

    planted.py CORPUS PROGRAM...    the programs of tests/fuzz, without libFuzzer
"""

import os
import pathlib
import subprocess
import sys

# Program, fault, what it must say; the last needs AddressSanitizer.
FAULTS = [
    ("fuzz-parse", "check", "FAILED: planted"),
    ("fuzz-channel", "verdict", "FAILED: a record has no verdict"),
    ("fuzz-channel", "deadline", "FAILED: a silent peer is not asked"),
    ("fuzz-host", "leak", "FAILED: mbufs are missing"),
    ("fuzz-host", "rules", "FAILED: host "),
    ("fuzz-parse", "overread", "heap-buffer-overflow"),
]


def main():
    corpus, programs = pathlib.Path(sys.argv[1]), {pathlib.Path(p).name: p for p in sys.argv[2:]}
    sanitized = "ND_SANITIZED" in os.environ
    wrong = 0
    for name, fault, message in FAULTS:
        if fault == "overread" and not sanitized:
            continue
        inputs = corpus / name.removeprefix("fuzz-")
        run = subprocess.run([programs[name], inputs], env=os.environ | {"ND_FUZZ_PLANT": fault},
                             capture_output=True, text=True, timeout=100)
        found = run.returncode != 0 and message in run.stderr
        # The input that shows it is named, so that it can be played again.
        named = str(inputs) in run.stderr or fault == "overread"
        print(f"{name} {fault}: {'found' if found and named else 'NOT FOUND'}")
        if not (found and named):
            print(f"exit {run.returncode}\n{run.stdout}{run.stderr}")
            wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
