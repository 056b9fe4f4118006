#!/bin/sh
# Builds the stand-in for libcuda: sim/build.sh /tmp/libcudasim.so. Then, with no card,
# DS4_CUDA_LIBRARY=/tmp/libcudasim.so go test ./backend/cuda runs the kernels on the host.
set -eu
cd "$(dirname "$0")"
"${CXX:-clang++-19}" -std=c++20 -O2 -ffp-contract=off -fPIC -shared -mf16c -mfma -msse4.2 -o "$1" src/sim.cpp
