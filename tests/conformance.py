#!/usr/bin/env python3
"""Keeps docs/conformance.md true: the code and the tests that its rows name must be there.

    tests/conformance.py [ROOT]       check; one `file:line: message` per finding, then a count
    tests/conformance.py --self-test  plant each kind of rot in a small tree and see that it is found

Exit: 0 nothing found, 1 findings.
"""

import collections
import pathlib
import re
import sys

from tidy import code_only

DOC = "docs/conformance.md"

# All sections of each RFC but references and what follows them: each must have its row.
SECTIONS = {
    "9002": "1 2 3 4 4.1 4.2 4.3 4.4 4.5 4.6 4.7 4.8 4.9 5 5.1 5.2 5.3 6 6.1 6.1.1 6.1.2 6.2 6.2.1"
            " 6.2.2 6.2.2.1 6.2.3 6.2.4 6.3 6.4 7 7.1 7.2 7.3 7.3.1 7.3.2 7.3.3 7.4 7.5 7.6 7.6.1"
            " 7.6.2 7.6.3 7.7 7.8 8 8.1 8.2 8.3",
    "8257": "1 2 3 3.1 3.2 3.3 3.4 3.5 3.6 4 4.1 4.2 5 6 7",
    "9438": "1 2 3 3.1 3.2 3.3 3.4 4 4.1 4.1.1 4.1.2 4.2 4.3 4.4 4.5 4.6 4.7 4.8 4.9 4.9.1 4.9.2"
            " 4.10 5 5.1 5.2 5.3 5.4 5.5 5.6 5.7 5.8 5.9 5.10 6 7",
    "9260": "1 2 3 3.1 3.2 3.2.1 3.2.2 3.3 3.3.1 3.3.2 3.3.3 3.3.4 3.3.5 3.3.6 3.3.7 3.3.8 3.3.9"
            " 3.3.10 3.3.11 3.3.12 3.3.13 4 5 5.1 5.1.1 5.1.2 5.1.3 5.1.4 5.1.5 5.1.6 5.2 5.2.1"
            " 5.2.2 5.2.3 5.2.4 5.2.4.1 5.2.5 5.2.6 5.3 5.3.1 5.4 6 7 8 8.1 8.2 8.3 8.4 8.5 8.5.1"
            " 9 9.1 9.2 10 11 12",
    "8899": "1 1.1 1.2 1.3 2 3 4 4.1 4.2 4.3 4.4 4.5 4.6 4.6.1 4.6.2 5 5.1 5.1.1 5.1.2 5.1.3 5.1.4"
            " 5.2 5.3 5.3.1 5.3.2 5.3.3 5.4 6 6.1 6.2 6.3 7 8",
}

KEYWORD = (r"(MUST NOT|MUST|SHOULD NOT|SHOULD|NOT RECOMMENDED|RECOMMENDED|REQUIRED)"
           r"(?: ×(\d+))?")
# Heading of a table: its columns.
TABLES = {"Sections": 4, "Followed": 5, "Not followed": 5, "Does not apply": 4}


class Doc:
    """The tables of the document, and the findings about them."""

    def __init__(self, root):
        self.root = pathlib.Path(root).resolve()
        self.findings = set()
        self.sections = collections.defaultdict(dict)  # RFC: section: (line, keywords, taken)
        self.rules = {}  # id: (line, table, cells)
        self.texts = {}
        rfc = table = None
        for number, line in enumerate(self.read(DOC).split("\n"), 1):
            if match := re.match(r"(##+) (?:RFC (\d+)\b)?(.*)", line):
                if match[1] == "##":
                    rfc, table = match[2], None
                else:
                    table = match[3].strip() if match[3].strip() in TABLES else None
            elif line.startswith("|") and rfc and table and not re.match(r"\| (rule|section|-)", line):
                self.row(number, rfc, table, [c.strip() for c in line.strip(" |").split(" | ")])

    def read(self, file):
        if file not in self.texts:
            path = self.root / file
            self.texts[file] = path.read_text(encoding="utf-8") if path.is_file() else ""
        return self.texts[file]

    def find(self, line, message, file=DOC):
        self.findings.add((file, line, message))

    def row(self, number, rfc, table, cells):
        if len(cells) != TABLES[table] or not all(cells):
            self.find(number, f"a row of `{table}` has {TABLES[table]} cells, none of them empty")
        elif table == "Sections":
            if cells[0] in self.sections[rfc]:
                self.find(number, f"section {cells[0]} has two rows")
            self.sections[rfc][cells[0]] = (number, self.keywords(number, cells[2]), cells[3])
        elif not (match := re.fullmatch(r"(\d+)-(\d+(?:\.\d+)*)-[a-z]+", cells[0])):
            self.find(number, f"`{cells[0]}` is not RFC-SECTION-LETTER")
        elif match[1] != rfc:
            self.find(number, f"{cells[0]} stands under RFC {rfc}")
        elif cells[0] in self.rules:
            self.find(number, f"{cells[0]} is the id of two rules")
        else:
            self.rules[cells[0]] = (number, table, cells)

    def keywords(self, number, cell):
        found = collections.Counter()
        for part in [] if cell == "-" else cell.split(", "):
            if match := re.fullmatch(KEYWORD, part):
                found[match[1]] += int(match[2] or 1)
            else:
                self.find(number, f"`{part}` is not a key word")
        return found


def check_sections(doc):
    """Each section is there, and the rows of those that are taken have all their key words."""
    of_section = collections.defaultdict(collections.Counter)
    for rule, (number, _, cells) in doc.rules.items():
        rfc, section, _ = rule.split("-")
        of_section[rfc, section] += doc.keywords(number, cells[1])
        if section not in doc.sections[rfc]:
            doc.find(number, f"{rule}: RFC {rfc} has no section {section} in its table")
    for rfc, listed in SECTIONS.items():
        for section in listed.split():
            if section not in doc.sections[rfc]:
                doc.find(1, f"RFC {rfc}, section {section} is not handled")
                continue
            number, keywords, taken = doc.sections[rfc][section]
            rows = of_section[rfc, section]
            if taken == "yes":
                if not keywords or rows != keywords:
                    doc.find(number, f"section {section} has {dict(keywords)}, its rules have "
                                     f"{dict(rows)}")
            elif taken.startswith("part: "):
                if not rows:
                    doc.find(number, f"section {section} is taken in part and has no rules")
            elif not re.match(r"no: \S", taken):
                doc.find(number, f"section {section}: `yes`, `part: what`, or `no: why`")
            elif rows:
                doc.find(number, f"section {section} is not taken, and has rules")
        for section, (number, _, _) in doc.sections[rfc].items():
            if section not in listed.split():
                doc.find(number, f"RFC {rfc} has no section {section}")
    for rfc in doc.sections.keys() - SECTIONS.keys():
        doc.find(1, f"RFC {rfc} is not in SECTIONS of tests/conformance.py")


def check_references(doc):
    for rule, (number, table, cells) in doc.rules.items():
        if table == "Does not apply":
            continue
        code, tests = 0, 0
        for reference in re.findall(r"`([^`]*)`", " ".join(cells[3:])):
            if not (match := re.fullmatch(r"(\S+): (.+)", reference)):
                continue  # a word of the text
            file, name = match.groups()
            if file == "nd-sim" or file.endswith("_test.cpp"):
                tests += 1
                wrong = wrong_test(doc, file, name)
            else:
                code += 1
                wrong = wrong_code(doc, file, name)
            if wrong:
                doc.find(number, f"{rule}: {wrong}")
        if table == "Followed" and not (code and tests):
            doc.find(number, f"{rule}: a rule that is followed has code and a test")


def wrong_code(doc, file, name):
    path = file if file.startswith("src/") else f"src/stack/{file}"
    if not doc.read(path):
        return f"there is no {path}"
    code = code_only(doc.read(path), strings=False)
    for part in re.split(r"::|\.", name):
        if not re.search(rf"(?<![\w]){re.escape(part)}(?![\w])", code):
            return f"no `{part}` in the code of {path}"
    return None


def wrong_test(doc, file, name):
    if file == "nd-sim":
        profiles = re.search(r"profiles\b[^;{]*\{([^}]*)\}", doc.read("tests/sim/scenario.hpp"))
        if not profiles or f'"{name}"' not in profiles[1]:
            return f"nd-sim has no profile {name}"
        all_played = r"test\('sim-[^)]*nd_sim[^)]*'--profile', 'all'"
        ok = re.search(all_played, doc.read("tests/meson.build").replace("format(n)", ""), re.S)
        return None if ok else "no test plays all profiles of nd-sim"
    path = f"tests/{file}" if re.match(r"(unit|sim|script|e2e)/", file) else f"tests/unit/{file}"
    if not doc.read(path):
        return f"there is no {path}"
    cases = test_cases(code_only(doc.read(path)))
    if name not in cases:
        return f'no TEST_CASE "{name}" in {path}'
    if re.search(r"\[(\.|!hide)", cases[name]):
        return f'"{name}" is hidden: no test runs it'
    return None if is_run(doc, path) else f"no program that CI runs has {path}"


def test_cases(code):
    """Title of each test case: its tags."""
    literal = r'"(?:\\.|[^"\\\n])*"'
    found = {}
    for match in re.finditer(rf"TEST_CASE\(\s*((?:{literal}\s*)+)(,[^)]*)?\)", code):
        title = "".join(part[1:-1] for part in re.findall(literal, match[1]))
        found[title.replace('\\"', '"')] = match[2] or ""
    return found


def is_run(doc, path):
    """The file is in a list of a program that is a test, and CI runs all tests."""
    meson = doc.read("tests/meson.build")
    name = path.removeprefix("tests/")
    if not re.search(r"^step .*scripts/test\"?$", doc.read(".ci/run"), re.M):
        return False
    for files in re.finditer(r"^(\w+) = files\(\n((?:  '[^'\n]*',\n)*)", meson, re.M):
        if f"'{name}'" not in files[2]:
            continue
        # A statement goes on in lines that are indented.
        for program in re.finditer(rf"^\s*(\w+) = executable\((?:.|\n )*?\b{files[1]}\b", meson,
                                   re.M):
            if re.search(rf"^\s*test\('[^']*', {program[1]}\b", meson, re.M):
                return True
    return False


def check_citations(doc):
    """What comments cite is taken: the section, or one in it."""
    rfcs = "|".join(SECTIONS)
    for path in sorted((doc.root / "src").rglob("*")):
        if path.suffix not in (".cpp", ".hpp", ".def"):
            continue
        file = path.relative_to(doc.root).as_posix()
        for number, line in enumerate(doc.read(file).split("\n"), 1):
            for match in re.finditer(rf"RFC ({rfcs}),? (?:section )?(\d+(?:\.\d+)*)", line):
                rfc, section = match.groups()
                if not any((s + ".").startswith(section + ".") and not taken.startswith("no")
                           for s, (_, _, taken) in doc.sections[rfc].items()):
                    doc.find(number, f"cites RFC {rfc}, section {section}, of which {DOC} takes "
                                     "nothing", file)


def check(root):
    doc = Doc(root)
    if not doc.rules:
        doc.find(1, "no rules here")
    check_sections(doc)
    check_references(doc)
    check_citations(doc)
    return doc


def main():
    if sys.argv[1:] == ["--self-test"]:
        import conformance_selftest
        return conformance_selftest.run()
    root = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent
    doc = check(root)
    for file, line, message in sorted(doc.findings):
        print(f"{file}:{line}: {message}")
    print(f"{len(doc.findings)} findings about {len(doc.rules)} rules")
    return 1 if doc.findings else 0


if __name__ == "__main__":
    sys.exit(main())
