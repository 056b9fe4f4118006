// Package cli is what the commands share at their edge: flags with several spellings and a help text made from them,
// errors that become one line and an exit code, and what a terminal can show.
//
//	set := cli.New("ds4 inspect", "show what is in a model file", "ds4 inspect FILE [flags]")
//	set.Bool(&asJSON, "--json", "print JSON")
//	rest, err := set.Parse(args, stdout)
//	…
//	return cli.Exit(stderr, "ds4", err)
//
// Exit codes: 0 done (help included), 1 a failure, 2 a command line that cannot be meant, 130 interrupted.
package cli
