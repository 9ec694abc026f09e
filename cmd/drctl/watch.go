package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/workflows"
)

func (a *app) watchCommand() *cobra.Command {
	var every time.Duration
	cmd := &cobra.Command{
		Use: "watch PAIR", Short: "a live view of the pair's open run: steps, what it waits for, time left; to its end", Args: exactly(1),
		Long: "watch shows the open run as drctl status does, again and again in one place, with how far it is by what earlier runs took.\n" +
			"It changes nothing: Ctrl-C ends the view, not the run. When the run ends its result is printed, and the exit code is the one\n" +
			"that whoever started it gets. In a pipe, changes are lines, as with drctl status --follow; with -o json or yaml each change is\n" +
			"a document of its own, the result not included.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if every < minWatch {
				return usagef("--every %s: write %s or more", every, minWatch)
			}
			return a.watch(cmd.Context(), args[0], every)
		},
	}
	cmd.Flags().DurationVar(&every, "every", time.Second, "how often the run is asked; that costs a worker little and leaves no history")
	a.temporalFlags(cmd)
	return cmd
}

// minWatch keeps a typing error from asking a worker without a pause.
const minWatch = 200 * time.Millisecond

func (a *app) watch(ctx context.Context, pair string, every time.Duration) error {
	op, err := a.operator(ctx)
	if err != nil {
		return err
	}
	defer op.Close()
	st, err := op.Status(ctx, pair)
	switch {
	case err != nil:
		return err
	case !st.Open():
		return refusedf("no operation is open on pair %s: there is nothing to watch; `drctl status %s` shows the last, `drctl reports %s` all", pair, pair, pair)
	}
	show := a.frames(st.Run.Run)
	if show == nil {
		return a.followToEnd(ctx, op, st.Run.Run, nil)
	}
	type end struct {
		result workflows.Result
		err    error
	}
	ended := make(chan end, 1)
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		result, err := op.Result(waiting, st.Run.Run)
		ended <- end{result, err}
	}()
	tick := time.NewTicker(every)
	defer tick.Stop()
	look := func() error {
		next, err := op.Status(ctx, pair)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil: // asked again; what is shown meanwhile says that it is old
			old := st
			old.Problem = "not asked since: " + err.Error()
			return show(old)
		case next.Run == nil || next.Run.RunID != st.Run.RunID:
			return nil // that the run has ended is told by its result
		}
		st = next
		return show(st)
	}
	for err := show(st); ; err = look() {
		if err != nil {
			return err
		}
		select {
		case e := <-ended:
			if ctx.Err() == nil {
				if err := look(); err != nil {
					return err
				}
			}
			if a.output != asTable {
				return a.endedAs(ctx, st.Run.Run, e.result, e.err)
			}
			return a.ended(ctx, st.Run.Run, e.result, e.err)
		case <-tick.C:
		}
	}
}

// endedAs is ended, without its result: what was printed before were statuses.
func (a *app) endedAs(ctx context.Context, run operator.Run, result workflows.Result, err error) error {
	quiet := *a
	quiet.stdout = io.Discard
	return quiet.ended(ctx, run, result, err)
}

// frames says how a status is shown: as a document if it has changed, as a screen on a terminal; nil where lines are better.
func (a *app) frames(run operator.Run) func(operator.Status) error {
	if a.output != asTable {
		var last operator.Status
		return func(st operator.Status) error {
			if reflect.DeepEqual(st, last) {
				return nil
			}
			last = st
			return a.document(st)
		}
	}
	if _, ok := terminal(a.stdout); !ok {
		return nil
	}
	fmt.Fprint(a.stdout, goHome+eraseBelow)
	return func(st operator.Status) error {
		s := screenOf(a.stdout)
		var b bytes.Buffer
		frame(&screen{Writer: &b, width: s.width, height: s.height, colour: s.colour}, st, time.Now())
		// Over what stands there, line by line: a cleared screen flickers.
		_, err := io.WriteString(a.stdout, goHome+strings.ReplaceAll(b.String(), "\n", "\x1b[K\n")+eraseBelow)
		return err
	}
}

// document is one of a stream.
func (a *app) document(v any) error {
	if a.output == asJSON {
		enc := json.NewEncoder(a.stdout)
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	}
	raw, err := a.encode(v)
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(append([]byte("---\n"), raw...))
	return err
}

// frame draws one view. Of more steps than fit, the last are shown: the first are over.
func frame(s *screen, st operator.Status, now time.Time) {
	fmt.Fprintf(s, "%s\n\n", s.painted(fmt.Sprintf("%s of pair %s  ·  %s", describe(st.Run.Run), st.Pair, now.UTC().Format("15:04:05Z")), bold))
	var all bytes.Buffer
	draw := func(steps int) []string {
		all.Reset()
		shown := st
		if st.Detail != nil {
			d := *st.Detail
			d.Steps = d.Steps[len(d.Steps)-steps:]
			shown.Detail = &d
		}
		runTable(&screen{Writer: &all, width: s.width, colour: s.colour}, shown)
		return strings.Split(strings.TrimRight(all.String(), "\n"), "\n")
	}
	steps := 0
	if st.Detail != nil {
		steps = len(st.Detail.Steps)
	}
	lines, hidden := draw(steps), 0
	const others = 6 // title, headway, what is hidden, and a line for the cursor
	for s.height > others && len(lines) > s.height-others && steps > 1 {
		steps--
		hidden++
		lines = draw(steps)
	}
	if s.height > others && len(lines) > s.height-others {
		lines = lines[:s.height-others]
	}
	fmt.Fprintln(s, strings.Join(lines, "\n"))
	if hidden > 0 {
		fmt.Fprintf(s, "\n(%d earlier steps are not shown)\n", hidden)
	}
	if st.Detail != nil && st.Open() {
		fmt.Fprintln(s, "\n"+headwayOf(*st.Detail).text(now))
	}
}

// headwayOf is how far a run is by its status alone.
func headwayOf(d workflows.Status) headway {
	h := headway{since: d.Started, eta: d.ETA}
	for _, s := range d.Steps {
		h.stepped(s, d.Started)
	}
	if d.Waiting != nil {
		h.waiting = d.Waiting.For
	}
	return h
}
