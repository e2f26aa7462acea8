#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whole machines: Debian's riscv64 kernel with a busybox, under Isomer and under qemu-system-riscv64, interleaved.

Prints the CPU time of the whole process (user and system) to boot to user space and power off; then, as the guest's own clock sees them, programs of bench/src and
loads on the kernel (system calls, pipes, fork and exec, page faults, files in memory, disk, network), as ratios other / Isomer: the least of N rounds each. Then what
an idle guest costs, in percent of a core, and the memory of the process over what the guest has touched.
"""
import argparse
import gzip
import http.server
import math
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(TOP, "tests", "machine"))
os.environ.setdefault("ISOMER", os.path.join(TOP, "build", "isomer"))
import bench  # noqa: E402
import boot  # noqa: E402

PROGRAMS = ["sort", "branchy", "bytecode_switch", "bytecode_goto", "calls", "virtual", "chase", "strings", "muldiv", "memory", "sha256", "chacha", "nbody", "mandelbrot", "matmul", "atomics", "syscalls"]
LOADS = {
    "read-write": "dd if=/dev/zero of=/dev/null bs=1 count=300000",
    "clear-memory": "dd if=/dev/zero of=/dev/null bs=1M count=2000",
    "fork-exec": "sh -c 'i=0; while [ $i -lt 700 ]; do i=$((i+1)); /bin/true; done'",
    "shell": "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'",
    "pipe": "sh -c 'dd if=/dev/zero bs=512 count=80000 2>/dev/null | dd of=/dev/null bs=512'",
    "gzip": "sh -c 'cat /bin/busybox /bin/busybox /bin/busybox | gzip -c'",
    "sha256sum": "sh -c 'dd if=/dev/zero bs=1M count=30 2>/dev/null | sha256sum'",
    "files": "sh -c 'for i in 1 2 3 4 5; do dd if=/dev/zero of=/tmp/f bs=4k count=10000 2>/dev/null; rm /tmp/f; done'",
    "disk-read": "sh -c 'echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/vda of=/dev/null bs=1M count=256'",
    "disk-write": "sh -c 'dd if=/dev/zero of=/dev/vda bs=1M count=128; sync'",
    "network": "wget -q -O /dev/null http://10.0.2.2:%d/x",
}
NETWORK_BYTES = 64 << 20


class Bytes(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(NETWORK_BYTES))
        self.end_headers()
        block = bytes(1 << 20)
        for _ in range(NETWORK_BYTES >> 20):
            self.wfile.write(block)

    def log_message(self, *args):
        pass


def script(port, names):
    text = "cat > /bin/tm <<'X'\n#!/bin/sh\na=$(cut -d' ' -f1 /proc/uptime | tr -d .)\n\"$@\" > /dev/null 2>&1\nb=$(cut -d' ' -f1 /proc/uptime | tr -d .)\necho BENCH $NAME $((b-a))\nX\nchmod +x /bin/tm\n"
    text += "ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; sleep 1\n"
    text += "".join("NAME=%s tm /b/%s\n" % (p, p) for p in PROGRAMS if p in names)
    return text + "".join("NAME=%s tm %s\n" % (n, c % port if "%d" in c else c) for n, c in LOADS.items() if n in names)


def initrd(kernel, path, text, programs):
    kernel.initrd(path, text)
    with gzip.open(path) as f:
        raw = f.read()
    extra = boot.entry("b", mode=0o40755) + b"".join(boot.entry("b/" + n, open(p, "rb").read()) for n, p in programs.items())
    at = raw.rindex(b"070701")
    with gzip.open(path, "wb", compresslevel=1) as f:
        f.write(raw[:at] + extra + raw[at:])


def commands(kernel, disk, o):
    append = "console=ttyS0 quiet panic=-1"
    isomer = [boot.VM, "--kernel", kernel.image, "--append", append, "--no-reboot", "--memory", "1G", "--smp", str(o.smp), "--disk", disk + ",format=raw", "--initrd"]
    qemu = ["-M", "virt", "-m", "1G", "-smp", str(o.smp), "-nographic", "-no-reboot", "-kernel", kernel.image, "-append", append,
            "-drive", "file=%s,format=raw,if=none,id=d" % disk, "-device", "virtio-blk-pci,drive=d", "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,romfile=", "-initrd"]
    others = {"qemu": shutil.which("qemu-system-riscv64"), "newest": newest_qemu() if o.newest else None}
    return {"isomer": isomer, **{v: [path, *qemu] for v, path in others.items() if path}}


def newest_qemu():
    return subprocess.run([os.path.join(TOP, "tests", "tools", "newest-qemu"), "system"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def run(command, seconds=900):
    """Output and CPU seconds of the process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    r = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return r.stdout.decode(errors="replace"), after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def idle(command, seconds):
    """Percent of a core of a guest that sleeps, and MiB of the process beyond the guest's memory (its largest mapping)."""
    p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    line = b"-"
    while line and b"asleep" not in line:
        line = p.stdout.readline()
    if not line:
        return math.nan, math.nan
    time.sleep(2)
    ticks = lambda: sum(map(int, open("/proc/%d/stat" % p.pid).read().rsplit(") ", 1)[1].split()[11:13]))  # noqa: E731
    first = ticks()
    time.sleep(seconds)
    used = (ticks() - first) / os.sysconf("SC_CLK_TCK") / seconds * 100
    sizes = [(int(s), int(r)) for s, r in re.findall(r"\nSize: +(\d+) kB.*?\nPss: +(\d+) kB", open("/proc/%d/smaps" % p.pid).read(), re.S)]
    own = (sum(r for _, r in sizes) - max((r for s, r in sizes if s >= 1 << 20), default=0)) / 1024
    p.terminate()
    p.wait()
    return used, own


def geometric(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def measure(vms, tmp, rounds):
    """CPU seconds of each boot, and the least time of each piece of work, in hundredths of a second."""
    cpu, best = {v: [] for v in vms}, {v: {} for v in vms}
    for _ in range(rounds):
        for v, command in vms.items():
            out, seconds = run(command + [tmp + "/boot"])
            cpu[v].append(seconds if "reached" in out else math.inf)
        for v, command in vms.items():
            for name, ticks in re.findall(r"BENCH (\S+) (\d+)", run(command + [tmp + "/work"])[0]):
                best[v][name] = min(best[v].get(name, math.inf), max(int(ticks), 1))
    return {v: min(c) for v, c in cpu.items()}, best


def report(cpu, best):
    others = [v for v in cpu if v != "isomer"]
    print("boot to user space and off, CPU seconds: " + ", ".join("%s %.2f" % (v, c) for v, c in cpu.items()) +
          "".join(" (isomer / %s %.2f)" % (v, cpu["isomer"] / cpu[v]) for v in others))
    ratios = {v: {n: best[v][n] / t for n, t in best["isomer"].items() if n in best[v]} for v in others}
    for n, ticks in best["isomer"].items():
        print("%-16s isomer %6.2f s" % (n, ticks / 100) + "".join("   %s / isomer %6.2f" % (v, ratios[v][n]) for v in others if n in ratios[v]))
    for v in others:
        if ratios[v]:
            least = min(ratios[v], key=ratios[v].get)
            print("%s / isomer: geometric mean %.2f, least %.2f (%s)" % (v, geometric(ratios[v].values()), ratios[v][least], least))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="programs and loads; all of them by default")
    parser.add_argument("-n", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--smp", type=int, default=1, help="harts (default 1)")
    parser.add_argument("--newest", action="store_true", help="compare with the newest QEMU too (tests/tools/newest-qemu)")
    o = parser.parse_args()
    names = o.names or [*PROGRAMS, *LOADS]
    programs = [n for n in PROGRAMS if n in names]
    kernel = boot.Kernel()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bytes)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as tmp:
        disk = tmp + "/disk"
        with open(disk, "wb") as f:
            f.write(os.urandom(1 << 20) * 256)
        pairs = bench.build(programs, os.path.join(TOP, "build", "bench"))
        initrd(kernel, tmp + "/boot", "echo reached", {})
        initrd(kernel, tmp + "/work", script(server.server_port, names), {n: pairs[n][1] for n in programs})
        initrd(kernel, tmp + "/idle", "echo asleep; sleep 60", {})
        vms = commands(kernel, disk, o)
        report(*measure(vms, tmp, o.n))
        for v, command in vms.items():
            used, own = idle(command + [tmp + "/idle"], 10)
            print("%s, idle: %.1f %% of a core, %.0f MiB beyond the guest's memory" % (v, used, own))
    return 0


if __name__ == "__main__":
    sys.exit(main())
