#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every option that a command's --help prints is in its manual page and in the completions of three shells; pages are good roff; bash completes."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from tally import check, finish  # noqa: E402

ISOMER = os.environ["ISOMER"]
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BASH, ZSH, FISH = "share/bash-completion/completions/isomer", "share/zsh/vendor-completions/_isomer", "share/fish/vendor_completions.d/isomer.fish"


def output(command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **more).stdout


def complete(folder, words):
    """What bash offers after these words, the last of them half typed."""
    script = f"source {folder}/{BASH}; COMP_WORDS=({' '.join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1}; _isomer; echo \"${{COMPREPLY[*]}}\""
    return output(["bash", "-c", script], cwd=folder).split()


def check_options(folder, command, shells):
    page = open(f"{folder}/share/man/man1/isomer-{command}.1", encoding="utf-8").read().replace("\\-", "-")
    options = re.findall(r"^ {0,2}(--?[A-Za-z0-9][\w-]*)", output([ISOMER, command, "--help"]), re.M)
    for option in options:
        name = option.lstrip("-")
        check(f"\\fB{option}\\fR" in page, f"{option} is not in the manual page of {command}")
        check(re.search(rf"^    {command}\) words='[^']* ?{option}[ ']|^    {command}\) words='{option}[ ']", shells["bash"], re.M), f"bash: {command} {option}")
        check(re.search(rf"^    '{option}\[", shells["zsh"].partition(f"\n{command}) ")[2].partition(";;")[0], re.M), f"zsh: {command} {option}")
        check(re.search(rf"from {command}' -[los] {name} ", shells["fish"]), f"fish: {command} {option}")
    return len(options)


def main():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, TOP + "/tools/manual.py", ISOMER, folder], check=True)
        shells = {name: open(f"{folder}/{path}", encoding="utf-8").read() for name, path in (("bash", BASH), ("zsh", ZSH), ("fish", FISH))}
        commands = re.findall(r"^  (\w+) ", output([ISOMER, "--help"]), re.M)
        found = sum(check_options(folder, c, shells) for c in commands)
        check(len(commands) >= 8 and found >= 60, f"{found} options of {len(commands)} commands: more are there")
        for name in os.listdir(folder + "/share/man/man1") if shutil.which("groff") else []:
            check(output(["groff", "-man", "-Tutf8", "-ww", "-z", f"{folder}/share/man/man1/{name}"]) == "", f"roff of {name}")
        check(complete(folder, ["isomer", "bo"]) == ["boot"], "bash: isomer bo")
        check(complete(folder, ["isomer", "binfmt", "doc"]) == ["doctor"], "bash: isomer binfmt doc")
        check(complete(folder, ["isomer", "boot", "--engine", "i"]) == ["interp"], "bash: isomer boot --engine i")
        check("--kernel" in complete(folder, ["isomer", "boot", "--k"]), "bash: isomer boot --k")
        for shell, path in (("zsh", ZSH), ("fish", FISH)):
            if shutil.which(shell):
                check(subprocess.run([shell, "-n", f"{folder}/{path}"], check=False).returncode == 0, f"{shell} -n")
    return finish()


if __name__ == "__main__":
    sys.exit(main())
