// Logits is one product over the wanted rows: matmul.cu.
