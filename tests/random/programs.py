#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random C programs: the guest's compiler makes code that nobody would write by hand, the host's build is the oracle.

Each program has functions with loops, switches, calls through pointers, arrays, integers of every width and doubles,
and no undefined behaviour: what it computes does not depend on who compiled it. It is built at a random optimisation
level and run on every engine. $SEED chooses the programs, $ISOMER is under test. A failing program is kept.
"""
import concurrent.futures
import os
import random
import subprocess
import sys
import tempfile

ISOMER, SEED = os.environ["ISOMER"], int(os.environ.get("SEED", "1"))
COUNT = int(os.environ.get("COUNT", "40"))
ENGINES = {"default": [], "interp": ["--engine=interp"], "tiny": ["-tb-size", "64K"], "lockstep": ["--lockstep"],
           "one": ["-one-insn-per-tb"], "plain": ["-host-features", "-avx,-fma,-bmi1,-bmi2,-lzcnt"],
           "hot": ["--hot", "3"], "warm": ["--hot", "40"],  # what is optimised early, has seen little; later, inlined calls
           "lockstep-hot": ["--lockstep", "--hot", "3"],
        "hot-plain": ["--hot", "10", "-host-features", "-avx,-fma,-bmi1,-bmi2,-lzcnt"], "hot-tiny": ["--hot", "5", "-tb-size", "256K"]}
TYPES = ["int8_t", "uint8_t", "int16_t", "uint16_t", "int32_t", "uint32_t", "int64_t", "uint64_t"]
HEAD = """#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#define N 16
static uint64_t fuel = 60000, sum = 14695981039346656037u;
static void note(uint64_t x) { sum = (sum ^ x) * 1099511628211u; }
static void note_double(double d) { uint64_t b; if (d != d) d = 0; memcpy(&b, &d, 8); note(b); }
static int64_t to_int(double d) { return d > -9e18 && d < 9e18 ? (int64_t)d : 77; }
static uint32_t to_u32(double d) { return d > -1 && d < 4e9 ? (uint32_t)d : 78; }
"""


class Program:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.globals = [(f"g{i}", self.rng.choice(TYPES)) for i in range(8)]
        self.arrays = [(f"a{i}", self.rng.choice(TYPES)) for i in range(5)]
        self.doubles = [f"d{i}" for i in range(4)] + ["f0", "f1"]
        self.functions = self.rng.randrange(4, 9)
        self.loops = 0

    def constant(self):
        r = self.rng
        return r.choice([str(r.randrange(16)), hex(r.getrandbits(r.choice((8, 12, 16, 31, 32, 64)))) + "u",
                         f"{(1 << r.randrange(64))}u", f"{(1 << r.randrange(1, 64)) - 1}u", "0x80000000u",
                         "0x8000000000000000u"])

    def atom(self, scope):
        r = self.rng
        kind = r.randrange(8)
        if kind < 3 and scope:
            return r.choice(scope)
        if kind < 5:
            return r.choice(self.globals)[0]
        if kind == 5:
            return f"{r.choice(self.arrays)[0]}[(uint64_t)({r.choice(self.globals)[0]}) % N]"
        return self.constant()

    def expression(self, scope, depth=0):
        """An integer expression; arithmetic is done in uint64_t or uint32_t, so nothing overflows."""
        r = self.rng
        if depth > 3 or r.random() < 0.2:
            return f"(uint64_t){self.atom(scope)}"
        a, b = self.expression(scope, depth + 1), self.expression(scope, depth + 1)
        kind = r.randrange(16)
        wide = r.choice(("uint64_t", "uint64_t", "uint32_t"))
        bits = 63 if wide == "uint64_t" else 31
        if kind < 5:
            return f"({wide})(({wide})({a}) {r.choice('+-*&|^')} ({wide})({b}))"
        if kind < 7:
            return f"(uint64_t)(({wide})({a}) {r.choice(('<<', '>>'))} (({b}) & {bits}))"
        if kind == 7:
            return f"(uint64_t)((int{bits + 1}_t)({a}) >> (({b}) & {bits}))"
        if kind == 8:
            return f"(uint64_t)(({wide})({a}) {r.choice('/%')} (({wide})({b}) | 1))"
        if kind == 9:  # signed: no division by -1 or 0
            signed = wide[1:]
            return f"(uint64_t)(({signed})({a}) {r.choice('/%')} (({signed})(({b}) >> 1 & 0x7fffffff) + 2))"
        if kind == 10:
            cast = r.choice(TYPES)
            return f"(uint64_t)(({cast})({a}) {r.choice(('<', '>', '<=', '>=', '==', '!='))} ({cast})({b}))"
        if kind == 11:
            return f"(({a}) & 1 ? {b} : {self.expression(scope, depth + 2)})"
        if kind == 12:
            return f"(uint64_t)({r.choice(TYPES)})({a})"
        if kind == 13:
            op = r.choice(("__builtin_popcountll", "__builtin_bswap64", "~", "-", "!"))
            return f"(uint64_t){op}({a})"
        if kind == 14:
            return f"(uint64_t)(((unsigned __int128)({a}) * ({b})) >> 64)"
        return f"(uint64_t){r.choice(('to_int', 'to_u32'))}({self.floating(scope, depth + 1)})"

    def floating(self, scope, depth=0):
        r = self.rng
        if depth > 3 or r.random() < 0.3:
            return r.choice(self.doubles + ["1.5", "0.1", "-3e5", "1e-300", "(double)(float)0.1"])
        a, b = self.floating(scope, depth + 1), self.floating(scope, depth + 1)
        kind = r.randrange(7)
        if kind < 4:
            return f"({a} {r.choice('+-*/')} {b})"
        if kind == 4:
            return f"(double)(float)({a})"
        if kind == 5:
            return f"(double)({r.choice(TYPES)})({self.expression(scope, 3)})"
        return f"({a} < {b} ? {b} : sqrt(fabs({a})))"

    def statement(self, scope, depth, current):
        r = self.rng
        pad = "    " * (depth + 1)
        kind = r.randrange(14)
        if depth > 3:
            kind = min(kind, 4)
        if kind < 3:
            return f"{pad}{r.choice([g for g, _ in self.globals] + scope)} = {self.expression(scope)};\n"
        if kind == 3:
            return f"{pad}{r.choice(self.arrays)[0]}[({self.expression(scope, 2)}) % N] = {self.expression(scope)};\n"
        if kind == 4:
            return f"{pad}{r.choice(self.doubles)} = {self.floating(scope)};\n"
        if kind < 8:
            text = f"{pad}if ({self.expression(scope, 1)} & 1) {{\n" + self.block(scope, depth + 1, current) + f"{pad}}}"
            if r.random() < 0.5:
                text += " else {\n" + self.block(scope, depth + 1, current) + f"{pad}}}"
            return text + "\n"
        if kind < 10:
            self.loops += 1
            i = f"i{self.loops}"
            body = self.block(scope + [i], depth + 1, current)
            leave = f"{pad}    if (({self.expression(scope + [i], 2)}) % 13 == 5) {r.choice(('break', 'continue'))};\n"
            return (f"{pad}for (uint32_t {i}_ = 0, {i}; {i} = {i}_, {i}_ < {r.randrange(1, 20)} && fuel; {i}_++) {{\n"
                    f"{pad}    fuel--;\n" + body + leave + f"{pad}}}\n")
        if kind == 10:
            cases = "".join(f"{pad}case {n}:\n" + self.block(scope, depth + 1, current)
                            + (f"{pad}    break;\n" if r.random() < 0.7 else "")
                            for n in r.sample(range(12), r.randrange(2, 9)))
            return f"{pad}switch (({self.expression(scope, 1)}) % 12) {{\n{cases}{pad}default:;\n{pad}}}\n"
        if kind == 11 and current + 1 < self.functions:
            callee = r.randrange(current + 1, self.functions)
            return (f"{pad}{r.choice(self.globals)[0]} ^= fn{callee}({self.expression(scope, 2)}, "
                    f"{self.expression(scope, 2)}, {r.choice(self.doubles)});\n")
        if kind == 12 and current == 0:
            call = f"table[({self.expression(scope, 2)}) % 4]({self.expression(scope, 2)}, 3, 0.5)"
            return f"{pad}if (fuel > 100) {{\n{pad}    fuel -= 100;\n{pad}    note({call});\n{pad}}}\n"
        if kind == 12:
            return f"{pad}note({self.expression(scope)});\n"
        to, source = r.choice(self.arrays)[0], r.choice(self.arrays)[0]
        return f"{pad}memmove({to}, {source}, {r.randrange(1, 16)});\n"

    def block(self, scope, depth, current):
        return "".join(self.statement(scope, depth, current) for _ in range(self.rng.randrange(1, 5)))

    def text(self):
        out = [HEAD]
        for name, kind in self.globals:
            out.append(f"static {kind} {name} = ({kind}){self.constant()};\n")
        for name, kind in self.arrays:
            out.append(f"static {kind} {name}[N];\n")
        out += [f"static double d{i} = {self.rng.choice(('1.0', '-2.5', '1e10', '0.0'))};\n" for i in range(4)]
        out.append("static float f0 = 0.75f, f1 = -1e5f;\n")
        for n in range(self.functions):
            out.append(f"static uint64_t fn{n}(uint64_t x, uint32_t y, double z);\n")
        callable_last = [f"fn{self.functions - 1 - n % 3}" for n in range(4)]
        out.append(f"static uint64_t (*const table[4])(uint64_t, uint32_t, double) = {{{', '.join(callable_last)}}};\n")
        for n in range(self.functions):
            out.append(f"static __attribute__((noinline)) uint64_t fn{n}(uint64_t x, uint32_t y, double z) {{\n")
            out.append("    uint64_t v = x;\n    int32_t w = (int32_t)y;\n    d0 = d0 + z;\n    if (!fuel) return x;\n    fuel--;\n")
            out.append(self.block(["v", "w", "x", "y"], 0, n))
            out.append(f"    return {self.expression(['v', 'w', 'x', 'y'], 1)};\n}}\n")
        out.append("int main(void) {\n    for (int i = 0; i < 40; i++) {\n        fuel += 2000;\n"
                   "        note(fn0((uint64_t)i, (uint32_t)i, i * 0.5));\n    }\n")
        for name, _ in self.globals:
            out.append(f"    note((uint64_t){name});\n")
        for name, _ in self.arrays:
            out.append(f"    for (int i = 0; i < N; i++) note((uint64_t){name}[i]);\n")
        for name in self.doubles:
            out.append(f"    note_double({name});\n")
        out.append('    printf("%016llx\\n", (unsigned long long)sum);\n    return (int)(sum & 63);\n}\n')
        return "".join(out)


def run(command):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)
        return done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired:
        return "still running", b"", b""


def one(seed, work):
    """[problems] of the program of this seed."""
    base = os.path.join(work, f"p{seed}")
    with open(base + ".c", "w") as out:
        out.write(Program(seed).text())
    level = random.Random(seed).choice(["-O0", "-O1", "-O2", "-O3", "-Os"])
    flags = ["-w", "-ffp-contract=off", "-fwrapv"]
    for command in (["gcc", "-O1", *flags, base + ".c", "-o", base + ".native", "-lm"],
                    ["riscv64-linux-gnu-gcc", level, *flags, "-static", base + ".c", "-o", base + ".riscv64", "-lm"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return [f"does not compile: {done.stderr[:2000]}"]
    want = run([base + ".native"])
    problems = []
    for name, options in ENGINES.items():
        got = run([ISOMER, "run", *options, base + ".riscv64"])
        if got != want:
            problems.append(f"{level} {name}: {got}, the host {want}")
    for suffix in (".native", ".riscv64", ".c"):
        if not problems:
            os.unlink(base + suffix)
    return problems


def main():
    work = tempfile.mkdtemp(prefix="isomer-random.")
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        seeds = range(SEED * 1000, SEED * 1000 + COUNT)
        for seed, problems in zip(seeds, pool.map(lambda s: one(s, work), seeds)):
            passed += not problems
            failed += bool(problems)
            for problem in problems:
                print(f"program {seed}: {problem}")
    if not failed:
        os.rmdir(work)
    else:
        print(f"kept in {work}")
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
