// Package inspectcmd is "ds4 inspect": what is in a model file, as a table or as JSON, and whether it is a model that
// ds4 runs.
package inspectcmd
