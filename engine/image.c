/* SPDX-License-Identifier: Apache-2.0 */
/* engine/image: bodies. See image.h. */
#include "engine/image.h"
#include "base/clock.h"
#include "base/sys.h"
#include "engine/tier.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

typedef struct ImageHead {
    u8 magic[8];
    Digest name, check; /* check: of everything behind the head */
    Digest head_check;  /* of everything before this field */
    u64 file_size, code_at, code_size; /* code_size: used; the file is padded to a whole chunk */
    u64 blocks_at, pcs_at, exits_at, table_at, data_at;
    u32 block_count, pc_count, exit_count, table_len;
    u64 low, high;
} ImageHead;
static const u8 image_magic[8] = "isomer\1\n";

enum { WRITE_NS = 5 /* a byte of an image, all in all: made, digested, written */ };
enum { CHECK_STEP = 1 << 20 /* bytes, whole pages */ };
enum { HEAD_BYTES = 4096, COLD_WORTH = 4096 /* what finding out costs, likewise */, REGION_WORTH = 64 /* what a byte of a region costs to make, in bytes of quick code */ };

/* Where files are placed: above programs that want fixed addresses, below where the guest's own mappings go. */
static const u64 area_start = 1ull << 36, area_end = 1ull << 37;

static Digest head_digest(const ImageHead *h) {
    ImageHead copy = *h;
    copy.head_check = (Digest){0};
    return digest_bytes((Digest){3, 4}, &copy, sizeof copy);
}

/* --- beginning --------------------------------------------------------------------------------------- */

extern const Elf64_Ehdr __ehdr_start __attribute__((visibility("hidden")));

/* The linker's digest of this very executable: another translator makes other code. */
static Digest build_digest(void) {
    const u8 *base = (const u8 *)&__ehdr_start;
    const Elf64_Phdr *p = (const Elf64_Phdr *)(base + __ehdr_start.e_phoff);
    for (u32 k = 0; k < __ehdr_start.e_phnum; k++) {
        if (p[k].p_type != PT_NOTE) continue;
        for (u64 at = 0; at + sizeof(Elf64_Nhdr) < p[k].p_memsz;) {
            const Elf64_Nhdr *n = (const Elf64_Nhdr *)(base + p[k].p_vaddr + at);
            u64 head = sizeof *n + align_up(n->n_namesz, 4);
            if (n->n_type == NT_GNU_BUILD_ID && n->n_descsz) return digest_bytes((Digest){0}, (const u8 *)n + head, n->n_descsz);
            at += head + align_up(n->n_descsz, 4);
        }
    }
    return (Digest){0};
}

void image_init(Engine *e) {
    const EngineOptions *o = &e->options;
    e->store.dir = e->store.known = -1;
    bool usual = o->tier != ENGINE_INTERP && !o->one_insn && (!o->no_link || o->lockstep) && !o->trace_insn && !o->trace_block && !o->dump;
    Digest build = build_digest();
    if (!o->store || !usual || !(build.lo | build.hi)) return;
    /* In lockstep nothing is known, so that what an image's regions would do in place is the interpreter's to do, and all else is compared. */
    u64 options[] = {e->host->features(), e->guest->elf_machine, o->tier, o->guest_libc && !o->lockstep};
    e->store_context = digest_bytes(build, options, sizeof options);
    e->saved_ns = clock_ns();
    store_open(&e->store, o->store, o->store_size);
}

/* --- placing ---------------------------------------------------------------------------------------- */

typedef struct FileHead { /* of a guest's file */
    Elf64_Ehdr elf;
    Elf64_Phdr segments[16];
    u64 more[8];
    u64 size; /* bytes read of the above; 0: it is no ELF file */
} FileHead;

static FileHead read_head(int fd) {
    FileHead h;
    long n = sys_call(SYS_pread64, fd, &h, offsetof(FileHead, size), 0);
    h.size = n >= (long)sizeof h.elf && !memcmp(h.elf.e_ident, ELFMAG, SELFMAG) ? (u64)n : 0;
    return h;
}

u64 image_place(const Engine *e, int fd, u64 size, unsigned attempt) {
    if (!store_usable(&e->store) || size > MIB(4096)) return 0;
    FileHead head = read_head(fd);
    if (!head.size) return 0;
    Digest d = digest_u64(digest_u64(digest_bytes(e->store.salt, &head, head.size), size), attempt);
    return align_down(area_start + d.lo % (area_end - area_start - size), PAGE_BYTES);
}

/* Elsewhere a file lies at another address each time, and nobody would find its image again. */
static bool is_stable(u64 start) { return start < area_end; }

/* --- mapping ---------------------------------------------------------------------------------------- */

static struct {
    Table table;
    TableEntry none;
} no_blocks;

static bool head_holds(const ImageHead *h, Digest name, u64 file_size) {
    if (memcmp(h->magic, image_magic, sizeof h->magic) != 0 || !digest_same(h->head_check, head_digest(h))) return false;
    return digest_same(h->name, name) && h->file_size == file_size;
}

/* The digest of pieces, each under that of those before it: a large image need not be in memory as a whole to be checked. */
static Digest body_digest(Digest name, const u8 *body, u64 size) {
    for (u64 at = 0; at < size; at += CHECK_STEP) name = digest_bytes(name, body + at, MIN(size - at, (u64)CHECK_STEP));
    return name;
}

static bool body_holds(int fd, const ImageHead *h) {
    Digest d = h->name;
    for (u64 at = HEAD_BYTES; at < h->file_size; at += CHECK_STEP) {
        u64 size = MIN(h->file_size - at, (u64)CHECK_STEP);
        u8 *p = sys_mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, at);
        if (sys_failed(p)) return false;
        d = body_digest(d, p, size);
        sys_munmap(p, size);
    }
    return digest_same(d, h->check);
}

static bool map_tables(Pool *p, int fd, const ImageHead *h) {
    u8 *data = sys_mmap(NULL, h->code_at, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (sys_failed(data)) return false;
    p->image->tables = data, p->image->tables_size = h->code_at;
    p->blocks = (Block *)(data + h->blocks_at);
    p->pcs = (HostPc *)(data + h->pcs_at);
    p->exits = (ExitRecord *)(data + h->exits_at);
    p->data = data + h->data_at;
    p->used = h->code_size;
    p->block_max = h->block_count, p->pc_max = p->pc_count = h->pc_count, p->exit_max = p->exit_count = h->exit_count;
    return true;
}

/* Lockstep checks block after block, so each must come back. */
static void unlink_all(Engine *e, Pool *p, u32 count) {
    for (u32 k = 0; k < count; k++) link_undo_incoming(&e->cache, e->host, p, &p->blocks[k]);
}

/* perf(1) would take samples in a mapping of a file for that file's, and ask nobody for names: for perf it is copied. */
static bool map_code(Engine *e, const Pool *p, int fd, u64 offset, u64 size) {
    u8 *at = (u8 *)p->rx;
    if (!perf_wanted(&e->perf)) return !sys_failed(sys_mmap(at, size, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd, offset));
    if (sys_failed(sys_mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0))) return false;
    return sys_call(SYS_pread64, fd, at, size, offset) == (long)size && sys_mprotect(at, size, PROT_READ | PROT_EXEC) == 0;
}

/* False: there is no room. A pool that gets its room but not its contents stays empty. The number of blocks is made known last:
 * look-ups by host address may run at any time. */
static bool map_file(Engine *e, Image *m, int fd, const ImageHead *h) {
    Pool *p = &m->pool;
    u64 code = h->file_size - h->code_at;
    if (!cache_add_image(&e->cache, p, code)) return false;
    if (!map_code(e, p, fd, h->code_at, code) || !map_tables(p, fd, h)) return true;
    p->table = (Table *)((u8 *)p->blocks - h->blocks_at + h->table_at);
    if (e->options.no_link) unlink_all(e, p, h->block_count);
    m->low = h->low, m->high = h->high;
    m->file_bytes = h->file_size;
    __atomic_store_n(&p->block_count, h->block_count, __ATOMIC_RELEASE);
    return true;
}

static bool load(Engine *e, Image *m) {
    struct stat st;
    ImageHead h;
    int fd = store_image_open(&e->store, m->name, &st);
    if (fd < 0) return false;
    bool good = sys_call(SYS_pread64, fd, &h, sizeof h, 0) == sizeof h && head_holds(&h, m->name, (u64)st.st_size);
    if (good && !store_image_checked(&e->store, &st, h.check)) {
        good = body_holds(fd, &h);
        if (good) store_image_note(&e->store, &st, h.check);
    }
    if (good) {
        store_image_touch(fd, &st);
        good = map_file(e, m, fd, &h);
    } else {
        e->stats.images_refused++;
        m->file_bytes = (u64)st.st_size; /* to be replaced, not outdone() */
    }
    sys_call(SYS_close, fd);
    return good;
}

static void set_range(Engine *e, Image *m, u64 size) {
    ImageRange *r = &e->cache.ranges[m->pool.number];
    __atomic_store_n(&r->start, m->start, __ATOMIC_RELAXED);
    __atomic_store_n(&r->size, size, __ATOMIC_RELEASE);
}

/* The same file as before, at the same place (a plug-in loaded again): its pool is still there. */
static Image *mapped_before(Engine *e, Digest name) {
    for (u32 k = POOL_IMAGES; k < e->cache.pool_count; k++)
        if (digest_same(e->cache.pools[k]->image->name, name)) return e->cache.pools[k]->image;
    return NULL;
}

static Image *image_new(Engine *e, Digest name, Digest content, u64 start, u64 size, u64 content_size) {
    Image *m = sys_mmap(NULL, sizeof *m, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sys_failed(m)) return NULL;
    *m = (Image){.name = name, .content = content, .start = start, .size = size, .content_size = content_size};
    m->pool.image = m;
    m->pool.table = &no_blocks.table;
    if (load(e, m) || cache_add_image(&e->cache, &m->pool, 0)) return m;
    sys_munmap(m, sizeof *m);
    return NULL;
}

static void note_blocks(Engine *e, const Image *m) {
    for (u32 k = 0; k < m->pool.block_count && perf_wanted(&e->perf); k++) note_perf(e, &m->pool, &m->pool.blocks[k], "block", 0);
}

/* How many of [offset, offset + size) are an ELF file's code: a loader maps the extent of the whole file first, data included, and replaces
 * the rest after that. */
static u64 code_bytes(int fd, u64 size, u64 offset) {
    FileHead f = read_head(fd);
    if (f.size < offsetof(FileHead, more) || f.elf.e_phoff != sizeof f.elf || f.elf.e_phentsize != sizeof(Elf64_Phdr)) return size;
    for (u32 k = 0; k < MIN((u32)f.elf.e_phnum, (u32)ARRAY_LEN(f.segments)); k++) {
        const Elf64_Phdr *p = &f.segments[k];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X) || align_down(p->p_offset, PAGE_BYTES) != offset) continue;
        return MIN(size, p->p_offset + p->p_filesz - offset);
    }
    return size;
}

static void find_image(Engine *e, int fd, u64 start, u64 size, u64 offset) {
    struct stat st;
    Digest content;
    if (sys_call(SYS_fstat, fd, &st) < 0 || !S_ISREG(st.st_mode) || offset >= (u64)st.st_size) return;
    u64 bytes = code_bytes(fd, MIN(size, (u64)st.st_size - offset), offset);
    if (!store_content(&e->store, fd, &st, offset, bytes, &content)) return;
    Digest name = digest_u64(digest_u64(digest_bytes(e->store_context, &content, sizeof content), start), bytes);
    lock_take(&e->lock);
    Image *m = mapped_before(e, name);
    if (!m && (m = image_new(e, name, content, start, size, bytes))) {
        e->stats.images++;
        e->stats.image_blocks += m->pool.block_count;
        note_blocks(e, m);
    }
    if (m) set_range(e, m, size);
    lock_give(&e->lock);
}

void image_map(Engine *e, int fd, u64 start, u64 size, u64 offset) {
    if (!is_stable(start)) return;
    bool awake = e->store.dir >= 0;
    if (!store_wake(&e->store)) return;
    find_image(e, fd, start, size, offset);
    if (!awake) store_sleep(&e->store);
}

void image_drop(Image *m) {
    if (m->tables) sys_munmap(m->tables, m->tables_size);
    sys_munmap(m, sizeof *m);
}

/* --- changes ------------------------------------------------------------------------------------------ */

/* Whoever runs the image's code, or would return there, comes by first. */
static void forget_whole(Engine *e, Image *m) {
    set_range(e, m, 0);
    link_undo_image(&e->cache, e->host, &m->pool);
    __atomic_store_n(&e->epoch, e->epoch + 1, __ATOMIC_SEQ_CST);
    if (m->pool.block_count) kick_all(e);
}

void image_invalidate(Engine *e, u64 start, u64 size) {
    u64 last = start + size - 1;
    for (u32 k = POOL_IMAGES; k < e->cache.pool_count; k++) {
        Image *m = e->cache.pools[k]->image;
        u64 old = e->cache.ranges[k].size;
        if (!old || last < m->start || start >= m->start + old) continue;
        if (start <= m->start && last >= m->start + old - 1) {
            forget_whole(e, m);
            continue;
        }
        if (start > m->start && last >= m->start + old - 1) set_range(e, m, start - m->start);
        if (last < m->low || start >= m->high) continue;
        for (u32 n = 0; n < m->pool.block_count; n++) {
            const Block *b = &m->pool.blocks[n];
            if (!b->dead && (b->region ? tier_touches(&m->pool, b, start, size) : block_touches(b, start, size))) kill_block(e, &m->pool, n);
        }
    }
}

/* --- saving --------------------------------------------------------------------------------------------- */

typedef struct Writer {
    Engine *e;
    Image *image;
    u8 *at;            /* the file under construction */
    ImageHead *head;
    Block *blocks;
    HostPc *pcs;
    ExitRecord *exits;
    Table *table;
    u8 *data, *code;
    u64 data_used, used;
} Writer;

typedef struct Sizes {
    u64 blocks, pcs, exits, data, code;
    u64 worth; /* bytes of code, weighted by what it costs to make */
} Sizes;

static bool belongs(const Image *m, const Pool *p, const Block *b) {
    if (b->dead || !b->pristine || b->pc - m->start >= m->content_size) return false;
    return b->region ? tier_lies_in(p, b, m->start, m->content_size) : b->pc + b->guest_size <= m->start + m->content_size;
}

/* Blocks of the half in use that are the image's and that it lacks. */
static bool is_news(const Image *m, const Pool *half, const Block *b) { return belongs(m, half, b) && !cache_find(&m->pool, cache_key(b->pc, b->mode)); }

enum { ROOM_SPARE = 64 /* for alignment: place */ };
static u64 room(const Block *b) { return align_up((u64)b->host_size + HOST_PAD, 16) + ROOM_SPARE; }

static void add_size(Sizes *s, const Pool *p, const Block *b) {
    if (b->region) s->data += tier_data(p, b)->size;
    s->blocks++;
    s->pcs += b->pc_count;
    s->exits += b->exit_count;
    s->code += room(b);
    s->worth += b->region ? room(b) * REGION_WORTH : room(b);
}

static Sizes measure(Engine *e, const Image *m, Sizes *own) {
    Sizes s = {0};
    *own = s;
    const Pool *h = cache_half(&e->cache);
    for (u32 k = 0; k < m->pool.block_count; k++) {
        const Block *b = &m->pool.blocks[k];
        if (b->cold == COLD_NEWS) own->blocks++, own->worth += COLD_WORTH;
        if (!b->dead) add_size(&s, &m->pool, b);
        else if (b->region) add_size(own, &m->pool, b); /* not worth its place: the next process is better off without it */
    }
    for (u32 k = 0; k < h->block_count; k++) {
        if (!is_news(m, h, &h->blocks[k])) continue;
        add_size(&s, h, &h->blocks[k]);
        if (k >= e->saved_mark) add_size(own, h, &h->blocks[k]);
    }
    return s;
}

static void lay_out(Writer *w, const Sizes *s) {
    u32 len = 16;
    while (len < s->blocks * 2 + 2) len *= 2;
    ImageHead h = {.name = w->image->name, .table_len = len, .low = ~0ull};
    memcpy(h.magic, image_magic, sizeof h.magic);
    h.blocks_at = HEAD_BYTES;
    h.pcs_at = align_up(h.blocks_at + s->blocks * sizeof(Block), 64);
    h.exits_at = align_up(h.pcs_at + s->pcs * sizeof(HostPc), 64);
    h.table_at = align_up(h.exits_at + s->exits * sizeof(ExitRecord), 64);
    h.data_at = align_up(h.table_at + sizeof(Table) + len * sizeof(TableEntry), 64);
    h.code_at = align_up(h.data_at + s->data, PAGE_BYTES);
    h.code_size = s->code + 64;
    h.file_size = h.code_at + align_up(h.code_size, CACHE_CHUNK);
    w->at = sys_mmap(NULL, h.file_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sys_failed(w->at)) return;
    sys_call(SYS_madvise, w->at, h.file_size, MADV_HUGEPAGE); /* a fault for each small page took longer than what goes there */
    w->head = (ImageHead *)w->at;
    *w->head = h;
    w->blocks = (Block *)(w->at + h.blocks_at);
    w->pcs = (HostPc *)(w->at + h.pcs_at);
    w->exits = (ExitRecord *)(w->at + h.exits_at);
    w->table = (Table *)(w->at + h.table_at);
    w->table->mask = len - 1;
    w->data = w->at + h.data_at;
    w->code = w->at + h.code_at;
    w->used = 16; /* no code lies at 0: the table's 0 means none */
}

/* Its exits lead to their stubs: linked anew when all blocks are there. */
static void add_exits(Writer *w, const Pool *from, const Block *old, Block *b) {
    const Host *host = w->e->host;
    u32 moved = (u32)(b->code - old->code);
    b->first_exit = w->head->exit_count;
    for (u32 k = 0; k < b->exit_count; k++) {
        ExitRecord x = from->exits[old->first_exit + k];
        x.field += moved, x.stub += moved;
        x.next = 0, x.linked = false;
        if (!x.poll) host->link(w->code + x.field, w->code + x.field, w->code + x.stub);
        w->exits[w->head->exit_count++] = x;
    }
}

/* Where a block may go from offset `at` on: what is patched in it must not come to cross a line of the processor's cache (other threads
 * run it meanwhile). Regions have aligned themselves to lines. */
static u64 place(const Pool *from, const Block *old, u64 at) {
    if (old->region) return at + ((old->code - at) & 63);
    for (;; at += 16) {
        bool crosses = false;
        for (u32 k = 0; k < old->exit_count && !crosses; k++) {
            const ExitRecord *x = &from->exits[old->first_exit + k];
            crosses = !x->poll && ((x->field - old->code + at) & 63) > 60;
        }
        if (!crosses) return at;
    }
}

static void add_data(Writer *w, const Pool *from, const Block *old, Block *b) {
    u32 size = tier_data(from, old)->size;
    RegionData *copy = memcpy(w->data + w->data_used, tier_data(from, old), size);
    b->region = (u32)w->data_used + 1;
    w->data_used += size;
    tier_renumber(copy, w->code + b->code, w->head->block_count);
}

static void add_block(Writer *w, const Pool *from, const Block *old) {
    ImageHead *h = w->head;
    Block *b = &w->blocks[h->block_count];
    *b = *old;
    b->code = place(from, old, align_up(w->used + HOST_PAD, 16));
    if (b->cold) b->cold = COLD_KNOWN;
    b->incoming = 0, b->next[0] = b->next[1] = 0, b->hash = 0;
    memcpy(w->code + b->code, from->rx + old->code, b->host_size);
    memcpy(w->code + b->code - 4, &h->block_count, 4); /* cache_entry_block */
    if (old->region) add_data(w, from, old, b);
    b->first_pc = h->pc_count;
    memcpy(w->pcs + h->pc_count, from->pcs + old->first_pc, b->pc_count * sizeof(HostPc));
    h->pc_count += b->pc_count;
    add_exits(w, from, old, b);
    cache_table_put(w->table, cache_key(b->pc, b->mode), b->code);
    w->used = b->code + b->host_size;
    /* a region may be made of any of the file's code */
    h->low = MIN(h->low, b->region ? w->image->start : b->pc);
    h->high = MAX(h->high, b->region ? w->image->start + w->image->content_size : b->pc + b->guest_size);
    h->block_count++;
}

static void link_block(Writer *w, const Block *b) {
    for (u32 k = 0; k < b->exit_count; k++) {
        u32 n = b->first_exit + k, number;
        ExitRecord *x = &w->exits[n];
        u64 code = x->poll ? 0 : cache_table_find(w->table, cache_key(x->pc, b->mode));
        if (!code) continue;
        memcpy(&number, w->code + code - 4, 4);
        w->e->host->link(w->code + x->field, w->code + x->field, w->code + code);
        x->linked = true;
        x->next = w->blocks[number].incoming;
        w->blocks[number].incoming = n + 1;
    }
}

/* The guest's bytes are still those that the name says? Somebody may have written into the file. */
static bool content_is_same(Engine *e, const Image *m) {
    Digest d = {m->content_size, 0};
    for (u64 done = 0; done < m->content_size;) {
        u64 n = MIN(m->content_size - done, (u64)STORE_STEP);
        for (u64 page = 0; page < n; page += PAGE_BYTES)
            if (e->cache.stubs.probe((const u8 *)m->start + done + page)) return false;
        d = digest_bytes(d, (const u8 *)m->start + done, n);
        done += n;
    }
    return digest_same(d, m->content);
}

static void fill(Writer *w) {
    const Pool *h = cache_half(&w->e->cache), *p = &w->image->pool;
    for (u32 k = 0; k < p->block_count; k++)
        if (!p->blocks[k].dead) add_block(w, p, &p->blocks[k]);
    for (u32 k = 0; k < h->block_count; k++)
        if (is_news(w->image, h, &h->blocks[k]) && !cache_table_find(w->table, cache_key(h->blocks[k].pc, h->blocks[k].mode))) add_block(w, h, &h->blocks[k]);
    for (u32 k = 0; k < w->head->block_count; k++) link_block(w, &w->blocks[k]);
    w->head->code_size = w->used;
    w->head->file_size = w->head->code_at + align_up(w->used, CACHE_CHUNK); /* less than there is room for */
}

/* Somebody else has saved more than we have, since we looked? */
static bool outdone(Engine *e, const Image *m, u64 bytes) {
    struct stat st;
    int fd = store_image_open(&e->store, m->name, &st);
    if (fd < 0) return false;
    sys_call(SYS_close, fd);
    return (u64)st.st_size != m->file_bytes && (u64)st.st_size >= bytes;
}

static void write_image(Engine *e, Image *m, const Sizes *s) {
    Writer w = {.e = e, .image = m};
    if (!content_is_same(e, m)) return;
    lay_out(&w, s);
    if (sys_failed(w.at)) return;
    u64 room = w.head->file_size;
    if (!outdone(e, m, room - s->blocks * ROOM_SPARE)) {
        fill(&w);
        u64 size = w.head->file_size;
        w.head->check = body_digest(m->name, w.at + HEAD_BYTES, size - HEAD_BYTES);
        w.head->head_check = head_digest(w.head);
        if (store_image_write(&e->store, m->name, w.at, size, w.head->check) == 0) {
            m->file_bytes = size;
            e->stats.images_written++;
        }
    }
    sys_munmap(w.at, room);
}

/* Much that is new is written. Little is written with a probability that grows with what it cost to make, but keeps the time that writing is
 * expected to take below 1/32 of what the process has taken: else a short program would spend more on its image than on itself. */
static bool worth_it(const Engine *e, const Sizes *all, const Sizes *own) {
    if (!own->blocks) return false;
    if (e->options.save_all || own->code * 16 >= all->code) return true;
    u64 bytes = all->code + all->pcs * sizeof(HostPc) + all->exits * sizeof(ExitRecord) + all->blocks * sizeof(Block);
    u64 limit = clock_get_ns(CLOCK_PROCESS_CPUTIME_ID) / 32, chance = MIN(own->worth * 16 * 1000 / all->code, limit * 1000 / (bytes * WRITE_NS)), dice = 0;
    sys_call(SYS_getrandom, &dice, 4, 0);
    return dice % 1000 < chance;
}

void image_save(Engine *e) {
    e->saved_ns = clock_ns();
    tier_note_given_up(e);
    u32 count = cache_half(&e->cache)->block_count;
    if (e->saved_generation != e->cache.generation) e->saved_mark = 0;
    bool news = e->saved_mark < count || e->saved_verdicts != e->stats.regions_demoted + e->stats.regions_failed;
    e->saved_verdicts = e->stats.regions_demoted + e->stats.regions_failed;
    if (e->options.no_link || !news || !store_wake(&e->store)) return;
    for (u32 k = POOL_IMAGES; k < e->cache.pool_count; k++) {
        Image *m = e->cache.pools[k]->image;
        Sizes own, all;
        if (!e->cache.ranges[k].size) continue;
        all = measure(e, m, &own);
        if (worth_it(e, &all, &own)) write_image(e, m, &all);
    }
    store_sleep(&e->store);
    e->saved_mark = count;
    e->saved_generation = e->cache.generation;
}

void image_forked(Engine *e) {
    e->saved_mark = cache_half(&e->cache)->block_count;
    e->saved_generation = e->cache.generation;
}
