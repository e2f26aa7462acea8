#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""SIGKILL of a machine at a random moment while its guest writes: the qcow2 image must be sound (qemu-img check: leaks are allowed), and what the guest was told
is safe must be on it. Environment: BUILD, ISOMER, SEED. --count N: kills (20). Ends with "N passed, N failed"."""
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import boot  # noqa: E402

BLOCK_TEST = os.path.join(os.environ["BUILD"], "tests", "unit", "block_test")
SIZE = 32 << 20


def run(*argv):
    return subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def killed(command, after):
    """Runs until `after` seconds after the guest's first line "safe N", then kills. The last N; 0: it never said so."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    watch, last, seen = threading.Timer(60 * boot.SLACK, process.kill), 0, []
    watch.start()
    for line in process.stdout:
        found = re.fullmatch(rb"safe (\d+)\r*\n", line)
        if not found:
            seen.append(line.decode(errors="replace"))
            continue
        if not last:
            threading.Timer(after, process.kill).start()
        last = int(found.group(1))
    process.wait()
    watch.cancel()
    return last, "".join(seen[-20:])


def main():
    count = int(sys.argv[sys.argv.index("--count") + 1]) if "--count" in sys.argv else 20
    if not shutil.which("qemu-img") or not shutil.which("mmdebstrap"):
        print("0 passed, 0 failed, 1 skipped")
        return 0
    kernel, pick, passed, failed = boot.Kernel(), random.Random(int(os.environ.get("SEED", "1"))), 0, 0
    with tempfile.TemporaryDirectory() as tmp:
        image, share = tmp + "/disk.qcow2", tmp + "/share"
        os.mkdir(share)
        run("riscv64-linux-gnu-gcc", "-O2", "-static", os.path.join(boot.HERE, "stamp.c"), "-o", share + "/stamp")
        for k in range(count):
            if k % 8 == 0:
                run("rm", "-f", image)
                run(BLOCK_TEST, "create", image, SIZE)
            kernel.initrd(tmp + "/initrd", f"mount -t 9p -o trans=virtio share /mnt\n/mnt/stamp /dev/vda {pick.randrange(1 << 30)}")
            last, seen = killed([boot.VM, "--kernel", kernel.image, "--initrd", tmp + "/initrd", "--append", "console=ttyS0 quiet panic=-1", "--no-reboot", "--memory", "256M",
                                 "--net", "none", "--disk", image, "--share", share, "--smp", str(1 + k % 2)], pick.uniform(0.01, 0.8))
            check, verify = run("qemu-img", "check", "-f", "qcow2", image), run(BLOCK_TEST, "verify", image, last)
            good = last and check.returncode in (0, 3) and verify.returncode == 0
            passed, failed = passed + bool(good), failed + (not good)
            if not good:
                print(f"kill {k}: {last} were safe; check {check.returncode}: {check.stdout[-400:]}\n{verify.stdout[-300:]}{'' if last else seen}")
            run("qemu-img", "check", "-r", "leaks", image)
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
