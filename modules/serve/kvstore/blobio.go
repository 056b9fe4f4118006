package kvstore

import "io"

// putBytes stores a blob that is in memory.
func putBytes(b Blobs, name string, p []byte) error {
	return b.Put(name, int64(len(p)), func(w io.WriterAt) error {
		_, err := w.WriteAt(p, 0)
		return err
	})
}

// shifted writes at an offset.
type shifted struct {
	w   io.WriterAt
	off int64
}

func (s shifted) WriteAt(p []byte, off int64) (int, error) { return s.w.WriteAt(p, s.off+off) }
