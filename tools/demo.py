#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""demo.py ISOMER ROOT: run real riscv64 programs of Debian, and compare with QEMU if that is installed.

ROOT is a tree of Debian's riscv64 packages, as tests/tools/riscv-root makes it. Each program is started as a user
would: isomer run -L ROOT PROGRAM ARGS; its output is shown. Then the same commands are timed, each in turn under both
emulators, three times; the least CPU time of each counts. Exit status 1 if a program failed under Isomer.
"""
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile

PI = ("q,r,t,i,out=1,180,60,2,''\n"
      "while len(out)<%d:\n"
      "  u,y=3*(3*i+1)*(3*i+2),(q*(27*i-12)+5*r)//(5*t)\n"
      "  out+=str(y); q,r,t,i=10*q*i*(2*i-1),10*u*(q*(5*i-2)+r-y*t),t*u,i+1\n"
      "print(out[0]+'.'+out[1:])")
SHOWN = [
    ["uname", "-srm"],
    ["bash", "-c", 'echo "bash $BASH_VERSION on $MACHTYPE"; for i in {1..5}; do printf "%d " $((i ** 10)); done; echo'],
    ["python3", "-c", "import sys, platform; print('Python', sys.version.split()[0], 'on', platform.machine())"],
    ["python3", "-c", PI % 60],
    ["perl", "-e", r'my %c; $c{length $_}++ for map { $_ ** 3 } 1 .. 1000; print "perl: ", join(" ", map { "$_:$c{$_}" } sort keys %c), "\n"'],
    ["sha256sum", "/proc/self/exe"],
    ["sh", "-c", "echo one two three | tr a-z A-Z"],
]
TIMED = [
    ("start a program (true)", ["true"]),
    ("factor a big number", ["factor", "18446744073709551617", "1000000016000000063"]),
    ("sort 200000 lines", ["sort", "-n", "DATA"]),
    ("sha512 of 8 MB", ["sha512sum", "BIG"]),
    ("gawk, a field sum", ["gawk", "{s += $1 * 2.5; a[$1 % 97]++} END {print s, length(a)}", "DATA"]),
    ("perl, a sieve", ["perl", "-e", "my @s; for my $i (2 .. 300000) { next if $s[$i]; $n++; for (my $j = $i * 2; $j <= 300000; $j += $i) { $s[$j] = 1 } } print \"$n\\n\""]),
    ("python, start and import", ["python3", "-c", "import json, re, decimal, argparse"]),
    ("python, 1200 digits of pi", ["python3", "-c", PI % 1200]),
    ("python, floating point", ["python3", "-c", "import math\nprint(sum(math.sin(i) * math.sqrt(i) for i in range(400000)))"]),
    ("bash, a loop", ["bash", "-c", "for ((i = 0, n = 0; i < 150000; i++)); do ((n += i % 7)); done; echo $n"]),
]


def command(emulator, root, argv, files):
    argv = [files.get(a, a) for a in argv]
    return [*emulator, "-L", root, os.path.join(root, "usr", "bin", argv[0]), *argv[1:]]


def environment(root):
    """The root's programs find each other; nothing else of ours leaks in."""
    return {"PATH": os.path.join(root, "usr", "bin"), "LC_ALL": "C.UTF-8", "HOME": os.environ.get("HOME", "/")}


def cpu_seconds(argv, env):
    """(CPU seconds, output), None for seconds if it failed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
                          check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (spent if done.returncode == 0 else None), done.stdout


def show(isomer, root, env):
    failed = 0
    print("Programs of Debian trixie for riscv64, run on this machine:\n", flush=True)
    for argv in SHOWN:
        short = shlex.join(argv)
        print("$ isomer run -L ROOT ROOT/usr/bin/" + (short if len(short) < 100 else short[:97].replace("\n", " ") + "..."), flush=True)
        failed += subprocess.run(command([isomer, "run"], root, argv, {}), env=env, check=False).returncode != 0
        print(flush=True)
    return failed


def compare(isomer, qemu, root, env, files):
    failed = 0
    print("CPU time, least of three runs" + ("" if qemu else " (no qemu-riscv64 here to compare with)"))
    print(f"  {'':28s} {'isomer':>9s}" + (f" {'qemu':>9s} {'ratio':>7s}" if qemu else ""), flush=True)
    for name, argv in TIMED:
        emulators = {"isomer": [isomer, "run"]} | ({"qemu": [qemu]} if qemu else {})
        best, output = {}, {}
        for _ in range(3):
            for who, emulator in emulators.items():
                spent, output[who] = cpu_seconds(command(emulator, root, argv, files), env)
                if spent is not None:
                    best[who] = min(spent, best.get(who, spent))
        if "isomer" not in best:
            failed += 1
            print(f"  {name:28s}    failed", flush=True)
            continue
        line = f"  {name:28s} {best['isomer']:8.3f}s"
        if "qemu" in best:
            line += f" {best['qemu']:8.3f}s {best['qemu'] / max(best['isomer'], 1e-4):6.2f}x"
            line += "" if output["qemu"] == output["isomer"] else "  (outputs differ)"
        print(line, flush=True)
    return failed


def main():
    isomer, root = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    env = environment(root)
    with tempfile.TemporaryDirectory() as work:
        files = {"DATA": os.path.join(work, "data"), "BIG": os.path.join(work, "big")}
        with open(files["DATA"], "w") as out:
            out.writelines(f"{i * 7919 % 200003}\n" for i in range(200000))
        with open(files["BIG"], "wb") as out:
            out.write(bytes(range(256)) * 32768)
        failed = show(isomer, root, env) + compare(isomer, shutil.which("qemu-riscv64"), root, env, files)
    print("\nAll of them ran." if not failed else f"\n{failed} failed.")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
