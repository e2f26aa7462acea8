/* SPDX-License-Identifier: Apache-2.0 */
/* Vector registers as Linux keeps them: over signals, whose handlers see and change them; not over system calls; fresh in every new thread, process
 * and program; for tracers; allowed and forbidden by prctl; told of by auxv, hwprobe and /proc/cpuinfo. The expected text is what Debian's kernel 6.12 prints, which tests/machine/boot.py asks again. */
//: oracle: none
#include "t.h"
#include <elf.h>
#include <linux/ptrace.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#define HWCAP_V (1ul << ('v' - 'a'))
#define VILL (1ul << 63)
enum { V_MAGIC = 0x53465457, V_SIZE = 568, V_NOTE = 0x901, SET_CONTROL = 69, GET_CONTROL = 70, OFF = 1, ON = 2, NEXT_OFF = OFF << 2, NEXT_ON = ON << 2, INHERIT = 16 };

typedef struct Vectors {
    uint64_t vstart, vl, vtype, vcsr, vlenb; /* also what NT_RISCV_VECTOR has */
    uint8_t v[32][16];
} Vectors;

typedef struct Context { /* in a signal frame */
    uint32_t magic, size;
    uint64_t vstart, vl, vtype, vcsr, vlenb;
    uint8_t (*data)[16];
} Context;

#define BEGIN ".option push; .option arch, +v; .option norvc;"
#define LOAD                                                                                                                             \
    "addi t0, %0, 40; vl8re8.v v0, (t0); addi t0, t0, 128; vl8re8.v v8, (t0); addi t0, t0, 128; vl8re8.v v16, (t0); addi t0, t0, 128; vl8re8.v v24, (t0);" \
    "ld t0, 8(%0); ld t1, 16(%0); vsetvl x0, t0, t1; ld t0, 24(%0); csrw vcsr, t0; ld t0, 0(%0); csrw vstart, t0;"
#define SAVE                                                                                                                             \
    "csrr t0, vstart; sd t0, 0(%1); csrw vstart, x0; csrr t0, vl; sd t0, 8(%1); csrr t0, vtype; sd t0, 16(%1); csrr t0, vcsr; sd t0, 24(%1); csrr t0, vlenb; sd t0, 32(%1);" \
    "addi t0, %1, 40; vs8r.v v0, (t0); addi t0, t0, 128; vs8r.v v8, (t0); addi t0, t0, 128; vs8r.v v16, (t0); addi t0, t0, 128; vs8r.v v24, (t0);"
#define END ".option pop"
/* Loads all of `in`, does something, saves all to `out`. */
#define AROUND(what, in, out) __asm__ volatile(BEGIN LOAD what SAVE END : : "r"(in), "r"(out) : "t0", "t1", "a0", "a7", "memory")
#define EBREAK ".4byte 0x00100073;"
#define GETPID "li a7, 172; ecall;"

static void load(const Vectors *in) { __asm__ volatile(BEGIN LOAD END : : "r"(in) : "t0", "t1", "memory"); }
static void save(Vectors *out) { __asm__ volatile(BEGIN SAVE END : : "r"(NULL), "r"(out) : "t0", "memory"); }

static Vectors pattern(unsigned seed, uint64_t vl, uint64_t vtype, uint64_t vcsr) {
    Vectors p = {.vl = vl, .vtype = vtype, .vcsr = vcsr, .vlenb = 16};
    for (int r = 0; r < 32; r++)
        for (int k = 0; k < 16; k++) p.v[r][k] = (uint8_t)(seed + r * 16 + k * 7);
    return p;
}

static bool same(const Vectors *a, const Vectors *b) {
    for (int r = 0; r < 32; r++)
        if (memcmp(a->v[r], b->v[r], 16)) printf("v%d differs\n", r);
    if (memcmp(a, b, offsetof(Vectors, v)))
        printf("%lu %lu %lx %lu %lu is not %lu %lu %lx %lu %lu\n", a->vstart, a->vl, a->vtype, a->vcsr, a->vlenb, b->vstart, b->vl, b->vtype, b->vcsr, b->vlenb);
    return !memcmp(a, b, sizeof *a);
}

static bool is_fresh(const Vectors *s) {
    static const uint8_t zero[32][16];
    return s->vtype == 0 && s->vl == 0 && s->vstart == 0 && s->vcsr == 0 && !memcmp(s->v, zero, sizeof zero);
}

/* --- signals -------------------------------------------------------------------------------------------------- */

static Context *context_of(ucontext_t *uc) { return (Context *)((char *)&uc->uc_mcontext.__fpregs + 520); }

static volatile int seen; /* 1: the frame had no vectors, 2: it had, and as many as were expected */
static Vectors expected;
static uint8_t elsewhere[32][16];

static void on_trap(int sig, siginfo_t *info, void *uc_) {
    ucontext_t *uc = uc_;
    Context *c = context_of(uc);
    Vectors junk = pattern(99, 16, 0, 0);
    UC_PC(uc) += 4;
    seen = 1;
    if (!c->magic) return;
    CHECK(c->magic == V_MAGIC && c->size == V_SIZE && c->vlenb == 16);
    const uint32_t *end = (const uint32_t *)((char *)c + V_SIZE);
    CHECK(end[0] == 0 && end[1] == 0);
    CHECK((uint8_t *)c->data == (uint8_t *)(c + 1) && (uintptr_t)c->data % 16 == 0);
    CHECK(c->vl == expected.vl && c->vtype == expected.vtype && c->vcsr == expected.vcsr && c->vstart == expected.vstart);
    CHECK(!memcmp(c->data, expected.v, sizeof expected.v));
    seen = 2;
    load(&junk); /* that the frame brings back what was */
    getpid();
    if (sig != SIGTRAP) return;
    c->data[9][3] = 0xe7;
    c->vl = 2;
    c->vstart = 1;
    c->vcsr = 4;
}

static void on_trap_moved(int sig, siginfo_t *info, void *uc_) {
    Context *c = context_of(uc_);
    UC_PC((ucontext_t *)uc_) += 4;
    for (int r = 0; r < 32; r++) memset(elsewhere[r], r, 16);
    c->data = elsewhere;
    c->vl = 1000; /* more than there are: the most */
    c->vtype = 0x99; /* e64, m2, ta, mu */
}

static void signals(void) {
    Vectors in = pattern(1, 3, 0xd0 /* e32, m1, ta, ma */, 5), out;
    on_signal(SIGTRAP, on_trap, 0);
    on_signal(SIGILL, on_trap, 0);
    expected = in;
    AROUND(EBREAK, &in, &out);
    CHECK(seen == 2);
    in.v[9][3] = 0xe7;
    in.vl = 2, in.vstart = 1, in.vcsr = 4;
    CHECK(same(&in, &out));
    expected = in = pattern(7, 16, 0xc3 /* e8, m8 */, 0);
    AROUND(".4byte 0;", &in, &out); /* nothing is changed */
    CHECK(same(&in, &out));
    on_signal(SIGTRAP, on_trap_moved, 0);
    AROUND(EBREAK, &in, &out);
    CHECK(out.vl == 4 && out.vtype == 0x99 && out.v[0][0] == 0 && out.v[31][15] == 31 && out.vcsr == 0);
    in = pattern(7, 0, VILL | 0xd0, 3);
    on_signal(SIGTRAP, on_trap, 0);
    expected = in;
    expected.vtype = VILL;
    AROUND(EBREAK, &in, &out); /* a reserved vtype stays what it is */
    CHECK(seen == 2 && out.vtype == VILL && out.vl == 0 && out.v[9][3] == 0xe7);
    puts("signals: good");
}

/* --- frames that are damaged ------------------------------------------------------------------------------------- */

static int damage;
static void on_trap_damage(int sig, siginfo_t *info, void *uc_) {
    Context *c = context_of(uc_);
    UC_PC((ucontext_t *)uc_) += 4;
    signal(SIGSEGV, SIG_DFL);
    switch (damage) {
    case 0: c->size++; break;
    case 1: c->magic++; break;
    case 2: ((uint32_t *)c)[-1] = 1; break; /* reserved */
    case 3: c->data = (void *)8; break;
    case 4: ((uint32_t *)((char *)c + V_SIZE))[1] = 8; break; /* the end */
    case 5: c->magic = c->size = 0; break; /* no vectors: that is allowed */
    }
}

static void damaged(void) {
    Vectors in = pattern(1, 3, 0xd0, 5), out;
    on_signal(SIGTRAP, on_trap_damage, 0);
    AROUND(EBREAK, &in, &out);
    puts("came back");
}

static void frames(void) {
    for (damage = 0; damage < 6; damage++) {
        char name[32];
        snprintf(name, sizeof name, "damage %d", damage);
        in_child(name, damaged);
    }
}

/* --- alternate stacks ---------------------------------------------------------------------------------------------- */

static void alternate(void) {
    unsigned long least = getauxval(AT_MINSIGSTKSZ);
    Vectors in = pattern(3, 3, 0xd0, 5), out;
    static char stack[4096] __attribute__((aligned(16)));
    printf("least stack: %lu\n", least);
    stack_t ss = {.ss_sp = stack, .ss_size = sizeof stack};
    CHECK(sigaltstack(&ss, NULL) == 0);
    on_signal(SIGTRAP, on_trap, SA_ONSTACK);
    expected = in;
    seen = 0;
    AROUND(EBREAK, &in, &out);
    CHECK(seen == 2);
    ss.ss_flags = SS_DISABLE;
    CHECK(sigaltstack(&ss, NULL) == 0);
    puts("alternate: good");
}

/* --- system calls, threads, processes ----------------------------------------------------------------------------- */

static void calls(void) {
    Vectors in = pattern(5, 3, 0xd0, 5), out;
    AROUND(GETPID, &in, &out);
    CHECK(out.vtype == VILL && out.vl == 0 && out.vstart == 0 && out.vcsr == 5);
    for (int r = 0; r < 32; r++)
        for (int k = 0; k < 16; k++) CHECK(out.v[r][k] == 0xff);
    puts("calls: good");
}

static void fresh(void) {
    Vectors s;
    save(&s);
    CHECK(is_fresh(&s));
}

static void *fresh_thread(void *arg) {
    fresh();
    return NULL;
}

/* A thread that has used none has none in its frames. */
static void unused(void) {
    on_signal(SIGTRAP, on_trap, 0);
    seen = 0;
    __asm__ volatile(EBREAK);
    printf("unused: %d\n", seen);
}

static void tasks(void) {
    Vectors in = pattern(5, 3, 0xd0, 5);
    pthread_t t;
    load(&in);
    in_child("fork", fresh);
    load(&in);
    CHECK(pthread_create(&t, NULL, fresh_thread, NULL) == 0);
    pthread_join(t, NULL);
    in_child("frame", unused);
    puts("tasks: good");
}

/* --- tracers ------------------------------------------------------------------------------------------------------- */

static long trace(long request, pid_t pid, unsigned long addr, void *data) { return syscall(SYS_ptrace, request, pid, addr, data); }

static void tracee(void) {
    Vectors in = pattern(11, 3, 0xd0, 5), out;
    CHECK(trace(PTRACE_TRACEME, 0, 0, 0) == 0);
    __asm__ volatile(EBREAK); /* nothing used yet */
    AROUND(EBREAK, &in, &out);
    in.v[1][0] = 0xab;
    in.vl = 1, in.vcsr = 2;
    CHECK(same(&in, &out));
    AROUND(EBREAK, &in, &out);
    CHECK(out.vtype == VILL && out.vl == 0);
    _exit(7);
}

static void stop(pid_t pid) {
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
}

static void go_on(pid_t pid) {
    unsigned long regs[32];
    struct iovec io = {regs, sizeof regs};
    CHECK(trace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &io) == 0);
    regs[0] += 4;
    CHECK(trace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &io) == 0 && trace(PTRACE_CONT, pid, 0, 0) == 0);
}

static void tracer(void) {
    Vectors want = pattern(11, 3, 0xd0, 5), have;
    unsigned char large[4096];
    struct iovec io = {&have, sizeof have};
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) tracee();
    stop(pid);
    FAILS(trace(PTRACE_GETREGSET, pid, V_NOTE, &io), EINVAL);
    FAILS(trace(PTRACE_SETREGSET, pid, V_NOTE, &io), EINVAL);
    go_on(pid);
    stop(pid);
    CHECK(trace(PTRACE_GETREGSET, pid, V_NOTE, &io) == 0 && io.iov_len == sizeof have && same(&want, &have));
    io = (struct iovec){large, sizeof large};
    CHECK(trace(PTRACE_GETREGSET, pid, V_NOTE, &io) == 0 && io.iov_len == sizeof large && same(&want, (Vectors *)large));
    io = (struct iovec){large, 42};
    FAILS(trace(PTRACE_GETREGSET, pid, V_NOTE, &io), EINVAL);
    io = (struct iovec){&have, sizeof have};
    have.vlenb = 32;
    FAILS(trace(PTRACE_SETREGSET, pid, V_NOTE, &io), EINVAL);
    have.vlenb = 16;
    have.v[1][0] = 0xab, have.vl = 1, have.vcsr = 2;
    CHECK(trace(PTRACE_SETREGSET, pid, V_NOTE, &io) == 0);
    go_on(pid);
    stop(pid);
    have.vtype = 0x7ff; /* there is no such type */
    CHECK(trace(PTRACE_SETREGSET, pid, V_NOTE, &io) == 0);
    go_on(pid);
    print_end("tracee", pid);
}

/* --- control --------------------------------------------------------------------------------------------------------- */

static bool told(void) { return getauxval(AT_HWCAP) & HWCAP_V; }

static void use(void) { __asm__ volatile(BEGIN "vsetvli x0, x0, e8, m1, ta, ma;" END); }
static void use_load(void) { __asm__ volatile(BEGIN "vl1re8.v v1, (%0);" END : : "r"(elsewhere) : "memory"); }
static void use_csr(void) { __asm__ volatile("csrr t0, 0xc22" : : : "t0"); }

static void *use_thread(void *arg) {
    in_child("thread, vlenb", use_csr);
    return NULL;
}

static void execute(const char *how) {
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        execl("/proc/self/exe", "self", how, NULL);
        _exit(98);
    }
    print_end(how, pid);
}

static void on_ill_skip(int sig, siginfo_t *info, void *uc) {
    seen++;
    UC_PC((ucontext_t *)uc) += 4;
}

/* In a program that is not allowed any. */
static void forbidden(void) {
    pthread_t t;
    int control = prctl(GET_CONTROL);
    printf("told: %d, control %d\n", told(), control);
    in_child("vsetvli", use);
    in_child("vl1r", use_load);
    in_child("vlenb", use_csr);
    CHECK(pthread_create(&t, NULL, use_thread, NULL) == 0);
    pthread_join(t, NULL);
    on_signal(SIGILL, on_ill_skip, 0);
    seen = 0;
    for (int k = 0; k < 1000; k++) use();
    printf("illegal: %d\n", seen);
    CHECK(prctl(SET_CONTROL, OFF | INHERIT) == 0 && prctl(GET_CONTROL) == (OFF | INHERIT));
    CHECK(prctl(SET_CONTROL, ON) == 0);
    use();
    use_load();
    use_csr();
    printf("illegal: %d\n", seen);
    FAILS(prctl(SET_CONTROL, OFF), EPERM);
}

static void control(void) {
    CHECK(prctl(GET_CONTROL) == ON);
    FAILS(prctl(SET_CONTROL, OFF), EPERM);
    FAILS(prctl(SET_CONTROL, 3), EINVAL);
    FAILS(prctl(SET_CONTROL, 3 << 2), EINVAL);
    FAILS(prctl(SET_CONTROL, 32), EINVAL);
    CHECK(prctl(SET_CONTROL, NEXT_OFF) == 0 && prctl(GET_CONTROL) == (ON | NEXT_OFF));
    use(); /* still */
    execute("forbidden");
    execute("once"); /* its next program may again */
    CHECK(prctl(SET_CONTROL, NEXT_OFF | INHERIT) == 0);
    execute("inherited");
    CHECK(prctl(SET_CONTROL, NEXT_ON | INHERIT) == 0);
    execute("allowed");
    CHECK(prctl(SET_CONTROL, 0) == 0 && prctl(GET_CONTROL) == ON);
    execute("allowed");
}

static int program(const char *how) {
    if (!strcmp(how, "forbidden")) forbidden();
    if (!strcmp(how, "once") || !strcmp(how, "inherited")) {
        int now = prctl(GET_CONTROL);
        printf("%s: told %d, control %d\n", how, told(), now);
        execute("last");
    }
    if (!strcmp(how, "last") || !strcmp(how, "allowed")) {
        int now = prctl(GET_CONTROL);
        printf("%s: told %d, control %d\n", how, told(), now);
        in_child("use", use);
    }
    fflush(stdout);
    return 0;
}

/* --- what is told ------------------------------------------------------------------------------------------------------ */

static void probe(void) {
    struct { int64_t key; uint64_t value; } p[] = {{4, 0}, {10, 0}};
    static const int bits[] = {2, 17, 18, 19, 20, 21, 22, 26, 30, 31, 37, 38, 39, 40, 41};
    char line[4096], *isa = NULL;
    CHECK(told());
    CHECK(syscall(258, p, 2, 0, NULL, 0) == 0);
    for (int k = 0; k < COUNT(bits); k++) CHECK(p[0].value >> bits[k] & 1);
    CHECK(p[1].key == -1 || p[1].value == 3); /* Linux 6.13: misaligned accesses are fast */
    FILE *f = fopen("/proc/cpuinfo", "r");
    CHECK(f);
    while (!isa && fgets(line, sizeof line, f)) isa = !strncmp(line, "isa\t", 4) ? strstr(line, "rv64imafdcv") : NULL;
    fclose(f);
    CHECK(isa && strstr(isa, "_zvbb_") && strstr(isa, "_zvknha_") && strstr(isa, "_zvkt"));
    puts("probe: good");
}

int main(int argc, char **argv) {
    if (argc > 1) return program(argv[1]);
    setvbuf(stdout, NULL, _IOLBF, 0);
    probe();
    in_child("start", fresh);
    signals();
    frames();
    alternate();
    calls();
    tasks();
    tracer();
    control();
    return 0;
}
