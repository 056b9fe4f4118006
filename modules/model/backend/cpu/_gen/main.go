// Command _gen compiles the C intrinsics beside it with clang 19 into Go assembly: for every kernel and instruction set one
// wrapper and one body of words, code and constants in a single position-independent blob. It refuses a body that touches
// the stack, so that tracebacks and profiles stay right.
//
//	cd modules/model/backend/cpu/_gen && go run .          writes ../kern_*
//	cd modules/model/backend/cpu/_gen && go run . -check   compares instead
package main

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// target is one instruction set.
type target struct {
	name, arch string
	clang      []string
}

var targets = []target{
	{"avx512", "amd64", []string{"--target=x86_64-linux-gnu", "-march=x86-64-v4", "-mavx512vnni", "-mavx512vbmi", "-mavx512bitalg", "-mgfni",
		"-mprefer-vector-width=512", "-mno-gather", "-mno-red-zone"}},
	{"avx2", "amd64", []string{"--target=x86_64-linux-gnu", "-march=x86-64-v3", "-mno-gather", "-mno-red-zone"}},
	{"neon", "arm64", []string{"--target=aarch64-linux-gnu", "-march=armv8.2-a+dotprod+fp16", "-mcmodel=tiny", "-ffixed-x18", "-ffixed-x28"}},
}

var sources = []string{"matvec.c", "unpack.c", "gemm.c", "attend.c", "acts.c", "exp.c"}

// arguments names the argument block of a kernel by the start of its name.
var arguments = []struct{ prefix, block string }{
	{"vec", "vecArgs"}, {"tile", "tileArgs"}, {"gemm", "gemmArgs"}, {"quant", "actArgs"}, {"kv", "kvArgs"}, {"attend", "attendArgs"}, {"hc", "hcArgs"}, {"exp", "expArgs"},
}

const script = `SECTIONS { . = 0; .all : { *(.text*) . = ALIGN(64); *(.rodata*) } /DISCARD/ : { *(.comment) *(.note*) *(.eh_frame*) *(.llvm*) *(.ARM*) } }`

// stack finds what must not be in a body: the stack pointer, and on arm64 the link, frame and goroutine registers.
var stack = map[string]*regexp.Regexp{
	"amd64": regexp.MustCompile(`%[er]?[sb]p\b|\bpush|\bpop[qlw]?\b|\bcall`),
	"arm64": regexp.MustCompile(`\bsp\b|\b[xw](18|28|29|30)\b|\bbl\b`),
}

const header = "// Code generated from _gen by clang 19. DO NOT EDIT.\n\n"

func main() {
	check := flag.Bool("check", false, "compare with the files that are there, write nothing")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, "_gen:", err)
		os.Exit(1)
	}
}

func run(check bool) error {
	dir, err := os.MkdirTemp("", "gen")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	files := map[string][]byte{}
	if files["../kern_args.go"], err = blocks("c/args.h"); err != nil {
		return err
	}
	for _, t := range targets {
		if err := t.compile(dir, files); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	for name, data := range files {
		if !check {
			if err := os.WriteFile(name, data, 0o644); err != nil {
				return err
			}
			continue
		}
		if old, err := os.ReadFile(name); err != nil || !bytes.Equal(old, data) {
			return fmt.Errorf("%s differs from what the sources compile to: run go run . in _gen (%v)", name, err)
		}
	}
	return nil
}

// compile makes the assembly and the declarations of one instruction set.
func (t target) compile(dir string, files map[string][]byte) error {
	var text, decl, table bytes.Buffer
	text.WriteString(header + "#include \"textflag.h\"\n")
	decl.WriteString(header + "package cpu\n")
	fmt.Fprintf(&table, "\n// %sKernels are the kernels of one variant.\nvar %sKernels = kernels{\n", t.name, t.name)
	ld := filepath.Join(dir, "ld")
	if err := os.WriteFile(ld, []byte(script), 0o600); err != nil {
		return err
	}
	for _, src := range sources {
		obj := filepath.Join(dir, t.name+src+".o")
		args := slices.Concat([]string{"-O3", "-ffreestanding", "-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-fomit-frame-pointer",
			"-fno-jump-tables", "-fno-unroll-loops", "-fno-strict-aliasing", "-ffp-contract=off", "-ffunction-sections", "-fdata-sections",
			"-Wall", "-Werror", "-c", "-o", obj, "c/" + src}, t.clang)
		if _, err := tool("clang-19", args...); err != nil {
			return err
		}
		names, err := tool("llvm-nm-19", "--defined-only", "--extern-only", "--format=just-symbols", obj)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(slices.Values(strings.Fields(string(names)))) {
			code, err := t.body(dir, ld, obj, name)
			if err != nil {
				return err
			}
			block := ""
			for _, a := range arguments {
				if strings.HasPrefix(name, a.prefix) {
					block = a.block
				}
			}
			t.emit(&text, name, block, code)
			fmt.Fprintf(&decl, "\n//go:noescape\nfunc %s_%s(a *%s)\n", t.name, name, block)
			fmt.Fprintf(&table, "\t%s: %s_%s,\n", name, t.name, name)
		}
	}
	decl.Write(table.Bytes())
	decl.WriteString("}\n")
	src, err := format.Source(decl.Bytes())
	if err != nil {
		return err
	}
	files["../kern_"+t.name+"_"+t.arch+".s"] = text.Bytes()
	files["../kern_"+t.name+"_"+t.arch+".go"] = src
	return nil
}

// body links one kernel alone and returns its bytes.
func (t target) body(dir, ld, obj, name string) ([]byte, error) {
	elf, bin := filepath.Join(dir, "elf"), filepath.Join(dir, "bin")
	if _, err := tool("ld.lld-19", "-T", ld, "--gc-sections", "-u", name, "-e", name, "-o", elf, obj); err != nil {
		return nil, err
	}
	dis, err := tool("llvm-objdump-19", "-d", "--no-show-raw-insn", "--disassemble-symbols="+name, obj)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(dis)) {
		if _, ins, ok := strings.Cut(line, ":"); ok && stack[t.arch].MatchString(ins) {
			return nil, fmt.Errorf("%s touches the stack or a register that is Go's: %s", name, strings.TrimSpace(line))
		}
	}
	if _, err := tool("llvm-objcopy-19", "-O", "binary", "-j", ".all", elf, bin); err != nil {
		return nil, err
	}
	return os.ReadFile(bin)
}

// emit writes the wrapper, which hands the argument over in the first register of preserve_none, and the body. Go's own
// calling convention saves what the body may destroy: everything but the registers that stack looks for.
func (t target) emit(out *bytes.Buffer, name, block string, code []byte) {
	fn := t.name + "_" + name
	fmt.Fprintf(out, "\n// func %s(a *%s)\nTEXT ·%s(SB), NOSPLIT, $0-8\n", fn, block, fn)
	if t.arch == "amd64" {
		fmt.Fprintf(out, "\tMOVQ a+0(FP), R12\n\tCALL %s_body<>(SB)\n\tVZEROUPPER\n\tRET\n", fn)
	} else {
		fmt.Fprintf(out, "\tMOVD a+0(FP), R20\n\tCALL %s_body<>(SB)\n\tRET\n", fn)
	}
	fmt.Fprintf(out, "\nTEXT %s_body<>(SB), NOSPLIT|NOFRAME, $0-0\n\tPCALIGN $64\n", fn)
	code = append(code, make([]byte, (8-len(code)%8)%8)...)
	for ; len(code) > 0; code = code[8:] {
		if t.arch == "amd64" {
			fmt.Fprintf(out, "\tQUAD $0x%016x\n", binary.LittleEndian.Uint64(code))
		} else {
			fmt.Fprintf(out, "\tWORD $0x%08x\n\tWORD $0x%08x\n", binary.LittleEndian.Uint32(code), binary.LittleEndian.Uint32(code[4:]))
		}
	}
}

var (
	member = regexp.MustCompile(`^\t(?:const )?(?:struct )?(\w+) (\**)(\w+)(\[\d+\])?;\s*(//.*)?$`)
	goType = map[string]string{"u8": "byte", "i8": "int8", "u16": "uint16", "i16": "int16", "u32": "uint32", "i32": "int32", "f32": "float32", "i64": "int", "u64": "uint64"}
)

// blocks writes the structs of a C header as Go.
func blocks(name string) ([]byte, error) {
	src, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	out.WriteString(header + "package cpu\n")
	comment, inside := "", false
	for line := range strings.Lines(string(src)) {
		line = strings.TrimRight(line, "\n")
		switch s, isStruct := strings.CutPrefix(line, "struct "); {
		case isStruct:
			inside = true
			fmt.Fprintf(&out, "\n%stype %s struct {\n", comment, strings.TrimSuffix(s, " {"))
		case inside && line == "};":
			inside = false
			out.WriteString("}\n")
		case inside:
			m := member.FindStringSubmatch(line)
			if m == nil {
				return nil, fmt.Errorf("%s: want a struct member, got %q", name, line)
			}
			typ := m[1]
			if g, ok := goType[typ]; ok {
				typ = g
			}
			fmt.Fprintf(&out, "\t%s %s%s%s %s\n", m[3], m[4], m[2], typ, m[5])
		}
		if strings.HasPrefix(line, "//") {
			comment += line + "\n"
		} else {
			comment = ""
		}
	}
	return format.Source(out.Bytes())
}

// tool runs a command and returns what it printed.
func tool(name string, args ...string) ([]byte, error) {
	c := exec.Command(name, args...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", name, err, stderr.Bytes())
	}
	return out, nil
}
