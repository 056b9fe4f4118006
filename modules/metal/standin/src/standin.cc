// A stand-in for libobjc and Metal on Linux: enough of both for the binding of package metal. Kernels are compiled by clang
// as C++ for OpenCL and run on the CPU, a fiber for every thread.
//
// It is stricter than a GPU. It refuses kernels whose signatures MSL would refuse, divergent barriers and simd operations,
// bindings that are missing, messages to released objects; buffers end at pages that fault; threads, simdgroups, threadgroups
// and — between barriers — dispatches run in an order that the seed shuffles; threadgroup memory starts as NaN.
#include "standin.h"

#include <cstdarg>
#include <cstdio>
#include <dlfcn.h>
#include <pthread.h>
#include <set>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

namespace standin {

Config config;
// Beside the library lie its sources, the kernels' library among them, and what was compiled before.
static bool placed = [] {
  Dl_info info;
  if (!dladdr((void *)&fail, &info)) return false;
  std::string dir = info.dli_fname;
  dir = dir.substr(0, dir.rfind('/'));
  config.cache = dir;
  config.include = dir + "/src/include";
  return true;
}();
std::map<std::string, Counts> counts;
u64 totals[TOTALS];

static std::string failure; // of the running command buffer
static int failure_code;
std::atomic<bool> has_failed{false};
void fail(int code, const char *format, ...) {
  char text[1024];
  va_list ap;
  va_start(ap, format);
  vsnprintf(text, sizeof text, format, ap);
  va_end(ap);
  static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&mu);
  if (failure.empty()) { failure = text; failure_code = code; has_failed = true; }
  pthread_mutex_unlock(&mu);
}

// ---- planted faults: by a test, or by STANDIN_PLANT for a process that a test starts, where byte 1 parts the two

static std::string plant_from, plant_to;
void plant(const std::string &from, const std::string &to) { plant_from = from; plant_to = to; }
std::string planted(std::string s) {
  size_t at = plant_from.empty() ? std::string::npos : s.find(plant_from);
  return at == std::string::npos ? s : s.replace(at, plant_from.size(), plant_to);
}
static bool given = [] {
  const char *e = getenv("STANDIN_PLANT"), *part = e ? strchr(e, 1) : 0;
  if (part) plant(std::string(e, part - e), part + 1);
  return part != 0;
}();

// ---- objects

struct Obj {
  const char *kind;
  int refs = 1;
  Obj(const char *k) : kind(k) {}
  virtual ~Obj() {}
  virtual void dead() {} // the last reference went
};
struct Str : Obj { std::string s; Str(const std::string &t = "") : Obj("NSString"), s(t) {} };
struct Err : Obj { Str text; int code; Err(const std::string &t, int c) : Obj("NSError"), text(t), code(c) {} };
struct Opts : Obj { Opts() : Obj("MTLCompileOptions") {} };
struct Desc : Obj { Desc() : Obj("MTLResidencySetDescriptor") {} };
struct Set : Obj { Set() : Obj("MTLResidencySet") {} };
struct Event : Obj { u64 value = 0; Event() : Obj("MTLSharedEvent") {} };
struct Lib : Obj { std::shared_ptr<Module> m; Lib() : Obj("MTLLibrary") {} };
struct Fun : Obj { std::shared_ptr<Module> m; Kernel *k; Fun() : Obj("MTLFunction") {} };
struct Pipe : Obj { std::shared_ptr<Module> m; Kernel *k; Pipe() : Obj("MTLComputePipelineState") {} };
struct Buf : Obj {
  char *p = 0, *map = 0;
  size_t n = 0, mapped = 0;
  Buf() : Obj("MTLBuffer") {}
  void dead() override { if (map) { mprotect(map, mapped, PROT_NONE); forget(p); } else forget(p); }
};
struct Cb : Obj { int status = 0; Err *err = 0; bool encoding = false; std::vector<std::pair<Event *, u64>> signals; Cb() : Obj("MTLCommandBuffer") {} };
struct Enc : Obj {
  Cb *cb;
  bool concurrent, ended = false;
  Launch now; // bindings as they stand
  Pipe *pipe = 0;
  std::vector<Launch> pending; // since the last barrier
  size_t skipped = 0;          // what was pending at a barrier that is left out
  Enc() : Obj("MTLComputeCommandEncoder") {}
  void flush() {
    if (skipped) std::rotate(pending.begin(), pending.begin() + skipped, pending.end()); // what came after it runs first
    else if (config.shuffle && concurrent) std::shuffle(pending.begin(), pending.end(), *rng());
    for (auto &l : pending) if (!failed()) run(l);
    pending.clear();
    skipped = 0;
  }
};
static Obj device("MTLDevice"), queue("MTLCommandQueue"), class_string("class NSString"), class_options("class MTLCompileOptions"), class_set("class MTLResidencySetDescriptor");
static u64 allocated;

std::mt19937 *rng() { static std::mt19937 r(config.seed); return &r; }

// ---- autorelease pools: a stack for each thread

static thread_local std::vector<std::vector<Obj *>> pools;
static Obj *autoreleased(Obj *o) {
  if (pools.empty()) { fprintf(stderr, "standin: %s autoreleased with no pool in place\n", o->kind); abort(); }
  pools.back().push_back(o);
  return o;
}
static void release(Obj *o) {
  if (--o->refs == 0) { o->dead(); } // kept as a zombie: a later message names it
}

// ---- memory

static Buf *buffer(size_t n) { // guard pages on both sides; the end touches one
  size_t page = 4096, body = (n + page - 1) & ~(page - 1);
  char *m = (char *)mmap(0, body + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (m == MAP_FAILED) return 0;
  mprotect(m, page, PROT_NONE);
  mprotect(m + page + body, page, PROT_NONE);
  Buf *b = new Buf;
  b->map = m; b->mapped = body + 2 * page; b->n = n;
  b->p = m + page + ((body - n) & ~15ull);
  allocated += n;
  remember(b->p, n, false);
  return b;
}

static void set_bytes(Launch &l, const void *p, size_t n, unsigned i) {
  if (n > 4096) { fail(1, "setBytes: %zu bytes: more than 4096", n); return; }
  l.bytes[i] = std::make_shared<std::string>((const char *)p, n);
  l.bound |= 1u << i;
}

static void dispatch(Enc *e, const Size *g, const Size *t) {
  u64 n = t->w * t->h * t->d;
  if (!e->pipe) { fail(1, "dispatch without a pipeline"); return; }
  Kernel *k = e->pipe->k;
  if (n == 0 || n > 1024) { fail(1, "%s: %llu threads in a threadgroup: want 1 to 1024", k->name.c_str(), (unsigned long long)n); return; }
  if (!g->w || !g->h || !g->d || g->w > 0x7fffffff || g->h > 65535 || g->d > 65535) { fail(1, "%s: grid of %llu × %llu × %llu threadgroups", k->name.c_str(), (unsigned long long)g->w, (unsigned long long)g->h, (unsigned long long)g->d); return; }
  if (u32 missing = k->buffers & ~e->now.bound) { fail(1, "%s: [[buffer(%d)]] is not bound", k->name.c_str(), __builtin_ctz(missing)); return; }
  size_t room = k->static_bytes;
  for (int i = 0; i < 4; i++) {
    if ((k->groups >> i & 1) && !e->now.group[i]) { fail(1, "%s: [[threadgroup(%d)]] has no length", k->name.c_str(), i); return; }
    if (k->groups >> i & 1) room += e->now.group[i];
  }
  if (room > 32768) { fail(1, "%s: %zu bytes of threadgroup memory: more than 32768", k->name.c_str(), room); return; }
  totals[DISPATCHES]++;
  e->now.kernel = k; e->now.module = e->pipe->m; e->now.grid = *g; e->now.size = *t;
  e->pending.push_back(e->now);
  if (!e->concurrent) e->flush();
}

static u64 missing(Obj *o, const char *s) {
  fprintf(stderr, "standin: -[%s %s] is not there\n", o->kind, s);
  abort();
}

} // namespace standin

using namespace standin;

extern "C" {
const char *sel_registerName(const char *s) {
  static std::map<std::string, std::string *> m;
  auto &p = m[s];
  if (!p) p = new std::string(s);
  return p->c_str();
}
Obj *objc_getClass(const char *s) {
  return !strcmp(s, "NSString") ? &class_string : !strcmp(s, "MTLCompileOptions") ? &class_options : !strcmp(s, "MTLResidencySetDescriptor") ? &class_set : 0;
}
void *objc_autoreleasePoolPush() { pools.emplace_back(); return (void *)pools.size(); }
void objc_autoreleasePoolPop(void *p) {
  if ((size_t)p != pools.size()) { fprintf(stderr, "standin: autorelease pool popped out of order, or on another thread\n"); abort(); }
  for (Obj *o : pools.back()) release(o);
  pools.pop_back();
}
Obj *MTLCreateSystemDefaultDevice() { device.refs++; return &device; }

// What the test side sets and reads: see standin.go.
void standin_plant(const char *from, const char *to) { plant(from, to); }
void standin_set(const char *name, const char *value) { config.set(name, value); }
u64 standin_total(int i) { return totals[i]; }
// standin_counts writes a line for each kernel: name, dispatches, bytes read from wrapped buffers (distinct sectors of each
// threadgroup), bytes read from and written to other buffers (distinct sectors of each dispatch).
u64 standin_counts(char *out, u64 room) {
  std::string s;
  for (auto &c : counts) {
    char line[256];
    snprintf(line, sizeof line, "%s %llu %llu %llu %llu\n", c.first.c_str(), (unsigned long long)c.second.dispatches, (unsigned long long)c.second.wrapped, (unsigned long long)c.second.read, (unsigned long long)c.second.written);
    s += line;
  }
  u64 n = std::min<u64>(room, s.size());
  memcpy(out, s.data(), n);
  return n;
}
void standin_reset() { counts.clear(); memset(totals, 0, sizeof totals); }

// Memory, in pages of vm_statistics64: free ones with 100 read ahead, of files, purgeable.
u32 mach_host_self() { return 7; }
int host_statistics64(u32 host, int flavor, u32 *info, u32 *count) {
  if (host != 7 || flavor != 4 || *count < 38) return 4; // KERN_INVALID_ARGUMENT
  u32 pages = config.available / 4096;
  memset(info, 0, 38 * 4);
  info[0] = pages / 2 + 100; info[22] = pages / 4; info[23] = 100; info[34] = pages - pages / 2 - pages / 4;
  return 0;
}

// The doubles come back in a floating-point register, which the binding asks for by another signature.
static double times(Obj *, const char *s) { return !strcmp(s, "GPUEndTime") ? 2e-3 : 1e-3; }

u64 objc_msgSend(Obj *o, const char *s, u64 a, u64 b, u64 c, u64 d) {
  if (!o) return 0; // as Objective-C does
  totals[MESSAGES]++;
  if (o->refs <= 0) { fprintf(stderr, "standin: -[%s %s] to a released object\n", o->kind, s); abort(); }
#define IS(x) (!strcmp(s, x))
#define R(x) return (u64)(x)
  if (IS("release")) { if (o->refs == 1 && (o == &device || o == &queue)) return 0; release(o); return 0; }
  if (IS("retain")) { o->refs++; R(o); }
  if (IS("respondsToSelector:")) { const char *q = (const char *)a; return !strcmp(q, "setMathMode:") ? config.macos >= 15 : !strcmp(q, "newResidencySetWithDescriptor:error:") ? config.macos >= 15 : 1; }
  if (o == &class_string && IS("alloc")) R(new Str);
  if (o == &class_options && IS("new")) R(new Opts);
  if (o == &class_set && IS("new")) R(new Desc);
  if (dynamic_cast<Opts *>(o)) {
    if (IS("setFastMathEnabled:") || (IS("setMathMode:") && config.macos >= 15)) { if (a) fail(1, "fast-math is on"); return 0; }
  }
  if (auto *x = dynamic_cast<Str *>(o)) { if (IS("initWithUTF8String:")) { x->s = (char *)a; R(x); } if (IS("UTF8String")) R(x->s.c_str()); }
  if (auto *x = dynamic_cast<Err *>(o)) { if (IS("localizedDescription")) R(&x->text); if (IS("code")) return x->code; }
  if (o == &device) {
    static Str name("stand-in");
    if (IS("name")) R(&name);
    if (IS("newCommandQueue")) { queue.refs++; R(&queue); }
    if (IS("recommendedMaxWorkingSetSize")) return config.working_set;
    if (IS("maxBufferLength")) return config.max_buffer;
    if (IS("maxThreadgroupMemoryLength")) return 32768;
    if (IS("hasUnifiedMemory")) return 1;
    if (IS("supportsFamily:")) return a >= 1001 && a <= 1007;
    if (IS("currentAllocatedSize")) return allocated;
    if (IS("newSharedEvent")) R(new Event);
    if (IS("newResidencySetWithDescriptor:error:")) R(new Set);
    if (IS("newLibraryWithSource:options:error:")) {
      std::string log;
      auto m = compile(((Str *)a)->s, log);
      if (!m) { *(Obj **)c = autoreleased(new Err(log, 3)); return 0; }
      Lib *l = new Lib;
      l->m = m;
      R(l);
    }
    if (IS("newComputePipelineStateWithFunction:error:")) {
      Fun *f = (Fun *)a;
      if (f->k->static_bytes > 32768) { *(Obj **)b = autoreleased(new Err(f->k->name + ": more than 32768 bytes of threadgroup memory", 3)); return 0; }
      Pipe *p = new Pipe;
      p->m = f->m; p->k = f->k;
      R(p);
    }
    if (IS("newBufferWithLength:options:")) { if (a > config.max_buffer || allocated + a > config.memory) return 0; R(buffer(a)); }
    if (IS("newBufferWithBytesNoCopy:length:options:deallocator:")) {
      if (a % 4096 || b % 4096 || b > config.max_buffer || d) return 0;
      Buf *x = new Buf;
      x->p = (char *)a; x->n = b;
      remember(x->p, b, true);
      R(x);
    }
  }
  if (auto *x = dynamic_cast<Lib *>(o)) if (IS("newFunctionWithName:")) {
    auto k = x->m->kernels.find(((Str *)a)->s);
    if (k == x->m->kernels.end()) return 0;
    Fun *f = new Fun;
    f->m = x->m; f->k = &k->second;
    R(f);
  }
  if (auto *x = dynamic_cast<Pipe *>(o)) { if (IS("maxTotalThreadsPerThreadgroup")) return 1024; if (IS("threadExecutionWidth")) return 32; if (IS("staticThreadgroupMemoryLength")) return x->k->static_bytes; }
  if (auto *x = dynamic_cast<Buf *>(o)) { if (IS("contents")) R(x->p); }
  if (dynamic_cast<Set *>(o)) { if (IS("addAllocation:") || IS("removeAllAllocations") || IS("commit") || IS("requestResidency") || IS("endResidency")) return 0; }
  if (auto *x = dynamic_cast<Event *>(o)) if (IS("signaledValue")) return x->value;
  if (o == &queue) {
    if (IS("commandBufferWithUnretainedReferences")) { totals[COMMAND_BUFFERS]++; R(autoreleased(new Cb)); }
    if (IS("addResidencySet:") || IS("removeResidencySet:")) return 0;
  }
  if (auto *x = dynamic_cast<Cb *>(o)) {
    if (IS("computeCommandEncoder") || IS("computeCommandEncoderWithDispatchType:")) {
      if (x->encoding) { fprintf(stderr, "standin: an encoder starts before the one before it has ended\n"); abort(); }
      Enc *e = new Enc;
      e->cb = x; e->concurrent = !IS("computeCommandEncoder") && a == 1; x->encoding = true;
      totals[ENCODERS]++;
      R(autoreleased(e));
    }
    if (IS("commit")) {
      if (x->encoding) { fprintf(stderr, "standin: commit before endEncoding\n"); abort(); }
      if (failure.empty()) { x->status = 4; for (auto &v : x->signals) v.first->value = v.second; }
      else { x->status = 5; x->err = new Err(failure, failure_code); failure.clear(); has_failed = false; }
      return 0;
    }
    if (IS("waitUntilCompleted")) { if (!x->status) { fprintf(stderr, "standin: waits for a command buffer that was not committed\n"); abort(); } return 0; }
    if (IS("status")) return x->status;
    if (IS("error")) R(x->err);
    if (IS("encodeSignalEvent:value:")) { x->signals.push_back({(Event *)a, b}); return 0; }
    if (IS("encodeWaitForEvent:value:")) { if (((Event *)a)->value < b) fail(2, "waits for an event that nobody signals"); return 0; }
    if (IS("GPUStartTime") || IS("GPUEndTime")) { double t = times(o, s); asm volatile("movsd %0, %%xmm0" ::"m"(t) : "xmm0"); u64 u; memcpy(&u, &t, 8); return u; }
  }
  if (auto *x = dynamic_cast<Enc *>(o)) {
    if (x->ended) { fprintf(stderr, "standin: -[%s %s] after endEncoding\n", o->kind, s); abort(); }
    if (IS("setComputePipelineState:")) { x->pipe = (Pipe *)a; if (x->pipe->refs <= 0) fail(1, "a released pipeline is used"); return 0; }
    if (IS("setBuffer:offset:atIndex:") || IS("setBufferOffset:atIndex:")) {
      bool whole = IS("setBuffer:offset:atIndex:");
      u64 i = whole ? c : b, at = whole ? b : a;
      if (i >= 31) { fail(1, "buffer index %llu: want 0 to 30", (unsigned long long)i); return 0; }
      Buf *u = whole ? (Buf *)a : (Buf *)x->now.object[i];
      if (!u) { if (!whole) fail(1, "an offset for no buffer at %llu", (unsigned long long)i); x->now.bound &= ~(1u << i); return 0; }
      if (strcmp(u->kind, "MTLBuffer")) { fail(1, "%s bound as a buffer", u->kind); return 0; }
      if (u->refs <= 0) { fail(1, "a released buffer is bound at %llu", (unsigned long long)i); return 0; }
      if (at > u->n || at % 4) { fail(1, "offset %llu of a buffer of %zu bytes: want a multiple of 4 inside", (unsigned long long)at, u->n); return 0; }
      x->now.object[i] = u; x->now.buffer[i] = u->p + at; x->now.bytes[i].reset(); x->now.bound |= 1u << i;
      return 0;
    }
    if (IS("setBytes:length:atIndex:")) { if (c >= 31) { fail(1, "buffer index %llu: want 0 to 30", (unsigned long long)c); return 0; } x->now.object[c] = 0; set_bytes(x->now, (void *)a, b, c); return 0; }
    if (IS("setThreadgroupMemoryLength:atIndex:")) { if (b >= 4 || a % 16 || a > 32768) fail(1, "threadgroup memory: %llu bytes at %llu", (unsigned long long)a, (unsigned long long)b); else x->now.group[b] = a; return 0; }
    if (IS("dispatchThreadgroups:threadsPerThreadgroup:")) { if (failure.empty()) dispatch(x, (Size *)a, (Size *)b); return 0; }
    if (IS("memoryBarrierWithScope:")) { if (++totals[BARRIERS] == config.skip_barrier) x->skipped = x->pending.size(); else x->flush(); return 0; }
    if (IS("setLabel:")) return 0;
    if (IS("endEncoding")) { x->flush(); x->ended = true; x->cb->encoding = false; return 0; }
  }
  return missing(o, s);
}
}
