#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real programs out of Debian (suite trixie): natively from an amd64 tree, and from the riscv64 tree of the same versions under
Isomer and other emulators, side by side and interleaved.

Prints the CPU time (user and system, of all the processes that a program is) as ratios to native: the least of N rounds.
"cold" is Isomer with an empty translation cache, "warm" with the cache that the run before it left. Each emulator is registered with the
binfmt_misc of a user namespace of its own (Linux 6.7), so child processes run as they would with the emulator installed; where there
is no such namespace, the other emulators are left out. What a program prints must be what it prints natively.
"""
import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
TOOLS = os.path.join(TOP, "tests", "tools")
sys.path.insert(0, HERE)
import real_inputs  # noqa: E402


class Program:
    def __init__(self, name, target, command, count=1, compare=True):
        self.name, self.target, self.count, self.compare = name, target, count, compare
        self.command = ["/bin/sh", "-c", command] if isinstance(command, str) else command


# Name, the ratio to native that a warm run may have (for `hello`: see main), the command. The inputs are in /tmp/in; the current folder is empty.
PROGRAMS = [
    Program("gcc", 3, ["/usr/bin/gcc", "-O2", "-c", "/tmp/in/medium.c"]),
    Program("g++", 3, ["/usr/bin/g++", "-O2", "-c", "/tmp/in/store.cc"]),
    Program("make", 4, "cp -r /tmp/in/tree . && make -s -C tree"),
    Program("configure", 4, ["/bin/sh", "/tmp/in/configure"]),
    Program("sh-loop", 4, ["/bin/sh", "/tmp/in/loop.sh"]),
    Program("python-start", 2.5, ["/usr/bin/python3", "-c", "print(1)"], count=5),
    Program("python", 2.5, ["/usr/bin/python3", "/tmp/in/work.py"]),
    Program("perl", 2.5, ["/usr/bin/perl", "/tmp/in/work.pl"]),
    Program("gawk", 2.5, ["/usr/bin/gawk", "-f", "/tmp/in/work.awk", "/tmp/in/log"]),
    Program("sqlite3", 2.5, ["/usr/bin/sqlite3", ":memory:", ".read /tmp/in/work.sql"]),
    Program("xz", 2.5, ["/usr/bin/xz", "-6", "-T1", "-k", "-c", "/tmp/in/short.log"]),
    Program("unxz", 2.5, ["/usr/bin/xz", "-d", "-c", "/tmp/in/log.xz"]),
    Program("zstd", 2.5, ["/usr/bin/zstd", "-q", "-9", "--single-thread", "-c", "/tmp/in/log"]),
    Program("unzstd", 2.5, ["/usr/bin/zstd", "-q", "-d", "-c", "/tmp/in/log.zst"], count=5),
    Program("sha256", 2.5, ["/usr/bin/openssl", "dgst", "-sha256", "/tmp/in/log"]),
    Program("aes", 2.5, ["/usr/bin/openssl", "enc", "-aes-128-cbc", "-K", "00" * 16, "-iv", "01" * 16, "-in", "/tmp/in/log"]),
    Program("rsa", 2.5, ["/usr/bin/openssl", "dgst", "-sha256", "-sign", "/tmp/in/key.pem", "/tmp/in/hello.c"], count=3),
    Program("hello", None, ["/tmp/in/hello.dynamic"], count=20),
    Program("hello-static", None, ["/tmp/in/hello.static"], count=20),
]
HELLO_MS = {"hello": 4, "hello-static": 2}  # milliseconds over native


class Runner:
    """A way to run a program: the tree it comes from, and the emulator for it (None: native)."""

    def __init__(self, name, root, emulator=None, cache=None, fresh=False):
        self.name, self.root, self.emulator, self.cache, self.fresh = name, root, emulator, cache, fresh

    def prefix(self, work):
        """Namespaces of its own: the emulator, the work folder as /tmp, /dev and /proc."""
        enter = ('root=$1 work=$2; shift 2; for dir in dev proc; do mount --rbind /$dir "$root/$dir" || exit 125; done; '
                 'mount --bind "$work" "$root/tmp" || exit 125; exec "$@"')
        outer = [os.path.join(TOOLS, "with-binfmt"), "POCF" if self.emulator and "isomer" in os.path.basename(self.emulator) else "OCF",
                 self.emulator] if self.emulator else ["unshare", "--map-root-user", "--mount"]
        return [*outer, "/bin/sh", "-c", enter, "sh", self.root, work]


def environment(runner, more):
    env = {"HOME": "/root", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TERM": "dumb", "TMPDIR": "/tmp/out", "SOURCE_DATE_EPOCH": "1700000000"}
    env["ISOMER_CACHE"] = runner.cache or "off"
    return env | dict(pair.split("=", 1) for pair in more)


def folder_empty(path):
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path, mode=0o700)


def measure(program, runner, work, launcher, options):
    """(CPU seconds, wall seconds, KiB, output) of one run, or None and why not."""
    folder_empty(os.path.join(work, "out"))
    if runner.fresh:
        folder_empty(work + runner.cache.removeprefix("/tmp"))
    output = os.path.join(work, "output")
    count = 1 if runner.fresh else program.count  # after the first the cache is warm
    command = [*runner.prefix(work), launcher, runner.root, "/tmp/out", str(count), output, *program.command]
    try:
        done = subprocess.run(command, env={**os.environ, **environment(runner, options.set)}, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=options.limit, check=False)
    except subprocess.TimeoutExpired:
        return None, f"took longer than {options.limit} s"
    with open(output, "rb") as f:
        printed = f.read()
    if done.returncode:
        return None, f"status {done.returncode}: {(done.stderr + printed[-300:]).decode(errors='replace').strip()}"
    cpu, wall, rss = map(int, done.stdout.split())
    return (cpu / count / 1e6, wall / count / 1e6, rss, printed[:len(printed) // count]), None


# --- what has to be there first ---------------------------------------------------------------------------------------------


def tree(arch):
    done = subprocess.run([os.path.join(TOOLS, "riscv-root"), "bench", arch], stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def qemu_of_distribution():
    """The distribution's static qemu-riscv64, unpacked from its package once: a dynamic one cannot run inside another tree."""
    found = shutil.which("qemu-riscv64-static")
    cache = os.environ.get("ISOMER_TEST_CACHE", os.path.expanduser("~/.cache/isomer-test"))
    path = os.path.join(cache, "qemu-user-static", "usr", "bin", "qemu-riscv64-static")
    if found or os.path.exists(path):
        return found or path
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        os.chmod(folder, 0o755)
        if subprocess.run("apt-get download -q qemu-user-static && dpkg-deb -x qemu-user-static*.deb x", shell=True, cwd=folder,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode:
            return None
        os.rename(os.path.join(folder, "x"), os.path.join(cache, "qemu-user-static"))
    return path


def prepare(work, native):
    """The inputs; what must be made natively (compressed files, a key), and the small programs of both kinds."""
    inputs = os.path.join(work, "in")
    real_inputs.write_all(inputs)
    os.makedirs(os.path.join(work, "out"))
    run = [*Runner("native", native).prefix(work), "chroot", native, "/bin/sh", "-ec",
           "cd /tmp/in; xz -3 -k log; zstd -q -9 log; openssl genrsa -out key.pem 3072 2>/dev/null"]
    subprocess.run(run, check=True, env={**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    for suffix, flags in (("dynamic", []), ("static", ["-static"])):
        for compiler, arch in (("gcc", "amd64"), ("riscv64-linux-gnu-gcc", "riscv64")):
            target = os.path.join(inputs, f"hello.{suffix}.{arch}")
            subprocess.run([compiler, "-O2", *flags, "-o", target, os.path.join(inputs, "hello.c")], check=True)
    launcher = os.path.join(work, "launch")
    subprocess.run(["gcc", "-O2", "-static", "-o", launcher, os.path.join(HERE, "launch.c")], check=True)
    return launcher


def choose(work, arch):
    """The small programs of one architecture, at the place where the command looks for them."""
    for suffix in ("dynamic", "static"):
        path = os.path.join(work, "in", f"hello.{suffix}")
        shutil.copy(f"{path}.{arch}", path)


# --- the table --------------------------------------------------------------------------------------------------------------


def mean(values):
    values = [v for v in values if v == v and v > 0]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def print_table(programs, runners, best):
    names = [r.name for r in runners[1:]]
    print(f"{'CPU time':14s} {'native ms':>10s}" + "".join(f"{n + ' x':>10s}" for n in names) + f"{'target':>9s}  (x: times native)")
    rows = {}
    for p in programs:
        native = best[p.name].get("native", (math.nan,))[0]
        ratio = [best[p.name].get(n, (math.nan,))[0] / native for n in names]
        rows[p.name] = dict(zip(names, ratio))
        line = f"{p.name:14s} {native * 1000:10.2f}" + "".join(f"{r:10.2f}" for r in ratio)
        if p.target:
            line += f"{p.target:9.1f}  {'' if not rows[p.name].get('warm', 0) > p.target else 'missed'}"
        else:
            over = (best[p.name].get("warm", (math.nan,))[0] - native) * 1000
            line += f"  +{over:.2f} ms over native, target +{HELLO_MS[p.name]} ms {'missed' if over > HELLO_MS[p.name] else ''}"
        print(line)
    print(f"{'mean':14s} {'':>10s}" + "".join(f"{mean(r[n] for r in rows.values()):10.2f}" for n in names))
    for n in names:
        if n in ("cold", "warm"):
            continue
        for mine in ("cold", "warm"):
            quotients = {k: r[n] / r[mine] for k, r in rows.items() if r.get(mine)}
            worst = min(quotients, key=lambda k: quotients[k] if quotients[k] == quotients[k] else math.inf)
            print(f"{n} takes {mean(quotients.values()):.2f} times as long as Isomer {mine}; least: {worst}, {quotients[worst]:.2f}")
    slower = [k for k, r in rows.items() if r.get("warm", 0) > 1.05 * r.get("cold", math.inf)]
    if slower:
        print("slower warm than cold:", ", ".join(slower))
    print("\nlargest resident size, MiB: " + ", ".join(
        f"{p.name} " + "/".join(f"{best[p.name][r.name][1] / 1024:.1f}" for r in runners if r.name in best[p.name]) for p in programs)
        + " (" + "/".join(r.name for r in runners) + ")")


def run_rounds(programs, runners, work, launcher, options):
    """{program: {runner: (least CPU seconds, KiB)}}, and what went wrong."""
    best, outputs, failed = {p.name: {} for p in programs}, {}, set()
    for n in range(options.n):
        for p in programs:
            for r in runners:
                if (p.name, r.name) in failed:
                    continue
                choose(work, "riscv64" if r.emulator else "amd64")
                got, why = measure(p, r, work, launcher, options)
                if got and outputs.setdefault(p.name, got[3]) != got[3]:
                    got, why = None, f"printed {got[3][:200]!r}, not {outputs[p.name][:200]!r}"
                if not got:
                    failed.add((p.name, r.name))
                    best[p.name].pop(r.name, None)
                    print(f"{p.name}, {r.name}: {why}", file=sys.stderr)
                    continue
                before = best[p.name].get(r.name, (math.inf, 0))
                best[p.name][r.name] = (min(before[0], got[0]), max(before[1], got[2]))
        if options.verbose:
            print(f"round {n + 1} of {options.n}", file=sys.stderr)
    return best, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="programs: " + " ".join(p.name for p in PROGRAMS) + "; all by default")
    parser.add_argument("-n", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--isomer", default=os.path.join(TOP, "build", "isomer"))
    parser.add_argument("--qemu", help="static QEMU to compare with; '' for none; by default the distribution's")
    parser.add_argument("--newest", action="store_true", help="compare with the newest QEMU too (tests/tools/newest-qemu)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="in the environment: ISOMER_ENGINE=quick")
    parser.add_argument("--limit", type=float, default=300, help="seconds for one run")
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    native, guest = tree("amd64"), tree("riscv64")
    if not native or not guest:
        sys.exit("real.py: the trees of Debian's programs could not be made")
    programs = [p for p in PROGRAMS if not options.names or p.name in options.names]
    isomer = os.path.abspath(options.isomer)
    runners = [Runner("native", native), Runner("cold", guest, isomer, "/tmp/cache-cold", fresh=True), Runner("warm", guest, isomer, "/tmp/cache")]
    qemu = qemu_of_distribution() if options.qemu is None else options.qemu
    if qemu:
        runners.append(Runner("qemu", guest, os.path.abspath(qemu)))
    if options.newest:
        newest = subprocess.run([os.path.join(TOOLS, "newest-qemu")], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
        runners.append(Runner("newest", guest, newest))
    if subprocess.run([os.path.join(TOOLS, "with-binfmt"), "POCF", isomer, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        sys.exit("real.py: skipped: this machine's kernel has no binfmt_misc of a user namespace's own (Linux 6.7)")
    with tempfile.TemporaryDirectory(prefix="isomer-real-") as work:
        os.chmod(work, 0o755)
        folder_empty(os.path.join(work, "cache"))
        launcher = prepare(work, native)
        for p in programs:  # once, so that the first measured "warm" is; and the pages of the files are in memory
            for r in runners[:3:2]:
                choose(work, "riscv64" if r.emulator else "amd64")
                measure(p, r, work, launcher, options)
        best, failed = run_rounds(programs, runners, work, launcher, options)
    print_table(programs, runners, best)
    return 1 if any(r in ("native", "cold", "warm") for _, r in failed) else 0


if __name__ == "__main__":
    sys.exit(main())
