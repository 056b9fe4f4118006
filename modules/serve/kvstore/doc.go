// Package kvstore keeps the engine's caches on disk, so that a prompt that begins like an earlier one starts from there.
//
// # Use
//
//	st, err := kvstore.Open(kvstore.Options{Blobs: dir, Identity: id, Shape: shape, CtxTokens: ctx, Log: log})
//	hit, miss := st.Lookup(kvstore.Query{Tokens: prompt})      // longest stored prefix, or why there is none
//	snap, err := engine.Import(hit.Tokens, hit.Page, hit.State) // Page may be called from any goroutine
//	hit.Close(kvstore.Used)
//	err = st.Save(source, kvstore.Mark{Reason: kvstore.Cold})   // queued: a goroutine of the store writes it
//	err = st.Close(ctx)                                         // writes what is queued
//
// A Source is a snapshot; FromSnapshot makes one from the engine's, given a way onto the engine's goroutine. When to save
// is Policy's to say, and it is arithmetic only.
//
// # What is stored
//
// A key names a position by the tokens before it and by who computed them:
//
//	K(0) = identity of model, tokenizer, template and cache layout
//	K(n) = SHA-256(K(m) ‖ tokens m … n−1 as u32), m the last multiple of 2048 below n
//
// A block is the engine's page for 2048 tokens, named by the key at its end: written once, and shared by every
// conversation that begins with these tokens. A checkpoint is what a sequence needs on top of its blocks to go on from
// position n: the tokens and rows after the last whole block, and the ring image cut to n. So a checkpoint costs the rows
// that are new, and its image: at the shape of DeepSeek V4 Flash 7,194,568 bytes for each new block, and from 3.7 to 22 MB. A
// conversation of 32,768 tokens takes 118.8 MB (10⁶ bytes).
//
// Text does not determine tokens: what the model sampled may be cut otherwise than an encoder would, and hidden reasoning is
// in the cache but not in what a client sends back. So tokens are the key, and a checkpoint can carry aliases: hashes under
// which a caller may present the same past. What an alias hashes is the caller's affair.
//
// Files of the ds4 program ("KVC", version 1, named by the SHA-1 of their text) are found by text, and written on request.
//
// # Files
//
// Integers are little-endian, checksums CRC32C. A file name is 40 hex digits of its key, a dash, 8 of the weights'
// identity, and .blk or .end. All files are written to one temporary name, synced and renamed, under a lock that is held by one process at a
// time; nothing is ever changed in place.
//
//	block (.blk) or checkpoint (.end)
//	     0  4   "DS4K"
//	     4  2   version 1
//	     6  1   kind: 1 block, 2 checkpoint
//	     7  1   reason: as in KVC, below
//	     8  8   created, Unix seconds
//	    16  4   start: tokens before the file's own, a multiple of 2048
//	    20  4   tokens: 2048 in a block, 0 to 2047 in a checkpoint
//	    24  8   bytes of rows
//	    32  8   bytes of the ring image, a draft head's window included
//	    40  4   logits, f32 each: those after the last token, or none
//	    44  4   bytes of text
//	    48  4   bytes of the tool map
//	    52  4   aliases, 32 bytes each
//	    56  1   bits of the routed experts
//	    57  7   0
//	    64  32  K(start)
//	    96  32  K(start+tokens)
//	   128  32  K(0)
//	   160  32  identity of the weights
//	   192  32  key of the checkpoint that this one goes on from, or 0
//	   224  28  0
//	   252  4   checksum of bytes 0 to 251
//	   256      tokens, u32 each · aliases · tool map · text
//	        4   checksum of everything before
//	            rows · ring image · logits
//	        4   checksum of these
//
// The ring image may end with the window of a draft head, where the engine has one: the last rows, 128 at most, of one layer
// more. Engines without a head pass it over, and those with one do without.
//
// Rows are the page's in memory, by layer, those complete at the file's last token only: KV rows without their
// padding, then (ratio 4) index rows, then their exponents.
//
//	index
//	     0  4   "DS4I"
//	     4  4   version 1
//	     8  8   generation: rises with each write
//	    16  4   entries
//	    20  4   0
//	    24      entries, see index.go
//	        4   checksum of everything before
//
// The index only says what the files say themselves, and when they were last of use. It is written before a file and after a
// removal, so a process that dies in between leaves an entry too many, never a file that is not counted. A missing or damaged index is
// made again from the headers.
//
//	KVC (.kv), version 1, as ds4 writes it
//	     0  3   "KVC"
//	     3  1   version 1
//	     4  1   bits of the routed experts: 2 or 4
//	     5  1   reason: 0 unknown, 1 cold, 2 continued, 3 evict, 4 shutdown, 5 agent system prompt, 6 agent session
//	     6  1   flags: 1 tool map, 2 responses-visible key, 4 thinking-visible key
//	     7  1   0
//	     8  4   tokens
//	    12  4   hits
//	    16  4   context of the writer
//	    20  4   0
//	    24  8   created
//	    32  8   last used
//	    40  8   bytes of the payload
//	    48  4   bytes of text
//	    52      text · payload (package dsv4) · tool map, if any: "KTM" 1, u32 count, then u32 id bytes, u32 block bytes, id, block
//
// # Caveats
//
// The text of conversations can be read from these files; folders are made 0700 and files 0600, and Wipe removes all.
// A KVC file has no checksum: what its own structure and the formats of the rows do not give away is not noticed.
// A Store may be used from any goroutine. Two processes may share a folder; what one writes the other finds.
package kvstore
