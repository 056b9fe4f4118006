package model

import (
	"encoding/binary"
	"math"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// Candidates views one Top record: the best tokens of an output row, descending, ties to the lower id, with the sums
// that log-probabilities and samplers need. It is valid until the next Run.
type Candidates []byte

// Len is the number of candidates, at most backend.TopCount.
func (c Candidates) Len() int { return int(binary.LittleEndian.Uint32(c[backend.TopLen:])) }

// ID is the i-th best token.
func (c Candidates) ID(i int) int32 { return int32(binary.LittleEndian.Uint32(c[backend.TopIDs+8*i:])) }

// Logit is its logit after biases.
func (c Candidates) Logit(i int) float32 { return c.f32(backend.TopIDs + 8*i + 4) }

// LogSumRaw is log Σ exp over the raw logits: a raw logit less this is a log-probability.
func (c Candidates) LogSumRaw() float64 { return c.f64(backend.TopLogSumRaw) }

// SumAdj is Σ exp((l−MaxAdj)·InvTemp) over all adjusted logits.
func (c Candidates) SumAdj() float64 { return c.f64(backend.TopSumAdj) }

// MaxRaw and MaxAdj are the greatest logits, before and after masks and biases.
func (c Candidates) MaxRaw() float32 { return c.f32(backend.TopMaxRaw) }

// MaxAdj is described with MaxRaw.
func (c Candidates) MaxAdj() float32 { return c.f32(backend.TopMaxAdj) }

func (c Candidates) f32(at int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(c[at:]))
}

func (c Candidates) f64(at int) float64 {
	return math.Float64frombits(binary.LittleEndian.Uint64(c[at:]))
}
