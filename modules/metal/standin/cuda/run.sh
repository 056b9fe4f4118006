#!/bin/sh
# Compiles the rewritten kernels with nvcc, in parallel, and runs the test binary beside this script on the card.
set -e
cd "$(dirname "$0")"
PATH=$PATH:/usr/local/cuda/bin
parts=$(cat kernels.parts)
i=0
pids=""
while [ $i -lt "$parts" ]; do
  nvcc -cubin -arch=sm_90 -std=c++17 -O2 -fmad=false -DPART=$i -o kernels.$i.cubin kernels.cu >nvcc.$i.log 2>&1 &
  pids="$pids $!"
  i=$((i + 1))
done
for p in $pids; do wait "$p" || { cat nvcc.*.log | grep -m 40 -A 3 error; exit 1; }; done
export DS4_METAL_LIBRARY=$PWD/libstandin.so DS4_METAL=require
./metal.test -test.v -test.run "${1:-TestConformance|TestGolden|TestJoined|TestSame}" -test.timeout 80s >log.txt 2>&1 || status=$?
grep -E '^(---|FAIL|PASS|ok|panic)|    --- FAIL|standin:|CUDA error|want ' log.txt | head -60 || true
# the worst error of each operation and output
awk '/ rows +[0-9]+: / { sub(/^.*go:[0-9]+: /, ""); k = $2 " " $3; e = $NF + 0; if (!(k in w) || e > w[k]) w[k] = e } END { for (k in w) printf "%-30s %.2g\n", k, w[k] }' log.txt | sort
exit ${status:-0}
