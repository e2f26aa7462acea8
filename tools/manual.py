#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes manual pages and completions of what `isomer COMMAND --help` prints, which comes from the commands' own tables: an option is told there and nowhere else.
What a page says besides (files, examples, exit status) is packaging/manual.txt.

usage: manual.py ISOMER PREFIX   writes them below PREFIX/share, where Debian has such files
"""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


class Option:
    """--name ARG, with what it means; `choices` if ARG is a list of words."""

    def __init__(self, text, help):
        self.name, _, self.arg = text.partition(" ")
        self.help = help
        words = re.split(r" ?\| ?|,", self.arg)
        self.choices = words if len(words) > 1 and all(re.fullmatch(r"[a-z0-9-]+", w) for w in words) else []


class Command:
    """What the help of one command says: usage lines, paragraphs, options, verbs."""

    def __init__(self, isomer, name, summary):
        self.name, self.summary, self.options, about = name, summary, [], []
        text = subprocess.run([isomer, name, "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout
        head, _, rest = text.partition("\n\n") if name != "run" else text.partition("\n")
        self.usage = [re.sub(r"^(usage:)?\s*", "", line) for line in head.splitlines()]
        lines = iter(rest.splitlines())
        for line in lines:
            table = re.fullmatch(r"(-\S+(?: \S+)*?)\s{2,}(?:(QEMU_\w+)\s+)?(.*)|(-\S+)\s{2,}(.*)", line)
            if re.match(r"  -", line):
                self.options.append(Option(line.strip(), next(lines).strip()))
            elif table and name == "run":
                variable = f" (variable {table[2]})" if table[2] else ""
                self.options.append(Option(table[1], table[3] + variable))
            elif not line.startswith("option "):
                about.append(line)
        self.about = "\n".join(about).strip("\n")

    def verbs(self):
        """Words of which one must follow the command: `isomer cache status|clear`."""
        found = []
        for line in self.usage:
            word = (line.split() + ["", "", ""])[2]
            found += word.split("|") if re.fullmatch(r"[a-z]+(\|[a-z]+)*", word) else []
        return found


def commands_read(isomer):
    text = subprocess.run([isomer, "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout
    rows = re.findall(r"^  (\w+) +(.*)$", text, re.M)
    return [Command(isomer, name, re.sub(r" \(isomer .*\)$", "", summary)) for name, summary in rows]


def notes_read():
    """{page: [(section, text)]} of manual.txt: "== PAGE", "= SECTION", text."""
    notes, page = {}, None
    for line in open(os.path.join(HERE, "..", "packaging", "manual.txt"), encoding="utf-8"):
        if line.startswith("== "):
            page = notes.setdefault(line[3:].strip(), [])
        elif line.startswith("= "):
            page.append((line[2:].strip(), ""))
        elif page:
            page[-1] = (page[-1][0], page[-1][1] + line)
    return notes


# --- manual pages -------------------------------------------------------------------------------


def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in text.split("\n"))


def paragraphs(text):
    """Indented lines stay as they are; others are filled."""
    out = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        if all(line.startswith("  ") for line in block.splitlines()):
            out.append(".PP\n.nf\n" + roff(block) + "\n.fi")
        else:
            out.append(".PP\n" + roff(block))
    return "\n".join(out)


def page(name, summary, usage, body, notes, version, others):
    out = [f'.TH {name.upper()} 1 "" "isomer {version}" "Isomer"', ".SH NAME", f"{roff(name)} \\- {roff(summary)}", ".SH SYNOPSIS", ".nf", roff("\n".join(usage)), ".fi", *body]
    for section, text in notes:
        out += [".SH " + section, paragraphs(text)]
    see = ", ".join(f".BR {roff(o)} (1)" for o in others if o != name)
    return "\n".join(out + [".SH SEE ALSO", see.replace(", ", ",\n")]) + "\n"


def command_page(c, notes, version, others):
    body = [".SH DESCRIPTION", paragraphs(c.about or c.summary)]
    body += [".SH OPTIONS"] if c.options else []
    for o in c.options:
        body += [".TP", f"\\fB{roff(o.name)}\\fR" + (f" \\fI{roff(o.arg)}\\fR" if o.arg else ""), roff(o.help)]
    return page(f"isomer-{c.name}", c.summary, c.usage, body, notes.get(c.name, []), version, others)


def main_page(commands, notes, version, others):
    body = [".SH DESCRIPTION", paragraphs(notes["isomer"][0][1]), ".SH COMMANDS"]
    for c in commands:
        body += [".TP", f"\\fBisomer {roff(c.name)}\\fR", roff(c.summary) + f" (isomer\\-{c.name}(1))"]
    return page("isomer", "run programs and machines of other architectures", ["isomer COMMAND [ARGUMENTS]", "isomer --version | --help"], body, notes["isomer"][1:], version, others)


# --- completions -------------------------------------------------------------------------------------


def bash(commands):
    cases = "".join(f"    {c.name}) words='{' '.join(c.verbs() + [o.name for o in c.options])}' ;;\n" for c in commands)
    choices = "".join(f"    '{c.name} {o.name}') choices='{' '.join(o.choices)}' ;;\n" for c in commands for o in c.options if o.choices)
    return f"""# bash completion for isomer; made by tools/manual.py
_isomer() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} words= choices=
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ]; then
        COMPREPLY=($(compgen -W '{' '.join(c.name for c in commands)} --help --version' -- "$current"))
        return
    fi
    case ${{COMP_WORDS[1]}} in
{cases}    esac
    case "${{COMP_WORDS[1]}} $before" in
{choices}    esac
    if [ -n "$choices" ]; then COMPREPLY=($(compgen -W "$choices" -- "$current"))
    elif [ "$COMP_CWORD" = 2 ] || [[ $current == -* ]]; then COMPREPLY=($(compgen -W "$words" -- "$current") $(compgen -f -- "$current"))
    fi
}}
complete -o filenames -o bashdefault -o default -F _isomer isomer
"""


def quote(text, special):
    return re.sub(f"([{re.escape(special)}])", r"\\\1", text).replace("'", "'\\''")


def zsh(commands):
    out = ["#compdef isomer", "# made by tools/manual.py", "local -a commands", "commands=("]
    out += [f"  '{c.name}:{quote(c.summary, ':')}'" for c in commands]
    out += [")", "if (( CURRENT == 2 )); then _describe command commands; return; fi", "local command=$words[2]", "shift words; (( CURRENT-- ))", "case $command in"]
    for c in commands:
        out.append(f"{c.name}) _arguments \\")
        for o in c.options:
            value = f":{quote(o.arg, ':[]')}:" + (f"({' '.join(o.choices)})" if o.choices else "_files") if o.arg else ""
            out.append(f"    '{o.name}[{quote(o.help, '[]:')}]{value}' \\")
        out.append(f"    '1:word:({' '.join(c.verbs())})' '*:file:_files' ;;" if c.verbs() else "    '*:file:_files' ;;")
    return "\n".join(out + ["esac"]) + "\n"


def fish(commands):
    out = ["# made by tools/manual.py"]
    for c in commands:
        out.append(f"complete -c isomer -n __fish_use_subcommand -a {c.name} -d '{quote(c.summary, chr(92))}'")
        here = f"-n '__fish_seen_subcommand_from {c.name}'"
        out += [f"complete -c isomer {here} -a '{' '.join(c.verbs())}'"] if c.verbs() else []
        for o in c.options:
            kind, name = ("-l", o.name[2:]) if o.name.startswith("--") else ("-s" if len(o.name) == 2 else "-o", o.name[1:])
            value = f" -xa '{' '.join(o.choices)}'" if o.choices else " -r" if o.arg else ""
            out.append(f"complete -c isomer {here} {kind} {name}{value} -d '{quote(o.help, chr(92))}'")
    return "\n".join(out) + "\n"


def main(isomer, prefix):
    commands, notes = commands_read(isomer), notes_read()
    version = subprocess.run([isomer, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[1]
    others = ["isomer"] + [f"isomer-{c.name}" for c in commands]
    files = {"man/man1/isomer.1": main_page(commands, notes, version, others), "bash-completion/completions/isomer": bash(commands),
             "zsh/vendor-completions/_isomer": zsh(commands), "fish/vendor_completions.d/isomer.fish": fish(commands)}
    files.update({f"man/man1/isomer-{c.name}.1": command_page(c, notes, version, others) for c in commands})
    for name, text in files.items():
        path = os.path.join(prefix, "share", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
