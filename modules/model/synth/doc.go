// Package synth makes model files out of nothing: the tiny models whose golden runs every build reproduces bit for bit,
// and full-size files with random weights for measuring speed without the real ones.
package synth
