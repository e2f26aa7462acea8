# SPDX-License-Identifier: Apache-2.0
"""Prints the vector registers of a core dump: NT_RISCV_VECTOR, which tools of today do not show."""
import struct
import sys

data = open(sys.argv[1], "rb").read()
at, = struct.unpack_from("<Q", data, struct.unpack_from("<Q", data, 32)[0] + 8)  # the first segment is the notes
while True:
    name_size, size, kind = struct.unpack_from("<III", data, at)
    name, body = data[at + 12:at + 12 + name_size - 1].decode(), at + 12 + (name_size + 3 & ~3)
    if kind == 0x901:
        break
    at = body + (size + 3 & ~3)
print("%s %x %d: vstart %d vl %d vtype %x vcsr %d vlenb %d, v1 %s" % (name, kind, size, *struct.unpack_from("<5Q", data, body), data[body + 56:body + 72].hex()))
