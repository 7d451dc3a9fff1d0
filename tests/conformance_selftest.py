"""conformance.py's self-test: plants each kind of rot in a small tree and sees that it is found."""

import pathlib
import re
import tempfile

import conformance

RFC = "9002"
SECTIONS = {RFC: "1 2 2.1 3 4"}

GOOD = {
    "docs/conformance.md": """# Conformance

## RFC 9002 (small)

### Sections

| section | about | key words | taken |
| --- | --- | --- | --- |
| 1 | introduction | - | no: no rules |
| 2 | rules | MUST, SHOULD ×2, MUST NOT | yes |
| 2.1 | more rules | MUST NOT ×3 | part: one of them |
| 3 | others' rules | MUST | no: theirs |
| 4 | nothing | - | no: `nothing` |

### Followed

| rule | key | what it asks for | code | tests |
| --- | --- | --- | --- | --- |
| 9002-2-a | MUST | the first | `channel/a.hpp: outer::inner` | `channel/a_test.cpp: it is "so" and goes on`, `nd-sim: lossy` |
| 9002-2-b | SHOULD | the second | `src/other.cpp: outer` | `sim/self/b_test.cpp: another` |

### Not followed

| rule | key | what it asks for | what is done instead, and why | code and tests |
| --- | --- | --- | --- | --- |
| 9002-2-c | SHOULD | the third | `word` is less | `channel/a.hpp: limit` |

### Does not apply

| rule | key | what it asks for | why not |
| --- | --- | --- | --- |
| 9002-2-d | MUST NOT | the fourth | no such `thing: here` |
| 9002-2.1-a | MUST NOT | the fifth | no such thing |

## Words

| section | of another table |
| --- | --- |
| 99 | nobody reads it |
""",
    "src/stack/channel/a.hpp": "// RFC 9002, section 2. RFC 9001, section 3 is another.\n"
                               "struct outer {\n  void inner();  // old_name\n};\n"
                               "constexpr int limit = 3;  // RFC 9002, 2.1\n"
                               'const char* s = "in_string";\n',
    "src/other.cpp": "int outer;\n",
    "tests/unit/channel/a_test.cpp": 'TEST_CASE("it is \\"so\\" "\n          "and goes on", "[a]") {}\n'
                                     '// TEST_CASE("in a comment")\n'
                                     'TEST_CASE("not run", "[.][a]") {}\n',
    "tests/unit/channel/lost_test.cpp": 'TEST_CASE("in no list") {}\n',
    "tests/unit/channel/idle_test.cpp": 'TEST_CASE("in no test") {}\n',
    "tests/sim/self/b_test.cpp": 'TEST_CASE("another") {}\n',
    "tests/sim/scenario.hpp": 'constexpr std::array<std::string_view, 2> profiles{\n"lossy",\n'
                              '"other"};\n',
    "tests/meson.build": "unit_tests = files(\n  'unit/channel/a_test.cpp',\n)\n\n"
                         "sim_tests = files(\n  'sim/self/b_test.cpp',\n)\n\n"
                         "idle_tests = files(\n  'unit/channel/idle_test.cpp',\n)\n\n"
                         "unit = executable('unit', 'main.cpp',\n  unit_tests)\ntest('unit', unit, timeout: 1)\n"
                         "idle = executable('idle', idle_tests)\n"
                         "test('sim-@0@'.format(n), nd_sim, args: ['--profile', 'all'])\n"
                         "sim_self = executable('s', 'x.cpp', sim_tests)\ntest('s', sim_self)\n",
    ".ci/run": "step 'g++ tests' \"$root/scripts/test\"\n",
}

DOC = "docs/conformance.md"
# (file, what is replaced, by what, file and part of the only message).
ROT = [
    ("src/stack/channel/a.hpp", "void inner", "void renamed", DOC, "9002-2-a: no `inner`"),
    ("src/stack/channel/a.hpp", "int limit", "int old", DOC, "9002-2-c: no `limit`"),
    (DOC, "a.hpp: limit", "a.hpp: old_name", DOC, "no `old_name`"),  # only in a comment
    (DOC, "a.hpp: limit", "a.hpp: in_string", DOC, "no `in_string`"),
    (DOC, "a.hpp: limit", "b.hpp: limit", DOC, "there is no src/stack/channel/b.hpp"),
    (DOC, "`src/other.cpp: outer`", "by design", DOC, "9002-2-b: a rule that is followed has"),
    ("tests/unit/channel/a_test.cpp", "goes on", "went on", DOC, "no TEST_CASE"),
    ("tests/unit/channel/a_test.cpp", '"[a]"', '"[!hide][a]"', DOC, "is hidden"),
    (DOC, "self/b_test.cpp: another", "self/c_test.cpp: another", DOC, "there is no tests/sim/self/c"),
    (DOC, "sim/self/b_test.cpp: another", "channel/a_test.cpp: in a comment", DOC, "no TEST_CASE"),
    (DOC, "sim/self/b_test.cpp: another", "channel/a_test.cpp: not run", DOC, "is hidden"),
    (DOC, "sim/self/b_test.cpp: another", "channel/lost_test.cpp: in no list", DOC,
     "no program that CI runs has tests/unit/channel/lost_test.cpp"),
    (DOC, "sim/self/b_test.cpp: another", "channel/idle_test.cpp: in no test", DOC,
     "no program that CI runs has tests/unit/channel/idle_test.cpp"),
    (DOC, "`sim/self/b_test.cpp: another`", "none yet", DOC, "has code and a test"),
    (DOC, "nd-sim: lossy", "nd-sim: gone", DOC, "nd-sim has no profile gone"),
    ("tests/meson.build", "'all'", "'default'", DOC, "no test plays all profiles"),
    (DOC, "9002-2-c", "9002-2-b", DOC, "9002-2-b is the id of two rules"),
    (DOC, "9002-2-c", "9003-2-c", DOC, "9003-2-c stands under RFC 9002"),
    (DOC, "9002-2-c", "nine", DOC, "`nine` is not RFC-SECTION-LETTER"),
    (DOC, "9002-2.1-a", "9002-2.2-a", DOC, "has no section 2.2 in its table"),
    (DOC, "| MUST NOT | the fourth", "| SHOULD | the fourth", DOC, "section 2 has"),
    (DOC, "| 9002-2-d | MUST NOT | the fourth | no such `thing: here` |\n", "", DOC, "section 2 has"),
    (DOC, "| MUST NOT | the fourth", "| OUGHT | the fourth", DOC, "`OUGHT` is not a key word"),
    (DOC, "| MUST NOT | the fourth | no such `thing: here` |", "| MUST NOT | the fourth | |", DOC,
     "none of them empty"),
    (DOC, "| 4 | nothing | - | no: `nothing` |\n", "", DOC, "RFC 9002, section 4 is not handled"),
    (DOC, "| 4 | nothing", "| 5 | nothing", DOC, "RFC 9002 has no section 5"),
    (DOC, "no: `nothing`", "no", DOC, "`yes`, `part: what`, or `no: why`"),
    (DOC, "| MUST | no: theirs", "| MUST | yes", DOC, "section 3 has"),
    (DOC, "part: one of them", "no: no time", DOC, "section 2.1 is not taken, and has rules"),
    (DOC, "| 9002-2.1-a | MUST NOT | the fifth | no such thing |\n", "", DOC,
     "section 2.1 is taken in part and has no rules"),
    ("src/stack/channel/a.hpp", "section 2.", "section 3.", "src/stack/channel/a.hpp",
     "cites RFC 9002, section 3"),
    ("src/stack/channel/a.hpp", "RFC 9002, 2.1", "RFC 9002, 7.1", "src/stack/channel/a.hpp",
     "cites RFC 9002, section 7.1"),
]
# These are seen in several rows, or with others.
MANY = [
    (".ci/run", "scripts/test", "scripts/build", "no program that CI runs has"),
    (DOC, "## RFC 9002", "## RFC 9001", "RFC 9001 is not in SECTIONS"),
    (DOC, "|", "!", "no rules here"),
]


def run():
    failures = []
    saved, conformance.SECTIONS = conformance.SECTIONS, SECTIONS
    try:
        with tempfile.TemporaryDirectory() as scratch:
            def found(file=None, old="", new=""):
                for name, text in GOOD.items():
                    path = pathlib.Path(scratch, name)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    if name == file and old not in text:
                        failures.append(f"nothing to replace in {file}: {old}")
                    path.write_text(text.replace(old, new) if name == file else text,
                                    encoding="utf-8")
                return conformance.check(scratch).findings

            for finding in sorted(found()):
                failures.append(f"reported without a reason: {finding}")
            for file, old, new, where, part in ROT:
                findings = found(file, old, new)
                # A rule that is not read leaves its section without it, and so on.
                follows = re.compile(r"section 2(\.1)? (has|is taken in part and)|not handled|"
                                     r"cites .*, section 2")
                rest = {f for f in findings if f[0] != where or part not in f[2]}
                if len(findings) == len(rest):
                    failures.append(f"not noticed: {old} -> {new}")
                failures += [f"reported without a reason: {old} -> {new}: {f}" for f in rest
                             if not follows.search(f[2])]
            for file, old, new, part in MANY:
                if not any(part in f[2] for f in found(file, old, new)):
                    failures.append(f"not noticed: {old} -> {new}")
    finally:
        conformance.SECTIONS = saved
    for failure in failures:
        print(failure)
    print(f"self-test: {len(ROT) + len(MANY)} planted faults, {len(failures)} failures")
    return 1 if failures else 0
