// Command manifests reads the files of deploy/ as those do who will run them, and prints what they read as JSON on
// standard output: a kustomization as Kubernetes objects, a compose file as a project, a Dockerfile as stages. It is
// strict: what those would ignore or only warn of (an unknown key above all) is a fault here, exit code 1.
//
//	manifests kustomization FOLDER | compose FILE | dockerfile FILE
//
// It asks nobody: images are not looked up, and no cluster says whether it would take the objects.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	readers := map[string]func(context.Context, string) (any, error){
		"kustomization": kustomization, "compose": compose, "dockerfile": dockerfile,
	}
	if len(args) != 2 || readers[args[0]] == nil {
		return fmt.Errorf("usage: manifests kustomization FOLDER | compose FILE | dockerfile FILE")
	}
	out, err := readers[args[0]](ctx, args[1])
	if err != nil {
		return fmt.Errorf("%s: %w", args[1], err)
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", " ")
	return enc.Encode(out)
}
