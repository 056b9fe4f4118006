// Threads of a dispatch: a fiber each. Threadgroups go to a few workers; in one, a simdgroup runs until it stands at a
// threadgroup barrier, its lanes until they stand at a simd operation, both in shuffled order.
#include "standin.h"

#include <atomic>
#include <cstdio>
#include <mutex>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unordered_map>
#include <unordered_set>

namespace standin {

enum State { READY, BARRIER, SIMD_BARRIER, COLLECTIVE, DONE };
enum Op { GATHER, MULTIPLY }; // of a collective

// What a lane brings to a collective: a value, or its parts of three 8×8 matrices and where its part of the result goes.
struct Multiply { void *d; const void *a, *b, *c; int half_d, half_a, half_b, half_c; };
struct Fiber {
  void *sp;
  char *stack;
  State state;
  Op op;
  const void *value;
  u32 size;
  Ids ids;
  u32 epoch, simd_epoch; // barriers passed
};
const size_t STACK = 128 << 10;

struct Simd {
  alignas(64) char values[32 * 64];
  u32 mask;
};

// Memory traced in one threadgroup.
struct Access { u32 thread = ~0u, epoch = 0, simd_epoch = 0; };
struct Cell { Access write, read; };

struct Worker {
  int id;
  const Launch *launch;
  std::vector<Fiber> fibers;
  std::vector<Simd> simds;
  Fiber *cur = 0;
  void *home = 0;
  std::minstd_rand rng;
  char *group[4] = {};
  const u64 *buffers;
  Entry entry;
  // tracing
  std::unordered_map<u64, Cell> cells;
  std::unordered_set<u64> wrapped, read, written;
  u64 wrapped_bytes = 0;
};
static thread_local Worker *self;

extern "C" void standin_switch(void **save, void *to);
asm(R"(.globl standin_switch
standin_switch:
 push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
 mov %rsp,(%rdi); mov %rsi,%rsp
 pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
 ret)");

static void yield(State s) {
  self->cur->state = s;
  standin_switch(&self->cur->sp, self->home);
}
static void body() {
  self->entry(self->buffers, &self->cur->ids);
  yield(DONE);
  abort();
}

// ---- what kernels call: see include/metal_stdlib

extern "C" void sim_barrier() { yield(BARRIER); self->cur->epoch++; }
extern "C" void sim_simdgroup_barrier() { yield(SIMD_BARRIER); self->cur->simd_epoch++; }
extern "C" u32 sim_atomic(u32 *p, u32 n, int op) {
  u32 v = *p;
  if (op != 1) *p = op == 0 ? v + n : n;
  return v;
}
extern "C" u32 sim_lane() { return self->cur->ids.lane; }
// sim_gather returns every lane's value, `size` (below 256; an operation's code above) bytes apart; *lanes says which there are.
extern "C" const void *sim_gather(const void *value, u32 size, u32 *lanes) {
  Fiber *f = self->cur;
  f->op = GATHER; f->value = value; f->size = size;
  yield(COLLECTIVE);
  Simd &s = self->simds[f->ids.simd];
  *lanes = s.mask;
  return s.values;
}
extern "C" void sim_multiply(void *d, const void *a, const void *b, const void *c, int kinds) {
  Fiber *f = self->cur;
  Multiply m = {d, a, b, c, kinds >> 3 & 1, kinds >> 2 & 1, kinds >> 1 & 1, kinds & 1};
  f->op = MULTIPLY; f->value = &m; f->size = kinds + 1;
  yield(COLLECTIVE);
}
// The place of element j of a lane. Kernels must not know it: load and store are the only documented way.
static inline int row_of(int lane) { int q = lane / 4; return (q & 4) + lane / 2 % 4; }
static inline int col_of(int lane) { return (lane / 4 & 2) * 2 + lane % 2 * 2; }
extern "C" int sim_row(u32 lane) { return row_of(lane); }
extern "C" int sim_col(u32 lane) { return col_of(lane); }

static inline void scatter(float (*m)[8], Fiber *lanes, const void *Multiply::*part, bool half) {
  for (int l = 0; l < 32; l++) {
    const void *p = ((const Multiply *)lanes[l].value)->*part;
    float *to = &m[row_of(l)][col_of(l)];
    if (half) { to[0] = ((const _Float16 *)p)[0]; to[1] = ((const _Float16 *)p)[1]; }
    else memcpy(to, p, 8);
  }
}
static void multiply(Fiber *lanes) {
  alignas(32) float a[8][8], b[8][8], d[8][8];
  auto *kind = (const Multiply *)lanes[0].value;
  scatter(a, lanes, &Multiply::a, kind->half_a);
  scatter(b, lanes, &Multiply::b, kind->half_b);
  scatter(d, lanes, &Multiply::c, kind->half_c);
  int first = config.seed & 7; // hardware sums in an order of its own, the same each time
  for (int r = 0; r < 8; r++)
    for (int i = 0; i < 8; i++) {
      int k = (i + first) & 7;
      float x = a[r][k];
      for (int c = 0; c < 8; c++) d[r][c] += x * b[k][c];
    }
  for (int l = 0; l < 32; l++) {
    void *to = ((const Multiply *)lanes[l].value)->d;
    const float *v = &d[row_of(l)][col_of(l)];
    if (kind->half_d) { ((_Float16 *)to)[0] = v[0]; ((_Float16 *)to)[1] = v[1]; }
    else memcpy(to, v, 8);
  }
}

// ---- scheduling

// Stacks begin at different lines of the cache: at the same place of a page each they would push one another out of it.
static void start(Fiber &f, int j) {
  if (!f.stack) f.stack = (char *)mmap(0, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  u64 *sp = (u64 *)(f.stack + STACK - 64 - j % 127 * 320);
  *--sp = 0;
  *--sp = (u64)body;
  for (int i = 0; i < 6; i++) *--sp = 0;
  f.sp = sp; f.state = READY; f.epoch = f.simd_epoch = 0;
}

static const char *name() { return self->launch->kernel->name.c_str(); }

// advance runs one simdgroup until all its lanes stand at a barrier or are done.
static bool advance(Fiber *f, int n, Simd &s) {
  for (;;) {
    u32 first = config.shuffle ? self->rng() : 0, step = config.shuffle ? self->rng() | 1 : 1;
    for (int i = 0; i < 32; i++) {
      int l = (first + i * step) & 31;
      if (l >= n || f[l].state != READY) continue;
      self->cur = &f[l];
      standin_switch(&self->home, f[l].sp);
      if (failed()) return false;
    }
    int done = 0, barrier = 0, simd = 0, at = -1;
    for (int l = 0; l < n; l++) {
      done += f[l].state == DONE; barrier += f[l].state == BARRIER; simd += f[l].state == SIMD_BARRIER;
      if (f[l].state == COLLECTIVE) at = l;
    }
    if (done + barrier == n) return true;
    if (simd && simd + done == n) { for (int l = 0; l < n; l++) if (f[l].state == SIMD_BARRIER) f[l].state = READY; continue; }
    if (barrier || simd) { fail(1, "%s: a barrier in divergent control flow", name()); return false; }
    s.mask = 0;
    for (int l = 0; l < n; l++)
      if (f[l].state == COLLECTIVE) {
        if (f[l].op != f[at].op || f[l].size != f[at].size) { fail(1, "%s: lanes of one simdgroup stand at different simd operations", name()); return false; }
        s.mask |= 1u << l;
      }
    if (f[at].op == MULTIPLY) {
      if (s.mask != ~0u) { fail(1, "%s: a matrix operation without all 32 lanes", name()); return false; }
      multiply(f);
    } else
      for (int l = 0; l < n; l++) if (s.mask >> l & 1) memcpy(s.values + l * (f[l].size & 255), f[l].value, f[l].size & 255);
    for (int l = 0; l < n; l++) if (f[l].state == COLLECTIVE) f[l].state = READY;
  }
}

static bool run_group(int n) {
  int simds = (n + 31) / 32;
  std::vector<int> order(simds);
  for (int i = 0; i < simds; i++) order[i] = i;
  for (;;) {
    if (config.shuffle) std::shuffle(order.begin(), order.end(), self->rng);
    for (int g : order) if (!advance(&self->fibers[32 * g], std::min(32, n - 32 * g), self->simds[g])) return false;
    int done = 0;
    for (int i = 0; i < n; i++) done += self->fibers[i].state == DONE;
    if (done == n) return true;
    if (done) { fail(1, "%s: threadgroup_barrier after some threads returned", name()); return false; }
    for (int i = 0; i < n; i++) self->fibers[i].state = READY;
  }
}

// ---- buffers, faults

struct Range { char *p; size_t n; bool wrapped; };
static std::mutex ranges_mu;
static std::map<char *, Range> ranges;
void remember(char *p, size_t n, bool wrapped) { std::lock_guard<std::mutex> l(ranges_mu); ranges[p] = {p, n, wrapped}; }
void forget(char *p) { std::lock_guard<std::mutex> l(ranges_mu); ranges.erase(p); }
// range is the buffer that an address lies in, or nearly.
static const Range *range(char *p, size_t slack) {
  auto i = ranges.upper_bound(p + slack);
  if (i == ranges.begin()) return 0;
  --i;
  return p + slack >= i->second.p && p < i->second.p + i->second.n + slack ? &i->second : 0;
}

static char *fault_at;
static bool fault_write;
static void faulted() { // on the fiber's stack, in place of the instruction that failed
  if (auto *r = range(fault_at, 8192)) {
    long at = fault_at - r->p;
    fail(3, "%s: %s at byte %ld of a buffer of %zu bytes", name(), fault_write ? "write" : "read", at, r->n);
  } else
    fail(3, "%s: %s at %p, where no buffer is", name(), fault_write ? "write" : "read", fault_at);
  yield(DONE);
}
static struct sigaction before;
static void on_fault(int sig, siginfo_t *i, void *ctx) {
  if (!self || !self->cur) { // not a kernel: whose it was before
    if (before.sa_flags & SA_SIGINFO) before.sa_sigaction(sig, i, ctx);
    return;
  }
  auto *u = (ucontext_t *)ctx;
  fault_at = (char *)i->si_addr;
  fault_write = u->uc_mcontext.gregs[REG_ERR] & 2;
  u->uc_mcontext.gregs[REG_RSP] = ((u->uc_mcontext.gregs[REG_RSP] - 256) & ~15ll) - 8;
  u->uc_mcontext.gregs[REG_RIP] = (greg_t)faulted;
}

// ---- tracing

static void touch(u64 addr, u64 n, bool write) {
  if (!self || !self->cur) return;
  Worker &w = *self;
  Fiber &f = *w.cur;
  char *p = (char *)addr, *base = w.launch->module->base[w.id];
  bool group = false;
  for (auto &s : w.launch->kernel->statics) group |= p >= base + s.at && p < base + s.at + s.bytes;
  for (int i = 0; i < 4; i++) group |= w.group[i] && p >= w.group[i] && p < w.group[i] + w.launch->group[i];
  if (group) {
    for (u64 a = addr & ~1ull; a < addr + n; a += 2) { // a half is the least that is stored
      Cell &c = w.cells[a];
      Access now = {f.ids.tindex, f.epoch, f.simd_epoch};
      auto races = [&](const Access &o) {
        return o.thread != ~0u && o.thread != now.thread && o.epoch == now.epoch && (o.thread / 32 != now.thread / 32 || o.simd_epoch == now.simd_epoch);
      };
      if (races(c.write) || (write && races(c.read))) { fail(1, "%s: threads %u and %u meet in threadgroup memory without a barrier between", name(), c.write.thread != ~0u ? c.write.thread : c.read.thread, now.thread); yield(DONE); }
      (write ? c.write : c.read) = now;
    }
    return;
  }
  const Range *r = range(p, 0);
  if (!r) return;
  for (u64 a = addr >> 5; a <= (addr + n - 1) >> 5; a++)
    if (r->wrapped) w.wrapped.insert(a); else (write ? w.written : w.read).insert(a);
}
extern "C" {
#define TRACE(n) void __sanitizer_cov_load##n(void *p) { touch((u64)p, n, false); } void __sanitizer_cov_store##n(void *p) { touch((u64)p, n, true); }
TRACE(1) TRACE(2) TRACE(4) TRACE(8) TRACE(16)
void __sanitizer_cov_trace_pc_guard(u32 *) {}
void __sanitizer_cov_trace_pc_guard_init(u32 *, u32 *) {}
}

// ---- a dispatch

struct Job {
  const Launch *l;
  std::atomic<u64> next{0};
  u64 count;
  const u64 *buffers;
  u32 seed;
};

static void poison(Worker &w) {
  for (int i = 0; i < 4; i++) if (w.launch->kernel->groups >> i & 1) memset(w.group[i], 0xff, w.launch->group[i]);
  for (auto &s : w.launch->kernel->statics) memset(w.launch->module->base[w.id] + s.at, 0xff, s.bytes);
}

static void work(Worker *w, Job *job) {
  self = w;
  const Launch &l = *job->l;
  Size g = l.grid, t = l.size;
  int n = t.w * t.h * t.d;
  if ((int)w->fibers.size() < n) w->fibers.resize(n);
  if ((int)w->simds.size() < (n + 31) / 32) w->simds.resize((n + 31) / 32);
  w->launch = &l; w->buffers = job->buffers; w->entry = l.kernel->entry[w->id]; w->wrapped_bytes = 0;
  w->read.clear(); w->written.clear();
  for (int i = 0; i < 4; i++) if (!w->group[i]) w->group[i] = (char *)aligned_alloc(64, 32768);
  for (u64 i; !failed() && (i = job->next++) < job->count;) {
    w->rng.seed(job->seed + i);
    w->cells.clear(); w->wrapped.clear();
    poison(*w);
    u32 x = i % g.w, y = i / g.w % g.h, z = i / (g.w * g.h);
    for (int j = 0; j < n; j++) {
      Fiber &f = w->fibers[j];
      start(f, j);
      Ids &d = f.ids;
      u32 tx = j % t.w, ty = j / t.w % t.h, tz = j / (t.w * t.h);
      d.tgpos = {x, y, z}; d.tpos = {tx, ty, tz};
      d.tgsize = {(u32)t.w, (u32)t.h, (u32)t.d}; d.tgcount = {(u32)g.w, (u32)g.h, (u32)g.d};
      d.gpos = {(u32)(x * t.w + tx), (u32)(y * t.h + ty), (u32)(z * t.d + tz)};
      d.tindex = j; d.simd = j / 32; d.lane = j % 32; d.simds = (n + 31) / 32; d.width = 32;
      for (int k = 0; k < 4; k++) d.tgmem[k] = (u64)w->group[k];
    }
    run_group(n);
    w->cur = 0;
    w->wrapped_bytes += 32 * w->wrapped.size();
  }
  self = 0;
}

struct Thread { pthread_t id; Worker *w; Job *job; };

void run(const Launch &l) {
  static std::vector<Worker *> workers;
  while ((int)workers.size() < config.threads) { workers.push_back(new Worker); workers.back()->id = workers.size() - 1; }
  u64 buffers[31];
  std::vector<char *> copies; // of setBytes, each against a guard page
  for (int i = 0; i < 31; i++) {
    buffers[i] = (u64)l.buffer[i];
    if (l.bytes[i]) {
      char *p = (char *)mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      mprotect(p + 4096, 4096, PROT_NONE);
      char *at = p + ((4096 - l.bytes[i]->size()) & ~15ull);
      memcpy(at, l.bytes[i]->data(), l.bytes[i]->size());
      buffers[i] = (u64)at;
      copies.push_back(p);
    }
  }
  Job job;
  job.l = &l; job.count = l.grid.w * l.grid.h * l.grid.d; job.buffers = buffers; job.seed = (*rng())();
  struct sigaction a = {};
  a.sa_sigaction = on_fault;
  a.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigaction(SIGSEGV, &a, &before);
  int n = std::min<u64>(config.threads, job.count);
  std::vector<Thread> threads(n);
  for (int i = 0; i < n; i++) {
    threads[i] = {0, workers[i], &job};
    pthread_create(&threads[i].id, 0, [](void *p) -> void * {
      auto *t = (Thread *)p;
      stack_t alt = {malloc(65536), 0, 65536};
      sigaltstack(&alt, 0);
      work(t->w, t->job);
      alt.ss_flags = SS_DISABLE;
      sigaltstack(&alt, 0);
      return 0;
    }, &threads[i]);
  }
  for (auto &t : threads) pthread_join(t.id, 0);
  sigaction(SIGSEGV, &before, 0);
  for (char *p : copies) munmap(p, 8192);
  Counts &c = counts[l.kernel->name];
  c.dispatches++;
  if (config.trace) {
    std::unordered_set<u64> read, written;
    for (int i = 0; i < n; i++) {
      c.wrapped += workers[i]->wrapped_bytes;
      read.insert(workers[i]->read.begin(), workers[i]->read.end());
      written.insert(workers[i]->written.begin(), workers[i]->written.end());
    }
    c.read += 32 * read.size();
    c.written += 32 * written.size();
  }
}

} // namespace standin
