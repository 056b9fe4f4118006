//go:build linux && amd64

package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/metal/standin"
)

// parts is the number of pieces that kernels.cu is compiled in, side by side.
const parts = 14

//go:embed prelude.cuh
var prelude string

//go:embed run.sh
var script string

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: cuda DIR")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "cuda:", err)
		os.Exit(1)
	}
}

// write makes everything that the machine with the card needs, but for the test binary.
func write(dir string) error {
	source, err := expand(kernels.Source())
	if err != nil {
		return err
	}
	cuda, list, err := rewrite(source)
	if err != nil {
		return err
	}
	for name, text := range map[string]string{"kernels.cu": cuda, "kernels.list": list, "kernels.metal": kernels.Source(), "prelude.cuh": prelude, "kernels.parts": strconv.Itoa(parts), "run.sh": script} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			return err
		}
	}
	return standin.BuildCUDA(filepath.Join(dir, "libstandin.so"))
}

// expand runs the preprocessor: kernels made by macros have their signatures then.
func expand(source string) (string, error) {
	source = strings.ReplaceAll(source, "#include <metal_stdlib>\n", "")
	cmd := exec.Command("clang-19", "-E", "-P", "-x", "c++", "-")
	cmd.Stdin = strings.NewReader(source)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("preprocessor: %w: %s", err, errs.Bytes())
	}
	return string(out), nil
}

// positions are the built-in ones, in CUDA.
var positions = map[string]string{
	"threadgroup_position_in_grid":   "uint3(blockIdx.x, blockIdx.y, blockIdx.z)",
	"threadgroups_per_grid":          "uint3(gridDim.x, gridDim.y, gridDim.z)",
	"threads_per_threadgroup":        "uint3(blockDim.x, 1, 1)",
	"thread_index_in_threadgroup":    "msl_tindex()",
	"simdgroup_index_in_threadgroup": "msl_tindex() / 32",
	"thread_index_in_simdgroup":      "msl_tindex() % 32",
	"simdgroups_per_threadgroup":     "(blockDim.x + 31) / 32",
}

var (
	kernelRE    = regexp.MustCompile(`\bkernel\s+void\s+(\w+)\s*\(`)
	parameterRE = regexp.MustCompile(`(?s)^\s*(.*?)(\w+)\s*\[\[\s*(\w+)\s*(?:\(\s*(\d+)\s*\))?\s*\]\]\s*$`)
	sharedRE    = regexp.MustCompile(`\bthreadgroup\s+(\w+\s+\w+\s*\[)`)
	constantRE  = regexp.MustCompile(`(?m)^constant\s+(\w)`)
	referenceRE = regexp.MustCompile(`\bconstant\s+`)
	spaceRE     = regexp.MustCompile(`\b(?:device|threadgroup|thread)\b\s*`)
	halfRE      = regexp.MustCompile(`\b(\d+\.\d+)h\b`)
	helperRE    = regexp.MustCompile(`\bstatic inline\b`)
)

// body rewrites what is not a signature: address spaces go, threadgroup variables become shared ones.
func body(s string) string {
	s = strings.ReplaceAll(s, "using namespace metal;", "")
	s = sharedRE.ReplaceAllString(s, "__shared__ $1")
	s = constantRE.ReplaceAllString(s, "static constexpr $1")
	s = referenceRE.ReplaceAllString(s, "const ")
	s = spaceRE.ReplaceAllString(s, "")
	s = halfRE.ReplaceAllString(s, "half(${1}f)")
	return helperRE.ReplaceAllString(s, "static __device__ inline")
}

// rewrite turns preprocessed source into CUDA C++: every kernel takes one msl_call. list has a line for each: its name, and the
// buffers that it declares as bits.
func rewrite(source string) (cuda, list string, err error) {
	var out, names strings.Builder
	out.WriteString("#include \"prelude.cuh\"\n")
	at := 0
	for n, m := range kernelRE.FindAllStringSubmatchIndex(source, -1) {
		name := source[m[2]:m[3]]
		end, parameters := closing(source, m[1])
		var lines []string
		mask := uint32(0)
		for _, p := range parameters {
			f := parameterRE.FindStringSubmatch(p)
			if f == nil {
				return "", "", fmt.Errorf("kernel %s: parameter without an attribute: %s", name, p)
			}
			line, bit, err := parameter(f[1], f[2], f[3], f[4])
			if err != nil {
				return "", "", fmt.Errorf("kernel %s: %w", name, err)
			}
			lines, mask = append(lines, line), mask|bit
		}
		open := end + strings.IndexByte(source[end:], '{') + 1
		last := open + matching(source[open:])
		out.WriteString(body(source[at:m[0]]))
		fmt.Fprintf(&out, "#if PART == %d\nextern \"C\" __global__ void __launch_bounds__(1024) %s(const msl_call c) {\n    %s", n%parts, name, strings.Join(lines, "\n    "))
		out.WriteString(body(source[open:last]) + "\n#endif\n")
		fmt.Fprintf(&names, "%s %d\n", name, mask)
		at = last
	}
	out.WriteString(body(source[at:]) + "}\n") // of the prelude's namespace
	return out.String(), names.String(), nil
}

// parameter declares one parameter in the kernel's body.
func parameter(decl, name, attr, index string) (line string, bit uint32, err error) {
	if attr != "buffer" {
		p, ok := positions[attr]
		if !ok {
			return "", 0, fmt.Errorf("%s: unknown attribute %s", name, attr)
		}
		return fmt.Sprintf("const %s %s = %s;", strings.TrimSpace(decl), name, p), 0, nil
	}
	i, err := strconv.Atoi(index)
	if err != nil || i > 30 {
		return "", 0, fmt.Errorf("%s: index %q", name, index)
	}
	if t, ok := strings.CutSuffix(strings.TrimSpace(decl), "&"); ok {
		t = strings.TrimSpace(strings.TrimPrefix(t, "constant"))
		return fmt.Sprintf("const %s & %s = *(const %s *) c.args;", t, name, t), 1 << i, nil
	}
	t := strings.TrimSpace(body(decl))
	return fmt.Sprintf("%s %s = (%s) c.b[%d];", t, name, t, i), 1 << i, nil
}

// closing splits the parameters that begin at i, and returns where they end.
func closing(s string, i int) (end int, parts []string) {
	depth, start := 1, i
	for ; ; i++ {
		switch s[i] {
		case '(', '[', '<':
			depth++
		case ')', ']', '>':
			depth--
		case ',':
			if depth == 1 {
				parts, start = append(parts, s[start:i]), i+1
			}
		}
		if depth == 0 {
			return i + 1, append(parts, s[start:i])
		}
	}
}

// matching is the length of a body up to and with its closing brace.
func matching(s string) int {
	depth := 1
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}
