#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Debian package: built, twice the same, installed by apt in a fresh root of this host's distribution, which gets a kernel's table of its own; a guest program runs there;
reinstalled, removed, and nothing of it is left. What else registers at boot takes its files."""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from tally import check, finish  # noqa: E402

ISOMER = os.environ["ISOMER"]
BUILD = os.environ.get("BUILD") or os.path.dirname(ISOMER)
SLACK = float(os.environ.get("SLACK", "1"))
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Everything but what dpkg and apt write of every package.
LIST = "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path '/var/lib/dpkg/*' -o -path '/var/lib/apt/*' -o -path '/var/cache/*' -o -path '/var/log/*' \\) -prune -o -print | sort"
PROBE = ".globl _start\n_start: li a0, 9\nli a7, 93\necall\n"


def inside(root, script, seconds=600):
    """The script's output and status in the root, as a container; the table starts empty."""
    done = subprocess.run([ISOMER, "shell", "--env", "DEBIAN_FRONTEND=noninteractive", root, "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds * SLACK, check=False)
    return done.stdout, done.returncode


def build(work):
    paths = []
    for name in ("one", "two"):
        os.mkdir(f"{work}/{name}")
        paths.append(subprocess.run([TOP + "/packaging/deb", BUILD, f"{work}/{name}"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip())
    check(open(paths[0], "rb").read() == open(paths[1], "rb").read(), "two packages of one tree differ")
    if shutil.which("lintian"):
        done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", paths[0]], stdout=subprocess.PIPE, text=True, check=False)
        check(done.returncode == 0, "lintian:\n" + done.stdout)
    return paths[0]


def register_by_others(work, package):
    """What registers at boot, with systemd or without, takes the package's files."""
    tree, table = work + "/tree", "/proc/sys/fs/binfmt_misc"
    subprocess.run(["dpkg-deb", "-x", package, tree], check=True)
    binfmts = f"--admindir {work}/admin --importdir {tree}/usr/share/binfmts"
    ways = {"/lib/systemd/systemd-binfmt": f"/lib/systemd/systemd-binfmt {tree}/usr/lib/binfmt.d/isomer-riscv64.conf",
            "/usr/sbin/update-binfmts": f"mkdir {work}/admin; update-binfmts {binfmts} --import isomer-riscv64"}
    for program, script in ways.items():
        if not os.path.exists(program):
            print(f"skipped: {program} is not here to take the package's file")
            continue
        # The interpreter has to be where the files say.
        place = f"mount -t binfmt_misc b {table}; mkdir {work}/up {work}/wk; mount -t overlay o -o lowerdir=/usr/bin,upperdir={work}/up,workdir={work}/wk /usr/bin; cp {tree}/usr/bin/isomer /usr/bin"
        done = subprocess.run(["unshare", "-Urm", "sh", "-ec", f"{place}; {script}; cat {table}/isomer-riscv64; {work}/probe || echo $?"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        check("interpreter /usr/bin/isomer\nflags: POCF\n" in done.stdout and done.stdout.endswith("\n9\n"), f"{program}: {done.stdout}")
        subprocess.run(["rm", "-rf", work + "/up", work + "/wk"], check=False)


def root_make(work):
    suite = next(line.split("=")[1].strip() for line in open("/etc/os-release", encoding="utf-8") if line.startswith("VERSION_CODENAME="))
    done = subprocess.run(["mmdebstrap", "--quiet", "--variant=apt", suite, work + "/root"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    check(done.returncode == 0, "no root:\n" + done.stdout)
    return work + "/root"


def use(root):
    table = "/proc/sys/fs/binfmt_misc"
    out, status = inside(root, f"echo -1 >{table}/isomer-riscv64; mkdir -p /etc/binfmt.d; {LIST} >/tmp/before; apt-get -qq update; apt-get -qq -y install --no-install-recommends /tmp/isomer.deb && ls {table}")
    check(status == 0 and "isomer-riscv64: riscv64 programs are run" in out and "isomer-riscv64\nregister" in out, f"installation: {status}\n{out}")
    script = (f"/tmp/probe; echo $?; isomer run /tmp/probe; echo $?; isomer binfmt status; isomer boot --help | head -n 1; head -n 3 {table}/isomer-riscv64 | tail -n 2; "
              f"ls /usr/share/man/man1/isomer-boot.1.gz /usr/lib/binfmt.d; isomer --version; /usr/libexec/isomer/isomer --version")
    out, status = inside(root, f"echo -1 >{table}/isomer-riscv64; apt-get -qq -y install --reinstall /tmp/isomer.deb >/dev/null 2>&1; {script}")
    check(out.startswith("9\n9\nisomer-riscv64: /usr/bin/isomer, flags POCF, enabled\nusage: isomer boot") and "interpreter /usr/bin/isomer\nflags: POCF\n" in out and out.count("isomer 0.") == 2, f"use: {status}\n{out}")
    out, status = inside(root, f"echo -1 >{table}/isomer-riscv64; isomer binfmt install >/dev/null; apt-get -qq -y purge isomer >/dev/null; apt-get -qq -y autoremove --purge >/dev/null; {LIST} >/tmp/after; ls {table}; diff /tmp/before /tmp/after && echo the-same")
    check(status == 0 and out.split() == ["register", "status", "the-same"], f"removal: {status}\n{out}")


def no_table(root):
    """In a plain chroot nothing is registered and nothing fails."""
    script = f"mount -t proc proc {root}/proc; chroot {root} dpkg -i /tmp/isomer.deb && chroot {root} isomer --version && chroot {root} dpkg -P isomer"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    check(done.returncode == 0 and "riscv64 programs are run" not in done.stdout, f"chroot: {done.stdout}")


def main():
    missing = [n for n in ("mmdebstrap", "dpkg-deb", "dpkg-shlibdeps", "riscv64-linux-gnu-gcc") if not shutil.which(n)]
    missing = missing or os.geteuid() != 0 and ["user 0"] or not os.path.exists(BUILD + "/isomer-vm") and ["isomer-vm"]
    lack = f"{', '.join(missing)} is not there" if missing else subprocess.run([ISOMER, "binfmt", "run", "true"], stderr=subprocess.DEVNULL, check=False).returncode and "no user namespaces with a binfmt_misc (Linux 6.7) here"
    if lack:
        print(f"skipped: {lack}\n0 passed, 0 failed, 1 skipped")
        return 0
    work = tempfile.mkdtemp(prefix="isomer-deb.")
    try:
        package, root = build(work), root_make(work)
        shutil.copy(package, root + "/tmp/isomer.deb")
        open(work + "/p.s", "w", encoding="utf-8").write(PROBE)
        subprocess.run(["riscv64-linux-gnu-gcc", "-nostdlib", "-static", work + "/p.s", "-o", root + "/tmp/probe"], check=True)
        shutil.copy(root + "/tmp/probe", work + "/probe")
        register_by_others(work, package)
        use(root)
        shutil.copy(package, root + "/tmp/isomer.deb")
        inside(root, "apt-get -qq -y install --no-install-recommends /tmp/isomer.deb; dpkg -P isomer")
        no_table(root)
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", work], check=False)
    return finish()


if __name__ == "__main__":
    sys.exit(main())
