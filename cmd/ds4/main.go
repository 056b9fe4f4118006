// Command ds4 runs DeepSeek V4 Flash on hardware that people own: a chat in the terminal, one answer to a prompt, and
// commands for everything around it. "ds4 --help" lists them.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/ds4-go/ds4/cmd/internal/benchcmd"
	"github.com/ds4-go/ds4/cmd/internal/chatcmd"
	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/cmd/internal/democmd"
	"github.com/ds4-go/ds4/cmd/internal/doctorcmd"
	"github.com/ds4-go/ds4/cmd/internal/fetchcmd"
	"github.com/ds4-go/ds4/cmd/internal/gpucmd"
	"github.com/ds4-go/ds4/cmd/internal/inspectcmd"
	"github.com/ds4-go/ds4/cmd/internal/kvcmd"
	"github.com/ds4-go/ds4/cmd/internal/perplexcmd"
	"github.com/ds4-go/ds4/cmd/internal/servecmd"
	"github.com/ds4-go/ds4/cmd/internal/synthcmd"
	"github.com/ds4-go/ds4/cmd/internal/vectorscmd"
)

// command is a word that ds4 knows, with the function that does it. The context ends at the first interrupt.
type command struct {
	name, about string
	main        func(ctx context.Context, args []string, stdout, stderr *os.File) int
}

// commands in the order of the help: first steps, then the model, then what looks inside.
var commands = []command{
	{"demo", "chat with a small model that needs no download", chatcmd.Demo},
	{"fetch", "get the real model, resumable and verified", fetchcmd.Main},
	{"doctor", "what this machine has, whether the model fits, what to type next", doctorcmd.Command(gpucmd.Main)},
	{"inspect", "what is in a model file, and whether it is sound", inspectcmd.Main},
	{"serve", "serve the OpenAI and Anthropic APIs", servecmd.Main},
	{"kv", "list, check and prune the caches on the disk", kvcmd.Main},
	{"vectors", "compare with log-probabilities of the original", vectorscmd.Main},
	{"perplexity", "score a text by the model", perplexcmd.Main},
	{"bench", "measure speed, and what memory would allow", benchcmd.Main},
	{"synth", "write a model file of the real size with random weights", synthcmd.Main},
	{"demo-model", "write the demo model to a file", democmd.Main},
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return chatcmd.Main(context.Background(), args, os.Stdout, os.Stderr, list())
	}
	name, args := args[0], args[1:]
	if name == "help" {
		return help(args)
	}
	c, ok := find(name)
	if !ok {
		return cli.Exit(os.Stderr, "ds4", unknown(name))
	}
	if name == "demo" { // it has its own way with interrupts
		return c.main(context.Background(), args, os.Stdout, os.Stderr)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer context.AfterFunc(ctx, stop)() // the second interrupt ends the program
	return c.main(ctx, args, os.Stdout, os.Stderr)
}

func find(name string) (command, bool) {
	for _, c := range commands {
		if c.name == name {
			return c, true
		}
	}
	return command{}, false
}

// help is "ds4 help" and "ds4 help COMMAND".
func help(args []string) int {
	if len(args) == 0 {
		return chatcmd.Main(context.Background(), []string{"--help"}, os.Stdout, os.Stderr, list())
	}
	c, ok := find(args[0])
	if !ok {
		return cli.Exit(os.Stderr, "ds4", unknown(args[0]))
	}
	return c.main(context.Background(), []string{"--help"}, os.Stdout, os.Stderr)
}

func unknown(name string) error {
	var names []string
	for _, c := range commands {
		names = append(names, c.name)
	}
	message := fmt.Sprintf("unknown command %q", name)
	if near := cli.Nearest(name, names); near != "" {
		message += fmt.Sprintf("; did you mean %q?", near)
	} else {
		message += "; a prompt follows -p, in quotes"
	}
	return &cli.UsageError{Command: "ds4", Message: message}
}

// list is the part of the help that names the commands.
func list() string {
	var b strings.Builder
	b.WriteString("commands (each has --help):")
	for _, c := range commands {
		fmt.Fprintf(&b, "\n  ds4 %-12s %s", c.name, c.about)
	}
	return b.String()
}
