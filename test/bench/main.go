// Command bench races the mirroring engine against MirrorMaker 2 on two Apache Kafka clusters on loopback. `make bench`
// runs it; what was measured is printed, and stands in out/bench-mirror.json and out/bench-mirror.md.
//
// QUICK=1 keeps it under ten minutes on two cores. CASES=none_1k,tiny,… measures only some: the cases of package measure,
// and latency and relay.
//
// It refuses to report a mirror that is not exact (count and digest of each partition), and it judges nothing else: ratios
// below the wanted ones are shown as missed. The order of everything is in race.go; a catch-up is in catchup.go, the
// latency in latency.go; what is raced in engine.go, mirrormaker.go and plain.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/drawbridge-dr/drawbridge/test/bench/measure"
)

func main() { os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr)) }

// Exit codes.
const (
	exitOK    = 0
	exitFault = 1 // something could not be measured, or a mirror is not exact
	exitUsage = 2
	exitEnded = 130 // by Ctrl-C
)

func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(args) > 0 {
		if err := child(ctx, args, getenv); err != nil && ctx.Err() == nil {
			fmt.Fprintln(stderr, "bench:", err)
			return exitFault
		}
		return exitOK
	}
	opts, err := options(getenv)
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitUsage
	}
	if err := race(ctx, opts, stdout); err != nil {
		if ctx.Err() != nil {
			fmt.Fprintln(stderr, "bench: ended by a signal")
			return exitEnded
		}
		fmt.Fprintln(stderr, "bench:", err)
		return exitFault
	}
	return exitOK
}

// child is one of the processes that bench starts of itself.
func child(ctx context.Context, args []string, getenv func(string) string) error {
	switch args[0] {
	case "plain":
		return plainMain(ctx, getenv)
	case "relay-source", "relay", "relay-sink":
		return relayMain(ctx, args[0], args[1:])
	}
	return fmt.Errorf("unknown argument %q: QUICK and CASES are environment variables", args[0])
}

// Options of a race.
type Options struct {
	Quick bool
	Cases []string // empty: all
	sizes sizes
	Out   string // folder of the report
}

// Parts that may be asked for besides the cases.
const (
	partLatency = "latency"
	partRelay   = "relay"
)

func options(getenv func(string) string) (Options, error) {
	o := Options{Out: "out", sizes: fullSizes}
	if quick := getenv("QUICK"); quick != "" && quick != "0" {
		o.Quick, o.sizes = true, quickSizes
	}
	known := []string{partLatency, partRelay}
	for _, w := range workloads {
		known = append(known, w.name)
	}
	var faults []error
	if list := getenv("CASES"); list != "" {
		o.Cases = strings.Split(list, ",")
	}
	for _, name := range o.Cases {
		if !slices.Contains(known, name) {
			faults = append(faults, fmt.Errorf("CASES: there is no case %q; there are: %s", name, strings.Join(known, ", ")))
		}
	}
	// Half load is half of what that case measures.
	if slices.Contains(o.Cases, partLatency) && !slices.Contains(o.Cases, measure.None1K) {
		faults = append(faults, fmt.Errorf("CASES: %s needs %s too, which tells what half load is", partLatency, measure.None1K))
	}
	return o, errors.Join(faults...)
}

// wants says whether a case or part was asked for.
func (o Options) wants(name string) bool { return len(o.Cases) == 0 || slices.Contains(o.Cases, name) }
