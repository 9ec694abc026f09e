package activities

import (
	"context"
	"time"
)

// pollEvery is how often a wait looks when it lasts; its first pauses are shorter, from pollFirst on, because most of what is
// waited for is there soon and a recovery time is made of such waits.
const (
	pollFirst = 20 * time.Millisecond
	pollEvery = 500 * time.Millisecond
)

// poll looks at once and then after pauses that double up to pollEvery, until look says done, its error
// is for good, or within has passed (then done is false and err nil). Errors
// that another try may mend are looked past until within is over; the last one
// is returned then, if no look succeeded since.
func poll(ctx context.Context, within time.Duration, look func(context.Context) (done bool, err error)) (bool, error) {
	deadline := time.Now().Add(within)
	tick := time.NewTimer(pollFirst)
	defer tick.Stop()
	for pause := pollFirst; ; tick.Reset(pause) {
		done, err := look(ctx)
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case done && err == nil:
			return true, nil
		case err != nil && !retryable(err):
			return false, err
		case !time.Now().Before(deadline):
			return false, err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-tick.C:
			pause = min(2*pause, pollEvery)
		}
	}
}
