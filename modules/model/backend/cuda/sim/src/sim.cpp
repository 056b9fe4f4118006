// A libcuda that runs the kernels on the host: the entry points that package driver uses, and the fiber scheduler.
// Blocks run one after another, their threads as fibers that switch at every rendezvous. Streams are synchronous;
// capture records launches, a graph replays them.
#define SIM 1
#include "../../kernels/kernels.cu"

#include <stdio.h>
#include <stdlib.h>
#include <map>
#include <string>
#include <vector>

namespace sim {
thread_local dim thread, block, block_dim, grid_dim;
thread_local u8* dynamic;

struct kernel { entry e; int args; };
static std::map<std::string, kernel>& kernels() { static std::map<std::string, kernel> k; return k; }
registrar::registrar(const char* name, entry e, int args) { kernels()[name] = {e, args}; }

// switch_to saves the callee-saved registers and the stack pointer, and continues another fiber.
extern "C" void sim_switch(void** save, void* to);
asm(R"(
.text
.globl sim_switch
sim_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
)");

struct fiber { void* sp; bool done; dim id; };
struct warp { alignas(16) u8 data[2][32][64]; int arrived, gen; u8 phase[32]; };
const int stack_bytes = 96 << 10;

static thread_local std::vector<fiber> fibers;
static thread_local std::vector<warp> warps;
static thread_local u8* stacks;
static thread_local int current, alive, block_arrived, block_gen;
static thread_local void* home;
static thread_local entry body;
static thread_local const void* body_args;

static void resume(int i, void** save) {
  current = i;
  thread = fibers[i].id;
  sim_switch(save, fibers[i].sp);
}
static void yield() {
  int me = current, n = (int)fibers.size();
  for (int i = 1; i <= n; i++) {
    int j = (me + i) % n;
    if (fibers[j].done) continue;
    if (j == me) return;
    resume(j, &fibers[me].sp);
    return;
  }
}
static void start() {
  body(body_args);
  fibers[current].done = true;
  if (--alive == 0) { void* dead; sim_switch(&dead, home); }
  if (block_arrived == alive) { block_arrived = 0; block_gen++; } // those that ended no longer count
  int me = current, n = (int)fibers.size();
  for (int i = 1; i < n; i++)
    if (int j = (me + i) % n; !fibers[j].done) { void* dead; resume(j, &dead); }
  abort();
}
const u8* rendezvous(const void* mine, int bytes) {
  warp& w = warps[current / 32];
  int lane = current % 32, p = w.phase[lane] ^= 1;
  memcpy(w.data[p][lane], mine, bytes);
  int gen = w.gen;
  if (++w.arrived == 32) { w.arrived = 0; w.gen++; }
  long spins = 0;
  while (w.gen == gen) {
    if (++spins > 10000000) { fprintf(stderr, "sim: a lane never arrived\n"); abort(); }
    yield();
  }
  return &w.data[p][0][0];
}
void barrier() {
  int gen = block_gen;
  if (++block_arrived == alive) { block_arrived = 0; block_gen++; }
  long spins = 0;
  while (block_gen == gen) {
    if (++spins > 10000000) { fprintf(stderr, "sim: a thread never arrived at a block barrier\n"); abort(); }
    yield();
  }
}
static void run_block(dim b, int threads) {
  block = b;
  fibers.assign(threads, fiber{});
  warps.assign((threads + 31) / 32, warp{});
  alive = threads; block_arrived = 0;
  if (!stacks) stacks = (u8*)aligned_alloc(4096, (size_t)stack_bytes * 1024);
  for (int i = 0; i < threads; i++) {
    void** sp = (void**)(stacks + (size_t)stack_bytes * (i + 1));
    *--sp = nullptr;
    *--sp = (void*)start;
    sp -= 6;
    fibers[i] = {sp, false, {i, 0, 0}};
  }
  resume(0, &home);
}
struct launch { const kernel* k; dim grid; int threads, shared; std::vector<u8> args; };
static void run(const launch& l) {
  static thread_local std::vector<u8> mem(256 << 10);
  dynamic = (u8*)(((u64)mem.data() + 127) & ~127ull);
  memset(dynamic, 0xcd, l.shared);
  grid_dim = l.grid; block_dim = {l.threads, 1, 1};
  body = l.k->e; body_args = l.args.data();
  for (int z = 0; z < l.grid.z; z++) for (int y = 0; y < l.grid.y; y++) for (int x = 0; x < l.grid.x; x++) run_block({x, y, z}, l.threads);
}
}  // namespace sim

using namespace sim;
static std::vector<launch>* capturing;

// Faults. "CALL:N:CODE" makes the N-th call of CALL from now fail with CODE, "KERNEL:N:CODE" the N-th launch of a kernel fault:
// the launch succeeds and the next call that waits tells, as on a card. A code that means a lost context makes every later
// call fail until the context is given back. Set by sim_fault, or by DS4_CUDASIM_FAULT when the library is loaded.
static struct { std::string name; long left; int code; } planned;
static int dead, pending;
static long live; // allocations, streams, events, graphs and modules not given back
static bool fatal(int code) { return code >= 700 || code == 214 || code == 220; }
extern "C" __attribute__((visibility("default"))) int sim_fault(const char* spec) {
  planned = {};
  char name[64] = {};
  if (spec && *spec && sscanf(spec, "%63[^:]:%ld:%d", name, &planned.left, &planned.code) != 3) return 1;
  planned.name = name;
  return 0;
}
extern "C" __attribute__((visibility("default"))) long sim_live() { return live; }
static int from_environment = sim_fault(getenv("DS4_CUDASIM_FAULT"));
static bool due(const char* name) { return planned.name == name && --planned.left == 0; }
static int fault(const char* call) {
  if (pending && (strstr(call, "Synchronize") || strstr(call, "Query"))) dead = pending, pending = 0;
  if (dead) return dead;
  if (!due(call)) return 0;
  if (fatal(planned.code)) dead = planned.code;
  return planned.code;
}
#define CHECKED if (int e = fault(__func__)) return e;
static void report() { // for tests of whole programs
  const char* path = getenv("DS4_CUDASIM_REPORT");
  FILE* f = path ? fopen(path, "a") : nullptr;
  if (f) { fprintf(f, "context given back: live %ld\n", live); fclose(f); }
}
#define API extern "C" __attribute__((visibility("default"))) int
API cuInit(unsigned) { return 0; }
API cuDriverGetVersion(int* v) { *v = 13000; return 0; }
API cuDeviceGetCount(int* n) { *n = 1; return 0; }
API cuDeviceGet(int* d, int) { *d = 0; return 0; }
API cuDeviceGetName(char* s, int n, int) { snprintf(s, n, "simulated device"); return 0; }
API cuDeviceGetAttribute(int* v, int a, int) {
  switch (a) {
    case 16: *v = 4; break;           // multiprocessors
    case 75: *v = 8; break;           // capability 8.0
    case 76: *v = 0; break;
    case 97: *v = 200 << 10; break;   // shared memory a block may ask for
    default: *v = 0;
  }
  return 0;
}
API cuDevicePrimaryCtxRetain(void** c, int) { CHECKED *c = (void*)1; return 0; }
API cuDevicePrimaryCtxRelease_v2(int) {
  if (dead || pending) live = 0; // it took all with it
  report();
  dead = pending = 0;
  return 0;
}
API cuCtxSetCurrent(void*) { CHECKED return 0; }
API cuCtxSynchronize() { CHECKED return 0; }
API cuModuleLoadDataEx(void** m, const void*, unsigned, void*, void*) { CHECKED *m = (void*)1; live++; return 0; }
API cuModuleUnload(void*) { CHECKED live--; return 0; }
API cuModuleGetFunction(void** f, void*, const char* name) { CHECKED
  auto it = kernels().find(name);
  if (it == kernels().end()) return 500;
  *f = &it->second;
  return 0;
}
API cuFuncSetAttribute(void*, int, int) { CHECKED return 0; }
API cuFuncGetAttribute(int* v, int, void*) { CHECKED *v = 0; return 0; }
static void start(const launch& l) {
  if (pending || dead) return;
  for (auto& k : kernels())
    if (&k.second == l.k && due(k.first.c_str())) { pending = planned.code; return; }
  run(l);
}
struct config { unsigned gx, gy, gz, bx, by, bz, shared, pad; void* stream; void* attrs; unsigned n; };
API cuLaunchKernelEx(const config* c, void* f, void** params, void**) { CHECKED
  auto* k = (kernel*)f;
  launch l{k, {(int)c->gx, (int)c->gy, (int)c->gz}, (int)c->bx, (int)c->shared, {}};
  l.args.assign((u8*)params[0], (u8*)params[0] + k->args);
  if (c->shared > (200 << 10) || c->bx > 1024 || !c->gx || !c->gy || !c->gz) return 1;
  if (capturing) capturing->push_back(l); else start(l);
  return 0;
}
API cuStreamCreate(void** s, unsigned) { CHECKED *s = malloc(1); live++; return 0; }
API cuStreamDestroy_v2(void* s) { CHECKED free(s); live--; return 0; }
API cuStreamSynchronize(void*) { CHECKED return 0; }
API cuStreamWaitEvent(void*, void*, unsigned) { CHECKED return 0; }
API cuStreamBeginCapture_v2(void*, int) { CHECKED capturing = new std::vector<launch>; return 0; }
API cuStreamEndCapture(void*, void** g) { CHECKED *g = capturing; capturing = nullptr; return 0; }
API cuGraphInstantiateWithFlags(void** e, void* g, u64) { CHECKED *e = new std::vector<launch>(*(std::vector<launch>*)g); live++; return 0; }
API cuGraphDestroy(void* g) { CHECKED delete (std::vector<launch>*)g; return 0; }
API cuGraphExecDestroy(void* g) { CHECKED delete (std::vector<launch>*)g; live--; return 0; }
API cuGraphLaunch(void* g, void*) { CHECKED for (auto& l : *(std::vector<launch>*)g) start(l); return 0; }
API cuEventCreate(void** e, unsigned) { CHECKED *e = malloc(1); live++; return 0; }
API cuEventDestroy_v2(void* e) { CHECKED free(e); live--; return 0; }
API cuEventRecord(void*, void*) { CHECKED return 0; }
API cuEventSynchronize(void*) { CHECKED return 0; }
API cuEventQuery(void*) { CHECKED return 0; }
API cuEventElapsedTime(float* ms, void*, void*) { CHECKED *ms = 0; return 0; }
API cuMemGetInfo_v2(u64* f, u64* t) {
  CHECKED
  const char* free = getenv("DS4_CUDASIM_FREE"); // bytes
  *f = free ? strtoull(free, nullptr, 10) : 8ull << 30;
  *t = 16ull << 30;
  return 0;
}
API cuMemAlloc_v2(void** p, u64 n) { CHECKED *p = aligned_alloc(256, (n + 255) & ~255ull); if (*p) memset(*p, 0xcb, n); live += *p != nullptr; return *p ? 0 : 2; }
API cuMemFree_v2(void* p) { CHECKED free(p); live--; return 0; }
API cuMemHostAlloc(void** p, u64 n, unsigned) { CHECKED *p = aligned_alloc(4096, (n + 4095) & ~4095ull); live += *p != nullptr; return *p ? 0 : 2; }
API cuMemFreeHost(void* p) { CHECKED free(p); live--; return 0; }
API cuMemcpyHtoDAsync_v2(void* d, const void* s, u64 n, void*) { CHECKED memcpy(d, s, n); return 0; }
API cuMemcpyDtoHAsync_v2(void* d, const void* s, u64 n, void*) { CHECKED memcpy(d, s, n); return 0; }
API cuMemcpyDtoDAsync_v2(void* d, const void* s, u64 n, void*) { CHECKED memcpy(d, s, n); return 0; }
API cuMemsetD8Async(void* d, u8 v, u64 n, void*) { CHECKED memset(d, v, n); return 0; }
API cuMemGetAllocationGranularity(u64* g, const void*, int) { CHECKED *g = 1 << 16; return 0; }
API cuMemAddressReserve(void** p, u64 n, u64, void*, u64) { CHECKED *p = aligned_alloc(1 << 16, n); live += *p != nullptr; return *p ? 0 : 2; }
API cuMemAddressFree(void* p, u64) { CHECKED free(p); live--; return 0; }
API cuMemCreate(u64* h, u64, const void*, u64) { CHECKED *h = 1; live++; return 0; }
API cuMemRelease(u64) { CHECKED live--; return 0; }
API cuMemMap(void*, u64, u64, u64, u64) { CHECKED return 0; }
API cuMemUnmap(void*, u64) { CHECKED return 0; }
API cuMemSetAccess(void*, u64, const void*, u64) { CHECKED return 0; }
API cuGetErrorString(int, const char** s) { *s = "error of the simulated device"; return 0; }
