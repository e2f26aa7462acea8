#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Snapshots: a booted machine that works with its disk, network and folder is written to a file, killed, and goes on from the file as if nothing had been; and files that are
damaged, or of another machine, are refused. Environment: BUILD, ISOMER, SEED. Ends with "N passed, N failed"."""
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
import boot  # noqa: E402
from tally import check, finish  # noqa: E402

WORK = """
mount -t 9p -o trans=virtio share /mnt
ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0
exec 3< /mnt/text
read -u 3 line; echo "read $line"
/mnt/vectors 300 & vectors=$!
x=0; (while true; do x=$((x+1)); done) &
i=0
while [ $i -lt 25 ]; do
  i=$((i+1)); echo "count $i"
  dd if=/dev/urandom of=/tmp/r bs=64k count=1 2>/dev/null
  dd if=/tmp/r of=/dev/vda bs=64k seek=$i conv=fsync 2>/dev/null
  echo 3 > /proc/sys/vm/drop_caches
  dd if=/dev/vda bs=64k skip=$i count=1 2>/dev/null | cmp - /tmp/r || echo "WRONG on the disk"
done
read -u 3 line; echo "read $line"
ping -c 1 -W 5 10.0.2.2 | grep -o '1 packets received'
wait $vectors
echo "END $(wc -l < /mnt/text)"
"""


class Case:
    def __init__(self, tmp, kernel, options):
        self.tmp, self.control, self.file = tmp, tmp + "/control", tmp + "/snapshot"
        kernel.initrd(tmp + "/initrd", WORK)
        os.makedirs(tmp + "/share", exist_ok=True)
        open(tmp + "/share/text", "w").write("one\ntwo\n")
        subprocess.run(["riscv64-linux-gnu-gcc", "-O2", "-static", "-pthread", os.path.dirname(os.path.abspath(__file__)) + "/vectors.c", "-o", tmp + "/share/vectors"], check=True)
        subprocess.run(["truncate", "-s", "8M", tmp + "/disk"], check=True)
        self.command = [boot.VM, "--kernel", kernel.image, "--initrd", tmp + "/initrd", "--append", "console=ttyS0 quiet panic=-1", "--no-reboot", "--memory", "256M",
                        "--disk", tmp + "/disk,format=raw", "--share", tmp + "/share", *options]

    def run_until(self, text, then):
        """Runs, calls `then` at the first line with the text, and kills. Returns the output."""
        process = subprocess.Popen([*self.command, "--control", self.control], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        watch, out, done = threading.Timer(60 * boot.SLACK, process.kill), "", False
        watch.start()
        for line in process.stdout:
            out += line.decode(errors="replace")
            if text in out and not done:
                done = True
                then()
                process.kill()
        process.wait()
        watch.cancel()
        return out

    def resume(self, *options):
        return subprocess.run([*self.command, "--resume", self.file, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60 * boot.SLACK)

    def ask(self, **what):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.control)
            s.sendall(json.dumps(what).encode() + b"\n")
            return json.loads(s.makefile().readline())


def goes_on(kernel, name, *options):
    with tempfile.TemporaryDirectory() as tmp:
        case = Case(tmp, kernel, options)

        def snapshot():
            check(case.ask(command="pause")["ok"] and case.ask(command="status")["state"] == "paused", f"{name}: no pause")
            r = subprocess.run([os.environ["ISOMER"], "snapshot", case.control, case.file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            check(r.returncode == 0 and os.path.exists(case.file), f"{name}: {r.stdout}")

        before = case.run_until("count 8", snapshot)
        r = case.resume()
        after = r.stdout.decode(errors="replace")
        check("read one" in before and r.returncode == 0 and "count 25" in after and "read two" in after and "1 packets received" in after and "END 2" in after and "vectors: kept" in before + after
              and "WRONG" not in before + after and "count 7" not in after, f"{name}: status {r.returncode}; before:\n{before[-600:]}\nafter:\n{after[-1500:]}")


def refused(kernel):
    pick = random.Random(int(os.environ.get("SEED", "1")))
    with tempfile.TemporaryDirectory() as tmp:
        case = Case(tmp, kernel, ())

        def snapshot():
            for bad in (b"{}", b"[1]", b'{"command": 5}', b'{"command": "snapshot"}', b'{"command": "snapshot", "file": "/nonexistent/x"}', b'{"command": "x\\u0041"}', b'"', b"\x00\xff"):
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect(case.control)
                    s.sendall(bad + b"\n")
                    check(not json.loads(s.makefile().readline())["ok"], f"the control socket takes {bad}")
            check(case.ask(command="snapshot", file=case.file)["ok"], "no snapshot")

        case.run_until("count 3", snapshot)
        good = open(case.file, "rb").read()

        def expect(data, words, what, *options):
            open(case.file, "wb").write(data)
            r = case.resume(*options)
            out = r.stdout.decode(errors="replace")
            check(r.returncode == 1 and out.count("\n") == 1 and words in out, f"{what}: status {r.returncode}, {out[-500:]}")

        for _ in range(12):
            at = pick.randrange(24, len(good))
            expect(good[:at] + bytes([good[at] ^ 1 << pick.randrange(8)]) + good[at + 1:], "damaged", f"bit changed at {at}")
        for size in (0, 5, 23, 24, 40, len(good) // 2, len(good) - 1):
            expect(good[:size], "snapshot" if size < 24 else "damaged", f"cut at {size}")
        expect(good + b"x", "damaged", "a byte more")
        expect(b"X" + good[1:], "not a snapshot", "another file")
        expect(good[:8] + b"\x09" + good[9:], "another version", "another version")
        expect(good, "memory", "more memory", "--memory", "512M")
        expect(good, "harts", "more harts", "--smp", "2")
        expect(good, "interrupts", "another board", "--aia", "aplic")
        expect(good, "rings", "other rings", "--packed", "on")
        os.utime(case.tmp + "/disk")
        expect(good, "disk", "a disk that was written since")


def main():
    if not shutil.which("mmdebstrap"):
        print("skipped: mmdebstrap is not installed\n0 passed, 0 failed, 1 skipped")
        return 0
    kernel = boot.Kernel()
    goes_on(kernel, "one hart")
    goes_on(kernel, "three harts", "--smp", "3")
    goes_on(kernel, "advanced interrupts", "--smp", "2", "--aia", "aplic-imsic")
    goes_on(kernel, "wires without messages", "--smp", "2", "--aia", "aplic")
    goes_on(kernel, "firmware", "--smp", "2", "--firmware", kernel.sbi)
    goes_on(kernel, "packed rings", "--smp", "2", "--packed", "on")
    refused(kernel)
    return finish()


if __name__ == "__main__":
    sys.exit(main())
