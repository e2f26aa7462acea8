#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns a vDSO (an ELF64 shared object) into a C file: its bytes, and the offset of its signal trampoline.

usage: embed.py VDSO.so OUT.c NAME
"""
import struct
import sys


def dynamic_symbol(image, wanted):
    """Value of a symbol of the section .dynsym."""
    shoff, = struct.unpack_from('<Q', image, 40)
    shentsize, shnum = struct.unpack_from('<HH', image, 58)
    sections = [struct.unpack_from('<IIQQQQIIQQ', image, shoff + i * shentsize) for i in range(shnum)]
    for kind, offset, size, link in ((s[1], s[4], s[5], s[6]) for s in sections):
        if kind != 11:  # SHT_DYNSYM
            continue
        strings = sections[link][4]
        for at in range(offset, offset + size, 24):
            name, _, _, _, value, _ = struct.unpack_from('<IBBHQQ', image, at)
            start = strings + name
            if image[start:image.index(b'\0', start)].decode() == wanted:
                return value
    sys.exit(f'embed.py: no symbol {wanted}')


def main():
    path, out, name = sys.argv[1:]
    with open(path, 'rb') as f:
        image = f.read()
    with open(out, 'w') as f:
        f.write('/* Made by user/vdso/embed.py. */\n#include "user/vdso/vdso.h"\n\n')
        f.write(f'const u32 {name}_size = {len(image)};\n')
        f.write(f'const u32 {name}_sigreturn = {dynamic_symbol(image, "__vdso_rt_sigreturn")};\n')
        f.write(f'const u8 {name}[] __attribute__((aligned(4096))) = {{')
        for i, byte in enumerate(image):
            f.write(('\n    ' if i % 20 == 0 else '') + f'{byte},')
        f.write('\n};\n')


main()
