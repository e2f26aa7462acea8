#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Boot loaders and images of distributions, unmodified: Debian's installer, started directly and by EDK2 and GRUB from the network; a disk made as cloud images are
(GPT, EFI system partition with GRUB, root in ext4) by EDK2 and by U-Boot, to its login; extlinux's configuration by OpenSBI and U-Boot.

Environment: ISOMER, SLACK. Ends with "N passed, N failed"."""
import glob
import os
import shutil
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import boot  # noqa: E402
import debian  # noqa: E402

MIB = 1 << 20
ESP, ROOT = (MIB, 100 * MIB), (101 * MIB, 8 << 30)  # start and size
MENU = "Debian installer main menu"
NEEDED = ["mmdebstrap", "sfdisk", "mkfs.vfat", "mcopy", "e2fsck", "qemu-img"]


def run(*argv, **options):
    return subprocess.run([str(a) for a in argv], check=True, stdout=subprocess.PIPE, text=True, **options).stdout


class Loaders(boot.Tests):
    def __init__(self):
        super().__init__()
        self.tree = run(os.path.join(boot.TOOLS, "riscv-root"), "loaders").strip()
        self.grub = self.tree + "/usr/lib/grub/riscv64-efi/monolithic/grubriscv64.efi"
        self.installer = glob.glob(self.tree + "/usr/lib/debian-installer/images/*/riscv64/text")[0]
        self.edk2 = self.kernel.root + "/usr/share/qemu-efi-riscv64/RISCV_VIRT_CODE.fd"

    def until(self, name, text, options, seconds=180, answers=()):
        """Runs a machine until it says so. It ends then: there is nothing to be kept."""
        p = subprocess.Popen([boot.VM, "--no-reboot", *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        watch, out = threading.Timer(seconds * boot.SLACK, p.kill), b""
        watch.start()
        for said, answer in [*answers, (text, "")]:
            start = len(out)
            while said.encode() not in out[start:]:
                data = os.read(p.stdout.fileno(), 65536)
                if not data:
                    break
                out += data
            p.stdin.write(answer.encode())
            p.stdin.flush()
        p.kill()
        p.wait()
        watch.cancel()
        self.check(name, text.encode() in out, "it never said %r:\n%s" % (text, out[-2500:].decode(errors="replace")))

    def scratch(self, path):
        """A flash chip's file that may be written."""
        shutil.copy(self.edk2, path)
        return path


def fat(path, size, files):
    """A FAT file system of files {path in it: a host's path, or bytes}."""
    with open(path, "wb") as f:
        f.truncate(size)
    run("mkfs.vfat", "-F", "32", path)
    folders = sorted({"/".join(name.split("/")[:k]) for name in files for k in range(1, name.count("/") + 1)})
    run("mmd", "-i", path, *["::" + f for f in folders])
    for name, data in files.items():
        if isinstance(data, bytes):
            run("mcopy", "-i", path, "-", "::" + name, input=data.decode())
        else:
            run("mcopy", "-i", path, data, "::" + name)


def copy(source, path, at):
    """Into a file, without what is not there of a sparse one."""
    with open(source, "rb") as a, open(path, "r+b") as b:
        end, pos = os.fstat(a.fileno()).st_size, 0
        while pos < end:
            try:
                pos = os.lseek(a.fileno(), pos, os.SEEK_DATA)
            except OSError:
                break
            stop = os.lseek(a.fileno(), pos, os.SEEK_HOLE)
            while pos < stop:
                pos += os.copy_file_range(a.fileno(), b.fileno(), min(stop - pos, 256 * MIB), pos, at + pos)


def parts(path, table, contents):
    """A disk with a GPT: rows of start, size, type."""
    with open(path, "wb") as f:
        f.truncate(max(start + size for start, size, _ in table) + MIB)
    rows = "".join("start=%d, size=%d, type=%s%s\n" % (start // 512, size // 512, kind, ", attrs=LegacyBIOSBootable" if k == 0 else "") for k, (start, size, kind) in enumerate(table))
    run("sfdisk", "-q", path, input="label: gpt\n" + rows)
    for (start, _, _), content in zip(table, contents):
        copy(content, path, start)


def installer(t):
    image = t.installer + "/debian-installer/riscv64"
    t.until("the installer", MENU, ["--kernel", image + "/linux", "--initrd", image + "/initrd.gz", "--append", "console=ttyS0 DEBIAN_FRONTEND=text priority=low"])


def netboot(t):
    """EDK2 asks by DHCP and TFTP, gets GRUB, and that gets the rest."""
    with tempfile.TemporaryDirectory() as tmp:
        shutil.copytree(t.installer, tmp + "/tftp")
        tmp += "/tftp"
        with open(tmp + "/debian-installer/riscv64/grub/grub.cfg", "w") as f:
            f.write("insmod linux\nlinux /debian-installer/riscv64/linux console=ttyS0 DEBIAN_FRONTEND=text priority=low\ninitrd /debian-installer/riscv64/initrd.gz\nboot\n")
        t.until("the installer from the network", MENU, ["--flash", t.scratch(tmp + "/code.fd"), "--net", "user,tftp=%s,bootfile=debian-installer/riscv64/bootnetriscv64.efi" % tmp], seconds=300)


def extlinux(t):
    with tempfile.TemporaryDirectory() as tmp:
        t.kernel.initrd(tmp + "/initrd", "echo reached user space; sleep 1")
        text = b"default l\nprompt 0\ntimeout 1\nlabel l\n kernel /linux\n initrd /initrd\n append console=ttyS0 quiet\n"
        fat(tmp + "/esp", ESP[1], {"extlinux/extlinux.conf": text, "linux": t.kernel.image, "initrd": tmp + "/initrd"})
        parts(tmp + "/disk", [(*ESP, "U")], [tmp + "/esp"])
        disk = ["--kernel", t.kernel.uboot, "--disk", tmp + "/disk,format=raw", *boot.NONE]
        t.until("U-Boot with extlinux's configuration", "reached user space", disk)
        t.until("the same above OpenSBI, with packed rings", "reached user space", ["--firmware", t.kernel.sbi, "--packed", "on", "--smp", "2", *disk])


def cloud(t):
    image = debian.CACHE + "/images/debian-trixie-riscv64/disk.img"
    if not os.path.exists(image):
        print("skipped: no image of Debian (the test debian makes one)")
        return
    with tempfile.TemporaryDirectory(dir=debian.CACHE) as tmp:
        # What the last use left in the journal is for a kernel to read; loaders do not.
        open(tmp + "/root", "wb").close()
        copy(image, tmp + "/root", 0)
        os.truncate(tmp + "/root", ROOT[1])
        subprocess.run(["e2fsck", "-fy", tmp + "/root"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        kernel = next(n for n in run("debugfs", "-R", "ls -p /boot", tmp + "/root", stderr=subprocess.DEVNULL).split("/") if n.startswith("vmlinu"))
        config = "search --no-floppy --label --set=root isomer-root\nlinux /boot/%s root=LABEL=isomer-root rw console=ttyS0 quiet\ninitrd /boot/initrd.img-%s\nboot\n" % (kernel, kernel.split("-", 1)[1])
        fat(tmp + "/esp", ESP[1], {"EFI/BOOT/BOOTRISCV64.EFI": t.grub, "EFI/debian/grub.cfg": config.encode()})
        parts(tmp + "/disk", [(*ESP, "U"), (*ROOT, "L")], [tmp + "/esp", tmp + "/root"])
        os.unlink(tmp + "/root")
        over = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "disk", "-F", "raw", tmp + "/disk.qcow2"]
        run(*over)
        t.until("a disk with GRUB by EDK2", "isomer login:", ["--flash", t.scratch(tmp + "/code.fd"), "--disk", tmp + "/disk.qcow2"], seconds=300)
        run(*over)
        os.environ["ISOMER_FIRMWARE"] = t.kernel.root
        t.until("a disk alone", "isomer login:", ["--disk", tmp + "/disk.qcow2", "--smp", "2"], seconds=300)
        r = subprocess.run([boot.VM, "--disk", tmp + "/disk.qcow2"], env=dict(os.environ, ISOMER_FIRMWARE=tmp), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        t.check("no loader", r.returncode == 1 and "u-boot-qemu" in r.stdout, r.stdout)


def main():
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [n for n in NEEDED if not shutil.which(n)]
    if missing:
        print("skipped: %s is not installed" % ", ".join(missing))
        print("0 passed, 0 failed, 1 skipped")
        return 0
    t = Loaders()
    for part in (installer, netboot, extlinux, cloud):
        if not sys.argv[1:] or part.__name__ in sys.argv[1:]:
            part(t)
    print("%d passed, %d failed" % (t.passed, t.failed))
    return t.failed != 0


if __name__ == "__main__":
    sys.exit(main())
