// Package js drives the server with the JavaScript clients of OpenAI and Anthropic. Its test starts the servers,
// which answer by a script or with the demo model, and node's own test runner does the rest:
//
//	go tool task test:js
//
// That installs what package-lock.json names into node_modules. Without node or without that folder the test is skipped.
package js
