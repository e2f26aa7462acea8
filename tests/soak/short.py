#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A short soak; and that one tells of what hangs, dies and miscounts."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import tally  # noqa: E402

ISOMER, SLACK = os.environ["ISOMER"], float(os.environ.get("SLACK", "1"))
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def check(what, isomer, options, status, expect):
    done = subprocess.run([sys.executable, TOP + "/tools/soak.py", "--isomer", isomer, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    good = done.returncode == status and all(x in done.stdout for x in expect)
    tally.check(good, f"{what}: status {done.returncode}\n{done.stdout}")


if __name__ == "__main__":
    check("soak", ISOMER, ["--minutes", "0.4", "--jobs", "3", "--patience", str(60 * SLACK), "--seed", os.environ.get("SEED", "1")], 0, ["processes: ", "signals: ", "jit: ", "soaked through"])
    with tempfile.TemporaryDirectory() as folder:
        for name, script, expect in (("hanging", "exec sleep 1000", "hangs"), ("dying", "kill -SEGV $$", "ended with status -11"), ("wrong", "echo wrong: x; exit 1", "wrong: x")):
            with open(f"{folder}/{name}", "w", encoding="utf-8") as f:
                f.write(f"#!/bin/sh\n{script}\n")
            os.chmod(f"{folder}/{name}", 0o755)
            check(name, f"{folder}/{name}", ["--minutes", "0.05", "--jobs", "1", "--patience", "1", "--seed", "77"], 1, [expect, "seed 77", "again: "])
    sys.exit(tally.finish())
