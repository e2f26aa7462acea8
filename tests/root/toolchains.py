#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Toolchains inside a root: each compiles a program that has threads or children, and runs it, ROUNDS times (20); then databases, containers, debuggers, packages, once.
The root, ISOMER_BIG_ROOT, is made by
  isomer root create --include build-essential,python3,perl,default-jdk-headless,nodejs,golang,rustc,erlang,git,postgresql,strace,gdb,bubblewrap,util-linux,procps,ca-certificates riscv64 FOLDER
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import tally  # noqa: E402

ISOMER, ROOT, ROUNDS = os.environ["ISOMER"], os.environ.get("ISOMER_BIG_ROOT"), int(os.environ.get("ROUNDS", "20"))
SLACK = float(os.environ.get("SLACK", "1"))
# Name: file, source with @ for the round, command, what it prints.
ROUND = {
    "c": ("h.c", "#include <stdio.h>\n#include <pthread.h>\nstatic void *f(void *a) { *(int *)a += @; return 0; }\nint main(void) { int x = 1; pthread_t t; pthread_create(&t, 0, f, &x); pthread_join(t, 0); printf(\"c %d\\n\", x - @); }\n",
          "gcc -O2 h.c -o hc -pthread && ./hc", "c 1\n"),
    "c++": ("h.cc", "#include <iostream>\n#include <vector>\n#include <stdexcept>\nint main() { try { std::vector<int> v(@ + 1); v.at(@ + 7) = 1; } catch (std::out_of_range &e) { std::cout << \"caught\\n\"; } }\n",
            "g++ -O2 h.cc -o hcc && ./hcc", "caught\n"),
    "python": ("h.py", "import subprocess, multiprocessing\ndef f(x): return x * x + @\nif __name__ == '__main__':\n    with multiprocessing.Pool(2) as p: print(sum(p.map(f, range(100))) - 100 * @, subprocess.check_output(['uname', '-m'], text=True).strip())\n",
               "python3 h.py", "328350 riscv64\n"),
    "perl": ("h.pl", "print join(',', map { $_ * 2 } 1..5), ' ', `uname -m`; # @\n", "perl h.pl", "2,4,6,8,10 riscv64\n"),
    "java": ("T.java", "public class T { public static void main(String[] a) throws Exception { long s = @; for (int i = 0; i < 3000000; i++) s += i ^ (i >> 3); long r = s - @; Thread t = new Thread(() -> System.out.println(\"thread\")); "
             "t.start(); t.join(); System.out.println(r + \" \" + new ProcessBuilder(\"true\").start().waitFor()); } }\n", "javac T.java && java T", None),
    "node": ("h.js", "const {execSync} = require('child_process'); let s = 0; for (let i = 0; i < 3e6; i++) s = (s + i * i) % 1000003; console.log(s, execSync('uname -m').toString().trim()); // @\n", "node h.js", "999718 riscv64\n"),
    "go": ("h.go", "package main\nimport (\"fmt\"; \"os/exec\"; \"sync\")\nfunc main() { var w sync.WaitGroup; var m sync.Mutex; s := @; for i := 0; i < 100; i++ { w.Add(1); go func() { defer w.Done(); m.Lock(); s += i; m.Unlock() }() }; w.Wait(); "
           "o, err := exec.Command(\"uname\", \"-m\").Output(); fmt.Print(s - @, \" \", err, \" \", string(o)) }\n", "GOCACHE=$PWD/gocache go build -o hgo h.go && ./hgo", "4950 <nil> riscv64\n"),
    "rust": ("h.rs", "use std::{thread, process::Command};\nfn main() { let h: Vec<_> = (0..10u64).map(|i| thread::spawn(move || i * i + @)).collect(); let s: u64 = h.into_iter().map(|t| t.join().unwrap()).sum(); "
             "let o = Command::new(\"uname\").arg(\"-m\").output().unwrap(); print!(\"{} {}\", s - 10 * @, String::from_utf8_lossy(&o.stdout)); }\n", "rustc -O h.rs -o hrs && ./hrs", "285 riscv64\n"),
    "erlang": ("h.erl", "-module(h). -export([main/0]).\nmain() -> P = self(), [spawn(fun() -> P ! I * I + @ end) || I <- lists:seq(1, 1000)], S = lists:sum([receive X -> X end || _ <- lists:seq(1, 1000)]), "
               "io:format(\"~p ~s\", [S - 1000 * @, os:cmd(\"uname -m\")]), halt().\n", "erlc h.erl && erl -noshell -s h main", "333833500 riscv64\n"),
    "git": ("x", "@\n", "rm -rf g && git init -q g && cd g && git -c user.name=a -c user.email=b commit -q --allow-empty -m x && git log --format=%s", "x\n"),
}
ONCE = {
    "bwrap": ("bwrap --dev-bind / / echo a; bwrap --unshare-all --ro-bind / / --proc /proc --dev /dev id -u", "a\n0\n"),
    "unshare": ("unshare -Ur id -u; unshare --mount --pid --fork --mount-proc sh -c 'echo $$'", "0\n1\n"),
    "strace": ("strace -f -o log sh -c 'ls /; true' >/dev/null; grep -c '^[0-9]* *execve(' log; tail -n 1 log | grep -o 'exited with 0'", "2\nexited with 0\n"),
    "gdb": ("printf 'int g(int x){return x*2;}\\nint main(void){return g(21);}\\n' >d.c; gcc -g d.c -o d; gdb -batch -ex 'break g' -ex run -ex bt -ex continue ./d 2>&1 | grep -oE '^#1.* in main|exited with code 052' | sed 's/0x[0-9a-f]* //'", "#1  in main\nexited with code 052\n"),
    "apt": ("apt-get -qq update; apt-get -qq -y install --reinstall hello >/dev/null 2>&1; hello", "Hello, world!\n"),
    "postgresql": ("pg_ctlcluster 17 main start; su postgres -c \"psql -Atc 'select sum(i) from generate_series(1,100000) i'\"; su postgres -c 'dropdb --if-exists t 2>/dev/null; createdb t; pgbench -i -q t >/dev/null 2>&1; "
                   "pgbench -c 4 -j 2 -t 50 t 2>&1 | grep -o \"processed: 200/200\"'; pg_ctlcluster 17 main stop", "5000050000\nprocessed: 200/200\n"),
}


def check(name, script, want):
    """want None: the same as the first time."""
    done = subprocess.run([ISOMER, "shell", "--workdir", "/tmp/work", ROOT, "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=600 * SLACK, check=False)
    good = done.returncode == 0 and (want is None or done.stdout == want)
    tally.check(good, f"{name}: status {done.returncode}, wanted {want!r}:\n{done.stdout[-2000:]}")
    return done.stdout


def main():
    if not ROOT:
        print("skipped: ISOMER_BIG_ROOT names no root (it takes a quarter of an hour to make; see the script's head)\n0 passed, 0 failed, 1 skipped")
        return 0
    os.makedirs(ROOT + "/tmp/work", exist_ok=True)
    same = {}
    for k in range(1, ROUNDS + 1):
        for name, (file, source, command, want) in ROUND.items():
            with open(f"{ROOT}/tmp/work/{file}", "w", encoding="utf-8") as f:
                f.write(source.replace("@", str(k)))
            out = check(f"{name}, round {k}", command, want or same.get(name))
            same.setdefault(name, out)
    for name, (script, want) in ONCE.items():
        check(name, script, want)
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
