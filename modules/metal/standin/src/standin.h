// What the parts of the stand-in share: objects and messages (standin.cc), kernels from source (compile.cc), threads (run.cc).
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

typedef uint32_t u32;
typedef uint64_t u64;

namespace standin {

struct Size { u64 w, h, d; }; // MTLSize

struct Config {
  std::string cache = "/tmp", include, clang = "clang-19";
  u32 seed = 1;
  int threads = 2, macos = 15;
  bool shuffle = true, trace = false; // trace: count bytes, and look for races in threadgroup memory
  u64 working_set = 8ull << 30, max_buffer = 4ull << 30, memory = 64ull << 30, available = 64ull << 30, skip_barrier = 0;
  void set(const std::string &name, const std::string &v) {
    u64 n = strtoull(v.c_str(), 0, 10);
    if (name == "clang") clang = v;
    else if (name == "seed") seed = n;
    else if (name == "threads") threads = n;
    else if (name == "macos") macos = n;
    else if (name == "trace") trace = n;
    else if (name == "working_set") working_set = n;
    else if (name == "max_buffer") max_buffer = n;
    else if (name == "memory") memory = n;
    else if (name == "available") available = n;
    else if (name == "skip_barrier") skip_barrier = n;
    else abort();
  }
};
extern Config config;

// A threadgroup's positions as a thunk hands them to a kernel; the layout is metal_stdlib's too.
struct alignas(16) uint3 { u32 x, y, z, pad; };
struct alignas(16) Ids { uint3 tgpos, gpos, tpos, tgsize, tgcount; u32 tindex, simd, lane, simds, width; u64 tgmem[4]; };
typedef void (*Entry)(const u64 *buffers, const Ids *);

const int MAX_THREADS = 8;

// Statics of a kernel: its threadgroup variables, which clang makes globals. Each worker has its own copy of the object.
struct Static { u64 at, bytes; };

struct Kernel {
  std::string name, thunk; // thunk: source of what calls it
  u32 buffers = 0, groups = 0; // which indices it declares
  size_t static_bytes = 0;
  std::vector<Static> statics; // offsets from the object's base
  Entry entry[MAX_THREADS];
};
struct Module {
  std::map<std::string, Kernel> kernels;
  char *base[MAX_THREADS];
};
std::shared_ptr<Module> compile(const std::string &source, std::string &log);
// plant makes the libraries compiled from now on differ from their sources: the first `from` becomes `to`; "": nothing.
void plant(const std::string &from, const std::string &to);
std::string planted(std::string source);

struct Launch {
  Kernel *kernel = 0;
  std::shared_ptr<Module> module;
  Size grid, size;
  u32 bound = 0;
  void *object[31] = {};
  char *buffer[31] = {};
  std::shared_ptr<std::string> bytes[31];
  u32 group[4] = {};
};
void run(const Launch &);

// Buffers by address, for messages and counts.
void remember(char *p, size_t n, bool wrapped);
void forget(char *p);

struct Counts { u64 dispatches = 0, wrapped = 0, read = 0, written = 0; };
extern std::map<std::string, Counts> counts;
enum { COMMAND_BUFFERS, ENCODERS, DISPATCHES, BARRIERS, MESSAGES, TOTALS };
extern u64 totals[TOTALS];

void fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern std::atomic<bool> has_failed;
inline bool failed() { return has_failed.load(std::memory_order_relaxed); }
std::mt19937 *rng();

} // namespace standin
