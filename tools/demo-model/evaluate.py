"""What the float model does on conversations that it never saw."""
import random

import torch

import data
import model


def held_out(v, T, n, seed):
    """n conversations: (ids, [(start, end, skill)]) with the span of every whole answer."""
    r = random.Random(seed)
    out = []
    for _ in range(n):
        ids, spans = [], []
        for text, kind, skill in data.sample(r, T):
            t = v.encode(text)
            if len(ids) + len(t) > T:
                break
            if kind == 1:
                spans.append((len(ids), len(ids) + len(t), skill))
            ids += t
        out.append((ids, spans))
    return out


def report(c, w, v, device, lengths, n, log, seed=990001):
    """Answers that greedy decoding would write to the last byte (every token is the likeliest after the right ones), by skill;
    ends: the model stops where it should, and nowhere before; log-probabilities of a few conversations; draft acceptance."""
    m = model.Model(c, w, device, torch.bfloat16 if device == "cuda" else torch.float32)
    m.select = True
    skills, ends, drafts, vectors = {}, [0, 0], [0, 0, 0], []
    for T in lengths:
        texts = held_out(v, T, n, seed + T)
        step = max(1, 8192 // T)
        for at in range(0, n, step):
            batch = texts[at:at + step]
            ids = torch.ones(len(batch), T, dtype=torch.long)
            for i, (t, _) in enumerate(batch):
                ids[i, :len(t)] = torch.tensor(t)
            ids = ids.to(device)
            X, _ = m.trunk(ids)
            logits = m.logits(X).float().view(len(batch), T, -1)
            best = logits.argmax(-1)
            nxt = ids.roll(-1, 1)
            good = m.draft(X, nxt).view_as(logits).argmax(-1)[:, :-1] == best[:, 1:]
            old = m.draft(X, ids).view_as(logits).argmax(-1)[:, :-1] == best[:, 1:]
            hit = (best[:, :-1] == ids[:, 1:]).cpu()
            stop = ((best == 1) == (nxt == 1)).cpu()
            good, old = good.cpu(), old.cpu()
            for i, (t, spans) in enumerate(batch):
                for a, b, skill in spans:
                    s = skills.setdefault(skill, [0, 0])
                    s[0] += int(hit[i, a - 1:b - 1].all())
                    s[1] += 1
                    ends[0] += int(stop[i, a - 1:b - 1].all())
                    ends[1] += 1
                    drafts[0] += int(good[i, a - 1:b - 2].sum())
                    drafts[1] += int(old[i, a - 1:b - 2].sum())
                    drafts[2] += b - 1 - a
            if at == 0:
                lp = logits.log_softmax(-1).gather(2, nxt[:, :, None])[:, :, 0].cpu()
                for i, (t, spans) in enumerate(batch[:6 if T < 4096 else 1]):
                    vectors.append({"ids": t, "spans": spans, "logprobs": [round(x, 4) for x in lp[i, :len(t) - 1].tolist()]})
        log(f"evaluated {T}")
    return {"skills": {k: [a, b, round(a / b, 4)] for k, (a, b) in sorted(skills.items())}, "ends": ends,
            "drafts": {"next": drafts[0] / max(1, drafts[2]), "same": drafts[1] / max(1, drafts[2]), "tokens": drafts[2]}, "vectors": vectors}
