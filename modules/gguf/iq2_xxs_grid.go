package gguf

import (
	"math/bits"
	"sync"
)

// iq2xxsCodes is the codebook of IQ2_XXS: 256 of the 6561 rows of eight
// levels. Two bits per element, element 0 lowest; levels 0, 1, 2 stand for the
// magnitudes 8, 25, 43. The codes ascend. The table is part of the format
// (ggml, MIT licence, see NOTICE).
var iq2xxsCodes = [256]uint16{
	0x0000, 0x0002, 0x0005, 0x0008, 0x000a, 0x0011, 0x0014, 0x0020, 0x0022, 0x0028, 0x002a, 0x0041,
	0x0044, 0x0050, 0x0058, 0x0061, 0x0064, 0x0080, 0x0082, 0x008a, 0x00a2, 0x0101, 0x0104, 0x0110,
	0x0115, 0x0140, 0x0184, 0x0198, 0x0200, 0x0202, 0x0222, 0x0282, 0x0401, 0x0404, 0x0410, 0x0421,
	0x0424, 0x0440, 0x0442, 0x0448, 0x0460, 0x0481, 0x0484, 0x0490, 0x04a4, 0x0500, 0x0502, 0x0508,
	0x0520, 0x0546, 0x0569, 0x0580, 0x0591, 0x0609, 0x0610, 0x0640, 0x0684, 0x06a4, 0x0800, 0x0805,
	0x0808, 0x0814, 0x0828, 0x0841, 0x0844, 0x0850, 0x0852, 0x0888, 0x0904, 0x0940, 0x0a02, 0x0a14,
	0x1001, 0x1004, 0x1010, 0x1021, 0x1040, 0x1060, 0x1084, 0x1090, 0x1095, 0x1100, 0x1108, 0x1120,
	0x1150, 0x115a, 0x1180, 0x1224, 0x1245, 0x1400, 0x1408, 0x1420, 0x1425, 0x1449, 0x1480, 0x1518,
	0x1562, 0x1600, 0x1616, 0x1801, 0x1804, 0x1810, 0x1840, 0x1881, 0x1900, 0x1905, 0x19a0, 0x1a51,
	0x2000, 0x2002, 0x200a, 0x2044, 0x2061, 0x2080, 0x2082, 0x2129, 0x2148, 0x2200, 0x2202, 0x2401,
	0x2404, 0x2410, 0x2440, 0x2456, 0x2500, 0x2541, 0x2564, 0x2690, 0x2808, 0x2820, 0x2894, 0x2a44,
	0x4001, 0x4004, 0x4010, 0x4018, 0x4021, 0x4024, 0x4040, 0x4048, 0x4056, 0x4060, 0x4081, 0x4084,
	0x4090, 0x4100, 0x4120, 0x4161, 0x4180, 0x4185, 0x4201, 0x4210, 0x4248, 0x4256, 0x4268, 0x4400,
	0x4408, 0x4420, 0x4480, 0x4499, 0x4512, 0x4524, 0x4600, 0x4801, 0x4804, 0x4810, 0x4840, 0x4845,
	0x4900, 0x4958, 0x4961, 0x4982, 0x4a45, 0x4a90, 0x5000, 0x5008, 0x5011, 0x5019, 0x5020, 0x5080,
	0x5088, 0x5104, 0x5142, 0x51a4, 0x5291, 0x5490, 0x5492, 0x550a, 0x5601, 0x5654, 0x5800, 0x5811,
	0x5819, 0x5864, 0x5940, 0x5a08, 0x6004, 0x6010, 0x6040, 0x6068, 0x6100, 0x6155, 0x6218, 0x6260,
	0x6400, 0x6405, 0x6510, 0x6512, 0x6584, 0x6842, 0x8000, 0x8002, 0x800a, 0x8041, 0x8082, 0x8104,
	0x8118, 0x8140, 0x8211, 0x8401, 0x8404, 0x8410, 0x8415, 0x8440, 0x8460, 0x8500, 0x8546, 0x8594,
	0x8609, 0x8640, 0x8660, 0x8802, 0x8904, 0x8a11, 0x9004, 0x9010, 0x9024, 0x9040, 0x90a1, 0x9116,
	0x9180, 0x9245, 0x9400, 0x9422, 0x9444, 0x9551, 0x9881, 0x9920, 0xa002, 0xa050, 0xa085, 0xa109,
	0xa200, 0xa418, 0xa850, 0xa904,
}

// iq2xxsMagnitude holds the magnitude of each level, about 8.5 * {1, 3, 5}.
var iq2xxsMagnitude = [3]uint8{8, 25, 43}

var (
	iq2xxsGrid  = makeIQ2XXSGrid()
	iq2xxsSigns = makeIQ2XXSSigns()
)

// IQ2XXSGrid returns the codebook of IQ2_XXS: eight magnitudes per entry, one
// a byte, element 0 in the lowest. The table is shared: do not write to it.
func IQ2XXSGrid() *[256]uint64 { return &iq2xxsGrid }

// IQ2XXSSigns returns the eight signs that a 7-bit sign index stands for: bit
// k set means element k is negative. Bit 7 makes the number of ones even. The
// table is shared: do not write to it.
func IQ2XXSSigns() *[128]uint8 { return &iq2xxsSigns }

func makeIQ2XXSGrid() (grid [256]uint64) {
	for g, code := range iq2xxsCodes {
		for k := range 8 {
			grid[g] |= uint64(iq2xxsMagnitude[code>>(2*k)&3]) << (8 * k)
		}
	}
	return grid
}

func makeIQ2XXSSigns() (signs [128]uint8) {
	for i := range signs {
		signs[i] = uint8(i) | uint8(bits.OnesCount(uint(i))&1)<<7
	}
	return signs
}

// iq2xxsSearch finds grid entries for rows of levels. A row is addressed by
// its levels as a number of base 3, element 0 lowest.
type iq2xxsSearch struct {
	entry  [6561]int16     // grid index of an allowed row, -1 for the others
	near   [6561][]uint8   // for the others: the closest entries, best first
	levels [256][8]uint8   // of each grid entry
	odd    [256][8]float32 // 2*level+1 of each grid entry
}

// iq2xxsLookup is needed for quantising only, so it is made on demand (about
// 20 ms, 1 MiB).
var iq2xxsLookup = sync.OnceValue(func() *iq2xxsSearch {
	s := new(iq2xxsSearch)
	for g, code := range iq2xxsCodes {
		for k := range 8 {
			s.levels[g][k] = uint8(code >> (2 * k) & 3)
			s.odd[g][k] = float32(2*s.levels[g][k] + 1)
		}
	}
	for i := range s.entry {
		s.entry[i] = -1
	}
	for g := range s.levels {
		s.entry[base3(&s.levels[g])] = int16(g)
	}
	for i := range s.near {
		if s.entry[i] < 0 {
			s.near[i] = s.closest(i)
		}
	}
	return s
})

// base3 packs a row of levels.
func base3(levels *[8]uint8) int {
	n := 0
	for k := 7; k >= 0; k-- {
		n = 3*n + int(levels[k])
	}
	return n
}

// closest lists the entries at the smallest and at the second smallest
// distance from row i, by distance, then by index.
func (s *iq2xxsSearch) closest(i int) []uint8 {
	var row [8]int
	for k := range row {
		row[k], i = i%3, i/3
	}
	const far = 1 << 10
	first, second := far, far
	var dist [256]int
	for g := range s.levels {
		d := 0
		for k, level := range s.levels[g] {
			diff := row[k] - int(level)
			d += diff * diff
		}
		dist[g] = d
		if d < first {
			first, second = d, first
		} else if d > first && d < second {
			second = d
		}
	}
	var list []uint8
	for _, want := range []int{first, second} {
		for g, d := range dist {
			if d == want {
				list = append(list, uint8(g))
			}
		}
	}
	return list
}
