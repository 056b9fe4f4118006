// Kernels from Metal source: their signatures are read and checked here, their bodies by clang.
#include "standin.h"

#include <cstdio>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace standin {

// without_comments keeps the length: offsets stay true.
static std::string without_comments(std::string s) {
  for (size_t i = 0; i + 1 < s.size(); i++) {
    if (s[i] == '/' && s[i + 1] == '/') while (i < s.size() && s[i] != '\n') s[i++] = ' ';
    else if (s[i] == '/' && s[i + 1] == '*') {
      while (i + 1 < s.size() && !(s[i] == '*' && s[i + 1] == '/')) { if (s[i] != '\n') s[i] = ' '; i++; }
      s[i] = s[i + 1] = ' ';
    }
  }
  return s;
}
static std::string trim(const std::string &s) {
  size_t a = s.find_first_not_of(" \t\n"), b = s.find_last_not_of(" \t\n");
  return a == std::string::npos ? "" : s.substr(a, b - a + 1);
}
static bool starts(const std::string &s, const char *p) { return s.compare(0, strlen(p), p) == 0; }
static bool word(char c) { return isalnum(c) || c == '_'; }

// The built-in positions: the type that MSL wants and where the stand-in keeps it.
static const struct { const char *attr, *type, *from; } positions[] = {
  {"threadgroup_position_in_grid", "uint3", "i->tgpos"}, {"thread_position_in_threadgroup", "uint3", "i->tpos"},
  {"thread_position_in_grid", "uint3", "i->gpos"}, {"threads_per_threadgroup", "uint3", "i->tgsize"},
  {"threadgroups_per_grid", "uint3", "i->tgcount"}, {"thread_index_in_threadgroup", "uint", "i->tindex"},
  {"simdgroup_index_in_threadgroup", "uint", "i->simd"}, {"thread_index_in_simdgroup", "uint", "i->lane"},
  {"simdgroups_per_threadgroup", "uint", "i->simds"}, {"threads_per_simdgroup", "uint", "i->width"},
};

static bool parameter(Kernel &k, const std::string &text, std::string &arg, std::map<std::string, bool> &used, std::string &log) {
  auto bad = [&](const std::string &why) { log += "kernel " + k.name + ": " + why + "\n"; return false; };
  size_t open = text.find("[["), close = text.find("]]");
  if (open == std::string::npos || close == std::string::npos) return bad("parameter without an attribute: " + trim(text));
  std::string attr = trim(text.substr(open + 2, close - open - 2)), index, decl = trim(text.substr(0, open));
  size_t p = decl.size();
  while (p > 0 && word(decl[p - 1])) p--;
  std::string name = decl.substr(p);
  decl = trim(decl.substr(0, p));
  if (size_t q = attr.find('('); q != std::string::npos) { index = trim(attr.substr(q + 1, attr.find(')') - q - 1)); attr = trim(attr.substr(0, q)); }
  if (used[attr + index]) return bad(name + ": [[" + attr + (index.empty() ? "" : "(" + index + ")") + "]] twice");
  used[attr + index] = true;
  if (attr == "buffer" || attr == "threadgroup") {
    int n = index.empty() ? -1 : atoi(index.c_str());
    if (n < 0 || n >= (attr == "buffer" ? 31 : 4)) return bad(name + ": [[" + attr + "(" + index + ")]] is out of range");
    if (attr == "buffer") {
      if (!starts(decl, "device ") && !starts(decl, "constant ")) return bad(name + ": a buffer must be device or constant, not " + decl);
      if (decl.back() != '*' && decl.back() != '&') return bad(name + ": a buffer must be a pointer or a reference");
      k.buffers |= 1u << n;
      arg = decl.back() == '&' ? "*(" + decl.substr(0, decl.size() - 1) + "*)b[" + index + "]" : "(" + decl + ")b[" + index + "]";
    } else {
      if (!starts(decl, "threadgroup ") || decl.back() != '*') return bad(name + ": must be a threadgroup pointer");
      k.groups |= 1u << n;
      arg = "(" + decl + ")i->tgmem[" + index + "]";
    }
    return true;
  }
  for (auto &pos : positions)
    if (attr == pos.attr) {
      std::string t = decl;
      if (starts(t, "ushort")) t = "uint" + t.substr(6);
      if (t != pos.type) return bad(name + ": [[" + attr + "]] is a " + pos.type + ", not a " + decl);
      arg = "(" + decl + ")(" + pos.from + ")";
      return true;
    }
  return bad(name + ": unknown attribute [[" + attr + "]]");
}

static bool read_signatures(const std::string &source, std::map<std::string, Kernel> &kernels, std::string &log) {
  std::string s = without_comments(source);
  for (auto &w : {std::make_pair("__global", "device"), std::make_pair("__local", "threadgroup"), std::make_pair("__private", "thread")}) // preprocessed
    for (size_t at = 0; (at = s.find(w.first, at)) != std::string::npos;) s.replace(at, strlen(w.first), w.second);
  bool ok = true;
  for (size_t at = 0; (at = s.find("kernel", at)) != std::string::npos; at += 6) {
    if ((at > 0 && word(s[at - 1])) || word(s[at + 6])) continue;
    size_t i = at + 6, start;
    auto space = [&] { while (i < s.size() && isspace(s[i])) i++; };
    space();
    if (s.compare(i, 4, "void")) continue;
    i += 4;
    space();
    for (start = i; i < s.size() && word(s[i]);) i++;
    Kernel k;
    k.name = s.substr(start, i - start);
    space();
    if (i >= s.size() || s[i] != '(') continue; // made by a macro: the macro's body is read instead
    int depth = 1;
    std::vector<std::string> parts(1);
    for (i++; i < s.size() && depth > 0; i++) {
      char c = s[i];
      depth += c == '(' || c == '<' || c == '[';
      depth -= c == ')' || c == '>' || c == ']';
      if (c == ',' && depth == 1) parts.emplace_back();
      else if (depth > 0) parts.back() += c;
    }
    std::string args;
    std::map<std::string, bool> used;
    for (auto &p : parts) {
      std::string a;
      ok &= parameter(k, p, a, used, log);
      args += (args.empty() ? "" : ", ") + a;
    }
    k.thunk = "extern \"C\" void sim_call_" + k.name + "(const __private unsigned long *b, const __private sim_ids *i) { " + k.name + "(" + args + "); }\n";
    kernels[k.name] = k;
  }
  return ok;
}

static u64 hash(const std::string &s) {
  u64 h = 14695981039346656037ull;
  for (unsigned char c : s) h = (h ^ c) * 1099511628211ull;
  return h;
}
static std::string read(const std::string &path) {
  std::string s;
  if (FILE *f = fopen(path.c_str(), "r")) {
    char b[65536];
    for (size_t n; (n = fread(b, 1, sizeof b, f)) > 0;) s.append(b, n);
    fclose(f);
  }
  return s;
}
static void write(const std::string &path, const std::string &s) {
  if (FILE *f = fopen(path.c_str(), "w")) { fwrite(s.data(), 1, s.size(), f); fclose(f); }
}

static int shell(const std::string &command) { int r = system(command.c_str()); return WIFEXITED(r) ? WEXITSTATUS(r) : 255; }

// generic_pointers names declarations that have no address space: clang takes them for generic, MSL refuses them.
static std::string generic_pointers(const std::string &dump) {
  std::string out, line;
  FILE *f = fopen(dump.c_str(), "r");
  char b[1 << 16];
  while (f && fgets(b, sizeof b, f)) {
    line = b;
    if ((line.find("ParmVarDecl") == std::string::npos && line.find(" VarDecl") == std::string::npos) || line.find("__generic") == std::string::npos) continue;
    size_t quote = line.find(" '"), space = line.rfind(' ', quote - 1);
    std::string before = line.substr(space + 1, quote - space - 1);
    if (before == "used" || before.find(':') != std::string::npos || before.back() == '>') continue; // no name: an implicit constructor's
    size_t a = line.find('<');
    out += "no address space: " + line.substr(a == std::string::npos ? 0 : a);
  }
  if (f) fclose(f);
  return out;
}

static bool statics(const std::string &so, std::map<std::string, Kernel> &kernels) {
  std::string e = read(so);
  if (e.size() < sizeof(Elf64_Ehdr)) return false;
  auto *h = (const Elf64_Ehdr *)e.data();
  auto *sh = (const Elf64_Shdr *)(e.data() + h->e_shoff);
  for (int i = 0; i < h->e_shnum; i++) {
    if (sh[i].sh_type != SHT_SYMTAB) continue;
    const char *names = e.data() + sh[sh[i].sh_link].sh_offset;
    auto *sym = (const Elf64_Sym *)(e.data() + sh[i].sh_offset);
    for (size_t j = 0; j < sh[i].sh_size / sizeof *sym; j++) {
      std::string n = names + sym[j].st_name;
      if (ELF64_ST_TYPE(sym[j].st_info) != STT_OBJECT) continue;
      std::string of = n.substr(0, n.find('.'));
      if (starts(n, "_ZZ")) { // mangled: _ZZ, the length of the function's name, the name
        char *end;
        long len = strtol(n.c_str() + 3, &end, 10);
        of = std::string(end).substr(0, len);
      }
      auto k = kernels.find(of);
      if (k == kernels.end()) continue;
      k->second.statics.push_back({sym[j].st_value, sym[j].st_size});
      k->second.static_bytes += (sym[j].st_size + 15) & ~15ull;
    }
  }
  return true;
}

// ---- units: a few neighbouring kernels are compiled at a time, with the functions that they reach. So both cores work, and a source
// that differs from one before in one kernel costs the compilation of its unit. Alone, each of fifty would read the library anew.

const size_t UNIT_KERNELS = 6;

struct Item { std::string text, name; bool kernel; }; // name: of a function's definition, else none

// items cuts a source at its top level.
static std::vector<Item> items(const std::string &s) {
  std::vector<Item> out;
  size_t start = 0, paren = std::string::npos; // paren: where the parameters begin
  int depth = 0;
  bool function = false;
  char last = 0; // before the character at hand, spaces left out
  for (size_t i = 0; i < s.size(); i++) {
    char c = s[i];
    if (c == '(' && depth == 0 && paren == std::string::npos) paren = i;
    if (c == '{' && depth == 0) function = last == ')';
    depth += c == '(' || c == '{' || c == '[';
    depth -= c == ')' || c == '}' || c == ']';
    if (depth == 0 && (c == ';' || (c == '}' && function))) {
      Item it = {s.substr(start, i + 1 - start), "", false};
      if (function) {
        size_t end = paren;
        while (end > start && isspace(s[end - 1])) end--;
        size_t at = end;
        while (at > start && word(s[at - 1])) at--;
        it.name = s.substr(at, end - at);
        it.kernel = starts(trim(it.text), "kernel ") || starts(trim(it.text), "__kernel ");
      }
      out.push_back(it);
      start = i + 1; paren = std::string::npos; function = false;
    }
    if (!isspace(c)) last = c;
  }
  out.push_back({s.substr(start), "", false});
  return out;
}

// unit is what some kernels need: everything that is no function, and the functions that are reached by name.
static std::string unit(const std::vector<Item> &all, const std::vector<std::string> &kernels) {
  std::multimap<std::string, size_t> named;
  for (size_t i = 0; i < all.size(); i++) if (!all[i].name.empty()) named.insert({all[i].name, i});
  std::vector<bool> keep(all.size());
  std::vector<std::string> todo = kernels;
  while (!todo.empty()) {
    auto range = named.equal_range(todo.back());
    todo.pop_back();
    for (auto f = range.first; f != range.second; ++f) {
      if (keep[f->second]) continue;
      if (all[f->second].kernel && std::find(kernels.begin(), kernels.end(), f->first) == kernels.end()) continue; // a field of that name
      keep[f->second] = true;
      const std::string &t = all[f->second].text;
      for (size_t i = 0; i < t.size();) {
        size_t from = i;
        while (i < t.size() && word(t[i])) i++;
        if (i > from) todo.push_back(t.substr(from, i - from));
        else i++;
      }
    }
  }
  std::string out;
  for (size_t i = 0; i < all.size(); i++) if (all[i].name.empty() || keep[i]) out += all[i].text;
  return out;
}

struct Unit { std::string text, stem; bool ok = true; }; // text: then the log

// build compiles what is not in the cache, a few at a time.
static bool build(std::vector<Unit> &units, const std::string &flags, std::string &log) {
  std::atomic<size_t> next{0};
  auto work = [&] {
    for (size_t i; (i = next++) < units.size();) {
      Unit &u = units[i];
      std::string tmp = u.stem + "." + std::to_string(getpid());
      if (!access((u.stem + ".o").c_str(), R_OK)) continue;
      write(tmp + ".cl", u.text);
      u.ok = !shell(config.clang + flags + " -fPIC -O2 -c -o " + tmp + ".o " + tmp + ".cl 2>" + tmp + ".log");
      if (u.ok) rename((tmp + ".o").c_str(), (u.stem + ".o").c_str());
      else u.text = read(tmp + ".log");
      for (const char *e : {".cl", ".log", ".o"}) unlink((tmp + e).c_str());
    }
  };
  std::thread other(work);
  work();
  other.join();
  for (auto &u : units) if (!u.ok) { log = u.text; return false; }
  return true;
}

static std::shared_ptr<Module> open(const std::string &stem, std::map<std::string, Kernel> kernels, std::string &log) {
  auto m = std::make_shared<Module>();
  if (!statics(stem + ".so", kernels)) { log = stem + ".so cannot be read"; return 0; }
  m->kernels = kernels;
  for (int w = 0; w < config.threads; w++) { // copies, so that each worker has its own threadgroup variables
    char copy[] = "/dev/shm/standinXXXXXX";
    int fd = mkstemp(copy);
    if (fd >= 0) close(fd);
    write(copy, read(stem + ".so"));
    void *so = dlopen(copy, RTLD_NOW | RTLD_LOCAL);
    unlink(copy);
    if (!so) { log = dlerror(); return 0; }
    for (auto &k : m->kernels) {
      void *p = dlsym(so, ("sim_call_" + k.first).c_str());
      if (!p) { log = k.first + " is not in the object"; return 0; }
      k.second.entry[w] = (Entry)p;
      Dl_info info;
      dladdr(p, &info);
      m->base[w] = (char *)info.dli_fbase;
    }
  }
  return m;
}

std::shared_ptr<Module> compile(const std::string &given, std::string &log) {
  std::string source = planted(given);
  std::string flags = " -x clcpp -cl-std=clc++2021 -cl-no-stdinc -target x86_64-linux-gnu -march=x86-64-v3 -Xclang -cl-ext=-all,+cl_khr_fp16,+__opencl_c_generic_address_space"
                      " -ffp-contract=off -I" + config.include + " -Wall -Wno-unknown-attributes -Wno-c++20-extensions -Wno-unused -Wno-unknown-pragmas";
  std::string trace = config.trace ? " -fsanitize-coverage=func,trace-loads,trace-stores" : "";
  auto place = [&](const std::string &s) {
    char id[32];
    snprintf(id, sizeof id, "/%016llx", (unsigned long long)hash(s + flags + trace + config.clang));
    return config.cache + id;
  };
  std::string stem = place(source + read(config.include + "/metal_stdlib")), tmp = stem + "." + std::to_string(getpid());
  std::map<std::string, Kernel> kernels;
  std::string cl = read(stem + ".cl");
  if (!cl.empty()) return read_signatures(cl, kernels, log) ? open(stem, kernels, log) : 0;
  struct Sweep { // whatever happens
    std::string tmp;
    ~Sweep() { for (const char *e : {".metal", ".i", ".ast", ".so", ".log"}) unlink((tmp + e).c_str()); }
  } sweep = {tmp};
  auto clang = [&](const std::string &arguments) {
    if (!shell(config.clang + arguments + " 2>" + tmp + ".log")) return true;
    log = read(tmp + ".log");
    return false;
  };
  write(tmp + ".metal", source);
  if (!clang(flags + " -E -P -o " + tmp + ".i " + tmp + ".metal")) return 0;
  cl = read(tmp + ".i");
  if (!read_signatures(cl, kernels, log)) return 0;
  if (!clang(flags + " -fsyntax-only -Xclang -ast-dump -fno-color-diagnostics " + tmp + ".metal >" + tmp + ".ast")) return 0;
  log = generic_pointers(tmp + ".ast");
  if (!log.empty()) return 0;
  const std::string end = "struct sim_end_of_library;";
  size_t own = cl.find(end);
  own = own == std::string::npos ? 0 : own + end.size();
  std::vector<Item> all = items(cl.substr(own));
  std::vector<Unit> units;
  std::string objects;
  std::vector<std::string> names; // in the source's order
  for (auto &it : all) if (it.kernel) names.push_back(it.name);
  for (size_t i = 0; i < names.size(); i += UNIT_KERNELS) {
    std::vector<std::string> some(names.begin() + i, names.begin() + std::min(names.size(), i + UNIT_KERNELS));
    Unit u;
    u.text = cl.substr(0, own) + unit(all, some) + "\n#define device __global\n#define threadgroup __local\n";
    for (auto &n : some) u.text += kernels[n].thunk;
    u.stem = place(u.text);
    objects += " " + u.stem + ".o";
    units.push_back(u);
  }
  if (!build(units, flags + trace, log)) return 0;
  if (!clang(" -shared -nostartfiles -nostdlib -Wl,-z,muldefs -o " + tmp + ".so" + objects /* constants are in each */)) return 0;
  rename((tmp + ".so").c_str(), (stem + ".so").c_str());
  write(tmp + ".cl", cl);
  rename((tmp + ".cl").c_str(), (stem + ".cl").c_str()); // last: its presence means that all is there
  return open(stem, kernels, log);
}

} // namespace standin
