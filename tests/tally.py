# SPDX-License-Identifier: Apache-2.0
"""What test scripts count by. A script calls check for each thing that must be so, and ends with sys.exit(finish())."""
passed = failed = 0


def check(good, what):
    """What is not so is printed. Returns whether it is."""
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    if not good:
        print("FAILED:", what)
    return bool(good)


def finish():
    """Prints the line that run.py looks for; the exit status."""
    print(f"{passed} passed, {failed} failed")
    return failed != 0
