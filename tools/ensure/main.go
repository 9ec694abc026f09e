// Command ensure makes the servers ready that tests and the demo run beside Drawbridge, so that a first build (minutes)
// happens before a test's clock starts. It prints where each one is.
//
//	go run ./tools/ensure temporal-dev consul
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "ensure:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, names []string) error {
	for _, name := range names {
		path, err := local.Tool(ctx, name)
		if err != nil {
			return err
		}
		fmt.Printf("%s is %s\n", name, path)
	}
	return nil
}
