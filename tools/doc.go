// Package tools pins the programs that developers run through go tool, so that nothing but Go need be installed.
package tools
