// Package metal is a thin binding to Apple's Metal over purego, without cgo. It knows no model.
package metal
