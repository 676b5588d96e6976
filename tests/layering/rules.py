# SPDX-License-Identifier: MIT
"""The walls of the tree, as data: which folder is which layer, and which layer may include which (DESIGN.md, "Layers").

A layer may always include itself.  The first folder that a path begins with decides; folders that no row names
(tests, bench, scripts) may include anything.
"""

import re

# Headers and sources of published versions, kept as they were: a copy of what these rules held then.
KEPT_VERSIONS = re.compile(r"tests/abi/\d+\.\d+")

LAYERS = [
    ("extension-api/include/hv/base/", "vocabulary"),
    ("extension-api/include/hv/x86/", "vocabulary"),
    ("extension-api/", "extension-api"),
    ("loader/", "loader"),
    ("hypervisor/protocol/", "protocol"),
    ("hypervisor/core/", "core"),
    ("hypervisor/arch/", "arch"),
    ("hypervisor/main/", "main"),
    ("extensions/novell/", "novell"),
    ("extensions/viridian/", "viridian"),
    ("extensions/xen-pv/", "xen-pv"),
    ("xl/", "xl"),
]

MAY_INCLUDE = {
    "vocabulary": set(),
    "extension-api": {"vocabulary"},
    "loader": {"vocabulary", "extension-api"},
    "protocol": {"vocabulary"},
    "core": {"vocabulary", "extension-api", "loader", "protocol"},
    "arch": {"vocabulary", "core"},
    "main": {"vocabulary", "extension-api", "loader", "protocol", "core", "arch"},
    "novell": {"vocabulary", "extension-api"},
    "viridian": {"vocabulary", "extension-api"},
    "xen-pv": {"vocabulary", "extension-api"},
    "xl": {"vocabulary", "loader", "protocol"},
}

# The folders that know no guest's interface, and the one name that a line about the PVH note may say.
NAMELESS_FOLDERS = ("hypervisor/", "loader/", "extension-api/")
GUEST_INTERFACE = r"viridian|hyper-?v(?!isor)|novell|xen"
NOTE_NAME = "xen"
NOTE_LINE = r"\b(pvh|note)"

# Code that runs with no operating system under it takes these of the standard library and no others: the headers that
# both compilers accept freestanding, without floating point and without a heap.
FREESTANDING_FOLDERS = ("hypervisor/", "loader/", "extension-api/", "extensions/")
FREESTANDING_HEADERS = {
    "algorithm", "array", "atomic", "bit", "charconv", "compare", "concepts", "cstdarg", "cstddef", "cstdint",
    "cstring", "initializer_list", "iterator", "limits", "new", "numeric", "optional", "ranges", "span",
    "string_view", "tuple", "type_traits", "utility", "variant", "version",
}

# Where the manuals that comments cite have their tags.
SPECIFICATIONS = "hypervisor/README.md"

HEADER_ENDINGS = (".hpp", ".h", ".hh", ".inc")
SOURCE_ENDINGS = HEADER_ENDINGS + (".cpp", ".cc", ".c", ".S", ".s", ".ld", ".lds", ".py", ".sh", ".cmake")
SOURCE_NAMES = ("CMakeLists.txt",)
