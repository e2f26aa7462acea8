#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Functions of the C library that regions do in place (engine/known.c): known.c and known_other.c beside the host's own builds of them: with the guest's functions, with
a translation cache, cold and warm, and with other functions of the same names in place of the library's, whose calls must all come by."""
import os
import re
import subprocess
import sys
import tempfile

ISOMER = os.environ["ISOMER"]
HERE = os.path.dirname(os.path.abspath(__file__))
FLAGS = ["-O2", "-fno-builtin"]  # every call is one
SYSROOT = "/usr/riscv64-linux-gnu"
ROUNDS = "300000"  # as many as it takes to make regions meanwhile


def build(work, compiler, suffix):
    subprocess.run([compiler, *FLAGS, "-o", f"{work}/program.{suffix}", HERE + "/known.c"], check=True)
    subprocess.run([compiler, *FLAGS, "-fPIC", "-shared", "-o", f"{work}/other.{suffix}", HERE + "/known_other.c"], check=True)


class Tests:
    def __init__(self, work):
        self.work = work
        self.passed = self.failed = 0

    def check(self, name, good, why=""):
        self.passed += good
        self.failed += not good
        if not good:
            print(f"FAILED {name} {why}")

    def run(self, name, wanted, options, preload=False, done=None, rounds=ROUNDS):
        """Runs the guest's program; `done` is whether regions were made in which calls are done in place."""
        env = ["-E", f"LD_PRELOAD={self.work}/other.guest"] if preload else []
        r = subprocess.run([ISOMER, "run", "-L", SYSROOT, "--hot", "8", "--stats", *options, *env, self.work + "/program.guest", rounds],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, timeout=300)
        self.check(name, r.returncode == 0 and r.stdout == wanted, f"status {r.returncode}, {len(r.stdout)} bytes of {len(wanted)}\n{r.stderr[:300]}")
        known = int(re.search(r"region_known: (\d+)", r.stderr).group(1))
        if done is not None:
            self.check(name + ": done in place", (known > 0) == done, known)


def native(work, preload, rounds=ROUNDS):
    env = dict(os.environ, LD_PRELOAD=work + "/other.host") if preload else None
    return subprocess.run([work + "/program.host", rounds], env=env, check=True, stdout=subprocess.PIPE, text=True).stdout


def main():
    if not os.path.exists(SYSROOT + "/lib/libc.so.6"):
        print("skipped: the C library for the cross compiler is not installed\n0 passed, 0 failed, 1 skipped")
        return 0
    with tempfile.TemporaryDirectory() as work:
        build(work, "riscv64-linux-gnu-gcc", "guest")
        build(work, "gcc", "host")
        t = Tests(work)
        own, others = native(work, False), native(work, True)
        t.check("the functions differ", own != others)
        t.run("in place", own, ["--cache=off"], done=True)
        t.run("the guest's", own, ["--cache=off", "--libc=guest"], done=False)
        t.run("others", others, ["--cache=off"], preload=True)
        os.mkdir(work + "/cache", 0o700)
        cached = ["--cache=" + work + "/cache"]
        for turn in ("cold", "warm"):
            t.run(f"cached, {turn}", own, cached)
        t.run("cached, in lockstep", native(work, False, "2000"), [*cached, "--lockstep"], done=False, rounds="2000")
        for turn in ("that cache", "again"):
            t.run(f"others, {turn}", others, cached, preload=True)
        t.run("cached, after others", own, cached)
    print(f"{t.passed} passed, {t.failed} failed")
    return t.failed != 0


if __name__ == "__main__":
    sys.exit(main())
