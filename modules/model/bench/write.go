package bench

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// columns of the CSV: the first six are those of the C engine's benchmark, under its names and in its format.
var columns = []string{
	"ctx_tokens", "prefill_tokens", "prefill_tps", "gen_tokens", "gen_tps", "kvcache_bytes",
	"batch", "ms_per_token", "bytes_per_token", "bytes_per_s", "ceiling_bytes_per_s", "ceiling_share",
}

// CSVHeader is the first line of the CSV, without an end.
func CSVHeader() string { return strings.Join(columns, ",") }

// CSV is the row's line, without an end.
func (r Row) CSV() string {
	return fmt.Sprintf("%d,%d,%.2f,%d,%.2f,%d,%d,%.3f,%.0f,%.0f,%.0f,%.4f",
		r.Context, r.PrefillTokens, r.PrefillTPS, r.GenTokens, r.GenTPS, r.CacheBytes,
		r.Batch, r.TokenMS, r.TokenBytes, r.ReadPerSec, r.CeilingRead, r.Share)
}

// WriteCSV writes a header and the rows.
func WriteCSV(w io.Writer, rows []Row) error {
	b := bufio.NewWriter(w)
	_, _ = fmt.Fprintln(b, CSVHeader()) // Flush tells
	for _, r := range rows {
		_, _ = fmt.Fprintln(b, r.CSV())
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}
