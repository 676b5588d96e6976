#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The reporter finds what is wrong: a good guest's words, made wrong in one place after the other."""
import unittest

import report
import tlfs

FEATURES, HINTS = 0x00000eff, 0x00000e3c


def good_words():
    """What a guest that finds everything would print of some items."""
    leaves = {leaf: (0, 0, 0, 0) for leaf in tlfs.LEAF_NAMES}
    leaves[0x40000000] = (0x40000006, 0x7263694d, 0x666f736f, 0x76482074)
    leaves[0x40000001] = (0x31237648, 0, 0, 0)
    leaves[0x40000003] = (FEATURES, 0x00100030, 0, 0x000e0530)
    leaves[0x40000004] = (HINTS, 0xfff, 0, 0)
    words = [f"tlfs: cpuid {leaf:#010x}: eax {a:#x} ebx {b:#x} ecx {c:#x} edx {d:#x}" for leaf, (a, b, c, d) in leaves.items()]
    return words + ["tlfs: msr 0x40000002 VP_INDEX: read 0x0", "tlfs: msr 0x40000002 VP_INDEX: write-back #GP",
                    "tlfs: msr 0x40000072 TPR: read 0x0", "tlfs: msr 0x40000072 TPR: write-back taken",
                    "tlfs: msr 0x40000072 TPR: bits 0xffffffffffffffff taken 0xff kept 0xff",
                    "tlfs: msr 0x40000040 NPIEP_CONFIG: read #GP", "tlfs: msr 0x40000040 NPIEP_CONFIG: write-back #GP",
                    "tlfs: call list: status 0x0000 reps 2", "tlfs: call flush-flag-3: status 0x0005 reps 0",
                    "tlfs: hypercall 0x0002 HvCallFlushVirtualAddressSpace: status 0x0000",
                    "tlfs: hypercall 0x0040 HvCallCreatePartition: status 0x0002", "tlfs: rule hypercall-page-write: #GP", "tlfs: end"]


def rows_of(words, known=None):
    runs, _ = report.parse("\n".join(words))
    made = report.Report(runs, known or {})
    for add in (report.add_leaves, report.add_msrs, report.add_rules, report.add_calls):
        add(made)
    return {row.item: row for row in made.rows}


ITEMS = {
    "msr 0x40000002 VP_INDEX": report.PASS, "msr 0x40000072 TPR": report.PASS, "msr 0x40000040 NPIEP_CONFIG": report.NOT_OFFERED,
    "call list": report.PASS, "call flush-flag-3": report.PASS, "hypercall 0x0002 HvCallFlushVirtualAddressSpace": report.PASS,
    "hypercall 0x0040 HvCallCreatePartition": report.NOT_OFFERED, "rule hypercall-page-write": report.PASS,
    "cpuid 0x40000001 interface": report.PASS, "cpuid 0x40000003 eax bit 6 AccessVpIndex": report.PASS,
}
WRONG = [  # item, what is printed, what is printed in its place
    ("msr 0x40000002 VP_INDEX", "VP_INDEX: read 0x0", "VP_INDEX: read 0x1"),
    ("msr 0x40000002 VP_INDEX", "VP_INDEX: write-back #GP", "VP_INDEX: write-back taken"),
    ("msr 0x40000072 TPR", "taken 0xff kept 0xff", "taken 0x1ff kept 0x1ff"),
    ("msr 0x40000072 TPR", "taken 0xff kept 0xff", "taken 0x7f kept 0x7f"),
    ("msr 0x40000072 TPR", "taken 0xff kept 0xff", "taken 0xff kept 0xf0"),
    ("msr 0x40000072 TPR", "TPR: read 0x0", "TPR: read #GP"),
    ("msr 0x40000040 NPIEP_CONFIG", "NPIEP_CONFIG: read #GP", "NPIEP_CONFIG: read 0x0"),
    ("call list", "status 0x0000 reps 2", "status 0x0000 reps 1"),
    ("call flush-flag-3", "status 0x0005", "status 0x0000"),
    ("hypercall 0x0002 HvCallFlushVirtualAddressSpace", "Space: status 0x0000", "Space: status 0x0006"),
    ("rule hypercall-page-write", "page-write: #GP", "page-write: taken"),
    ("rule hypercall-page-write", "tlfs: rule hypercall-page-write: #GP", ""),
    ("cpuid 0x40000001 interface", "eax 0x31237648", "eax 0x31237649"),
    ("cpuid 0x40000003 eax bit 6 AccessVpIndex", f"eax {FEATURES:#x}", f"eax {FEATURES & ~0x40:#x}"),
]


class Judged(unittest.TestCase):
    def test_good_words_are_good(self):
        rows = rows_of(good_words())
        for item, result in ITEMS.items():
            self.assertEqual(rows[item].result, result, rows[item])

    def test_every_wrong_word_is_a_failure(self):
        for item, found, instead in WRONG:
            text = "\n".join(good_words())
            self.assertIn(found, text)
            self.assertEqual(rows_of(text.replace(found, instead).split("\n"))[item].result, report.FAILED, (item, instead))

    def test_a_stated_reason_makes_it_a_deviation(self):
        words = [line.replace("VP_INDEX: read 0x0", "VP_INDEX: read 0x1") for line in good_words()]
        row = rows_of(words, {"msr 0x40000002 *": "counts from one"})["msr 0x40000002 VP_INDEX"]
        self.assertEqual((row.result, row.reason), (report.DEVIATION, "counts from one"))

    def test_an_earlier_report_is_held_to_its_word(self):
        rows = list(rows_of(good_words()).values())
        known = [row for row in rows if row.item in ITEMS]
        text = report.markdown(known)
        self.assertFalse(any(report.broken_promises(known, text).values()))
        for index, row in enumerate(known):
            worse = known[:index] + [row._replace(result=report.FAILED)] + known[index + 1:]
            self.assertTrue(any(report.broken_promises(worse, text).values()), row.item)
            self.assertTrue(any(report.broken_promises(known[:index] + known[index + 1:], text).values()), row.item)

    def test_a_step_that_differs_is_a_failure(self):
        for words, result in ((["tlfs: steps 100: no difference at step 100"], report.PASS),
                              (["tlfs: steps: MSR 0x40000002 written 0x1: taken", "tlfs: steps 100: a difference at step 7"], report.FAILED),
                              (["tlfs: steps: MSR 0x40000002 written 0x1: taken"], report.FAILED)):
            runs, _ = report.parse("\n".join(good_words() + words))
            made = report.Report(runs, {})
            report.add_steps(made)
            self.assertEqual([row.result for row in made.rows], [result])

    def test_ranges_are_words(self):
        self.assertEqual(report.ranges(tlfs.PAGE), "63:12, 0")
        self.assertEqual(report.ranges(0), "none")


if __name__ == "__main__":
    unittest.main()
