//go:build faults

package worker

import (
	"context"
	"fmt"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"

	"github.com/drawbridge-dr/drawbridge/workflows"
)

// Files of a test build, in the working directory.
const (
	// faultsFile has one deadly place a line, "when activity step": when is
	// "before" (nothing was done) or "after" (it was done, and nobody was told);
	// activity may be "operation:activity" for Call.Operation's only; step is a
	// pattern of path.Match over Call.Step. A line is taken out before
	// it kills.
	faultsFile = "faults"
	// faultsHolds has places alike, of "before" only: who comes there waits until
	// the line is gone. It is written by renaming, so that it is always whole.
	faultsHolds = "faults.holds"
	// faultsJournal gets a line of every activity that was begun or done.
	faultsJournal = "faults.journal"
)

// holdLook is how often who is held looks whether it may go on, and heartbeats.
const holdLook = 100 * time.Millisecond

// faults end the worker by SIGKILL at the places that the test names, or hold it there, and have Temporal notice it soon.
func faults() []interceptor.WorkerInterceptor {
	return []interceptor.WorkerInterceptor{&killer{}, &haste{}}
}

type killer struct {
	interceptor.WorkerInterceptorBase
	mu sync.Mutex // guards both files
}

func (k *killer) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	i := &killerActivity{killer: k}
	i.Next = next
	return i
}

type killerActivity struct {
	interceptor.ActivityInboundInterceptorBase
	killer *killer
}

func (i *killerActivity) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	info := activity.GetInfo(ctx)
	var call workflows.Call
	if len(in.Args) > 0 {
		if f := reflect.Indirect(reflect.ValueOf(in.Args[0])).FieldByName("Call"); f.IsValid() {
			call, _ = f.Interface().(workflows.Call)
		}
	}
	i.killer.meet("before", info, call)
	if err := hold(ctx, info, call); err != nil {
		return nil, err
	}
	out, err := i.Next.ExecuteActivity(ctx, in)
	i.killer.meet("after", info, call)
	return out, err
}

// meet notes the place and dies if it is a deadly one.
func (k *killer) meet(when string, info activity.Info, call workflows.Call) {
	k.mu.Lock()
	defer k.mu.Unlock()
	place := fmt.Sprintf("%s %s %s", when, info.ActivityType.Name, call.Step)
	k.journal(fmt.Sprintf("%s\t%s\tattempt %d", call.OperationID, place, info.Attempt))
	raw, err := os.ReadFile(faultsFile)
	if err != nil {
		return // none left
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	for i, line := range lines {
		if !isPlace(line, when, info, call) {
			continue
		}
		rest := strings.Join(append(lines[:i:i], lines[i+1:]...), "\n")
		if err := os.WriteFile(faultsFile, []byte(rest), 0o600); err != nil {
			panic(err) // else it would die here for ever
		}
		k.journal("killed\t" + place)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way; nothing more is done
	}
}

// isPlace reports whether line of a faults file names this one.
func isPlace(line, when string, info activity.Info, call workflows.Call) bool {
	f := strings.SplitN(line, " ", 3)
	if len(f) < 3 || f[0] != when || f[1] != info.ActivityType.Name && f[1] != call.Operation+":"+info.ActivityType.Name {
		return false
	}
	ok, err := path.Match(f[2], call.Step)
	return err == nil && ok
}

// hold waits for as long as the place is held, and heartbeats so that it is this attempt that goes on. An attempt without a
// heartbeat ends by its time-out, and the next one is held again.
func hold(ctx context.Context, info activity.Info, call workflows.Call) error {
	tick := time.NewTicker(holdLook)
	defer tick.Stop()
	for {
		raw, _ := os.ReadFile(faultsHolds) // none: nothing is held
		held := func(line string) bool { return isPlace(line, "before", info, call) }
		if !slices.ContainsFunc(strings.Split(string(raw), "\n"), held) {
			return nil
		}
		activity.RecordHeartbeat(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (k *killer) journal(line string) {
	f, err := os.OpenFile(faultsJournal, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, line); err != nil {
		panic(err)
	}
}
