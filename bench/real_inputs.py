# SPDX-License-Identifier: Apache-2.0
"""What the programs of bench/real.py work on: sources, scripts, data. All made here, from a seed: every run is given the same."""
import os
import random


def c_source(functions, seed):
    """A C file like those that people write: structures, loops, switches, string functions, tables."""
    r = random.Random(seed)
    out = ["#include <stdio.h>", "#include <stdlib.h>", "#include <string.h>", "#include <stdint.h>", "",
           "typedef struct Node { struct Node *next; char name[32]; int64_t key; double weight; } Node;",
           "static Node *head;", f"static const int table[16] = {{{', '.join(str(r.randrange(1000)) for _ in range(16))}}};", ""]
    for i in range(functions):
        a, b, c = (r.randrange(3, 200) for _ in range(3))
        kind = i % 4
        out.append(f"static long work{i}(long x, const char *s) {{")
        if kind == 0:
            out += [f"    long sum = {a};", f"    for (long j = 0; j < x; j++) {{", f"        sum = sum * {b} + table[j & 15];",
                    f"        if (sum % {c} == 3 && s[j % 7] != 'q') sum ^= j << {a % 7};", "    }", "    return sum;"]
        elif kind == 1:
            out.append(f"    switch ((x + {a}) % 9) {{")
            out += [f"    case {k}: return {r.randrange(1000)} + (long)strlen(s) * {k + b};" for k in range(7)]
            out += [f"    default: return x / {c};", "    }"]
        elif kind == 2:
            out += ["    Node *n = calloc(1, sizeof *n);", "    if (!n) abort();",
                    f"    snprintf(n->name, sizeof n->name, \"%s-%ld\", s, x + {a});", f"    n->key = x * {b};",
                    f"    n->weight = (double)x / {c}.5;", "    n->next = head;", "    head = n;", "    return n->key;"]
        else:
            out += [f"    long found = {a};", "    for (Node *n = head; n; n = n->next) {",
                    f"        if (n->key % {b} == {c % b} || !strcmp(n->name, s)) found += (long)(n->weight * {c});",
                    f"        else if (memchr(n->name, '{chr(97 + a % 26)}', sizeof n->name)) found--;", "    }", "    return found;"]
        out += ["}", ""]
    out += ["long run(long x, const char *s) {", "    long sum = 0;"]
    out += [f"    sum += work{i}(x + {i}, s);" for i in range(functions)]
    return "\n".join(out + ["    return sum;", "}", ""])


CXX = """#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>
struct Item { std::string name; double weight; std::vector<int> parts; };
class Store {
    std::map<std::string, std::shared_ptr<Item>> items;
public:
    void add(const std::string &name, double weight) { items[name] = std::make_shared<Item>(Item{name, weight, {1, 2, 3}}); }
    std::vector<std::shared_ptr<Item>> heavy(double least) const {
        std::vector<std::shared_ptr<Item>> out;
        for (const auto &[name, item] : items) if (item->weight >= least) out.push_back(item);
        std::sort(out.begin(), out.end(), [](const auto &a, const auto &b) { return a->weight < b->weight; });
        return out;
    }
};
int main() {
    Store store;
    for (int i = 0; i < 100; i++) store.add("item" + std::to_string(i), i * 7 % 31);
    std::map<int, std::vector<std::string>> groups;
    for (const auto &item : store.heavy(3)) groups[int(item->weight) % 5].push_back(item->name);
    for (const auto &[key, names] : groups)
        std::cout << key << ' ' << std::count_if(names.begin(), names.end(), [](const auto &n) { return n.size() > 5; }) << '\\n';
}
"""


def make_tree(path, count):
    os.makedirs(path)
    names = [f"part{i}" for i in range(count)]
    for i, name in enumerate(names):
        with open(os.path.join(path, name + ".c"), "w") as f:
            f.write(f'#include "parts.h"\n#include <stdio.h>\nint {name}(int x) {{\n    for (int i = 0; i < {i + 3}; i++) x = x * {2 * i + 3} + i;\n'
                    f'    printf("%d\\n", x);\n    return x;\n}}\n')
    with open(os.path.join(path, "parts.h"), "w") as f:
        f.write("".join(f"int {name}(int x);\n" for name in names))
    with open(os.path.join(path, "Makefile"), "w") as f:
        f.write("CFLAGS = -O1 -Wall\nSOURCES := $(sort $(wildcard part*.c))\nOBJECTS := $(SOURCES:.c=.o)\n\nlibparts.a: $(OBJECTS)\n"
                "\t$(AR) rcs $@ $^\n\n%.o: %.c parts.h\n\t$(CC) $(CFLAGS) -c -o $@ $<\n")


def configure_script():
    """The work of an autoconf script, written anew: many small processes, small compilations, a template filled in at the end."""
    out = ["#!/bin/sh", "set -e", "echo >config.log; echo >confdefs.h", "note() { echo \"$1... $2\"; echo \"$1: $2\" >>config.log; }",
           "upper() { echo \"$1\" | sed 'y/abcdefghijklmnopqrstuvwxyz.\\/-/ABCDEFGHIJKLMNOPQRSTUVWXYZ___/'; }",
           "try() {  # WHAT NAME PROGRAM", "    printf '%s\\n' \"$3\" | cat confdefs.h - >conftest.c",
           "    if gcc -c -o conftest.o conftest.c 2>conftest.err && test -s conftest.o; then",
           "        note \"checking for $1\" yes; echo \"#define HAVE_$(upper \"$2\") 1\" >>confdefs.h",
           "    else note \"checking for $1\" no; grep -c . conftest.err >>config.log || :; fi",
           "    rm -f conftest.c conftest.o conftest.err", "}",
           "for tool in grep sed awk ar ranlib install mkdir none-such; do",
           "    old=$IFS; IFS=:; found=no", "    for dir in $PATH; do if test -x \"$dir/$tool\"; then found=$dir/$tool; break; fi; done", "    IFS=$old",
           "    note \"checking for $tool\" \"$found\"", "done",
           "note 'checking version of gcc' \"$(gcc --version | sed -n '1s/.* \\([0-9.]*\\)$/\\1/p')\"",
           "note 'checking the longest line' \"$(i=0; s=x; while test $i -lt 8; do s=$s$s; i=$(expr $i + 1); done; echo $s | wc -c | tr -d ' ')\""]
    for header in ("stdio.h", "stdlib.h", "sys/types.h", "unistd.h", "no/such.h", "pthread.h"):
        out.append(f"try '{header}' '{header}' '#include <{header}>'")
    for function in ("memcpy", "strlcpy_none", "mmap", "getrandom"):
        out.append(f"try '{function}' '{function}' 'char {function}(void); int main(void) {{ return {function}() != 0; }}'")
    out += ["for var in prefix exec_prefix bindir libdir datadir mandir CC CFLAGS LDFLAGS; do",
            "    value=$(echo \"$var\" | tr a-z A-Z | cut -c1-4)/$(basename \"/x/$var\" .x)",
            "    echo \"s|@$var@|$value|g\" >>conf.sed; echo \"$var = @$var@\" >>Makefile.in", "done",
            "sed -f conf.sed Makefile.in >Makefile.out", "awk '/^#define/ {n++; print n, $2}' confdefs.h | sort -r | head -n 20",
            "case $(uname -s)-$(date +%Y | wc -c) in Linux-*) note 'checking system' ok ;; *) note 'checking system' odd ;; esac",
            "test \"$(wc -l <Makefile.out)\" -eq 9 && grep -c / Makefile.out", "rm -f conf.sed Makefile.in"]
    return "\n".join(out) + "\n"


PYTHON = """import json, re, collections
rows = [{"id": i, "name": "user%d" % (i * 7919 % 1000), "tags": ["t%d" % (i % 7), "x"], "v": i * 0.5} for i in range(3000)]
text = json.dumps(rows)
back = json.loads(text)
words = re.findall(r"user(\\d+)", text)
count = collections.Counter(w[-1] for w in words)
table = {}
for i in range(120000):
    table[i % 997] = table.get(i % 997, 0) + i
class P:
    def __init__(self, x): self.x = x
    def step(self): self.x = (self.x * 31 + 7) % 65521; return self.x
p = P(1)
total = sum(p.step() for _ in range(60000))
print(len(text), len(back), sorted(count.items())[:3], sum(table.values()), total, re.sub(r"(\\w)(\\d+)", r"\\2\\1", text)[:40])
"""

PERL = """use strict; my (%h, @w); my $x = 1;
for my $i (1 .. 60000) { $x = ($x * 1103 + 12345) % 65536; push @w, "k$x" if $i % 3 == 0; $h{$x % 500} += $i; }
my $t = join ' ', @w; my $n = 0; $n++ while $t =~ /k(\\d)\\d*5\\b/g; $t =~ s/k(\\d+)/<$1>/g;
print "$n ", length($t), " ", join(',', map { "$_=$h{$_}" } (sort { $h{$b} <=> $h{$a} || $a <=> $b } keys %h)[0 .. 4]), "\\n";
"""

AWK = """{ sum[$2] += $3; n[$2]++; if ($4 ~ /^a.*e$/) hits++; line = line substr($4, 1, 1); if (length(line) > 60) line = "" }
END { for (k in sum) if (sum[k] / n[k] > best) { best = sum[k] / n[k]; who = k } printf "%s %.3f %d %d %s\\n", who, best, hits, NR, toupper(line) }
"""

SQL = """create table t(id integer primary key, name text, v real, k int);
with recursive c(i) as (select 1 union all select i + 1 from c where i < 20000)
insert into t select i, 'name' || (i * 7919 % 5000), i * 0.25, i * 31 % 977 from c;
create index tk on t(k, name);
select count(*), sum(v), min(name), max(name) from t where k between 100 and 300;
select k, count(*) n, avg(v) from t group by k order by n desc, k limit 5;
select a.name, b.v from t a join t b on a.k = b.k and a.id < b.id order by a.name, b.v limit 3;
update t set v = v + k where name like '%99%';
select round(total(v), 2) from t;
"""

LOOP = "i=0; while [ $i -lt 200 ]; do /usr/bin/true; i=$((i + 1)); done; echo $i\n"


def log(size, seed):
    """Text that compresses as logs do: few words are most of it."""
    r = random.Random(seed)
    words = ["".join(r.choice("etaoinshrdlu") for _ in range(r.randrange(2, 10))) for _ in range(4000)]
    weights = [1 / (k + 1) for k in range(len(words))]
    out, n = [], 0
    while n < size:
        line = (f"2026-{r.randrange(1, 13):02}-{r.randrange(1, 29):02} g{r.randrange(40)} {r.randrange(1000) / 10} {r.choice(words)} "
                f"[{r.randrange(30000)}]: {' '.join(r.choices(words, weights, k=r.randrange(3, 12)))} 0x{r.randrange(1 << 32):x}\n")
        out.append(line)
        n += len(line)
    return "".join(out)[:size]


def write_all(folder):
    """Fills `folder` with all of it."""
    files = {"medium.c": c_source(160, 1), "store.cc": CXX, "configure": configure_script(), "work.py": PYTHON, "work.pl": PERL, "work.awk": AWK,
             "work.sql": SQL, "loop.sh": LOOP, "log": log(4 << 20, 2), "short.log": log(1 << 20, 3), "hello.c": '#include <stdio.h>\nint main(void) { puts("hello"); }\n'}
    os.makedirs(folder)
    for name, text in files.items():
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)
    make_tree(os.path.join(folder, "tree"), 40)
