//go:build !windows && (!unix || solaris || aix)

package fetch

import "os"

// lockFile trusts that nobody else writes here: this system has no flock.
func lockFile(*os.File) error { return nil }

func removeLocked(f *os.File, path string) {
	_ = os.Remove(path)
	_ = f.Close()
}
