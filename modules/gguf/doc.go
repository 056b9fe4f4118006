// Package gguf reads and writes GGUF model files: the header, the metadata,
// the tensors, and the block formats in which DeepSeek V4 weights are stored.
// It needs nothing but the standard library.
//
//	f, err := gguf.Open("model.gguf")
//	if err != nil {
//		return err
//	}
//	defer f.Close()
//
//	layers, err := f.Uint32("deepseek4.block_count")
//	embd, ok := f.Tensor("token_embd.weight")
//	rows, err := embd.Data() // a view of the mapped file, no copy
//
// # Reading
//
// [Open] maps the file and makes one pass over the header that records where
// things are: the 5.3 MB header of an 86 GB file with 1328 tensors and 257,021
// strings takes about 3 ms and 28 allocations of together 0.33 MB. [Parse]
// reads through any io.ReaderAt, [ParseBytes] from memory; both hold what Open
// holds.
//
//   - [File] has the metadata ([File.KVs], [File.KV]) and the tensors
//     ([File.Tensors], [File.Tensor]) in file order and by name.
//   - Single values come from [Get], or [File.Uint32], [File.String] and their
//     like. Integers of any kind convert where the value fits; nothing turns
//     into a silent zero.
//   - Arrays stay in the file. [File.Array] gives an [Array]; [Seq] iterates
//     over it without allocating, [Slice] and [Values] copy it, and
//     [Array.StringTable] gives random access to strings.
//   - A [Tensor] gives its bytes whole ([Tensor.Data]), by row ([Tensor.Row]),
//     by entry of its outermost dimension, such as an expert ([Tensor.Slice]),
//     or as a stream ([Tensor.Section]). [View] turns bytes into numbers
//     without a copy.
//
// Files are not trusted. Every count is held against the bytes that are left
// before anything is allocated for it; tensors must lie in the file, aligned,
// apart from each other. What breaks a rule gives an [*Error] that names key or
// tensor, byte offset, what was wanted and what was there, and has a [Class].
// The options relax single rules: [HeaderOnly], [AllowVersion2],
// [AllowScalars], [AllowSharedOffsets]; or add some: [RequireContiguous],
// [CheckStrings]. [File.Warnings] lists what is legal but suspicious.
//
// # Writing
//
// A [Writer] takes metadata, then tensors with a [Payload] each, and streams
// the file: data never has to be in memory. The same calls give the same
// bytes. [Writer.WriteFile] replaces a file in one step or not at all. For
// tests with the directory of a real model and little data, tensors may share
// bytes ([Writer.AddShared]); readers refuse such files unless told otherwise.
//
// # Block formats
//
// [Dequantize] and [Quantize] know f32, f16, bf16, q8_0, q2_k, q4_k, q8_k,
// iq2_xxs and mxfp4; the quantisers, with and without importance weights, give
// the bytes of the reference implementation on every machine. Layouts are
// constants ([Q2_KOffQ] and so on) for those who write kernels; so are the
// codebook ([IQ2XXSGrid], [IQ2XXSSigns]) and the scalar conversions
// ([Float16ToFloat32], [Float32ToE4M3], ...). The other types of ggml are
// known by name and size, so files with them open, list and copy.
//
// # Caveats
//
//   - Views (of [Tensor.Data], [Seq] of strings, [Array.Raw], ...) point into
//     the mapping. Do not write to them, and do not use them after
//     [File.Close]: that ends the process. Names, keys and everything that is
//     called a copy are safe.
//   - Somebody who truncates a mapped file ends the process too. [NoMmap]
//     gives errors instead.
//   - A File may be used by several goroutines, Close excepted.
//   - On a big-endian machine everything works, by copies; [View] says false.
//   - Dimensions are in ggml order, the contiguous one first. [Tensor.Shape]
//     turns them round.
//
// # The format
//
// Version 3, little endian, no alignment within the header:
//
//	offset  bytes  field
//	0       4      magic "GGUF"
//	4       4      version, 3
//	8       8      number of tensors
//	16      8      number of metadata records
//	24      -      metadata records
//	-       -      tensor records
//	-       -      zeros up to a multiple of ALIGN
//	D       -      data section; ALIGN is general.alignment (u32), or 32
//
//	string           u64 length, then the bytes: UTF-8, no terminator
//	metadata record  string key, u32 kind, value
//	array value      u32 kind of the elements, u64 count, the values packed
//	tensor record    string name (1 to 63 bytes), u32 number of dimensions (1 to 4),
//	                 u64 each dimension, u32 type, u64 offset from D (multiple of ALIGN)
//
//	kind  0 u8   1 i8   2 u16  3 i16     4 u32    5 i32   6 f32
//	      7 bool (one byte, 0 or 1)      8 string 9 array 10 u64  11 i64  12 f64
//
//	type     id  elements  bytes        type     id  elements  bytes
//	f32       0         1      4        iq1_s    19       256     50
//	f16       1         1      2        iq4_nl   20        32     18
//	q4_0      2        32     18        iq3_s    21       256    110
//	q4_1      3        32     20        iq2_s    22       256     82
//	q5_0      6        32     22        iq4_xs   23       256    136
//	q5_1      7        32     24        i8       24         1      1
//	q8_0      8        32     34        i16      25         1      2
//	q8_1      9        32     36        i32      26         1      4
//	q2_k     10       256     84        i64      27         1      8
//	q3_k     11       256    110        f64      28         1      8
//	q4_k     12       256    144        iq1_m    29       256     56
//	q5_k     13       256    176        bf16     30         1      2
//	q6_k     14       256    210        tq1_0    34       256     54
//	q8_k     15       256    292        tq2_0    35       256     66
//	iq2_xxs  16       256     66        mxfp4    39        32     17
//	iq2_xs   17       256     74        nvfp4    40        64     36
//	iq3_xxs  18       256     98        q1_0     41       128     18
//	                                    q2_0     42        64     18
//
// # Importance files
//
// [ReadImportance] and [WriteImportance] handle the legacy .dat format of
// llama.cpp, little endian:
//
//	i32 entries
//	per entry: i32 name length, name, i32 calls, i32 values, f32 each value
//	optional:  i32 chunks, i32 length, name of the data set
package gguf
