package kvstore

import (
	"slices"
	"testing"
)

func TestPolicy(t *testing.T) {
	p := DefaultPolicy()
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		prompt, anchor int
		want           []int
	}{
		{511, 0, nil}, {30001, 0, nil}, {512, 0, []int{512}}, {2079, 0, []int{2079}}, {2080, 0, []int{2048}}, {9000, 0, []int{8192}},
		{9000, 511, []int{8192}}, {9000, 600, []int{600, 8192}}, {2600, 600, []int{600}}, {3000, 2900, []int{2900}}, {600, 600, []int{600}},
	} {
		if got := p.Cold(c.prompt, c.anchor); !slices.Equal(got, c.want) {
			t.Errorf("cold, prompt %d, anchor %d: want %v, got %v", c.prompt, c.anchor, c.want, got)
		}
	}
	if got := p.Step(); got != 10240 {
		t.Errorf("step: want 10240, got %d", got)
	}
	for _, c := range []struct {
		n, last int
		want    bool
	}{{10240, 0, true}, {10240, 10240, false}, {10241, 0, false}, {20480, 10240, true}, {0, 0, false}} {
		if got := p.Due(c.n, c.last); got != c.want {
			t.Errorf("due at %d after %d: want %v, got %v", c.n, c.last, c.want, got)
		}
	}
	if got := p.Next(10240); got != 20480 {
		t.Errorf("next: want 20480, got %d", got)
	}
	if p.ColdMax = 100; p.Check() == nil {
		t.Error("cold max below min: want an error")
	}
	p = Policy{}
	if p.Cold(9000, 600) != nil || p.Due(10240, 0) || p.Next(5) != 0 || !p.Worth(1) || p.Worth(0) {
		t.Error("a policy of zeros stores only what is dropped")
	}
}
