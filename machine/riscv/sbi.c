/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor's binary interface, version 2.0, where no firmware is loaded [sbi]: base, time, IPI, remote fences, hart states, system reset,
 * the debug console, counters (sbi_pmu.c), and the older calls for console, timer and shutdown. Fences and IPIs go from thread to thread, with no trap into any firmware. */
#include "machine/machine.h"
#include "machine/riscv/sbi.h"

enum {
    EXT_SET_TIMER, EXT_PUTCHAR, EXT_GETCHAR, EXT_CLEAR_IPI, EXT_SEND_IPI, EXT_OLD_FENCE_I, EXT_OLD_FENCE, EXT_OLD_FENCE_ASID, EXT_SHUTDOWN,
    EXT_BASE = 0x10, EXT_TIME = 0x54494d45, EXT_IPI = 0x735049, EXT_RFENCE = 0x52464e43, EXT_HSM = 0x48534d, EXT_SRST = 0x53525354, EXT_DBCN = 0x4442434e, EXT_PMU = 0x504d55,
};
enum { SBI_VERSION = 2 << 24, SBI_IMPLEMENTATION = 0x49534f /* not a number that was given out */ };

static bool known(u64 ext) {
    switch (ext) {
    case EXT_SET_TIMER: case EXT_PUTCHAR: case EXT_GETCHAR: case EXT_CLEAR_IPI: case EXT_SEND_IPI: case EXT_OLD_FENCE_I: case EXT_OLD_FENCE: case EXT_OLD_FENCE_ASID:
    case EXT_SHUTDOWN: case EXT_BASE: case EXT_TIME: case EXT_IPI: case EXT_RFENCE: case EXT_HSM: case EXT_SRST: case EXT_DBCN: case EXT_PMU:
        return true;
    }
    return false;
}

static SbiResult base(u64 function, u64 a) {
    switch (function) {
    case 0: return sbi_ok(SBI_VERSION);
    case 1: return sbi_ok(SBI_IMPLEMENTATION);
    case 2: return sbi_ok(1);
    case 3: return sbi_ok(known(a));
    case 4: case 5: case 6: return sbi_ok(0); /* mvendorid, marchid, mimpid */
    }
    return sbi_failed(SBI_NOT_SUPPORTED);
}

/* Do mask and base name harts that are there? */
static bool valid_mask(const Hart *h, u64 mask, u64 base) {
    if (base == ~0ull) return true;
    u32 n = machine_hart_count(h->machine);
    return base < n && (!mask || base + (63 - (u64)__builtin_clzll(mask)) < n);
}

static void send_ipi(Hart *h, u64 mask, u64 base) {
    for (u32 k = 0; k < machine_hart_count(h->machine); k++)
        if (hart_named(base, mask, k)) hart_line(machine_hart(h->machine, k), IRQ_SSI, true);
}

static void remote_fence(Hart *h, u64 mask, u64 base, const Fence *f) {
    for (u32 k = 0; k < machine_hart_count(h->machine); k++)
        if (hart_named(base, mask, k) && k != h->id) hart_ask_fence(machine_hart(h->machine, k), f);
    if (hart_named(base, mask, h->id)) hart_fence_range(h, f);
    hart_wait_all(h->machine, base, mask, ASK_FENCE, h);
}

/* Instructions: what was written is dropped for all harts at once; but first no write may go by unseen any more. */
static void remote_fence_i(Hart *h) {
    hart_wait_all(h->machine, ~0ull, 0, ASK_WRITES, h);
    machine_fence_i(h->machine);
}

static SbiResult fence(Hart *h, u64 function, const u64 *a) {
    if (!valid_mask(h, a[0], a[1])) return sbi_failed(SBI_INVALID);
    switch (function) {
    case 0: remote_fence_i(h); return sbi_ok(0);
    case 1: remote_fence(h, a[0], a[1], &(Fence){a[2], a[3], 0, false}); return sbi_ok(0);
    case 2: remote_fence(h, a[0], a[1], &(Fence){a[2], a[3], a[4] & 0xffff, true}); return sbi_ok(0);
    }
    return sbi_failed(SBI_NOT_SUPPORTED); /* of the hypervisor extension */
}

static SbiResult hart_states(Hart *h, u64 function, u64 id, u64 pc, u64 arg) {
    switch (function) {
    case 0: {
        if (id >= machine_hart_count(h->machine)) return sbi_failed(SBI_INVALID);
        if (!physical_ram(h->memory, pc, 2)) return sbi_failed(SBI_INVALID_ADDRESS);
        return machine_start_hart(h->machine, (u32)id, pc, arg) ? sbi_ok(0) : sbi_failed(SBI_ALREADY_AVAILABLE);
    }
    case 1: __atomic_store_n(&h->state, HART_STOPPED, __ATOMIC_SEQ_CST); return sbi_ok(0);
    case 2:
        if (id >= machine_hart_count(h->machine)) return sbi_failed(SBI_INVALID);
        return sbi_ok(__atomic_load_n(&machine_hart(h->machine, (u32)id)->state, __ATOMIC_SEQ_CST));
    }
    return sbi_failed(SBI_NOT_SUPPORTED); /* suspending: wfi does it */
}

static SbiResult reset(Hart *h, u64 function, u64 type, u64 reason) {
    if (function) return sbi_failed(SBI_NOT_SUPPORTED);
    if (type > 2 || reason > 1) return sbi_failed(SBI_INVALID);
    machine_stop(h->machine, type ? PLATFORM_REBOOT : PLATFORM_POWEROFF, (u32)reason);
    return sbi_ok(0);
}

enum { CONSOLE_MAX = 4096 /* bytes of one call */ };

static SbiResult write_console(Hart *h, u64 len, u64 pa) {
    const u8 *from = physical_ram(h->memory, pa, len = MIN(len, (u64)CONSOLE_MAX));
    if (!from) return sbi_failed(SBI_INVALID);
    for (u64 k = 0; k < len; k++) machine_console_put(h->machine, from[k]);
    return sbi_ok(len);
}

static SbiResult read_console(Hart *h, u64 len, u64 pa) {
    u64 n = 0;
    u8 *to = physical_ram(h->memory, pa, len = MIN(len, (u64)CONSOLE_MAX));
    if (!to) return sbi_failed(SBI_INVALID);
    for (int c; n < len && (c = machine_console_get(h->machine)) >= 0; n++) to[n] = (u8)c;
    if (n) physical_written(h->memory, pa, n);
    return sbi_ok(n);
}

static SbiResult console(Hart *h, u64 function, u64 a, u64 b) {
    switch (function) {
    case 0: return write_console(h, a, b);
    case 1: return read_console(h, a, b);
    case 2: machine_console_put(h->machine, (u8)a); return sbi_ok(0);
    }
    return sbi_failed(SBI_NOT_SUPPORTED);
}

static SbiResult set_timer(Hart *h, u64 when) {
    hart_set_timer(h, when);
    return sbi_ok(0);
}

static SbiResult dispatch(Hart *h, u64 ext, u64 function, const u64 *a) {
    switch (ext) {
    case EXT_BASE: return base(function, a[0]);
    case EXT_TIME: return function ? sbi_failed(SBI_NOT_SUPPORTED) : set_timer(h, a[0]);
    case EXT_IPI:
        if (function) return sbi_failed(SBI_NOT_SUPPORTED);
        if (!valid_mask(h, a[0], a[1])) return sbi_failed(SBI_INVALID);
        send_ipi(h, a[0], a[1]);
        return sbi_ok(0);
    case EXT_RFENCE: return fence(h, function, a);
    case EXT_HSM: return hart_states(h, function, a[0], a[1], a[2]);
    case EXT_SRST: return reset(h, function, a[0], a[1]);
    case EXT_DBCN: return console(h, function, a[0], a[1]);
    case EXT_PMU: return sbi_pmu(h, function, a);
    }
    return sbi_failed(SBI_NOT_SUPPORTED);
}

/* --- the calls of version 0.1: one result, in a0 ---------------------------------------------------------------- */

/* They take the address of a mask in the caller's memory. */
static u64 old_mask(Hart *h, u64 va) {
    u64 pa, mask = 0;
    if (va && hart_translate(h, va, ACCESS_LOAD, RV_S, &pa)) physical_read(h->memory, pa, &mask, 8);
    return va ? mask : ~0ull;
}

static i64 old_call(Hart *h, u64 ext, const u64 *a) {
    switch (ext) {
    case EXT_SET_TIMER: set_timer(h, a[0]); return 0;
    case EXT_PUTCHAR: machine_console_put(h->machine, (u8)a[0]); return 0;
    case EXT_GETCHAR: return machine_console_get(h->machine);
    case EXT_CLEAR_IPI: hart_line(h, IRQ_SSI, false); return 0;
    case EXT_SEND_IPI: send_ipi(h, old_mask(h, a[0]), 0); return 0;
    case EXT_OLD_FENCE_I: remote_fence_i(h); return 0;
    case EXT_OLD_FENCE: case EXT_OLD_FENCE_ASID: remote_fence(h, 0, ~0ull, &(Fence){0}); return 0;
    case EXT_SHUTDOWN: machine_stop(h->machine, PLATFORM_POWEROFF, 0); return 0;
    }
    return SBI_NOT_SUPPORTED;
}

void sbi_call(Hart *h) {
    u64 *x = hart_x(h), ext = x[17];
    h->cpu->pc += 4;
    h->traps++;
    if (ext <= EXT_SHUTDOWN) {
        x[10] = (u64)old_call(h, ext, &x[10]);
        return;
    }
    SbiResult r = dispatch(h, ext, x[16], &x[10]);
    x[10] = (u64)r.error;
    x[11] = r.value;
}
