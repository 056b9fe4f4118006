// Package fetch downloads large files from the Hugging Face hub: resumable,
// verified, whole or not at all.
//
//	res, err := fetch.Get(ctx, fetch.Request{
//		Repo: "owner/name",
//		File: "model.gguf",
//		Dest: "models/model.gguf",
//	})
//
// Nothing appears under Dest before every byte has been received and the
// SHA-256 that the hub publishes has been met. Until then the bytes live in
// Dest.part and what is known about them in Dest.part.journal, and a call with
// the same Request goes on where the last one stopped, whether that one was
// cancelled, killed, or lost its machine. Dest.part.lock keeps two programs
// from writing the same file.
//
// The types are few: a [Request] says what and where, a [Client] holds what
// many requests share (the [http.Client], the hub's address, patience), a
// [Progress] tells how it goes, a [Result] what came. [Client.Stat] asks for
// the metadata alone, [Verify] hashes a file on the disk, [Inspect] reads what
// an interrupted download left.
//
// # Transfer
//
// The hub is asked first: size, ETag, SHA-256 and commit. It answers large
// files with a redirect to a store on another host; redirects are followed by
// hand, so that the token is sent to the hub and to nobody else, never over
// plain http, and never from https to http. The file is cut into parts, handed
// out in file order to a few connections as closed ranges: the store answers
// 400 to open ranges on very large objects, and refuses spans over about
// 200 GiB, so a part is at most 16 GiB and usually much less. Handing them out in order keeps the
// written part of the file nearly contiguous, which is what lets SHA-256
// follow the transfer instead of being a second reading of 160 GB.
//
// Status 408, 425, 429 and 5xx, resets, timeouts, short bodies and connections
// that stall or drip are tried again, with growing pauses or as Retry-After asks.
// A link that has expired is asked for again. A file that changes on the hub
// while it is fetched is fetched anew, with a note. What no repetition can
// mend (no permission, no such file, a full disk, a wrong hash) is an error
// that says so; see [StatusError], [HashError], [SpaceError], [LockedError].
//
// # Caveats
//
// The package never prints, and reads no environment of its own; net/http's
// default transport, which is used unless Client.HTTP is set, honours
// HTTP_PROXY, HTTPS_PROXY and NO_PROXY. Progress callbacks come one at a time,
// from a goroutine of the call. A Client may be used by many goroutines at
// once. Each connection of a call holds one buffer of 1 MiB, and the journal of
// a download that was interrupted is read at 32 bytes per buffer.
//
// # The journal
//
// Little endian. Written as a new file, synced and renamed; then only appended
// to, one record after each buffer that was written to Dest.part.
//
//	offset  bytes  content
//	0       8      "DS4FETCH"
//	8       4      version, 1
//	12      4      n, length of the identity in bytes, at most 65536
//	16      n      identity as JSON: source, size, etag, sha256, commit, adopted
//	16+n    4      CRC-32C of bytes 0 to 16+n
//	then records of 32 bytes:
//	0       4      kind: 1 written, 2 synced, 3 kept
//	4       4      written: CRC-32C of the data
//	8       8      written, kept: offset in the file; synced: number of records before
//	               this one, in the order of the journal, whose data has reached the disk
//	16      8      written, kept: length in bytes
//	24      4      zero
//	28      4      CRC-32C of bytes 0 to 28
//
// The data of a record may be lost with the power although the record itself
// survived. So everything that no later "synced" record covers is read back and
// compared with its CRC when a download is resumed; what fails is fetched
// again. Reading stops at the first record that is torn.
package fetch
