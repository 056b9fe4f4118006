// Package backendtest is the conformance suite of backends: every operation of the seam, on every layer kind, for one, few
// and many rows of several sequences, against the plain loops of package cpu.
//
//	func TestConformance(t *testing.T) {
//		backendtest.Run(t, backendtest.Config{New: func(sh backend.Shape, lim backend.Limits) (backend.Backend, error) {
//			return cuda.New(sh, lim, cuda.Options{})
//		}})
//	}
//
// Inputs are injected, so an operation answers for its own error alone. Four things are checked of each: its outputs
// within a stated bound of the oracle's (NaN and Inf fail always); every row bit for bit as it is alone in a step, which
// is the row law; persistent state, which must be written where the layout says and nowhere else; and that nothing is
// written past the step's rows.
package backendtest
