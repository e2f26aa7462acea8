# SPDX-License-Identifier: Apache-2.0
"""What the tests of the instruction set share: builds the small C tool, finds binutils, counts failures."""
import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WORK = tempfile.mkdtemp(prefix='isomer-isa-')
atexit.register(shutil.rmtree, WORK, True)

# What objdump shall know: no more than riscv.isa has, so that it names nothing that we do not.
ARCH = ('rv64imafdc_zicsr2p0_zifencei2p0_zicntr_zihpm_zihintpause_zihintntl_zicbom_zicbop_zicboz_zimop_zcmop_zcb_zawrs_'
        'zicond_zacas_zabha_zfh_zfhmin_zfa_zba_zbb_zbc_zbs_zbkb_zbkc_zbkx_zknd_zkne_zknh_zksed_zksh_svinval_'
        'v_zvbb_zvbc_zvkg_zvkned_zvknhb_zvksed_zvksh')


def build_tool():
    """Generates and compiles decode_tool; returns its path. A second of work, and never stale."""
    gen = os.path.join(WORK, 'isa', 'riscv')
    os.makedirs(gen, exist_ok=True)
    isa = os.path.join(TOP, 'isa', 'riscv', 'riscv.isa')
    subprocess.run([sys.executable, os.path.join(TOP, 'tools', 'isagen.py'), isa, 'rv'] +
                   [os.path.join(gen, n) for n in ('riscv_gen.h', 'riscv_gen.inc', 'riscv.json')], check=True)
    tool = os.path.join(WORK, 'decode_tool')
    sources = ['tests/isa/decode_tool.c', 'isa/riscv/riscv.c', 'base/base.c']
    subprocess.run([os.environ.get('CC', 'cc'), '-O2', '-std=gnu11', '-D_GNU_SOURCE', '-I' + TOP, '-I' + WORK, '-o', tool] +
                   [os.path.join(TOP, s) for s in sources], check=True)
    return tool


def load_rows():
    with open(os.path.join(WORK, 'isa', 'riscv', 'riscv.json')) as f:
        return json.load(f)['rows']


def trixie():
    return subprocess.run([os.path.join(TOP, 'tests', 'tools', 'trixie-tools')], check=True, text=True,
                          stdout=subprocess.PIPE).stdout.strip()


def random_rows(tool, count, seed):
    """[(row name, encoding)], `count` for each row."""
    out = subprocess.run([tool, 'random', str(count), str(seed)], check=True, text=True, stdout=subprocess.PIPE).stdout
    return [(n, int(h, 16)) for n, h in (line.split() for line in out.splitlines())]


def insn_len(bits):
    return 4 if bits & 3 == 3 else 2


def ours(tool, words):
    """Our view of encodings laid out one after another from address 0: [(row or '-', op, text)]."""
    lines, pc = [], 0
    for w in words:
        lines.append('%x %x' % (w, pc))
        pc += insn_len(w)
    out = subprocess.run([tool], input='\n'.join(lines) + '\n', check=True, text=True, stdout=subprocess.PIPE).stdout
    result = []
    for line in out.splitlines():
        head, _, text = line.partition('\t')
        result.append(tuple(head.split()[:2]) + (text,))
    return result


def objdump(words, arch=ARCH):
    """What GNU objdump makes of the same encodings: its text without comments and symbols."""
    tools = trixie()
    raw, src, obj = (os.path.join(WORK, n) for n in ('words.bin', 'words.s', 'words.o'))
    with open(raw, 'wb') as f:
        for w in words:
            f.write(w.to_bytes(insn_len(w), 'little'))
    with open(src, 'w') as f:
        f.write('.text\n.incbin "%s"\n' % raw)
    subprocess.run([tools + '/run', 'riscv64-linux-gnu-as', '-march=' + arch, '-o', obj, src], check=True)
    # Without the mapping symbol that calls it data.
    subprocess.run([tools + '/run', 'riscv64-linux-gnu-objcopy', '--strip-symbol=$d', obj], check=True)
    out = subprocess.run([tools + '/run', 'riscv64-linux-gnu-objdump', '-d', '-z', obj], check=True, text=True,
                         stdout=subprocess.PIPE).stdout
    result = []
    for line in out.splitlines():
        m = re.match(r'\s*[0-9a-f]+:\t[0-9a-f]+ *\t(.*)', line)
        if m:
            text = re.sub(r'\s+# .*', '', m[1])
            text = re.sub(r'([0-9a-f]+) <[^>]*>', r'0x\1', text).rstrip()
            result.append(text)
    if len(result) != len(words):
        raise SystemExit('objdump printed %d lines for %d encodings' % (len(result), len(words)))
    return result


def binutils_refuses(row, word):
    """The encodings that are legal here but not to objdump 2.44.

    Reserved fields of fences "shall be ignored by base implementations" [unpriv rv32, zifencei]; objdump wants
    them zero. Conversions that are always exact take any rounding mode; objdump wants 0, what assemblers emit.
    """
    if row == 'fence':
        tso = word == 0x8330000f
        return not tso and word & 0xf00f8f80 != 0
    if row == 'fence.i':
        return word != 0x100f
    if row in ('fcvt.d.w', 'fcvt.d.wu', 'fcvt.d.s', 'fcvt.s.h', 'fcvt.d.h'):
        return word >> 12 & 7 != 0
    return False


class Score:
    """Counts, prints the first failures of each kind, and ends with the runner's line."""

    def __init__(self, show=5):
        self.passed = self.failed = 0
        self.show, self.kinds = show, {}

    def check(self, ok, kind, text):
        if ok:
            self.passed += 1
            return
        self.failed += 1
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if self.kinds[kind] <= self.show:
            print('FAIL %s: %s' % (kind, text))

    def finish(self):
        for kind, n in self.kinds.items():
            if n > self.show:
                print('FAIL %s: %d in all' % (kind, n))
        print('%d passed, %d failed' % (self.passed, self.failed))
        sys.exit(1 if self.failed else 0)
