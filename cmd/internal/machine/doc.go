// Package machine says what this computer has: processor and its vector units, memory, graphics processors. It reads what
// the system says of itself and loads no driver, so that asking cannot fail or hang.
package machine
