#!/bin/sh
# Compiles the kernels to the PTX that is checked in, and notes the hash of their sources. With --check it compiles to a
# temporary folder and compares. Needs clang-19 and nothing of CUDA's.
set -eu
export LC_ALL=C # the order of the sources is part of their hash
cd "$(dirname "$0")"
clang=${CLANG:-clang-19}
out=.
if [ "${1:-}" = --check ]; then
	out=$(mktemp -d)
	trap 'rm -rf "$out"' EXIT
fi
for arch in 80 90; do
	"$clang" -x cuda -nocudainc -nocudalib --cuda-device-only --cuda-gpu-arch=sm_$arch -Xclang -target-feature -Xclang +ptx80 \
		-O3 -ffp-contract=off -S -o "$out/sm_$arch.ptx" kernels.cu
done
cat ./*.cu ./*.cuh | sha256sum | cut -d' ' -f1 >"$out/source.sha256"
if [ "$out" != . ]; then
	for f in sm_80.ptx sm_90.ptx source.sha256; do
		cmp "$f" "$out/$f" || { echo "$f: run modules/model/backend/cuda/kernels/generate.sh" >&2; exit 1; }
	done
fi
