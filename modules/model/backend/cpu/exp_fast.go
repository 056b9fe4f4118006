package cpu

// gated writes swiglu(gate, up)·weight. What the kernel leaves for being too close to call goes to the plain function, as do the
// last values that fill no vector.
func (b *Backend) gated(m *worker, out, gate, up []float32, weight float32) {
	l := b.variant.lanes
	plain := func(lo, hi int) {
		for i := lo; i < hi; i++ {
			out[i] = swiglu(gate[i], up[i], b.sh.Clamp) * weight
		}
	}
	n := 0
	if l > 0 {
		n = len(out) - len(out)%l
	}
	if n > 0 {
		m.with = [2]float32{b.sh.Clamp, weight}
		m.exp = expArgs{x: &gate[0], u: &up[0], out: &out[0], with: &m.with[0], n: n}
		for b.variant.expGated(&m.exp); m.exp.done < m.exp.n; b.variant.expGated(&m.exp) {
			at := m.exp.done
			plain(at, at+l)
			m.exp.done += l
		}
	}
	plain(n, len(out))
}

// softmax turns scores (n, lanes) into weights, and returns the reciprocals of their sums; the sink takes part in both.
func (b *Backend) softmax(m *worker, s, sinks []float32) []float32 {
	l := len(sinks)
	top, inv := m.top[:l], m.inv[:l]
	copy(top, sinks)
	for j := 0; j < len(s); j += l {
		for h, v := range s[j : j+l] {
			if v > top[h] {
				top[h] = v
			}
		}
	}
	for h, v := range sinks {
		inv[h] = exp(v - top[h])
	}
	m.exp = expArgs{x: &s[0], out: &inv[0], with: &top[0], n: len(s) / l}
	for b.variant.expSoftmax(&m.exp); m.exp.done < m.exp.n; b.variant.expSoftmax(&m.exp) {
		at := m.exp.done * l
		for h, v := range s[at : at+l] {
			w := exp(v - top[h])
			s[at+h] = w
			inv[h] += w
		}
		m.exp.done++
	}
	for h, z := range inv {
		inv[h] = 1 / z
	}
	return inv
}
