// Package agents runs coding agents of the npm registry against the server, each configured by the very lines of
// docs/clients.md, and has them read a file:
//
//	go tool task test:agents
//
// That installs what package-lock.json names into node_modules, some 1.4 GB, and node 22 with it. No other command runs agents,
// since some of them fetch more when they start; one that is not there is skipped. All of them run against an engine that answers by a script, opencode and Pi against the demo model too.
package agents
