/* SPDX-License-Identifier: Apache-2.0 */
/* Runs on a bare machine, in M-mode: random uses of the privileged architecture, whose outcome is printed for another emulator to agree with
 * (privileged.py). What is left open by the manual is masked out.
 *
 * A trial goes to some mode with mret and executes a few instructions there; all of them end in a trap, taken in M-mode or delegated to S-mode, whose handler
 * comes on to M-mode with ecall. Page tables: the first levels map the program onto itself for S-mode, one page table has the random entries. */
typedef unsigned long u64;
typedef unsigned int u32;

#define SEED_DEFAULT 1
#ifndef SEED
#define SEED SEED_DEFAULT
#endif

/* --- output --- */

static void put(char c) { *(volatile char *)0x10000000 = c; }
static void text(const char *s) {
    while (*s) put(*s++);
}
static void hex(u64 v) {
    int started = 0;
    put(' ');
    for (int k = 60; k >= 0; k -= 4) {
        unsigned d = v >> k & 15;
        if (d || started || !k) put("0123456789abcdef"[d]), started = 1;
    }
}

static u64 state = SEED * 0x9e3779b97f4a7c15ul + 1;
static u64 rnd(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}
static u64 pick(u64 n) { return (rnd() >> 20) % n; }
static int flip(void) { return rnd() >> 40 & 1; }

#define READ(csr) ({ u64 v_; __asm__ volatile("csrr %0, " #csr : "=r"(v_)); v_; })
#define WRITE(csr, v) __asm__ volatile("csrw " #csr ", %0" ::"r"((u64)(v)) : "memory")
#define FENCE() __asm__ volatile("sfence.vma; fence.i" ::: "memory")

/* --- going to another mode and coming back --- */

typedef struct Outcome {
    u64 cause, epc, tval, status, a0; /* of the last trap, in M-mode */
    u64 s_cause, s_epc, s_tval, s_status; /* of the one that was delegated before; s_cause ~0: none */
} Outcome;
Outcome outcome;
u64 saved[16];

void go(u64 pc, u64 a0, u64 a1, u64 a2);
__asm__(".section .text.unlikely,\"ax\"\n.globl _start\n_start: la sp, stack_end; la t0, m_handler; csrw mtvec, t0; la t0, s_handler; csrw stvec, t0\n"
        " li t0, -1; srli t0, t0, 10; csrw pmpaddr0, t0; li t0, 0x1f; csrw pmpcfg0, t0; call main\n1: j 1b\n"
        ".macro callee op\n \\op ra, 0(t0); \\op sp, 8(t0); \\op s0, 16(t0); \\op s1, 24(t0); \\op s2, 32(t0); \\op s3, 40(t0); \\op s4, 48(t0); \\op s5, 56(t0); \\op s6, 64(t0)\n"
        " \\op s7, 72(t0); \\op s8, 80(t0); \\op s9, 88(t0); \\op s10, 96(t0); \\op s11, 104(t0); \\op gp, 112(t0); \\op tp, 120(t0)\n.endm\n"
        ".globl go\ngo: la t0, saved; callee sd; csrw mepc, a0; mv a0, a1; mv a1, a2; mv a2, a3; mret\n"
        ".balign 4\nm_handler: la t0, outcome; csrr t1, mcause; sd t1, 0(t0); csrr t1, mepc; sd t1, 8(t0); csrr t1, mtval; sd t1, 16(t0); csrr t1, mstatus; sd t1, 24(t0); sd a0, 32(t0)\n"
        " csrw satp, zero; li t1, 0x20000; csrc mstatus, t1; la t0, saved; callee ld; ret\n"
        ".balign 4\n.globl s_handler\ns_handler: la t0, outcome; csrr t1, scause; sd t1, 40(t0); csrr t1, sepc; sd t1, 48(t0); csrr t1, stval; sd t1, 56(t0); csrr t1, sstatus; sd t1, 64(t0); ecall\n"
        ".bss\n.balign 16\nstack: .space 16384\nstack_end:\n.text\n");

#define STATUS_MASK 0x7e19aaul /* SIE MIE SPIE MPIE SPP MPP MPRV SUM MXR TVM TW TSR */

static void report(const char *what, u64 base) {
    text(what);
    if (outcome.s_cause != ~0ul) {
        text(" S");
        hex(outcome.s_cause), hex(outcome.s_epc - base), hex(outcome.s_tval), hex(outcome.s_status & 0xc0122);
    }
    text(" M");
    hex(outcome.cause);
    if (outcome.s_cause == ~0ul) hex(outcome.epc - base), hex(outcome.tval);
    hex(outcome.status & STATUS_MASK & ~0x20000ul), hex(outcome.a0);
    put('\n');
}

static void enter(u64 priv, u64 status) { WRITE(mstatus, (READ(mstatus) & ~(STATUS_MASK & ~0x20000ul)) | (status & STATUS_MASK & ~(0x1800ul | 0x20000ul)) | priv << 11); }

/* --- registers --- */

#define TRY(csr, mask) { WRITE(csr, v); text(" " #csr); hex(READ(csr) & (mask)); }

static void registers(void) {
    u64 v = rnd() & (flip() ? ~0ul : rnd());
    if ((v >> 11 & 3) == 2) v ^= 1ul << 11; /* no mode: what is written then is open */
    text("csr");
    u64 status = READ(mstatus), mtvec = READ(mtvec), stvec = READ(stvec);
    WRITE(mstatus, v & 0x7e19aaul & ~0x20000ul);
    text(" mstatus");
    hex(READ(mstatus) & 0x7e19aaul);
    text(" sstatus");
    hex(READ(sstatus) & 0xc0122);
    WRITE(mstatus, status);
    TRY(mscratch, ~0ul) TRY(sscratch, ~0ul) TRY(mepc, ~1ul) TRY(sepc, ~1ul) TRY(mtval, ~0ul) TRY(stval, ~0ul) TRY(mideleg, 0x222) TRY(medeleg, 0xb1fe) TRY(mie, 0xaaa)
    text(" sie");
    hex(READ(sie) & 0x222);
    TRY(mcounteren, 7) TRY(scounteren, 7)
    v &= ~3ul;
    TRY(mtvec, ~2ul) TRY(stvec, ~2ul)
    WRITE(mtvec, mtvec);
    WRITE(stvec, stvec);
    WRITE(mie, 0);
    WRITE(mideleg, 0);
    WRITE(medeleg, 0);
    WRITE(satp, 0);
    u64 mode = pick(16) << 60;
    WRITE(satp, mode | 0x1234567);
    text(" satp");
    hex(READ(satp));
    WRITE(satp, 0);
    put('\n');
}

/* --- instructions --- */

static u32 code[64] __attribute__((aligned(4096)));

static const u32 tries[] = {
    0x00000073, 0x00100073, 0x00000000, 0xffffffff, 0x10200073, 0x30200073, 0x12000073, 0x10500073 | 0, /* ecall ebreak illegal illegal sret mret sfence.vma (wfi) */
    0x30002573, 0x10002573, 0x18002573, 0xc0002573, 0xc0102573, 0x14051073, 0x34051073, 0xc0101073, /* csrr mstatus sstatus satp cycle time; csrw sscratch mscratch time */
    0x7a002573, 0x5c002573, 0x00000001, 0x1005a52f, 0x00c5a52f, 0x0005b503, 0x00c5b023, 0x30102573, /* (7a0: see below) nonexistent c.nop lr.w amoadd.w ld sd csrr misa */
    0x3a002573, 0xf1402573, 0x00052507, 0x02a57553, 0x16000073, 0x18000073, 0x18100073, 0x0000100f, /* pmpcfg0 mhartid flw fadd.d sinval sfence.w.inval .inval.ir fence.i */
};

static void instructions(void) {
    u64 priv = pick(3), n = pick(sizeof tries / sizeof *tries);
    priv = priv == 2 ? 3 : priv;
    u32 insn = tries[n];
    if (n == 7 || n == 16 || n == 11 || n == 28) insn = 0x00000013; /* wfi may wait; triggers, counters, and what sinval.vma tells are implementation's */
    code[0] = insn;
    code[1] = code[2] = code[3] = 0x00000073; /* ecall */
    if (n == 10 || n == 9 || n == 23 || n == 8) code[1] = 0x00000513; /* li a0, 0: what they read is implementation's */
    u64 status = rnd();
    outcome.s_cause = ~0ul;
    outcome.a0 = 0;
    WRITE(medeleg, flip() ? rnd() & 0xb1ff & ~(1 << 9) : 0);
    WRITE(mcounteren, rnd() & 7);
    WRITE(scounteren, rnd() & 7);
    WRITE(sepc, &code[2]);
    WRITE(satp, 0);
    enter(priv, status & ~0xaul);
    if (status >> 50 & 1) __asm__ volatile("csrs mstatus, %0" ::"r"(3ul << 13));
    else __asm__ volatile("csrc mstatus, %0" ::"r"(3ul << 13));
    FENCE();
    static u64 data[4] __attribute__((aligned(64)));
    data[0] = 0x1122334455667788;
    u64 address = (u64)data + (flip() || n == 19 || n == 20 ? 0 : pick(8)); /* emulators differ in how misaligned atomics fail */
    if (!priv && (n == 29 || n == 30)) code[0] = insn = 0x13; /* illegal, but not everywhere */
    if (insn == 0x30200073 || (insn == 0x10200073 && priv == 3)) { code[0] = 0x13; insn = 0; } /* would go anywhere */
    go((u64)code, 0, address, 5);
    text("insn");
    hex(insn), hex(priv);
    if (outcome.tval - (u64)data < 64) outcome.tval -= (u64)data;
    if (outcome.s_tval - (u64)data < 64) outcome.s_tval -= (u64)data;
    if (n == 12) outcome.a0 = 0; /* the time */
    if (outcome.cause == 3) outcome.tval = 0; /* pc or 0 */
    if (outcome.s_cause == 3) outcome.s_tval = 0;
    report("", (u64)code);
    WRITE(medeleg, 0);
}

/* --- translation --- */

#define PAGES 16
static u64 root[512] __attribute__((aligned(4096))), level3[512] __attribute__((aligned(4096))), level2[512] __attribute__((aligned(4096))), level1[512] __attribute__((aligned(4096))),
    leaves[512] __attribute__((aligned(4096)));
static u64 pages[PAGES][512] __attribute__((aligned(65536)));
enum { V = 1, R = 2, W = 4, X = 8, U = 16, G = 32, A = 64, D = 128 };

static u64 pte(const void *to, u64 flags) { return (u64)to >> 12 << 10 | flags; }

/* Virtual 0x40000000 + n pages: the random ones. The gigabyte from 0x80000000 is mapped onto itself for S-mode, and in the second gigabyte from 0 there is nothing else. */
static u64 tables(unsigned levels) {
    u64 *top = levels == 3 ? level2 : levels == 4 ? level3 : root;
    for (int k = 0; k < 512; k++) root[k] = level3[k] = level2[k] = level1[k] = leaves[k] = 0;
    if (levels == 5) root[0] = pte(level3, V);
    if (levels >= 4) level3[0] = pte(level2, V);
    level2[2] = pte((void *)0x80000000, V | R | W | X | A | D | G);
    level2[1] = pte(level1, V);
    level1[0] = pte(leaves, V);
    if (!pick(8)) level1[0] |= 1ul << (4 + pick(4)); /* reserved in a pointer */
    for (int k = 0; k < PAGES; k++) leaves[k] = pte(pages[k], rnd() & 0xff & (pick(3) ? ~0ul : rnd())) | (pick(4) ? V : 0);
    if (!pick(8)) level1[1] = pte(pages, (rnd() & 0xff) | V); /* a superpage, perhaps misaligned */
    return (u64)(levels + 5) << 60 | (u64)top >> 12;
}

static void translation(void) {
    unsigned levels = 3 + pick(MAX_LEVELS - 2);
    u64 satp = tables(levels);
    for (int k = 0; k < PAGES; k++) {
        pages[k][0] = 0x1000 + k;
        ((u32 *)pages[k])[4] = 0x00000073; /* ecall at +16 */
    }
    for (int round = 0; round < 12; round++) {
        static const u32 bodies[][3] = {{0x0005b503, 0x00000073, 0}, {0x00c5b023, 0x00000073, 0}, {0x00058067, 0x00000073, 0}, {0x00c5b52f, 0x00000073, 0}}; /* ld; sd; jr a1; amoadd.d a0,a2,(a1) */
        u64 n = pick(4), page = pick(PAGES), priv = flip(), status = rnd();
        u64 address = 0x40000000 + page * 4096 + (n == 2 ? 16 : pick(4) ? 0 : n == 3 ? 8 : pick(3) == 0 ? 4090 : pick(8));
        if (!pick(12)) address = pick(2) ? 1ul << (30 + pick(34)) : 0x40200000 + pick(2) * 4096;
        /* U-mode needs code of its own: page 15 is that, and the same for S-mode where it is told so. */
        if (n == 3) leaves[page] |= A; /* some emulators load first, and some do not */
        leaves[PAGES] = pte(code, V | R | X | A | D | (priv ? 0 : U));
        for (int k = 0; k < 3; k++) code[k] = bodies[n][k];
        outcome.s_cause = ~0ul;
        outcome.a0 = 0;
        WRITE(medeleg, flip() ? 0xb000 : 0);
        WRITE(satp, satp);
        FENCE();
        enter(priv, status & ~0xaul);
        u64 base = 0x40000000 + PAGES * 4096;
        go(base, 0, address, 7);
        if (!pick(3)) FENCE();
        text("vm");
        hex(levels), hex(n), hex(priv), hex(address), hex(leaves[page] & 0xff), hex(status >> 18 & 3);
        /* The part of an access over two pages that faulted may be told, or the access; and who cannot be read is no atomic's load. */
        if (outcome.tval == (address | 4095) + 1) outcome.tval = address;
        if (outcome.s_tval == (address | 4095) + 1) outcome.s_tval = address;
        if (n == 3 && outcome.cause == 13) outcome.cause = 15;
        if (n == 3 && outcome.s_cause == 13) outcome.s_cause = 15;
        report("", base);
        WRITE(medeleg, 0);
    }
    u64 sum = 0;
    for (int k = 0; k < PAGES; k++) sum = sum * 31 + pages[k][0] + (leaves[k] & 0xff);
    text("sum");
    hex(sum);
    put('\n');
}

/* --- pointer masking, and what mstateen lets lower modes see: for those who know of it --- */

#define PMM (3ul << 32)
#define MASKS(user, supervisor, machine) { WRITE(0x10a, user); WRITE(0x30a, (READ(0x30a) & ~PMM) | (supervisor)); WRITE(0x747, machine); } /* senvcfg, menvcfg, mseccfg */

/* Nobody should write the reserved one to QEMU, and its M-mode has none. */
static void masks(void) {
    static const u64 some[] = {0, 2ul << 32, 3ul << 32};
    u64 user = some[pick(3)], supervisor = some[pick(3)];
    MASKS(user, supervisor, 0)
    text("mask");
    hex(READ(0x10a) & PMM), hex(READ(0x30a) & PMM);
    put('\n');
}

static volatile u64 word = 77;

/* What the oracle cannot tell: reserved lengths, at which it ends, and M-mode's own addresses. ROUNDS 0: nothing but this. */
static void own(void) {
    static const unsigned char bits[] = {0, 0, 7, 16};
    int good = 1;
    for (u64 k = 0; k < 8; k++) {
        u64 before = READ(0x747) & PMM, want = (k & 3) == 1 ? before : (k & 3) << 32, tag = want ? ~0ul << (64 - bits[want >> 32]) : 0;
        WRITE(0x747, (k & 3) << 32);
        good &= (READ(0x747) & PMM) == want && *(volatile u64 *)((u64)&word | tag) == 77;
    }
    WRITE(0x747, 0);
    text(good ? "own good\n" : "own WRONG\n");
}

/* The same address twice: its page changes in between, and only the address without its tag is fenced. */
static void masking(void) {
    static const u32 bodies[][2] = {{0x0005b503, 0x73}, {0x00c5b023, 0x73}, {0x00058067, 0x73}, {0x00c5b52f, 0x73}}; /* ld; sd; jr a1; amoadd.d a0,a2,(a1) */
    u64 priv = pick(3), levels = pick(2) * (3 + pick(MAX_LEVELS - 2)), n = pick(4), satp = levels ? tables(levels) : 0, base = levels && priv < 2 ? 0x40000000 + PAGES * 4096 : (u64)code;
    u64 plain = priv < 2 && levels ? 0x40000000 : (u64)pages[0], address = plain + (n == 2 ? 16 : pick(4) ? 0 : 4092), tag = rnd() >> 48 << 48 & (flip() ? ~0ul : 0xfeul << 56), mprv = priv == 2 && flip();
    priv = priv == 2 ? 3 : priv;
    if (!pick(16)) tag |= 1ul << 47;
    masks();
    for (int k = 0; k < 2; k++) {
        level1[0] = pte(leaves, V), level1[1] = 0;
        leaves[0] = pte(pages[k], V | R | W | X | A | D | (priv ? 0 : U));
        leaves[1] = pte(pages[2], V | R | W | X | A | D | (priv ? 0 : U));
        leaves[PAGES] = pte(code, V | R | X | A | D | (priv ? 0 : U));
        pages[k][0] = 0x2000 + k;
        ((u32 *)pages[k])[4] = 0x73;
        code[0] = bodies[n][0], code[1] = bodies[n][1];
        outcome.s_cause = ~0ul, outcome.a0 = 0;
        WRITE(satp, satp);
        if (k) __asm__ volatile("sfence.vma %0" ::"r"(plain) : "memory");
        else FENCE();
        enter(priv, 0);
        if (mprv) __asm__ volatile("csrs mstatus, %0" ::"r"(1ul << 17));
        go(base, 0, address | tag, 5);
        text("tag");
        hex(levels), hex(priv), hex(n), hex(mprv), hex(address | tag), hex(pages[0][0]);
        report("", base);
    }
    MASKS(0, 0, 0)
}

static void stateen(void) {
    static const u32 reads[] = {0x10a02573, 0x10c02573, 0x10d02573, 0xda002573, 0x15002573}; /* csrr a0 of senvcfg sstateen0 sstateen1 scountovf siselect */
    u64 priv = flip();
    WRITE(0x30c, rnd()); /* mstateen0 */
    code[0] = reads[pick(5)], code[1] = 0x513, code[2] = 0x73; /* what is in them is another matter */
    outcome.s_cause = ~0ul;
    WRITE(satp, 0);
    FENCE();
    enter(priv, 0);
    go((u64)code, 0, 0, 0);
    text("stateen");
    hex(READ(0x30c) >> 62), hex(code[0]), hex(priv);
    report("", (u64)code);
    WRITE(0x30c, ~0ul);
}

/* --- units that can be off: mstatus.FS and VS, for those who have vectors --- */

#define UNITS (3ul << 13 | 3ul << 9 | 1ul << 63)
#define V_ON() __asm__ volatile("csrs mstatus, %0" ::"r"(3ul << 13 | 3ul << 9))

static const u32 uses[] = {
    0x0c05f557, 0xcd027057, 0x022180d7, 0x522180d7, 0xa623a0f7, 0x42202557, 0x0205e087, 0x0205e127, /* vsetvli vsetivli vadd.vv vror.vv vaesz.vs vmv.x.s vle32.v vse32.v */
    0x02858087, 0x028580a7, 0x022190d7, 0x42201557, 0x0005a507, 0x02a57553, 0x00a5a027, 0x001020f3, /* vl1re8.v vs1r.v vfadd.vv vfmv.f.s flw fadd.d sw csrrs fflags */
    0xc2002573, 0xc2102573, 0xc2202573, 0x00802573, 0x00902573, 0x00a02573, 0x00f02573, 0x00b02573, /* csrr vl vtype vlenb vstart vxsat vxrm vcsr, and none */
    0x00861073, 0x00961073, 0x00a61073, 0x00f61073, 0xc2061073, 0x00301573, 0x1000a573, 0x10003573, /* csrw vstart vxsat vxrm vcsr vl fcsr; csrrs, csrrc sstatus (a0 is left) */
};

static void vector_state(void) {
    static u32 data[4] __attribute__((aligned(16)));
    u64 sum = 0;
    V_ON();
    text(" vl"), hex(READ(0xc20)), hex(READ(0xc21)), hex(READ(0x008)), hex(READ(0x00f));
    WRITE(0x008, 0);
    register void *a1 __asm__("a1") = data;
    __asm__ volatile(".insn 4, 0x028580a7" ::"r"(a1) : "memory"); /* vs1r.v v1 */
    for (int k = 0; k < 4; k++) sum = sum * 31 + data[k];
    hex(sum);
}

static void units(void) {
    static u32 data[4] __attribute__((aligned(16))) = {0x3f800000, 0x40000000, 0x40400000, 5};
    u64 priv = pick(3), n = pick(sizeof uses / sizeof *uses), unit = rnd() & UNITS, status = rnd();
    priv = priv == 2 ? 3 : priv;
    WRITE(mstatus, (READ(mstatus) & ~UNITS) | unit);
    text("units"), hex(READ(mstatus) & UNITS), hex(READ(sstatus) & UNITS);
    V_ON();
    register void *a1 __asm__("a1") = data;
    __asm__ volatile(".insn 4, 0xcd027057; .insn 4, 0x0205e087; .insn 4, 0x0205e107; .insn 4, 0x0205e187; csrw 0x00f, zero" ::"r"(a1)); /* e32, 4 of them; v1 v2 v3 */
    code[0] = uses[n];
    code[1] = code[2] = 0x73;
    WRITE(medeleg, 0);
    WRITE(satp, 0);
    FENCE();
    outcome.s_cause = ~0ul, outcome.a0 = 0;
    enter(priv, status & ~0xaul);
    __asm__ volatile("csrc mstatus, %0" ::"r"(UNITS));
    __asm__ volatile("csrs mstatus, %0" ::"r"(unit & ~(1ul << 63)));
    go((u64)code, 0, (u64)data, 1 + pick(3));
    if (n == 10 && (outcome.status & 3ul << 13)) outcome.status |= 3ul << 13 | 1ul << 63; /* it accrues flags, which not everybody takes for a change */
    hex(uses[n]), hex(priv), hex(outcome.status & UNITS);
    if (outcome.tval - (u64)data < 64) outcome.tval -= (u64)data;
    if (uses[n] == 0x1000a573 || uses[n] == 0x10003573) outcome.a0 = 0;
    vector_state();
    report("", (u64)code);
}

/* --- memory protection: rules for parts of a page --- */

static void protection(void) {
    static const u64 rights[] = {0, 1, 3, 4, 5, 7};
    u64 priv = flip(), config = 0x1ful << 32, start = pick(4), address = (u64)&code[2 * pick(17)], rules[3];
    for (int k = 0; k < 32; k++) code[k] = 0x13;
    code[8] = 0x0005b503; /* ld a0, 0(a1) */
    code[31] = 0x73;
    for (int k = 0; k < 3; k++) {
        u64 kind = 1 + pick(3), at = (u64)&code[pick(32)] >> 2;
        config |= (kind << 3 | rights[pick(6)]) << 8 * k;
        rules[k] = kind == 3 ? (at & ~1ul) | flip() : at; /* 8 or 16 bytes, if a power of two */
    }
    WRITE(pmpaddr4, ~0ul >> 10);
    WRITE(pmpaddr0, rules[0]);
    WRITE(pmpaddr1, rules[1]);
    WRITE(pmpaddr2, rules[2]);
    WRITE(pmpcfg0, config);
    FENCE();
    outcome.s_cause = ~0ul;
    enter(priv, 0);
    go((u64)&code[start], 0, address, 0);
    WRITE(pmpcfg0, 0x1f);
    WRITE(pmpaddr0, ~0ul >> 10);
    FENCE();
    text("pmp");
    hex(config & 0xffffff), hex(address - (u64)code), hex(rules[0] - ((u64)code >> 2)), hex(rules[1] - ((u64)code >> 2)), hex(rules[2] - ((u64)code >> 2)), hex(outcome.a0 != 0);
    report("", (u64)code);
}

/* --- interrupts --- */

static void interrupts(void) {
    u64 priv = flip() ? 3 : flip(), status = rnd(), pending = rnd() & 0x222, enabled = 1ul << (1 + 4 * pick(3)), delegated = rnd() & 0x222;
    code[0] = code[1] = 0x00000013;
    code[2] = 0x00000073;
    outcome.s_cause = ~0ul;
    outcome.a0 = 0;
    WRITE(mideleg, delegated);
    WRITE(mie, enabled);
    WRITE(mip, pending);
    FENCE();
    enter(priv, status);
    if (priv == 3) __asm__ volatile("csrc mstatus, %0" ::"r"(8ul | 1ul << 7)); /* or the handler would be interrupted */
    __asm__ volatile("csrc mstatus, %0" ::"r"(8ul));
    go((u64)code, 0, 0, 0);
    text("irq");
    hex(priv), hex(pending), hex(enabled), hex(delegated), hex(READ(mip) & 0x222);
    if (outcome.s_cause != ~0ul) outcome.s_epc = outcome.s_epc == (u64)code || outcome.s_epc > (u64)code ? (u64)code : 0;
    if (outcome.cause >> 63) outcome.epc = (u64)code;
    report("", (u64)code);
    WRITE(mie, 0);
    WRITE(mip, 0);
    WRITE(mideleg, 0);
}

int main(void) {
    text("begin\n");
    for (int k = 0; k < ROUNDS; k++) {
        registers();
        for (int n = 0; n < 8; n++) instructions();
        translation();
        for (int n = 0; n < 4 * (PARTS > 0); n++) protection();
        for (int n = 0; n < 4 * (PARTS > 1); n++) masking(), stateen();
        for (int n = 0; n < 8 * (PARTS > 1); n++) units();
        for (int n = 0; n < 4; n++) interrupts();
    }
    if (!ROUNDS) own();
    text("end\n");
    *(volatile u32 *)0x100000 = 0x5555;
    for (;;) {}
}
