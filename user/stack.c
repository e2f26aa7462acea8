/* SPDX-License-Identifier: Apache-2.0 */
/* user/stack: bodies. See stack.h. */
#include "user/stack.h"
#include "base/sys.h"
#include <elf.h>

enum { AUX_MAX = 40 };

typedef struct AuxList {
    u64 at[2 * AUX_MAX];
    u32 len; /* words */
} AuxList;

static void aux_push(AuxList *l, u64 key, u64 value) {
    l->at[l->len++] = key;
    l->at[l->len++] = value;
}

static u64 strings_size(const char *const *list, u64 *count) {
    u64 size = 0;
    for (*count = 0; list[*count]; ++*count) size += strlen(list[*count]) + 1;
    return size;
}

/* Copies the strings up from `at`, notes where each went in `pointers`. Returns the end. */
static u64 put_strings(const char *const *list, u64 at, u64 *pointers) {
    for (; *list; list++) {
        size_t size = strlen(*list) + 1;
        memcpy((void *)at, *list, size);
        *pointers++ = at;
        at += size;
    }
    *pointers = 0;
    return at;
}

static void aux_fill(AuxList *l, const Process *p, const StackPlan *plan, u64 random_at, u64 execfn_at) {
    const ElfImage *image = plan->image;
    long uid = sys_call(SYS_getuid), euid = sys_call(SYS_geteuid), gid = sys_call(SYS_getgid), egid = sys_call(SYS_getegid);
    if (p->vdso) aux_push(l, AT_SYSINFO_EHDR, p->vdso);
    aux_push(l, AT_HWCAP, plan->hwcap);
    aux_push(l, AT_PAGESZ, PAGE_BYTES);
    aux_push(l, AT_CLKTCK, 100);
    aux_push(l, AT_PHDR, image->phdr);
    aux_push(l, AT_PHENT, sizeof(Elf64_Phdr));
    aux_push(l, AT_PHNUM, plan->file->header.e_phnum);
    aux_push(l, AT_BASE, plan->interp ? plan->interp->bias : 0);
    aux_push(l, AT_FLAGS, plan->flags);
    aux_push(l, AT_ENTRY, image->entry);
    aux_push(l, AT_UID, (u64)uid);
    aux_push(l, AT_EUID, (u64)euid);
    aux_push(l, AT_GID, (u64)gid);
    aux_push(l, AT_EGID, (u64)egid);
    aux_push(l, AT_SECURE, p->options->secure);
    aux_push(l, AT_RANDOM, random_at);
    aux_push(l, AT_HWCAP2, 0);
    aux_push(l, AT_EXECFN, execfn_at);
    aux_push(l, AT_MINSIGSTKSZ, p->abi->min_sigstack);
    aux_push(l, AT_NULL, 0);
}

u64 stack_build(Process *p, const StackPlan *plan, u64 room) {
    u64 argc, envc;
    u64 arg_size = strings_size(plan->argv, &argc), env_size = strings_size(plan->envp, &envc);
    u64 name_size = strlen(plan->execfn) + 1;
    u64 text = arg_size + env_size + name_size + 8 + 64;
    u64 words = (1 + argc + 1 + envc + 1 + 2 * AUX_MAX) * 8;
    if (text + words + PAGE_BYTES > room) return 0;
    u64 execfn_at = plan->top - 8 - name_size;
    memcpy((void *)execfn_at, plan->execfn, name_size);
    p->env_end = execfn_at;
    p->env_start = p->arg_end = execfn_at - env_size;
    p->arg_start = p->arg_end - arg_size;
    u64 random_at = (p->arg_start - 16) & ~15ull;
    memcpy((void *)random_at, plan->random, 16);
    AuxList aux = {.len = 0};
    aux_fill(&aux, p, plan, random_at, execfn_at);
    u64 sp = (random_at - (1 + argc + 1 + envc + 1 + aux.len) * 8) & ~15ull;
    u64 *at = (u64 *)sp;
    *at++ = argc;
    put_strings(plan->argv, p->arg_start, at);
    at += argc + 1;
    put_strings(plan->envp, p->env_start, at);
    at += envc + 1;
    memcpy(at, aux.at, aux.len * 8);
    p->auxv = (u8 *)at;
    p->auxv_size = aux.len * 8;
    p->stack_start = sp;
    return sp;
}
