#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The back end for regions against the interpreter; see region_test.c. Environment: BUILD, SEED. Ends with "N passed, N failed"."""
import os
import subprocess
import sys

TOOL = os.path.join(os.environ["BUILD"], "tests", "unit", "region_test")
SEED = int(os.environ.get("SEED", "1"))
FEATURES = ["", "-avx512", "-avx512,-fma,-bmi2,-aes,-clmul", "-avx512,-fma,-bmi2,-avx2,-avx,-bmi1,-lzcnt"]

if __name__ == "__main__":
    passed = failed = 0
    for k, without in enumerate(FEATURES):
        done = subprocess.run([TOOL, str(SEED * 100000 + 5000 * k), "2500", without], stdout=subprocess.PIPE, text=True)
        words = done.stdout.split()
        ok = done.returncode == 0 and words[-1:] == ["failed"]
        passed, failed = passed + (2500 if ok else 0), failed + (not ok)
        if not ok:
            print(done.stdout[-4000:], file=sys.stderr)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed != 0)
