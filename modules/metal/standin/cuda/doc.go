// Command cuda rewrites the Metal kernels for CUDA, as a second check on a real GPU: the same sources, compiled by another compiler
// and run by hardware whose lanes and threadgroups really are concurrent.
//
//	go run ./standin/cuda DIR
//
// writes DIR/kernels.cu, kernels.metal (the source), kernels.list (entry points and the buffers they declare), prelude.cuh, and
// libstandin.so, the stand-in with dispatches on the card. There "nvcc -DPART=i" makes kernels.i.cubin (run.sh), and the tests of
// modules/model/backend/metal run with DS4_METAL_LIBRARY=DIR/libstandin.so. A kernel is not fast so, and says nothing of a Mac's
// speed; it says that the arithmetic, the barriers and the indices hold.
package main
