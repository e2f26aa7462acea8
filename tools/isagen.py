#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes everything that is derived from an instruction-set description (isa/*/*.isa, which documents the language).

    isagen.py FILE.isa PREFIX OUT.h OUT.c OUT.json

PREFIX is the name prefix of the C side, as in `rv`: enums RV_*, struct RvInsn. The outputs are
  OUT.h     the enums of operations, rows, facts and printers
  OUT.c     the decoder (a tree of switches), the tables, the alias conditions; included by the module's own C file
  OUT.json  the rows, for tests written in Python

What it refuses: a row that does not add up to 16 or 32 bits, a bit given twice, a field that neither syntax nor
constraint nor op uses, an operand that no field gives, rows that overlap, a short form of an unknown op. A bit
cannot be both fixed and in a field: the notation has no way to say it.
"""
import json
import re
import sys

IMMEDIATES = ('imm', 'uimm', 'nzimm', 'nzuimm')
MEMBERS = ('rd', 'rs1', 'rs2', 'rs3', 'rm', 'aq', 'rl', 'vm')


class Error(Exception):
    pass


def columns_of(line):
    """Splits at the bars that stand alone; those inside imm[..] do not."""
    return [c.strip() for c in re.split(r'(?<=\s)\|(?=\s|$)', line)]


class Field:
    """A declared field: how wide, which kind of register with which first number, where RvInsn keeps it."""

    def __init__(self, words):
        self.name, width, kind, self.member = words
        self.width = int(width)
        self.kind, self.base = kind[0], int(kind[1:] or 0)
        if self.kind not in 'xfvn' or self.member not in MEMBERS:
            raise Error('bad field ' + self.name)


class Slice:
    """Bits hi:lo of an instruction hold bits vhi.. of a value."""

    def __init__(self, hi, lo, vlo):
        self.hi, self.lo, self.vlo = hi, lo, vlo

    @property
    def width(self):
        return self.hi - self.lo + 1


class Row:
    def __init__(self, isa, name, bits, syntax, ext, facts='', constraints=''):
        self.isa, self.name, self.ext = isa, name, ext
        self.facts = [f for f in facts.split() if not f.startswith('do:')]
        self.semantics = next((f[3:] for f in facts.split() if f.startswith('do:')), name).replace('.', '_')
        self.short = syntax.startswith('=')
        self.syntax = syntax.lstrip('= ')
        self.constraints = constraints.split()
        self.slices = {}  # operand -> [Slice]
        self.parse_bits(bits)
        self.ident = name.replace('.', '_')

    def parse_bits(self, text):
        tokens = re.findall(r"[01]+|[a-z][a-z0-9]*'?(?:\[[0-9:|]+\])?", text)
        if ''.join(tokens) != text.replace(' ', ''):
            raise Error('cannot read bits: ' + text)
        pieces = []  # (name or None, vlo, width or text of fixed bits)
        for token in tokens:
            if token[0] in '01':
                pieces += [(None, 0, c) for c in token]
                continue
            name, _, ranges = token.partition('[')
            if name in IMMEDIATES:
                for part in ranges.rstrip(']').split('|'):
                    hi, _, lo = part.partition(':')
                    lo = int(lo or hi)
                    pieces.append((name, lo, int(hi) - lo + 1))
            elif name in self.isa.fields:
                pieces.append((name, 0, self.isa.fields[name].width))
            else:
                raise Error('unknown field ' + name)
        self.size = sum(1 if p[0] is None else p[2] for p in pieces)
        if self.size not in (16, 32):
            raise Error('%d bits' % self.size)
        self.mask = self.match = 0
        at = self.size
        seen = set()
        for name, vlo, what in pieces:
            if name is None:
                at -= 1
                self.mask |= 1 << at
                self.match |= int(what) << at
                continue
            at -= what
            self.slices.setdefault(name, []).append(Slice(at + what - 1, at, vlo))
            for bit in range(vlo, vlo + what):
                if (name, bit) in seen:
                    raise Error('%s[%d] given twice' % (name, bit))
                seen.add((name, bit))
        if len([n for n in self.slices if n in IMMEDIATES]) > 1:
            raise Error('two immediates')

    def field_mask(self, name):
        return sum(((1 << s.width) - 1) << s.lo for s in self.slices[name])

    def value_of(self, name, bits):
        return sum((bits >> s.lo & (1 << s.width) - 1) << s.vlo for s in self.slices[name])

    def c_value(self, name):
        """C expression of an operand's value, from `bits`."""
        signed = name in ('imm', 'nzimm')
        top = max(s.vlo + s.width for s in self.slices[name])
        terms = []
        for s in self.slices[name]:
            if signed and s.vlo + s.width == top:
                up = 31 - s.hi
                term = '((i32)(bits << %d) >> %d)' % (up, up + s.lo)
                terms.append('(i32)((u32)%s << %d)' % (term, s.vlo) if s.vlo else term)
            elif s.vlo >= s.lo:
                term = 'bits & 0x%xu' % (((1 << s.width) - 1) << s.lo)
                terms.append('(i32)((%s) << %d)' % (term, s.vlo - s.lo))
            else:
                terms.append('(i32)(bits >> %d & 0x%xu)' % (s.lo - s.vlo, ((1 << s.width) - 1) << s.vlo))
        text = ' | '.join(terms)
        base = 0 if name in IMMEDIATES else self.isa.fields[name].base
        return '(%s) + %d' % (text, base) if base else text

    def tests(self):
        """Constraints as (field, operator, modulus, value)."""
        out = [(n, '!=', 0, 0) for n in self.slices if n.startswith('nz')]
        for text in self.constraints:
            m = re.fullmatch(r"([a-z0-9']+)(%\d+)?(!=|<=|=)(\w+)", text)
            if not m or m[1] not in self.slices:
                raise Error('bad constraint ' + text)
            out.append((m[1], m[3], int(m[2][1:]) if m[2] else 0, int(m[4], 0)))
        return out

    def c_condition(self):
        parts = ['(bits & 0x%xu) == 0x%xu' % (self.mask, self.match)]
        for name, rel, mod, value in self.tests():
            if name.startswith('nz') or (rel == '!=' and value == 0 and not mod):
                parts.append('(bits & 0x%xu)' % self.field_mask(name))
            else:
                left = '(%s)' % self.c_value(name) + (' %% %d' % mod if mod else '')
                parts.append('(%s) %s %d' % (left, '==' if rel == '=' else rel, value))
        return ' && '.join(parts)

    def excludes(self, other):
        """True if a constraint of this row is false whenever the fixed bits of `other` hold."""
        for name, rel, mod, value in self.tests():
            if self.field_mask(name) & ~other.mask:
                continue
            v = self.value_of(name, other.match)
            v = v % mod if mod else v
            if not {'!=': v != value, '<=': v <= value, '=': v == value}[rel]:
                return True
        return False

    def resolve(self):
        """Finds the op, its operands, and checks that every field is used."""
        isa = self.isa
        used = {n for n, _, _, _ in self.tests()} | {'aq', 'rl'}
        if self.short:
            name, _, operands = self.syntax.partition(' ')
            full = next((r for r in isa.rows if r.name == name and not r.short), None)
            if not full:
                raise Error('no op ' + name)
            self.op = full
            self.operands = {}  # operand of the op -> C expression
            pattern = ''
            names = []
            for kind, text in isa.tokens(full.syntax):
                if kind == 'operand':
                    pattern += r"([a-z0-9'-]+)"
                    names.append(text.split(':')[0])
                elif kind == 'literal':
                    pattern += re.escape(text)
            m = re.fullmatch(pattern, operands)
            if not m:
                raise Error('operands do not fit those of ' + name)
            for to, text in zip(names, m.groups()):
                if text in self.slices:
                    used.add(text)
                    self.operands[to] = self.c_value(text)
                elif re.fullmatch(r'x\d+|-?\d+', text):
                    self.operands[to] = text.lstrip('x')
                else:
                    raise Error('no field gives ' + text)
        else:
            self.op = self
            for kind, text in isa.tokens(self.syntax):
                if kind in ('operand', 'optional'):
                    name = text.split(':')[0]
                    if name not in self.slices:
                        raise Error('no field gives ' + name)
                    used.add(name)
            if any('{' in a[0] and a[1] == self.name for a in isa.aliases):
                used |= set(self.slices) & set(IMMEDIATES)
            if 'fence' in self.facts or 'priv' in self.facts:  # their fields are reserved, and ignored
                used |= set(self.slices)
            self.operands = {n: self.c_value(n) for n in self.slices}
        unused = set(self.slices) - used
        if unused:
            raise Error('unused: ' + ' '.join(sorted(unused)))

    def assignments(self):
        """(member, C expression), the row's share of the decoder."""
        out = []
        for name, expr in self.operands.items():
            member = 'imm' if name in IMMEDIATES else self.isa.fields[name].member
            out.append((member, expr))
        return tuple(sorted(out))


class Isa:
    def __init__(self, path):
        self.fields, self.rows, self.aliases, self.csrs = {}, [], [], []
        for number, line in enumerate(open(path), 1):
            line = line.strip()
            if not line or line.startswith('#'):
                continue
            try:
                self.read_line(line)
            except (Error, ValueError, TypeError) as e:
                raise Error('%s:%d: %s' % (path, number, e))
        names = [r.name for r in self.rows]
        for row in self.rows:
            try:
                if names.count(row.name) > 1:
                    raise Error('named twice')
                row.resolve()
            except Error as e:
                raise Error('%s: %s: %s' % (path, row.name, e))
        for name, op, _, _ in self.aliases:
            if op not in names:
                raise Error('alias %s of unknown %s' % (name, op))
        self.check_overlaps()
        self.ops = [r for r in self.rows if not r.short]

    def read_line(self, line):
        word = line.split()[0]
        if word == 'field':
            f = Field(line.split()[1:])
            self.fields[f.name] = f
        elif word == 'csr':
            # csr number[-last] name: the names of a range count up from the number in the name
            _, numbers, name = line.split()
            first, _, last = numbers.partition('-')
            first = int(first, 0)
            last = int(last, 0) if last else first
            stem, start, tail = re.fullmatch(r'(.*?)(\d*)(h?)', name).groups() if last > first else (name, '', '')
            for i in range(last - first + 1):
                self.csrs.append((first + i, stem + str(int(start) + i) + tail if last > first else name))
        elif word == 'alias':
            columns = columns_of(line[len('alias'):])
            self.aliases.append((columns[0], columns[1], columns[2].split(), columns[3] if len(columns) > 3 else ''))
        else:
            self.rows.append(Row(self, *columns_of(line)))

    def tokens(self, syntax):
        """Splits a syntax into ('operand', name[:how]), ('optional', name), ('literal', text)."""
        out = []
        for m in re.finditer(r"\[,([a-z0-9]+)\]|([a-z][a-z0-9]*'?(?::[a-z]+)?)|([^a-z\[]+)", syntax):
            if m[1]:
                out.append(('optional', m[1]))
            elif m[2] and (m[2].split(':')[0] in self.fields or m[2].split(':')[0] in IMMEDIATES):
                out.append(('operand', m[2]))
            else:
                out.append(('literal', m[2] or m[3]))
        return out

    def check_overlaps(self):
        for i, a in enumerate(self.rows):
            for b in self.rows[:i]:
                if a.size == b.size and not (a.mask & b.mask & (a.match ^ b.match)):
                    if not a.excludes(b) and not b.excludes(a):
                        raise Error('%s and %s overlap' % (a.name, b.name))


class Generator:
    def __init__(self, isa, prefix):
        self.isa, self.prefix, self.upper = isa, prefix, prefix.upper()
        self.formats = {}
        self.printers = []

    def row_name(self, row):
        return '%s_ROW_%s' % (self.upper, row.ident)

    def op_name(self, row):
        return '%s_%s' % (self.upper, row.ident)

    # --- the decoder

    def tree(self, rows, tested, indent, size):
        """Lines of C that find the row among `rows`, all bits in `tested` being known to match."""
        pad = '    ' * indent
        if len(rows) > 1:
            common = ~tested & ((1 << size) - 1)
            for r in rows:
                common &= r.mask
            best = None
            for lo in range(size):
                for width in range(1, 8):
                    run = ((1 << width) - 1) << lo
                    if run & ~common:
                        break
                    distinct = len({r.match & run for r in rows})
                    key = (distinct, -width)
                    if distinct > 1 and (best is None or key > best[0]):
                        best = (key, lo, width)
            if best:
                _, lo, width = best
                run = ((1 << width) - 1) << lo
                groups = {}
                for r in rows:
                    groups.setdefault((r.match & run) >> lo, []).append(r)
                out = [pad + 'switch (bits >> %d & %d) {' % (lo, (1 << width) - 1)]
                for value in sorted(groups):
                    out.append(pad + 'case %d:' % value)
                    out += self.tree(groups[value], tested | run, indent + 1, size)
                out += [pad + '}', pad + 'return false;']
                return out
        out = []
        for r in rows:
            key = r.assignments()
            number = self.formats.setdefault(key, len(self.formats))
            out.append(pad + 'if (%s) {' % r.c_condition())
            out.append(pad + '    row = %s;' % self.row_name(r))
            out.append(pad + '    goto format_%d;' % number)
            out.append(pad + '}')
        out.append(pad + 'return false;')
        return out

    def decoder(self, size):
        rows = [r for r in self.isa.rows if r.size == size]
        self.formats = {}
        body = self.tree(rows, 0, 1, size)
        struct = self.prefix.capitalize() + 'Insn'
        out = ['static bool decode_%d(u32 bits, %s *out)' % (size, struct), '{', '    unsigned row;']
        out += body
        for key, number in self.formats.items():
            out.append('format_%d:' % number)
            out += ['    out->%s = %s;' % item for item in key]
            out.append('    goto done;')
        out += ['done:', '    out->row = row;', '    out->op = row_op[row];', '    return true;', '}', '']
        return out

    # --- tables

    def facts(self, row):
        bits, size = [], 0
        for fact in row.facts:
            m = re.fullmatch(r'([a-z]+)(\d*)', fact)
            bits.append('%s_IS_%s' % (self.upper, m[1].upper()))
            size = int(m[2] or size)
        for member in ('aq', 'rm'):
            if member in row.slices:
                bits.append('%s_HAS_%s' % (self.upper, member.upper()))
        return ' | '.join(bits) or '0', size

    def files(self, row):
        """The register file of rd, rs1, rs2, rs3."""
        out = []
        for member in ('rd', 'rs1', 'rs2', 'rs3'):
            kinds = {f.kind for n in row.slices if n in self.isa.fields for f in [self.isa.fields[n]] if f.member == member}
            kinds.discard('n')
            out.append('%s_FILE_%s' % (self.upper, kinds.pop().upper() if kinds else 'NONE'))
        return ', '.join(out)

    def printer(self, text, optional=False):
        name, _, how = text.partition(':')
        if name in IMMEDIATES:
            key = ('IMM_' + how.upper()) if how else 'IMM'
        else:
            f = self.isa.fields[name]
            key = ('OPT_' if optional else '') + ('%s_%s' % (f.kind, f.member)).upper()
        if key not in self.printers:
            self.printers.append(key)
        return self.printers.index(key) + 1

    def c_syntax(self, syntax):
        out = ''
        for kind, text in self.isa.tokens(syntax):
            if kind == 'literal':
                out += text
            else:
                out += '\\%03o' % (128 + self.printer(text, kind == 'optional'))
        return '"%s"' % out

    def alias_condition(self, conditions):
        parts = []
        for text in conditions:
            m = re.fullmatch(r"([a-z0-9']+)(%\d+)?(!=|=)(-?[\w.]+)", text)
            if not m:
                raise Error('bad condition ' + text)
            if m[1] == 'row':
                parts.append('i->row %s %s_ROW_%s' % ('==' if m[3] == '=' else m[3], self.upper, m[4].replace('.', '_')))
                continue
            value = m[4] if re.match(r'-?\d', m[4]) else 'i->' + self.member(m[4])
            left = 'i->' + self.member(m[1])
            if m[2]:
                left = '(%s & %d)' % (left, int(m[2][1:]) - 1)
            parts.append('%s %s %s' % (left, '==' if m[3] == '=' else m[3], value))
        return ' && '.join(parts) or 'true'

    def member(self, name):
        if name in IMMEDIATES:
            return 'imm'
        return self.isa.fields[name].member if name in self.isa.fields else name

    def header(self):
        rows, ops, up = self.isa.rows, self.isa.ops, self.upper
        guard = up + '_GEN_H'
        out = ['/* Made by tools/isagen.py. */', '#ifndef ' + guard, '#define ' + guard, '']
        out += ['/* Operations: what there are semantics for. */', 'enum {']
        out += ['    %s,' % self.op_name(r) for r in ops] + ['    %s_OPS,' % up, '};', '']
        out += ['/* Rows: every encoding, short forms too. */', 'enum {']
        out += ['    %s,' % self.row_name(r) for r in rows] + ['    %s_ROWS,' % up, '};', '']
        exts = sorted({r.ext for r in rows})
        out += ['/* Extensions. */', 'enum {'] + ['    %s_EXT_%s,' % (up, e) for e in exts] + ['    %s_EXTS,' % up, '};', '']
        out += ['/* Numbers of the control and status registers, by their names in the manual. */', 'enum {']
        out += ['    CSR_%s = 0x%03x,' % (name.upper(), number) for number, name in sorted(self.isa.csrs)] + ['};', '']
        facts = sorted({re.sub(r'\d', '', f) for r in rows for f in r.facts})
        out += ['/* Facts of an operation. */', 'enum {']
        names = ['%s_IS_%s' % (up, f.upper()) for f in facts] + [up + '_HAS_AQ', up + '_HAS_RM']
        out += ['    %s = 1 << %d,' % (n, i) for i, n in enumerate(names)] + ['};', '']
        out += ['/* Every operation with the name of its semantics, and every semantics once, for tables. */']
        out += ['#define %s_EACH_OP(X) \\' % up] + ['    X(%s, %s) \\' % (r.ident, r.semantics) for r in ops] + ['']
        out += ['#define %s_EACH_SEM(X) \\' % up] + ['    X(%s) \\' % s for s in dict.fromkeys(r.semantics for r in ops)]
        out += ['', '#endif']
        return '\n'.join(out) + '\n'

    def source(self):
        rows, ops, up = self.isa.rows, self.isa.ops, self.upper
        exts = sorted({r.ext for r in rows})
        out = ['/* Made by tools/isagen.py. */', '']
        out += ['static const u16 row_op[%s_ROWS] = {' % up]
        out += ['    [%s] = %s,' % (self.row_name(r), self.op_name(r.op)) for r in rows] + ['};', '']
        out += self.decoder(16) + self.decoder(32)
        struct = self.prefix.capitalize()
        table = []
        for r in ops:
            facts, size = self.facts(r)
            table.append('    [%s] = {"%s", %s, %s_EXT_%s, %d, {%s}, %s},' %
                         (self.op_name(r), r.name, self.c_syntax(r.syntax), up, r.ext, size, self.files(r), facts))
        out += ['const %sOpInfo riscv_ops[%s_OPS] = {' % (struct, up)] + table + ['};', '']
        out += ['const %sRowInfo riscv_rows[%s_ROWS] = {' % (struct, up)]
        out += ['    [%s] = {"%s", 0x%xu, 0x%xu, %d, %s_EXT_%s, %s},' %
                (self.row_name(r), r.name, r.mask, r.match, r.size // 8, up, r.ext, self.op_name(r.op)) for r in rows]
        out += ['};', '']
        out += ['const char *const riscv_exts[%s_EXTS] = {' % up] + ['    "%s",' % e for e in exts] + ['};', '']
        by_op = sorted(self.isa.aliases, key=lambda a: [r.name for r in ops].index(a[1]))
        out += ['static const struct { u16 op; const char *name, *syntax; } aliases[] = {']
        op_ids = {r.name: self.op_name(r) for r in ops}
        out += ['    {%s, "%s", %s},' % (op_ids[a[1]], a[0], self.c_syntax(a[3])) for a in by_op] + ['};', '']
        out += ['static const u8 first_alias[%s_OPS] = { /* index + 1 */' % up]
        seen = set()
        for i, a in enumerate(by_op):
            if a[1] not in seen:
                seen.add(a[1])
                out.append('    [%s] = %d,' % (op_ids[a[1]], i + 1))
        out += ['};', '', 'static bool alias_fits(unsigned alias, const %sInsn *i)' % struct, '{', '    switch (alias) {']
        for i, a in enumerate(by_op):
            out.append('    case %d: return %s;' % (i, self.alias_condition(a[2])))
        out += ['    }', '    return false;', '}', '']
        out += ['enum { /* how to print an operand: the bytes from 0x81 in a syntax */']
        out += ['    PRINT_%s = %d,' % (p, 129 + i) for i, p in enumerate(self.printers)] + ['};', '']
        out += ['static const struct { u16 number; const char *name; } csr_names[] = {']
        out += ['    {0x%03x, "%s"},' % c for c in sorted(self.isa.csrs)] + ['};']
        return '\n'.join(out) + '\n'

    def json(self):
        rows = []
        for r in self.isa.rows:
            rows.append({
                'name': r.name, 'op': r.op.name, 'ext': r.ext, 'size': r.size // 8, 'mask': r.mask, 'match': r.match,
                'syntax': r.syntax, 'short': r.short, 'facts': r.facts,
                'constraints': r.constraints + [n + '!=0' for n in r.slices if n.startswith('nz')],
                'fields': {n: [[s.hi, s.lo, s.vlo] for s in ss] for n, ss in r.slices.items()},
            })
        return json.dumps({'rows': rows, 'csrs': {n: name for n, name in self.isa.csrs}}, indent=1) + '\n'


def main(argv):
    if len(argv) != 6:
        sys.exit(__doc__)
    try:
        gen = Generator(Isa(argv[1]), argv[2])
        outputs = [gen.header(), gen.source(), gen.json()]
    except Error as e:
        sys.exit('isagen: %s' % e)
    for path, text in zip(argv[3:], outputs):
        with open(path, 'w') as f:
            f.write(text)


if __name__ == '__main__':
    main(sys.argv)
