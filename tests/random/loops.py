#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random loops, made into vector instructions by a compiler that knows how (gcc 14 of the riscv64 tree, which runs under $ISOMER itself). The oracle is the
newest qemu-riscv64 on the same program: not another build, since that compiler makes mistakes in a loop of a thousand.

Each program is a row of functions with one loop over arrays: maps with conditions, reductions, strides, gathers, reversals, searches, between elements of
any type; they are called with many lengths. $SEED chooses the programs, $COUNT how many. A failing program is kept.
"""
import concurrent.futures
import os
import random
import subprocess
import sys
import tempfile

ISOMER, SEED = os.environ["ISOMER"], int(os.environ.get("SEED", "1"))
COUNT, LOOPS = int(os.environ.get("COUNT", "6")), 40
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
QEMU = subprocess.run([os.path.join(TOP, "tests", "tools", "newest-qemu")], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()
ENGINES = {"default": [], "interp": ["--engine=interp"], "hot": ["--hot", "3"], "lockstep": ["--lockstep"], "lockstep-hot": ["--lockstep", "--hot", "3"],
           "plain": ["--hot", "10", "-host-features", "-avx,-fma,-bmi1,-bmi2,-lzcnt,-aes,-clmul,-sha"], "tiny": ["-tb-size", "64K"]}
INTS = ["int8_t", "uint8_t", "int16_t", "uint16_t", "int32_t", "uint32_t", "int64_t", "uint64_t"]
FLOATS = ["float", "double"]
BITS = {t: int("".join(filter(str.isdigit, t))) for t in INTS}
MARCHES = ["rv64gcv", "rv64gcv_zvbb", "rv64gcv_zvfh_zvbb_zvbc_zba_zbb_zbs", "rv64gcv_zvl128b"]
OPTIONS = [[], ["-mrvv-max-lmul=m8"], ["-mrvv-max-lmul=m4"], ["-mrvv-max-lmul=dynamic"], ["-mrvv-vector-bits=zvl"]]
HEAD = """#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#define N 600
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
static uint64_t sum = 14695981039346656037u, state = 88172645463325252u;
static void note(uint64_t x) { sum = (sum ^ x) * 1099511628211u; }
static uint64_t next(void) { state ^= state << 13; state ^= state >> 7; state ^= state << 17; return state; }
static double real(void) { return (double)(int64_t)(next() >> 40) / 1024 - 4000; }
static uint16_t at[N];
"""


class Program:
    def __init__(self, seed):
        self.rng = random.Random(seed)

    def leaf(self, arrays):
        r = self.rng
        kind = r.randrange(8)
        if kind < 5:
            name, type_ = r.choice(arrays)
            return f"{name}[i]", type_
        if kind == 5:
            return "k", "int32_t"
        if kind == 6:
            return "x", "double"
        return str(r.choice((0, 1, 2, 3, 7, 15, 100, 255, -1, -2, -128))), "int32_t"

    def convert(self, text, from_, to):
        if to == from_:
            return text
        if from_ in FLOATS and to in INTS:
            low = 0 if to[0] == "u" else -100
            return f"({text} >= {low} && {text} < 120 ? ({to}){text} : ({to})9)"
        return f"({to})({text})"

    def expression(self, arrays, type_, depth):
        """Of this type."""
        r = self.rng
        if depth == 0 or not r.randrange(5):
            return self.convert(*self.leaf(arrays), type_)
        if not r.randrange(5):  # by another type
            other = r.choice(INTS + FLOATS)
            if other in FLOATS and type_ in INTS:
                return self.convert(*self.leaf([a for a in arrays if a[1] in FLOATS] or arrays), type_)
            return self.convert(self.expression(arrays, other, depth - 1), other, type_)
        a, b = self.expression(arrays, type_, depth - 1), self.expression(arrays, type_, depth - 1)
        if not r.randrange(5):
            return f"({self.condition(arrays, depth - 1)} ? {a} : {b})"
        if type_ in FLOATS:
            sqrt, fabs = ("sqrt", "fabs") if type_ == "double" else ("sqrtf", "fabsf")
            return r.choice((f"({a} + {b})", f"({a} - {b})", f"({a} * {b})", f"({a} / {b})", f"{sqrt}({fabs}({a}))", f"{fabs}({a})", f"(-{a})",
                             f"({a} * {b} + {a})"))
        wide = BITS[type_]
        return f"({type_})" + r.choice((
            f"({a} + {b})", f"({a} - {b})", f"({a} * {b})", f"({a} & {b})", f"({a} | {b})", f"({a} ^ {b})", f"(~{a})", f"(-{a})", f"MIN({a}, {b})",
            f"MAX({a}, {b})", f"({a} << {r.randrange(wide)})", f"({a} >> {r.randrange(wide)})", f"({a} >> ({b} & {wide - 1}))", f"({a} << ({b} & {wide - 1}))",
            f"({a} / ({b} | 1 ? (uint{wide}_t)({b} | 1) : 1))", f"(((uint64_t){a} + (uint64_t){b} + 1) >> 1)", f"({a} < {b})", f"({a} % ((uint{wide}_t)({b} & 15) + 1))"))

    def condition(self, arrays, depth):
        r = self.rng
        type_ = r.choice(arrays)[1]
        a, b = self.expression(arrays, type_, depth), self.expression(arrays, type_, depth)
        return f"({a} {r.choice(('<', '<=', '==', '!=', '>', '>='))} {b})"

    def body(self, arrays, out):
        """The loop, over arrays; `out` is (name, type) of the one written."""
        r = self.rng
        name, type_ = out
        e = self.expression(arrays, type_, r.randrange(1, 4))
        kind = r.randrange(11)
        if kind < 3:
            return f"for (int i = 0; i < n; i++) {name}[i] = {e};"
        if kind < 5:
            return f"for (int i = 0; i < n; i++) if ({self.condition(arrays, 2)}) {name}[i] = {e};"
        if kind == 5:
            step = r.choice((2, 3, 4))
            parts = "".join(f" {name}[{step} * i + {j}] = {self.expression(arrays, type_, 1)};" for j in range(step))
            return f"for (int i = 0; i < n / {step}; i++) {{{parts} }}"
        if kind == 6:
            source, other = r.choice(arrays)
            step = r.choice((2, 3, 4, 5))
            return f"for (int i = 0; i < n / {step}; i++) {name}[i] = {self.convert(f'{source}[{step} * i + {r.randrange(step)}]', other, type_)};"
        if kind == 7:
            source, other = r.choice(arrays)
            return f"for (int i = 0; i < n; i++) {name}[i] = {self.convert(f'{source}[at[i]]', other, type_)};"
        if kind == 8:
            source, other = r.choice(arrays)
            return f"for (int i = 0; i < n; i++) {name}[i] = {self.convert(f'{source}[n - 1 - i]', other, type_)};"
        if kind == 9:
            return f"int i = 0; while (i < n && !{self.condition(arrays, 1)}) i++; {name}[0] = ({type_})i;"
        how = r.choice(("s += {};", "s ^= {};", "s = MIN(s, {});", "s = MAX(s, {});", "if ({} > k) s++;") if type_ in INTS else ("s += {};", "s = s > {0} ? s : {0};"))
        return f"{type_} s = ({type_})k; for (int i = 0; i < n; i++) {{ {how.format(e)} }} {name}[0] = s;"

    def text(self):
        r = self.rng
        arrays = [(f"a{j}", t) for j, t in enumerate(INTS + FLOATS + r.choices(INTS + FLOATS, k=4))]
        out = [HEAD] + [f"static {t} {a}[N];" for a, t in arrays]
        for j in range(LOOPS):
            target = r.choice(arrays)
            sources = r.sample([a for a in arrays if a != target], r.randrange(1, 4))
            params = "".join(f", const {t} *restrict {a}" for a, t in sources)
            out.append(f"__attribute__((noinline)) static void f{j}(int n, int k, double x, {target[1]} *restrict {target[0]}{params}) {{ {self.body(sources, target)} }}")
            out.append(f"static void c{j}(int n, int k) {{ f{j}(n, k, k * 0.75, {target[0]}{''.join(', ' + a for a, _ in sources)}); }}")
        out.append("static void fill(void) { for (int i = 0; i < N; i++) { at[i] = next() % N; uint64_t v = next(), w = next() >> (v & 63);")
        out += [f"{a}[i] = ({t})({'real()' if t in FLOATS else f'w * {j + 1}'});" for j, (a, t) in enumerate(arrays)]
        out.append("} }\nstatic void note_all(void) { for (int i = 0; i < N; i++) {")
        out += [f"{{ double d = {a}[i]; uint64_t b; if (d != d) d = 0; memcpy(&b, &d, 8); note(b); }}" if t in FLOATS else f"note((uint64_t){a}[i]);" for a, t in arrays]
        out.append("} }\nint main(void) { static const int lengths[] = {0, 1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 64, 100, 127, 257, 600};\nfor (int j = 0; j < 16; j++) { fill();")
        out += [f"c{j}(lengths[j], (int)(next() % 40) - 10); note_all(); printf(\"{j} %d %016lx\\n\", lengths[j], sum);" for j in range(LOOPS)]
        return "\n".join(out) + "\n} }\n"


def build(folder, root, seed):
    rng = random.Random(seed)
    source = os.path.join(folder, "p%d.c" % seed)
    with open(source, "w") as f:
        f.write(Program(seed).text())
    flags = ["-w", "-fwrapv", "-ffp-contract=off", "-fno-math-errno", source, "-lm", "-o"]
    subprocess.run([ISOMER, "run", "-L", root, root + "/usr/bin/gcc", rng.choice(("-O3", "-O3", "-O2")), "-static", "-march=" + rng.choice(MARCHES)] +
                   rng.choice(OPTIONS) + flags + [source[:-2]], check=True)
    return source[:-2]


def output(command):
    done = subprocess.run(["timeout", "120"] + command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout.decode(errors="replace")


def first_difference(want, got):
    for w, g in zip(want[1].splitlines(), got[1].splitlines()):
        if w != g:
            return "%s instead of %s" % (g, w)
    return "status %d instead of %d, %d lines" % (got[0], want[0], len(got[1].splitlines()))


def check(folder, root, seed):
    """[(engine, what is wrong or None)]"""
    try:
        program = build(folder, root, seed)
    except subprocess.CalledProcessError as e:
        return [("build", str(e))]
    want = output([QEMU, "-cpu", "max", program])
    out = []
    for engine, options in ENGINES.items():
        got = output([ISOMER, "run"] + options + [program])
        out.append((engine, None if got == want else first_difference(want, got)))
    return out


def main():
    made = subprocess.run([os.path.join(TOP, "tests", "tools", "riscv-root"), "full"], stdout=subprocess.PIPE, text=True)
    if made.returncode:
        print("skipped: no riscv64 tree, so no compiler that makes vector loops")
        print("0 passed, 0 failed")
        return 0
    folder = tempfile.mkdtemp(prefix="isomer-loops-")
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        seeds = range(SEED * 1000, SEED * 1000 + COUNT)
        for seed, results in zip(seeds, pool.map(lambda s: check(folder, made.stdout.strip(), s), seeds)):
            for engine, wrong in results:
                passed, failed = passed + (wrong is None), failed + (wrong is not None)
                if wrong:
                    print(f"FAIL {folder}/p{seed}.c [{engine}]: {wrong}")
    if not failed:
        subprocess.run(["rm", "-r", folder])
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
