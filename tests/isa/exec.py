#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Executes every row on random and corner-case states, and compares with qemu-riscv64 (suite trixie's, see tests/tools).

    exec.py [--count N] [--seed N] [--row REGEX] [-- PROGRAM ...]

The semantics alone are tested by exec_tool, which lifts, verifies, prints, parses and interprets. Where the environment names
ISOMER, that runs exec_guest with its interpreter and with generated code. PROGRAM (`build/isomer run --something`)
replaces these. N cases for each row, then short random sequences: for state forwarded from instruction to
instruction, for branches, loops and calls, for exact state at a fault in their middle, for fcsr, and for reservations.
"""
import argparse
import glob
import os
import random
import re
import struct
import subprocess

import common

CODE_AT, MEMORY, CODE_SIZE, MEMORY_SIZE = 0x20000008, 0x10001000, 256, 256
CASE = struct.Struct('<256sQ32Q32Q256s')
RESULT = struct.Struct('<QQQ32Q32Q256s')
CEBREAK = b'\x02\x90'
MASK = (1 << 64) - 1

# Not compared: what asks the world, and what other tests have (system calls).
# cbo.clean and cbo.flush are legal at user level since Linux 6.16 and in RVA23U64, but not in qemu.
SKIP = {'ecall', 'ebreak', 'c.ebreak', 'fence.i', 'cbo.clean', 'cbo.flush'}
CSRS = (1, 2, 3, 1, 2, 3, 0x100, 0x300, 0x7c0, 0x008 | 0x800)
F64 = [0, 0x8000000000000000, 1, 0x8000000000000001, 0xfffffffffffff, 0x10000000000000, 0x3ff0000000000000, 0xbff0000000000000,
       0x3fe0000000000000, 0x3ff8000000000000, 0x4004000000000000, 0x7fefffffffffffff, 0xffefffffffffffff, 0x7ff0000000000000,
       0xfff0000000000000, 0x7ff8000000000000, 0x7ff0000000000001, 0xfff8000000001234, 0x41dfffffffc00000, 0x41e0000000000000,
       0xc1e0000000000000, 0x43e0000000000000, 0xc3e0000000000000, 0x43f0000000000000, 0x3ff0000000000001, 0x3ca0000000000000,
       0x36a0000000000000, 0x380fffffe0000000, 0x47efffffe0000000, 0x47effffff0000000, 0x40effc0000000000, 0x40effe0000000000]
F32 = [0, 0x80000000, 1, 0x80000001, 0x7fffff, 0x800000, 0x3f800000, 0xbf800000, 0x3f000000, 0x3fc00000, 0x40200000, 0x7f7fffff,
       0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffc01234, 0x4effffff, 0x4f000000, 0xcf000000, 0x5f000000,
       0xdf000000, 0x5f800000, 0x3f800001, 0x33800000, 0x477fe000, 0x477fefff, 0x477ff000, 0x38800000, 0x387fc000, 0x33000000]
F16 = [0, 0x8000, 1, 0x8001, 0x3ff, 0x400, 0x3c00, 0xbc00, 0x3800, 0x3e00, 0x4100, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00,
       0x7c01, 0xfe12, 0x77ff, 0x7800, 0xf800, 0x3c01]
INT = [0, 1, 2, 31, 32, 63, 64, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
       0x7fffffffffffffff, 0x8000000000000000, MASK, MASK - 1, 0xffffffff80000000, 0xffffffff7fffffff, 0x8080808080808080,
       0x0101010101010101, 0x0123456789abcdef]


class Maker:
    def __init__(self, rows, seed):
        self.rng = random.Random(seed)
        self.rows = rows

    def integer(self):
        r = self.rng
        kind = r.randrange(4)
        if kind == 0:
            return r.choice(INT)
        if kind == 1:
            return r.getrandbits(64)
        if kind == 2:
            return (r.getrandbits(r.randrange(1, 64)) * r.choice((1, -1))) & MASK
        return (r.choice(INT) + r.randrange(-3, 4)) & MASK

    def real(self, width):
        """A container: the width's value, boxed mostly."""
        r = self.rng
        corner, bits, exponent, mantissa = {64: (F64, 64, 11, 52), 32: (F32, 32, 8, 23), 16: (F16, 16, 5, 10)}[width]
        kind = r.randrange(8)
        if kind < 3:
            v = r.choice(corner)
        elif kind == 3:
            v = r.getrandbits(bits)
        else:  # of moderate size, with few bits set half of the time
            e = (1 << exponent - 1) - 1 + r.randrange(-mantissa - 4, mantissa + 4)
            m = r.getrandbits(mantissa)
            if kind & 1:
                m &= -1 << r.randrange(mantissa + 1)
            v = r.getrandbits(1) << bits - 1 | max(1, min(e, (1 << exponent) - 2)) << mantissa | m & (1 << mantissa) - 1
        if width < 64 and r.randrange(16):
            v |= MASK << width & MASK
        return v

    def encode(self, row):
        """A random legal encoding; rm is mostly a good one."""
        r = self.rng
        while True:
            word = r.getrandbits(8 * row['size']) & ~row['mask'] | row['match']
            fields = row['fields']
            if 'rm' in fields:
                word = word & ~(7 << 12) | r.choice((0, 1, 2, 3, 4, 7, 7, 7, 7, r.randrange(8))) << 12
            if 'csr' in row['facts']:
                word = word & 0xfffff | r.choice(CSRS) << 20
            if all(self.holds(row, c, word) for c in row['constraints']):
                return word

    def value(self, row, name, word):
        return sum((word >> lo & (1 << hi - lo + 1) - 1) << vlo for hi, lo, vlo in row['fields'][name])

    def holds(self, row, constraint, word):
        name, mod, rel, value = re.fullmatch(r"([a-z0-9']+)(?:%(\d+))?(!=|<=|=)(\w+)", constraint).groups()
        v = self.value(row, name, word)
        v = v % int(mod) if mod else v
        return {'!=': v != int(value), '<=': v <= int(value), '=': v == int(value)}[rel]

    def base_register(self, row, word):
        """The register that holds the address, and the displacement, of a row that accesses memory."""
        size = self.access_size(row)
        if not size:
            return None
        syntax = row['syntax']
        m = re.search(r"\((\w+'?)\)", syntax)
        reg = m[1]
        number = int(reg[1:]) if reg not in row['fields'] else self.value(row, reg, word) + (8 if reg.endswith("'") else 0)
        return number, self.displacement(row, word), size, 'amo' in ' '.join(row['facts']) or row['op'].startswith(('lr.', 'sc.'))

    def displacement(self, row, word):
        imm = 0
        for name in ('imm', 'uimm'):
            if name in row['fields'] and name in row['syntax']:
                imm = self.value(row, name, word)
                top = max(vlo + hi - lo + 1 for hi, lo, vlo in row['fields'][name])
                if name == 'imm' and imm >> top - 1:
                    imm -= 1 << top
        return imm

    def access_size(self, row):
        full = next(r for r in self.rows if r['name'] == row['op'])
        for f in full['facts']:
            m = re.fullmatch(r'(?:load|store|amo)(\d+)', f)
            if m:
                return int(m[1])
        return 1 if 'cbo' in full['facts'] else 0

    def state(self, width):
        r = self.rng
        x = [self.integer() for _ in range(32)]
        for n in range(1, 32):  # equal operands
            if not r.randrange(12):
                x[n] = x[r.randrange(1, 32)]
        f = [self.real(width) for _ in range(32)]
        fcsr = r.choice((0, 0, 1, 2, 3, 4, r.choice((5, 6, 7)))) << 5 | r.choice((0, 0, 31, r.getrandbits(5)))
        return x, f, fcsr, bytearray(r.getrandbits(8) for _ in range(MEMORY_SIZE))

    def aim(self, x, number, imm, size, aligned):
        """Points a register into the memory of the case."""
        at = self.rng.randrange(0, MEMORY_SIZE - size + 1)
        if aligned:
            at &= -size
        x[number] = (MEMORY + at - imm) & MASK

    def width_of(self, row):
        name = row['op']
        for suffix, width in (('.h', 16), ('.s', 32), ('.w', 32), ('.d', 64)):
            if name.endswith(suffix):
                return width
        return self.rng.choice((64, 32, 16))

    def single(self, row):
        while True:
            word = self.encode(row)
            if row['op'] in ('beq', 'bne', 'blt', 'bge', 'bltu', 'bgeu', 'jal') and -10 <= self.displacement(row, word) <= 0:
                continue  # an endless loop
            x, f, fcsr, memory = self.state(self.width_of(row))
            base = self.base_register(row, word)
            if base:
                if base[0] == 0:
                    continue  # not ours to aim; addresses near 0 fault in the same way, other tests have that
                self.aim(x, *base)
                if 'rmw' in row['facts'] and self.rng.randrange(2) and base[2] <= 8:  # let compare-and-swap succeed
                    rd = self.value(row, 'rd', word)
                    if rd and rd != base[0]:
                        at = x[base[0]] - MEMORY
                        x[rd] = int.from_bytes(memory[at:at + base[2]], 'little')
            return self.case([word], x, f, fcsr, memory)

    def case(self, words, x, f, fcsr, memory):
        code = b''.join(w.to_bytes(common.insn_len(w), 'little') for w in words)
        code += CEBREAK * ((CODE_SIZE - len(code)) // 2)
        return code, CASE.pack(code, fcsr, *x, *f, bytes(memory))

    def writes(self, row, word, registers):
        for name, first in (('rd', 0), ("rd'", 8)):
            if name in row['fields'] and self.value(row, name, word) + first in registers:
                return True
        return False

    def sequence(self, calm, accesses, at_end=False):
        """Eleven instructions; x8 and x9 point into memory, or to where its page ends, and are not written."""
        r = self.rng
        x, f, fcsr, memory = self.state(r.choice((64, 64, 32, 32, 16)))
        fcsr &= 0x7f if fcsr >> 5 < 5 else 0
        words = []
        x[8], x[9] = MEMORY + 64, (MEMORY & -4096) + 4096 if at_end else MEMORY + 128
        while sum(map(common.insn_len, words)) < 44:
            row = r.choice(accesses if r.randrange(3) == 0 else calm)
            word = self.encode(row)
            if self.writes(row, word, (8, 9)):
                continue
            words.append(self.aimed(row, word) if row in accesses else word)
        return self.case(words, x, f, fcsr, memory)


    def put(self, row, name, value, word):
        for hi, lo, vlo in row['fields'][name]:
            mask = (1 << hi - lo + 1) - 1
            word = word & ~(mask << lo) | (value >> vlo & mask) << lo
        return word

    def aimed(self, row, word):
        """The access made to go by x8 or x9, some way up or down."""
        r = self.rng
        word = word & ~(31 << 15) | r.choice((8, 9)) << 15
        if 'imm' not in row['fields']:
            return word
        disp = r.randrange(-32, 33) * r.choice((1, self.access_size(row)))
        return self.put(row, 'imm', max(-64, min(64, disp)), word)

    def program(self, calm, accesses):
        """A loop of x7 rounds with branches and jumps forward in it, and a subroutine behind it. x1 (while it is
        the link), x7, x8 and x9 are not written by chance."""
        r = self.rng
        x, f, fcsr, memory = self.state(r.choice((64, 64, 32, 32, 16)))
        fcsr &= 0x7f if fcsr >> 5 < 5 else 0
        x[7], x[8], x[9] = r.choice((1, 2, 3, 20, 100)), MEMORY + 64, MEMORY + 128
        rows = {row['name']: row for row in self.rows}
        branches = [rows[n] for n in ('beq', 'bne', 'blt', 'bge', 'bltu', 'bgeu')]
        items = []  # a word, or (row, word without displacement, index of the target)

        def some(count):
            while count:
                row = r.choice(accesses if r.randrange(4) == 0 else calm)
                word = self.encode(row)
                if not self.writes(row, word, (1, 7, 8, 9)):
                    items.append(self.aimed(row, word) if row in accesses else word)
                    count -= 1

        for _ in range(r.randrange(2, 6)):
            some(r.randrange(1, 5))
            kind = r.randrange(4)
            if kind < 2:  # over a few
                row, skip = r.choice(branches), r.randrange(1, 4)
                items.append((row, self.encode(row), len(items) + 1 + skip))
                some(skip)
            elif kind == 2:
                items.append((rows['jal'], 0x6f, len(items) + 2))
                some(1)
            else:
                items.append((rows['jal'], 0xef, None))  # call
        items.append(0xfff38393)  # addi x7,x7,-1
        items.append((rows['bne'], 0x00039063, 0))
        items.append(0x9002)
        subroutine = len(items)
        some(r.randrange(1, 4))
        items.append(r.choice((0x8082, 0x00008067)))  # ret
        at = [0]
        for item in items:
            at.append(at[-1] + (4 if isinstance(item, tuple) else common.insn_len(item)))
        words = []
        for k, item in enumerate(items):
            if isinstance(item, tuple):
                row, word, target = item
                item = self.put(row, 'imm', at[subroutine if target is None else target] - at[k], word)
            words.append(item)
        return self.case(words, x, f, fcsr, memory)

    def reservation(self, calm):
        """lr, perhaps something between (but wrs, at which qemu drops the reservation), sc: to the same or another place, of the same or another size, twice perhaps."""
        r = self.rng
        x, f, fcsr, memory = self.state(64)
        x[8], x[9] = MEMORY + 64, MEMORY + 72
        words = []

        def atomic(funct5, width, rd, rs1, rs2):
            words.append(funct5 << 27 | r.getrandbits(2) << 25 | rs2 << 20 | rs1 << 15 | width << 12 | rd << 7 | 0x2f)

        def between():
            if r.randrange(2):
                while True:
                    row = r.choice(calm)
                    word = self.encode(row)
                    if not self.writes(row, word, (6, 8, 9)):
                        words.append(word)
                        return

        width = r.choice((2, 3))
        if r.randrange(8):
            atomic(2, width, r.randrange(10, 32), 8, 0)
        between()
        if not r.randrange(4):  # a store of another value between them, which must fail the sc; of an equal one may
            x[6] = int.from_bytes(memory[64:72], 'little') ^ 1
            words.append(0x00643023)  # sd x6,0(x8)
        between()
        atomic(3, width, r.randrange(10, 32), 8 if r.randrange(4) else 9, r.randrange(1, 32))
        if r.randrange(2):
            atomic(3, width, r.randrange(10, 32), 8, r.randrange(1, 32))
        return self.case(words, x, f, fcsr, memory)


def build_guest():
    """Linked at an address that no case makes by chance: a stack pointer of a case must not look like ours."""
    guest = os.path.join(common.WORK, 'exec_guest')
    subprocess.run([os.environ.get('RISCV_CC', 'riscv64-linux-gnu-gcc'), '-O1', '-march=rv64gc', '-nostdlib', '-static', '-ffreestanding', '-mno-relax',
                    '-mcmodel=medany',
                    '-Wl,-Ttext-segment=0x123450000', '-fno-stack-protector', '-o', guest, os.path.join(common.TOP, 'tests/isa/exec_guest.c')], check=True)
    return guest


def build_exec_tool():
    common.build_tool()
    tool = os.path.join(common.WORK, 'exec_tool')
    sources = ['tests/isa/exec_tool.c']
    for folder in ('base', 'ir', 'isa/riscv'):
        sources += sorted(glob.glob(os.path.join(common.TOP, folder, '*.c')))
    subprocess.run([os.environ.get('CC', 'cc'), '-O1', '-g', '-std=gnu11', '-D_GNU_SOURCE', '-fwrapv', '-fno-strict-aliasing', '-I' + common.TOP,
                    '-I' + common.WORK, '-o', tool] +
                   [os.path.join(common.TOP, s) for s in sources], check=True)
    return tool


def run_cases(command, blob):
    """The results, and the exit status."""
    done = subprocess.run(['timeout', '300'] + command, input=blob, stdout=subprocess.PIPE)
    return [RESULT.unpack_from(done.stdout, at) for at in range(0, len(done.stdout) - RESULT.size + 1, RESULT.size)], done.returncode


def difference(want, got):
    names = ['signal', 'pc', 'fcsr'] + ['x%d' % n for n in range(32)] + ['f%d' % n for n in range(32)]
    out = ['%s is %x, qemu %x' % (n, g, w) for n, w, g in zip(names, want, got) if w != g]
    if want[-1] != got[-1]:
        at = next(k for k in range(MEMORY_SIZE) if want[-1][k] != got[-1][k])
        out.append('memory from %d is %s, qemu %s' % (at, got[-1][at:at + 8].hex(), want[-1][at:at + 8].hex()))
    return '; '.join(out[:4])


def make_cases(rows, args):
    """[(name, code)] and the cases as bytes: each row alone, then sequences of kinds that test what the row names."""
    maker = Maker(rows, args.seed)
    chosen = [r for r in rows if r['name'] not in SKIP and r['ext'] != 'priv' and 'vector' not in r['facts'] and re.search(args.row, r['name'])]
    made = [(row['name'], maker.single(row)) for row in chosen for _ in range(args.count)]
    if not args.row:
        # qemu 10 drops the flags of froundnx and the like when a later instruction overwrites the result: it takes
        # the helper for free of side effects. So these are tested alone.
        full = [r for r in chosen if r['size'] == 4 and not r['name'].startswith('fround')]
        transfers = {'branch', 'jump', 'fence', 'csr', 'sys', 'cbo'}
        calm = [r for r in full if not maker.access_size(r) and not set(r['facts']) & transfers]
        accesses = [r for r in full if maker.access_size(r) in (1, 2, 4, 8) and 'cbo' not in r['facts'] and 'aq' not in r['fields']]
        csrs = [r for r in full if 'csr' in r['facts']]
        made += [('sequence', maker.sequence(calm, accesses)) for _ in range(args.count * 30)]
        short = [r for r in chosen if r['size'] == 2 and not maker.access_size(r) and r['op'] not in ('beq', 'bne', 'jal', 'jalr')]
        made += [('program', maker.program(calm + short, accesses)) for _ in range(args.count * 30)]
        made += [('faults', maker.sequence(calm, accesses, at_end=True)) for _ in range(args.count * 30)]
        made += [('csrs', maker.sequence([r for r in calm if r['ext'] in 'FD'] + csrs * 3, accesses)) for _ in range(args.count * 10)]
        made += [('reservation', maker.reservation([r for r in calm if r['ext'] != 'Zawrs'])) for _ in range(args.count * 10)]
    return [(name, code) for name, (code, _) in made], b''.join(case for _, (_, case) in made)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--count', type=int, default=120)
    parser.add_argument('--seed', type=int, default=int(os.environ.get('SEED', '1')))
    parser.add_argument('--row', default='')
    parser.add_argument('program', nargs='*')
    args = parser.parse_args()
    guest, tool = build_guest(), build_exec_tool()
    isomer = os.environ.get('ISOMER')
    if args.program:
        targets = {'program': args.program + [guest]}
    else:
        targets = {'semantics': [tool]}
        if isomer:
            targets['interp'] = [isomer, 'run', '--engine=interp', guest]
            targets['quick'] = [isomer, 'run', guest]
            targets['plain'] = [isomer, 'run', '-host-features', '-avx,-fma,-bmi1,-bmi2,-lzcnt,-aes,-clmul', guest]
    names, blob = make_cases(common.load_rows(), args)
    want, status = run_cases([common.trixie() + '/run', 'qemu-riscv64', '-cpu', 'max,v=false', guest], blob)
    score = common.Score(3)
    ended = 'ended after %d of %d cases with status %d'
    score.check(len(want) == len(names), 'qemu', ended % (len(want), len(names), status))
    lift = subprocess.run([tool, 'lift', str(args.count * 1000)], stdout=subprocess.PIPE, text=True)
    score.check(lift.returncode == 0, 'lift', lift.stdout.strip())
    for target, command in targets.items():
        got, status = run_cases(command, blob)
        score.check(len(got) == len(names) and status == 0, target, ended % (len(got), len(names), status))
        for (name, code), w, g in zip(names, want, got):
            if w == g:
                score.passed += 1
            else:
                words = code.rstrip(CEBREAK).hex()
                score.check(False, '%s %s' % (target, name), '%s: %s' % (words, difference(w, g)))
    score.finish()


if __name__ == "__main__":
    main()
