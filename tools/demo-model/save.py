"""Writes a checkpoint: safetensors files under GGUF names, matrices in f16, vectors in f32, each file below 15 MB."""
import json
import os
import struct

import numpy as np
import torch

from model import hash_tables


def save(c, w, out):
    shards, size = [{}], 0
    for name, p in w.items():
        t = p.detach().float().cpu()
        t = t.half() if t.dim() > 1 else t
        b = t.numpy().tobytes()
        if size + len(b) > 14_000_000:
            shards.append({})
            size = 0
        shards[-1][name] = ("F16" if t.dim() > 1 else "F32", list(t.shape), b)
        size += len(b)
    for il, t in enumerate(hash_tables(c)):
        shards[-1][f"blk.{il}.ffn_gate_tid2eid.weight"] = ("I32", [len(t), len(t[0])], np.array(t, np.int32).tobytes())
    for i, shard in enumerate(shards):
        head, at = {"__metadata__": {"config": json.dumps(c)}}, 0
        for name, (dtype, shape, b) in shard.items():
            head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(b)]}
            at += len(b)
        h = json.dumps(head).encode()
        path = os.path.join(out, f"w{i}.safetensors")
        with open(path + ".tmp", "wb") as f:
            f.write(struct.pack("<Q", len(h)) + h)
            for _, _, b in shard.values():
                f.write(b)
        os.replace(path + ".tmp", path)


def load(out):
    """The config and the weights of a checkpoint, as f32 tensors."""
    w, c, i = {}, None, 0
    while os.path.exists(path := os.path.join(out, f"w{i}.safetensors")):
        with open(path, "rb") as f:
            n, = struct.unpack("<Q", f.read(8))
            head = json.loads(f.read(n))
            c = json.loads(head.pop("__metadata__")["config"])
            raw = f.read()
        for name, h in head.items():
            if h["dtype"] == "I32":
                continue
            a = np.frombuffer(raw[h["data_offsets"][0]:h["data_offsets"][1]], {"F16": np.float16, "F32": np.float32}[h["dtype"]])
            w[name] = torch.from_numpy(a.astype(np.float32).reshape(h["shape"]))
        i += 1
    return c, w
