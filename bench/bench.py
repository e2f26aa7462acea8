#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: the same source for host and guest, run natively, under Isomer and under QEMU, interleaved.

Prints CPU time (user and system, of all children) as ratios to native: the least of N runs each, since what disturbs
a run only makes it longer; so Isomer's translation cache is warm, except with --cold. Then geometric means, and, since they don't depend on the machine's mood, the counts that
`isomer run --stats` prints. Programs whose output differs from the native one are reported and count as failures.
"""
import argparse
import math
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
CFLAGS = ["-O2", "-ffp-contract=off", "-pthread"]
GROUPS = {
    "integer": ["sort", "branchy", "bytecode_switch", "bytecode_goto", "calls", "virtual", "chase", "strings", "muldiv",
                "memory", "sha256", "chacha"],
    "floating point": ["nbody", "mandelbrot", "matmul"],
    "system": ["atomics", "syscalls", "cold", "hello"],
}
REPEAT = {"hello": 40, "cold": 4}  # runs that count as one


def cold_source():
    """Much code that runs once: 1500 functions, each different and called twice."""
    lines = ['/* Much code that is run once. */', '#include "bench.h"', "static uint64_t x = 1;"]
    for i in range(1500):
        lines.append(f"static __attribute__((noinline)) void f{i}(uint64_t a) {{")
        for j in range(12):
            k = (i * 2654435761 + j * 40503) % 65521
            op = ("x += a * {0};", "x ^= x >> {1};", "if (x & {0}) a += {0}; else x -= a;", "x = x * {0} + {1};",
                  "a ^= x << {1};")[(i + j * 7) % 5]
            lines.append("    " + op.format(k | 1, k % 31 + 1))
        lines.append("}")
    lines += ["int main(void) {", "    for (int n = 0; n < 2; n++) {"]
    lines += [f"        f{i}(n + {i});" for i in range(1500)]
    lines += ["    }", '    printf("%llx\\n", (unsigned long long)x);', "    return 0;", "}"]
    return "\n".join(lines) + "\n"


def build(names, directory):
    """{name: (host program, guest program)}; rebuilt only when the source is newer."""
    os.makedirs(directory, exist_ok=True)
    cold = os.path.join(directory, "cold.c")
    if not os.path.exists(cold) or open(cold).read() != cold_source():
        with open(cold, "w") as out:
            out.write(cold_source())
    programs = {}
    for name in names:
        source = cold if name == "cold" else os.path.join(HERE, "src", name + ".c")
        pair = []
        for suffix, command in (("native", ["gcc", *CFLAGS]), ("riscv64", ["riscv64-linux-gnu-gcc", *CFLAGS, "-static"])):
            path = os.path.join(directory, f"{name}.{suffix}")
            newest = max(os.path.getmtime(p) for p in (source, os.path.join(HERE, "src", "bench.h"),
                                                       os.path.join(HERE, "src", "bytecode.h")))
            if not os.path.exists(path) or os.path.getmtime(path) < newest:
                subprocess.run([*command, "-I" + os.path.join(HERE, "src"), source, "-o", path, "-lm"], check=True)
            pair.append(path)
        programs[name] = tuple(pair)
    return programs


def measure(command, count, limit):
    """(CPU seconds, wall seconds, output) of `count` runs."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    for _ in range(count):
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            return math.nan, math.nan, "too slow"
        if done.returncode:
            return math.nan, math.nan, f"status {done.returncode}: {done.stderr.decode(errors='replace')[:200]}"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.monotonic() - started, done.stdout.decode(errors="replace")


def mean(values):
    values = [v for v in values if v == v and v > 0]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def stats_get(isomer, program):
    """{key: value} of the "key: value" lines that --stats prints; without a translation cache, so that there is something to count."""
    with tempfile.TemporaryFile("w+") as err:
        subprocess.run([isomer, "run", "--stats", program], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=err, check=False, env={**os.environ, "ISOMER_CACHE": "off"})
        err.seek(0)
        found = re.findall(r"^([a-z][\w .-]*): +([\d.]+)", err.read(), re.M)
    return {key: float(value) for key, value in found}


def newest_qemu():
    return subprocess.run([os.path.join(TOP, "tests", "tools", "newest-qemu")], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def print_row(title, row):
    """`row`: times native, of Isomer first, then of the others."""
    print(f"{title:28s} {row[0]:9.2f}" + "".join(f" {r:9.2f} {r / row[0]:9.2f}" for r in row[1:]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="programs; all of them by default")
    parser.add_argument("-n", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--isomer", default=os.path.join(TOP, "build", "isomer"))
    parser.add_argument("--qemu", default=shutil.which("qemu-riscv64"), help="another emulator, or '' for none")
    parser.add_argument("--newest", action="store_true", help="compare with the newest QEMU too (tests/tools/newest-qemu)")
    parser.add_argument("--options", default="", help="options for isomer run")
    parser.add_argument("--no-stats", action="store_true")
    parser.add_argument("--cold", action="store_true", help="without a translation cache")
    parser.add_argument("--limit", type=float, default=120, help="seconds for one run")
    options = parser.parse_args()
    names = [n for group in GROUPS.values() for n in group if not options.names or n in options.names]
    cache = os.path.join(TOP, "build", "bench", "cache")  # of the benchmark's own; after the first round it is warm
    os.makedirs(cache, mode=0o700, exist_ok=True)
    os.environ["ISOMER_CACHE"] = "off" if options.cold else cache
    programs = build(names, os.path.join(TOP, "build", "bench"))
    runners = {"native": lambda p: [p[0]],
               "isomer": lambda p: [options.isomer, "run", *options.options.split(), p[1]]}
    if options.qemu:
        runners["qemu"] = lambda p: [options.qemu, p[1]]
    if options.newest:
        newest = newest_qemu()
        runners["newest"] = lambda p: [newest, p[1]]
    others = [who for who in ("qemu", "newest") if who in runners]

    best = {name: {} for name in names}
    outputs = {name: {} for name in names}
    for _ in range(options.n):
        for name in names:
            for who, command in runners.items():
                if best[name].get(who) != best[name].get(who):  # failed before
                    continue
                cpu, _, out = measure(command(programs[name]), REPEAT.get(name, 1), options.limit)
                outputs[name][who] = out
                best[name][who] = min(best[name].get(who, math.inf), cpu) if cpu == cpu else math.nan

    print(f"{'CPU time':18s} {'native s':>9s} {'isomer x':>9s}" + "".join(f" {who + ' x':>9s} {'/ isomer':>9s}" for who in others))
    failed = 0
    rows = {}
    for group, members in GROUPS.items():
        members = [n for n in members if n in names]
        for name in members:
            b = best[name]
            native = b["native"] / REPEAT.get(name, 1)
            rows[name] = [b.get(who, math.nan) / b["native"] for who in ("isomer", *others)]
            print_row(f"{name:18s} {native:9.4f}", rows[name])
            for who, out in outputs[name].items():
                if out != outputs[name]["native"]:
                    failed += 1
                    print(f"    {who}: {out.strip()[:300]!r}, native {outputs[name]['native'].strip()[:80]!r}")
        if len(members) > 1:
            print_row("mean of " + group, [mean(rows[n][i] for n in members) for i in range(1 + len(others))])
    if len(names) > 1:
        print_row("geometric mean of all", [mean(r[i] for r in rows.values()) for i in range(1 + len(others))])

    if not options.no_stats:
        table = {name: stats_get(options.isomer, programs[name][1]) for name in names}
        print("\ncounts of `isomer run --stats`: what was translated, and how well")
        columns = [("blocks", "blocks"), ("guest_insns", "guest insns"), ("ir_per", "IR/insn"),
                   ("host_bytes_per_guest_insn", "host B/insn"), ("host_insns_per_guest_insn", "host i/insn"),
                   ("translate_ns_per_guest_insn", "ns/insn"), ("dispatches", "dispatches"), ("flushes", "flushes")]
        for row in table.values():
            if row.get("guest_insns"):
                row["ir_per"] = row.get("ir_insns", 0) / row["guest_insns"]
        columns = [c for c in columns if any(c[0] in row for row in table.values())]
        print(f"{'':18s}" + "".join(f"{title:>13s}" for _, title in columns))
        for name, row in table.items():
            print(f"{name:18s}" + "".join(f"{row[key]:13.6g}" if key in row else f"{'-':>13s}" for key, _ in columns))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
