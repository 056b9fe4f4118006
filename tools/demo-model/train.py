"""Trains the demo model: python3 train.py --out DIR --minutes 18. Everything is seeded; the schedule follows the clock."""
import argparse
import json
import math
import multiprocessing as mp
import os
import queue
import random
import time

import numpy as np
import torch
import torch.nn.functional as F

import data
import model
import vocab
from evaluate import report
from save import save

LENGTHS = {512: 10, 1024: 8, 4096: 6}  # tokens of a row, and how many processes make such rows
PROMPT_WEIGHT = 0.05                   # of prompt tokens in the loss
DRAFT_WEIGHT, INDEX_WEIGHT = 0.15, 0.1
MUON, DECAY, MOMENTUM = 0.015, 0.03, 0.95
RATES = {"embed": 4e-3, "head": 2e-3, "mix": 1e-3, "router": 2e-3}  # Adam's; 3e-3 for all other vectors


def rows(v, r, T, n):
    """n conversations as ids (n,T+1), kinds (n,T+1): 0 prompt, 1 answer, 2 padding."""
    ids, kinds = np.full((n, T + 1), 1, np.int16), np.full((n, T + 1), 2, np.uint8)
    for i in range(n):
        at = 0
        for text, kind, _ in data.sample(r, T):
            t = v.encode(text)[:T + 1 - at]
            ids[i, at:at + len(t)], kinds[i, at:at + len(t)] = t, kind
            at += len(t)
            if at > T:
                break
    return ids, kinds


def worker(path, seed, T, n, out):
    v, r = vocab.load(path), random.Random(seed)
    while True:
        out.put(rows(v, r, T, n))


class Feed:
    """Batches by length, from processes in a fixed order."""

    def __init__(self, path, seed, micro, lengths):
        ctx = mp.get_context("fork")
        self.queues, self.turn, self.procs = {}, {}, []
        for T, n in lengths.items():
            self.queues[T], self.turn[T] = [], 0
            for i in range(n):
                q = ctx.Queue(3)
                p = ctx.Process(target=worker, args=(path, seed * 1000003 + T * 101 + i, T, max(1, micro // T), q), daemon=True)
                p.start()
                self.queues[T].append(q)
                self.procs.append(p)

    def next(self, T, device):
        q = self.queues[T][self.turn[T] % len(self.queues[T])]
        self.turn[T] += 1
        ids, kinds = q.get()
        return torch.from_numpy(ids.astype(np.int64)).to(device), torch.from_numpy(kinds).to(device)

    def close(self):
        for p in self.procs:
            p.terminate()


def orthogonal(g):
    """The nearest semi-orthogonal matrices, roughly, of (n, out, in) by five Newton-Schulz steps."""
    x = g.bfloat16() if g.is_cuda else g
    flip = x.shape[1] > x.shape[2]
    if flip:
        x = x.transpose(1, 2)
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.transpose(1, 2) if flip else x).float()


class Optimizer:
    """Muon for matrices, Adam for the rest."""

    def __init__(self, c, w):
        kinds = {k: kind for k, (_, kind) in model.shapes(c).items()}
        by_shape, adam = {}, {}
        for k, p in w.items():
            if kinds[k] in ("matrix", "last"):
                by_shape.setdefault(tuple(p.shape[-2:]), []).append(p)
            elif kinds[k] != "bias":
                adam.setdefault(RATES.get(kinds[k], 3e-3), []).append(p)
        self.groups = [(s, ps, [torch.zeros_like(p) for p in ps]) for s, ps in by_shape.items()]
        self.adam = torch.optim.Adam([{"params": ps, "lr": lr, "base": lr} for lr, ps in adam.items()], betas=(0.9, 0.95), eps=1e-9)

    @torch.no_grad()
    def step(self, rate):
        for g in self.adam.param_groups:
            g["lr"] = g["base"] * rate
        self.adam.step()
        lr = MUON * rate
        for (out, inp), ps, moms in self.groups:
            gs = []
            for p, m in zip(ps, moms):
                g = p.grad if p.grad is not None else torch.zeros_like(p)
                m.lerp_(g, 1 - MOMENTUM)
                gs.append(g.lerp(m, MOMENTUM).reshape(-1, out, inp))
            u = orthogonal(torch.cat(gs))
            at = 0
            for p, g in zip(ps, gs):
                n = g.shape[0]
                p.mul_(1 - lr * DECAY).add_(u[at:at + n].view_as(p), alpha=-lr * max(1, out / inp) ** 0.5)
                at += n
        for _, ps, _ in self.groups:
            for p in ps:
                p.grad = None
        self.adam.zero_grad(set_to_none=True)


def losses(m, ids, kinds):
    """Total loss, and the parts to log: answers, drafts, indexer."""
    x, y = ids[:, :-1].contiguous(), ids[:, 1:]
    k = kinds[:, 1:]
    weight = (k == 1).float() + PROMPT_WEIGHT * (k == 0).float()
    X, index = m.trunk(x)
    ce = F.cross_entropy(m.logits(X).float(), y.reshape(-1), reduction="none").view_as(y)
    main = (ce * weight).sum() / weight.sum()
    answer = (ce.detach() * (k == 1)).sum() / (k == 1).sum().clamp(min=1)
    dl = m.draft(X, y).float()
    y2, w2 = F.pad(y[:, 1:], (0, 1)), F.pad(weight[:, 1:], (0, 1))
    draft = (F.cross_entropy(dl, y2.reshape(-1), reduction="none").view_as(y2) * w2).sum() / w2.sum()
    total = main + DRAFT_WEIGHT * draft + INDEX_WEIGHT * index
    return total, (answer, draft.detach(), torch.as_tensor(index, device=total.device).detach())


def wrapper(device, want):
    """torch.compile for the fusible pieces, if it works here."""
    if not want or device != "cuda" or not hasattr(torch, "compile"):
        return lambda f: f
    try:
        from torch import _dynamo
        _dynamo.config.cache_size_limit = 64
        f = torch.compile(model.hc_post, dynamic=False)
        X = torch.randn(256, 4, 64, device=device, requires_grad=True)
        f(X, X[:, 0], X[:, :, 0], X[:, :, :4]).sum().backward()
        return lambda f: torch.compile(f, dynamic=False)
    except Exception as e:  # no compiler on this machine: slower, not wrong
        print("torch.compile does not work here:", str(e)[:300], flush=True)
        return lambda f: f


def run(a, log):
    torch.manual_seed(a.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = True
    path = os.path.join(a.out, "vocab.json")
    if not os.path.exists(path):
        with open(path, "w") as f:
            json.dump(vocab.train(7), f, ensure_ascii=False)
    v = vocab.load(path)
    c = dict(model.CONFIG, vocab=len(v.tokens))
    lengths = {T: n for T, n in LENGTHS.items() if T <= a.longest}
    if a.workers:
        lengths = {T: max(1, n * a.workers // 24) for T, n in lengths.items()}
    feed = Feed(path, a.seed, a.micro, lengths)
    w = model.init(c, a.seed, device)
    m = model.Model(c, w, device, torch.bfloat16 if device == "cuda" else torch.float32, wrapper(device, a.compile))
    opt = Optimizer(c, w)
    pattern = [T for T in (1024, 4096, 1024, 4096, 1024) if T in lengths] or [512]
    step, tokens, sums, saved = 0, 0, {}, time.time()
    limit = a.begin + 60 * a.minutes - a.reserve
    began, shown = time.time(), time.time()
    try:
        while True:
            part = (time.time() - began) / max(limit - began, 1e-9)
            if part >= 1:
                break
            rate = min(1, (step + 1) / 100) * min(1, max(0.0, (1 - part) / 0.7))
            m.select = part > 0.55
            for T in (512, pattern[step % len(pattern)]):
                ids, kinds = feed.next(T, device)
                loss, parts = losses(m, ids, kinds)
                (loss / 2).backward()
                tokens += ids.numel()
                s = sums.setdefault(T, [0, torch.zeros(3, device=device)])
                s[0] += 1
                s[1] += torch.stack([p.detach().float().to(device) for p in parts])
                for p, load in m.load.items():
                    w[p + "exp_probs_b.bias"].data.add_(0.001 * torch.sign(load.mean() - load))
            opt.step(rate)
            step += 1
            if time.time() - shown > a.every:
                text = "  ".join(f"{T}: {(t / n)[0]:.4f} {(t / n)[1]:.3f} {(t / n)[2]:.3f}" for T, (n, t) in sorted(sums.items()))
                memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0
                log(f"step {step} part {part:.3f} tok/s {tokens / (time.time() - shown):.0f} mem {memory:.1f}  answer draft index  {text}")
                if not math.isfinite(float(sums[512][1][0])):
                    raise ArithmeticError("the loss is not finite")
                tokens, sums, shown = 0, {}, time.time()
            if time.time() - saved > 200:
                save(c, w, a.out)
                saved = time.time()
    finally:
        feed.close()
    log(f"{step} steps")
    save(c, w, a.out)
    return c, w, v, device, step


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--out", required=True)
    p.add_argument("--minutes", type=float, default=18)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--micro", type=int, default=32768, help="tokens of a forward pass")
    p.add_argument("--longest", type=int, default=4096)
    p.add_argument("--workers", type=int, default=0)
    p.add_argument("--every", type=float, default=15)
    p.add_argument("--reserve", type=float, default=75, help="seconds kept for the evaluation")
    p.add_argument("--rows", type=int, default=192, help="held-out rows of each length")
    p.add_argument("--no-compile", dest="compile", action="store_false")
    a = p.parse_args()
    os.makedirs(a.out, exist_ok=True)
    a.begin = time.time()
    f = open(os.path.join(a.out, "log.txt"), "a")

    def log(text):
        line = f"{time.time() - a.begin:7.1f} {text}"
        print(line, flush=True)
        f.write(line + "\n")
        f.flush()

    while True:
        try:
            c, w, v, device, step = run(a, log)
            break
        except (RuntimeError, ArithmeticError) as e:
            log(f"{type(e).__name__}: {str(e)[:400]}")
            if "out of memory" in str(e) and a.micro > 8192:
                a.micro //= 2
            elif isinstance(e, ArithmeticError):
                a.seed += 1
            elif a.compile:
                a.compile = False
            else:
                raise
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
    with torch.no_grad():
        out = report(c, w, v, device, [T for T in LENGTHS if T <= a.longest], a.rows, log)
    out["steps"], out["seconds"] = step, time.time() - a.begin
    with open(os.path.join(a.out, "report.json"), "w") as g:
        json.dump(out, g)
    log(json.dumps(out["skills"]))


if __name__ == "__main__":
    main()
