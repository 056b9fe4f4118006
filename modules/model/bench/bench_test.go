package bench

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend/cpu"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// tiny is an engine on the smallest model, and its bytes.
func tiny(t *testing.T, ctx, seqs int) (*model.Engine, *Traffic) {
	t.Helper()
	f, err := synth.T0().File()
	if err != nil {
		t.Fatal(err)
	}
	s, err := model.ReadShape(f)
	if err != nil {
		t.Fatal(err)
	}
	lim := model.Limits{CtxTokens: ctx, Seqs: seqs, Slots: seqs + model.SpareSlots, Rows: 32, Outs: seqs, Tops: seqs}
	b, err := cpu.New(s, lim, cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	w, err := model.Load(f, s, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	e, err := model.New(b, w, s, lim, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return e, NewTraffic(f, s, false)
}

func TestRun(t *testing.T) {
	for _, batch := range []int{1, 3} {
		e, traffic := tiny(t, 128, batch)
		pages := e.FreePages()
		speeds := []float64{1e9, 4e9}
		told := 0
		o := Options{Start: 16, Max: 100, StepMul: 2, Gen: 5, Batch: batch, Prompt: synth.Prompt(e.Shape().Vocab, 100), Traffic: traffic,
			Ceiling: func(context.Context) (float64, error) { v := speeds[0]; speeds = speeds[1:]; return v, nil },
			Row:     func(Row) { told++ },
		}
		report, err := Run(context.Background(), e, o)
		if err != nil {
			t.Fatal(err)
		}
		if len(report.Rows) != 4 || told != 4 || report.Ceiling != 4e9 {
			t.Fatalf("want 4 rows under a ceiling of 4e9, got %d (told %d) under %g", len(report.Rows), told, report.Ceiling)
		}
		last := 0
		for i, r := range report.Rows {
			if want := []int{16, 32, 64, 100}[i]; r.Context != want || r.PrefillTokens != want-last {
				t.Errorf("row %d: want %d tokens, %d of them new, got %d and %d", i, want, want-last, r.Context, r.PrefillTokens)
			}
			last = r.Context
			sum := 0.0
			for k := range o.Gen {
				n := r.Context + 1 + k
				if batch > 1 {
					n++
				}
				sum += traffic.Step(n, batch)
			}
			near := func(a, b float64) bool { return a > 0 && a/b > 0.999 && a/b < 1.001 }
			switch {
			case !near(r.TokenBytes, sum/float64(o.Gen*batch)):
				t.Errorf("row %d: want %g bytes per token, got %g", i, sum/float64(o.Gen*batch), r.TokenBytes)
			case !near(r.GenTPS*r.TokenMS, 1e3*float64(batch)), !near(r.Share, r.TokenBytes*r.GenTPS/4e9), !near(r.Share, r.GenTPS/r.CeilingTPS):
				t.Errorf("row %d does not add up: %+v", i, r)
			case r.CacheBytes <= 0 || r.PrefillTPS <= 0 || r.Batch != batch || r.GenTokens != o.Gen:
				t.Errorf("row %d: want every field, got %+v", i, r)
			}
		}
		if got := e.FreePages(); got != pages {
			t.Errorf("pages: want all %d free after a run, got %d", pages, got)
		}
	}
}

// TestRunGoesBack: what a run decodes at one frontier leaves no trace at the next.
func TestRunGoesBack(t *testing.T) {
	e, _ := tiny(t, 128, 1)
	prompt := synth.Prompt(e.Shape().Vocab, 96)
	r := &run{e: e, o: Options{Max: 96, Gen: 20, Prompt: prompt}, report: &Report{}}
	for _, n := range []int{40, 96} {
		if err := r.frontier(context.Background(), n); err != nil {
			t.Fatal(err)
		}
		if got := r.seqs[0].Tokens(); !slices.Equal(got, prompt[:n]) {
			t.Errorf("after frontier %d: want the prompt's tokens, got %d tokens %v", n, len(got), got)
		}
	}
	r.free()
}

func TestOptions(t *testing.T) {
	e, _ := tiny(t, 64, 1)
	prompt := make([]int32, 64)
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Start: 0, Max: 8, StepIncr: 8, Gen: 1, Prompt: prompt}, "first one above 0"},
		{Options{Start: 9, Max: 8, StepIncr: 8, Gen: 1, Prompt: prompt}, "not before it"},
		{Options{Start: 8, Max: 16, Gen: 1, Prompt: prompt}, "step: want 1"},
		{Options{Start: 8, Max: 16, StepMul: 0.5, Gen: 1, Prompt: prompt}, "factor"},
		{Options{Start: 8, Max: 16, StepIncr: 8, Prompt: prompt}, "to decode"},
		{Options{Start: 8, Max: 16, StepIncr: 8, Gen: 4, Prompt: prompt[:15]}, "prompt: want 16 tokens or more, as the last frontier has, got 15"},
		{Options{Start: 8, Max: 60, StepIncr: 8, Gen: 4, Prompt: prompt}, "context: want 65"},
		{Options{Start: 8, Max: 16, StepIncr: 8, Gen: 4, Batch: 2, Prompt: prompt}, "batch"},
	} {
		if _, err := Run(context.Background(), e, c.o); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: want %q, got %v", c.o, c.want, err)
		}
	}
}

func TestFrontiers(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want []int
	}{
		{Options{Start: 8, Max: 8, StepIncr: 1}, []int{8}},
		{Options{Start: 8, Max: 25, StepIncr: 8}, []int{8, 16, 24, 25}},
		{Options{Start: 10, Max: 40, StepMul: 1.5, StepIncr: 7}, []int{10, 15, 23, 35, 40}},
		{Options{Start: 1, Max: 4, StepMul: 1.0001}, []int{1, 2, 3, 4}},
	} {
		if got, err := c.o.Frontiers(); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%+v: want %v, got %v, %v", c.o, c.want, got, err)
		}
	}
}

func TestWrite(t *testing.T) {
	rows := []Row{{Context: 2048, PrefillTokens: 2048, PrefillTPS: 512.341, GenTokens: 128, GenTPS: 41.018, CacheBytes: 52184460, CeilingTPS: 50}}
	var b bytes.Buffer
	if err := WriteCSV(&b, rows); err != nil {
		t.Fatal(err)
	}
	want := "ctx_tokens,prefill_tokens,prefill_tps,gen_tokens,gen_tps,kvcache_bytes,"
	lines := strings.Split(b.String(), "\n")
	if !strings.HasPrefix(lines[0], want) || !strings.HasPrefix(lines[1], "2048,2048,512.34,128,41.02,52184460,") {
		t.Errorf("first columns differ from the format: %q", lines)
	}
	if a, b := strings.Count(lines[0], ","), strings.Count(lines[1], ","); a != b {
		t.Errorf("want as many values as columns, got %d and %d", b+1, a+1)
	}
	for n := range 4 {
		b.Reset()
		if err := WritePlot(&b, `a<b & "c"`, slices.Repeat(rows, n)); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
			t.Errorf("%d rows: a coordinate is no number", n)
		}
		for d := xml.NewDecoder(&b); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%d rows: %v", n, err)
			}
		}
	}
}
