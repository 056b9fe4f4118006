// Package gpulock keeps two programs from using the GPU at once: the second would find no memory for its weights, or slow
// both. The lock is that of a file, which the system gives back however its holder ends; in the file is the holder's pid, to
// be told to others.
package gpulock
