#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What tools/isagen.py refuses: each bad description, with a piece of the message that it must give."""
import os
import subprocess
import sys

import common

FIELDS = 'field rd 5 x0 rd\nfield rs1 5 x0 rs1\nfield rs2 5 x0 rs2\n'
GOOD = 'add | 0000000 rs2 rs1 000 rd 0110011 | rd,rs1,rs2 | I\n'
VECTOR = 'field vd 5 v0 rd\nfield vs1 5 v0 rs1\nfield vs2 5 v0 rs2\nfield vm 1 n vm\n'
CASES = [
    ('good', GOOD, None),
    ('vectors', VECTOR + 'vadd.vv | 000000 vm vs2 vs1 000 vd 1010111 | vd,vs2,vs1[,vm] | V', None),
    ('bits missing', 'add | 000000 rs2 rs1 000 rd 0110011 | rd,rs1,rs2 | I', '31 bits'),
    ('unknown field', 'add | 0000000 rs9 rs1 000 rd 0110011 | rd,rs1 | I', 'rs9'),
    ('field not used', 'add | 0000000 rs2 rs1 000 rd 0110011 | rd,rs1 | I', 'unused: rs2'),
    ('operand without field', 'add | 0000000 00000 rs1 000 rd 0110011 | rd,rs1,rs2 | I', 'no field gives rs2'),
    ('bit of an immediate twice', 'addi | imm[11:5|5:1] rs1 000 rd 0110011 | rd,rs1,imm | I', 'imm[5] given twice'),
    ('two rows of one encoding', GOOD + 'dad | 0000000 rs2 rs1 000 rd 0110011 | rd,rs1,rs2 | I', 'overlap'),
    ('a row inside another', GOOD + 'nop | 0000000 00000 00000 000 00000 0110011 |  | I', 'overlap'),
    ('kept apart by a constraint', GOOD.strip() + ' | | rd!=0\nnop | 0000000 00000 00000 000 00000 0110011 |  | I', None),
    ('name twice', GOOD + 'add | 0000001 rs2 rs1 000 rd 0110011 | rd,rs1,rs2 | I', 'named twice'),
    ('short form of nothing', 'c.add | 1001 rd rs2 10 | = add rd,rd,rs2 | C', 'no op add'),
    ('short form that does not fit', GOOD + 'c.add | 1001 rd rs2 10 | = add rd,rs2 | C', 'do not fit'),
    ('constraint on nothing', GOOD.strip() + ' | | rs3!=0', 'bad constraint'),
    ('alias of nothing', GOOD + 'alias mv | addi | imm=0 | rd,rs1', 'unknown addi'),
]


def main():
    score = common.Score()
    path = os.path.join(common.WORK, 'bad.isa')
    outs = [os.path.join(common.WORK, 'out' + x) for x in ('.h', '.c', '.json')]
    for name, text, message in CASES:
        with open(path, 'w') as f:
            f.write(FIELDS + text + '\n')
        r = subprocess.run([sys.executable, os.path.join(common.TOP, 'tools', 'isagen.py'), path, 'rv'] + outs, text=True,
                           capture_output=True)
        if message is None:
            score.check(r.returncode == 0, name, r.stderr.strip())
        else:
            score.check(r.returncode != 0 and message in r.stderr, name, 'said: ' + r.stderr.strip())
    score.finish()


if __name__ == "__main__":
    main()
