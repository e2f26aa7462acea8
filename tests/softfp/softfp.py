#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""base/softfp against this processor's FPU and against a riscv64 emulator's.

Environment: BUILD, a build directory with the test tools made. The emulator is trixie's qemu-riscv64, which
knows Zfh and Zfa. Ends with "N passed, N failed, N skipped", a case being one operation on one set of operands.
"""
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOOL = os.path.join(os.environ["BUILD"], "tests", "softfp", "softfp_test")
SEED = os.environ.get("SEED", "1")
HOST_COUNT, ORACLE_COUNT = "4000000", "1000000"

def oracle(work):
    """The oracle's results for fresh records, as two file names."""
    tools = subprocess.run([os.path.join(HERE, "..", "tools", "trixie-tools")], check=True, stdout=subprocess.PIPE,
                           text=True).stdout.strip()
    program, records, results = (os.path.join(work, n) for n in ("oracle_rv", "records", "results"))
    subprocess.run(["riscv64-linux-gnu-gcc", "-O2", "-static", os.path.join(HERE, "oracle_rv.c"), "-o", program],
                   check=True)
    with open(records, "wb") as out:
        subprocess.run([TOOL, "make", ORACLE_COUNT, SEED, "zfa"], check=True, stdout=out)
    with open(records, "rb") as inp, open(results, "wb") as out:
        subprocess.run([os.path.join(tools, "run"), "qemu-riscv64", "-cpu", "max", program], check=True, stdin=inp,
                       stdout=out)
    return records, results


def main():
    passed = failed = 0
    with tempfile.TemporaryDirectory() as work:
        for arguments in (["host", HOST_COUNT, SEED], ["check", *oracle(work)]):
            done = subprocess.run([TOOL, *arguments], check=False, stdout=subprocess.PIPE, text=True)
            lines = done.stdout.splitlines()
            counts = re.fullmatch(r"(\d+) passed, (\d+) failed", lines[-1] if lines else "")
            print("\n".join(lines[:-1]), end="\n" if lines[1:] else "")
            passed += int(counts.group(1)) if counts else 0
            failed += int(counts.group(2)) if counts else 1
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
