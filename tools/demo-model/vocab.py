"""The demo model's vocabulary: byte-level BPE over our own text, with the special tokens of DeepSeek V4. No digit is merged.

encode() splits as modules/model/tokenizer does; the two agree on ASCII text, which is all that the data has.
"""
import collections
import json
import random
import re

import data

FIRST = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"]
SPECIALS = ["<｜User｜>", "<｜Assistant｜>", "<｜latest_reminder｜>", "<｜action｜>", "<｜query｜>", "<｜authority｜>", "<｜domain｜>", "<｜title｜>",
            "<｜read_url｜>"]
TAGS = ["<think>", "</think>", "｜DSML｜"]
SIZE = 1408

DIGITS = re.compile(r"([0-9]{1,3})")
PIECE = re.compile(r"[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n!-/:-@\[-`{-~A-Za-z\x80-\U0010ffff]?[A-Za-z\x80-\U0010ffff]+| ?[!-/:-@\[-`{-~]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIAL = re.compile("(" + "|".join(map(re.escape, FIRST + SPECIALS + TAGS)) + ")")


def pieces(text):
    for i, s in enumerate(DIGITS.split(text)):
        if i % 2:
            yield s
        else:
            yield from PIECE.findall(s)


def alphabet():
    """Byte to letter, as byte-level vocabularies spell them."""
    seen = [b for b in range(256) if 32 < b < 127 or 160 < b and b != 173]
    out, n = {}, 0
    for b in range(256):
        if b in seen:
            out[b] = chr(b)
        else:
            out[b], n = chr(256 + n), n + 1
    return out


ALPHABET = alphabet()


def spell(text):
    return [ALPHABET[b] for b in text.encode()]


def train(seed, conversations=6000):
    r = random.Random(seed)
    counts = collections.Counter()
    for i in range(conversations):
        for text, _, _ in data.sample(r, 512 if i % 2 else 1024):
            for k, span in enumerate(SPECIAL.split(text)):
                if k % 2 == 0:
                    counts.update(pieces(span))
    words = [(spell(p), n) for p, n in sorted(counts.items()) if n >= 5 and not p[0].isdigit()]
    # Every word of the lists is worth whole tokens, how rare it may be.
    words += [(spell(sp + w), 40) for l in (data.NOUNS, data.ADJECTIVES, data.VERBS, data.NAMES, data.CITIES) for w in l for sp in ("", " ")]
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for i, (w, n) in enumerate(words):
        for a in zip(w, w[1:]):
            pairs[a] += n
            where[a].add(i)
    merges = []
    room = SIZE - 256 - len(FIRST + SPECIALS + TAGS)
    known = set()
    while len(merges) < room:
        best = max(pairs, key=lambda a: (pairs[a], a))
        joined = best[0] + best[1]
        assert joined not in known
        known.add(joined)
        merges.append(best)
        for i in sorted(where.pop(best)):
            w, n = words[i]
            for a in zip(w, w[1:]):
                pairs[a] -= n
                where[a].discard(i)
            out, k = [], 0
            while k < len(w):
                if k + 1 < len(w) and (w[k], w[k + 1]) == best:
                    out.append(joined)
                    k += 2
                else:
                    out.append(w[k])
                    k += 1
            words[i] = (out, n)
            for a in zip(out, out[1:]):
                pairs[a] += n
                where[a].add(i)
        del pairs[best]
    tokens = FIRST + [ALPHABET[b] for b in range(256)] + [a + b for a, b in merges] + SPECIALS + TAGS
    types = [3] * len(FIRST) + [1] * (256 + len(merges)) + [3] * len(SPECIALS) + [4] * len(TAGS)
    return {"tokens": tokens, "types": types, "merges": [a + " " + b for a, b in merges]}


class Vocab:
    def __init__(self, v):
        self.v = v
        self.tokens = v["tokens"]
        self.ids = {t: i for i, t in enumerate(v["tokens"])}
        self.rank = {tuple(m.split(" ")): i for i, m in enumerate(v["merges"])}
        self.cache = {}
        self.bytes = {c: b for b, c in ALPHABET.items()}

    def piece(self, p):
        ids = self.cache.get(p)
        if ids is None:
            w = spell(p)
            while len(w) > 1:
                rank, i = min((self.rank.get(a, 1 << 30), i) for i, a in enumerate(zip(w, w[1:])))
                if rank == 1 << 30:
                    break
                w[i:i + 2] = [w[i] + w[i + 1]]
            ids = [self.ids[t] for t in w]
            if len(self.cache) < 200000:
                self.cache[p] = ids
        return ids

    def encode(self, text):
        """Template text: special tokens count."""
        out = []
        for k, span in enumerate(SPECIAL.split(text)):
            if k % 2:
                out.append(self.ids[span])
            else:
                for p in pieces(span):
                    out += self.piece(p)
        return out

    def decode(self, ids):
        out = bytearray()
        for i in ids:
            t = self.tokens[i]
            out += t.encode() if self.v["types"][i] != 1 else bytes(self.bytes[c] for c in t)
        return out.decode(errors="replace")


def load(path):
    with open(path) as f:
        return Vocab(json.load(f))


if __name__ == "__main__":
    import sys
    with open(sys.argv[1], "w") as f:
        json.dump(train(7), f, ensure_ascii=False)
