// Package tests holds what needs two modules at once or a real model.
package tests
