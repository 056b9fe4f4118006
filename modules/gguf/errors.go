package gguf

import (
	"errors"
	"strconv"
	"strings"
)

// What a caller branches on. A malformed file gives an [*Error], which is one
// of the first two; its [Class] is finer.
var (
	// ErrCorrupt: the file breaks a rule of the format, or is cut short.
	ErrCorrupt = errors.New("corrupt file")
	// ErrUnsupported: a legal or plausible file that this package does not
	// read (version, byte order, tensor type), or a conversion it lacks.
	ErrUnsupported = errors.New("unsupported")
	// ErrNotFound: the file has no such key or tensor.
	ErrNotFound = errors.New("not found")
	// ErrClosed: the File was closed.
	ErrClosed = errors.New("file is closed")
)

// Class names the rule that a file broke. It is an error itself, so that
// errors.Is(err, gguf.ClassTruncated) asks for it.
type Class string

// The classes, in the order in which a reader meets them.
const (
	ClassBadMagic         Class = "bad_magic"
	ClassBigEndian        Class = "big_endian"
	ClassBadVersion       Class = "bad_version"
	ClassTruncated        Class = "truncated"
	ClassCountTooLarge    Class = "count_too_large"
	ClassHeaderTooLarge   Class = "header_too_large"
	ClassStringTooLong    Class = "string_too_long"
	ClassBadKey           Class = "bad_key"
	ClassDuplicateKey     Class = "duplicate_key"
	ClassBadValueType     Class = "bad_value_type"
	ClassArrayTooLarge    Class = "array_too_large"
	ClassArrayNesting     Class = "array_nesting"
	ClassBadBool          Class = "bad_bool"
	ClassBadUTF8          Class = "bad_utf8"
	ClassBadAlignment     Class = "bad_alignment"
	ClassBadTensorName    Class = "bad_tensor_name"
	ClassDuplicateTensor  Class = "duplicate_tensor"
	ClassBadDims          Class = "bad_ndims"
	ClassDimOverflow      Class = "dim_overflow"
	ClassBadTensorType    Class = "bad_tensor_type"
	ClassRowNotBlock      Class = "row_not_block_multiple"
	ClassSizeOverflow     Class = "size_overflow"
	ClassOffsetMisaligned Class = "offset_misaligned"
	ClassOffsetOverflow   Class = "offset_overflow"
	ClassTensorOutOfFile  Class = "tensor_out_of_file"
	ClassTensorsOverlap   Class = "tensors_overlap"
	ClassNotContiguous    Class = "not_contiguous" // only with [RequireContiguous]
)

// The classes of [File.Warnings]: legal, and yet not what a writer makes.
const (
	ClassBadPadding   Class = "bad_padding"   // padding that is not zero
	ClassGap          Class = "gap"           // unused space between tensors
	ClassTrailingData Class = "trailing_data" // bytes after the last tensor
)

// Error implements error.
func (c Class) Error() string { return string(c) }

// Error says which rule a file broke, where, and with which value.
type Error struct {
	Class  Class
	Path   string // of the file, when there is one
	Offset int64  // absolute byte offset of the field at fault
	Record int    // index of the metadata or tensor record, -1 outside both
	What   string // "header", "key" or "tensor"
	Name   string // key or tensor name, when known
	Want   string
	Got    string
}

// Error implements error: the thing, where it is, wanted, got, class.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("gguf: ")
	if e.Path != "" {
		b.WriteString(e.Path)
		b.WriteString(": ")
	}
	b.WriteString(e.What)
	switch {
	case e.Name != "":
		b.WriteByte(' ')
		b.WriteString(strconv.Quote(clip(e.Name, 80)))
	case e.Record >= 0:
		b.WriteString(" record ")
		b.WriteString(strconv.Itoa(e.Record))
	}
	b.WriteString(" at byte ")
	b.WriteString(strconv.FormatInt(e.Offset, 10))
	b.WriteString(": want ")
	b.WriteString(e.Want)
	b.WriteString(", got ")
	b.WriteString(e.Got)
	b.WriteString(" (")
	b.WriteString(string(e.Class))
	b.WriteByte(')')
	return b.String()
}

// Is makes errors.Is find the class, and ErrCorrupt or ErrUnsupported.
func (e *Error) Is(target error) bool {
	if c, ok := target.(Class); ok {
		return c == e.Class
	}
	switch e.Class {
	case ClassBigEndian, ClassBadVersion, ClassBadTensorType, ClassHeaderTooLarge:
		return target == ErrUnsupported
	}
	return target == ErrCorrupt
}

// KeyError reports a metadata key that is missing or does not hold what was
// asked for. A missing key Is [ErrNotFound].
type KeyError struct {
	Key  string
	Want string // "u32", "string", "array of f32" ...
	Got  string // what the file holds; empty when the key is missing
}

// Error implements error.
func (e *KeyError) Error() string {
	if e.Got == "" {
		return "gguf: key " + strconv.Quote(e.Key) + ": want " + e.Want + ", not found"
	}
	return "gguf: key " + strconv.Quote(e.Key) + ": want " + e.Want + ", got " + e.Got
}

// Is makes errors.Is(err, ErrNotFound) true for a missing key.
func (e *KeyError) Is(target error) bool { return e.Got == "" && target == ErrNotFound }

// clip shortens a name from the file for an error text, at most n bytes.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "..."
}
