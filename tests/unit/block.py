#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Disk images: random requests against a plain file, and SIGKILL under load; qemu-img makes images, checks them, and compares.
Environment: BUILD, SEED, BLOCK_KILLS (how often to kill: 20). Ends with "N passed, N failed"."""
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from tally import check, finish  # noqa: E402

TOOL = os.path.join(os.environ["BUILD"], "tests", "unit", "block_test")
SEED = int(os.environ.get("SEED", "1"))
KILLS = int(os.environ.get("BLOCK_KILLS", "20"))
MIB = 1 << 20


def run(*argv):
    return subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def sound(image, leaks=False):
    """qemu-img finds no errors (3: leaks only), or there is no qemu-img."""
    done = run("qemu-img", "check", "-f", "qcow2", image)
    check(done.returncode == 0 or leaks and done.returncode == 3, f"qemu-img check {image}: {done.returncode}\n{done.stdout[-600:]}")


def exercise(name, image, model, count, mode="random"):
    done = run(TOOL, mode, image, model, SEED, count)
    check(done.returncode == 0, f"{name}, {mode}: status {done.returncode}\n{done.stdout[-800:]}")
    sound(image)
    same = run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", image, model)
    check(same.returncode == 0, f"{name}, {mode}: {same.stdout}")


def plain_make(path, size, fill=True):
    with open(path, "wb") as out:
        if fill:
            out.write(random.Random(SEED).randbytes(min(size, 3 * MIB)))
        out.truncate(size)


def formats(work):
    """Images of all shapes that qemu-img makes."""
    shapes = {"plain": [], "small clusters": ["cluster_size=512"], "large clusters": ["cluster_size=2M"], "version 2": ["compat=0.10"],
              "wide counts": ["refcount_bits=64"], "narrow counts": ["refcount_bits=1"], "allocated": ["preallocation=metadata"]}
    for name, options in shapes.items():
        image, model, size = f"{work}/a.qcow2", f"{work}/a.raw", 24 * MIB + 512
        run("qemu-img", "create", "-f", "qcow2", "-o", ",".join(options + ["lazy_refcounts=off"] if "compat=0.10" not in options else options), image, size)
        plain_make(model, size, fill=False)
        exercise(name, image, model, 1500)
        exercise(name, image, model, 3000, "threads")


def standing(work):
    """Images on others: raw, qcow2, compressed both ways, with an internal snapshot."""
    base, size = f"{work}/base.raw", 8 * MIB
    plain_make(base, size)
    for name, options in {"raw": None, "zlib": ["-c"], "zstd": ["-c", "-o", "compression_type=zstd"], "qcow2": []}.items():
        backing, kind = base, "raw"
        if options is not None:
            backing, kind = f"{work}/base-{name}.qcow2", "qcow2"
            run("qemu-img", "convert", "-O", "qcow2", *options, base, backing)
        image, model = f"{work}/over-{name}.qcow2", f"{work}/over.raw"
        done = run(TOOL, "create", image, 10 * MIB, os.path.basename(backing), kind)
        check(done.returncode == 0, done.stdout)
        sound(image)
        shutil.copy(base, model)
        os.truncate(model, 10 * MIB)
        exercise(f"on {name}", image, model, 800)
        exercise(f"on {name}", image, model, 3000, "threads")
        if options:  # the compressed image itself, written to
            shutil.copy(base, model)
            exercise(f"compressed by {name}", backing, model, 800)
    image, model = f"{work}/snap.qcow2", f"{work}/snap.raw"
    run("qemu-img", "convert", "-O", "qcow2", base, image)
    run("qemu-img", "snapshot", "-c", "one", image)
    shutil.copy(base, model)
    exercise("with a snapshot", image, model, 800)
    run("qemu-img", "snapshot", "-a", "one", image)
    check(run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", image, base).returncode == 0, "a snapshot was written to")


def refusals(work):
    """Images that are not to be trusted, and why."""
    image, secret = f"{work}/bad.qcow2", f"{work}/secret"
    plain_make(secret, MIB)
    good = f"{work}/good.qcow2"
    run("qemu-img", "create", "-f", "qcow2", good, "10M")
    data = bytearray(open(good, "rb").read())
    for at, value, word in ((4, 9, "version"), (20, 40, "clusters"), (20, 8, "clusters"), (24, 0xff, "size"), (32, 1, "encrypted"), (36, 0, "size"),
                            (36, 0xff, "size"), (47, 1, "misplaced"), (79, 4, "another file"), (79, 1, "not closed well"), (78, 1, "not supported"), (99, 7, "counts")):
        bad = bytearray(data)
        if word in ("version", "clusters", "encrypted"):
            at += 3
        if at == 36:
            bad[36:40] = bytes(4) if not value else b"\xff" * 4
        bad[at] = value
        open(image, "wb").write(bad)
        done = run(TOOL, "random", image, secret, 1, 1)
        check(done.returncode == 1 and word in done.stdout, f"byte {at} = {value}: {done.stdout}")
    run("qemu-img", "create", "-f", "qcow2", "-F", "raw", "-b", f"{work}/nowhere", "-u", image, "1M")
    done = run(TOOL, "random", image, secret, 1, 1)
    check(done.returncode == 1 and "nowhere" in done.stdout, f"a backing file that is not there: {done.stdout}")
    plain_make(secret, MIB, fill=False)
    exercise_raw(work, secret)


def exercise_raw(work, model):
    disk = f"{work}/plain.raw"
    shutil.copy(model, disk)
    check(run(TOOL, "random", disk, model, SEED, 500).returncode == 0, "a raw disk")
    check(run("cmp", disk, model).returncode == 0, "a raw disk differs")


def kills(work):
    """SIGKILL at a random moment: the image is sound, and what was flushed is there."""
    image = f"{work}/kill.qcow2"
    run(TOOL, "create", image, 64 * MIB)
    pick = random.Random(SEED)
    for k in range(KILLS):
        if k % 10 == 0:
            os.unlink(image)
            run(TOOL, "create", image, 64 * MIB)
        with tempfile.TemporaryFile() as out:
            child = subprocess.Popen([TOOL, "stamp", image, str(pick.randrange(1 << 30))], stdout=out)
            time.sleep(pick.uniform(0.02, 0.25))
            child.kill()
            child.wait()
            out.seek(0)
            lines = out.read().decode().split("\n")
        last = int(lines[-2]) if len(lines) > 1 else 0
        sound(image, leaks=True)
        done = run(TOOL, "verify", image, last)
        check(done.returncode == 0, f"kill {k}, {last} flushed: {done.stdout[-300:]}")
        run("qemu-img", "check", "-r", "leaks", image)


def main():
    if not shutil.which("qemu-img"):
        print("0 passed, 0 failed, 1 skipped")
        return 0
    with tempfile.TemporaryDirectory() as work:
        formats(work)
        standing(work)
        refusals(work)
        kills(work)
    return finish()


if __name__ == "__main__":
    sys.exit(main())
