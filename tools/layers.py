#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""layers.py [TOP]: hold the #include lines of the tree against tools/layers.txt.

Prints one line for each wrong-way include, each folder that the table lacks, and each cycle in the
table; then "N passed, N failed", one check per source file. Exit status 1 if anything failed.
"""
import os
import re
import sys

TOP = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"/]+)/[^"]*"')


def table_read(path):
    """{folder: [folders]} as written; '*' stands for all."""
    table = {}
    for line in open(path, encoding="utf-8"):
        line = line.split("#")[0].strip()
        if line:
            folder, uses = line.split(":")
            table[folder.strip()] = uses.split()
    return {f: [u for u in table if u != f] if uses == ["*"] else uses for f, uses in table.items()}


def closure(table, folder, path=()):
    """All that `folder` may use, through others too; raises ValueError on a cycle."""
    if folder in path:
        raise ValueError("cycle: " + " -> ".join(path + (folder,)))
    out = set()
    for used in table[folder]:
        if table.get(used) is None:
            raise ValueError(f"{folder} uses {used}, which the table lacks")
        # The two folders that may use all are leaves: nothing may use them in turn.
        if set(table[used]) >= set(table) - {used}:
            continue
        out |= {used} | closure(table, used, path + (folder,))
    return out


def file_check(path, folder, allowed):
    bad = []
    for number, line in enumerate(open(path, encoding="utf-8", errors="replace"), 1):
        found = INCLUDE.match(line)
        if found and found.group(1) != folder and found.group(1) not in allowed:
            bad.append(f"{os.path.relpath(path, TOP)}:{number}: {folder} may not use {found.group(1)}")
    return bad


def main():
    table = table_read(os.path.join(TOP, "tools", "layers.txt"))
    try:
        allowed = {folder: closure(table, folder) for folder in table}
    except ValueError as error:
        print(f"tools/layers.txt: {error}")
        print("0 passed, 1 failed")
        return 1
    passed, bad = 0, []
    for folder in sorted(os.listdir(TOP)):
        known = folder in table
        if folder.startswith((".", "build")) or not os.path.isdir(os.path.join(TOP, folder)):
            continue
        for where, _, names in os.walk(os.path.join(TOP, folder)):
            for name in sorted(n for n in names if n.endswith((".c", ".h", ".def", ".S"))):
                path = os.path.join(where, name)
                if not known and folder not in ("bench", "docs", "tools"):
                    bad.append(f"{os.path.relpath(path, TOP)}: tools/layers.txt lacks {folder}/")
                    continue
                wrong = file_check(path, folder, allowed.get(folder, set()))
                bad += wrong
                passed += not wrong
    print("\n".join(bad) + "\n" if bad else "", end="")
    print(f"{passed} passed, {len(bad)} failed")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
