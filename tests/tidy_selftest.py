"""tidy.py's self-test: plants each kind of mistake in a small tree and sees that it is found."""

import json
import pathlib
import shutil
import tempfile

from tidy import FOLDER, INCLUDE_DIRS, LISTS, MAY_USE, Tree, check, write_lists

GOOD_HEADER = "// Good.\n#pragma once\n"

# A small tree without a fault, which walks along the edge of each rule ...
GOOD = {
    "include/nd/nd.hpp": "// Public.\n#pragma once\n\n#include <cstdint>\n#include <span>\n",
    "src/stack/base/a.hpp": GOOD_HEADER + '\n#include <cstdint>\n\n#include "nd/nd.hpp"\n',
    "src/stack/base/a.cpp": "#include \"base/a.hpp\"\n\n#include <rte_mbuf.h>\n"
                            "#include <rte_mempool.h>\n#include <rte_prefetch.h>\n"
                            "#include <rte_ring.h>\n",
    "src/stack/base/near.hpp": GOOD_HEADER + '\n#include "a.hpp"\n',
    "src/stack/base/words.cpp": "// sleep_for(1), time(nullptr), steady_clock: only words here.\n"
                                "/* rand(); */\nconst char* s = \"usleep(1) \\\" getrandom\";\n"
                                "const char* r = R\"x(time(nullptr) \" )\")x\";\n"
                                "int big = 1'000'000;\nint runtime(int x);\n"
                                "int operand = runtime(0);\n",
    "src/stack/lcore/l.cpp": "#include <rte_hash.h>\n\n#include \"base/a.hpp\"\n"
                             "void f(runtime& rt) { rt.poll(); }\n",
    "src/pmd_glue/p.cpp": '#include <rte_ethdev.h>\n#include <unistd.h>\n\n#include "base/a.hpp"\n'
                          "auto t = std::chrono::steady_clock::now();\n"
                          "void f() { usleep(1); }\n",
    "src/stack/api/api.cpp": '#include <sodium.h>\n\n#include "base/a.hpp"\n#include "nd/nd.hpp"\n'
                             '#include "toml++/toml.h"\n',
    "apps/app.cpp": "#include <poll.h>\n\n#include <CLI/CLI.hpp>\n#include <nlohmann/json.hpp>\n\n"
                    "#include \"nd/nd.hpp\"\n"
                    "auto t = std::chrono::steady_clock::now();\nint r = ::poll(nullptr, 0, 1);\n",
    "tests/e2e/x_test.cpp": "void f() { usleep(1); }\n",
}

# ... and the mistakes: (file, its text, line, part of the message). None may go unnoticed, and
# nothing else may be reported.
BAD = [
    ("src/stack/base/up.cpp", '\n#include "wire/w.hpp"\n', 2, "may not include src/stack/wire"),
    ("src/stack/vsock/side.cpp", '#include "channel/c.hpp"\n', 1, "may not include src/stack/c"),
    ("src/stack/vsock/path.cpp", '#include "../channel/c.hpp"\n', 1, "may not include src/stack/c"),
    ("src/stack/sched/s.cpp", '#include "wire/w.hpp"\n', 1, "may not include src/stack/wire"),
    ("src/stack/lcore/glue.cpp", '#include "pmd_glue/p.hpp"\n', 1, "may not include src/pmd_glue"),
    ("src/pmd_glue/wire.cpp", '#include "stack/wire/w.hpp"\n', 1, "may not include src/stack/wire"),
    ("src/dcopy/d.cpp", '#  include "lcore/l.hpp"\n', 1, "may not include src/stack/lcore"),
    ("src/stack/base/eal.cpp", "#include <rte_eal.h>\n", 1, "may not include <rte_eal.h> (DPDK)"),
    ("src/stack/api/dev.cpp", "#include <rte_ethdev.h>\n", 1, "may not include <rte_ethdev.h>"),
    ("src/stack/lcore/cy.cpp", "#include <rte_cycles.h>\n", 1, "may not include <rte_cycles.h>"),
    ("src/stack/vsock/h.cpp", "#include <rte_hash.h>\n", 1, "may not include <rte_hash.h>"),
    ("src/stack/channel/ip.cpp", "#include <rte_ip.h>\n", 1, "may not include <rte_ip.h>"),
    ("src/stack/channel/os.cpp", "#include <sys/socket.h>\n", 1, "(the operating system)"),
    ("src/stack/wire/json.cpp", "#include <nlohmann/json.hpp>\n", 1, "(nlohmann/json)"),
    ("src/stack/wire/what.cpp", "#include <what/ever.hpp>\n", 1, "(an unknown library)"),
    ("src/stray.cpp", "int stray;\n", 1, "belongs to no layer"),
    ("apps/deep.cpp", '#include "base/a.hpp"\n', 1, "may not include src/stack/base/a.hpp"),
    ("apps/dpdk.cpp", "#include <rte_mbuf.h>\n", 1, "layer apps may not include <rte_mbuf.h>"),
    ("src/stack/channel/t1.cpp", "auto t = steady_clock::now();\n", 1, "reads a clock"),
    ("src/stack/api/t2.cpp", "\nauto t = time(nullptr);\n", 2, "reads a clock"),
    ("src/stack/lcore/t3.cpp", "auto t = rte_get_tsc_cycles();\n", 1, "reads a clock"),
    ("src/dcopy/t4.cpp", "int r = clock_gettime(0, nullptr);\n", 1, "reads a clock"),
    ("src/stack/lcore/s1.cpp", "void f() { sleep_for(x); }\n", 1, "sleeps outside"),
    ("src/stack/api/s2.cpp", "int r = ::poll(nullptr, 0, 1);\n", 1, "sleeps outside"),
    ("src/stack/base/r1.cpp", "std::random_device device;\n", 1, "random device"),
    ("src/stack/base/r2.cpp", "int r = rand();\n", 1, "random device"),
    ("apps/clock.cpp", "auto t = std::chrono::system_clock::now();\n", 1, "no other clock"),
    ("apps/sleep.cpp", "void f() { usleep(1); }\n", 1, "does not sleep"),
    ("tests/unit/sleep.cpp", "void f() { nanosleep(nullptr, nullptr); }\n", 1, "a test sleeps"),
    ("src/stack/base/alone.hpp", GOOD_HEADER + "\ninline std::string name() { return {}; }\n", 4,
     "does not compile by itself"),
    ("src/stack/base/deep.hpp", GOOD_HEADER + '\n#include "base/alone.hpp"\n', 1,
     "(at src/stack/base/alone.hpp:4)"),
    ("apps/missing.hpp", GOOD_HEADER + '\n#include "no_such.hpp"\n', 4, "does not compile"),
    ("apps/missing.hpp", None, 4, "(an unknown library)"),
    ("include/nd/boost.hpp", GOOD_HEADER + "\n#include <boost/no_such.hpp>\n", 4, "(Boost)"),
    ("include/nd/boost.hpp", None, 4, "does not compile by itself"),
    ("include/nd/mbuf.hpp", GOOD_HEADER + "\n#include <rte_mbuf.h>\n", 4, "may not include"),
    ("include/nd/mbuf.hpp", None, 4, "does not compile by itself"),
    ("include/nd/inner.hpp", GOOD_HEADER + '\n#include "base/a.hpp"\n', 4, "may not include src"),
    ("include/nd/inner.hpp", None, 4, "does not compile by itself"),
    ("src/stack/base/bare.hpp", "#pragma once\n", 1, "starts with a one-line comment"),
    ("src/stack/base/twice.hpp", "// No guard.\n", 1, "no #pragma once"),
    ("src/stack/base/todo.cpp", "int a;  // " + "TODO: more\n", 1, "do it, or write an issue"),
    ("src/stack/base/tab.cpp", "// a\tb\n", 1, "a tab"),
    ("src/stack/base/blank.cpp", "int a;\n\n// b \n", 3, "blanks at the end"),
    ("src/stack/base/wide.cpp", "// " + "x" * 98 + "\n", 1, "101 columns"),
    ("src/stack/base/long.cpp", "// x\n" * 501, 501, "501 lines"),
    ("src/stack/base/noeol.cpp", "int a;", 1, "no newline at the end"),
]
UNLISTED = ["src/stack/base/forgotten.cpp", "tests/unit/base/forgotten_test.cpp",
            "tests/unit/apps/forgotten_test.cpp", "tests/e2e/forgotten_test.cpp",
            "include/nd/forgotten.hpp"]
BAD_FORMAT = ("src/stack/base/ugly.cpp", "int   a=1 ;\n", 1, "not formatted: clang-format -i")
SOURCES_OF_FLAGS = ["src/stack/base/a.cpp", "apps/app.cpp"]


def plant(root, file, text):
    path = pathlib.Path(root, file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def reports(root, build):
    tree, formatted = check(root, build)
    # The planted texts are not formatted but for one; the others' formatting is not the point.
    kept = {f for f in tree.findings if f[0] == BAD_FORMAT[0] or "not formatted" not in f[2]}
    return kept, formatted


def run(compiler):
    real = pathlib.Path(__file__).resolve().parent.parent
    failures = []
    with tempfile.TemporaryDirectory() as scratch:
        root, build = pathlib.Path(scratch, "tree"), pathlib.Path(scratch, "build")
        for file, text in GOOD.items():
            plant(root, file, text)
        for layer in MAY_USE:
            plant(root, f"{FOLDER[layer]}/{layer[0]}.hpp", GOOD_HEADER)
        shutil.copy(real / ".clang-format", root)
        for meson in {list_[0] for list_ in LISTS}:
            plant(root, meson, "".join(f"{list_[1]}\n)\n" for list_ in LISTS if list_[0] == meson))
        includes = " ".join(f"-I{root / folder}" for folder in INCLUDE_DIRS)
        plant(build, "compile_commands.json", json.dumps([
            {"directory": str(build), "file": str(root / source),
             "command": f"{compiler} -std=c++20 {includes}"
                        f" -MD -MQ a.o -MF a.o.d -o a.o -c {root / source}"}
            for source in SOURCES_OF_FLAGS]))

        write_lists(Tree(root))
        for file, line, message in sorted(reports(root, build)[0]):
            failures.append(f"reported without a reason: {file}:{line}: {message}")

        for file, text, _, _ in BAD:
            if text is not None:
                plant(root, file, text)
        write_lists(Tree(root))
        expected = [(file, line, part) for file, _, line, part in BAD]
        for file in UNLISTED:
            plant(root, file, GOOD_HEADER if file.endswith(".hpp") else "")
            expected.append((f"{file.split('/')[0]}/meson.build", None,
                             f"{file.split('/', 1)[1]} is not in"))
        meson = root / "src/meson.build"
        meson.write_text(meson.read_text().replace(
            "base_sources = files(\n", "base_sources = files(\n  'stack/base/ghost.cpp',\n"))
        expected.append(("src/meson.build", 2, "stack/base/ghost.cpp does not belong"))
        plant(root, BAD_FORMAT[0], BAD_FORMAT[1])
        expected.append(("src/meson.build", None, "stack/base/ugly.cpp is not in"))
        found, formatted = reports(root, build)
        if formatted:
            expected.append((BAD_FORMAT[0], *BAD_FORMAT[2:]))
        for file, line, part in expected:
            hits = {f for f in found if f[0] == file and line in (None, f[1]) and part in f[2]}
            if not hits:
                failures.append(f"not noticed: {file}:{line}: {part}")
            found -= hits
        for file, line, message in sorted(found):
            if file != BAD_FORMAT[0]:
                failures.append(f"reported without a reason: {file}:{line}: {message}")

        missing = reports(root, build / "none")[0]
        if not any("compile_commands.json" in f[0] for f in missing):
            failures.append("not noticed: a build folder without compile_commands.json")
        empty = reports(build, build)[0]
        if not any("not the tree" in f[2] for f in empty):
            failures.append("not noticed: an empty tree")
    for failure in failures:
        print(failure)
    print(f"self-test: {len(expected) + 2} planted mistakes, {len(failures)} failures")
    return 1 if failures else 0
