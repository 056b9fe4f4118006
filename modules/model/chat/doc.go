// Package chat writes conversations as DeepSeek V4 Flash expects to read them, and reads what the model writes back.
// It knows text only: no device, no model state, no wire format.
//
// [Render] turns a list of [Message] into [Segment]s, each either template text (written by this package; special
// tokens count) or data (written by anyone else; nothing in it is special, so a user who types <｜User｜> gets those
// characters and no turn). [Tokens] encodes segments and tells where messages end. The encoding is the one published
// with the checkpoint; [Options] holds the few deviations that are worth having.
//
// [Parser] reads one completion piece by piece and yields [Event]s: reasoning, content, and tool calls whose arguments
// form as JSON while they are written. Streams and single answers use the same parser, and the concatenation of the
// events always equals the final [Result]. How a completion is cut into pieces never matters. A tool call block
// is also kept as it was sampled ([Block]), so that sending a conversation back reproduces the model's own bytes.
//
// [Stops] matches stop strings across pieces. [Checkpoint] knows what a model file's revision does with reasoning
// effort.
//
// Parsers, builders and Stops belong to one goroutine; everything else is immutable or plain data.
package chat
