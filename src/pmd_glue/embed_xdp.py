#!/usr/bin/env python3
"""Writes C++ that holds an ELF object: embed_xdp.py OUTPUT [OBJECT]. Without one it is empty."""

import pathlib
import sys

output, *objects = sys.argv[1:]
data = pathlib.Path(objects[0]).read_bytes() if objects else b""
rows = (", ".join(str(b) for b in data[at:at + 24]) for at in range(0, len(data), 24))
array = ("constexpr unsigned char object[] = {\n  " + ",\n  ".join(rows) + "};\n") if data else ""
value = "std::as_bytes(std::span(object))" if data else "{}"
pathlib.Path(output).write_text(f"""#include "pmd_glue/xdp_share.hpp"

namespace nd::pmd {{
{array}
std::span<const std::byte> xdp_program() noexcept {{
  return {value};
}}
}}  // namespace nd::pmd
""")
