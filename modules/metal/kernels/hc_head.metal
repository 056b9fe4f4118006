// HCHead is hc_mix and hc_pre (hc_pre.metal) over the wanted rows, with four control values and no combination matrix: which is
// count_outs, values is 4, head is 1. It is kept in those kernels so that both norms and folds are told once.
