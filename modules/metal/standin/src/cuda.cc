// The stand-in's other half for a machine with an NVIDIA card: the same objects and messages (standin.cc), but kernels are the
// sources rewritten for CUDA and compiled by nvcc, and dispatches run on the card. Buffers stay host memory that the card maps.
#include "standin.h"

#include <cstdio>
#include <dlfcn.h>
#include <fstream>
#include <sstream>

typedef int CUresult;
typedef void *CUcontext, *CUmodule, *CUfunction, *CUstream;
#define DRIVER(X) \
  X(cuInit, (unsigned)) X(cuDeviceGet, (int *, int)) X(cuDevicePrimaryCtxRetain, (CUcontext *, int)) X(cuCtxSetCurrent, (CUcontext)) \
  X(cuModuleLoad, (CUmodule *, const char *)) X(cuModuleGetFunction, (CUfunction *, CUmodule, const char *)) X(cuCtxSynchronize, ()) \
  X(cuMemHostRegister_v2, (void *, size_t, unsigned)) X(cuMemHostUnregister, (void *)) X(cuFuncGetAttribute, (int *, int, CUfunction)) \
  X(cuLaunchKernel, (CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, void **, void **))
#define POINTER(name, args) static CUresult(*name) args;
DRIVER(POINTER)

namespace standin {

static void die(const char *what, CUresult r) { fprintf(stderr, "standin: %s: CUDA error %d\n", what, r); abort(); }
static CUcontext context;
static std::vector<CUmodule> modules;
static void start() {
  if (context) { cuCtxSetCurrent(context); return; }
  void *so = dlopen("libcuda.so.1", RTLD_NOW);
  if (!so) { fprintf(stderr, "standin: %s\n", dlerror()); abort(); }
#define LOAD(name, args) *(void **)&name = dlsym(so, #name);
  DRIVER(LOAD)
  int device;
  CUresult r;
  if ((r = cuInit(0)) || (r = cuDeviceGet(&device, 0)) || (r = cuDevicePrimaryCtxRetain(&context, device)) || (r = cuCtxSetCurrent(context))) die("no device", r);
}

static std::string text(const std::string &path) { std::ifstream f(path); std::stringstream s; s << f.rdbuf(); return s.str(); }

static std::map<std::string, CUfunction> functions;

// compile takes what nvcc has made of the very same source: kernels.metal, kernels.list and kernels.N.cubin beside the library.
std::shared_ptr<Module> compile(const std::string &source, std::string &log) {
  start();
  if (text(config.cache + "/kernels.metal") != source) { log = "not the source that was rewritten for CUDA"; return 0; }
  for (int i = 0; modules.size() == (size_t)i; i++) {
    std::string path = config.cache + "/kernels." + std::to_string(i) + ".cubin";
    if (text(path).empty()) break;
    CUmodule m;
    if (CUresult r = cuModuleLoad(&m, path.c_str())) { log = path + ": CUDA error " + std::to_string(r); return 0; }
    modules.push_back(m);
  }
  auto m = std::make_shared<Module>();
  std::stringstream list(text(config.cache + "/kernels.list"));
  std::string name;
  u32 mask;
  while (list >> name >> mask) {
    CUfunction f = 0;
    for (CUmodule u : modules) if (!f && cuModuleGetFunction(&f, u, name.c_str())) f = 0;
    if (!f) { log = name + " is in no module"; return 0; }
    int bytes = 0;
    cuFuncGetAttribute(&bytes, 1, f); // CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES
    Kernel &k = m->kernels[name];
    k.name = name; k.buffers = mask; k.static_bytes = bytes;
    functions[name] = f;
  }
  return m;
}

void run(const Launch &l) {
  start();
  struct { void *b[31]; alignas(16) unsigned char args[1024]; } call = {};
  for (int i = 0; i < 31; i++) {
    call.b[i] = l.buffer[i];
    if (!l.bytes[i]) continue;
    if (i != 0 || l.bytes[i]->size() > sizeof call.args) { fail(1, "%s: bytes at %d: want at most %zu at 0", l.kernel->name.c_str(), i, sizeof call.args); return; }
    memcpy(call.args, l.bytes[i]->data(), l.bytes[i]->size());
  }
  void *params[] = {&call};
  CUresult r = cuLaunchKernel(functions[l.kernel->name], l.grid.w, l.grid.h, l.grid.d, l.size.w, l.size.h, l.size.d, 0, 0, params, 0);
  if (!r) r = cuCtxSynchronize();
  if (r) fail(3, "%s: CUDA error %d", l.kernel->name.c_str(), r);
  counts[l.kernel->name].dispatches++;
}

struct Registered { size_t n; int refs; };
static std::map<char *, Registered> registered;
void remember(char *p, size_t n, bool) {
  start();
  char *from = (char *)((u64)p & ~4095ull);
  n = ((u64)p + n + 4095 - (u64)from) & ~4095ull;
  Registered &have = registered[from];
  have.refs++;
  if (have.n >= n) return;
  if (have.n) cuMemHostUnregister(from); // a longer wrap of the same start
  have.n = n;
  CUresult r = cuMemHostRegister_v2(from, n, 2 /* mapped */);
  if (r) r = cuMemHostRegister_v2(from, n, 2 | 8 /* read-only */);
  if (r && r != 712 /* already */) die("host memory cannot be mapped", r);
}
void forget(char *p) {
  char *from = (char *)((u64)p & ~4095ull);
  if (--registered[from].refs) return;
  registered.erase(from);
  start();
  cuMemHostUnregister(from);
}

} // namespace standin
