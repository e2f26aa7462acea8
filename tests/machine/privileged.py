#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The privileged architecture against another emulator: privileged.c does random things to a bare machine and prints what came of them; every
engine must print what the newest qemu-system-riscv64 prints that can be had. $SEED chooses what is done."""
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
VM = os.path.join(os.path.dirname(os.environ["ISOMER"]), "isomer-vm")
SEED = int(os.environ.get("SEED") or "1")
ENGINES = {"quick": [], "interpreter": ["--engine", "interp"], "one instruction at a time": ["--one-insn"], "small cache": ["--cache-size", "1M"]}


def oracle():
    """Its path, and what it can be asked: 1: it holds each instruction against PMP, older ones do so only by page; 2: it knows pointer masking and vectors, too."""
    newest = subprocess.run([os.path.join(HERE, "..", "tools", "newest-qemu"), "system"], stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    path = newest or shutil.which("qemu-system-riscv64")
    version = re.search(r"version (\d+)", subprocess.run([path, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout) if path else None
    major = int(version.group(1)) if version else 0
    return path, (major >= 9) + (major >= 10)


def build(path, seed, rounds, levels, parts):
    subprocess.run(["riscv64-linux-gnu-gcc", "-O1", "-march=rv64gc_zicsr_zifencei", "-mabi=lp64", "-mcmodel=medany", "-static", "-nostdlib", "-ffreestanding", "-fno-pic", "-fno-builtin",
                    "-fno-tree-loop-distribute-patterns", "-Wl,-N,--no-warn-rwx-segments,-Ttext=0x80000000", "-Wl,--build-id=none", "-Wl,-e,_start", "-DSEED=%dul" % seed, "-DROUNDS=%d" % rounds, "-DMAX_LEVELS=%d" % levels, "-DPARTS=%d" % parts,
                    os.path.join(HERE, "privileged.c"), "-o", path], check=True)


def run(command, seconds=120):
    r = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds)
    return r.stdout.decode(errors="replace").replace("\r", "").splitlines()


def machine(image, options):
    return [VM, "--firmware", image, "--memory", "128M", "--net", "none", "--no-reboot", *options]


def alone(image):
    """What no oracle is asked for: the program says itself whether it is right."""
    build(image, 1, 0, 5, 2)
    wrong = [name for name, options in ENGINES.items() if run(machine(image, options)) != ["begin", "own good", "end"]]
    for name in wrong:
        print("FAILED M-mode's masks, " + name)
    return len(ENGINES) - len(wrong), len(wrong)


def main():
    qemu, parts = oracle()
    if not qemu:
        print("skipped: there is no qemu-system-riscv64")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    with tempfile.TemporaryDirectory() as tmp:
        passed, failed = alone(tmp + "/image")
        for seed in range(SEED * 1000, SEED * 1000 + 4):
            image = tmp + "/image"
            build(image, seed, 60, 5, parts)
            expected = run([qemu, "-M", "virt", "-m", "128M", "-cpu", "rv64,svinval=true,svnapot=true,svpbmt=true,h=false" + ",smnpm=true,ssnpm=true,smmpm=true,smstateen=true,sscofpmf=true,v=true,vlen=128,zvbb=true,zvkned=true" * (parts > 1), "-display", "none", "-serial", "stdio", "-monitor", "none", "-bios", image])
            for name, options in ENGINES.items():
                seen = run(machine(image, options))
                good = seen == expected and "end" in seen
                passed += good
                failed += not good
                if not good:
                    print("FAILED seed %d, %s: %d lines of %d" % (seed, name, len(seen), len(expected)))
                    print("\n".join(list(difflib.unified_diff(expected, seen, "qemu", "isomer", lineterm="", n=1))[:40]))
    print("%d passed, %d failed" % (passed, failed))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
