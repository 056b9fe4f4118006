// Package vectorscmd is "ds4 vectors": it runs prompts whose next tokens are known from the original model, and reports
// for each step what was wanted, what came, and how far the log-probabilities are apart.
//
// The file is text, one record a line; # begins a comment line:
//
//	case ID CTX STEPS PROMPTFILE
//	step INDEX SELECTED_HEX NTOP
//	top TOKEN_HEX LOGPROB           NTOP times
//	end
//
// Hex is a token's bytes. At most 16 steps, 32 tops, 128 bytes a token.
package vectorscmd
