// Package agents runs coding agents of the npm registry against the server, each configured by the very lines of
// docs/clients.md, and has them read a file:
//
//	go tool task test:agents
//
// That installs what package.json names into node_modules, some 1.4 GB, and node 22 with it; there is no lock file, since not every
// registry has the parts for other systems that one would name. No other command runs agents, since some of them fetch more
// when they start. One that is not there is skipped. All run against an engine that answers by a script, opencode and Pi
// against the demo model too.
package agents
