package metal

// SetSource replaces what New compiles, and returns how to go back.
func SetSource(f func() string) func() {
	was := source
	source = f
	return func() { source = was }
}
