#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The persistent translation cache, from outside: what the next process finds of what the last one translated, and that whatever is
wrong with the folder, its files or the moment, the guest runs as it does without.

Each program prints a number that depends on all of its code; --stats tells where its blocks came from. Environment: ISOMER, SEED.
"""
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ISOMER = os.environ["ISOMER"]
SYSROOT = os.environ.get("SYSROOT", "/usr/riscv64-linux-gnu")
CHANCE = random.Random(int(os.environ.get("SEED", "1")))


def source(value, functions=60):
    """A program of many small functions; `value` is an immediate in one of them."""
    out = ["#include <stdio.h>", "#include <stdlib.h>", "#include <string.h>", "#include <sys/wait.h>", "#include <unistd.h>",
           "static unsigned long x = 1;"]
    for k in range(functions):
        out.append(f"static __attribute__((noinline)) void f{k}(unsigned long a) {{ x = x * {2 * k + 3} + (a ^ {k}); if (x & {k + 1}) x ^= x >> {k % 13 + 1}; }}")
    out += ["static void all(void) {", *(f"    f{k}(x + {k});" for k in range(functions)), "}", "int main(int argc, char **argv) {",
            "    all();", f"    x += {value};", "    if (argc > 2) { for (int n = atoi(argv[2]); n > 0; n--) all(); }",
            '    if (argc > 1 && !strcmp(argv[1], "fork")) {', "        for (int k = 0; k < 4; k++) {", "            if (fork() == 0) {",
            "                for (int n = 0; n <= k; n++) all();", '                if (k == 3) execl(argv[0], argv[0], "child", (char *)0);',
            '                printf("%d %lx\\n", k, x); fflush(stdout); _exit(0);', "            }", "            wait(NULL);", "        }", "    }",
            '    printf("%lx\\n", x);', "    return (int)(x % 50);", "}"]
    return "\n".join(out) + "\n"


class Result:
    def __init__(self, done):
        self.status, self.out = done.returncode, done.stdout
        self.stats = {k: int(v) for k, v in re.findall(r"^([a-z_]+): (\d+)$", done.stderr, re.M)}
        self.noise = [line for line in done.stderr.splitlines() if not re.match(r"[a-z_]+: [\d.]+$", line)]

    def same(self, other):
        return (self.status, self.out, self.noise) == (other.status, other.out, other.noise)


def run(program, cache, *args, options=(), prefix=()):
    done = subprocess.run([*prefix, ISOMER, "run", "--stats", "--cache", cache, *options, program, *args], capture_output=True, text=True,
                          timeout=120, check=False, stdin=subprocess.DEVNULL)
    return Result(done)


def command(*args):
    done = subprocess.run([ISOMER, "cache", *args], capture_output=True, text=True, timeout=600, check=False)
    return done.returncode, done.stdout, done.stderr


def images(cache):
    return sorted(os.path.join(cache, n) for n in os.listdir(cache) if n.endswith(".img"))


class Test:
    def __init__(self, work):
        self.work, self.passed, self.failed, self.skipped = work, 0, 0, 0
        self.count = 0
        self.program = self.build("program", 1)
        self.want = run(self.program, "off")

    def build(self, name, value, dynamic=False, functions=60):
        path = os.path.join(self.work, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        subprocess.run(["riscv64-linux-gnu-gcc", "-O1", "-x", "c", "-", *([] if dynamic else ["-static"]), "-o", path],
                       input=source(value, functions), text=True, check=True)
        return path

    def fresh(self):
        self.count += 1
        return os.path.join(self.work, f"cache{self.count}")

    def filled(self):
        cache = self.fresh()
        run(self.program, cache)
        return cache

    def check(self, name, truth, *said):
        if truth:
            self.passed += 1
        else:
            self.failed += 1
            print(f"{name}:", *said)

    def right(self, name, got, want=None):
        """The guest ran as it does without a cache."""
        want = want or self.want
        self.check(name, got.same(want), f"status {got.status}, printed {got.out!r} {got.noise}, wanted {want.status} {want.out!r} {want.noise}")

    def used(self, name, got):
        self.check(name, got.stats["image_blocks"] > got.stats["blocks"] * 5, got.stats)

    def unused(self, name, got):
        self.check(name, got.stats["image_blocks"] == 0 and got.stats["blocks"] > 100, got.stats)

    def skip(self, name, why):
        self.skipped += 1
        print(f"{name}: skipped: {why}")


# --- what is found ----------------------------------------------------------------------------------------------------------


def second_run(t):
    cache = t.fresh()
    first, second = run(t.program, cache), run(t.program, cache)
    t.right("first run", first)
    t.unused("first run", first)
    t.check("first run writes", first.stats["images_written"] >= 1, first.stats)
    t.right("second run", second)
    t.used("second run", second)
    off = run(t.program, "off")
    t.unused("switched off", off)
    t.check("switched off writes nothing", off.stats["images_written"] == 0, off.stats)


def grows(t):
    """What another way through the program translated is added."""
    cache, path = t.fresh(), t.build("grows", 1)
    run(path, cache)
    few = grown = run(path, cache).stats["image_blocks"]
    for _ in range(20):  # little news is written with a probability
        for _ in range(20):
            run(path, cache, "fork")
        grown = run(path, cache).stats["image_blocks"]
        if grown > few:
            break
    t.check("the image grows", grown > few, few, grown)


def changed_file(t):
    cache, path = t.fresh(), t.build("changed", 1)
    run(path, cache)
    for value in (2, 3):  # same size, same address of everything
        before = os.stat(path)
        with open(t.build("other", value), "rb") as f:
            new = f.read()
        with open(path, "wb") as f:
            f.write(new)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        t.right(f"changed file {value}", run(path, cache), run(path, "off"))
        t.right(f"changed file {value}, warm", run(path, cache), run(path, "off"))


def names(t):
    cache, one, two = t.fresh(), t.build("one/same", 4), t.build("two/same", 5)
    for _ in range(2):
        for path in (one, two):
            t.right("two programs of one name", run(path, cache), run(path, "off"))
    t.used("two programs of one name", run(two, cache))
    copy = os.path.join(t.work, "copy")
    shutil.copy(t.program, copy)
    cache = t.filled()
    got = run(copy, cache)
    t.right("one program under two names", got)
    t.used("one program under two names", got)


def dynamic(t):
    """Libraries, with the addresses that the store chooses for them, in spite of ASLR."""
    path, cache = t.build("dynamic", 6, dynamic=True), t.fresh()
    lib = ["-L", SYSROOT]
    want = run(path, "off", options=lib)
    t.right("dynamic, cold", run(path, cache, options=lib), want)
    warm = run(path, cache, options=lib)
    t.right("dynamic, warm", warm, want)
    t.used("dynamic, warm", warm)
    t.check("dynamic, images", warm.stats["images"] >= 3, warm.stats)
    other = run(t.build("dynamic2", 7, dynamic=True), cache, options=lib)
    t.check("another program finds the libraries", other.stats["image_blocks"] > other.stats["blocks"], other.stats)


def fork_exec(t):
    want = run(t.program, "off", "fork")
    cache = t.fresh()
    for n in range(3):
        t.check(f"fork and exec {n}", run(t.program, cache, "fork").out == want.out, "other output")


def locked_up(t):
    """A program that takes the right to write files from itself has saved what it was until then."""
    path, cache = os.path.join(t.work, "locked"), t.fresh()
    text = source(3).replace("    all();\n", "    all();\n    unsigned long right = 0x1fff;\n    prctl(38, 1, 0, 0, 0);\n"
                             "    long fd = syscall(444, &right, 8, 0);\n    if (fd >= 0 && syscall(446, fd, 0)) return 3;\n    f0(x);\n", 1)
    subprocess.run(["riscv64-linux-gnu-gcc", "-O1", "-x", "c", "-", "-static", "-include", "sys/prctl.h", "-o", path], input=text, text=True, check=True)
    want = run(path, "off")
    t.right("locked up", run(path, cache), want)
    got = run(path, cache)
    t.right("locked up, warm", got, want)
    t.check("locked up, warm", got.stats["image_blocks"] > got.stats["blocks"] > 20, got.stats)


def regions(t):
    """What was optimised is kept, and not done again."""
    cache, hot = t.fresh(), ["--hot", "100"]
    want = run(t.program, "off", "x", "40000")
    first = run(t.program, cache, "x", "40000", options=hot)
    t.check("hot, cold", first.out == want.out, first.out, want.out)
    for _ in range(4):
        got = run(t.program, cache, "x", "40000", options=hot)
        t.check("hot, warm", got.out == want.out, got.out, want.out)
    if first.stats.get("regions", 0) >= 4:  # compiled in the background: on a busy machine some come too late to be saved
        t.check("regions are kept", got.stats["regions"] <= first.stats["regions"] // 2, first.stats["regions"], got.stats["regions"])
        got = run(t.program, cache, "x", "40000", options=["--lockstep"])
        t.check("kept regions agree with the interpreter", got.out == want.out and got.status == 0, got.out, got.noise)
        t.check("kept regions are compared", got.stats["lockstep_regions"] > 0, got.stats)


# --- what must not be found ----------------------------------------------------------------------------------------------------


def options(t):
    cache = t.filled()
    for name, chosen in (("-avx", ["-host-features", "-avx"]), ("interpreter", ["--engine=interp"]),
                         ("one-insn", ["-one-insn-per-tb"])):
        got = run(t.program, cache, options=chosen)
        t.check(f"with {name}", (got.status, got.out) == (t.want.status, t.want.out), got.status, got.out, got.noise)
        t.check(f"with {name}: not the same code", got.stats.get("image_blocks", 0) == 0, got.stats)
    t.used("after that", run(t.program, cache))
    got = run(t.program, cache, options=["--lockstep"])  # checks what was kept
    t.right("lockstep", got)
    t.used("lockstep", got)
    trace = run(t.program, cache, options=["-strace"])
    t.check("strace", trace.out == t.want.out and any("exit" in line for line in trace.noise), trace.noise)


def corruption(t):
    cache = t.filled()
    path = images(cache)[0]
    with open(path, "rb") as f:
        good = f.read()
    places = [*range(0, 128, 4), *(CHANCE.randrange(len(good)) for _ in range(40)), len(good) - 1]
    for at in places:
        bad = bytearray(good)
        bad[at] ^= 1 << CHANCE.randrange(8)
        with open(path, "wb") as f:
            f.write(bad)
        got = run(t.program, cache)
        t.right(f"byte {at} changed", got)
        # between the head and the tables is padding, which the checksum of the rest does not cover
        if at < 128 or at >= 4096:
            t.check(f"byte {at} changed: refused", got.stats["image_blocks"] == 0, got.stats)
            t.check(f"byte {at} changed: made anew", got.stats["images_written"] >= 1, got.stats)
    t.used("after damage", run(t.program, cache))


def lengths(t):
    cache = t.filled()
    path = images(cache)[0]
    with open(path, "rb") as f:
        good = f.read()
    for size in (0, 1, 7, 100, 4095, 4096, 5000, len(good) // 2, len(good) - 4096, len(good) - 1, len(good) + 1, len(good) + 65536):
        with open(path, "wb") as f:
            f.write((good + bytes(65536))[:size])
        got = run(t.program, cache)
        t.right(f"{size} of {len(good)} bytes", got)
        t.check(f"{size} of {len(good)} bytes: refused", got.stats["image_blocks"] == 0, got.stats)
    t.used("after lengths", run(t.program, cache))


def known(t):
    for name, data in (("empty", b""), ("short", b"isomer"), ("noise", bytes(CHANCE.randrange(256) for _ in range(9000)))):
        cache = t.filled()
        with open(os.path.join(cache, "known"), "wb") as f:
            f.write(data)
        t.right(f"`known` is {name}", run(t.program, cache))
        status, _, said = command("--cache", cache, "status")
        t.check(f"`known` is {name}: status says so", status and "known" in said, status, said)
    cache = t.filled()
    os.unlink(os.path.join(cache, "known"))
    for n in range(3):
        t.right(f"`known` is gone, run {n}", run(t.program, cache))
    with open(os.path.join(cache, "known"), "r+b") as f:  # the salt stays: entries are noise
        f.seek(4096)
        f.write(bytes(CHANCE.randrange(256) for _ in range(200000)))
    t.right("entries of `known` are noise", run(t.program, cache))


def ownership(t):
    def refuse(name, change):
        cache = t.filled()
        change(cache)
        got = run(t.program, cache)
        t.right(name, got)
        t.unused(name, got)

    refuse("a folder open to others", lambda c: os.chmod(c, 0o777))
    refuse("an image open to others", lambda c: [os.chmod(i, 0o644) for i in images(c)])
    refuse("`known` open to others", lambda c: os.chmod(os.path.join(c, "known"), 0o666))

    def link(cache):
        for i in images(cache):
            os.rename(i, i + ".moved")
            os.symlink(i + ".moved", i)
    refuse("an image is a symbolic link", link)

    def folder(cache):
        for i in images(cache):
            os.unlink(i)
            os.mkdir(i)
    refuse("an image is a folder", folder)

    def fifo(cache):
        for i in images(cache):
            os.unlink(i)
            os.mkfifo(i, 0o600)
    refuse("an image is a fifo", fifo)
    if os.geteuid() == 0:
        refuse("somebody else's folder", lambda c: os.chown(c, 65534, 65534))
        refuse("somebody else's image", lambda c: [os.chown(i, 65534, 65534) for i in images(c)])
    else:
        t.skip("somebody else's", "needs user 0")


def places(t):
    base = os.path.join(t.work, "not", "there")
    t.right("no parent folder", run(t.program, base))
    t.check("no parent folder: none made", not os.path.exists(os.path.dirname(base)), "made")
    t.right("a file instead of a folder", run(t.program, t.program))
    t.right("below a file", run(t.program, t.program + "/x"))
    t.right("/dev/null", run(t.program, "/dev/null"))
    t.right("/proc", run(t.program, "/proc/self"))


def mounts(t):
    namespace = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*namespace, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        t.skip("mounts", "no user namespaces here")
        return
    read_only = [*namespace, "sh", "-ec", 'mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; exec "$@"']
    cache = t.filled()
    got = run(t.program, cache, prefix=[*read_only, cache])
    t.right("read-only folder", got)
    t.used("read-only folder", got)
    empty = t.fresh()
    os.mkdir(empty, 0o700)
    t.right("read-only empty folder", run(t.program, empty, prefix=[*read_only, empty]))
    for size in ("4k", "16k", "64k", "200k"):
        small = [*namespace, "sh", "-ec", f'mount -t tmpfs -o size={size},mode=700 none "$0"; "$@"; n=$?; ls "$0" | grep tmp- && exit 120; exit $n', empty]
        t.right(f"full file system of {size}", run(t.program, empty, prefix=small))
    time.sleep(3)  # until what is known of the program is worth noting
    for blocks in (0, 8, 64, 1000):
        limit = ["sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh"]
        t.right(f"files of {blocks} blocks at most", run(t.program, t.fresh(), prefix=limit))
        t.right(f"files of {blocks} blocks at most, warm", run(t.program, t.filled(), prefix=limit))
    limit = ["sh", "-c", 'ulimit -n 4; exec "$@"', "sh"]
    t.right("no descriptors left", run(t.program, t.filled(), prefix=limit))


# --- many at once -----------------------------------------------------------------------------------------------------------


def crowd(t):
    cache = t.fresh()
    for n in range(3):
        argv = [ISOMER, "run", "--cache", cache, t.program]
        running = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(20)]
        results = [(p.communicate()[0], p.returncode) for p in running]
        t.check(f"twenty at once, {n}", all(r == (t.want.out, t.want.status) for r in results), set(results))
    t.used("after twenty", run(t.program, cache))
    t.check("nothing is left over", not [n for n in os.listdir(cache) if n.startswith("tmp-")], os.listdir(cache))


def killed(t):
    cache, path = t.fresh(), t.build("large", 9, functions=900)
    want = run(path, "off")
    started = time.monotonic()
    run(path, t.fresh())
    length = time.monotonic() - started
    for k in range(25):
        if k % 5 == 0:
            shutil.rmtree(cache, ignore_errors=True)
        p = subprocess.Popen([ISOMER, "run", "--cache", cache, path], stdout=subprocess.DEVNULL)
        time.sleep(CHANCE.uniform(length * 0.5, length))
        p.send_signal(signal.SIGKILL)
        p.wait()
        if k % 5 == 4:
            t.right(f"after kills {k}", run(path, cache), want)
            t.right(f"after kills {k}, warm", run(path, cache), want)
    t.used("after kills", run(path, cache))


def bound(t):
    cache, limit = t.fresh(), 512 * 1024
    for k in range(12):
        run(t.build("bounded", 100 + k), cache, options=["--cache-size", "512K"])
    size = sum(os.stat(i).st_blocks * 512 for i in images(cache))
    t.check("the bound holds", 0 < size <= limit, size, len(images(cache)))
    t.right("nothing fits", run(t.program, t.fresh(), options=["--cache-size", "1K"]))


# --- isomer cache ---------------------------------------------------------------------------------------------------------------


def commands(t):
    cache = t.filled()
    status, said, _ = command("--cache", cache, "status")
    t.check("status", status == 0 and f"images: {len(images(cache))}\n" in said and cache in said, said)
    status, said, _ = command("--cache", cache, "clear")
    t.check("clear", status == 0 and not images(cache), said)
    t.unused("after clear", run(t.program, cache))
    cache = t.fresh()
    status, said, wrong = command("--cache", cache, "warm", t.program)
    t.check("warm", status == 0 and images(cache), status, said, wrong)
    got = run(t.program, cache)
    t.right("warmed", got)
    t.used("warmed", got)
    folder, path = t.fresh(), t.build("folder/dynamic", 8, dynamic=True)
    with open(os.path.join(os.path.dirname(path), "text"), "w") as f:
        f.write("no program\n")
    status, said, wrong = command("--cache", folder, "-L", SYSROOT, "warm", os.path.dirname(path))
    t.check("warm of a folder", status == 0 and images(folder), status, said, wrong)
    got = run(path, folder, options=["-L", SYSROOT])
    t.right("warmed folder", got, run(path, "off", options=["-L", SYSROOT]))
    t.used("warmed folder", got)
    for what in ("/etc/passwd", "/no/such/file"):
        status, said, wrong = command("--cache", cache, "warm", what)
        t.check(f"warm {what}", status > 0 and len(wrong.splitlines()) == 1, status, said, wrong)
    for words in ([], ["nonsense"], ["warm"], ["status", "--cache"]):
        status, said, wrong = command("--cache", cache, *words)
        t.check(f"wrong words {words}", words == ["status", "--cache"] or status in (1, 2), status, said, wrong)


TESTS = [second_run, grows, changed_file, names, dynamic, fork_exec, locked_up, regions, options, corruption, lengths, known, ownership, places, mounts, crowd, killed,
         bound, commands]


def main():
    with tempfile.TemporaryDirectory() as work:
        t = Test(work)
        for test in TESTS:
            if len(sys.argv) < 2 or test.__name__ in sys.argv[1:]:
                test(t)
    print(f"{t.passed} passed, {t.failed} failed" + (f", {t.skipped} skipped" if t.skipped else ""))
    return t.failed != 0


if __name__ == "__main__":
    sys.exit(main())
