// Package program runs ds4 as users do: the program itself, built once for all tests of a package, as a process of its own.
//
//	func TestMain(m *testing.M) { os.Exit(program.Main(m)) }
//	…
//	s := program.Serve(t, program.Options{Args: []string{"--ctx", "4096"}})
//	client := openai.NewClient(option.WithBaseURL(s.URL+"/v1/"), option.WithAPIKey(program.Key))
//	s.Kill()
//
// A Server is ready when Serve returns, and gone when its test ends. Tests here run one after the other: two servers on two
// cores only slow each other down.
package program
