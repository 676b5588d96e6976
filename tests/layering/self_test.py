# SPDX-License-Identifier: MIT
"""Breaks each promise of check_includes.py in a small tree and sees that this one check, and no other, reports it."""
import os
import tempfile

LICENCE = "// SPDX-License-Identifier: MIT\n"

# A tree that keeps every promise, with the exceptions that are allowed.
SOUND = {
    "extension-api/include/hv/base/bytes.hpp": LICENCE + "#include <cstdint>\n",
    "extension-api/include/hv/abi/header.hpp": LICENCE + '#include "hv/base/bytes.hpp"\n',
    "loader/src/load.cpp": LICENCE + '#include "hv/abi/header.hpp"\n',
    "hypervisor/protocol/include/hv/protocol/control.hpp": LICENCE + '#include "hv/base/bytes.hpp"\n',
    "hypervisor/core/include/hv/core/domain.hpp": LICENCE + '#include "hv/protocol/control.hpp"\n',
    "hypervisor/core/src/domain.cpp": LICENCE + "#include <hv/core/domain.hpp>\n// the hypervisor itself\n",
    "hypervisor/arch/x86/svm/vmcb.hpp": LICENCE + '#include "hv/core/domain.hpp"\n',
    "hypervisor/arch/x86/svm/vmcb.cpp": LICENCE + '#include "vmcb.hpp"\n',
    "hypervisor/arch/x86/boot/entry.S": LICENCE + "/* the PVH note's owner is \"Xen\" */\n",
    "hypervisor/main/main.cpp": LICENCE + '#include "vmcb.hpp"\n#include "hv/core/domain.hpp"\n',
    "extensions/xen-pv/src/extension.cpp": LICENCE + '// Xen\n#include "hv/abi/header.hpp"\n',
    "extensions/xen-pv/src/partition.hpp": LICENCE,
    "extensions/novell/src/partition.hpp": LICENCE,
    "extensions/novell/src/extension.cpp": LICENCE + '#include "partition.hpp"\n',
    "hypervisor/core/include/hv/core/vcpu/bytes.hpp": LICENCE,
    "xl/src/main.cpp": LICENCE + '#include <string>\n#include "hv/protocol/control.hpp"\n',
    "scripts/dom0": "#!/bin/sh\n# SPDX-License-Identifier: MIT\n",
    "README.md": "Viridian, Novell and Xen guests\n",
    "hypervisor/README.md": "| tag | title |\n| `APM2-3.41` | a manual |\n| `gABI-4.3` | another |\n",
    "hypervisor/core/src/cited.cpp": LICENCE + '// [APM2-3.41 §15.9], [gABI-4.3 "Relocation"].  SDM is no tag, and [SDM] is none.\n',
}

# (promise that it breaks, path, contents): each is added to the sound tree alone.
ARROWS, STANDARD, NAMES, TWICE, LICENSED, CITED = range(6)
SEEDED = [
    (ARROWS, "hypervisor/core/src/bad.cpp", LICENCE + '#include "vmcb.hpp"\n'),
    (ARROWS, "hypervisor/core/src/bad.cpp", LICENCE + "  #  include <svm/vmcb.hpp>\n"),
    (ARROWS, "loader/src/bad.cpp", LICENCE + '#include "hv/core/domain.hpp"\n'),
    (ARROWS, "loader/src/bad.cpp", LICENCE + '#include "../../hypervisor/core/include/hv/core/domain.hpp"\n'),
    (ARROWS, "hypervisor/protocol/include/hv/protocol/bad.hpp", LICENCE + '#include "hv/abi/header.hpp"\n'),
    (ARROWS, "extension-api/include/hv/base/bad.hpp", LICENCE + '#include "hv/abi/header.hpp"\n'),
    (ARROWS, "extensions/novell/src/bad.cpp", LICENCE + '#include "hv/core/domain.hpp"\n'),
    (ARROWS, "xl/src/bad.cpp", LICENCE + '#include "hv/core/domain.hpp"\n'),
    (ARROWS, "hypervisor/arch/x86/bad.cpp", LICENCE + '#include "hv/protocol/control.hpp"\n'),
    (STANDARD, "hypervisor/core/src/bad.cpp", LICENCE + "#include <string>\n"),
    (STANDARD, "extensions/novell/src/bad.cpp", LICENCE + "#include <vector>\n"),
    (NAMES, "hypervisor/core/src/bad.cpp", LICENCE + "int viridian_leaf;\n"),
    (NAMES, "hypervisor/core/src/bad.cpp", LICENCE + "// as Hyper-V does\n"),
    (NAMES, "loader/README.md", "HyperV\n"),
    (NAMES, "extension-api/CMakeLists.txt", "# SPDX-License-Identifier: MIT\nset(NOVELL 1)\n"),
    (NAMES, "hypervisor/main/bad.cpp", LICENCE + "// Xen\n"),
    (NAMES, "hypervisor/main/bad.cpp", LICENCE + "// a note on Hyper-V\n"),
    (NAMES, "hypervisor/core/src/xen_clock.cpp", LICENCE),
    (TWICE, "hypervisor/core/include/hv/abi/header.hpp", LICENCE),
    (TWICE, "loader/include/hv/base/bytes.hpp", LICENCE),
    (TWICE, "hypervisor/main/vmcb.hpp", LICENCE),
    (ARROWS, "hypervisor/main/bad.cpp", LICENCE + '#include "bytes.hpp"\n'),
    (LICENSED, "hypervisor/core/src/bad.cpp", "// Copyright somebody\n"),
    (LICENSED, "scripts/bad", "#!/bin/sh\n"),
    (LICENSED, "cmake/bad.cmake", ""),
    (CITED, "hypervisor/core/src/bad.cpp", LICENCE + "// as [APM2-3.36 §15.9] says\n"),
    (CITED, "hypervisor/core/src/bad.cpp", LICENCE + "// as [APM2 §15.9] says\n"),
    (CITED, "hypervisor/core/src/bad.cpp", LICENCE + "// as [SDM3-083 §4.5] says\n"),
    (CITED, "xl/src/bad.cpp", LICENCE + '// as [gABI "Relocation"] says\n'),
]


def broken_promises(tree_class, checks, files):
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
        tree = tree_class(root)
        return [index for index, (_, check) in enumerate(checks) if list(check(tree))]


def run(tree_class, checks):
    failures = 0

    def report(holds, text):
        nonlocal failures
        failures += not holds
        print(f"{'PASS' if holds else 'FAIL'} {text}")

    found = broken_promises(tree_class, checks, SOUND)
    report(found == [], f"a tree that keeps every promise is reported clean{f', not {found}' if found else ''}")
    for promise, path, text in SEEDED:
        found = broken_promises(tree_class, checks, SOUND | {path: text})
        what = text.splitlines()[-1].strip() if text else "an empty file"
        report(found == [promise], f"{path} with {what!r} is reported as: {checks[promise][0]}")
    return 1 if failures else 0
