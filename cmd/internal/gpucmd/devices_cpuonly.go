//go:build cpuonly

package gpucmd

var devices []device
