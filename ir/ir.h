/* SPDX-License-Identifier: Apache-2.0 */
/* ir: the intermediate representation that every guest is translated to and every host compiles.
 *
 * An IrFunc is the translation of a piece of guest code: a control-flow graph of blocks in SSA form,
 * its instructions in one array. A value is the instruction that makes it (Ref). Blocks take
 * parameters instead of phi nodes. Guest registers are *slots* of the guest's state (guest.h): `get`
 * reads one, `put` writes one.
 *
 * Precise state: `insn` opens a guest instruction. All that can fault (F_FAULTS) belongs to the
 * frame state of the instruction it stands in: the pc is that of the `insn`, and the slots hold what
 * the `put`s before it left. Hence within one guest instruction every put comes after the last
 * access that can fault; the verifier checks it.
 *
 * Two forms. As lifted, slots are read and written by `get` and `put`. Promoted (opt/promote.c), a `get` stands only at the head of an
 * entry block (block 0, and blocks with aux 1: entered from outside with the state in place) or behind what changes the state behind
 * the IR's back, a `put` only before what looks at the state in place; everywhere else guest registers are values, and frames
 * (IrFrame) say which. What can fault has the frame of the `insn` it stands behind in its block; exits, polls and terminators that leave
 * name theirs in field c (number + 1), because puts of their own instruction come before them. An `insn` names its own in field c,
 * too, or 0 if nothing behind it can fault. Blocks stand in an order in which a block comes after those that dominate it, so that a value
 * comes before its uses in the array as well. No jump leads to an entry block.
 *
 * The builder folds constants, applies identities, and forwards slots: get after get or put of a slot in the same block
 * yields the same value.
 * At most one emitting call may stand among the arguments of a call (C leaves their order open).
 *
 * Paged guests (Guest.paged; docs/why/system-translation.md): a function is code of one page, and every pc in it is a physical address, or one
 * relative to that page where it leaves it (page + distance). What the guest sees of a pc is slot Guest.page_slot, the virtual address of
 * the page that runs, plus the distance. Addresses of accesses are virtual, and go through `tlb`, which the builder makes.
 *
 * Threads: an IrFunc belongs to one thread. Memory: one arena-like set of vectors, reused by ir_reset.
 */
#ifndef IR_IR_H
#define IR_IR_H

#include "base/base.h"

/* --- types ---------------------------------------------------------------------------------- */

/* IR_PTR and IR_DERIVED are for front ends with a collector: register allocation tracks them. */
typedef enum IrType {
    IR_VOID, IR_I1, IR_I32, IR_I64, IR_F16, IR_F32, IR_F64, IR_V128, IR_V256, IR_PTR, IR_DERIVED, IR_TYPE_COUNT,
} IrType;

typedef enum IrOp {
#define OP(name, n, facts, text) IR_##name,
#include "ir/ops.def"
    IR_OP_COUNT
} IrOp;

enum { /* facts of operations */
    F_PURE = 1,      /* no effect, may be merged, moved and dropped */
    F_EFFECT = 2,    /* must stay, in order */
    F_LOAD = 4,
    F_STORE = 8,
    F_FAULTS = 16,   /* may leave with a trap: precise state */
    F_FLAGS = 32,    /* accrues floating-point flags: stays even if the value is unused */
    F_CALL = 64,
    F_EXIT = 128,
    F_TERM = 256,    /* ends a block */
    F_COMMUTES = 512,
};

enum { IR_SIGNED = 1, IR_QUIET = 2, IR_NEG_PRODUCT = 4, IR_NEG_ADDEND = 8, IR_INEXACT = 16 }; /* aux2 */
enum { IR_ACQUIRE = 32, IR_RELEASE = 64 };                                                    /* aux2 of load, store */
enum { TLB_WRITE = 1, TLB_ATOMIC = 2 /* no access but one to memory will do */ };             /* aux2 of tlb */
typedef enum AmoOp { AMO_SWAP, AMO_ADD, AMO_AND, AMO_OR, AMO_XOR, AMO_MINS, AMO_MAXS, AMO_MINU, AMO_MAXU } AmoOp;
typedef enum CryptoOp { /* low four bits of aux of `crypto`; n: the upper four */
    CRYPTO_AES, CRYPTO_AES_LAST,     /* low half of the state {b, a} after a round of AES without its key; the last round */
    CRYPTO_UNAES, CRYPTO_UNAES_LAST, /* the inverse cipher's */
    CRYPTO_AES_UNMIX,                /* inverse MixColumns of a's two columns */
    CRYPTO_AES_KEY,                  /* key schedule: a's upper word rotated, substituted, with round constant n, twice; n = 10: substituted only */
    CRYPTO_SM4_SBOX,                 /* byte n of a through the table of SM4 */
    CRYPTO_CLMUL, CRYPTO_CLMULH, CRYPTO_CLMULR, /* a * b without carries: bits 0.., 64.., 63.. of the product */
    CRYPTO_PERM4, CRYPTO_PERM8,      /* each 4 or 8 bits of b pick those of a; a number out of range picks 0 */
} CryptoOp;
/* What `vec` does with whole registers, all elements, no mask: element by element unless it says otherwise. d: destination, s2 and s1: sources, as the
 * RISC-V manual has them; with VEC_SCALAR in aux2, s1 is the operand a in every element. */
typedef enum VecOp {
    VEC_CALL,                              /* nothing of these */
    VEC_ADD, VEC_SUB, VEC_RSUB,            /* s2 + s1, s2 - s1, s1 - s2 */
    VEC_AND, VEC_OR, VEC_XOR, VEC_ANDN,    /* the last: s2 & ~s1 */
    VEC_SLL, VEC_SRL, VEC_SRA, VEC_ROL, VEC_ROR, /* s2 by s1 modulo the width */
    VEC_MINU, VEC_MIN, VEC_MAXU, VEC_MAX,
    VEC_MUL, VEC_MULH, VEC_MULHU,
    VEC_MACC, VEC_NMSAC, VEC_MADD, VEC_NMSUB, /* d +- s1 * s2; s2 +- s1 * d */
    VEC_MOVE, VEC_MERGE,                   /* s1; bit of register 0 ? s1 : s2 */
    VEC_ID,                                /* the element's number */
    VEC_AVGU,                              /* half of the sum, rounded up where Guest.vector_rounding is 0; else not done by hosts */
    VEC_GET, VEC_GETF, VEC_SET,            /* element 0 of s2, sign-extended, or ones above it, to Guest.vector_result; a to element 0 of d */
    VEC_REDSUM, VEC_REDAND, VEC_REDOR, VEC_REDXOR, VEC_REDMINU, VEC_REDMIN, VEC_REDMAXU, VEC_REDMAX, /* all of s2 and element 0 of s1 to that of d */
    VEC_EQ, VEC_NE, VEC_LTU, VEC_LT, VEC_LEU, VEC_LE, VEC_GTU, VEC_GT, /* s2 against s1, to a bit of d for each element */
    VEC_LOAD, VEC_STORE,                   /* d from or to the bytes at address a */
    VEC_LOAD_FIELDS, VEC_LOAD_STRIDED, VEC_LOAD_INDEXED, /* s1 + 1 groups d, d + count, ..., from the fields of structures: side by side, b bytes */
    VEC_STORE_FIELDS, VEC_STORE_STRIDED, VEC_STORE_INDEXED, /* apart, at a + the element of s2, whose width is VEC_FACTOR */
    VEC_REV8, VEC_BREV8,                   /* bytes of each element, bits of each byte of s2 reversed */
    VEC_FADD, VEC_FSUB, VEC_FRSUB, VEC_FMUL, VEC_FDIV, VEC_FRDIV, VEC_FSQRT,
    VEC_FMACC, VEC_FNMACC, VEC_FMSAC, VEC_FNMSAC, VEC_FMADD, VEC_FNMADD, VEC_FMSUB, VEC_FNMSUB, /* [unpriv v, "fused multiply-add"] */
    VEC_FMIN, VEC_FMAX,
    VEC_FEQ, VEC_FNE, VEC_FLT, VEC_FLE, VEC_FGT, VEC_FGE, /* to a bit of d */
    VEC_FTOI, VEC_FTOI_RTZ, VEC_ITOF,      /* signed; between elements of one width */
    VEC_FWIDEN, VEC_IWIDEN, VEC_FNARROW,   /* s2, of half the width, to floating point from that, or from a signed number; from twice the width */
    VEC_SGNJ, VEC_SGNJN, VEC_SGNJX,
    VEC_SLIDE1UP, VEC_SLIDE1DOWN, VEC_SLIDEDOWN, VEC_SLIDEUP, /* the latter by a constant, a */
    VEC_GATHER,                            /* the element of s2 that s1 says, 0 if there is none */
    VEC_SEXT, VEC_ZEXT,                    /* s2, whose elements are narrower by VEC_FACTOR */
    VEC_WADD, VEC_WADDU, VEC_WSUB, VEC_WSUBU, /* s2 +- s1, both of half the width */
    VEC_WADDW, VEC_WADDUW, VEC_WSUBW, VEC_WSUBUW, /* only s1 is */
    VEC_WMUL, VEC_WMULU, VEC_WMULSU,       /* s2 * s1, of half the width; the last: s2 signed, s1 not */
    VEC_WMACC, VEC_WMACCU, VEC_WMACCSU, VEC_WMACCUS, /* d + s1 * s2; SU: s1 signed, s2 not; US: the other way round */
    VEC_NSRL, VEC_NSRA,                    /* s2, of twice the width, by a constant */
    VEC_CLMUL, VEC_CLMULH,
    VEC_AESEM, VEC_AESEF, VEC_AESDM, VEC_AESDF, VEC_AESZ, /* rounds on d with the key s2; VEC_SCALAR: the same key, its first 16 bytes, for all */
    VEC_SHA2MS, VEC_SHA2CH, VEC_SHA2CL,
    VEC_GHSH, VEC_GMUL,
    VEC_OP_COUNT,
} VecOp;
enum { /* aux2, besides the width of elements (of d, if they differ), log2 of bytes */
    VEC_SCALAR = 4,
    VEC_MEMORY = 8,       /* it accesses memory */
    VEC_WHOLE = 16,       /* registers, however many elements there are */
    VEC_MASKED = 32,      /* only elements whose bit of register 0 is set */
    VEC_FACTOR_SHIFT = 6, /* of VEC_FACTOR: log2 of how much wider elements are, or narrower; or of a width; two bits */
};
/* Field c of `vec`: numbers of registers; how many there are of d, and if elements fill only a part of one, log2 of which. */
static inline u32 vec_registers(unsigned d, unsigned s2, unsigned s1, unsigned count, unsigned fraction) { return d | s2 << 8 | s1 << 16 | count << 24 | fraction << 28; }
typedef enum ExitKind { EXIT_JUMP, EXIT_CALL, EXIT_RET } ExitKind;

/* Why generated code or the interpreter came back. The runtime acts, sets the pc, and goes on. */
typedef enum TrapCode {
    TRAP_NONE,       /* asked to look up: go on at pc */
    TRAP_SYSCALL,    /* environment call; pc is that of the call instruction */
    TRAP_BREAKPOINT, /* ebreak */
    TRAP_ILLEGAL,    /* illegal instruction; argument: its bits */
    TRAP_MISALIGNED, /* misaligned atomic; argument: address if known */
    TRAP_FENCE_I,    /* instruction fence executed; pc is that of the fence */
    TRAP_MODE,       /* translation mode changed; pc is already the next instruction */
    TRAP_FAULT,      /* host SIGSEGV/SIGBUS on a guest access */
    TRAP_FETCH,      /* no executable memory at pc */
    TRAP_POLL,       /* somebody asked for attention; pc is where to go on */
    TRAP_WAIT,       /* wrs.*, pause: a good moment to yield; pc is already the next instruction */
    TRAP_PRIV,       /* paged guests: a privileged instruction for the runtime; argument: its bits */
    TRAP_SLOW,       /* paged guests: an access that is not to memory, or to two pages; argument: address. engine_step does it */
    TRAP_RETRY,      /* a fault in optimised code, whose state is that of an instruction at or before the one that faults (IrFrame): go on one by one */
} TrapCode;

/* --- instructions ---------------------------------------------------------------------------- */

typedef struct Ref { /* a value: index into IrFunc.insns; 0 = none */
    u32 id;
} Ref;

typedef struct IrInsn {
    u8 op;       /* IrOp */
    u8 type;     /* IrType of the result */
    u8 aux;      /* see ops.def */
    u8 aux2;     /* see ops.def */
    u32 a, b, c; /* operand ids, or as ops.def says */
    u64 imm;
    u32 uses;    /* operands that name this value */
    u32 last;    /* id of the last instruction that names it */
} IrInsn;

/* The guest state at one point, for who looks at it there: a fault, an exit, a debugger. (A load that stands for several of the guest's,
 * opt/merge.c, has the frame of the first one: after a fault the guest's instructions from there on are executed one by one, TRAP_RETRY.)
 * Quick translations keep slots in place, so that the pc is all. In a *promoted* function (opt/promote.c) slots are values: the frame lists, sorted by slot,
 * every slot whose value is not in its home, and where it is instead.
 *
 * Home of a slot: its place in the Vcpu. But the pinned slots (Guest.hot_slots, hot_fslots) have theirs in host registers that a
 * promoted function uses for other things: every frame of a promoted function lists all of them; but those of floating point only if the
 * function has floating-point values (or ciphers, which are done in such registers): else they stay where they are. */
typedef struct IrState {
    u16 slot;
    u16 how;   /* IR_STATE_*: what the slot holds, given the value. Bought: extensions that only a frame wants are not executed */
    u32 value; /* id */
} IrState;
enum {
    IR_STATE_SAME,
    IR_STATE_SEXT, /* the low 32 bits of an i32 or i64, sign-extended */
    IR_STATE_BOX,  /* box(value), value an f32 */
};

typedef struct IrFrame {
    u64 pc;
    u32 parent; /* frame of the caller that this was inlined into + 1, 0: none */
    u32 insn;   /* id of the `insn` instruction; 0: the frame of what leaves; both name it in field c if promoted */
    u32 state, state_count; /* range of IrFunc.states; promoted functions only */
} IrFrame;

typedef struct Guest Guest;

typedef struct IrFunc {
    const Guest *guest;
    u32 mode;              /* guest translation mode; its low three bits are the rounding mode (RISC-V: frm) */
    u64 pc;                /* of the entry */
    VEC(IrInsn) insns;     /* id 0 is a nop */
    VEC(u64) args;         /* operand ids of calls and jumps; 64-bit extras of exits */
    VEC(IrFrame) frames;   /* one per guest instruction, in order; then those of exits */
    VEC(IrState) states;   /* see IrFrame */
    bool counted;          /* Vcpu.budget is kept: of each instruction that begins, and no block begins that is longer; exact wherever somebody looks */
    bool promoted;         /* slots are values, and frames say where they are */
    u32 block_count;
    bool closed;           /* the current block has its terminator */
    u32 slot_value[160];   /* builder: value that slot n holds now, 0: unknown (forwarding) */
    u32 block_start;       /* builder: first instruction of the current block */
    struct { u32 full, most, block; } length; /* builder: `vset` has said it in this block (block_start): whether it is `most`, as the key's bit */
    u32 known;             /* builder: the function (KNOWN_*, ir/guest.h) that the instruction lifted next jumps to, and above it (KNOWN_SIZE_SHIFT) its third argument; 0: who knows */
    u32 guess;             /* builder: the key of vectors that code had better expect from here on; 0: nobody knows */
} IrFunc;
typedef IrFunc IrBuilder; /* the same thing while it is being built */

extern const char *const ir_op_name[IR_OP_COUNT];
extern const u16 ir_op_facts[IR_OP_COUNT];
extern const u8 ir_op_operands[IR_OP_COUNT];
extern const char *const ir_type_name[IR_TYPE_COUNT];

static inline bool ref_some(Ref r) { return r.id != 0; }
static inline IrInsn *ir_insn_of(const IrFunc *f, Ref r) { return &f->insns.at[r.id]; }
static inline IrType ir_type_of(const IrFunc *f, Ref r) { return (IrType)f->insns.at[r.id].type; }
static inline bool ir_is_const(const IrFunc *f, Ref r) { return f->insns.at[r.id].op == IR_const; }
/* Field c of this operation names a frame in a promoted function. */
static inline bool ir_has_frame(IrOp op) {
    return op == IR_insn || op == IR_poll || op == IR_trap || (ir_op_facts[op] & F_EXIT);
}

enum { IR_MODE_ROUNDING = 7 };

/* Paged guests: an instruction that reaches into the next page is translated alone, and its pc is of a page that does not exist: what it is made of is
 * not told by a physical address. */
#define IR_STRADDLE (1ull << 54)
static inline bool ir_straddles(u64 pc) { return pc >> 54 & 1; }

/* --- building ---------------------------------------------------------------------------------- */

/* Empties f for a new translation and opens block 0. */
void ir_reset(IrFunc *f, const Guest *guest, u64 pc, u32 mode);
void ir_drop(IrFunc *f);
/* Opens a new block and returns its number; the current one must be closed. Forwarding starts anew. */
u32 ir_block(IrBuilder *b);
/* A guest instruction at pc, len bytes long, begins. */
void ir_begin_insn(IrBuilder *b, u64 pc, unsigned len);

/* Appends one instruction without folding. */
Ref ir_emit(IrBuilder *b, IrOp op, IrType type, unsigned aux, unsigned aux2, Ref a, Ref x, Ref c, u64 imm);

Ref ir_const(IrBuilder *b, IrType type, u64 bits);
static inline Ref ir_i64(IrBuilder *b, u64 v) { return ir_const(b, IR_I64, v); }
Ref ir_get(IrBuilder *b, u32 slot);
void ir_put(IrBuilder *b, u32 slot, Ref v);
/* After a helper that writes guest state behind the IR's back: forget what slots hold. */
void ir_forget_slots(IrBuilder *b);

/* Folding constructors. The type is that of the operands; comparisons give i1. */
Ref ir_binary(IrBuilder *b, IrOp op, Ref x, Ref y);
Ref ir_unary(IrBuilder *b, IrOp op, Ref x); /* clz ctz popcnt bswap */
#define IR_BINARY(name)                                                                                              \
    static inline Ref ir_##name(IrBuilder *b, Ref x, Ref y) { return ir_binary(b, IR_##name, x, y); }
IR_BINARY(add) IR_BINARY(sub) IR_BINARY(mul) IR_BINARY(mulhs) IR_BINARY(mulhu) IR_BINARY(mulhsu)
IR_BINARY(divs) IR_BINARY(divu) IR_BINARY(rems) IR_BINARY(remu) IR_BINARY(and) IR_BINARY(or) IR_BINARY(xor)
IR_BINARY(shl) IR_BINARY(shr) IR_BINARY(sar) IR_BINARY(rotl) IR_BINARY(rotr)
IR_BINARY(eq) IR_BINARY(ne) IR_BINARY(lts) IR_BINARY(les) IR_BINARY(ltu) IR_BINARY(leu)
#undef IR_BINARY
/* The same with a constant second operand of the type of x. Makes that constant only if it is needed. */
Ref ir_imm(IrBuilder *b, IrOp op, Ref x, u64 imm);
Ref ir_not(IrBuilder *b, Ref x); /* x ^ all ones; of i1: the other truth value */
Ref ir_crypto(IrBuilder *b, CryptoOp op, unsigned n, Ref x, Ref y); /* with one operand: y = x */
Ref ir_select(IrBuilder *b, Ref cond, Ref x, Ref y);
Ref ir_sext(IrBuilder *b, unsigned bits, Ref x);  /* low bits of an i64 (or a whole i32: bits 32, or i1: bits 1) to i64 */
Ref ir_zext(IrBuilder *b, unsigned bits, Ref x);
Ref ir_trunc(IrBuilder *b, Ref x);                /* i64 -> i32 */

/* Memory: bits 8..64 for i64 values, at base + disp (i64; signed 32 bits). */
Ref ir_loads(IrBuilder *b, unsigned bits, Ref base, i64 disp); /* sign-extended i64 */
Ref ir_loadu(IrBuilder *b, unsigned bits, Ref base, i64 disp); /* zero-extended i64 */
Ref ir_loadf(IrBuilder *b, IrType type, Ref base, i64 disp);   /* f32, f64 (f16: load 16 bits and use flow/box) */
void ir_store(IrBuilder *b, unsigned bits, Ref base, i64 disp, Ref v); /* v: i64, or f32/f64 with bits equal to its size */
/* Adds IR_ACQUIRE / IR_RELEASE to the load or store just made. */
void ir_set_order(IrBuilder *b, unsigned order);
void ir_align(IrBuilder *b, unsigned bytes, Ref addr);
/* The address for accesses of `bytes` at base + disp: itself, or of a paged guest a `tlb` of it. */
Ref ir_address(IrBuilder *b, unsigned bytes, unsigned how, Ref base, i64 disp);
Ref ir_amo(IrBuilder *b, AmoOp op, unsigned bits, Ref addr, Ref v);
Ref ir_cas(IrBuilder *b, unsigned bits, Ref addr, Ref expected, Ref desired);
Ref ir_sc(IrBuilder *b, unsigned bits, Ref addr, Ref v, u32 slot_addr, u32 slot_value);
void ir_fence(IrBuilder *b, unsigned pred_succ);
void ir_prefetch(IrBuilder *b, Ref base, i64 disp);

/* Floating point; rm 0..4. */
Ref ir_fp2(IrBuilder *b, IrOp op, unsigned rm, Ref x, Ref y);      /* fadd fsub fmul fdiv fmin fmax fminm fmaxm fcopysign */
Ref ir_fp1(IrBuilder *b, IrOp op, unsigned rm, Ref x);             /* fsqrt fneg fabs */
Ref ir_fma(IrBuilder *b, unsigned rm, unsigned neg, Ref x, Ref y, Ref z); /* neg: IR_NEG_PRODUCT | IR_NEG_ADDEND */
Ref ir_fcmp(IrBuilder *b, IrOp op, unsigned quiet, Ref x, Ref y);  /* feq flt fle; quiet: 0 or IR_QUIET */
Ref ir_fclass(IrBuilder *b, Ref x);
Ref ir_fcvt(IrBuilder *b, IrType to, unsigned rm, Ref x);
Ref ir_ftoi(IrBuilder *b, IrType to, bool is_signed, unsigned rm, Ref x);
Ref ir_itof(IrBuilder *b, IrType to, bool is_signed, unsigned rm, Ref x);
Ref ir_fround(IrBuilder *b, bool inexact, unsigned rm, Ref x);
Ref ir_bits(IrBuilder *b, Ref x);                                  /* f32<->i32, f64<->i64 */
Ref ir_box(IrBuilder *b, Ref x);
Ref ir_unbox(IrBuilder *b, IrType to, Ref x);
Ref ir_flow(IrBuilder *b, IrType to, Ref x);
Ref ir_getflags(IrBuilder *b);
void ir_setflags(IrBuilder *b, Ref x);

/* Helper number n of the guest's table; at most four operands, i64 or f64 (bits are passed). */
Ref ir_call(IrBuilder *b, u32 helper, unsigned n, const Ref *args);

/* Vectors; ir_vec: form is aux2, registers is field c, key what the operation needs the state's key to be, code what Guest.vector wants. */
Ref ir_peek(IrBuilder *b, u32 offset);
void ir_poke(IrBuilder *b, u32 offset, Ref v);
void ir_vec(IrBuilder *b, VecOp op, unsigned form, u32 registers, u32 key, u64 code, Ref x, Ref y);

/* Leaving */
void ir_mode(IrBuilder *b, u32 mode);
void ir_exit_if(IrBuilder *b, Ref cond, u64 pc);
void ir_exit(IrBuilder *b, u64 pc);
void ir_exit_call(IrBuilder *b, u64 pc, u64 return_pc);
void ir_exit_ind(IrBuilder *b, Ref pc, ExitKind kind, u64 return_pc);
void ir_trap(IrBuilder *b, TrapCode code, u64 arg);
void ir_trap_if(IrBuilder *b, Ref cond, TrapCode code);
void ir_jmp(IrBuilder *b, u32 block, unsigned n, const Ref *args);
void ir_br(IrBuilder *b, Ref cond, u32 then_block, u32 else_block);

/* --- text, checks, execution --------------------------------------------------------------------- */

/* Prints the whole function; ir_parse reads the same text back. */
void ir_print(const IrFunc *f, Text *out);
/* Parses text into f (reset with guest). 0, or -line of the first line that is wrong. */
int ir_parse(IrFunc *f, const Guest *guest, const char *text);
/* NULL, or one sentence that names what is wrong, in the caller's buffer. */
const char *ir_verify(const IrFunc *f, char *buf, size_t size);

/* The new value of an atomic operation on `bits` bits (upper bits of the result are junk). */
u64 ir_eval_amo(AmoOp op, unsigned bits, u64 old, u64 v);
/* The value of `crypto`; what: its aux. */
u64 ir_eval_crypto(unsigned what, u64 a, u64 b);
extern const u8 ir_sm4_sbox[256];
/* The value of a pure integer operation on constants: the one definition that folding and interpreter share. */
u64 ir_eval(IrOp op, IrType type, IrType operand_type, unsigned aux, u64 a, u64 b, u64 c);

#endif
