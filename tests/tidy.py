#!/usr/bin/env python3
"""Keeps the tree to its own rules: layers, time, self-contained headers, formatting, file lists.

    tests/tidy.py [--build DIR]     check; one `file:line: message` per finding, then a count
    tests/tidy.py --self-test       plant each kind of mistake in a copy and see that it is found
    tests/tidy.py --write-lists     rewrite the file lists in the meson.build files from the tree

The compiler and its flags are read from DIR/compile_commands.json (default DIR: build).
Exit: 0 nothing found, 1 findings, 2 usage.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

# ------------------------------------------------------------------------------ the rules, as data

# The layer table of the design: a layer may include itself, these, and all that those may include.
MAY_USE = {
    "base": ["nd"],
    "wire": ["base"],
    "channel": ["wire"],
    "vsock": ["wire"],
    "sched": ["base"],
    "dcopy": ["base", "sched"],
    "lcore": ["base", "wire", "channel", "vsock", "sched", "dcopy"],
    "pmd_glue": ["base"],
    "api": ["lcore", "pmd_glue"],
    "nd": [],  # include/nd, the public API
    "apps": ["nd"],
}
FOLDER = {"nd": "include/nd", "apps": "apps", "dcopy": "src/dcopy", "pmd_glue": "src/pmd_glue"}
FOLDER |= {layer: f"src/stack/{layer}" for layer in MAY_USE if layer not in FOLDER}
STACK = set(MAY_USE) - {"nd", "apps"}

# Headers from outside, first match wins: (pattern, what to call it, layers that may include it).
OUTSIDE = [
    # The stack's own data structures, and what they are made of.
    (r"rte_(mbuf|mempool|ring)\w*\.h", "DPDK", STACK),
    (r"rte_(branch_prediction|byteorder|common|compat|config|errno|memcpy|pause|prefetch)\.h",
     "DPDK", STACK),
    (r"rte_(arp|ether|icmp|ip|udp)\.h", "DPDK", {"wire", "lcore", "pmd_glue"}),
    (r"rte_(hash\w*|fbk_hash|jhash|thash\w*)\.h", "DPDK", {"lcore", "pmd_glue"}),
    # The copy engines' devices.
    (r"rte_(dmadev|eal_memconfig|memory)\.h", "DPDK", {"dcopy", "pmd_glue"}),
    # Devices, the EAL and real time.
    (r"(bus_\w+_driver|ethdev_\w+|rte_\w+)\.h", "DPDK", {"pmd_glue"}),
    (r"isa-l(/\w+)?\.h", "ISA-L", {"base", "wire", "dcopy"}),
    (r"sodium\.h", "libsodium", {"channel", "pmd_glue", "api", "apps"}),
    (r"toml\+\+/.*|toml\.hpp", "toml++", {"base", "api"}),
    (r"fmt/.*", "fmt", STACK | {"apps"}),
    (r"CLI/.*", "CLI11", {"apps"}),
    (r"nlohmann/.*", "nlohmann/json", {"apps"}),
    (r"boost/.*", "Boost", {"nd"}),  # in ONLY_BOOST
    (r"\w*intrin\.h", "intrinsics", STACK),
    (r"(assert|errno|limits|signal|stdarg|stdbool|stddef|stdint|stdio|stdlib|string|time)\.h|\w+",
     "the standard library", set(MAY_USE)),
    (r".*\.h", "the operating system", {"pmd_glue", "api", "apps"}),
]
ONLY_BOOST = "include/nd/asio.hpp"

CLOCKS = (r"\b(system_clock|high_resolution_clock|gettimeofday|timespec_get|__rdtscp?|_rdtsc)\b"
          r"|\brte_(rdtsc\w*|get_tsc\w*|get_timer\w*)|\btime\s*\(\s*(nullptr|NULL|0|&)")
APP_CLOCKS = r"\b(steady_clock|clock_gettime)\b"
SLEEPS = (r"\b(sleep_for|sleep_until|usleep|nanosleep|clock_nanosleep|sleep|epoll_wait)\s*\("
          r"|\brte_delay_\w+")
APP_WAITS = r"(?<!\w)::\s*p?(poll|select)\s*\("
RANDOM = r"\b(random_device|getrandom|getentropy|s?rand|rte_rand\w*|randombytes_\w+)\b"

# (folder, folders inside it that are exempt, pattern, message)
FORBIDDEN = [
    (("src", "include"), ("src/pmd_glue",), f"{CLOCKS}|{APP_CLOCKS}",
     "reads a clock: time is an argument below pmd_glue"),
    (("src", "include"), ("src/pmd_glue",), f"{SLEEPS}|{APP_WAITS}", "sleeps outside pmd_glue"),
    (("src", "include"), ("src/pmd_glue",), RANDOM,
     "reads a random device outside pmd_glue: pass a seed in"),
    (("apps",), (), CLOCKS, "an app reads steady_clock and no other clock"),
    (("apps",), (), SLEEPS, "an app waits in poll(2), it does not sleep"),
    (("apps",), (), r"\bs?rand\s*\(", "unseeded randomness in an app"),
    (("tests",), ("tests/e2e", "tests/bench"), SLEEPS, "a test sleeps"),
]
LAST_WORDS = r"\b(?:TODO|FIXME|XXX|HACK)\b"
COLUMNS = 100
LINES = 500

# What is listed where: (meson.build, start of the list, folder, pattern). A file belongs to the
# list whose folder is nearest to it.
LISTS = [("src/meson.build", f"{layer}_sources = files(", FOLDER[layer], "**/*.cpp")
         for layer in MAY_USE if layer in STACK]
LISTS += [
    ("include/meson.build", "install_headers(", "include/nd", "*"),
    ("tests/meson.build", "unit_tests = files(", "tests/unit", "**/*_test.cpp"),
    ("tests/meson.build", "apps_unit_tests = files(", "tests/unit/apps", "**/*_test.cpp"),
    ("tests/meson.build", "e2e_tests = files(", "tests/e2e", "*_test.cpp"),
    ("tests/meson.build", "sim_sources = files(", "tests/sim", "*.cpp"),
    ("tests/meson.build", "sim_tests = files(", "tests/sim/self", "*_test.cpp"),
    ("tests/meson.build", "script_sources = files(", "tests/script/support", "*.cpp"),
    ("tests/meson.build", "script_tests = files(", "tests/script", "*_test.cpp"),
    ("tests/meson.build", "sim_recovery_tests = files(", "tests/sim/recovery", "*_test.cpp"),
    ("tests/meson.build", "sim_control_tests = files(", "tests/sim/control", "*_test.cpp"),
    ("tests/meson.build", "model_sources = files(", "tests/model", "*.cpp"),
    ("tests/meson.build", "model_tests = files(", "tests/model/self", "*_test.cpp"),
    ("tests/meson.build", "threads_tests = files(", "tests/threads", "*_test.cpp"),
]

CLANG_FORMAT = "14"  # other versions format differently
INCLUDE_DIRS = ("include", "src/stack", "src")

# ----------------------------------------------------------------------------------------- the tree


class Tree:
    """The C++ files under a root, and the findings about them."""

    def __init__(self, root):
        self.root = pathlib.Path(root).resolve()
        self.findings = set()
        self.files = sorted(
            path.relative_to(self.root).as_posix()
            for top in ("include", "src", "apps", "tests")
            for path in (self.root / top).rglob("*")
            if path.suffix in (".cpp", ".hpp", ".h", ".def") and path.is_file()
            and "third_party" not in path.parts)
        self.text = {f: (self.root / f).read_text(encoding="utf-8") for f in self.files}

    def find(self, file, line, message):
        self.findings.add((file, line, message))

    def headers(self, *tops):
        return [f for f in self.files
                if f.endswith((".hpp", ".h")) and f.split("/")[0] in tops]


def layer_of(file):
    return next((l for l, folder in FOLDER.items() if file.startswith(folder + "/")), None)


def closure(layer):
    seen, todo = set(), [layer]
    while todo:
        seen.add(now := todo.pop())
        todo += [below for below in MAY_USE[now] if below not in seen]
    return seen


TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"([^(\n]*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])*'", re.S)


def code_only(text, strings=True):
    """The text, comments (and, unless `strings`, literals) blanked; lines stay where they are."""
    def blank(match):
        token = match.group()
        return token if strings and token[0] != "/" else re.sub(r"[^\n]", " ", token)
    return TOKEN.sub(blank, text)


def lines(text):
    return enumerate(text.split("\n"), 1)


# --------------------------------------------------------------------------------------- the checks


def check_layers(tree):
    include = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')
    for file in tree.files:
        layer = layer_of(file)
        if layer is None:
            if file.startswith(("src/", "include/")):
                tree.find(file, 1, "belongs to no layer: see the table in tests/tidy.py")
            continue
        allowed = closure(layer)
        for number, line in lines(code_only(tree.text[file])):
            if not (match := include.match(line)):
                continue
            name = match.group(1)
            if target := resolve(tree, file, name):
                if layer_of(target) not in allowed:
                    tree.find(file, number, f"layer {layer} may not include {target}")
                continue
            what, layers = next(
                ((what, layers) for pattern, what, layers in OUTSIDE
                 if re.fullmatch(pattern, name)),
                ("an unknown library", set()))
            if layer not in layers or (what == "Boost" and file != ONLY_BOOST):
                tree.find(file, number, f"layer {layer} may not include <{name}> ({what})")


def resolve(tree, file, name):
    """The file in the tree that an #include in `file` means, or None."""
    top = ("apps",) if file.startswith("apps/") else ()
    for folder in (os.path.dirname(file), *INCLUDE_DIRS, *top):
        candidate = os.path.normpath(os.path.join(folder, name))
        if candidate in tree.text:
            return candidate
    return None


def check_forbidden(tree):
    rules = [(tops, exempt, re.compile(pattern), message)
             for tops, exempt, pattern, message in FORBIDDEN]
    for file in tree.files:
        mine = [(pattern, message) for tops, exempt, pattern, message in rules
                if file.split("/")[0] in tops and not any(file.startswith(e + "/") for e in exempt)]
        for number, line in lines(code_only(tree.text[file], strings=False)):
            for pattern, message in mine:
                if match := pattern.search(line):
                    tree.find(file, number, f"`{match.group().strip()}`: {message}")


def check_text(tree):
    for file in tree.files:
        text = tree.text[file]
        if file.endswith((".hpp", ".h")):
            if not re.match(r"// \S", text):
                tree.find(file, 1, "a header starts with a one-line comment that says what it is")
            if not re.search(r"^#pragma once$", text, re.M):
                tree.find(file, 1, "no #pragma once")
        count = text.count("\n")
        if count > LINES:
            tree.find(file, count, f"{count} lines, more than {LINES}: one concept, one file")
        if text and not text.endswith("\n"):
            tree.find(file, count + 1, "no newline at the end")
        for number, line in lines(text):
            if match := re.search(LAST_WORDS, line):
                tree.find(file, number, f"{match.group()}: do it, or write an issue")
            if "\t" in line:
                tree.find(file, number, "a tab")
            if line != line.rstrip():
                tree.find(file, number, "blanks at the end of the line")
            # A .def is a table: a row is a line.
            if len(line) > COLUMNS and not file.endswith(".def"):
                tree.find(file, number, f"{len(line)} columns, more than {COLUMNS}")


def check_format(tree):
    tool = shutil.which(f"clang-format-{CLANG_FORMAT}") or shutil.which("clang-format")
    version = tool and subprocess.run([tool, "--version"], capture_output=True, text=True).stdout
    if not re.search(rf"version {CLANG_FORMAT}\.", version or ""):
        print(f"note: no clang-format {CLANG_FORMAT}, formatting is not checked", file=sys.stderr)
        return False
    files = [f for f in tree.files if not f.endswith(".def")]
    run = subprocess.run([tool, "--dry-run", *files], cwd=tree.root, capture_output=True,
                         text=True)
    # One finding a file: the cure is one command.
    ugly = {}
    for match in re.finditer(r"^(.+?):(\d+):\d+: (?:warning|error): code", run.stderr, re.M):
        ugly.setdefault(match[1], []).append(int(match[2]))
    for file, where in ugly.items():
        tree.find(file, where[0], f"{len(where)} places not formatted: clang-format -i {file}")
    if run.returncode != 0:
        tree.find(".clang-format", 1, f"clang-format failed: {run.stderr.strip()[:200]}")
    return True


def listed(tree, list_):
    """(meson.build's text, span of the list's own lines, files that should stand there)."""
    meson, start, folder, pattern = list_
    path = tree.root / meson
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    # Up to the closing bracket or the first keyword argument.
    match = re.search(rf"^{re.escape(start)}\n((?:  '[^'\n]*',\n)*)", text, re.M)
    base = (tree.root / meson).parent
    nearer = [tree.root / other for _, _, other, _ in LISTS if other.startswith(folder + "/")]
    wanted = sorted(path.relative_to(base).as_posix()
                    for path in (tree.root / folder).glob(pattern)
                    if path.is_file() and not any(path.is_relative_to(n) for n in nearer))
    return text, match, wanted


def check_lists(tree):
    for list_ in LISTS:
        text, match, wanted = listed(tree, list_)
        meson, start = list_[:2]
        if not match:
            tree.find(meson, 1, f"no list `{start}`")
            continue
        line = text.count("\n", 0, match.start(1)) + 1
        have = re.findall(r"'(.*)'", match[1])
        for name in wanted:
            if name not in have:
                tree.find(meson, line, f"{name} is not in `{start}`: tests/tidy.py --write-lists")
        for name in have:
            if name not in wanted:
                tree.find(meson, line + have.index(name), f"{name} does not belong in `{start}`")


def write_lists(tree):
    """Makes each list what the tree says; returns what was changed."""
    changed = []
    for list_ in LISTS:
        text, match, wanted = listed(tree, list_)
        if not match:
            sys.exit(f"tidy: no list `{list_[1]}` in {list_[0]}")
        body = "".join(f"  '{name}',\n" for name in wanted)
        new = text[:match.start(1)] + body + text[match.end(1):]
        if new != text:
            (tree.root / list_[0]).write_text(new, encoding="utf-8")
            changed.append(f"{list_[0]}: {list_[1]} {len(wanted)} files )")
    return changed


def check_headers(tree, build):
    """Each header compiles by itself, with the flags of the sources beside it."""
    database = build / "compile_commands.json"
    try:
        entries = json.loads(database.read_text(encoding="utf-8"))
    except OSError as error:
        tree.find(str(database), 1, f"can't be read ({error.strerror}): run scripts/build first")
        return
    jobs = []
    for header in tree.headers("include", "src", "apps"):
        command, folder = flags_for(tree, header, entries)
        if command is None:
            top = header.split("/")[0]
            tree.find(str(database), 1, f"has no source under {top}/: its headers are not checked")
        else:
            jobs.append((header, command, folder))
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(lambda job: compile_alone(tree, *job), jobs))


def flags_for(tree, header, entries):
    """The command (without files) that compiles a header's neighbour, and where to run it."""
    def shared(entry):
        source = os.path.join(entry["directory"], entry["file"])
        source = os.path.relpath(os.path.normpath(source), tree.root)
        return len(os.path.commonpath([header, source]).split("/")) \
            if source.split("/")[0] == header.split("/")[0] else 0

    # The public API has no source beside it: it must do with nothing but include/.
    public = header.startswith("include/")
    entry = max(entries, key=lambda e: 1 if public else shared(e), default=None)
    if entry is None or not (public or shared(entry)):
        return None, None
    words = entry.get("arguments") or shlex.split(entry["command"])
    compiler = words[:next(i for i, word in enumerate(words) if i and word.startswith("-"))]
    if public:
        return [*compiler, "-std=c++20", f"-I{tree.root / 'include'}"], entry["directory"]
    flags, skip = [], False
    for word in words[len(compiler):]:
        if skip:
            skip = False
        elif word in ("-o", "-MF", "-MQ", "-MT"):
            skip = True
        elif word not in ("-c", "-MD", entry["file"]) and not word.startswith("-fsanitize"):
            flags.append(word)
    return [*compiler, *flags], entry["directory"]


def compile_alone(tree, header, command, folder):
    run = subprocess.run([*command, "-w", "-fsyntax-only", "-x", "c++", "-"], cwd=folder,
                         input=f'#include "{tree.root / header}"\n', capture_output=True, text=True)
    if run.returncode == 0:
        return
    match = re.search(r"^(.+?):(\d+):\d+: (?:fatal )?error: (.*)$", run.stderr, re.M)
    if not match:
        tree.find(header, 1, f"does not compile by itself: {run.stderr.strip()[:200]}")
        return
    where = os.path.relpath(os.path.join(folder, match[1]), tree.root)
    line = int(match[2]) if where == header else 1
    note = "" if where == header else f" (at {where}:{match[2]})"
    tree.find(header, line, f"does not compile by itself: {match[3]}{note}")


def check(root, build):
    """All checks; returns the tree with its findings, and whether formatting was checked."""
    tree = Tree(root)
    if not tree.headers("include") or not tree.headers("src"):
        tree.find("include", 1, "no headers here: this is not the tree that should be checked")
    check_layers(tree)
    check_forbidden(tree)
    check_text(tree)
    check_lists(tree)
    check_headers(tree, pathlib.Path(build).resolve())
    formatted = check_format(tree)
    return tree, formatted


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    root = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--build", default=root / "build", type=pathlib.Path, metavar="DIR")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--write-lists", action="store_true")
    args = parser.parse_args()
    if args.self_test:
        import tidy_selftest
        return tidy_selftest.run(os.environ.get("CXX", "c++"))
    if args.write_lists:
        for changed in write_lists(Tree(root)):
            print(changed)
        return 0
    tree, _ = check(root, args.build)
    for file, line, message in sorted(tree.findings):
        print(f"{file}:{line}: {message}")
    print(f"{len(tree.findings)} findings in {len(tree.files)} files")
    return 1 if tree.findings else 0


if __name__ == "__main__":
    sys.exit(main())
