#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""systemd as process 1 of a container: a Debian boots to its login prompt, its units run with everything that systemd locks them up with (cgroups, users of
their own, filters, memory that never becomes executable), and it shuts down. Packages come from the network."""
import os
import pty
import select
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from tally import check, finish  # pylint: disable=wrong-import-position

ISOMER = os.environ["ISOMER"]
SLACK = float(os.environ.get("SLACK", "1"))
WITH_INIT = os.path.join(HERE, "..", "tools", "with-init")
UNIT = """[Unit]
Description=What the test wants to know
[Service]
Type=oneshot
ExecStart=/bin/sh /host/checks
StandardOutput=append:/host/out
StandardError=append:/host/out
[Install]
WantedBy=multi-user.target
"""
TIMER = "[Timer]\nOnActiveSec=1\n[Install]\nWantedBy=multi-user.target\n"
LOCKED = ("DynamicUser=yes ProtectSystem=strict PrivateTmp=yes PrivateDevices=yes SystemCallFilter=@system-service MemoryDenyWriteExecute=yes RestrictNamespaces=yes "
          "CapabilityBoundingSet= RestrictAddressFamilies=AF_UNIX LockPersonality=yes SystemCallArchitectures=native").split()
MIRROR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools", "mirror-suite")
CHECKS = f"""
until [ -e /host/go ]; do sleep 0.2; done
systemd-detect-virt
systemctl is-active systemd-journald systemd-logind dbus console-getty
systemd-run --wait -q --pipe {" ".join("-p " + p for p in LOCKED)} sh -c 'grep -E "^(Seccomp|NoNewPrivs|CapEff):" /proc/self/status; uname -m; touch /etc/x 2>&1'
echo "locked up: $?"
systemd-run --wait -q -p SystemCallFilter=~mkdirat -p SystemCallErrorNumber=EXDEV sh -c 'mkdir /tmp/x' || echo "filtered"
systemctl restart systemd-journald && systemctl is-active systemd-journald
cut -d: -f3 /proc/self/cgroup | tail -n 1
systemctl start no-such-unit 2>/dev/null || echo "no such unit"
test $(journalctl -b -q --no-pager | wc -l) -gt 3 && echo "a journal"
echo "end"
systemctl poweroff
"""
EXPECT = ["container-other", "active\nactive\nactive\nactive\n", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "riscv64", "Read-only file system", "locked up: 1", "filtered",
          "/system.slice/checks.service", "no such unit", "a journal", "end"]


def boot(work, root, seconds):
    """What the console showed until all was over. The checks begin when there is a prompt."""
    ours, theirs = pty.openpty()
    p = subprocess.Popen([WITH_INIT, root, ISOMER, "/lib/systemd/systemd"], cwd=work, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    shown, end = b"", time.monotonic() + seconds * SLACK
    while time.monotonic() < end:
        if select.select([ours], [], [], 0.5)[0]:
            try:
                shown += os.read(ours, 65536)
            except OSError:
                break
            if b"login:" in shown and not os.path.exists(work + "/go"):
                os.close(os.open(work + "/go", os.O_CREAT))
        elif p.poll() is not None:
            break
    ended = p.poll() is not None or time.monotonic() < end
    p.kill()
    p.wait()
    return shown.decode(errors="replace"), ended


def prepare(work, root):
    """A root with the unit in it, started a moment after everything else."""
    done = subprocess.run([ISOMER, "root", "create", "--include", "systemd-sysv,dbus", "riscv64", root], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if not check(done.returncode == 0, "a root is made:\n" + done.stdout[-2000:]):
        return False
    for name, text in (("checks.service", UNIT), ("checks.timer", TIMER)):
        with open(f"{root}/etc/systemd/system/{name}", "w", encoding="utf-8") as f:
            f.write(text)
    os.makedirs(f"{root}/etc/systemd/system/multi-user.target.wants", exist_ok=True)
    os.symlink("../checks.timer", f"{root}/etc/systemd/system/multi-user.target.wants/checks.timer")
    with open(work + "/checks", "w", encoding="utf-8") as f:
        f.write(CHECKS)
    return True


def lack():
    if os.geteuid() != 0:
        return "it wants user 0"
    missing = [n for n in ("mmdebstrap", "unshare") if not shutil.which(n)]
    if missing:
        return f"{', '.join(missing)} is not installed"
    if subprocess.run([ISOMER, "binfmt", "run", "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        return "no user namespaces with a binfmt_misc (Linux 6.7) here"
    made = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--net", "--cgroup", "sh", "-c", "mount -t sysfs s /mnt && mount -t cgroup2 c /mnt"], stderr=subprocess.DEVNULL, check=False)
    if made.returncode:
        return "no namespaces to mount sysfs and cgroup2 in"
    return subprocess.run([MIRROR, "-q", "trixie"], check=False, stdout=subprocess.PIPE, text=True).stdout.strip()


def main():
    why = lack()
    if why:
        print(f"skipped: {why}\n0 passed, 0 failed, 1 skipped")
        return 0
    work = tempfile.mkdtemp(prefix="isomer-init.")
    os.chmod(work, 0o755)
    try:
        root = work + "/root"
        if prepare(work, root):
            shown, ended = boot(work, root, 150)
            out = open(work + "/out", encoding="utf-8").read() if os.path.exists(work + "/out") else ""
            for text in EXPECT:
                check(text in out, f"{text!r} in:\n{out}\nconsole:\n{shown[-3000:]}")
            check("login:" in shown, "a login prompt:\n" + shown[-3000:])
            check(ended and "Powering off." in shown, "it ends:\n" + shown[-3000:])
            check("isomer:" not in shown and "internal error" not in out, "no complaint of Isomer's")
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", work], check=False)
    return finish()


if __name__ == "__main__":
    sys.exit(main())
