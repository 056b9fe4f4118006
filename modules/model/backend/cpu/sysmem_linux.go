package cpu

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// systemMemory returns the machine's memory and what a new program could take, in bytes; zeros where it is not known.
func systemMemory() (total, free int64) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, 0
	}
	defer func() { _ = f.Close() }()
	for s := bufio.NewScanner(f); s.Scan(); {
		if w := strings.Fields(s.Text()); len(w) > 1 {
			n, _ := strconv.ParseInt(w[1], 10, 64)
			switch w[0] {
			case "MemTotal:":
				total = n << 10
			case "MemAvailable:":
				free = n << 10
			}
		}
	}
	return total, free
}
