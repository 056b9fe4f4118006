// Package kvcmd is "ds4 kv": what is in a disk cache, whether it is sound, and the way from and to ds4's own files. What
// a cache is, package kvstore knows.
package kvcmd
