#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`isomer boot debian`: makes the image (once; it is kept where the test trees are), boots it, and runs commands in it."""
import os
import shutil
import subprocess
import sys
import tempfile

ISOMER = os.environ["ISOMER"]
SLACK = float(os.environ.get("SLACK", "1"))
CACHE = os.environ.get("ISOMER_TEST_CACHE") or os.path.expanduser("~/.cache/isomer-test")
NEEDED = ["mmdebstrap", "mke2fs", "unshare"]


MIRROR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools", "mirror-suite")

class Tests:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.env = dict(os.environ, ISOMER_IMAGES=CACHE + "/images")

    def check(self, name, options, status, expect, seconds=300, stdin=b""):
        try:
            r = subprocess.run([ISOMER, "boot", *options], input=stdin, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds * SLACK)
            code, out = r.returncode, r.stdout.decode(errors="replace").replace("\r", "")
        except subprocess.TimeoutExpired as e:
            code, out = None, (e.stdout or b"").decode(errors="replace")
        good = code == status and all(x in out for x in expect)
        self.passed += good
        self.failed += not good
        if not good:
            print("FAILED %s: status %s, wanted %s and %r in:\n%s" % (name, code, status, expect, out[-3000:]))


# The kernel has ciphers that use vectors, and tests them itself when they are loaded.
CIPHERS = "for m in aes chacha ghash sha256; do modprobe $m-riscv64; done; n=0; until [ $(grep -c zv /proc/crypto) -ge 10 ] && ! grep -q 'selftest.*unknown' /proc/crypto || [ $n = 50 ]; do sleep 0.2; n=$((n+1)); done; " \
          "grep -A4 'driver.*riscv64-zv' /proc/crypto | grep -E '^(driver|selftest)' | cut -d: -f2 | paste -d' ' - -"


def main():
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [n for n in NEEDED if not shutil.which(n, path=path)]
    if missing:
        print("skipped: %s is not installed" % ", ".join(missing))
        print("0 passed, 0 failed, 1 skipped")
        return 0
    t = Tests()
    made = os.path.exists(t.env["ISOMER_IMAGES"] + "/debian-trixie-riscv64/disk.img")
    fault = subprocess.run([MIRROR, "-q", "trixie"], check=False, stdout=subprocess.PIPE, text=True).stdout.strip()
    if not made and fault:
        print(f"skipped: no image, and {fault}")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    if not made and subprocess.run(["unshare", "--user", "--mount", "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        print("skipped: no image, and none can be made where there are no user namespaces (in a chroot, for example)")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    t.check("a system that has no name here", ["plan9"], 1, ["the systems that have names are debian"])
    t.check("a bad suite", ["debian:../x"], 1, ["the systems that have names are"])
    t.check("exit status", ["debian", "--exec", "uname -m; echo to-stderr >&2; exit 7"], 7, ["riscv64", "to-stderr"], seconds=1500)
    t.check("services and network", ["debian", "--smp", "2", "--exec", "systemctl --failed --no-legend | wc -l; nproc; ip -4 -o addr show scope global"], 0, ["0\n2\n", "10.0.2.15"])
    t.check("input", ["debian", "--exec", "read line; echo got:$line:; wc -c"], 0, ["got:a line:", "100000"], stdin=b"a line\n" + bytes(100000))
    passed = ["%s  passed" % c for c in ("aes-riscv64-zvkned", "cbc-aes-riscv64-zvkned", "chacha20-riscv64-zvkb", "ctr-aes-riscv64-zvkned-zvkb", "ghash-riscv64-zvkg", "sha256-riscv64-zvknha_or_zvknhb-zvkb",
                                         "xts-aes-riscv64-zvkned-zvbb-zvkg")]
    t.check("the kernel's ciphers", ["debian", "--exec", CIPHERS], 0, passed)
    with tempfile.TemporaryDirectory() as tmp:
        t.check("recorded", ["debian", "--record", tmp + "/record", "--exec", "echo once; exit 5"], 5, ["once"])
        t.check("replayed", ["--replay", tmp + "/record"], 5, ["once"])
    if not fault:
        t.check("packages", ["debian", "--smp", "2", "--exec", "apt-get -q update && apt-get -q -y install hello && hello"], 0, ["Hello, world!"], seconds=600)
    else:
        print(f"skipped: packages: {fault}")
        t.skipped += 1
    print("%d passed, %d failed" % (t.passed, t.failed) + (", %d skipped" % t.skipped if t.skipped else ""))
    return t.failed != 0


if __name__ == "__main__":
    sys.exit(main())
