// Command failover measures what a failover of many topics takes: from the approval until the standby takes writes, and until
// clients are proven to have moved. `make bench-failover` runs it; what was measured is printed, and stands in
// out/bench-failover.json and out/bench-failover.md.
//
// Everything is a process on loopback (two Kafkas, two Consuls, Temporal, engines, worker), fresh for each run; the Kafkas are
// embedded ones (kfake) unless KAFKA=real. The home site is killed -9 before each run. Beside the runbook stand, over the same
// engine in the same state, a sequential script (one call per topic), and one call for all topics: neither attests, asks,
// fences, records, flips nor moves clients, so that they show what the engine alone takes.
//
// QUICK=1 takes fewer topics and one repeat; CASES=100,1000,… only some sizes, WAYS=script,… only some ways beside the runbook (none: the runbook
// alone), REPEATS=n other repeats than 3. The order of everything is in bench.go, a run of the runbook in runbook.go, the others in script.go, the
// arithmetic in report.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

func main() { os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr)) }

// Exit codes.
const (
	exitOK    = 0
	exitFault = 1 // something could not be measured, or a failover did not do what it must
	exitUsage = 2
	exitEnded = 130 // by Ctrl-C
)

func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	opts, err := options(args, getenv)
	if err != nil {
		fmt.Fprintln(stderr, "bench-failover:", err)
		return exitUsage
	}
	switch err := bench(ctx, opts, stdout); {
	case err != nil && ctx.Err() != nil:
		fmt.Fprintln(stderr, "bench-failover: ended by a signal")
		return exitEnded
	case err != nil:
		fmt.Fprintln(stderr, "bench-failover:", err)
		return exitFault
	}
	return exitOK
}

// Options of a bench.
type Options struct {
	Sizes   []size
	Kind    local.KafkaKind
	Repeats int
	Quick   bool
	Ways    []string // direct ways that are run beside the runbook
	Out     string   // folder of the report
}

// size is how much one run fails over.
type size struct {
	Name               string
	Topics, Partitions int // Partitions of each topic
	// Scripts are run beside the runbook.
	Scripts bool
}

// few and many are the sizes that growth is measured between.
const few, many = "100", "1000"

var (
	full = []size{
		{Name: "1", Topics: 1, Partitions: 1},
		{Name: few, Topics: 100, Partitions: 1, Scripts: true},
		{Name: many, Topics: 1000, Partitions: 1, Scripts: true},
		{Name: "10000 partitions", Topics: 1000, Partitions: 10},
	}
	quick = []size{
		{Name: "1", Topics: 1, Partitions: 1},
		{Name: few, Topics: 100, Partitions: 1, Scripts: true},
		{Name: "2000 partitions", Topics: 200, Partitions: 10},
	}
)

func options(args []string, getenv func(string) string) (Options, error) {
	o := Options{Out: "out", Sizes: full, Ways: ways, Repeats: 3, Kind: local.KFake}
	if q := getenv("QUICK"); q != "" && q != "0" {
		o.Quick, o.Sizes, o.Repeats = true, quick, 1
	}
	var faults []error
	if len(args) > 0 {
		faults = append(faults, fmt.Errorf("unknown argument %q: QUICK, CASES, REPEATS and KAFKA are environment variables", args[0]))
	}
	switch kind := getenv("KAFKA"); kind {
	case "":
	case "real":
		o.Kind = local.Apache
	default:
		faults = append(faults, fmt.Errorf("KAFKA=%s: leave it out for the embedded Kafka, or say real for Apache Kafka", kind))
	}
	if n := getenv("REPEATS"); n != "" {
		var err error
		if o.Repeats, err = strconv.Atoi(n); err != nil || o.Repeats < 1 {
			faults = append(faults, fmt.Errorf("REPEATS=%s: give a number from 1", n))
		}
	}
	if list := getenv("WAYS"); list == "none" {
		o.Ways = nil
	} else if list != "" {
		o.Ways = strings.Split(list, ",")
		for _, w := range o.Ways {
			if !slices.Contains(ways, w) {
				faults = append(faults, fmt.Errorf("WAYS: there is no way %q beside the runbook; there are: %s, or none", w, strings.Join(ways, ", ")))
			}
		}
	}
	if list := getenv("CASES"); list != "" {
		names, all := []string{}, o.Sizes
		o.Sizes = nil
		for _, s := range all {
			names = append(names, s.Name)
		}
		for _, want := range strings.Split(list, ",") {
			i := slices.Index(names, want)
			if i < 0 {
				faults = append(faults, fmt.Errorf("CASES: there is no size %q; there are: %s", want, strings.Join(names, ", ")))
				continue
			}
			o.Sizes = append(o.Sizes, all[i])
		}
	}
	return o, errors.Join(faults...)
}
