#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""SIGKILL of a machine at a random moment while its guest writes: what the guest was told is safe must be on its disk. Disks take turns: raw, qcow2, and
qcow2 on a raw backing file. A qcow2 image must be sound (qemu-img check: leaks are allowed), and show its backing file where the guest never writes; a disk goes
through several kills. Environment: BUILD, ISOMER, SEED. --count N: kills (21). Ends with kills by kind of disk, and "N passed, N failed"."""
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
SIZE, KILLS_PER_DISK = 32 << 20, 8
SHOWN = 24 << 20  # from here on the guest does not write: its zone of coming and going ends before (stamp.c)
KINDS = ["qcow2", "over", "raw"]


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


def make(kind, image, base):
    """A new disk of this kind."""
    run("rm", "-f", image)
    if kind == "raw":
        with open(image, "wb") as f:
            f.truncate(SIZE)
    else:
        run(BLOCK_TEST, "create", image, SIZE, *([base, "raw"] if kind == "over" else []))


def look(kind, image, last):
    """What is wrong with a disk after a kill; empty: nothing."""
    wrong = "" if last else "nothing was said to be safe\n"
    if kind != "raw":
        check = run("qemu-img", "check", "-f", "qcow2", image)
        wrong += "" if check.returncode in (0, 3) else f"check {check.returncode}: {check.stdout[-400:]}\n"
        shown = run("qemu-io", "-r", "-f", "qcow2", "-c", f"read -P {0x5a if kind == 'over' else 0} {SHOWN} {SIZE - SHOWN}", image)
        wrong += shown.stdout[-400:] if shown.returncode or "verification failed" in shown.stdout else ""
    verify = run(BLOCK_TEST, "verify", image, last)
    return wrong + (verify.stdout[-300:] or f"verify: {verify.returncode}\n" if verify.returncode else "")


def main():
    count = int(sys.argv[sys.argv.index("--count") + 1]) if "--count" in sys.argv else 21
    if not shutil.which("qemu-img") or not shutil.which("mmdebstrap"):
        print("0 passed, 0 failed, 1 skipped")
        return 0
    kernel, pick = boot.Kernel(), random.Random(int(os.environ.get("SEED", "1")))
    kills, failed = dict.fromkeys(KINDS, 0), 0
    with tempfile.TemporaryDirectory() as tmp:
        base, share = tmp + "/base", tmp + "/share"
        os.mkdir(share)
        with open(base, "wb") as f:
            f.write(b"\x5a" * SIZE)
        run("riscv64-linux-gnu-gcc", "-O2", "-static", os.path.join(boot.HERE, "stamp.c"), "-o", share + "/stamp")
        kernel.initrd(tmp + "/initrd", "mount -t 9p -o trans=virtio share /mnt\n/mnt/stamp /dev/vda $stamps")
        for k in range(count):
            kind = KINDS[k % len(KINDS)]
            image = f"{tmp}/{kind}"
            if kills[kind] % KILLS_PER_DISK == 0:
                make(kind, image, base)
            kills[kind] += 1
            last, seen = killed([boot.VM, "--kernel", kernel.image, "--initrd", tmp + "/initrd", "--append", f"console=ttyS0 quiet panic=-1 stamps={pick.randrange(1 << 30)}", "--no-reboot",
                                 "--memory", "256M", "--net", "none", "--disk", f"{image},format={'raw' if kind == 'raw' else 'qcow2'}", "--share", share, "--smp", str(1 + k % 2)],
                                pick.uniform(0.01, 0.8))
            wrong = look(kind, image, last)
            if wrong:
                failed += 1
                print(f"kill {k} ({kind}): {last} were safe; {wrong}{'' if last else seen}", flush=True)
            if kind != "raw":
                run("qemu-img", "check", "-r", "leaks", image)
        if open(base, "rb").read() != b"\x5a" * SIZE:
            failed += 1
            print("the backing file was written to")
    print(", ".join(f"{n} {kind}" for kind, n in kills.items()))
    print(f"{count - failed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
