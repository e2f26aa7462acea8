#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the programs of tests/soak as guests, several at a time, in several ways, with orders that a seed decides, for a bounded time; prints what they survived. `./dev soak` calls it.

Exit status 1 when one hangs, dies or counts wrongly; then the line that repeats it is printed.
"""
import argparse
import collections
import glob
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# How Isomer is told to run; the first of them is how it runs by itself.
WAYS = [[], ["--hot", "8"], ["-tb-size", "64K"], ["--engine=quick"], ["--engine=interp"]]


def build(folder):
    programs = {}
    for path in sorted(glob.glob(TOP + "/tests/soak/*.c")):
        name = os.path.basename(path)[:-2]
        programs[name] = f"{folder}/{name}"
        subprocess.run(["riscv64-linux-gnu-gcc", "-O2", "-static", "-D_GNU_SOURCE", "-pthread", path, "-o", programs[name]], check=True)
    return programs


class Run:
    """One program at work; its process group is its own, so that all of it can be ended."""

    def __init__(self, isomer, path, way, seed, seconds, patience, cache):
        self.command = [isomer, "run", *way, path, str(seed), str(seconds)]
        self.name, self.output = os.path.basename(path), tempfile.TemporaryFile()
        self.until = time.monotonic() + seconds + patience
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, "ISOMER_CACHE": cache})

    def text(self):
        self.output.seek(0)
        return self.output.read().decode(errors="replace").strip()

    def threads(self):
        """Where its threads are, for a report of a hang."""
        lines = []
        for folder in glob.glob("/proc/[0-9]*/task/[0-9]*"):
            try:
                name, fields = open(folder + "/stat", encoding="utf-8", errors="replace").read().split("(", 1)[1].rsplit(") ", 1)
                session = int(fields.split()[3])
                if session == self.process.pid:
                    lines.append(f"{folder[6:]} {fields[0]} {name} {open(folder + '/wchan', encoding='utf-8').read()}")
            except OSError:
                pass  # it has ended meanwhile
        return "\n".join(lines[:60])

    def verdict(self):
        """None: at work; "": well; else what is wrong."""
        status = self.process.poll()
        if status is None:
            return f"hangs\n{self.threads()}" if time.monotonic() > self.until else None
        return "" if status == 0 else f"ended with status {status}"

    def end(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def count_add(counts, text):
    for word, number in re.findall(r"([a-z-]+) (\d+)", text.splitlines()[-1] if text else ""):
        counts[word] += int(number)


def soak(options, programs, cache):
    """The runs that went wrong: [(run, why)]."""
    order, end = random.Random(options.seed), time.monotonic() + options.minutes * 60
    counts, busy, wrong, ran = collections.defaultdict(collections.Counter), [], [], 0
    while busy or (time.monotonic() < end and not wrong):
        while len(busy) < options.jobs and time.monotonic() < end and not wrong:
            name = list(programs)[ran % len(programs)]
            busy.append(Run(options.isomer, programs[name], order.choice(WAYS), order.getrandbits(32), max(1, min(order.randint(2, 20), int(end - time.monotonic()))), options.patience, cache))
            ran += 1
        time.sleep(0.1)
        for run in [r for r in busy if r.verdict() is not None]:
            why = run.verdict()
            run.end()
            busy.remove(run)
            count_add(counts[run.name], run.text())
            if why:
                wrong.append((run, why))
    for name in sorted(counts):
        print(f"{name}: " + ", ".join(f"{number} {word}" for word, number in counts[name].items()))
    print(f"{ran} runs, seed {options.seed}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--isomer", default=TOP + "/build/isomer")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1), help="programs at a time")
    parser.add_argument("--patience", type=float, default=60, help="seconds that a program may take after its time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="isomer-soak.") as folder:
        wrong = soak(options, build(folder), folder + "/cache")
        for run, why in wrong:
            print(f"FAILED: {run.name} {why}\n  again: {' '.join(run.command).replace(folder, 'tests/soak')}\n{run.text()[-2000:]}")
    print("soaked through" if not wrong else f"seed {options.seed}: {len(wrong)} went wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
