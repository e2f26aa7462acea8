#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every row, many random encodings: the decoder finds the row, and the disassembly is GNU objdump's."""
import random
import sys

import common

COUNT = int(sys.argv[1]) if sys.argv[1:] else 300


def corner_cases(rows, rng, count):
    """Encodings whose fields hold the values that aliases and constraints care about."""
    out = []
    for r in rows:
        for _ in range(count):
            word = rng.getrandbits(8 * r['size']) & ~r['mask'] | r['match']
            for slices in r['fields'].values():
                value = rng.choice((0, 1, 1, 2, 3, 4, 5, -1, 0xc00, 0xc01, 0xc02, 255, 33, None))
                for hi, lo, vlo in slices if value is not None else ():
                    mask = (1 << hi - lo + 1) - 1
                    word = word & ~(mask << lo) | (value >> vlo & mask) << lo
            out.append((r['name'], word))
    return out


def main():
    tool = common.build_tool()
    score = common.Score()
    samples = common.random_rows(tool, COUNT, 88172645463325252)
    corners = corner_cases(common.load_rows(), random.Random(1), COUNT)
    legal = common.ours(tool, [w for _, w in corners])
    samples += [c for c, (found, _, _) in zip(corners, legal) if found == c[0]]
    words = [w for _, w in samples]
    for (row, word), (found, _, text), theirs in zip(samples, common.ours(tool, words), common.objdump(words)):
        score.check(found == row, row, '%x decodes as %s' % (word, found))
        if common.binutils_refuses(row, word):
            score.check(theirs.startswith('.insn'), row, '%x is known to binutils, "%s"' % (word, theirs))
        else:
            score.check(text == theirs, row, '%x is "%s", binutils says "%s"' % (word, text, theirs))
    score.finish()


if __name__ == "__main__":
    main()
