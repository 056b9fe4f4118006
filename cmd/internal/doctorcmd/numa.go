package doctorcmd

import (
	"fmt"
	"path/filepath"
)

// nodeFolders is where Linux lists memory nodes; elsewhere nothing is found.
const nodeFolders = "/sys/devices/system/node/node[0-9]*"

// numa is advice for a machine whose cores have memory of their own: a file's pages lie where the program that read it first
// ran, and every core reads every weight. "" where there is one node.
func numa(pattern string) string {
	nodes, err := filepath.Glob(pattern)
	if err != nil || len(nodes) < 2 {
		return ""
	}
	return fmt.Sprintf("%d memory nodes: on the CPU, \"numactl --interleave=all ds4 …\" spreads the weights over them, if the file is not in memory yet", len(nodes))
}
