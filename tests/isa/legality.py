#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is legal: all 16-bit encodings, random 32-bit words, and words one or two bits away from each row.

The decoder must call illegal exactly what GNU objdump does, but for the exceptions that are listed with their reasons.
"""
import random
import re
import sys

import common

COUNT = int(sys.argv[1]) if sys.argv[1:] else 200000


def illegal_but_known_to_binutils(word, theirs):
    """The encodings that objdump names although they are reserved."""
    if theirs == 'unimp' and word & 0xffff == 0:
        return True  # defined to be illegal [unpriv c]
    if common.insn_len(word) == 2:
        quadrant, funct3, rd = word & 3, word >> 13, word >> 7 & 31
        if quadrant == 2 and funct3 in (2, 3) and rd == 0:
            return True
        if word == 0x6101:
            return True  # c.addi16sp of 0
    if theirs.split('\t')[0] in ('uret', 'hret', 'hinval.vvma', 'hinval.gvma', 'hfence.vvma', 'hfence.gvma'):
        return True  # of an extension that was withdrawn, and of the hypervisor: no rows here
    if theirs.startswith('aes64ks1i') and word >> 20 & 15 > 10:
        return True  # round numbers above 10 [unpriv zkne]
    if theirs.startswith('amocas.q') and (word >> 7 & 1 or word >> 20 & 1):
        return True  # odd register of a pair [unpriv zacas]
    group = re.match(r'v(?:l|s|mv)([248])r', theirs)
    if group and (word >> 7 | ('vmv' in theirs and word >> 20)) % int(group[1]):
        return True  # a group of whole registers that does not start at a multiple of its size [unpriv v]
    return False


def near_misses(rows, rng, count):
    """Encodings of rows with one or two of their fixed bits flipped."""
    rows = [r for r in rows if r['size'] == 4]
    out = []
    for _ in range(count):
        r = rng.choice(rows)
        bits = rng.getrandbits(32) & ~r['mask'] | r['match']
        fixed = [b for b in range(2, 32) if r['mask'] >> b & 1]
        for b in rng.sample(fixed, rng.choice((1, 1, 2))):
            bits ^= 1 << b
        out.append(bits)
    return out


def main():
    tool = common.build_tool()
    rows = common.load_rows()
    rng = random.Random(2)
    words = [w for w in range(65536) if w & 3 != 3]
    words += [rng.getrandbits(32) | 3 for _ in range(COUNT)]
    words += near_misses(rows, rng, COUNT)
    # Longer formats (low five bits ones) are reserved; objdump prints them whole and loses step.
    words = [w for w in words if w & 0x1f != 0x1f]
    score = common.Score(40)
    for word, (row, _, text), theirs in zip(words, common.ours(tool, words), common.objdump(words)):
        known = not theirs.startswith('.insn')
        if row != '-' and not known:
            score.check(common.binutils_refuses(row, word), row, '%x is "%s" here, illegal to binutils' % (word, text))
        elif row == '-' and known:
            score.check(illegal_but_known_to_binutils(word, theirs), 'illegal', '%x: binutils says "%s"' % (word, theirs))
        else:
            score.check(row == '-' or text == theirs or common.binutils_refuses(row, word), row,
                        '%x is "%s", binutils says "%s"' % (word, text, theirs))
    score.finish()


if __name__ == "__main__":
    main()
