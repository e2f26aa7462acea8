/* SPDX-License-Identifier: Apache-2.0 */
/* isa/riscv: the RISC-V instruction set: decoding, disassembly, tables of facts, and the guest
 * `riscv_guest` that the engine translates with.
 *
 * All of it comes from one description, riscv.isa, through tools/isagen.py; semantics are in sem_*.c,
 * one function per operation. A *row* is an encoding; an *op* is what is done. Compressed rows
 * decode to the op of their full form with len 2, so that only the disassembler knows about them
 * [unpriv c]. Register operands are plain numbers; which file they are in is a fact of the op.
 */
#ifndef ISA_RISCV_RISCV_H
#define ISA_RISCV_RISCV_H

#include "base/base.h"
#include "isa/riscv/riscv_gen.h"

/* A decoded instruction. Members that the op does not have are 0. */
typedef struct RvInsn {
    u16 op;  /* RV_* */
    u16 row; /* RV_ROW_* */
    u8 len;  /* bytes: 2 or 4 */
    u8 rd, rs1, rs2, rs3;
    u8 rm;         /* rounding mode as encoded: 7 dynamic, 5 and 6 reserved */
    u8 aq, rl, vm;
    i32 imm;  /* as the manual computes it; number of a CSR; shift amount; n of mop.r.n */
    u32 bits; /* the encoding; upper half 0 when len is 2 */
} RvInsn;

enum { RV_FILE_NONE, RV_FILE_X, RV_FILE_F, RV_FILE_V };

typedef struct RvOpInfo {
    const char *name;   /* mnemonic, without .aq and .rl */
    const char *syntax; /* for riscv_disasm only */
    u8 ext;             /* RV_EXT_* */
    u8 access_size;     /* bytes that a load, store or amo touches, else 0 */
    u8 file[4];         /* RV_FILE_* of rd rs1 rs2 rs3 */
    u32 facts;          /* RV_IS_*, RV_HAS_* */
} RvOpInfo;

typedef struct RvRowInfo {
    const char *name;
    u32 mask, match; /* fixed bits, and their values */
    u8 len;          /* bytes */
    u8 ext;
    u16 op;
} RvRowInfo;

extern const RvOpInfo riscv_ops[RV_OPS];
extern const RvRowInfo riscv_rows[RV_ROWS];
extern const char *const riscv_exts[RV_EXTS];
extern const char *const riscv_xreg_names[32], *const riscv_freg_names[32];

/* Length in bytes of the instruction that starts with these 16 bits: 2 or 4. Longer formats are
 * reserved, and illegal as instructions of 4 bytes. */
static inline unsigned riscv_insn_len(u32 bits) { return (bits & 3) == 3 ? 4 : 2; }

/* Decodes the instruction in the low bits of `bits` (what follows a short one is ignored). False: illegal or
 * reserved; then only len and bits are set. Ops with RV_IS_PRIV decode, and are illegal at user
 * level; so do reserved rounding modes, which are a matter of execution. */
bool riscv_decode(u32 bits, RvInsn *out);

/* Prints as GNU objdump does, aliases included, without its comments and symbols; name and operands
 * are separated by a tab. Illegal encodings print as .insn. Returns what riscv_decode returned. */
bool riscv_disasm(u32 bits, u64 pc, char *buf, size_t size);

/* A random legal encoding of the row; *seed (not 0) is the state of the generator. */
u32 riscv_row_random(unsigned row, u64 *seed);

enum { RV_VLEN = 128, RV_VLENB = RV_VLEN / 8 }; /* a vector register, in bits and bytes */

/* The registers of a hart at user level: what stands at Vcpu.state. The accrued exception flags do not: they
 * live in the host's FPU and in Vcpu.fflags (engine_fflags_get). */
typedef struct RvState {
    u64 x[32];      /* x[0] is never written */
    u64 f[32];      /* narrower values NaN-boxed */
    u64 frm;        /* dynamic rounding mode 0..7 (5..7 reserved); also the translation mode */
    u64 resv_addr;  /* reservation of lr; RV_NO_RESERVATION if none */
    u64 resv_value; /* what lr loaded there */
    u64 vector_control; /* of a process: its prctl; low two bits RV_VECTOR_* */
    u64 pad[4];
    /* From here on no slots: generated code reaches it by vec, peek and poke (ir/ops.def), isa/riscv/vector.h has the rest. */
    u8 v[32][RV_VLENB] __attribute__((aligned(16)));
    u64 vl, vtype, vstart;
    u64 vxrm, vxsat;
    u64 vkey;    /* what translations guard by: riscv_vector_key */
    u64 vresult; /* of the last vector instruction that writes an x or f register */
    u64 vpad;
} RvState;
#define RV_NO_RESERVATION (~0ull)
enum { RV_VECTOR_OFF = 1, RV_VECTOR_ON = 2 };
#define RV_TIME_HZ 1000000000ull /* frequency of the time CSR, for hwprobe and the vDSO */

/* Privilege modes [priv "privilege levels"]. In a translation mode RV_M_MPRV stands for M-mode whose loads and stores are done as another mode's. */
enum { RV_U, RV_S, RV_M_MPRV, RV_M };

/* mstatus [priv "machine status registers"]. */
#define RV_SIE (1ull << 1)
#define RV_MIE (1ull << 3)
#define RV_SPIE (1ull << 5)
#define RV_MPIE (1ull << 7)
#define RV_SPP (1ull << 8)
#define RV_VS (3ull << 9)
#define RV_MPP (3ull << 11)
#define RV_FS (3ull << 13)
#define RV_XS (3ull << 15)
#define RV_MPRV (1ull << 17)
#define RV_SUM (1ull << 18)
#define RV_MXR (1ull << 19)
#define RV_TVM (1ull << 20)
#define RV_TW (1ull << 21)
#define RV_TSR (1ull << 22)
#define RV_SDT (1ull << 24)
#define RV_UXL (3ull << 32)
#define RV_SXL (3ull << 34)
#define RV_SD (1ull << 63)
#define RV_SSTATUS (RV_SIE | RV_SPIE | RV_SPP | RV_VS | RV_FS | RV_XS | RV_SUM | RV_MXR | RV_UXL | RV_SD)
#define RV_SSTATUS_WRITABLE (RV_SIE | RV_SPIE | RV_SPP | RV_VS | RV_FS | RV_SUM | RV_MXR)

/* What the privilege mode that runs may do (RvSystem.allow). */
enum { RV_ALLOW_TIME = 1, RV_ALLOW_ZERO = 2, RV_ALLOW_CLEAN = 4, RV_ALLOW_INVAL = 8 };

/* A whole hart: what generated code looks at. The rest of it belongs to the runtime (machine/riscv/hart.h). */
typedef struct RvSystem {
    RvState user;
    u64 page;     /* virtual address of the page that runs (Guest.page_slot) */
    u64 priv;     /* RV_U, RV_S, RV_M */
    u64 mstatus, sscratch, sepc, scause, stval;
    u64 allow;    /* RV_ALLOW_* */
    u64 irq;      /* 1: an interrupt waits that S-mode would take if it were not for SIE */
    u64 pad[7];
} RvSystem;

/* SD says whether one of these is dirty. */
static inline u64 rv_with_sd(u64 mstatus) { return (mstatus & RV_FS) == RV_FS || (mstatus & RV_VS) == RV_VS ? mstatus | RV_SD : mstatus & ~RV_SD; }

/* The translation mode of a process: the rounding mode, and */
enum { RV_MODE_NO_VECTOR = 8 };

/* The translation mode of a hart: rounding mode; who runs: privilege, with SUM for S-mode; floating-point state (0 off, 1 not dirty, 2 dirty); whether the
 * vector state is dirty. As one number below 256, which is what keys of the code cache have room for. */
enum { RV_WHO_SUM = 4, RV_WHOS = 5, RV_FLOATS = 3 };
static inline u32 rv_make_mode(unsigned fs, bool vs, bool sum, unsigned priv, u64 frm) {
    return ((vs * RV_FLOATS + fs) * RV_WHOS + (sum ? RV_WHO_SUM : priv)) << 3 | (u32)(frm & 7);
}
static inline u32 rv_system_mode(u64 mstatus, unsigned priv, u64 frm) {
    unsigned fs = mstatus >> 13 & 3;
    return rv_make_mode(fs == 3 ? 2 : fs != 0, (mstatus & RV_VS) == RV_VS, priv == RV_S && (mstatus & RV_SUM), priv, frm);
}
static inline unsigned rv_mode_who(u32 mode) { return (mode >> 3) % RV_WHOS; }
static inline unsigned rv_mode_fs(u32 mode) { return (mode >> 3) / RV_WHOS % RV_FLOATS; }
static inline bool rv_mode_vs(u32 mode) { return (mode >> 3) / (RV_WHOS * RV_FLOATS); }
static inline bool rv_mode_sum(u32 mode) { return rv_mode_who(mode) == RV_WHO_SUM; }
static inline unsigned rv_mode_priv(u32 mode) { return rv_mode_sum(mode) ? RV_S : rv_mode_who(mode); }
enum { RV_TLB_U, RV_TLB_S, RV_TLB_SUM, RV_TLB_M, RV_TLB_MPRV }; /* Guest.tlb_set */

/* The guest as the engine sees it (ir/guest.h), at user level, and a whole hart; guest.c and sem_*.c. */
typedef struct Guest Guest;
extern const Guest riscv_guest, riscv_system_guest;

/* Name of a CSR, or NULL. */
const char *riscv_csr_name(unsigned number);

#endif
