package kvstore

import (
	"errors"
	"io"
)

// Blobs is where files are: a folder today (Dir), object storage later. Names are lower-case letters, digits, dots and
// dashes. Any goroutine may call any method.
type Blobs interface {
	// Get opens a blob; ErrNotFound is wrapped where there is none. What was opened stays readable though it is deleted.
	Get(name string) (Blob, error)
	// Put stores a blob of the given size, whole or not at all, also if the machine stops. write fills it, in any order.
	// An existing blob of that name is replaced. One Put at a time: the caller holds the lock.
	Put(name string, bytes int64, write func(io.WriterAt) error) error
	// List calls visit for every blob.
	List(visit func(name string, bytes int64)) error
	// Delete removes a blob. Removing one that is not there is no error.
	Delete(name string) error
	// Lock keeps other holders out, those in other processes included, until unlock is called or the holder dies.
	Lock() (unlock func(), err error)
}

// Blob is an open blob.
type Blob interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// What a caller branches on.
var (
	ErrNotFound = errors.New("no such blob")
	ErrCorrupt  = errors.New("corrupt file")
	ErrBusy     = errors.New("writer is busy")
	ErrShort    = errors.New("too few tokens")
	ErrBudget   = errors.New("does not fit the budget")
	ErrClosed   = errors.New("store is closed")
)
