package serve

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
	"github.com/ds4-go/ds4/modules/serve/sched"
	"github.com/ds4-go/ds4/modules/serve/servetest"
)

// soakFor is how long TestSoak runs; the promise is about a minute.
const soakFor = "DS4_SOAK"

// soakWord is word i of what a client is told. Every one differs, so that one that is lost, doubled or out of order shows.
func soakWord(client string, i int) string { return fmt.Sprintf("%s-%d ", client, i) }

const soakWords = 100

// soakLen is how many words a client is told. They differ, or all would begin their next answer in one step.
func soakLen(client string) int {
	n := 0
	for _, b := range []byte(client) {
		n = 31*n + int(b)
	}
	return soakWords + n%soakWords
}

// TestSoak: many clients stream at once, some of them slow, some leaving half way. No byte is lost, doubled or out of
// order, and nothing is left behind. How long tokens take from the engine's step to the client's hand is reported: both
// share the machine.
func TestSoak(t *testing.T) {
	const clients, perSecond = 64, 20000
	d, err := time.ParseDuration(os.Getenv(soakFor))
	if err != nil {
		d = 3 * time.Second
	}
	tok := servetest.Tokenizer()
	e := servetest.NewEngine(tok, model.Limits{CtxTokens: 8192, Seqs: clients, Slots: clients + 4, Rows: 1024, Outs: clients, Tops: clients})
	e.Pace = time.Second * clients / perSecond
	e.Script = func(prompt string) []string {
		name := soakName(prompt)
		out := make([]string, soakLen(name))
		for i := range out {
			out[i] = soakWord(name, i)
		}
		return out
	}
	k := soak{t: t, tok: tok}
	e.Wrote = k.wrote
	m := NewMetrics()
	sc := sched.New(sched.Config{Engine: e, Queue: 2 * clients, Metrics: m, Log: zerolog.Nop()})
	s, err := New(Config{Scheduler: sc, Tokenizer: tok, Ctx: 8192, Metrics: m, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s)
	k.url, k.until = web.URL, time.Now().Add(d)
	before, began, decoded := heap(), time.Now(), e.Decoded.Load()
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() { k.client(i) })
	}
	time.Sleep(time.Until(k.until)) // all clients are at it; then each reads its answer to the end
	decoded = e.Decoded.Load() - decoded
	took := time.Since(began)
	wg.Wait()
	web.Close()
	if err := sc.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if e.Seqs.Load() != 0 || e.PagesUsed.Load() != 0 {
		t.Errorf("want no sequences and pages left, got %d and %d", e.Seqs.Load(), e.PagesUsed.Load())
	}
	if after := heap(); after > before+64<<20 {
		t.Errorf("heap: want it about what it was, %d MB, got %d MB", before>>20, after>>20)
	}
	slices.Sort(k.late)
	if n := len(k.late); n > 0 {
		t.Logf("%d answers, %d left early, %.0f tokens/s; from the engine to the client a token takes: median %v, 99%% %v, longest %v",
			k.whole.Load(), k.left.Load(), float64(decoded)/took.Seconds(), k.late[n/2], k.late[n*99/100], k.late[n-1])
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

type soak struct {
	t           *testing.T
	url         string
	until       time.Time
	whole, left atomic.Int64

	tok  *tokenizer.Tokenizer
	made sync.Map // by name: the times of an answer

	mu   sync.Mutex
	late []time.Duration // how long tokens took from the engine to their reader, the slow ones left out
}

// soakTimes says of the tokens of an answer when they were made, and where they end, in bytes.
type soakTimes struct {
	mu   sync.Mutex
	at   []time.Time
	ends []int
}

func soakName(prompt string) string {
	_, name, _ := strings.Cut(prompt, "I am ")
	name, _, _ = strings.Cut(name, ".")
	return name
}

// wrote is told of each token on the engine's goroutine.
func (k *soak) wrote(prompt string, at int, id int32) {
	v, ok := k.made.Load(soakName(prompt))
	if !ok {
		return
	}
	times := v.(*soakTimes)
	times.mu.Lock()
	defer times.mu.Unlock()
	if at == len(times.at) {
		end := len(k.tok.Text(id))
		if at > 0 {
			end += times.ends[at-1]
		}
		times.at, times.ends = append(times.at, time.Now()), append(times.ends, end)
	}
}

// arrived is how long the last token of the first n bytes took.
func (t *soakTimes) arrived(n int) (time.Duration, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i, ok := slices.BinarySearch(t.ends, n); ok {
		return time.Since(t.at[i]), true
	}
	return 0, false
}

// client asks again and again. Every eighth reads slowly, every ninth leaves in the middle of some answers.
func (k *soak) client(i int) {
	for n := 0; time.Now().Before(k.until); n++ {
		leave := -1
		if i%9 == 8 && n%2 == 1 {
			leave = 40 + i
		}
		if err := k.ask(fmt.Sprintf("c%d_%d", i, n), i%8 == 7, leave); err != nil {
			k.t.Error(err)
			return
		}
	}
}

func (k *soak) ask(name string, slow bool, leave int) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	times := &soakTimes{}
	k.made.Store(name, times)
	defer k.made.Delete(name)
	body := fmt.Sprintf(`{"messages":[{"role":"user","content":"I am %s."}],"thinking":false,"stream":true}`, name)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, k.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	var text strings.Builder
	late := make([]time.Duration, 0, 16*soakWords)
	sc := bufio.NewScanner(resp.Body)
	for words := 0; sc.Scan(); {
		data, ok := bytes.CutPrefix(sc.Bytes(), []byte("data: "))
		if !ok || string(data) == "[DONE]" {
			continue
		}
		var chunk struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if err := json.Unmarshal(data, &chunk); err != nil {
			return fmt.Errorf("%s: %q: %w", name, data, err)
		}
		if len(chunk.Choices) == 0 || chunk.Choices[0].Delta.Content == "" {
			continue
		}
		text.WriteString(chunk.Choices[0].Delta.Content)
		if took, ok := times.arrived(text.Len()); ok && !slow {
			late = append(late, took)
		}
		if words++; words == leave {
			k.left.Add(1)
			return nil
		}
		if slow && words%50 == 0 {
			time.Sleep(20 * time.Millisecond)
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	var want strings.Builder
	for i := range soakLen(name) {
		want.WriteString(soakWord(name, i))
	}
	if text.String() != want.String() {
		return fmt.Errorf("%s: want %d bytes as they were written, got %d others: …%.80s", name, want.Len(), text.Len(), text.String())
	}
	k.whole.Add(1)
	k.mu.Lock()
	k.late = append(k.late, late...)
	k.mu.Unlock()
	return nil
}
