// Command ds4-server is "ds4 serve" under the name that existing scripts use.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/ds4-go/ds4/cmd/internal/servecmd"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal ends the program
	os.Exit(servecmd.Main(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
