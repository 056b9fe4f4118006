#!/bin/sh
# What "task build:gpu-bundle" packs, run on a machine with an NVIDIA card and without Go:
#
#	gpu.sh test    the conformance suite, golden runs, layers of the real width beside the CPU, faults; a run of ds4 itself
#	gpu.sh bench   the speed table of docs/cuda.md: 86 GB on the card, two minutes
#
# Both fail where the card is not used. DS4_CUDA_DIR is a folder for a model file of 6 GB, /dev/shm for instance.
set -eu
cd "$(dirname "$0")"
export DS4_CUDA=require
case "${1:-}" in
test)
	./cuda.test -test.v -test.timeout 15m
	./ds4 doctor
	./ds4 --cuda --demo -n 16 --temp 0 -p "The river"
	;;
bench)
	DS4_CUDA_SPEED="${DS4_CUDA_SPEED:-q2,2k,8k,32k,128k,batch,profile}" ./cuda.test -test.timeout 20m -test.run TestSpeed
	DS4_CUDA_SPEED=q4,2k,batch ./cuda.test -test.timeout 20m -test.run TestSpeed
	;;
*)
	echo "usage: gpu.sh test|bench" >&2
	exit 2
	;;
esac
