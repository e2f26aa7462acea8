#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The virt board: board_test.c's checks, its device tree through dtc, and the tree beside that of QEMU's machine of the same name.
Environment: BUILD. Ends with "N passed, N failed"."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

TOOL = os.path.join(os.environ["BUILD"], "tests", "unit", "board_test")
# What QEMU's tree has and ours has not, and why: counters are the firmware's to tell, nothing ever lies on the platform bus,
# and the kernel takes line and block sizes from elsewhere.
WITHOUT = re.compile(r"/(pmu|platform-bus@\w+)(/|$)|/chosen$|/cpus/cpu@\w+$")
# Properties whose values are our own business.
OWN = {"phandle", "model", "rng-seed", "bootargs", "riscv,isa", "mmu-type"}


def tree_read(path):
    """{node path: {property: value text}}, labels and phandles as they are."""
    text = subprocess.run(["dtc", "-q", "-I", "dtb", "-O", "dts", path], stdout=subprocess.PIPE, text=True, check=True).stdout
    nodes, at = {}, []
    for line in text.splitlines():
        line = line.strip()
        if line.endswith("{"):
            at.append(line[:-1].strip())
            nodes["/".join(at).replace("//", "/")] = {}
        elif line == "};":
            at.pop()
        elif at and line.endswith(";"):
            name, _, value = line[:-1].partition(" = ")
            nodes["/".join(at).replace("//", "/")][name] = value
    return nodes


def handles(nodes):
    """{phandle: path}"""
    return {int(p["phandle"].strip("<>"), 16): path for path, p in nodes.items() if "phandle" in p}


def value_name(name, value, paths):
    """The value with phandles replaced by paths, where the property holds some."""
    if name not in ("interrupts-extended", "interrupt-parent", "interrupt-map", "msi-parent", "regmap", "cpu", "riscv,children", "riscv,delegate"):
        return value
    cells = [int(c, 16) for c in value.strip("<>").split()]
    step = {"interrupts-extended": 2, "interrupt-map": 0}.get(name, len(cells))
    if name == "interrupt-map":
        step = 7 if len(cells) % 7 == 0 and len(cells) // 7 == 16 else 6
        return str([paths.get(c) if i % step == 4 else c for i, c in enumerate(cells)])
    return str([paths.get(c) if i % step == 0 else c for i, c in enumerate(cells)])


def compare(ours, theirs):
    """Lines of differences: nodes and properties of theirs that ours lacks, or has otherwise."""
    bad, our_paths, their_paths = [], handles(ours), handles(theirs)
    for path, properties in theirs.items():
        if WITHOUT.search(path):
            continue
        if path not in ours:
            bad.append(f"no node {path}")
            continue
        for name, value in properties.items():
            want, got = value_name(name, value, their_paths), value_name(name, ours[path].get(name, "nothing"), our_paths) if name in ours[path] else "nothing"
            if name not in OWN and want != got:
                bad.append(f"{path} {name}: {got}, QEMU has {want}")
    return bad


def trees_check(work, passed, failed):
    for harts, mib, kind, machine in (("1", "128", "none", "virt"), ("3", "2048", "none", "virt"), ("2", "512", "aplic", "virt,aia=aplic"), ("2", "1024", "aplic-imsic", "virt,aia=aplic-imsic")):
        ours, theirs = os.path.join(work, "ours.dtb"), os.path.join(work, "theirs.dtb")
        subprocess.run([TOOL, "fdt", ours, harts, mib, kind], check=True)
        tree = tree_read(ours)
        bad = [] if "/soc/serial@10000000" in tree else ["dtc does not see the serial port"]
        if shutil.which("qemu-system-riscv64"):
            subprocess.run(["qemu-system-riscv64", "-display", "none", "-smp", harts, "-m", mib, "-machine", f"{machine},dumpdtb={theirs}"],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            bad += compare(tree, tree_read(theirs))
        print("\n".join(f"{kind}, {harts} harts: {line}" for line in bad), end="\n" if bad else "")
        passed, failed = passed + (not bad), failed + bool(bad)
    return passed, failed


def main():
    done = subprocess.run([TOOL], stdout=subprocess.PIPE, text=True, check=False)
    print("\n".join(done.stdout.splitlines()[:-1]), end="")
    counts = re.search(r"(\d+) passed, (\d+) failed\n$", done.stdout)
    if not counts:
        print(f"{done.stdout}\nboard_test: status {done.returncode}\n0 passed, 1 failed")
        return 1
    passed, failed = int(counts.group(1)), int(counts.group(2))
    if shutil.which("dtc"):
        with tempfile.TemporaryDirectory() as work:
            passed, failed = trees_check(work, passed, failed)
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
