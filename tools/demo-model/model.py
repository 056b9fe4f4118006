"""The DeepSeek V4 graph at the demo model's size, as the Go engine runs it (modules/model/forward.go), in PyTorch.

Weights live in one dict under their GGUF names, row-major: a ggml tensor of dims [in, out] is (out, in) here. Shapes in
comments: B rows, T tokens, N = B*T, S streams, D embedding width, H heads, d head width, C compressed rows.
"""
import math

import torch
import torch.nn.functional as F

CONFIG = dict(
    layers=6, ratio=[0, 0, 4, 128, 4, 4], hash=3, embd=256, vocab=0, heads=8, head_dim=192, rope_dim=64, q_rank=96,
    out_rank=64, groups=2, window=128, index_heads=4, top_k=128, experts=6, active=2, expert_dim=256,
    rounds=20, eps=1e-6, expert_scale=1.5, clamp=10.0)
STREAMS, MIX, INDEX_DIM = 4, 24, 128


# Parameters.

def shapes(c):
    """Every tensor of the base file and of the MTP block, name to (shape, kind); kind says how it starts and how it learns."""
    out = {"token_embd.weight": ((c["vocab"], c["embd"]), "embed"), "output.weight": ((c["vocab"], c["embd"]), "head"),
           "output_norm.weight": ((c["embd"],), "one")}
    D, d, S = c["embd"], c["head_dim"], STREAMS

    def head(p):
        out[p + "fn.weight"], out[p + "scale.weight"], out[p + "base.weight"] = ((S, S * D), "mix"), ((1,), "one"), ((S,), "zero")

    def block(p, ratio, hashed):
        for half in "attn", "ffn":
            out[p + f"hc_{half}_fn.weight"] = ((MIX, S * D), "mix")
            out[p + f"hc_{half}_scale.weight"] = ((3,), "one")
            out[p + f"hc_{half}_base.weight"] = ((MIX,), "mixbase")
        one, mat = "one", "matrix"
        out[p + "attn_norm.weight"] = ((D,), one)
        out[p + "attn_q_a.weight"] = ((c["q_rank"], D), mat)
        out[p + "attn_q_a_norm.weight"] = ((c["q_rank"],), one)
        out[p + "attn_q_b.weight"] = ((c["heads"] * d, c["q_rank"]), mat)
        out[p + "attn_kv.weight"] = ((d, D), mat)
        out[p + "attn_kv_a_norm.weight"] = ((d,), one)
        out[p + "attn_sinks.weight"] = ((c["heads"],), "zero")
        out[p + "attn_output_a.weight"] = ((c["groups"] * c["out_rank"], c["heads"] // c["groups"] * d), mat)
        out[p + "attn_output_b.weight"] = ((D, c["groups"] * c["out_rank"]), "last")
        if ratio:
            w = d * (2 if ratio == 4 else 1)
            out[p + "attn_compressor_kv.weight"] = ((w, D), mat)
            out[p + "attn_compressor_gate.weight"] = ((w, D), "last")
            out[p + "attn_compressor_ape.weight"] = ((ratio, w), "ape")
            out[p + "attn_compressor_norm.weight"] = ((d,), one)
        if ratio == 4:
            out[p + "indexer.attn_q_b.weight"] = ((c["index_heads"] * INDEX_DIM, c["q_rank"]), mat)
            out[p + "indexer.proj.weight"] = ((c["index_heads"], D), mat)
            out[p + "indexer_compressor_kv.weight"] = ((2 * INDEX_DIM, D), mat)
            out[p + "indexer_compressor_gate.weight"] = ((2 * INDEX_DIM, D), "last")
            out[p + "indexer_compressor_ape.weight"] = ((4, 2 * INDEX_DIM), "ape")
            out[p + "indexer_compressor_norm.weight"] = ((INDEX_DIM,), one)
        out[p + "ffn_norm.weight"] = ((D,), one)
        E, W = c["experts"], c["expert_dim"]
        out[p + "ffn_gate_inp.weight"] = ((E, D), "router")
        if not hashed:
            out[p + "exp_probs_b.bias"] = ((E,), "bias")
        out[p + "ffn_gate_exps.weight"], out[p + "ffn_up_exps.weight"] = ((E, W, D), mat), ((E, W, D), mat)
        out[p + "ffn_down_exps.weight"] = ((E, D, W), "last")
        out[p + "ffn_gate_shexp.weight"], out[p + "ffn_up_shexp.weight"] = ((W, D), mat), ((W, D), mat)
        out[p + "ffn_down_shexp.weight"] = ((D, W), "last")

    head("output_hc_")
    for il, r in enumerate(c["ratio"]):
        block(f"blk.{il}.", r, il < c["hash"])
    m = "mtp.0."
    out[m + "e_proj.weight"], out[m + "h_proj.weight"] = ((D, D), "matrix"), ((D, D), "matrix")
    for n in "enorm", "hnorm", "norm":
        out[m + n + ".weight"] = ((D,), "one")
    head(m + "hc_head_")
    block(m, 0, False)
    return out


def init(c, seed, device):
    """Random weights. The compressors begin with each channel leaning to one position of its window: copying needs it."""
    g = torch.Generator().manual_seed(seed)
    w = {}
    for name, (shape, kind) in shapes(c).items():
        t = torch.zeros(shape)
        if kind in ("embed", "mix", "matrix", "router", "head", "last"):
            std = {"embed": 0.5, "mix": 0.003, "head": 0.02, "last": 0.2 / math.sqrt(shape[-1])}.get(kind, 1 / math.sqrt(shape[-1]))
            t = torch.randn(shape, generator=g) * std
        elif kind == "one":
            t += 1
        elif kind == "mixbase":
            t[:4] = torch.randn(4, generator=g) * 0.5
            t[4:8] = torch.randn(4, generator=g) * 0.5
            t[8:] = (3 * torch.eye(4)).flatten()
        elif kind == "ape" and shape[0] == 4:
            half = shape[1] // 2
            c2 = torch.arange(half) // 2 % 4
            t[:, :half] = -1
            for p in range(4):
                t[p, half:] = 2.0 * (c2 == p)
        w[name] = torch.nn.Parameter(t.to(device), requires_grad=kind != "bias")
    return w


def hash_tables(c):
    """Expert ids of every token for the hash layers, (V, K) each: a fixed pseudo-random pair of two different experts."""
    out = []
    for il in range(c["hash"]):
        ids = []
        for t in range(c["vocab"]):
            h = (t * 2654435761 + il * 40503 + 12345) % 2**32
            h = (h ^ h >> 15) * 2246822519 % 2**32
            a = (h >> 8) % c["experts"]
            ids.append([a, (a + 1 + (h >> 20) % (c["experts"] - 1)) % c["experts"]])
        out.append(ids)
    return out


# Primitives (model.md 3.1).

def rms(x, w=None, eps=1e-6):
    x = x.float()
    x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    return x if w is None else x * w


def ceil_exp2(a):
    """2^ceil(log2 a)."""
    return torch.exp2(torch.ceil(torch.log2(a)))


def fp8(x, n):
    """E4M3 round trip of the first n components in blocks of 64; the gradient passes straight through."""
    head = x[..., :n]
    v = head.detach().reshape(*head.shape[:-1], n // 64, 64)
    s = ceil_exp2(v.abs().amax(-1, keepdim=True).clamp(min=1e-4) / 448)
    v = (v / s).clamp(-448, 448)
    step = torch.exp2(torch.floor(torch.log2(v.abs().clamp(min=2.0**-6))) - 3)
    q = (torch.round(v / step) * step * s).reshape(head.shape)
    return torch.cat([head + (q - head).detach(), x[..., n:]], -1)


def hadamard_matrix(device):
    h = torch.ones(1, 1)
    while h.shape[0] < INDEX_DIM:
        h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)], 0)
    return (h / math.sqrt(INDEX_DIM)).to(device)


def fp4(x, had):
    """Hadamard, then the E2M1 round trip in blocks of 32; the gradient passes straight through the rounding."""
    x = x @ had
    v = x.detach().reshape(*x.shape[:-1], 4, 32)
    s = ceil_exp2(v.abs().amax(-1, keepdim=True).clamp(min=1e-30) / 6)
    v = (v / s).clamp(-6, 6)
    step = torch.exp2(torch.floor(torch.log2(v.abs().clamp(min=1.0))) - 1)
    q = (torch.round(v / step) * step * s).reshape(x.shape)
    return x + (q - x).detach()


def rope_table(c, T, ratio, device):
    """cos and sin, (T, r/2): model.md 3.1.7."""
    r = c["rope_dim"]
    k = torch.arange(r // 2, dtype=torch.float64)
    f = (160000.0 if ratio else 10000.0) ** (-2 * k / r)
    if ratio:
        dim = lambda beta: r * math.log(65536 / (2 * math.pi * beta)) / (2 * math.log(160000.0))
        lo, hi = max(math.floor(dim(32)), 0), min(math.ceil(dim(1)), r - 1)
        ramp = 1 - ((k - lo) / max(hi - lo, 0.001)).clamp(0, 1)
        f = f / 16 * (1 - ramp) + f * ramp
    a = torch.arange(T, dtype=torch.float64)[:, None] * f
    return a.cos().float().to(device), a.sin().float().to(device)


def rope(x, cos, sin):
    """Rotates adjacent pairs of the last r components; cos and sin broadcast over the rest."""
    r = 2 * cos.shape[-1]
    t = x[..., -r:].reshape(*x.shape[:-1], r // 2, 2)
    a, b = t[..., 0], t[..., 1]
    rot = torch.stack([a * cos - b * sin, a * sin + b * cos], -1).reshape(*x.shape[:-1], r)
    return torch.cat([x[..., :-r], rot], -1)


# The pieces that torch.compile may fuse. All take and give plain tensors.

def hc_pre(X, fn, scale, base, norm, rounds):
    """(N,S,D) f32 -> sublayer input (N,D), post (N,S), C (N,S,S) with C[s][t] from source s to target t (model.md 3.3)."""
    flat = X.flatten(1)
    m = (flat @ fn.t()) * torch.rsqrt(flat.square().mean(-1, keepdim=True) + 1e-6)
    pre = torch.sigmoid(m[:, :4] * scale[0] + base[:4]) + 1e-6
    post = 2 * torch.sigmoid(m[:, 4:8] * scale[1] + base[4:8])
    C = (m[:, 8:] * scale[2] + base[8:]).view(-1, 4, 4).softmax(-1) + 1e-6
    C = C / (C.sum(1, keepdim=True) + 1e-6)
    for _ in range(rounds - 1):
        C = C / (C.sum(2, keepdim=True) + 1e-6)
        C = C / (C.sum(1, keepdim=True) + 1e-6)
    x = (X * pre[:, :, None]).sum(1)
    return rms(x, norm), post, C


def hc_post(X, y, post, C):
    mixed = (C[:, :, :, None] * X[:, :, None, :]).sum(1)
    return mixed + post[:, :, None] * y.float()[:, None, :]


def hc_head(X, fn, scale, base, norm):
    flat = X.flatten(1)
    m = (flat @ fn.t()) * torch.rsqrt(flat.square().mean(-1, keepdim=True) + 1e-6)
    return rms((X * (torch.sigmoid(m * scale + base) + 1e-6)[:, :, None]).sum(1), norm)


def attend(q, kv, comp, sinks, seen, window):
    """q (B,T,H,d), kv (B,T,d), comp (B,C,d) or None, seen (B|1,T,C) of the rows in sight -> o (B,T,H,d) and the weight on
    compressed rows summed over heads (B,T,C), detached. Queries go in blocks of one window over two blocks of raw rows."""
    B, T, H, d = q.shape
    W = window
    nb = T // W
    blocks = kv.view(B, nb, W, d)
    keys = torch.cat([F.pad(blocks, (0, 0, 0, 0, 1, 0))[:, :nb], blocks], 2)
    i, j = torch.arange(W, device=q.device)[:, None], torch.arange(2 * W, device=q.device)[None]
    ok = (j > i) & (j <= i + W)
    first = torch.arange(nb, device=q.device) > 0
    ok = ok[None] & (first[:, None, None] | (j >= W)[None])  # nb, W, 2W
    scale = 1 / math.sqrt(d)
    sr = (q.reshape(B, nb, W * H, d) @ keys.transpose(2, 3)).view(B, nb, W, H, 2 * W).float() * scale
    sr = sr.masked_fill(~ok[None, :, :, None, :], -1e30).view(B, T, H, 2 * W)
    top = torch.maximum(sr.amax(-1), sinks).detach()
    if comp is not None:
        sc = (q.reshape(B, T * H, d) @ comp.transpose(1, 2)).view(B, T, H, -1).float() * scale
        sc = sc.masked_fill(~seen[:, :, None, :], -1e30)
        top = torch.maximum(top, sc.amax(-1).detach())
    er = torch.exp(sr - top[..., None])
    z = er.sum(-1) + torch.exp(sinks - top)
    o = (er.to(q.dtype).view(B, nb, W * H, 2 * W) @ keys).view(B, T, H, d).float()
    weight = None
    if comp is not None:
        ec = torch.exp(sc - top[..., None])
        z = z + ec.sum(-1)
        o = o + (ec.to(q.dtype).view(B, T * H, -1) @ comp).view(B, T, H, d).float()
        weight = (ec.detach() / z.detach()[..., None]).sum(2)
    return o / z[..., None], weight


def compress(n, wkv, wgate, ape, norm, ratio, hd):
    """n (B,T,D) -> pooled and normed rows (B,C,hd), before RoPE (model.md 3.5)."""
    B, T, _ = n.shape
    v, g = F.linear(n, wkv).float(), F.linear(n, wgate).float()
    v, g = v.view(B, T // ratio, ratio, -1), g.view(B, T // ratio, ratio, -1) + ape
    if ratio == 4:
        pv, pg = F.pad(v[..., :hd], (0, 0, 0, 0, 1, 0))[:, :-1], F.pad(g[..., :hd], (0, 0, 0, 0, 1, 0), value=-1e30)[:, :-1]
        v, g = torch.cat([pv, v[..., hd:]], 2), torch.cat([pg, g[..., hd:]], 2)
    return rms((g.softmax(2) * v).sum(2), norm)


def index_scores(iq, rows, w):
    """iq (B,T,Hi,128), rows (B,C,128), w (B,T,Hi) -> (B,T,C)."""
    B, T, Hi, _ = iq.shape
    s = (iq.reshape(B, T * Hi, -1) @ rows.transpose(1, 2)).view(B, T, Hi, -1).relu()
    return (s * w[..., None]).sum(2) / math.sqrt(Hi * INDEX_DIM)


def index_loss(score, seen, weight):
    """KL from the attention's own weights on compressed rows to the indexer's softmax, mean over tokens that see rows."""
    logp = score.float().masked_fill(~seen, -1e30).log_softmax(-1)
    mass = weight.sum(-1, keepdim=True)
    p = weight / (mass + 1e-9)
    kl = (p * ((p + 1e-9).log() - logp)).sum(-1) * seen.any(-1)
    return kl.mean()


def experts(x, weights, gate, up, down, clamp):
    """x (N,D); weights (N,E+1), 0 where an expert is not chosen, 1 for the shared one, which comes last."""
    N, (E, W, D) = x.shape[0], gate.shape
    g, u = x @ gate.view(E * W, D).t(), x @ up.view(E * W, D).t()
    h = F.silu(g.clamp(max=clamp)) * u.clamp(-clamp, clamp)
    h = (h.view(N, E, W) * weights[:, :, None].to(h.dtype)).view(N, E * W)
    return h @ down.transpose(1, 2).reshape(E * W, D)


class Model:
    """Runs the graph. dtype is what large products run in; compile wraps the fusible pieces (train.py)."""

    def __init__(self, c, w, device, dtype=torch.float32, wrap=lambda f: f):
        self.c, self.w, self.device, self.dtype = c, w, device, dtype
        self.had = hadamard_matrix(device)
        self.tables = [F.one_hot(torch.tensor(t), c["experts"]).sum(1).float().to(device) for t in hash_tables(c)]
        self.cache = {}
        self.load = {}   # expert load of the last pass, by layer prefix
        self.dump = None  # (name, tensor) pairs, if a list
        self.select = False  # whether the indexer's choice counts, or all rows are seen
        for f in hc_pre, hc_post, hc_head, attend, compress, index_scores, index_loss, experts:
            setattr(self, "f_" + f.__name__, wrap(f))
        self.f_fp8, self.f_fp4 = wrap(fp8), wrap(fp4)

    def tables_for(self, T, ratio):
        if (T, ratio) not in self.cache:
            cos, sin = rope_table(self.c, T, ratio, self.device)
            seen = None
            if ratio:
                seen = (torch.arange(T // ratio, device=self.device)[None] < (torch.arange(T, device=self.device)[:, None] + 1) // ratio)[None]
            self.cache[T, ratio] = cos, sin, seen
        return self.cache[T, ratio]

    def mat(self, name):
        return self.w[name].to(self.dtype)

    def attention(self, p, ratio, n):
        """n (B,T,D) -> y (B,T,D), indexer loss."""
        c, w = self.c, self.w
        B, T, D = n.shape
        H, d, r = c["heads"], c["head_dim"], c["rope_dim"]
        cos, sin, seen = self.tables_for(T, ratio)
        x = n.to(self.dtype)
        qlat = rms(F.linear(x, self.mat(p + "attn_q_a.weight")), w[p + "attn_q_a_norm.weight"])
        q = rms(F.linear(qlat.to(self.dtype), self.mat(p + "attn_q_b.weight")).view(B, T, H, d))
        q = rope(q, cos[:, None], sin[:, None]).to(self.dtype)
        kv = rope(rms(F.linear(x, self.mat(p + "attn_kv.weight")), w[p + "attn_kv_a_norm.weight"]), cos, sin)
        kv = self.f_fp8(kv, d - r).to(self.dtype)
        comp, loss = None, 0.0
        if ratio:
            a = p + "attn_compressor_"
            comp = self.f_compress(x, self.mat(a + "kv.weight"), self.mat(a + "gate.weight"), w[a + "ape.weight"], w[a + "norm.weight"], ratio, d)
            comp = self.f_fp8(rope(comp, cos[::ratio], sin[::ratio]), d - r).to(self.dtype)
        score = None
        if ratio == 4 and T // 4 > c["top_k"]:
            score = self.index(p, x, qlat, cos, sin)
            if self.select:
                s = score.detach().masked_fill(~seen, -1e30)
                kth = s.topk(c["top_k"], -1).values[..., -1:]
                seen = seen & (s >= kth)
        o, weight = self.f_attend(q, kv, comp, w[p + "attn_sinks.weight"], seen, c["window"])
        if score is not None:
            loss = self.f_index_loss(score, seen, weight)
        o = rope(o, cos[:, None], -sin[:, None]).to(self.dtype)
        A = self.mat(p + "attn_output_a.weight").view(c["groups"], c["out_rank"], -1)
        low = torch.einsum("btgi,goi->btgo", o.reshape(B, T, c["groups"], -1), A).reshape(B, T, -1)
        return F.linear(low, self.mat(p + "attn_output_b.weight")), loss

    def index(self, p, x, qlat, cos, sin):
        c, w = self.c, self.w
        B, T, _ = x.shape
        x, qlat = x.detach(), qlat.detach().to(self.dtype)
        iq = F.linear(qlat, self.mat(p + "indexer.attn_q_b.weight")).float().view(B, T, c["index_heads"], INDEX_DIM)
        iq = self.f_fp4(rope(iq, cos[:, None], sin[:, None]), self.had).to(self.dtype)
        a = p + "indexer_compressor_"
        rows = self.f_compress(x, self.mat(a + "kv.weight"), self.mat(a + "gate.weight"), w[a + "ape.weight"], w[a + "norm.weight"], 4, INDEX_DIM)
        rows = self.f_fp4(rope(rows, cos[::4], sin[::4]), self.had).to(self.dtype)
        return self.f_index_scores(iq, rows, F.linear(x, self.mat(p + "indexer.proj.weight")).float())

    def ffn(self, p, il, n, ids):
        """n (N,D) f32, ids (N,) -> y (N,D). The router runs in f32."""
        c, w = self.c, self.w
        prob = F.softplus(n @ w[p + "ffn_gate_inp.weight"].t()).sqrt()
        if 0 <= il < c["hash"]:
            chosen = self.tables[il][ids]
        else:
            pick = (prob.detach() + w[p + "exp_probs_b.bias"]).topk(c["active"], -1).indices
            chosen = torch.zeros_like(prob).scatter_(1, pick, 1.0)
            self.load[p] = chosen.mean(0)
        sel = prob * chosen
        weights = sel / sel.sum(-1, keepdim=True).clamp(min=2.0**-14) * c["expert_scale"]
        weights = torch.cat([weights, torch.ones_like(weights[:, :1])], 1)
        cat = lambda part: torch.cat([self.mat(p + f"ffn_{part}_exps.weight"), self.mat(p + f"ffn_{part}_shexp.weight")[None]])
        return self.f_experts(n.to(self.dtype), weights, cat("gate"), cat("up"), cat("down"), c["clamp"])

    def layer(self, p, il, ratio, X, ids):
        """X (N,S,D), ids (B,T)."""
        w, (B, T) = self.w, ids.shape
        hc = lambda half: [w[p + f"hc_{half}_{k}.weight"] for k in ("fn", "scale", "base")]
        n, post, C = self.f_hc_pre(X, *hc("attn"), w[p + "attn_norm.weight"], self.c["rounds"])
        y, loss = self.attention(p, ratio, n.view(B, T, -1))
        X = self.f_hc_post(X, y.reshape(B * T, -1), post, C)
        self.record(p + "attn", X)
        n, post, C = self.f_hc_pre(X, *hc("ffn"), w[p + "ffn_norm.weight"], self.c["rounds"])
        X = self.f_hc_post(X, self.ffn(p, il, n, ids.reshape(-1)), post, C)
        self.record(p + "ffn", X)
        return X, loss

    def record(self, name, X):
        if self.dump is not None:
            self.dump.append((name, X.detach().float().cpu()))

    def trunk(self, ids):
        """ids (B,T), T a multiple of 128 -> streams (N,S,D) f32, indexer loss."""
        X = self.w["token_embd.weight"][ids.reshape(-1)][:, None].expand(-1, STREAMS, -1).contiguous()
        total = 0.0
        for il, r in enumerate(self.c["ratio"]):
            X, loss = self.layer(f"blk.{il}.", il, r, X, ids)
            total = total + loss
        return X, total

    def logits(self, X, p="output_hc_", norm="output_norm.weight"):
        w = self.w
        x = self.f_hc_head(X, w[p + "fn.weight"], w[p + "scale.weight"], w[p + "base.weight"], w[norm])
        return F.linear(x.to(self.dtype), self.mat("output.weight"))

    def draft(self, X, ids):
        """Streams and ids of the tokens to pair with them (the next ones: model.md D.4) -> logits of the ones after."""
        w, m, (B, T) = self.w, "mtp.0.", ids.shape
        e = rms(w["token_embd.weight"][ids.reshape(-1)], w[m + "enorm.weight"]).to(self.dtype)
        h = rms(X, w[m + "hnorm.weight"]).to(self.dtype)
        X = F.linear(h, self.mat(m + "h_proj.weight")).float() + F.linear(e, self.mat(m + "e_proj.weight")).float()[:, None]
        X, _ = self.layer(m, -1, 0, X, ids)
        return self.logits(X, m + "hc_head_", m + "norm.weight")
