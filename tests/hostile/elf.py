#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Files that are no good ELF programs: each gives one clear line and status 126 or 127, and never a crash.

The files are made here, byte by byte, from one tiny good program (exit 0): cut off at every length that matters,
with each header field made absurd, and mutated at random from $SEED. Environment: ISOMER.
"""
import os
import random
import re
import stat
import struct
import subprocess
import sys
import tempfile

ISOMER, SEED = os.environ["ISOMER"], int(os.environ.get("SEED", "1"))
BASE, PAGE = 0x10000, 0x1000
CODE = struct.pack("<3I", 0x00000513, 0x05D00893, 0x00000073)  # li a0, 0; li a7, 93; ecall
PT_NULL, PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_PHDR, PT_TLS, PT_STACK = 0, 1, 2, 3, 6, 7, 0x6474E551
BIG = (1 << 64) - 1
REFUSED, MISSING = {126}, {127}
# What Linux runs and we may refuse, or run and die of as the guest would.
EITHER = {0, 126, -11, -4, -7, -9}


class Elf:
    """The good program; fields are changed before bytes() is called."""

    def __init__(self, interp=None):
        self.ident = bytearray(b"\x7fELF\x02\x01\x01" + bytes(9))
        self.head = dict(type=2, machine=243, version=1, entry=BASE + PAGE, phoff=64, shoff=0, flags=5, ehsize=64,
                         phentsize=56, phnum=None, shentsize=64, shnum=0, shstrndx=0)
        self.segments = [dict(type=PT_LOAD, flags=5, offset=PAGE, vaddr=BASE + PAGE, paddr=0, filesz=len(CODE),
                              memsz=len(CODE), align=PAGE)]
        self.at = {PAGE: CODE}
        if interp is not None:
            self.at[0x800] = interp
            self.segments.insert(0, dict(type=PT_INTERP, flags=4, offset=0x800, vaddr=0, paddr=0, filesz=len(interp),
                                         memsz=len(interp), align=1))

    def bytes(self):
        h = dict(self.head)
        h["phnum"] = len(self.segments) if h["phnum"] is None else h["phnum"]
        out = bytearray(self.ident + struct.pack("<HHIQQQIHHHHHH", *h.values()))
        for s in self.segments:
            out += struct.pack("<IIQQQQQQ", *s.values())
        for where, data in self.at.items():
            out += bytes(max(0, where - len(out)))
            out[where:where + len(data)] = data
        return bytes(out)


def good(**head):
    e = Elf()
    e.head.update(head)
    return e


def segment(**fields):
    e = Elf()
    e.segments[-1].update(fields)
    return e


def ident(index, value):
    e = Elf()
    e.ident[index] = value
    return e


def two(**fields):
    """A second segment beside the good one."""
    e = Elf()
    e.segments.append(dict(e.segments[0], **fields))
    return e


def cases():
    """[(name, bytes, statuses)]"""
    whole = Elf().bytes()
    yield "good", whole, {0}
    yield "good, dynamic type", good(type=3).bytes(), {0}
    for size in sorted({0, 1, 3, 4, 5, 15, 16, 18, 20, 24, 32, 40, 52, 54, 56, 58, 63, 64, 65, 100, 119, 120, 121, 500,
                        PAGE - 1, PAGE, PAGE + 1, PAGE + len(CODE) - 1}):
        yield f"cut to {size}", whole[:size], REFUSED
    yield "text", b"echo hello\n", REFUSED
    yield "zeros", bytes(5000), REFUSED
    yield "random", random.Random(SEED).randbytes(5000), REFUSED
    yield "magic only", b"\x7fELF" + random.Random(SEED).randbytes(5000), REFUSED
    yield "32 bits", ident(4, 1).bytes(), REFUSED
    yield "class 0", ident(4, 0).bytes(), REFUSED
    yield "big-endian", ident(5, 2).bytes(), REFUSED
    yield "ident version", ident(6, 9).bytes(), EITHER
    for machine in (0, 3, 40, 62, 183, 242, 0xF3F3 & 0xFFFF):
        yield f"machine {machine}", good(machine=machine).bytes(), REFUSED
    for kind in (0, 1, 4, 0xFFFF):
        yield f"type {kind}", good(type=kind).bytes(), REFUSED
    yield "version 0", good(version=0).bytes(), EITHER
    for size in (0, 1, 55, 57, 0xFFFF):
        yield f"phentsize {size}", good(phentsize=size).bytes(), REFUSED
    for count in (0, 5000, 0xFFFE, 0xFFFF):
        yield f"phnum {count}", good(phnum=count).bytes(), REFUSED
    for offset in (BIG, 1 << 63, (1 << 63) - 1, 1 << 40, len(whole), len(whole) - 8, BIG - 55):
        yield f"phoff {offset:#x}", good(phoff=offset).bytes(), REFUSED
    yield "phoff 0", good(phoff=0).bytes(), EITHER
    for entry in (0, BIG, 1 << 62, BASE + PAGE + 1, 0x7FFFFFFFF000):
        yield f"entry {entry:#x}", good(entry=entry).bytes(), EITHER - {0} if entry != BASE + PAGE + 1 else EITHER
    yield "ehsize 0", good(ehsize=0).bytes(), EITHER
    yield "section headers absurd", good(shoff=BIG, shnum=0xFFFF, shentsize=1, shstrndx=0xFFFF).bytes(), {0}

    for field in ("vaddr", "filesz", "memsz"):
        for value in (BIG, BIG - 5, 1 << 63, (1 << 63) - 1, 1 << 62, 1 << 48):
            yield f"{field} {value:#x}", segment(**{field: value}).bytes(), REFUSED
    for value in (BIG, BIG & -PAGE, 1 << 63, (1 << 63) - PAGE, 1 << 40, 2 * PAGE):
        yield f"offset {value:#x}", segment(offset=value).bytes(), REFUSED
    yield "offset and address disagree", segment(offset=PAGE + 4).bytes(), REFUSED
    yield "filesz above memsz", segment(memsz=4).bytes(), REFUSED
    yield "filesz beyond the file", segment(filesz=10 * PAGE, memsz=10 * PAGE).bytes(), REFUSED
    yield "both sizes 0", segment(filesz=0, memsz=0).bytes(), EITHER - {0}
    yield "bss", segment(memsz=50 * PAGE, flags=7).bytes(), {0}
    yield "huge bss", segment(memsz=1 << 46, flags=7).bytes(), REFUSED
    yield "bss of 30 bits", segment(memsz=1 << 30, flags=7).bytes(), EITHER
    yield "page zero", segment(vaddr=0, offset=0).bytes(), EITHER
    yield "not executable", segment(flags=4).bytes(), {-11}
    yield "no permission at all", segment(flags=0).bytes(), {-11}
    yield "flags absurd", segment(flags=0xFFFFFFFF).bytes(), EITHER
    for align in (0, 1, 3, BIG, 1 << 63, 1 << 50):
        yield f"align {align:#x}", segment(align=align).bytes(), EITHER
        e = segment(align=align)
        e.head["type"] = 3
        yield f"align {align:#x}, dynamic", e.bytes(), EITHER
    yield "no load segment", segment(type=PT_NULL).bytes(), REFUSED
    yield "unknown segment types", two(type=0x6FFFFFF5).bytes(), {0}
    yield "overlap", two().bytes(), EITHER
    yield "overlap in part", two(vaddr=BASE + PAGE + 4, offset=PAGE + 4, filesz=8, memsz=3 * PAGE, flags=6).bytes(), EITHER
    yield "out of order", two(vaddr=BASE - 4 * PAGE, filesz=0, memsz=PAGE, flags=6).bytes(), EITHER
    yield "far apart", two(vaddr=1 << 37, filesz=0, memsz=PAGE, flags=6).bytes(), EITHER
    yield "second too high", two(vaddr=1 << 47, filesz=0, memsz=PAGE, flags=6).bytes(), REFUSED
    yield "second wraps", two(vaddr=BIG & -PAGE, filesz=0, memsz=2 * PAGE, flags=6).bytes(), REFUSED
    for kind in (PT_DYNAMIC, PT_PHDR, PT_TLS, PT_STACK, 0x6474E552, 0x70000003):
        yield f"absurd segment {kind:#x}", two(type=kind, offset=BIG, vaddr=BIG, filesz=BIG, memsz=BIG).bytes(), EITHER
    many = Elf()
    many.segments = many.segments * 1000
    yield "a thousand segments", many.bytes(), EITHER

    yield "interpreter missing", Elf(b"/no/such/ld.so\0").bytes(), MISSING
    yield "interpreter is a directory", Elf(b"/usr\0").bytes(), REFUSED
    yield "interpreter of the host", Elf(b"/bin/true\0").bytes(), REFUSED
    yield "interpreter is text", Elf(b"/etc/passwd\0").bytes(), REFUSED
    yield "interpreter is a device", Elf(b"/dev/null\0").bytes(), REFUSED
    yield "interpreter unterminated", Elf(b"/bin/true").bytes(), REFUSED
    yield "interpreter empty", Elf(b"\0").bytes(), REFUSED | MISSING
    e = Elf(b"/bin/true\0")
    e.segments[0]["filesz"] = BIG
    yield "interpreter's size absurd", e.bytes(), REFUSED
    e.segments[0].update(filesz=10, offset=BIG - 4)
    yield "interpreter's offset absurd", e.bytes(), REFUSED
    yield "interpreter name too long", Elf(b"/" * 5000 + b"x\0").bytes(), REFUSED | MISSING
    yield "script without interpreter", b"#!\n", REFUSED
    yield "script of a missing interpreter", b"#!/no/such/program\n", MISSING
    yield "script, endless line", b"#!" + b"a" * 5000, REFUSED | MISSING
    yield "script of a directory", b"#!/usr\n", REFUSED


def mutants(count):
    rng = random.Random(SEED)
    for number in range(count):
        image = bytearray(Elf(b"/lib/ld.so\0" if number % 3 == 0 else None).bytes())
        for _ in range(rng.randrange(1, 5)):
            at = rng.randrange(0, 176)
            image[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        yield f"mutant {number}", bytes(image), EITHER | MISSING


def run(path):
    try:
        return subprocess.run([ISOMER, "run", path], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=20, errors="backslashreplace", check=False)
    except subprocess.TimeoutExpired:
        return None


def judge(path, statuses):
    """None, or what is wrong."""
    done = run(path)
    if done is None:
        return "still running after 20 s"
    if done.returncode not in statuses:
        return f"status {done.returncode}, wanted one of {sorted(statuses)}; stderr {done.stderr!r}"
    line = f"isomer: {re.escape(path)}: [^\n]+\n" if done.returncode in (126, 127) else ""
    if not re.fullmatch(line, done.stderr):
        return f"status {done.returncode} with stderr {done.stderr!r}"
    return f"stdout {done.stdout!r}" if done.stdout else None


def main():
    passed, failed = 0, 0

    def check(name, problem):
        nonlocal passed, failed
        if problem:
            failed += 1
            print(f"{name}: {problem}")
        else:
            passed += 1

    with tempfile.TemporaryDirectory() as work:
        path = os.path.join(work, "program")
        for name, image, statuses in [*cases(), *mutants(200)]:
            with open(path, "wb") as out:
                out.write(image)
            os.chmod(path, 0o755)
            check(name, judge(path, statuses))
        check("missing file", judge(os.path.join(work, "nothing"), MISSING))
        check("directory", judge(work, REFUSED))
        check("below a file", judge(path + "/x", REFUSED | MISSING))
        check("device", judge("/dev/null", REFUSED))
        with open(path, "wb") as out:
            out.write(Elf().bytes())
        os.chmod(path, stat.S_IRUSR)
        check("no permission to execute", judge(path, REFUSED))
        os.mkfifo(os.path.join(work, "fifo"))
        check("fifo", judge(os.path.join(work, "fifo"), REFUSED))
        os.symlink("loop", os.path.join(work, "loop"))
        check("symlink loop", judge(os.path.join(work, "loop"), REFUSED))
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
