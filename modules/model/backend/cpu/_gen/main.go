// Command _gen compiles the C intrinsics beside it with clang 19 into Go assembly: per function one wrapper and one body of
// words, code and constants in a single position-independent blob. It refuses a body that touches the stack, so that
// tracebacks and profiles stay right.
//
//	cd modules/model/backend/cpu/_gen && go run main.go          writes ../dot_*.s
//	cd modules/model/backend/cpu/_gen && go run main.go -check   compares instead
package main

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// target is one instruction set.
type target struct {
	source, out, prefix string
	clang               []string
}

var targets = []target{{
	source: "avx512.c", out: "../dot_avx512_amd64.s", prefix: "avx512_",
	clang: []string{"--target=x86_64-linux-gnu", "-march=x86-64-v4", "-mavx512vnni", "-mprefer-vector-width=512", "-mno-gather", "-mno-red-zone"},
}}

const script = `SECTIONS { . = 0; .all : { *(.text*) . = ALIGN(64); *(.rodata*) } /DISCARD/ : { *(.comment) *(.note*) *(.eh_frame*) *(.llvm*) } }`

var (
	function = regexp.MustCompile(`(?m)^GO void (\w+)\(`)
	stack    = regexp.MustCompile(`%[er]?sp\b|\bpush|\bpop[qlw]?\b`)
)

func main() {
	check := flag.Bool("check", false, "compare with the files that are there, write nothing")
	flag.Parse()
	for _, t := range targets {
		if err := t.run(*check); err != nil {
			fmt.Fprintln(os.Stderr, "_gen:", err)
			os.Exit(1)
		}
	}
}

func (t target) run(check bool) error {
	src, err := os.ReadFile(t.source)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gen")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	obj := filepath.Join(dir, "o")
	args := append([]string{"-O3", "-ffreestanding", "-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-fomit-frame-pointer", "-fno-jump-tables",
		"-fno-strict-aliasing", "-ffp-contract=off", "-ffunction-sections", "-fdata-sections", "-Wall", "-Werror", "-c", "-o", obj, t.source}, t.clang...)
	if err := tool("clang-19", args...); err != nil {
		return err
	}
	ld := filepath.Join(dir, "ld")
	if err := os.WriteFile(ld, []byte(script), 0o600); err != nil {
		return err
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "// Code generated from _gen/%s by clang 19. DO NOT EDIT.\n\n#include \"textflag.h\"\n", t.source)
	for _, m := range function.FindAllSubmatch(src, -1) {
		code, err := body(dir, ld, obj, string(m[1]))
		if err != nil {
			return err
		}
		t.emit(&out, string(m[1]), code)
	}
	if !check {
		return os.WriteFile(t.out, out.Bytes(), 0o644)
	}
	old, err := os.ReadFile(t.out)
	if err != nil {
		return err
	}
	if !bytes.Equal(old, out.Bytes()) {
		return fmt.Errorf("%s differs from what %s compiles to: run go run main.go in _gen", t.out, t.source)
	}
	return nil
}

// body links one function alone and returns its bytes.
func body(dir, ld, obj, name string) ([]byte, error) {
	elf, bin := filepath.Join(dir, "elf"), filepath.Join(dir, "bin")
	if err := tool("ld.lld-19", "-T", ld, "--gc-sections", "-u", name, "-e", name, "-o", elf, obj); err != nil {
		return nil, err
	}
	dis, err := exec.Command("llvm-objdump-19", "-d", "--no-show-raw-insn", "--disassemble-symbols="+name, obj).Output()
	if err != nil {
		return nil, fmt.Errorf("llvm-objdump-19: %w", err)
	}
	for line := range strings.Lines(string(dis)) {
		if stack.MatchString(line) {
			return nil, fmt.Errorf("%s touches the stack: %s", name, strings.TrimSpace(line))
		}
	}
	if err := tool("llvm-objcopy-19", "-O", "binary", "-j", ".all", elf, bin); err != nil {
		return nil, err
	}
	return os.ReadFile(bin)
}

// emit writes the wrapper, which hands the argument over in the first register of preserve_none, and the body. Go's own
// calling convention saves what the body may destroy: everything but the stack and frame pointers.
func (t target) emit(out *bytes.Buffer, name string, code []byte) {
	fmt.Fprintf(out, "\n// func %s%s(a *dotArgs)\nTEXT ·%s%s(SB), NOSPLIT, $0-8\n", t.prefix, name, t.prefix, name)
	fmt.Fprintf(out, "\tMOVQ a+0(FP), R12\n\tCALL %s%s_body<>(SB)\n\tVZEROUPPER\n\tRET\n", t.prefix, name)
	fmt.Fprintf(out, "\nTEXT %s%s_body<>(SB), NOSPLIT|NOFRAME, $0-0\n\tPCALIGN $64\n", t.prefix, name)
	code = append(code, make([]byte, (8-len(code)%8)%8)...)
	for ; len(code) > 0; code = code[8:] {
		fmt.Fprintf(out, "\tQUAD $0x%016x\n", binary.LittleEndian.Uint64(code))
	}
}

func tool(name string, args ...string) error {
	c := exec.Command(name, args...)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}
