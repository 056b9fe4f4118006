package machine

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// memory returns MemTotal and MemAvailable, in bytes.
func memory() (total, free int64) {
	_ = fields("/proc/meminfo", func(key, value string) bool {
		n, _ := strconv.ParseInt(strings.TrimSuffix(value, " kB"), 10, 64)
		switch key {
		case "MemTotal":
			total = n << 10
		case "MemAvailable":
			free = n << 10
		}
		return total == 0 || free == 0
	})
	return total, free
}

func cpuName() (name string) {
	_ = fields("/proc/cpuinfo", func(key, value string) bool {
		if key == "model name" {
			name = value
		}
		return name == ""
	})
	return name
}

// fields calls f with every "key: value" of a file until it says no. A file that is not there has none.
func fields(path string, f func(key, value string) bool) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	s := bufio.NewScanner(file)
	for s.Scan() {
		key, value, ok := strings.Cut(s.Text(), ":")
		if ok && !f(strings.TrimSpace(key), strings.TrimSpace(value)) {
			break
		}
	}
	return s.Err()
}
