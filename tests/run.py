#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The one test runner. `./dev test` calls it; see docs/testing.md for how to write a test.

A test is a file below tests/:

  *.test           cases of the one text format: commands with what they read, print and return
  guest/*.c        a program that is built for the guest and for the host, and run on both
  */*.py           a script (not a module) that checks much at once and ends with "N passed, N failed"; it counts as one test

The text format. Lines "key: value", then sections "--- name" of literal text; "=== NAME" starts the next case;
"#" starts a comment outside sections. In a C file the keys stand in lines that start with "//: ".

  run      command for sh; it finds $ISOMER, $RUN (isomer run, with the permutation's options), $TOP, $BUILD, and with
           `needs: root` $ROOT (riscv64 Debian), $DRUN ($RUN -L $ROOT) and $CHROOT ($RUN inside $ROOT). The working
           directory is new and empty. [.test only]
  program  a C file below tests/, built for the guest as $PROGRAM (static) and $PROGRAM_DYNAMIC [.test only]
  args     arguments of the program [guest only]
  cflags   more compiler options; `libs` stand after the source [guest only]
  oracle   native (default: the host's own build must print the same), qemu, or none (expected text or `--- stdout`)
  status   exit status, or -N for death by signal N; default 0, or what the oracle returned
  needs    what the test cannot do without: root, chroot (the same, and user 0), runtimes (another tree), qemu, admin
           (user 0), loop (loop devices for user 0), static (a static build), binfmt (a user namespace with a binfmt_misc of its own), userns (user namespaces)
  skip     VARIANT REASON: don't run that permutation; may be repeated [variants: see below]
  timeout  seconds; 30 by default; three times that for the interpreter
  stdin, stdout, stderr   sections. "--- stdout re" holds one regular expression for each line. Without the section
           stderr must be empty and stdout is the oracle's (for .test: must be empty).

Permutations: each guest program and each case with `permute: yes` runs as `default`, `interp` (portable engine),
`tiny` (a code cache that is always full) and `cached` (twice, with a translation cache that outlives the first); guest
programs also as `dynamic`; see VARIANTS for the others.
"""
import argparse
import concurrent.futures
import difflib
import fnmatch
import glob
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
VARIANTS = {
    "default": [],
    "interp": ["--engine=interp"],
    "tiny": ["-tb-size", "64K"],
    "hot": ["--hot", "8"],  # loops are optimised at once
    "lockstep": ["--lockstep", "--hot", "8"],  # and all code is compared with the interpreter as it runs
    "cached": [],  # twice, with a persistent translation cache that all tests of this variant share
}
CACHING = ("cached", "dynamic")  # the others run without
ROOTS = {"root": "full", "chroot": "full", "runtimes": "runtimes", "debug": "debug"}  # what a test needs: which tree of Debian's packages
SYSROOT = "/usr/riscv64-linux-gnu"  # where Debian's cross compiler keeps the guest's libraries
GUEST_CC, HOST_CC = "riscv64-linux-gnu-gcc", "gcc"
CFLAGS = ["-O2", "-g", "-Wall", "-Wno-unused-result", "-pthread", "-D_GNU_SOURCE", "-fno-strict-aliasing", "-I" + HERE]
KEYS = {"run", "args", "cflags", "libs", "oracle", "status", "needs", "skip", "timeout", "permute", "program"}
SECTIONS = {"stdin", "stdout", "stderr"}
OUTPUT_LIMIT = 1 << 22  # bytes of output that are read back


class Bad(Exception):
    """A test file that cannot be understood."""


class Case:
    """One case: keys, sections {name: (text, is_re)}."""

    def __init__(self, name, path, line):
        self.name, self.path, self.line = name, path, line
        self.keys, self.sections, self.skips = {}, {}, {}

    def set(self, key, value, line):
        if key not in KEYS:
            raise Bad(f"{self.path}:{line}: unknown key {key}")
        if key == "skip":
            variant, _, why = value.partition(" ")
            self.skips[variant] = why
        else:
            self.keys[key] = value

    def get(self, key, default=""):
        return self.keys.get(key, default)


def cases_parse(path):
    """The cases of a .test file."""
    base = os.path.relpath(path, HERE).removesuffix(".test")
    cases, section, case = [], None, None
    for number, line in enumerate(open(path, encoding="utf-8"), 1):
        if line.startswith("=== ") or case is None:
            case = Case(f"{base}:{line[4:].strip()}" if line.startswith("=== ") else base, path, number)
            cases.append(case)
            section = None
            if line.startswith("=== "):
                continue
        if line.startswith("--- "):
            words = line[4:].split()
            if words[0] not in SECTIONS or words[1:] not in ([], ["re"]):
                raise Bad(f"{path}:{number}: unknown section {line[4:].strip()}")
            section = words[0]
            case.sections[section] = ("", words[1:] == ["re"])
        elif section:
            text, is_re = case.sections[section]
            case.sections[section] = (text + line, is_re)
        elif line.strip() and not line.startswith("#"):
            key, colon, value = line.partition(":")
            if not colon:
                raise Bad(f"{path}:{number}: neither key nor section: {line.strip()}")
            case.set(key.strip(), value.strip(), number)
    # What stands before the first "===" are defaults for all that follow.
    head = cases[0]
    if len(cases) > 1 and "run" not in head.keys:
        cases = cases[1:]
        for case in cases:
            case.keys = {**head.keys, **case.keys}
    for case in cases:
        if "run" not in case.keys:
            raise Bad(f"{path}:{case.line}: no run line")
    return cases


def guest_parse(path):
    case = Case(os.path.relpath(path, HERE).removesuffix(".c"), path, 1)
    for number, line in enumerate(open(path, encoding="utf-8"), 1):
        if line.startswith("//: "):
            key, colon, value = line[4:].partition(":")
            if not colon:
                raise Bad(f"{path}:{number}: no key")
            case.set(key.strip(), value.strip(), number)
    for name in SECTIONS:
        beside = path.removesuffix(".c") + "." + name
        if os.path.exists(beside):
            case.sections[name] = (open(beside, encoding="utf-8").read(), False)
    return case


class Outcome:
    """What a command did: exit status (-N: signal), output, or a timeout."""

    def __init__(self, status, stdout, stderr, seconds, timed_out=False):
        self.status, self.stdout, self.stderr, self.seconds, self.timed_out = status, stdout, stderr, seconds, timed_out


def command_run(argv, stdin, timeout, env, cwd):
    """Run with output to files, so that a stray child holding a pipe cannot block us; kill the whole session after."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as inp:
        inp.write(stdin.encode())
        inp.seek(0)
        process = subprocess.Popen(argv, stdin=inp, stdout=out, stderr=err, env=env, cwd=cwd, start_new_session=True)
        timed_out = False
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            timed_out, status = True, None
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if timed_out:
            process.wait()
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read(OUTPUT_LIMIT).decode("utf-8", "backslashreplace"))
        return Outcome(status, *texts, time.monotonic() - started, timed_out)


def text_diff(name, want, got):
    lines = difflib.unified_diff(want.splitlines(), got.splitlines(), f"{name} wanted", f"{name} got", lineterm="", n=2)
    lines = list(lines)
    return "\n".join(lines[:60] + (["..."] if len(lines) > 60 else []))


def text_check(name, section, got):
    """None, or how the text differs from a section (text, is_re)."""
    want, is_re = section
    if not is_re:
        return None if want == got else text_diff(name, want, got)
    patterns, lines = want.splitlines(), got.splitlines()
    for number, pattern in enumerate(patterns):
        if number >= len(lines) or not re.fullmatch(pattern, lines[number]):
            return f"{name} line {number + 1}: wanted /{pattern}/, got " + repr(lines[number] if number < len(lines) else None)
    return None if len(lines) == len(patterns) else f"{name}: {len(lines)} lines, wanted {len(patterns)}:\n{got}"


class Runner:
    def __init__(self, options):
        self.options = options
        self.build = os.path.abspath(options.build)
        self.isomer = os.path.abspath(options.isomer or os.path.join(self.build, "isomer"))
        self.bin = os.path.join(self.build, "tests", "guest-bin")
        os.makedirs(self.bin, exist_ok=True)
        self.work = tempfile.mkdtemp(prefix="isomer-test.")
        self.cache = os.path.join(self.work, "cache")
        os.mkdir(self.cache, 0o700)
        self.passed = self.failed = self.skipped = 0
        self.failures, self.times, self.skips = [], [], {}
        self.lock = threading.Lock()
        self.locks = {}
        self.roots = {}
        self.inside = f"/.isomer-{os.getpid()}"  # in each of the trees
        self.oracles = {}
        self.binfmt = None  # whether user namespaces have their own: not asked yet

    # --- what tests need -----------------------------------------------------------------

    def root_get(self, kind):
        """A riscv64 Debian tree (full, runtimes) with a copy of isomer inside; "" if it cannot be made."""
        with self.lock_get("root " + kind):
            if kind not in self.roots:
                done = subprocess.run([os.path.join(HERE, "tools", "riscv-root"), kind], stdout=subprocess.PIPE,
                                      text=True, check=False)
                root = done.stdout.strip() if done.returncode == 0 else ""
                if root:
                    shutil.copy(self.isomer, root + self.inside)
                self.roots[kind] = root
            return self.roots[kind]

    def lack_find(self, needs):
        """The first thing in `needs` that this machine lacks, or None."""
        for need in needs.split():
            if need in ROOTS and os.geteuid() != 0:
                return "chroot needs user 0"
            if need in ROOTS and not self.root_get(ROOTS[need]):
                return "no riscv64 Debian tree (network?)"
            if need == "admin" and os.geteuid() != 0:
                return "needs user 0"
            if need == "loop" and not os.access("/dev/loop-control", os.W_OK):
                return "no loop devices for us here"
            if need == "qemu" and not shutil.which("qemu-riscv64"):
                return "qemu-riscv64 is not installed"
            if need == "binfmt" and self.binfmt_lack():
                return self.binfmt_lack()
            if need == "static" and b"ld-linux" in open(self.isomer, "rb").read(8192):
                return "this build is not static"
            if need == "userns" and subprocess.run(["unshare", "--user", "true"], check=False, stderr=subprocess.DEVNULL).returncode:
                return "no user namespaces here (a chroot, or forbidden)"
            if need not in (*ROOTS, "admin", "loop", "qemu", "static", "binfmt", "userns"):
                return f"unknown need {need}"
        return None

    def binfmt_lack(self):
        """Why tests/tools/with-binfmt cannot work here, or None."""
        with self.lock_get("binfmt"):
            if self.binfmt is None:
                done = subprocess.run([os.path.join(HERE, "tools", "with-binfmt"), "F", self.isomer, "true"], check=False,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                self.binfmt = done.returncode == 0
        return None if self.binfmt else "no binfmt_misc in user namespaces here (Linux 6.7)"

    def lock_get(self, name):
        with self.lock:
            return self.locks.setdefault(name, threading.Lock())

    def env_get(self, variant, needs):
        run = ["run", *VARIANTS.get(variant, [])]
        env = {k: os.environ[k] for k in ("PATH", "HOME", "TMPDIR", "ISOMER_TEST_CACHE", "USER") if k in os.environ}
        env |= {"LANG": "C.UTF-8", "ISOMER": self.isomer, "TOP": TOP, "BUILD": self.build, "TESTS": HERE,
                "SEED": str(self.options.seed), "RUN": shlex.join([self.isomer, *run]), "SYSROOT": SYSROOT,
                "BIN": self.bin, "ISOMER_CACHE": self.cache if variant in CACHING else "off"}
        for need in set(needs.split()) & set(ROOTS):
            root = self.root_get(ROOTS[need])
            env["ROOT"] = root
            env["DRUN"] = shlex.join([self.isomer, *run, "-L", root])
            env["CHROOT"] = shlex.join([os.path.join(HERE, "tools", "in-root"), root, self.inside, *run])
        return env

    # --- guest programs ------------------------------------------------------------------

    def program_build(self, case, kind):
        """Build a guest program as static, dynamic or native; returns (path, error)."""
        name = os.path.basename(case.path).removesuffix(".c")
        path = os.path.join(self.bin, f"{name}.{kind}")
        compiler = HOST_CC if kind == "native" else GUEST_CC
        command = [compiler, *CFLAGS, *shlex.split(case.get("cflags")), *(["-static"] if kind == "static" else []),
                   case.path, "-o", path, *shlex.split(case.get("libs"))]
        with self.lock_get(path):
            stamp = path + ".cmd"
            sources = [case.path] + glob.glob(os.path.join(HERE, "guest", "*.h"))
            fresh = (os.path.exists(path) and os.path.exists(stamp) and open(stamp).read() == shlex.join(command)
                     and all(os.path.getmtime(path) >= os.path.getmtime(s) for s in sources))
            if not fresh:
                done = subprocess.run(command, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True, check=False)
                if done.returncode:
                    return path, f"does not compile ({kind}):\n{done.stdout}"
                with open(stamp, "w") as out:
                    out.write(shlex.join(command))
        return path, None

    def oracle_get(self, case, timeout):
        """What the oracle of a guest program did; run once for all permutations."""
        with self.lock_get("oracle " + case.path):
            if case.path not in self.oracles:
                kind = "native" if case.get("oracle", "native") == "native" else "static"
                program, error = self.program_build(case, kind)
                prefix = [] if kind == "native" else ["qemu-riscv64"]
                if error:
                    self.oracles[case.path] = error
                else:
                    self.oracles[case.path] = self.in_work([*prefix, program, *shlex.split(case.get("args"))], case,
                                                           timeout, self.env_get("default", ""))
            return self.oracles[case.path]

    def in_work(self, argv, case, timeout, env):
        work = tempfile.mkdtemp(dir=self.work)
        try:
            return command_run(argv, case.sections.get("stdin", ("", False))[0], timeout, env, work)
        finally:
            subprocess.run(["rm", "-rf", "--one-file-system", work], check=False)

    def guest_run(self, case, variant):
        """None, or why it failed."""
        timeout = float(case.get("timeout", "30"))
        kind = "dynamic" if variant == "dynamic" else "static"
        program, error = self.program_build(case, kind)
        if error:
            return error
        want_status, want = int(case.get("status", "0")), case.sections.get("stdout", ("", False))
        if case.get("oracle", "native") != "none":
            oracle = self.oracle_get(case, timeout)
            if isinstance(oracle, str):
                return oracle
            if oracle.timed_out:
                return f"the oracle ran longer than {timeout:g} s"
            if oracle.status == 99 or "status" in case.keys and oracle.status != want_status:
                return f"the oracle's status is {oracle.status}:\n{oracle.stdout}{oracle.stderr}"
            want_status, want = oracle.status, (oracle.stdout, False)
        options = VARIANTS.get(variant, []) + (["-L", SYSROOT] if kind == "dynamic" else [])
        limit = timeout * (3 if variant == "interp" else 1) * self.options.slack
        got = self.in_work([self.isomer, "run", *options, program, *shlex.split(case.get("args"))], case, limit,
                           self.env_get(variant, ""))
        return self.judge(case, got, limit, want_status, want)

    def judge(self, case, got, limit, want_status, want_stdout):
        problems = []
        if got.timed_out:
            problems.append(f"still running after {limit:g} s")
        elif got.status != want_status:
            problems.append(f"exit status {got.status}, wanted {want_status}")
        problems.append(text_check("stdout", want_stdout, got.stdout))
        problems.append(text_check("stderr", case.sections.get("stderr", ("", False)), got.stderr))
        return "\n".join(p for p in problems if p) or None

    # --- .test cases and scripts ---------------------------------------------------------

    def case_run(self, case, variant):
        limit = float(case.get("timeout", "30")) * (3 if variant == "interp" else 1) * self.options.slack
        env = self.env_get(variant, case.get("needs"))
        if case.get("program"):
            program = guest_parse(os.path.join(HERE, case.get("program")))
            for name, kind in (("PROGRAM", "static"), ("PROGRAM_DYNAMIC", "dynamic")):
                env[name], error = self.program_build(program, kind)
                if error:
                    return error
        got = self.in_work(["sh", "-c", case.keys["run"]], case, limit, env)
        if self.options.bless and not got.timed_out:
            self.case_bless(case, got)
            return None
        return self.judge(case, got, limit, int(case.get("status", "0")), case.sections.get("stdout", ("", False)))

    def case_bless(self, case, got):
        """Rewrite the literal stdout of a case, and its status, to what it printed just now."""
        lines = open(case.path, encoding="utf-8").read().split("\n")
        name = case.name.partition(":")[2]
        start = lines.index(f"=== {name}") + 1 if name else 0
        end = next((i for i in range(start, len(lines)) if lines[i].startswith("=== ")), len(lines))
        body = lines[start:end]
        at = next((i for i, line in enumerate(body) if line == "--- stdout"), None)
        if at is None or text_check("stdout", case.sections["stdout"], got.stdout) is None:
            return
        stop = next((i for i in range(at + 1, len(body)) if body[i].startswith("--- ")), len(body))
        body[at + 1:stop] = got.stdout.removesuffix("\n").split("\n") + ([""] if end == len(lines) else [])
        with open(case.path, "w", encoding="utf-8") as out:
            out.write("\n".join(lines[:start] + body + lines[end:]))

    def script_run(self, path):
        limit = 1500 * self.options.slack
        got = command_run([sys.executable, path], "", limit, self.env_get("default", ""), TOP)
        lines = [line for line in got.stdout.splitlines() if line.strip()]
        found = re.fullmatch(r"(\d+) passed, (\d+) failed(, \d+ skipped)?", lines[-1] if lines else "")
        if found and found.group(2) == "0" and got.status == 0:
            for line in [x for x in lines if x.startswith("skipped:")] + lines[-1:]:
                print(f"{os.path.relpath(path, TOP)}: {line}")
            return None
        why = f"still running after {limit:g} s\n" if got.timed_out else f"exit status {got.status}\n"
        return why + "\n".join((got.stdout + got.stderr).splitlines()[-60:])

    # --- all of it -----------------------------------------------------------------------

    def twice(self, function, case, variant):
        """Runs a test; under `cached` once more, with the translations that the first run left."""
        why = function(case, variant)
        return why or (function(case, variant) if variant == "cached" else None)

    def collect(self):
        """[(name, function, reason to skip or None)]"""
        tests = []
        for path in [os.path.join(TOP, "tools", "layers.py")] + sorted(glob.glob(os.path.join(HERE, "*", "*.py"))):
            if '__name__ == "__main__"' in open(path, encoding="utf-8").read():  # the others are modules
                name = os.path.relpath(path, HERE if path.startswith(HERE) else TOP)
                tests.append((name, lambda p=path: self.script_run(p), "", None))
        for path in sorted(glob.glob(os.path.join(HERE, "guest", "*.c"))):
            case = guest_parse(path)
            for variant in [*VARIANTS, "dynamic"]:
                tests.append((f"{case.name}[{variant}]", lambda c=case, v=variant: self.twice(self.guest_run, c, v),
                              case.get("needs") + (" qemu" if case.get("oracle") == "qemu" else ""),
                              case.skips.get(variant)))
        for path in sorted(glob.glob(os.path.join(HERE, "*", "*.test"))):
            for case in cases_parse(path):
                for variant in VARIANTS if case.get("permute") == "yes" else ["default"]:
                    tests.append((f"{case.name}[{variant}]", lambda c=case, v=variant: self.twice(self.case_run, c, v),
                                  case.get("needs"), case.skips.get(variant)))
        return tests

    def selected(self, tests):
        wanted = self.options.patterns
        return [t for t in tests if not wanted or any(w in t[0] or fnmatch.fnmatch(t[0], w) for w in wanted)]

    def one(self, name, function, needs, skip):
        started = time.monotonic()
        why = skip or self.lack_find(needs)
        if why:
            with self.lock:
                self.skipped += 1
                self.skips.setdefault(why, []).append(name)
            return
        try:
            problem = function()
        except Exception as error:  # a broken test is a failed test, and the rest go on
            problem = f"{type(error).__name__}: {error}"
        with self.lock:
            seconds = time.monotonic() - started
            self.times.append((seconds, name))
            if problem is None:
                self.passed += 1
                if self.options.verbose:
                    print(f"ok   {name} {seconds:.2f} s", flush=True)
            else:
                self.failed += 1
                self.failures.append(name)
                print(f"FAIL {name}\n" + "\n".join("     " + line for line in problem.splitlines()), flush=True)

    def run(self):
        tests = self.selected(self.collect()) * self.options.repeat
        if self.options.list:
            print("\n".join(t[0] for t in tests))
            return 0
        try:
            with concurrent.futures.ThreadPoolExecutor(self.options.jobs) as pool:
                list(pool.map(lambda t: self.one(*t), tests))
        finally:
            subprocess.run(["rm", "-rf", "--one-file-system", self.work], check=False)
            for root in filter(None, self.roots.values()):
                os.unlink(root + self.inside)
        for why, names in sorted(self.skips.items()):
            print(f"skipped: {', '.join(names)}: {why}")
        if self.options.times:
            for seconds, name in sorted(self.times, reverse=True)[:self.options.times]:
                print(f"{seconds:8.2f} s {name}")
        if self.failures:
            print("failed: " + " ".join(sorted(set(self.failures))))
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        return 1 if self.failed or not tests else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", metavar="TEST", help="part of a test's name, or a pattern with *")
    parser.add_argument("--build", default=os.path.join(TOP, "build"), help="build directory (default: build)")
    parser.add_argument("--isomer", help="the program under test (default: BUILD/isomer)")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=1, help="of the scripts that make random cases")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="run each selected test N times")
    parser.add_argument("--slack", type=float, default=1, metavar="X", help="multiply every time limit (sanitizers)")
    parser.add_argument("--bless", action="store_true", help="rewrite golden text to what is printed now")
    parser.add_argument("--times", type=int, default=0, metavar="N", help="print the N slowest tests")
    parser.add_argument("--list", action="store_true", help="print the names of the tests and stop")
    parser.add_argument("-v", "--verbose", action="store_true")
    for ignored in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):  # what nohup and background jobs hand down
        if signal.getsignal(ignored) == signal.SIG_IGN:
            signal.signal(ignored, signal.SIG_DFL)
    try:
        return Runner(parser.parse_args()).run()
    except Bad as error:
        print(error)
        print("0 passed, 1 failed, 0 skipped")
        return 1


if __name__ == "__main__":
    sys.exit(main())
