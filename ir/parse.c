/* SPDX-License-Identifier: Apache-2.0 */
/* Reads back what print.c writes. Value numbers in the text are names: they are mapped to new ids in order, so text written by
 * hand, or with dead instructions left out, parses as well. */
#include "ir/guest.h"

typedef struct Parser {
    IrFunc *f;
    const Guest *guest;
    const char *at;
    VEC(u32) ids; /* id of %n */
    bool bad;
} Parser;

static void skip(Parser *p) {
    while (*p->at == ' ' || *p->at == ',' || *p->at == '\t') p->at++;
}

static bool eat(Parser *p, const char *word) {
    skip(p);
    size_t n = strlen(word);
    if (strncmp(p->at, word, n)) return false;
    p->at += n;
    return true;
}

static u64 number(Parser *p) {
    u64 v = 0;
    const char *end = p->at;
    skip(p);
    if (!parse_u64(p->at, &end, &v)) p->bad = true;
    else p->at = end;
    return v;
}

static size_t word_len(const char *s) {
    size_t n = 0;
    while ((s[n] >= 'a' && s[n] <= 'z') || (s[n] >= 'A' && s[n] <= 'Z') || (s[n] >= '0' && s[n] <= '9') || s[n] == '_') n++;
    return n;
}

/* The index of the word at the cursor among `n` names; the name of number k is name(p, k). */
static u32 lookup(Parser *p, u32 n, const char *(*name)(const Parser *, u32)) {
    skip(p);
    size_t len = word_len(p->at);
    for (u32 k = 0; k < n; k++) {
        if (strlen(name(p, k)) != len || strncmp(name(p, k), p->at, len)) continue;
        p->at += len;
        return k;
    }
    p->bad = true;
    return 0;
}
static const char *op_name(const Parser *p, u32 k) { return (void)p, ir_op_name[k]; }
static const char *type_name(const Parser *p, u32 k) { return (void)p, ir_type_name[k]; }
static const char *slot_name(const Parser *p, u32 k) { return p->guest->slots[k].name; }
static const char *helper_name(const Parser *p, u32 k) { return p->guest->helpers[k].name; }

static Ref value(Parser *p) {
    if (!eat(p, "%")) return p->bad = true, (Ref){0};
    u64 n = number(p);
    if (n >= p->ids.len || !p->ids.at[n]) return p->bad = true, (Ref){0};
    return (Ref){p->ids.at[n]};
}

static void bind(Parser *p, u64 n, u32 id) {
    if (n > 1u << 20) {
        p->bad = true;
        return;
    }
    while (p->ids.len <= n) vec_push(&p->ids, 0);
    p->ids.at[n] = id;
}

static u64 read_imm(Parser *p, IrOp op) {
    switch ((int)op) {
    case IR_get: case IR_put: return lookup(p, p->guest->slot_count, slot_name);
    case IR_call: return eat(p, "@") ? lookup(p, p->guest->helper_count, helper_name) : (p->bad = true, 0);
    case IR_block: case IR_param: case IR_jmp: return eat(p, "#") ? number(p) : (p->bad = true, 0);
    case IR_br: {
        if (!eat(p, "#")) p->bad = true;
        u64 then_block = number(p);
        if (!eat(p, "#")) p->bad = true;
        return then_block | number(p) << 32;
    }
    case IR_const: case IR_insn: case IR_exit: case IR_exit_if: return number(p);
    default: return eat(p, "imm=") ? number(p) : 0;
    }
}

static void parse_insn(Parser *p) {
    u64 name = 0;
    bool named = eat(p, "%");
    if (named) {
        name = number(p);
        if (!eat(p, "=")) p->bad = true;
    }
    IrOp op = (IrOp)lookup(p, IR_OP_COUNT, op_name);
    IrType type = IR_VOID;
    if (named) {
        if (!eat(p, ".")) p->bad = true;
        type = (IrType)lookup(p, IR_TYPE_COUNT, type_name);
    }
    if (p->bad) return;
    IrFunc *f = p->f;
    Ref ref[3] = {{0}};
    if (op == IR_call || op == IR_jmp) {
        ref[0].id = f->args.len;
        for (skip(p); *p->at == '%' && !p->bad; skip(p)) {
            Ref r = value(p);
            vec_push(&f->args, r.id);
            ref[1].id++;
        }
    } else {
        for (unsigned k = 0; k < ir_op_operands[op]; k++) ref[k] = value(p);
    }
    u64 imm = read_imm(p, op);
    unsigned aux = eat(p, "aux=") ? (unsigned)number(p) : 0;
    unsigned aux2 = eat(p, "aux2=") ? (unsigned)number(p) : 0;
    if (op == IR_vec && eat(p, "registers=")) ref[2].id = (u32)number(p);
    if (op == IR_exit && aux == EXIT_CALL) {
        if (!eat(p, "return=")) p->bad = true;
        ref[0].id = f->args.len;
        vec_push(&f->args, number(p));
    }
    if ((op == IR_exit || op == IR_exit_ind) && eat(p, "then=#")) ref[1].id = (u32)number(p);
    if (f->promoted && ir_has_frame(op) && eat(p, "frame=")) ref[2].id = (u32)number(p) + 1;
    if (p->bad || (f->closed && op != IR_block)) {
        p->bad = true;
        return;
    }
    if (op == IR_block) {
        if (imm != (f->insns.len == 2 ? 0 : f->block_count)) p->bad = true;
        else if (imm) ir_block(f);
        f->insns.at[f->insns.len - 1].aux = (u8)aux;
        return;
    }
    Ref r = ir_emit(f, op, type, aux, aux2, ref[0], ref[1], ref[2], imm);
    if (op == IR_insn && !f->promoted) vec_push(&f->frames, ((IrFrame){.pc = imm, .insn = r.id}));
    if (named) bind(p, name, r.id);
}

static void parse_frame(Parser *p) {
    IrFunc *f = p->f;
    if (number(p) != f->frames.len || !eat(p, "pc=")) {
        p->bad = true;
        return;
    }
    IrFrame frame = {.pc = number(p), .state = f->states.len};
    for (skip(p); *p->at && *p->at != '\n' && !p->bad; skip(p)) {
        IrState s = {.slot = (u16)lookup(p, p->guest->slot_count, slot_name)};
        if (!eat(p, "=")) p->bad = true;
        s.how = eat(p, "sext") ? IR_STATE_SEXT : eat(p, "box") ? IR_STATE_BOX : IR_STATE_SAME;
        s.value = value(p).id;
        vec_push(&f->states, s);
        frame.state_count++;
    }
    vec_push(&f->frames, frame);
}

/* Frames know the `insn` that names them. */
static void bind_frames(IrFunc *f) {
    for (u32 id = 1; id < f->insns.len; id++) {
        const IrInsn *i = &f->insns.at[id];
        if (i->op == IR_insn && i->c && i->c <= f->frames.len) f->frames.at[i->c - 1].insn = id;
    }
}

int ir_parse(IrFunc *f, const Guest *guest, const char *text) {
    Parser p = {.f = f, .guest = guest, .at = text};
    int line = 0;
    ir_reset(f, guest, 0, 0);
    while (*p.at && !p.bad) {
        line++;
        skip(&p);
        if (eat(&p, "func")) {
            if (eat(&p, "pc=")) f->pc = number(&p);
            if (eat(&p, "mode=")) f->mode = (u32)number(&p);
            f->promoted = eat(&p, "promoted");
        } else if (eat(&p, "frame ")) {
            parse_frame(&p);
        } else if (*p.at != '\n' && *p.at) {
            parse_insn(&p);
        }
        skip(&p);
        if (*p.at && *p.at != '\n') p.bad = true;
        if (*p.at == '\n') p.at++;
    }
    if (f->promoted) bind_frames(f);
    vec_drop(&p.ids);
    return p.bad ? -line : 0;
}
