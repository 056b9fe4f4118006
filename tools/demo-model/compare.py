"""Holds the PyTorch graph against the Go engine, half layer by half layer: python3 compare.py CHECKPOINT-DIR IDS.json DUMP.

Relative error of the streams (root of summed squares) after every half layer; the rest of it is the rounding of weights and
activations in the engine.
"""
import json
import sys

import numpy as np
import torch

import model
from save import load

c, w = load(sys.argv[1])
ids = json.load(open(sys.argv[2]))
n = len(ids) // 128 * 128
m = model.Model(c, w, "cpu")
m.select, m.dump = True, []
with torch.no_grad():
    X, _ = m.trunk(torch.tensor([ids]))
    logits = m.logits(X)[-1].numpy()
raw = np.fromfile(sys.argv[3], np.float32)
size = len(ids) * 4 * c["embd"]
for i, (name, t) in enumerate(m.dump):
    go = raw[i * size:(i + 1) * size]
    want = t.numpy().reshape(-1)
    err = go - want
    per = np.sqrt((err.reshape(len(ids), -1) ** 2).sum(1) / (want.reshape(len(ids), -1) ** 2).sum(1))
    print(f"{name:12} {np.sqrt((err**2).sum() / (want**2).sum()):.5f}   first 128: {per[:128].mean():.5f}   last 128: {per[-128:].mean():.5f}")
go = raw[-len(logits):]
print("logits", np.sqrt(((go - logits) ** 2).sum() / (logits**2).sum()), go.argmax(), logits.argmax())
