package backend

import (
	"errors"
	"fmt"

	"github.com/ds4-go/ds4/modules/gguf"
)

// What a caller branches on.
var (
	ErrCanceled    = errors.New("canceled")
	ErrDeviceLost  = errors.New("device lost")
	ErrUnsupported = errors.New("not supported on this machine")
	ErrMemory      = errors.New("not enough memory")
)

// OpError is the failure of an operation inside a step. Layer is -1 outside the layers.
type OpError struct {
	Op    string
	Layer int
	Err   error
}

func (e *OpError) Error() string {
	if e.Layer < 0 {
		return fmt.Sprintf("backend: %s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("backend: %s, layer %d: %v", e.Op, e.Layer, e.Err)
}

func (e *OpError) Unwrap() error { return e.Err }

// Buf is a handle to an allocation: comparable, and goes into flat structs as it is. Zero means absent.
type Buf struct {
	ID, Rows int32
	RowBytes int64
}

// Weight is a bound tensor: Rows × Cols, row-major (experts: the E matrices one after another). Zero means absent.
type Weight struct {
	ID         int32
	Type       gguf.Type
	Rows, Cols int32
}

// Elem is the element type of a part of a buffer.
type Elem uint8

// Element types of buffers.
const (
	F32 Elem = iota
	I32
	U8
)

// Bytes is the size of one element.
func (e Elem) Bytes() int {
	if e == U8 {
		return 1
	}
	return 4
}

// Part is one piece of a buffer's row: Rows × Cols elements.
type Part struct {
	Type       Elem
	Rows, Cols int32
}

// Bytes is the size of the part.
func (p Part) Bytes() int64 { return int64(p.Rows) * int64(p.Cols) * int64(p.Type.Bytes()) }

// State is what persists between steps: rings, pages, and the table that says which pages a sequence has.
type State struct{ Slots, Pages, Table Buf }

// Use is one named use of device memory.
type Use struct {
	Name  string
	Bytes int64
}

// Memory is what a device has and what is taken, the backend's own scratch included.
type Memory struct {
	TotalBytes, FreeBytes int64
	Uses                  []Use
}

// Backend runs the model's operations on one device, in the order given. Nothing need have happened before Wait
// returns. One goroutine owns a Backend. Queued calls return no error: the first failure since Begin sticks until Wait,
// and skips what follows it.
type Backend interface {
	// Bind makes a tensor usable as a weight. data is the file's map: valid until Close, and may be read later.
	Bind(t *gguf.Tensor, data []byte) (Weight, error)
	// Alloc takes a buffer of rows, each the concatenation of parts. Its address is fixed until Close, its contents
	// are undefined. A backend may commit the memory lazily.
	Alloc(name string, rows int, parts ...Part) (Buf, error)
	Memory() Memory
	Close() error

	// Write replaces the start of a row with p, which it has copied when it returns.
	Write(dst Buf, row int, p []byte)
	// Copy copies one whole row.
	Copy(dst Buf, dstRow int, src Buf, srcRow int)
	// Read copies whole rows, as they are at this point of the queue, until p is full. With done nil it waits. Else it
	// returns at once and done is called on some goroutine; until then the caller writes neither p nor those rows, and
	// steps go on meanwhile.
	Read(p []byte, src Buf, row int, done func(error))
	// Begin starts a step; s stays unchanged until Wait.
	Begin(s *Step)
	// Wait ends the step and returns the first failure since Begin, an *OpError.
	Wait() error

	Embed(EmbedArgs)
	HCPre(HCPreArgs)
	AttnQKV(AttnQKVArgs)
	Compress(CompressArgs)
	IndexTopK(IndexTopKArgs)
	Attend(AttendArgs)
	AttnOut(AttnOutArgs)
	HCPost(HCPostArgs)
	Route(RouteArgs)
	Experts(ExpertsArgs)
	SharedExpert(SharedExpertArgs)
	HCHead(HCHeadArgs)
	Logits(LogitsArgs)
	Top(TopArgs)
	DraftJoin(DraftJoinArgs)
}
