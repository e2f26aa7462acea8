#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Machines recorded and replayed. A replay must print what the recorded machine printed, and two replays must leave the same trace, to the byte, that the recording left: with
everything that looks at the host in it (console, disk, network, shared folder, random numbers, clocks, vsock). Counts are held against a program that knows them.
Environment: ISOMER. Arguments: names of parts. Ends with "N passed, N failed"."""
import functools
import hashlib
import http.server
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
import boot  # noqa: E402
import gdb  # noqa: E402
from tally import check, finish  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
ENGINES = {"quick": [], "interpreter": ["--engine", "interp"], "one instruction at a time": ["--one-insn"], "small cache": ["--cache-size", "1M"],
           "old processor": ["--host-features", "-avx,-avx2,-avx512,-bmi1,-bmi2,-lzcnt,-fma"]}
COUNTS = [1, 3000001, 500001, 5001, 8, 9, 3, 7, 1000]
boot.MODULES = [*boot.MODULES, "drivers/char/hw_random/virtio-rng", "net/vmw_vsock/vsock", "net/vmw_vsock/vmw_vsock_virtio_transport_common", "net/vmw_vsock/vmw_vsock_virtio_transport"]


def run(options, talk=(), seconds=120):
    """Status and output. talk: (text to wait for, answer)."""
    if talk:
        return boot.talk([boot.VM, *options], talk, seconds * boot.SLACK)
    r = subprocess.run([boot.VM, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds * boot.SLACK, check=False)
    return r.returncode, r.stdout.decode(errors="replace")


def read(path):
    with open(path, "rb") as f:
        return f.read()


def same_traces(what, one, other):
    a, b = read(one).splitlines(), read(other).splitlines()
    first = next((k for k, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    check(a == b and a, f"{what}: traces of {len(a)} and {len(b)} lines differ from line {first} on: {a[first:first + 1]} and {b[first:first + 1]}")


def counts(tmp):
    subprocess.run(["riscv64-linux-gnu-gcc", "-nostdlib", "-static", "-march=rv64gc", "-mabi=lp64d", "-Wl,-N,--no-warn-rwx-segments,-Ttext=0x80000000,--build-id=none",
                    os.path.join(HERE, "counted.S"), "-o", tmp + "/counted"], check=True)
    machine = ["--firmware", tmp + "/counted", "--net", "none", "--memory", "64M", "--no-reboot"]
    for name, options in ENGINES.items():
        status, out = run([*machine, "--record", tmp + "/record", *options])
        check(status == 0 and [int(n, 16) for n in out.split()] == COUNTS, f"counts, {name}: status {status}, {out!r}")
    for name, options in ENGINES.items():
        status, out = run(["--replay", tmp + "/record", *options]) # what machine it is stands in the record
        check(status == 0 and [int(n, 16) for n in out.split()] == COUNTS, f"counts replayed, {name}: status {status}, {out!r}")


def firmware(tmp, kernel):
    """OpenSBI and U-Boot, which are talked to; replayed by every engine."""
    machine = ["--firmware", kernel.sbi, "--kernel", kernel.uboot, "--net", "none", "--no-reboot", "--memory", "128M", "--trace", "priv,mmio"]
    talk = [("stop autoboot", "\n"), ("=>", "version\n"), ("=>", "poweroff\n")]
    status, out = run([*machine, "--record", tmp + "/record", "--trace-file", tmp + "/trace"], talk)
    check(status == 0 and "U-Boot 20" in out and "poweroff ..." in out, f"firmware: status {status}, {out[-600:]!r}")
    for name, options in ENGINES.items():
        status, again = run([*machine, "--replay", tmp + "/record", "--trace-file", tmp + "/again", *options], seconds=300)
        check(status == 0 and again == out, f"firmware, {name}: status {status}, {again[-600:]!r}")
        same_traces("firmware, " + name, tmp + "/trace", tmp + "/again")


WORLD = """date; cat /proc/sys/kernel/random/uuid; echo pid $$; sleep 0.1; dd if=/dev/hwrng bs=16 count=4 2>/dev/null | md5sum
ifconfig lo 127.0.0.1 up; ifconfig eth0 10.0.2.15 up; route add default gw 10.0.2.2; ping -c 2 127.0.0.1; ping -c 1 10.0.2.2; wget -O - http://10.0.2.2:PORT/big | md5sum
md5sum < /dev/vda; dd if=/dev/urandom of=/dev/vda bs=4k count=16 seek=3 2>/dev/null; sync; echo 3 > /proc/sys/vm/drop_caches; md5sum < /dev/vda
mount -t 9p -o trans=virtio,version=9p2000.L share /mnt; ls -l /mnt; md5sum < /mnt/big; echo written > /mnt/out; cat /mnt/out; cp /mnt/vsock /tmp; /tmp/vsock 1234
echo READY; read a; echo "got $a"; read a; echo "got $a"; hwclock -r; date; cat /proc/uptime"""


VSOCK = """#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <linux/vm_sockets.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct sockaddr_vm at = {.svm_family = AF_VSOCK, .svm_cid = 2, .svm_port = atoi(argv[1])};
    int s = socket(AF_VSOCK, SOCK_STREAM, 0), n;
    char line[100];
    if (connect(s, (void *)&at, sizeof at) || write(s, "guest\\n", 6) != 6) return perror("vsock"), 1;
    while ((n = read(s, line, sizeof line)) > 0) write(1, line, n);
    return 0;
}
"""


def vsock_serve(path):
    """A program of the host's that the guest's port 1234 leads to: it answers one line, in two parts."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path + "_1234")
    listener.listen()

    def serve():
        peer = listener.accept()[0]
        line = peer.recv(100)
        peer.sendall(b"from the host: ")
        time.sleep(0.05)
        peer.sendall(line)
        peer.close()
    threading.Thread(target=serve, daemon=True).start()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def folder_server(path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def world(tmp, kernel):
    """All that a guest can hear of the host, on a kernel; replayed where none of it is there any more."""
    share = tmp + "/share"
    os.mkdir(share)
    with open(share + "/big", "wb") as f:
        f.write(os.urandom(600000))
    with open(tmp + "/disk", "wb") as f:
        f.write(os.urandom(1 << 20))
    with open(tmp + "/vsock.c", "w", encoding="ascii") as f:
        f.write(VSOCK)
    subprocess.run(["riscv64-linux-gnu-gcc", "-O1", "-static", tmp + "/vsock.c", "-o", share + "/vsock"], check=True)
    vsock_serve(tmp + "/v")
    server = folder_server(share)
    kernel.initrd(tmp + "/initrd", WORLD.replace("PORT", str(server.server_address[1])))
    machine = ["--kernel", kernel.image, "--initrd", tmp + "/initrd", "--append", "console=ttyS0 quiet panic=-1 nokaslr", "--no-reboot", "--memory", "256M", "--net", "user", "--disk", tmp + "/disk,format=raw",
               "--share", share, "--vsock", f"3,{tmp}/v", "--trace", "priv"]
    disk = hashlib.md5(read(tmp + "/disk")).hexdigest()
    status, out = run([*machine, "--record", tmp + "/record", "--trace-file", tmp + "/trace"], [("READY", "one line\n"), ("got one", "another\n")])
    server.shutdown()
    big = hashlib.md5(read(share + "/big")).hexdigest()
    check(status == 0 and out.count(big) == 2 and disk in out and "written" in out and "from the host: guest" in out and "got another" in out and out.count("ttl=") == 3, f"world: status {status}, {out}")
    check(hashlib.md5(read(tmp + "/disk")).hexdigest() == disk, "world: the recording has written the disk")
    shutil.rmtree(share)
    for k in range(2):
        status, again = run([*machine, "--replay", tmp + "/record", "--trace-file", tmp + "/again"])
        check(status == 0 and again == out, f"world, replay {k}: status {status}, {again}")
        same_traces(f"world, replay {k}", tmp + "/trace", tmp + "/again")
    check(hashlib.md5(read(tmp + "/disk")).hexdigest() == disk and not os.path.exists(share), "world: the replay has left something on the host")
    debugged(tmp, machine, out)
    refused(tmp, machine)


def stops(path, satp, handler):
    """Goes to where the kernel has mapped itself, and then to one trap after the other: what the registers are there, the count of instructions among them."""
    gdb.wait_for(path)
    r, seen = gdb.Remote(path), []
    r.ask(f"Z0,{satp[1]:x},4")
    r.ask("c")
    r.ask(f"z0,{satp[1]:x},4")
    while r.register(32) != satp[2]:
        r.ask("s")
    r.ask("s")
    for _ in range(12):
        r.ask(f"Z0,{handler:x},4")
        r.ask("c")
        seen.append([r.register(n) for n in (32, 2, 10, 106, 107, 128, 129)])
        r.ask(f"z0,{handler:x},4")
        r.ask("s")
    r.s.close()
    return seen


def debugged(tmp, machine, out):
    """A debugger at the same traps of two replays sees the same, and the machine does not notice."""
    trace = read(tmp + "/trace").decode()
    satp = [int(at, 0) for at in re.findall(r"satp 0x\w+ at (0x\w+)", trace)]
    handler = int(re.search(r"U to S: call from U at .* goes on at (0x\w+)", trace).group(1), 0)
    seen = []
    for _ in range(2):
        vm = subprocess.Popen([boot.VM, *machine, "--replay", tmp + "/record", "--trace-file", tmp + "/again", "--gdb-wait", tmp + "/gdb"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        seen.append(stops(tmp + "/gdb", satp, handler))
        again = vm.communicate(timeout=120 * boot.SLACK)[0].decode(errors="replace")
        check(vm.returncode == 0 and again == out, f"debugged: status {vm.returncode}, {again[-800:]}")
        same_traces("debugged", tmp + "/trace", tmp + "/again")
    check(seen[0] == seen[1] and all(x[0] == handler for x in seen[0]) and len({x[6] for x in seen[0]}) == 12, f"debugged: {seen[0]} and {seen[1]}")


def refused(tmp, machine):
    def refuse(what, options, text, status=1):
        got, out = run(options)
        check(got == status and text in out and out.count("\n") == 1, f"{what}: status {got}, {out!r}")

    replay = ["--replay", tmp + "/record"]
    refuse("two harts", [*machine, *replay, "--smp", "2"], "has one hart")
    refuse("both", [*machine, *replay, "--record", tmp + "/other"], "either recorded or replayed")
    refuse("other memory", [*machine, *replay, "--memory", "512M"], "memory: 268435456")
    refuse("another command line", [*machine, *replay, "--append", "quiet"], "command line")
    refuse("another device", [*machine, *replay, "--net", "none"], "")
    refuse("no record", [*machine, "--replay", tmp + "/initrd"], "not a record of a machine")
    before = os.stat(tmp + "/disk")
    with open(tmp + "/disk", "r+b") as f:
        f.write(b"changed")
    refuse("the disk changed", [*machine, *replay], "of another machine")
    os.utime(tmp + "/disk", ns=(before.st_atime_ns, before.st_mtime_ns))
    status, out = run([*machine, *replay, "--trace-file", tmp + "/again"])
    check(status == 1 and "the machine does not do what the record says" in out, f"the disk changed secretly: status {status}, {out[-500:]}")


def variants(tmp, kernel):
    """Message-signalled interrupts, packed rings, qcow2, firmware, a second console, all at once."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", tmp + "/disk.qcow2", "8M"], check=True)
    kernel.initrd(tmp + "/initrd", "ifconfig eth0 10.0.2.15 up; ping -c 1 10.0.2.2; dd if=/dev/urandom of=/dev/vda bs=64k count=8 2>/dev/null; sync; md5sum < /dev/vda; cat /sys/bus/virtio/devices/virtio1/features; reboot -f")
    status, out = run(["--kernel", kernel.image, "--initrd", tmp + "/initrd", "--append", "console=ttyS0 quiet panic=-1", "--memory", "256M", "--disk", tmp + "/disk.qcow2", "--aia", "aplic-imsic", "--packed", "on", "--console", "null",
                       "--firmware", kernel.sbi, "--trace", "priv,mmio", "--trace-file", tmp + "/trace", "--record", tmp + "/record", "--no-reboot"])
    check(status == 0 and "1 packets received" in out and len(re.findall(r"[0-9a-f]{32}  -", out)) == 1, f"variants: status {status}, {out[-1500:]}")
    status, again = run(["--trace", "priv,mmio", "--trace-file", tmp + "/again", "--replay", tmp + "/record"])
    check(status == 0 and again == out, f"variants, replayed: status {status}, {again[-1500:]}")
    same_traces("variants", tmp + "/trace", tmp + "/again")


def reboots(tmp, kernel):
    """The second time it is another board, with other seeds; a word from outside ends it."""
    kernel.initrd(tmp + "/initrd", "cat /proc/sys/kernel/random/uuid; echo READY; read a; [ $a = again ] && reboot -f")
    machine = ["--kernel", kernel.image, "--initrd", tmp + "/initrd", "--append", "console=ttyS0 quiet panic=-1", "--memory", "256M", "--net", "none"]
    status, out = run([*machine, "--record", tmp + "/record"], [("READY", "again\n"), ("READY", "enough\n")])
    check(status == 0 and len(set(re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", out))) == 2, f"reboots: status {status}, {out}")
    status, again = run(["--replay", tmp + "/record"])
    check(status == 0 and again == out, f"reboots, replayed: status {status}, {again}")
    vm = subprocess.Popen([boot.VM, *machine, "--record", tmp + "/record", "--control", tmp + "/control"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out = vm.stdout.readline() + vm.stdout.readline()
    control = socket.socket(socket.AF_UNIX)
    control.connect(tmp + "/control")
    control.sendall(b'{"command": "reset"}\n')
    out += vm.stdout.readline() + vm.stdout.readline()
    out += vm.communicate(b"enough\n", timeout=60 * boot.SLACK)[0]
    control.close()
    status, again = run(["--replay", tmp + "/record"])
    check(vm.returncode == 0 and status == 0 and again == out.decode() and out.count(b"READY") == 2, f"reset from outside: status {status}, {out} and {again}")


def cut(tmp, kernel):
    """A recording that is killed is good up to its last chunk; one that is damaged up to there."""
    kernel.initrd(tmp + "/initrd", "i=0; while [ $i -lt 1000 ]; do i=$((i+1)); echo line $i; sleep 0.1; done")
    machine = ["--kernel", kernel.image, "--initrd", tmp + "/initrd", "--append", "console=ttyS0 quiet panic=-1", "--no-reboot", "--memory", "256M", "--net", "none"]
    vm = subprocess.Popen([boot.VM, *machine, "--record", tmp + "/record"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    out = b""
    while b"line 10" not in out:
        out += os.read(vm.stdout.fileno(), 4096)
    time.sleep(2) # what happened half a second before the end is in the file
    vm.kill()
    out = (out + vm.stdout.read()).decode()
    vm.wait()
    status, again = run([*machine, "--replay", tmp + "/record"])
    head, _, why = again.rpartition("isomer boot: ")
    check(status == 1 and "the record ends here" in why and "line 10" in head and out.startswith(head[:len(out)]), f"cut: status {status}, {again[-300:]!r} of {out[-300:]!r}")
    data = bytearray(read(tmp + "/record"))
    data[len(data) * 3 // 4] ^= 1
    with open(tmp + "/record", "wb") as f:
        f.write(data)
    status, again = run([*machine, "--replay", tmp + "/record"])
    check(status == 1 and "the record is damaged from here on" in again, f"damaged: status {status}, {again[-300:]!r}")


def main():
    if not shutil.which("mmdebstrap"):
        print("skipped: mmdebstrap is not installed\n0 passed, 0 failed, 1 skipped")
        return 0
    kernel = boot.Kernel()
    parts = {"counts": counts, "firmware": lambda t: firmware(t, kernel), "world": lambda t: world(t, kernel), "variants": lambda t: variants(t, kernel), "reboots": lambda t: reboots(t, kernel), "cut": lambda t: cut(t, kernel)}
    for name in sys.argv[1:] or parts:
        with tempfile.TemporaryDirectory() as tmp:
            parts[name](tmp)
    return finish()


if __name__ == "__main__":
    sys.exit(main())
