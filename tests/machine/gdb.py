#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The machine's GDB stub: a session of gdb-multiarch from the first instruction on, and packets by hand to a kernel that runs. Environment: BUILD, ISOMER. Ends
with "N passed, N failed"."""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
import boot  # noqa: E402
from tally import check, finish  # noqa: E402


def machine(kernel, tmp, *options):
    kernel.initrd(tmp + "/initrd", "i=0; while [ $i -lt 3 ]; do i=$((i+1)); sleep 1; done; echo STILL ALIVE")
    return subprocess.Popen([boot.VM, "--kernel", kernel.image, "--initrd", tmp + "/initrd", "--append", "console=ttyS0 quiet panic=-1 nokaslr", "--no-reboot", "--memory", "256M",
                             "--net", "none", *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def wait_for(path):
    for _ in range(200):
        if os.path.exists(path):
            return
        time.sleep(0.05)


def debugger(kernel):
    """GDB itself: registers, memory, steps, breakpoints, threads; after it leaves, the machine goes on."""
    with tempfile.TemporaryDirectory() as tmp:
        vm = machine(kernel, tmp, "--smp", "2", "--gdb-wait", tmp + "/gdb")
        wait_for(tmp + "/gdb")
        image = open(kernel.image, "rb").read(8)
        target = 0x80200002 + jump(image)
        commands = ["set pagination off", "set confirm off", f"target remote {tmp}/gdb", "info threads", "p/x $pc", "x/xg $pc", "stepi", "p/x $pc", "p $priv", "p/x $a0",
                    f"break *{target:#x}", "continue", "p/x $pc", "stepi", "stepi", "p/x $pc - 0x80200000 > 0x100", "set $t0=0x1234", "p/x $t0", "set $v3.w[1] = 0xabcd", "p/x $v3.l", "p/x $vtype", "set $vcsr = 5", "p $vxrm", "p $vlenb", "p/x $mhartid", "thread 2", "p/x $mhartid",
                    "thread 1", "set *(long*)0x80000100=0x55aa", "x/xg 0x80000100", "x/xg 0x10000000", "delete", "detach"]
        r = subprocess.run(["gdb-multiarch", "-nx", "-batch", *[x for c in commands for x in ("-ex", c)]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, timeout=60 * boot.SLACK, check=False)
        values = re.findall(r"\$\d+ = (.*)", r.stdout)
        want = ["0x80200000", "0x80200002", "1", "0x0", hex(target), "0x1", "0x1234", "{0xabcd00000000, 0x0}", "0x8000000000000000", "2", "16", "0x0", "0x1"]
        check(values == want, f"gdb's values are {values}, wanted {want}:\n{r.stdout[-2500:]}")
        for text in ("hart 0", "hart 1", "0x%016x" % int.from_bytes(image, "little"), "55aa", "Cannot access memory at address 0x10000000"):
            check(text in r.stdout, f"gdb does not show {text}:\n{r.stdout[-2500:]}")
        out = vm.communicate(timeout=60 * boot.SLACK)[0].decode(errors="replace")
        check(vm.returncode == 0 and "STILL ALIVE" in out, f"the machine does not go on: {out[-600:]}")


def jump(image):
    """How far the jump behind the kernel's magic leads."""
    bits = int.from_bytes(image[2:6], "little")
    if bits & 3 == 3:  # jal
        return ((bits >> 31) * -(1 << 20)) + ((bits >> 12 & 0xff) << 12) + ((bits >> 20 & 1) << 11) + ((bits >> 21 & 0x3ff) << 1)
    return sum((bits >> a & 1) << b for a, b in ((3, 1), (4, 2), (5, 3), (11, 4), (2, 5), (7, 6), (6, 7), (9, 8), (10, 9), (8, 10))) - ((bits >> 12 & 1) << 11)  # c.j


class Remote:
    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(20 * boot.SLACK)
        self.s.connect(path)

    def send(self, text):
        self.s.sendall(b"$%s#%02x" % (text.encode(), sum(text.encode()) & 255))

    def receive(self):
        data = b""
        while not re.search(rb"\$[^#]*#..", data):
            more = self.s.recv(4096)
            if not more:
                return None
            data += more
        self.s.sendall(b"+")
        return re.search(rb"\$([^#]*)#", data).group(1).decode()

    def ask(self, text):
        self.send(text)
        return self.receive()

    def register(self, n):
        return int.from_bytes(bytes.fromhex(self.ask(f"p{n:x}")), "little")


def packets(kernel):
    """A kernel that runs is interrupted, stopped at its trap handler by a breakpoint on either hart, and let go."""
    with tempfile.TemporaryDirectory() as tmp:
        vm = machine(kernel, tmp, "--smp", "2", "--gdb", tmp + "/gdb")
        wait_for(tmp + "/gdb")
        time.sleep(1.2)
        r = Remote(tmp + "/gdb")
        check("T05" in r.ask("?") and "PacketSize" in r.ask("qSupported:x"), "no stop")
        r.send("c")
        time.sleep(0.2)
        r.s.sendall(b"\x03")
        check(r.receive().startswith("T02"), "no interrupt")
        stvec = r.register(102) & ~3
        check(stvec >> 63 and r.ask(f"Z0,{stvec:x},4") == "OK", f"no breakpoint at {stvec:#x}")
        for _ in range(4):
            stop = r.ask("vCont;c")
            hart = int(re.search("thread:([0-9a-f]+)", stop).group(1), 16)
            check(r.ask(f"Hg{hart:x}") == "OK" and r.register(32) == stvec and r.register(107), f"not at the breakpoint: {stop}")
            r.ask(f"z0,{stvec:x},4")
            check("T05" in r.ask(f"vCont;s:{hart:x}") and r.register(32) != stvec, "no step")
            r.ask(f"Z0,{stvec:x},4")
        # What is not understood, or lies nowhere, is refused.
        for bad in ("m0,8", "mffffffffffffffff,10", "m10000000,ffffffff", "p5000", "Pfff=00", "Z0,0,2", "Hgffff", "X", "v", "qXfer:features:read:target.xml:ffffff,ff", "G00", "M0,4:00"):
            check(r.ask(bad) is not None, f"no answer to {bad}")
        r.s.close()
        out = vm.communicate(timeout=60 * boot.SLACK)[0].decode(errors="replace")
        check(vm.returncode == 0 and "STILL ALIVE" in out, f"the machine does not go on: {out[-600:]}")


def main():
    if not shutil.which("mmdebstrap") or not shutil.which("gdb-multiarch"):
        print("skipped: mmdebstrap or gdb-multiarch is not installed\n0 passed, 0 failed, 1 skipped")
        return 0
    kernel = boot.Kernel()
    debugger(kernel)
    packets(kernel)
    return finish()


if __name__ == "__main__":
    sys.exit(main())
