#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Boots Debian's riscv64 kernel, with an initial RAM disk of busybox and a script, on every engine, with one to four harts, with and without
firmware; and looks at what the script prints, what is on its disks afterwards, and what comes over the network.

The script in the guest is written by each case; it prints lines that the case expects, and powers the machine off. The oracle is the kernel
itself, which checks a great deal while it boots, and the host's own view of disks, folders and sockets.
"""
import fcntl
import glob
import gzip
import hashlib
import http.server
import lzma
import os
import pty
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = os.path.join(HERE, "..", "tools")
VM = os.path.join(os.path.dirname(os.environ["ISOMER"]), "isomer-vm")
SLACK = float(os.environ.get("SLACK", "1"))
MODULES = ["fs/netfs/netfs", "net/9p/9pnet", "net/9p/9pnet_virtio", "fs/9p/9p", "drivers/block/virtio_blk", "net/core/failover", "drivers/net/net_failover", "drivers/net/virtio_net"]


def entry(name, data=b"", mode=0o100755, rdev=(0, 0)):
    """One file of a cpio archive in the newc format."""
    head = "070701" + "".join("%08x" % v for v in (0, mode, 0, 0, 1, 0, len(data), 0, 0, rdev[0], rdev[1], len(name) + 1, 0))
    name = head.encode() + name.encode() + b"\0"
    return name + b"\0" * (-len(name) % 4) + data + b"\0" * (-len(data) % 4)


class Kernel:
    def __init__(self):
        self.root = subprocess.run([os.path.join(TOOLS, "riscv-root"), "system"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        images = glob.glob(self.root + "/boot/vmlinux-*")
        if not images:
            print("skipped: the package of Debian's kernel has no vmlinux (that of the suite after trixie has another form)\n0 passed, 0 failed, 1 skipped")
            sys.exit(0)
        self.image = images[0]
        self.sbi = self.root + "/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin"
        self.uboot = self.root + "/usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin"
        self.busybox = open(self.root + "/usr/bin/busybox", "rb").read()
        self.modules = [(os.path.basename(m), self.module(m)) for m in MODULES]

    def module(self, name):
        path = glob.glob("%s/usr/lib/modules/*/kernel/%s.ko.xz" % (self.root, name))
        return lzma.open(path[0]).read() if path else b""

    def initrd(self, path, script):
        init = "#!/bin/busybox sh\n/bin/busybox --install /bin\nexport PATH=/bin\nmount -t proc proc /proc\nmount -t sysfs sys /sys\nmount -t devtmpfs dev /dev\n"
        init += "".join("insmod /m/%s.ko\n" % n for n, data in self.modules if data) + script + "\npoweroff -f\n"
        data = b"".join(entry(d, mode=0o40755) for d in ("bin", "proc", "sys", "dev", "m", "mnt", "tmp"))
        data += entry("bin/busybox", self.busybox) + entry("init", init.encode()) + entry("dev/console", mode=stat.S_IFCHR | 0o600, rdev=(5, 1))
        data += b"".join(entry("m/%s.ko" % n, d) for n, d in self.modules if d) + entry("TRAILER!!!", mode=0)
        with gzip.open(path, "wb", compresslevel=1) as f:
            f.write(data)


class Tests:
    def __init__(self):
        self.passed = self.failed = 0
        self.lock = threading.Lock()
        self.kernel = Kernel()

    def check(self, name, good, what):
        with self.lock:
            self.passed += bool(good)
            self.failed += not good
            if not good:
                print("FAILED %s: %s" % (name, what))

    def boot(self, name, script, expect, options=(), append="", seconds=60, status=0, within=()):
        """Runs a script in the guest; every text of `expect` must be among what it prints. within: a command that runs the machine's."""
        with tempfile.TemporaryDirectory() as tmp:
            self.kernel.initrd(tmp + "/initrd", script)
            command = [*within, VM, "--kernel", self.kernel.image, "--initrd", tmp + "/initrd", "--append", "console=ttyS0 quiet panic=-1 " + append, "--no-reboot", "--memory", "512M", *options]
            try:
                r = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds * SLACK)
            except subprocess.TimeoutExpired as e:
                self.check(name, False, "no end after %d s; the last of its output:\n%s" % (seconds * SLACK, (e.stdout or b"").decode(errors="replace")[-2000:]))
                return ""
        out = r.stdout.decode(errors="replace")
        missing = [e for e in expect if e not in out]
        self.check(name, not missing and r.returncode == status, "status %d, missing %r in:\n%s" % (r.returncode, missing, out[-3000:]))
        return out


NONE = ("--net", "none")


def talk(command, lines, seconds):
    """Waits for each text and answers it; what follows the last answer is read to the end. Returns status and output."""
    p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    watch = threading.Timer(seconds, p.kill)
    watch.start()
    out, seen = "", 0
    for text, answer in [*lines, ("", "")]:
        while text and text not in out[seen:]:
            data = os.read(p.stdout.fileno(), 4096)
            if not data:
                break
            out += data.decode(errors="replace")
        seen = out.find(text, seen) + len(text)
        try:
            os.write(p.stdin.fileno(), answer.encode())
        except BrokenPipeError:
            break
    out += p.stdout.read().decode(errors="replace")
    status = p.wait()
    watch.cancel()
    return status, out


def engines(t):
    work = "i=0; while [ $i -lt 300 ]; do i=$((i+1)); done; echo counted $i; nproc; (sleep 1; echo slept) & wait; echo $((3*7)) | md5sum"
    expect = ["counted 300", "slept", subprocess.run("echo 21 | md5sum", shell=True, stdout=subprocess.PIPE, text=True).stdout.strip()]
    t.boot("quick", work, expect, NONE)
    t.boot("small cache", work, expect, NONE + ("--cache-size", "2M"))
    t.boot("one instruction at a time", work, expect, NONE + ("--one-insn",), seconds=120)
    t.boot("old processor", work, expect, NONE + ("--host-features", "-avx,-avx2,-avx512,-bmi1,-bmi2,-lzcnt,-fma"))
    for harts in (2, 4):
        t.boot("%d harts" % harts, work + "; for k in 1 2 3 4; do (md5sum /bin/busybox > /tmp/$k) & done; wait; cat /tmp/? | sort -u | wc -l",
               expect + ["\n%d\r\n" % harts, "\n1\r\n"], NONE + ("--smp", str(harts)))


def firmware(t):
    for harts in (1, 2):
        t.boot("OpenSBI, %d harts" % harts, "nproc; echo reached", ["OpenSBI v", "reached", "\n%d\r\n" % harts], NONE + ("--firmware", t.kernel.sbi, "--smp", str(harts)))
    status, out = talk([VM, "--firmware", t.kernel.sbi, "--kernel", t.kernel.uboot, "--no-reboot", *NONE], [("stop autoboot", "\n"), ("=>", "version\n"), ("=>", "poweroff\n")], 60 * SLACK)
    t.check("U-Boot", status == 0 and "U-Boot 20" in out and "poweroff ..." in out, "status %d: %r" % (status, out[-800:]))


def flash(t):
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run(["riscv64-linux-gnu-gcc", "-O1", "-march=rv64gc_zicsr_zifencei", "-mabi=lp64", "-mcmodel=medany", "-static", "-nostdlib", "-ffreestanding", "-fno-pic",
                        "-Wl,-N,--no-warn-rwx-segments,-Ttext=0x80000000,--build-id=none,-e,_start", HERE + "/flash.c", "-o", tmp + "/image"], check=True)
        for engine in "quick", "interp":
            r = subprocess.run([VM, "--firmware", tmp + "/image", "--no-reboot", "--engine", engine, *NONE], stdout=subprocess.PIPE, text=True, timeout=20 * SLACK)
            t.check("code in flash is programmed anew, " + engine, r.stdout == "77773333\n", r.stdout)


def controllers(t):
    """Interrupts of wires, with and without firmware, by each kind of controller."""
    for aia, name in (("none", "PLIC"), ("aplic", "APLIC-DIRECT"), ("aplic-imsic", "IMSIC")):
        for options in (), ("--firmware", t.kernel.sbi):
            t.boot(f"{aia} {' '.join(options[:1])}", "ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ping -c 1 -W 5 10.0.2.2; grep -c %s /proc/interrupts" % name, ["1 packets received"],
                   ("--smp", "2", "--aia", aia, *options), seconds=90)


def counters(t):
    """Linux's perf events. A machine that is recorded does not count misses, which are the engine's affair."""
    words = ["cycles: more for more work", "instructions: more for more work", "a loop is the user's, calls are the kernel's, too", "samples: many, in the loop", "misses: of pages that are strange"]
    script = "mount -t 9p -o trans=virtio share /mnt\n/mnt/counters"
    with tempfile.TemporaryDirectory() as share:
        subprocess.run(["riscv64-linux-gnu-gcc", "-O2", "-static", HERE + "/counters.c", "-o", share + "/counters"], check=True)
        for name, options in (("two harts", ("--smp", "2")), ("firmware", ("--firmware", t.kernel.sbi))):
            t.boot("counters, " + name, script, words, (*NONE, "--share", share, *options))
        t.boot("counters, recorded", script, words[:4], (*NONE, "--share", share, "--record", share + "/record"))


def vectors(t):
    """Linux finds them, keeps them for whom they belong to, and shows them to programs as the process VM does: it is that one's oracle."""
    guest = os.path.join(HERE, "..", "guest")
    expected = open(guest + "/vector_env.stdout", encoding="utf-8").read().replace("\n", "\r\n")
    words = ["vectors: kept, switched", expected, "_zvbb_zvbc_zve32f_zve32x_zve64d_zve64f_zve64x_zvfh_zvfhmin_zvkb_zvkg_zvkned_zvknha_zvkt_"]
    with tempfile.TemporaryDirectory() as share:
        for name in HERE + "/vectors.c", guest + "/vector_env.c":
            subprocess.run(["riscv64-linux-gnu-gcc", "-O2", "-static", "-pthread", name, "-o", share + "/" + os.path.basename(name)[:-2]], check=True)
        for name, options in (("two harts", ("--smp", "2")), ("firmware", ("--firmware", t.kernel.sbi)), ("recorded", ("--record", share + "/record"))):
            t.boot("vectors, " + name, "mount -t 9p -o trans=virtio share /mnt\n/mnt/vectors\n/mnt/vector_env\nhead -3 /proc/cpuinfo", words, (*NONE, "--share", share, *options))


def disks(t):
    for rings in "off", "on":
        disks_with(t, rings)


def disks_with(t, rings):
    with tempfile.TemporaryDirectory() as tmp:
        content = os.urandom(1 << 20)
        with open(tmp + "/raw", "wb") as f:
            f.write(content + bytes(15 << 20))
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", "raw", "-F", "raw", tmp + "/over.qcow2"], check=True)
        script = "echo packed $(cut -c35 /sys/block/vda/device/features); md5sum < /dev/vda; dd if=/dev/vda bs=1M count=1 2>/dev/null | md5sum; dd if=/dev/vda of=/dev/vdb bs=64k count=16 seek=8 2>/dev/null; sync; md5sum < /dev/vdb; cat /sys/block/vd?/serial"
        both = content[:0] + open(tmp + "/raw", "rb").read()
        expect = [hashlib.md5(both).hexdigest(), hashlib.md5(content).hexdigest(), "one", "packed %d" % (rings == "on")]
        t.boot("disks, packed rings " + rings, script, expect, NONE + ("--disk", tmp + "/raw,readonly,serial=one", "--disk", tmp + "/over.qcow2", "--smp", "2", "--packed", rings))
        subprocess.run(["qemu-img", "convert", "-O", "raw", tmp + "/over.qcow2", tmp + "/seen"], check=True)
        seen = open(tmp + "/seen", "rb").read()
        t.check("what was written", seen == both[:512 << 10] + content + both[(512 << 10) + (1 << 20):], "the image holds something else")
        r = subprocess.run(["qemu-img", "check", "-q", tmp + "/over.qcow2"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        t.check("the image is sound", r.returncode == 0, r.stdout.decode())


class Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"from the host\n")

    def log_message(self, *args):
        pass


def serve(family, address):
    kind = type("Server", (http.server.HTTPServer,), {"address_family": family})
    server = kind((address, 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def network(t):
    server = serve(socket.AF_INET, "127.0.0.1")
    script = "ip link set lo up; ip link set eth0 up; udhcpc -q -n -i eth0 -s /bin/true 2>&1 | grep -o 'lease of [0-9.]*'; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2; " \
             "wget -q -O - http://10.0.2.2:%d/x" % server.server_port
    for rings in "off", "on":
        t.boot("network, packed rings " + rings, script, ["lease of 10.0.2.15", "from the host"], ("--packed", rings))
    server.shutdown()
    try:
        server = serve(socket.AF_INET6, "::1")
    except OSError as e:
        print("skipped: IPv6: %s" % e)
        return
    # The router's advertisement makes the address; before the kernel has made sure that nobody else has it, nothing can be sent from it.
    script = "ip link set eth0 up; n=0; until ip -6 addr show dev eth0 | grep -v tentative | grep -q fec0:: || [ $n = 100 ]; do sleep 0.2; n=$((n+1)); done; " \
             "ip -6 route | grep default; ping6 -c 1 fec0::2; wget -q -O - http://[fec0::2]:%d/x" % server.server_port
    t.boot("IPv6", script, ["default via fe80::2", "1 packets received", "from the host"])
    server.shutdown()


TAP = """ip tuntap add dev tap0 mode tap && ip addr add 10.9.0.1/24 dev tap0 && ip link set tap0 up && ip link set lo up
echo from the host > $0/x
python3 -m http.server --bind 10.9.0.1 --directory $0 8000 2> /dev/null & server=$!
"$@"
status=$?
kill $server
exit $status"""


def tap(t):
    made = subprocess.run(["unshare", "-Urn", "ip", "tuntap", "add", "dev", "tap0", "mode", "tap"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if made.returncode:
        print("skipped: tap: no namespace with an interface can be made: %s" % made.stdout.strip())
        return
    script = "ip link set eth0 up; ip addr add 10.9.0.2/24 dev eth0; ping -c 2 10.9.0.1; wget -q -O - http://10.9.0.1:8000/x; wget -q -O - http://10.9.0.1:8000/big | md5sum"
    with tempfile.TemporaryDirectory() as tmp:
        big = os.urandom(8 << 20)
        open(tmp + "/big", "wb").write(big)
        t.boot("tap", script, ["2 packets received", "from the host", hashlib.md5(big).hexdigest()], ("--net", "tap,ifname=tap0"), within=("unshare", "-Urn", "sh", "-c", TAP, tmp))


def cable(t):
    """Two machines: the second pings the first, and fetches a file from it."""
    with tempfile.TemporaryDirectory() as tmp:
        first = "ip link set eth0 up; ip addr add 10.9.1.1/24 dev eth0; echo from the other machine > /tmp/x; nc -l -p 9000 < /tmp/x; echo sent"
        second = "ip link set eth0 up; ip addr add 10.9.1.2/24 dev eth0; n=0; until ping -c 1 -W 1 10.9.1.1 | grep '1 packets received' || [ $n = 60 ]; do n=$((n+1)); done; n=0; " \
                 "until nc 10.9.1.1 9000 < /dev/null || [ $n = 60 ]; do sleep 0.5; n=$((n+1)); done"
        listens = threading.Thread(target=t.boot, args=("a cable's one end", first, ["sent"], ("--net", "socket,listen=" + tmp + "/cable,mac=52:54:00:00:00:01")))
        listens.start()
        while listens.is_alive() and not os.path.exists(tmp + "/cable"):
            time.sleep(0.05)
        t.boot("and its other end", second, ["1 packets received", "from the other machine"], ("--net", "socket,connect=" + tmp + "/cable,mac=52:54:00:00:00:02"))
        listens.join()


def shares(t):
    with tempfile.TemporaryDirectory() as tmp:
        open(tmp + "/given", "w").write("a line of the host's\n")
        t.boot("share", "mount -t 9p -o trans=virtio,version=9p2000.L share /mnt && cat /mnt/given && echo taken > /mnt/back && mkdir /mnt/d && mv /mnt/back /mnt/d/ && ls /mnt; sync",
               ["a line of the host's", "given"], NONE + ("--share", tmp))
        t.check("what the guest wrote", os.path.exists(tmp + "/d/back") and open(tmp + "/d/back").read() == "taken\n", os.listdir(tmp))


def slow_share(t):
    """A file whose host makes its users wait (somebody has a lease on it) keeps nobody else waiting: neither other files, nor other uses of its folder."""
    with tempfile.TemporaryDirectory() as tmp:
        for name in "slow", "other":
            with open(tmp + "/" + name, "w") as f:
                f.write(name + " file\n")
        script = ("mount -t 9p -o trans=virtio,version=9p2000.L share /mnt; for k in 1 2 3; do (truncate -s 0 /mnt/slow; echo FREED) & done; truncate -s 0 /mnt/slow & sleep 1; kill -9 $!; cat /mnt/other; echo more > /mnt/third; ls /mnt\n"
                  "echo GOES ON; wait; echo written > /mnt/slow; echo ENDS")
        t.kernel.initrd(tmp + "/initrd", script)
        signal.signal(signal.SIGIO, signal.SIG_IGN)  # we are asked to give the lease up, and do so when we like
        lease = os.open(tmp + "/slow", os.O_RDWR)
        fcntl.fcntl(lease, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        p = subprocess.Popen([VM, "--kernel", t.kernel.image, "--initrd", tmp + "/initrd", "--append", "console=ttyS0 quiet panic=-1", "--no-reboot", *NONE, "--share", tmp], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE)
        watch = threading.Timer(40 * SLACK, p.kill)
        watch.start()
        out = ""
        while "GOES ON" not in out and (line := p.stdout.readline()):
            out += line.decode(errors="replace")
        waited = "FREED" not in out
        os.close(lease)
        out += p.stdout.read().decode(errors="replace")
        watch.cancel()
        t.check("slow share", p.wait() == 0 and waited and "other file" in out and out.count("FREED") == 3 and "ENDS" in out and open(tmp + "/slow").read() == "written\n", "they waited: %s; %s" % (waited, out[-1500:]))


def console(t):
    with tempfile.TemporaryDirectory() as tmp:
        t.kernel.initrd(tmp + "/initrd", "echo ready; read line; echo got:$line:; read line; echo then:$line:")
        status, out = talk([VM, "--kernel", t.kernel.image, "--initrd", tmp + "/initrd", "--append", "console=ttyS0 quiet", *NONE],
                           [("ready", "one\n"), ("got:one:", "two words\n")], 60 * SLACK)
        t.check("console", status == 0 and "then:two words:" in out, "status %d: %s" % (status, out[-2000:]))
    t.boot("a panic ends it", "echo c > /proc/sysrq-trigger; sleep 30", ["sysrq triggered crash"], NONE, append="loglevel=7")
    t.boot("time", "cat /proc/uptime; date +%Y; a=$(cut -d. -f1 /proc/uptime); sleep 2; b=$(cut -d. -f1 /proc/uptime); echo passed $((b-a>=2 && b-a<=4))", ["passed 1", time.strftime("%Y")], NONE)


def menu(t):
    """What is typed after Ctrl-A c is for the machine, the rest for the guest."""
    steps = [("ready", "\x01c"), ("(isomer) ", "helq\x7fp\r"), ("snapshot FILE", "pause\rstatus\r"), ("paused, 1 harts", "continue\rnonsense\r"), ("no such command", "\x01chello\r"),
             ("got:hello:", "\x01creset\r"), ("ready", "quit\r")]
    with tempfile.TemporaryDirectory() as tmp:
        t.kernel.initrd(tmp + "/initrd", "echo ready; while read line; do echo got:$line:; done")
        pid, fd = pty.fork()
        if pid == 0:
            os.execv(VM, [VM, "--kernel", t.kernel.image, "--initrd", tmp + "/initrd", "--append", "console=ttyS0 quiet", "--memory", "256M", *NONE])
        watch, out, seen = threading.Timer(60 * SLACK, os.kill, (pid, 9)), "", 0
        watch.start()
        try:
            for text, answer in steps:
                while text not in out[seen:]:
                    out += os.read(fd, 4096).decode(errors="replace")
                seen = out.find(text, seen) + len(text)
                os.write(fd, answer.encode())
            while True:
                os.read(fd, 4096)
        except OSError:  # the end
            pass
        status = os.waitpid(pid, 0)[1]
        watch.cancel()
        os.close(fd)
        t.check("menu", status == 0 and out.count("ready") == 2, "status %d: %s" % (status, out[-2000:]))


def main():
    if not shutil.which("mmdebstrap"):
        print("skipped: mmdebstrap is not installed")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    t = Tests()
    slow = threading.Thread(target=t.boot, args=("interpreter", "echo reached; uname -m", ["reached", "riscv64"], NONE + ("--engine", "interp"), "", 600))
    if not sys.argv[1:]:
        slow.start()
    only = sys.argv[1:]
    for part in (engines, firmware, flash, controllers, counters, vectors, disks, network, tap, cable, shares, slow_share, console, menu):
        if not only or part.__name__ in only:
            part(t)
    if slow.ident:
        slow.join()
    print("%d passed, %d failed" % (t.passed, t.failed))
    return t.failed != 0


if __name__ == "__main__":
    sys.exit(main())
