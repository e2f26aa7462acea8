#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`isomer root create` and the first `isomer shell riscv64`: a Debian is made, programs are installed in it, nothing remains of what fails. As root and as a user with
subordinate ids, whom a mount namespace gives an /etc/subuid. Packages come from the network."""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ISOMER = os.environ["ISOMER"]
SLACK = float(os.environ.get("SLACK", "1"))
USER = 4321
MIRROR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools", "mirror-suite")


class Tests:
    def __init__(self, work):
        self.work = work
        self.passed = self.failed = 0
        self.env = {**os.environ, "XDG_DATA_HOME": work + "/data", "ISOMER_CACHE": work + "/cache", "HOME": work}

    def run(self, command, seconds):
        return subprocess.run(command, cwd=self.work, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=seconds * SLACK, check=False)

    def check(self, name, command, status, expect, seconds=900, then=lambda: True):
        r = self.run(command, seconds)
        good = r.returncode == status and all(x in r.stdout for x in expect) and then()
        self.passed += good
        self.failed += not good
        if not good:
            print(f"FAILED {name}: status {r.returncode}, wanted {status} and {expect!r} in:\n{r.stdout[-3000:]}")


def as_user(work, script):
    """A command line that runs a shell script as a user who has subordinate ids."""
    for name, line, own in (("passwd", f"isomer-tester:x:{USER}:{USER}::{work}:/bin/sh", "/etc/passwd"), ("group", f"isomer-tester:x:{USER}:", "/etc/group"), ("sub", "isomer-tester:500000:65536", None)):
        with open(f"{work}/{name}", "w", encoding="utf-8") as f:
            f.write((open(own, encoding="utf-8").read() if own else "") + line + "\n")
    mounts = "".join(f"mount --bind {work}/{a} /etc/{b}; " for a, b in (("passwd", "passwd"), ("group", "group"), ("sub", "subuid"), ("sub", "subgid")))
    return ["unshare", "--mount", "sh", "-ec", mounts + f"exec setpriv --reuid {USER} --regid {USER} --clear-groups sh -c '{script}'"]


def as_root(t, work):
    left = lambda: not any(".new-" in n for n in os.listdir(work))
    t.check("an architecture that is none", [ISOMER, "root", "create", "vax", "x"], 2, ["no such architecture"])
    t.check("a folder that is full", [ISOMER, "root", "create", "riscv64", "/etc"], 1, ["is not empty"])
    t.check("a package that is none", [ISOMER, "root", "create", "--variant", "apt", "--include", "no-such-package", "riscv64", "bad"], 1, ["nothing is left of it"], then=lambda: left() and not os.path.exists(work + "/bad"))
    t.check("made at first use", [ISOMER, "shell", "riscv64", "sh", "-c", "uname -m; exit 5"], 5, ["there is no root for riscv64 yet", "is complete", "riscv64\n"])
    t.check("used again", [ISOMER, "shell", "riscv64", "dpkg", "--print-architecture"], 0, ["riscv64"], then=lambda: left() and os.path.isdir(work + "/data/isomer/roots/riscv64"))
    t.check("packages", [ISOMER, "shell", "riscv64", "sh", "-c", "apt-get -qq update && apt-get -qq -y install hello >/dev/null && hello"], 0, ["Hello, world!"])
    t.check("a hook and more packages", [ISOMER, "root", "create", "--variant=apt", "--include=hello", "--customize-hook", "chroot $1 hello > $1/said", "riscv64", "with-hook"], 0, [], then=lambda: open(work + "/with-hook/said", encoding="utf-8").read() == "Hello, world!\n")


def interrupted(t, work):
    """What a signal ends cleans up."""
    p = subprocess.Popen([ISOMER, "root", "create", "--variant=apt", "riscv64", work + "/ended"], env=t.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(300):
        if any(n.startswith("ended.new-") and os.path.exists(f"{work}/{n}/usr") for n in os.listdir(work)):
            break
        time.sleep(0.2)
    p.send_signal(signal.SIGTERM)
    good = p.wait(120 * SLACK) == 1 and not [n for n in os.listdir(work) if n.startswith("ended")]
    t.passed += good
    t.failed += not good
    if not good:
        print("FAILED interrupted:", p.returncode, os.listdir(work))


def main():
    missing = [n for n in ("mmdebstrap", "newuidmap", "unshare", "setpriv") if not shutil.which(n)]
    lack = f"{', '.join(missing)} is not installed" if missing else os.geteuid() != 0 and "it wants user 0" or subprocess.run([ISOMER, "binfmt", "run", "true"], stderr=subprocess.DEVNULL, check=False).returncode and "no user namespaces with a binfmt_misc (Linux 6.7) here" \
        or subprocess.run([MIRROR, "-q", "trixie"], check=False, stdout=subprocess.PIPE, text=True).stdout.strip()
    if lack:
        print(f"skipped: {lack}\n0 passed, 0 failed, 1 skipped")
        return 0
    work = tempfile.mkdtemp(prefix="isomer-root.")
    os.chmod(work, 0o755)
    t = Tests(work)
    try:
        as_root(t, work)
        interrupted(t, work)
        os.mkdir(work + "/home")
        os.chown(work + "/home", USER, USER)
        script = f"cd {work}/home; export HOME=$PWD XDG_DATA_HOME=$PWD ISOMER_CACHE=$PWD/cache; {ISOMER} root create --variant=apt --include=hello riscv64 r && {ISOMER} shell r sh -c \"hello; touch /x; chown 33 /x\" && {ISOMER} binfmt run rm -r r"
        t.check("as a user", as_user(work, script), 0, ["is complete", "Hello, world!"], then=lambda: not os.path.exists(work + "/home/r"))
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", work], check=False)
    print(f"{t.passed} passed, {t.failed} failed")
    return t.failed != 0


if __name__ == "__main__":
    sys.exit(main())
