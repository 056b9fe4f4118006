package gguf

// KeyAlignment is the metadata key with the alignment of tensor data in bytes.
const KeyAlignment = "general.alignment"

// KeyArchitecture is the metadata key with the name of the model family.
const KeyArchitecture = "general.architecture"

// KeySharedOffsets marks a synthetic file whose tensors share data on purpose
// (a file with the size of a real model's directory and little data). Such a
// file is refused unless the reader passes [AllowSharedOffsets] as well.
const KeySharedOffsets = "ds4.synthetic.shared_offsets"

// DefaultAlignment of tensor data in bytes, where the file does not say.
const DefaultAlignment = 32

// Limits that no option lifts.
const (
	maxKeyBytes    = 65535
	maxTensorName  = 63 // upstream stores it with a NUL in 64 bytes
	maxAlignment   = 1 << 20
	maxDims        = 4
	maxArrayDepth  = 4
	maxRecordCount = 1 << 31
)

type options struct {
	headerOnly    bool
	version2      bool
	scalars       bool
	sharedOffsets bool
	contiguous    bool
	checkStrings  bool
	noMmap        bool
	maxString     int64
	maxHeader     int64
	types         map[Type]TypeInfo
}

func defaultOptions(opts []Option) options {
	o := options{maxString: 64 << 20, maxHeader: 1 << 30}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// Option changes how a file is opened. Without options every rule of the
// format is enforced.
type Option func(*options)

// HeaderOnly accepts a file whose tensor data is missing or cut short: a
// partial download, or the first megabytes of a remote file. Reading the data
// of an absent tensor then fails.
func HeaderOnly() Option { return func(o *options) { o.headerOnly = true } }

// AllowVersion2 accepts format version 2, which has the layout of version 3.
func AllowVersion2() Option { return func(o *options) { o.version2 = true } }

// AllowScalars accepts tensors with no dimensions, which have one element.
func AllowScalars() Option { return func(o *options) { o.scalars = true } }

// AllowSharedOffsets accepts tensors that overlap each other, if the file also
// says [KeySharedOffsets] = true.
func AllowSharedOffsets() Option { return func(o *options) { o.sharedOffsets = true } }

// RequireContiguous refuses gaps and reordering: each tensor must start where
// the one before it in the directory ends, padded. Upstream ggml insists on it.
func RequireContiguous() Option { return func(o *options) { o.contiguous = true } }

// CheckStrings validates the UTF-8 of every string in every array while
// opening. Without it only keys, names and single strings are checked, since
// token tables may hold bytes that are not text; see [Array.CheckUTF8].
func CheckStrings() Option { return func(o *options) { o.checkStrings = true } }

// NoMmap makes [Open] read through the file descriptor. A mapped file that
// somebody truncates kills the process on the next access; this one gives an
// error instead, at the price of copies.
func NoMmap() Option { return func(o *options) { o.noMmap = true } }

// MaxString sets the longest single string value accepted, in bytes
// (default 64 MiB).
func MaxString(bytes int64) Option { return func(o *options) { o.maxString = bytes } }

// MaxHeader sets how much of a source that is not mapped may be held in memory
// as its header, in bytes (default 1 GiB).
func MaxHeader(bytes int64) Option { return func(o *options) { o.maxHeader = bytes } }

// WithType adds, or for this file redefines, a tensor type. Forks of ggml give
// ids from 40 up meanings of their own.
func WithType(t Type, info TypeInfo) Option {
	return func(o *options) {
		if o.types == nil {
			o.types = map[Type]TypeInfo{}
		}
		o.types[t] = info
	}
}

func (o *options) typeInfo(t Type) (TypeInfo, bool) {
	if info, ok := o.types[t]; ok {
		return info, info.BlockSize > 0 && info.BlockBytes > 0
	}
	return t.Info()
}
