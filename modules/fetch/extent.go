package fetch

import (
	"cmp"
	"slices"
)

// An extent is the half-open range of bytes [off, end) of a file.
type extent struct{ off, end int64 }

func (x extent) len() int64 { return x.end - x.off }

// merge sorts extents, drops the empty ones and joins those that touch.
func merge(xs []extent) []extent {
	xs = slices.DeleteFunc(slices.Clone(xs), func(x extent) bool { return x.end <= x.off })
	slices.SortFunc(xs, func(a, b extent) int { return cmp.Compare(a.off, b.off) })
	out := xs[:0]
	for _, x := range xs {
		if n := len(out); n > 0 && x.off <= out[n-1].end {
			out[n-1].end = max(out[n-1].end, x.end)
			continue
		}
		out = append(out, x)
	}
	return out
}

// clip cuts merged extents to the first size bytes.
func clip(xs []extent, size int64) []extent {
	var out []extent
	for _, x := range xs {
		if x.end = min(x.end, size); x.off < x.end {
			out = append(out, x)
		}
	}
	return out
}

// gaps returns what merged extents leave out of the first size bytes.
func gaps(xs []extent, size int64) []extent {
	var out []extent
	at := int64(0)
	for _, x := range xs {
		if x.off > at {
			out = append(out, extent{at, x.off})
		}
		at = x.end
	}
	if at < size {
		out = append(out, extent{at, size})
	}
	return out
}

// total is the number of bytes in merged extents.
func total(xs []extent) int64 {
	n := int64(0)
	for _, x := range xs {
		n += x.len()
	}
	return n
}
