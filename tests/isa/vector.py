#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Executes every vector row on random states, legal and not, and compares with the newest qemu-riscv64 (tests/tools/newest-qemu).

    vector.py [--count N] [--seed N] [--row REGEX] [-- PROGRAM ...]

Cases run in vector_guest, by the interpreter and as generated code, or by PROGRAM (`build/isomer run --something`): N for each row, over element widths,
groups, masks, vl, vstart and accesses that end in a fault, then sequences that set vtype, and loops of them. All registers, CSRs, memory and signals are
compared. Most register numbers are multiples of a group's size, and most widths such that the row knows them, else nearly all would be illegal.
"""
import argparse
import os
import random
import re
import struct
import subprocess

import common
import exec as scalar

MEMORY, WINDOW_SIZE, CODE_SIZE = 0x10001000, 512, 128
WINDOW = MEMORY + 4096 - WINDOW_SIZE
STATE = struct.Struct('<8Q32Q32Q512s512s')
HEAD = ('signal', 'pc', 'address', 'fcsr', 'vcsr', 'vl', 'vtype', 'vstart')
VILL = 1 << 63
SIGSEGV = 11
END = 0x400f0067  # jr 0x400(x30): vector_guest's trampoline
CPU = 'rv64,v=true,vlen=128,elen=64,zfh=true,zvfh=true,zba=true,zbb=true,' + ','.join(
    e + '=true' for e in ('zvbb', 'zvbc', 'zvkg', 'zvkned', 'zvknhb', 'zvksed', 'zvksh'))
POOL = 600  # register values of each kind, made once


def vlmax(vtype):
    sew, group = vtype >> 3 & 7, ((vtype & 7) ^ 4) - 4
    return 0 if vtype >> 8 or sew > 3 or group == -4 or sew > 3 + group else 1 << 4 + group - sew


LEGAL = [t for t in range(32) if vlmax(t)]


class VectorMaker(scalar.Maker):
    def __init__(self, rows, seed):
        super().__init__(rows, seed)
        r = self.rng
        self.pool = {}
        for width in (8, 16, 32, 64):
            self.pool['i', width] = [self.elements(width, self.integer) for _ in range(POOL)]
            if width > 8:
                self.pool['f', width] = [self.elements(width, lambda: self.real(width)) for _ in range(POOL)]
        self.pool['small'] = [bytes(r.getrandbits(8) & 15 for _ in range(16)) for _ in range(POOL)]

    def elements(self, width, make):
        return b''.join((make() & (1 << width) - 1).to_bytes(width // 8, 'little') for _ in range(128 // width))

    # --- what a row wants

    def is_double(self, row):
        """Does it have operands of twice the width?"""
        return bool(re.match(r'vf?(w|n(cvt|clip|sr))', row['name']))

    def widths(self, row):
        """log2 of the widths in bytes that the row works on."""
        name, ext = row['name'], row['ext']
        if ext in ('Zvkg', 'Zvkned', 'Zvksed', 'Zvksh'):
            return (2,)
        if ext == 'Zvknha':
            return (2, 3)
        if ext == 'Zvbc':
            return (3,)
        part = re.search(r'ext\.vf(\d)', name)
        if part:
            return tuple(w for w in range(4) if 1 << w >= int(part[1]))
        double = self.is_double(row)
        if 'fp' in row['facts']:
            return ((0, 1, 2) if 'cvt' in name else (1, 2)) if double else (1, 2, 3)
        return (0, 1, 2) if double else (0, 1, 2, 3)

    def vtype(self, row):
        r = self.rng
        policy = r.getrandbits(2) << 6
        if not r.randrange(40):
            return r.choice((VILL, r.getrandbits(11)))
        widths = self.widths(row) if r.randrange(30) else (0, 1, 2, 3)
        legal = [t for t in LEGAL if t >> 3 in widths]
        if row['ext'].startswith('Zvk') and row['ext'] != 'Zvkb' and r.randrange(20):
            legal = [t for t in legal if t & 7 < 4]
        if self.is_double(row) and r.randrange(20):
            legal = [t for t in legal if t & 7 != 3]
        return r.choice(legal) | policy

    def vl_and_start(self, row, vtype):
        r = self.rng
        most = vlmax(vtype)
        if not most:
            return 0, 0
        vl = r.choice((most, most, most, 0, 1, r.randrange(most + 1), r.randrange(most + 1)))
        start = r.choice((0,) * 11 + (r.randrange(most), r.randrange(4) * 4 % 128))
        if row['ext'].startswith('Zvk') and row['ext'] != 'Zvkb' and r.randrange(10):
            vl, start = vl & ~7, start & ~7
        if self.is_access(row):  # qemu 11 dies of a start behind the end
            whole = re.fullmatch(r'v[ls](\d)re?(\d+)?\.v', row['name'])
            start = min(start, (vl + 7) // 8 if row['name'].endswith('m.v') else int(whole[1]) * 128 // int(whole[2] or 8) if whole else vl)
        return vl, start

    def group(self, vtype):
        """Registers of a group, at least 1."""
        return 1 << (vtype & 7) if vtype & 7 < 4 else 1

    def register(self, vtype):
        r = self.rng
        size = self.group(vtype)
        step = r.choice((8, size, size, min(8, 2 * size)) + ((1,) if not r.randrange(8) else ()))
        return r.randrange(0, 32, step)

    def encode_vector(self, row, vtype):
        """A random encoding that is legal as far as the encoding tells; scalar registers are x0..x29."""
        r = self.rng
        fields = row['fields']
        while True:
            word = r.getrandbits(32) & ~row['mask'] | row['match']
            for name in fields:
                if name in ('vd', 'vs1', 'vs2', 'vs3'):
                    word = self.put(row, name, self.register(vtype), word)
                elif name in ('rd', 'rs1', 'rs2'):
                    word = self.put(row, name, r.randrange(30), word)
            if set(row['facts']) & {'load', 'store'} and 'uimm' in fields:
                most = max(1, 8 // self.group(vtype))
                word = self.put(row, 'uimm', r.choice((0, 0, r.randrange(most), r.randrange(8))), word)
            masked = 'vm' in fields and not self.value(row, 'vm', word)
            if masked and 'vd' in fields and self.value(row, 'vd', word) == 0 and r.randrange(10):
                continue
            if all(self.holds(row, c, word) for c in row['constraints']):
                return word

    # --- states

    def registers(self, kind, width):
        """All 32 of them, 16 bytes each: of the width mostly, or of twice or half of it."""
        r = self.rng
        widths = [w for w in (width, width, width, width, 2 * width, width // 2) if (kind, w) in self.pool]
        v = [r.choice(self.pool[kind, r.choice(widths)]) for _ in range(32)]
        if r.randrange(4):
            v[0] = r.choice(self.pool['i', 8 if r.randrange(2) else 64])
        if not r.randrange(6):
            v = [r.choice(self.pool['small']) if r.randrange(3) else value for value in v]
        for n in range(1, 32):
            if not r.randrange(16):
                v[n] = v[r.randrange(32)]
        return v

    def state_of(self, row, vtype):
        r = self.rng
        width = 8 << (vtype >> 3 & 3)
        kind = 'f' if 'fp' in row['facts'] and r.randrange(8) else 'i'
        if kind == 'f' and width == 8:
            width = 16
        x = [self.integer() for _ in range(32)]
        f = [self.real(width if width > 8 else 64) for _ in range(32)]
        for n in range(32):
            if not r.randrange(4):
                x[n] = r.choice((r.randrange(8), r.randrange(130)))
        fcsr = r.choice((0, 0, 1, 2, 3, 4, r.randrange(8))) << 5 | r.choice((0, 0, 31, r.getrandbits(5)))
        return {'x': x, 'f': f, 'fcsr': fcsr, 'vcsr': r.getrandbits(3), 'v': self.registers(kind, width),
                'memory': r.choice(self.pool['i', 8]) * 2 + b''.join(r.choice(self.pool['i', 64]) for _ in range(30))}

    # --- memory

    def access(self, row, word, vtype, state):
        """Points rs1, a stride or the offsets into the window, some of it behind its end, where nothing is; nothing lies below it. False: this
        cannot be done."""
        r = self.rng
        base = self.value(row, 'rs1', word)
        if base == 0:
            return False
        name = row['name']
        eew = int(re.search(r'(\d+)(ff)?\.v$', name)[1]) // 8 if re.search(r'\d(ff)?\.v$', name) and not name.endswith('r.v') else 1
        fields = self.value(row, 'uimm', word) + 1 if 'uimm' in row['fields'] else 1
        most = max(1, vlmax(vtype))
        state['x'][base] = WINDOW
        if 'rs2' in row['fields']:
            return self.strided(row, word, state, base, most, fields * 8)
        if 'vs2' in row['fields']:
            self.indexed(row, word, state, eew)
            state['x'][base] = WINDOW + (r.randrange(64) if r.randrange(8) else WINDOW_SIZE - r.randrange(80))
            return True
        size = 128  # registers
        back = r.randrange(size) if not r.randrange(4) else size + r.randrange(WINDOW_SIZE - size + 1)
        at = WINDOW_SIZE - back
        align = 8 if re.search(r'\dr(e\d+)?\.v', name) else eew if r.randrange(3) else 1  # of whole registers, qemu says vstart in steps of 8 bytes
        state['x'][base] = WINDOW + (at & -align)
        return True

    def strided(self, row, word, state, base, most, size):
        r = self.rng
        stride = self.value(row, 'rs2', word)
        reach = (WINDOW_SIZE - size) // most
        step = r.choice((0, 1, 2, 4, 8, size, -1, -8, r.randrange(-reach, reach + 1)))
        step = max(-reach, min(reach, step))
        if stride == base:
            return False
        if stride:
            state['x'][stride] = step & scalar.MASK
        else:
            step = 0
        low = -step * (most - 1) if step < 0 else 0
        high = WINDOW_SIZE - size - (step * (most - 1) if step > 0 else 0)
        at = r.randrange(low, max(low, high) + 1)
        if not r.randrange(6):
            at = max(WINDOW_SIZE - r.randrange(40), low)
        state['x'][base] = WINDOW + at
        return True

    def indexed(self, row, word, state, eew):
        """Offsets below 256 in all registers that the group may have."""
        r = self.rng
        first = self.value(row, 'vs2', word)
        for n in range(first, min(32, first + 8)):
            state['v'][n] = b''.join((r.getrandbits(8) & (-1 if r.randrange(4) else -8)).to_bytes(eew, 'little') for _ in range(16 // eew))

    # --- cases

    def pack(self, words, state, vl, vtype, vstart):
        code = b''.join(w.to_bytes(4, 'little') for w in words + [END])
        return code, STATE.pack(0, 0, 0, state['fcsr'], state['vcsr'], vl, vtype, vstart, *state['x'], *state['f'], b''.join(state['v']),
                                state['memory']) + code.ljust(CODE_SIZE, b'\0')

    def is_access(self, row):
        return bool(set(row['facts']) & {'load', 'store'})

    def single_vector(self, row):
        while True:
            vtype = self.vtype(row)
            word = self.encode_vector(row, vtype)
            state = self.state_of(row, vtype)
            if self.is_access(row) and not self.access(row, word, vtype, state):
                continue
            vl, vstart = self.vl_and_start(row, vtype)
            return self.pack([word], state, vl, vtype, vstart)

    def set_vtype(self, vtype, registers):
        """One of the three, to a vtype mostly legal."""
        r = self.rng
        rd = r.choice((0, 0, r.choice(registers)))
        if r.randrange(3) == 0:
            return 0xc0007057 | vtype << 20 | r.choice((0, 1, 2, 4, 4, 8, 16, 31)) << 15 | rd << 7
        return 0x00007057 | vtype << 20 | r.choice((0, 0) + registers) << 15 | rd << 7

    def settings(self):
        """vset* and accesses to the CSRs of vectors, with any values."""
        r = self.rng
        theirs = tuple(range(10, 20))
        state = self.state_of({'facts': (), 'name': '', 'ext': ''}, 0)
        for n in theirs:
            state['x'][n] = r.choice((r.choice(LEGAL) | r.getrandbits(2) << 6, r.getrandbits(11), r.randrange(140), state['x'][n]))
        words = []
        for _ in range(r.randrange(1, 12)):
            kind = r.randrange(5)
            if kind < 2:
                words.append(self.set_vtype(r.choice((r.choice(LEGAL) | r.getrandbits(2) << 6, r.getrandbits(10 + kind))) & 0x3ff | r.getrandbits(1) * kind << 10, theirs))
            elif kind == 2:
                words.append(0x80007057 | r.choice(theirs) << 20 | r.choice((0,) + theirs) << 15 | r.choice((0,) + theirs) << 7)
            else:
                csr = r.choice((0x008, 0x008, 0x009, 0x00a, 0x00f, 0x00f, 0xc20, 0xc21, 0xc22))
                how = r.choice((1, 2, 3, 5, 6, 7))
                source = 0 if csr >= 0xc00 and r.randrange(20) else r.choice((0,) + theirs)
                if csr >= 0xc00 and source == 0:
                    how |= 2
                words.append(0x73 | csr << 20 | source << 15 | how << 12 | r.choice((0,) + theirs) << 7)
        vtype = r.choice(LEGAL)
        return self.pack(words, state, r.randrange(vlmax(vtype) + 1), vtype, r.choice((0, 0, r.randrange(128))))

    def scalar_between(self, registers):
        """Sums, products and conversions whose results live on beside vectors."""
        r = self.rng
        word = r.choice((0x00000033, 0x02000033, 0x02000053, 0x12000053, 0xd0000053, 0xd2000053))
        two = word >> 28 != 13
        return word | r.choice(registers) << 7 | r.choice(registers) << 15 | (r.choice(registers) << 20 if two else 0)

    def mixed(self, calm, accesses, rounds):
        """Several widths, with instructions of each; x8 and x9 point to the window, x7 counts rounds; x10..x19 are theirs. Groups are small and four
        registers apart, or nearly all would be illegal."""
        r = self.rng
        theirs = tuple(range(10, 20))
        first = r.choice(calm)
        state = self.state_of(first, 8 * self.widths(first)[0])
        state['fcsr'] &= 0x7f if state['fcsr'] >> 5 < 5 else 0
        state['x'][7:10] = [rounds, WINDOW + 64, WINDOW + 256]
        for n in theirs[:6]:
            state['x'][n] = r.randrange(20)
        small = [t for t in LEGAL if t & 7 in (0, 6, 7)]
        words, now = [], None
        while len(words) < 24:
            row = r.choice(accesses if not r.randrange(4) else calm)
            widths = self.widths(row)
            width = re.search(r'e(\d+)\.v', row['name'])
            if row in accesses and width:
                widths = (int(width[1]).bit_length() - 4,)
            if now is None or now >> 3 not in widths or not r.randrange(4):
                now = r.choice([t for t in small if t >> 3 in widths])
                words.append(self.set_vtype(now | r.getrandbits(2) << 6, theirs))
            word = self.encode_vector(row, now)
            for name, value in zip(('vd', 'vs1', 'vs2', 'vs3'), r.sample(range(4, 32, 4), 4)):
                if name in row['fields']:
                    word = self.put(row, name, value, word)
            for name in ('rd', 'rs1'):
                if name in row['fields']:
                    word = self.put(row, name, r.choice((8, 9)) if row in accesses else r.choice(theirs), word)
            if row in accesses and 'uimm' in row['fields']:
                word = self.put(row, 'uimm', 0, word)
            words.append(word)
            if not r.randrange(3):
                words.append(self.scalar_between(theirs))
        if rounds:
            words += [0xfff38393, scalar_branch(-4 * (len(words) + 1))]
        return self.pack(words, state, 0, VILL, 0)


def scalar_branch(distance):
    """bnez x7."""
    d = distance & 0x1fff
    return 0x00039063 | (d >> 12 & 1) << 31 | (d >> 5 & 63) << 25 | (d >> 1 & 15) << 8 | (d >> 11 & 1) << 7


def build_guest():
    guest = os.path.join(common.WORK, 'vector_guest')
    subprocess.run([os.environ.get('RISCV_CC', 'riscv64-linux-gnu-gcc'), '-O1', '-march=rv64gc', '-nostdlib', '-static', '-ffreestanding', '-mno-relax',
                    '-mcmodel=medany', '-Wl,-Ttext-segment=0x123450000', '-fno-stack-protector', '-o', guest,
                    os.path.join(common.TOP, 'tests/isa/vector_guest.c')], check=True)
    return guest


def newest_qemu():
    return subprocess.run([os.path.join(common.TOP, 'tests', 'tools', 'newest-qemu')], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


def run_cases(command, blob):
    done = subprocess.run(['timeout', '300'] + command, input=blob, stdout=subprocess.PIPE)
    return [done.stdout[at:at + STATE.size] for at in range(0, len(done.stdout) - STATE.size + 1, STATE.size)], done.returncode


def parts(state):
    """[(name, value)] of a state."""
    words = STATE.unpack(state)
    v, memory = words[72], words[73]
    out = list(zip(HEAD, words)) + [('x%d' % n, words[8 + n]) for n in range(1, 30)] + [('f%d' % n, words[40 + n]) for n in range(32)]
    out += [('v%d' % n, int.from_bytes(v[16 * n:16 * n + 16], 'little')) for n in range(32)]
    return out + [('memory+%d' % at, int.from_bytes(memory[at:at + 8], 'little')) for at in range(0, WINDOW_SIZE, 8)]


def alike(code, want, got):
    """Are they equal in what is not left open? qemu says the address of some faults as a multiple of eight below it; of a segment with a fault in its
    middle, it has loaded the fields before."""
    if want == got:
        return True
    w, g = dict(parts(want)), dict(parts(got))
    if w['signal'] != SIGSEGV or w['address'] & -8 != g['address'] & -8:
        return False
    word = int.from_bytes(code[:4], 'little')
    is_segment_load = len(code) == 8 and word & 0x7f == 0x07 and word >> 29
    return all(w[n] == g[n] for n in w if n != 'address' and not (is_segment_load and re.fullmatch(r'v\d+', n)))


def difference(case, want, got):
    before = dict(parts(case[:STATE.size]))
    out = ['%s is %x, qemu %x, was %x' % (n, g, w, before[n]) for (n, w), (_, g) in zip(parts(want), parts(got)) if w != g]
    return 'vl %d vtype %x vstart %d; %s' % (before['vl'], before['vtype'], before['vstart'], '; '.join(out[:4]))


def make_cases(rows, args):
    maker = VectorMaker(rows, args.seed)
    chosen = [r for r in rows if 'vector' in r['facts'] and not r['name'].startswith('vset') and re.search(args.row, r['name'])]
    made = [(row['name'], maker.single_vector(row)) for row in chosen for _ in range(args.count)]
    if not args.row:
        accesses = [r for r in chosen if re.fullmatch(r'v[ls]e\d+\.v|v[ls]m\.v|v[ls]1r.*', r['name'])]
        calm = [r for r in chosen if not maker.is_access(r) and not (r['ext'].startswith('Zvk') and r['ext'] != 'Zvkb')]
        made += [('settings', maker.settings()) for _ in range(args.count * 50)]
        made += [('sequence', maker.mixed(calm, accesses, 0)) for _ in range(args.count * 20)]
        made += [('loop', maker.mixed(calm, accesses, maker.rng.choice((2, 5, 30)))) for _ in range(args.count * 20)]
    return [(name, code) for name, (code, _) in made], [case for _, (_, case) in made]


def disassembly(code):
    words = [w for (w,) in struct.iter_unpack('<I', code)][:-1]
    return '; '.join('%08x %s' % (w, text.replace('\t', ' ')) for w, (_, _, text) in zip(words, common.ours(common.WORK + '/decode_tool', words)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--count', type=int, default=40)
    parser.add_argument('--seed', type=int, default=int(os.environ.get('SEED', '1')))
    parser.add_argument('--row', default='')
    parser.add_argument('program', nargs='*')
    args = parser.parse_args()
    guest = build_guest()
    common.build_tool()
    isomer = os.environ.get('ISOMER')
    targets = {'program': args.program + [guest]} if args.program else {}
    if isomer and not targets:
        targets['interp'] = [isomer, 'run', '--engine=interp', guest]
        targets['quick'] = [isomer, 'run', guest]
        targets['hot'] = [isomer, 'run', '--hot=2', guest]
        targets['least'] = [isomer, 'run', '--hot=2', '--host-features=-avx,-aes,-clmul,-sha', guest]
    names, cases = make_cases(common.load_rows(), args)
    blob = b''.join(cases)
    want, status = run_cases([newest_qemu(), '-cpu', CPU, guest], blob)
    score = common.Score(3)
    ended = 'ended after %d of %d cases with status %d'
    score.check(len(want) == len(names), 'qemu', ended % (len(want), len(names), status))
    fine = {}
    for (name, _), w in zip(names, want):
        fine.setdefault(name, []).append(w[:8] == bytes(8))
    for name, ok in fine.items():
        score.check(sum(ok) * 8 >= len(ok), name, 'only %d of %d cases are legal' % (sum(ok), len(ok)))
    for target, command in targets.items():
        got, status = run_cases(command, blob)
        score.check(len(got) == len(names) and status == 0, target, ended % (len(got), len(names), status))
        for (name, code), case, w, g in zip(names, cases, want, got):
            if alike(code, w, g):
                score.passed += 1
            else:
                score.check(False, '%s %s' % (target, name), '%s: %s' % (disassembly(code), difference(case, w, g)))
    score.finish()


if __name__ == "__main__":
    main()
