#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""--trace: what a boot must leave in the file, that nothing comes unasked, and that lines are whole. Environment: ISOMER. Ends with "N passed, N failed"."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import boot  # noqa: E402

# N: a number.
LINES = {
    "priv": (r"priv: hart \d+ [USM] to [USM]: (interrupt )?[A-Za-z ]+ at N, value N; goes on at N|priv: hart \d+ [SM] to [USM]: returns to N|"
             r"priv: hart \d+ satp N at N", ["U to S: call from U at", "interrupt S timer", "load page at", "S to U: returns", "satp 0x"]),
    "mmio": (r"mmio: [a-z0-9-]+\+N (read|write) [1248]: N", ["mmio: uart+0 write 1", "mmio: plic+", "mmio: pci-config+", "mmio: pci-mmio64+"]),
    "virtio": (r"virtio: [a-z0-9]+ [a-z, :]+ N N", ["blk status, features", "blk kick of queue", "blk request: type, sector 0 0", "blk interrupts"]),
}


def main():
    if not shutil.which("mmdebstrap"):
        print("skipped: mmdebstrap is not installed\n0 passed, 0 failed, 1 skipped")
        return 0
    kernel, passed, failed = boot.Kernel(), 0, 0
    for what in ("priv", "mmio", "virtio", "mmio,virtio"):
        with tempfile.TemporaryDirectory() as tmp:
            subprocess.run(["truncate", "-s", "1M", tmp + "/disk"], check=True)
            kernel.initrd(tmp + "/initrd", "dd if=/dev/vda of=/dev/null bs=4k count=4; sleep 0.1")
            r = subprocess.run([boot.VM, "--kernel", kernel.image, "--initrd", tmp + "/initrd", "--append", "console=ttyS0 quiet panic=-1", "--no-reboot", "--memory", "256M", "--smp", "2",
                                "--net", "none", "--disk", tmp + "/disk,format=raw", "--trace", what, "--trace-file", tmp + "/trace"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120 * boot.SLACK, check=False)
            text = open(tmp + "/trace").read()
        kinds = [LINES[k] for k in what.split(",")]
        pattern = re.compile("|".join(k[0] for k in kinds).replace("N", "(?:0|0x[0-9a-f]+)"))
        odd = [line for line in text.splitlines() if not pattern.fullmatch(line)][:3]
        missing = [want for k in kinds for want in k[1] if want not in text]
        good = r.returncode == 0 and not odd and not missing
        passed, failed = passed + good, failed + (not good)
        if not good:
            print(f"{what}: status {r.returncode}, odd lines {odd}, missing {missing}\n{text[:600]}")
    r = subprocess.run([boot.VM, "--trace", "privx"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    good = r.returncode == 2 and "priv, mmio, virtio" in r.stdout
    print(f"{passed + good} passed, {failed + (not good)} failed")
    return failed != 0 or not good


if __name__ == "__main__":
    sys.exit(main())
