// Package synth makes model files out of nothing: the tiny models whose golden runs every build reproduces bit for bit,
// the demo, and files of the real size with random weights, for measuring speed without the real ones (Flash).
package synth
