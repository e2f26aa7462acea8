#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each fuzz target over some thousand random inputs from $SEED; `./dev fuzz` does it for long, and guided."""
import glob
import os
import re
import subprocess
import sys

BUILD, SEED = os.environ["BUILD"], os.environ.get("SEED", "1")
COUNTS = {"fuzz_lift": "3000", "fuzz_state": "1000", "fuzz_qcow2": "5000", "fuzz_ir_text": "20000", "fuzz_elf": "20000"}


def main():
    passed = failed = 0
    for source in sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "fuzz_*.c"))):
        name = os.path.basename(source)[:-2]
        done = subprocess.run([os.path.join(BUILD, "tests", "fuzz", name), COUNTS.get(name, "10000"), SEED],
                              capture_output=True, text=True, errors="replace", check=False)
        counts = re.fullmatch(r"(\d+) passed, 0 failed\n", done.stdout)
        passed += int(counts.group(1)) if counts and not done.returncode else 0
        if not counts or done.returncode:
            failed += 1
            print(f"{name}: status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
