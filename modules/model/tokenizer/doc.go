// Package tokenizer turns text into the token ids of DeepSeek V4 Flash, and ids back into bytes.
//
// The definition is the published one: three isolating splits (numbers, CJK ranges, words), then byte-level BPE on
// every piece. [Tokenizer] is built from plain data ([Vocab]) or from a model file ([FromGGUF]); it is immutable and
// safe for use from many goroutines.
//
// Text comes in two kinds, and the caller says which:
//
//   - data ([Tokenizer.Encode]): what a person or a tool wrote. Nothing in it is special; a text that spells
//     <｜User｜> becomes ordinary tokens.
//   - template ([Tokenizer.EncodeTemplate]): what the program wrote. Every special token's text becomes its id.
//
// [Builder] joins both into one list, with pieces running across the seams as they would in one text. [Decoder] is
// the way back for streams: it never hands out half a UTF-8 character.
//
// Caveats. Tokens are byte strings: about 1,500 of them are not valid UTF-8 alone, so concatenate first and interpret
// later. Encoding never fails, because a vocabulary must cover all 256 bytes or name a substitute. Neither BOS nor EOS
// is ever added here; the chat template writes them.
package tokenizer
