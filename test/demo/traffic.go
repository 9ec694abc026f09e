package main

import (
	"context"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// traffic is what DEMO_SEED varies: how clicks flow.
type traffic struct {
	PerSecond int // records a second
	Before    int // acknowledged at home before the link is held
	Behind    int // acknowledged at home after that: most of them lag
	ReadOn    int // records that the group reads on at home after that
	Total     int // over the whole story, at least
	// Steady traffic keeps its pace to the end.
	Steady bool
}

// fullSpeed is traffic that never rests.
func fullSpeed(seed uint64) traffic {
	t := newTraffic(seed)
	return traffic{PerSecond: 4 * t.PerSecond, Before: 2 * t.Before, Steady: true}
}

func newTraffic(seed uint64) traffic {
	rng := rand.New(rand.NewPCG(seed, 0x647261776272)) //nolint:gosec // to be repeated, not to be secret
	return traffic{
		PerSecond: 150 + rng.IntN(150),
		Before:    1500 + rng.IntN(1500),
		Behind:    150 + rng.IntN(450),
		ReadOn:    1 + rng.IntN(100),
		Total:     10_200 + rng.IntN(1500),
	}
}

// afterwards is how many records come at least once everybody is home again.
const afterwards = 600

// flow gives the application records to send, at the traffic's rate, until
// homecoming is closed and Total is reached: slower once there are almost enough,
// faster when only the rest is waited for. It returns how many it gave.
func (t traffic) flow(ctx context.Context, a *app, homecoming <-chan struct{}) (int, error) {
	const beat = 50 * time.Millisecond
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	n, last := 0, math.MaxInt
	due, at := 0.0, time.Now() // records that time owes
	for n < last {
		rate := float64(t.PerSecond)
		switch {
		case t.Steady:
		case homecoming == nil:
			rate *= 10
		case n >= t.Total-afterwards:
			rate /= 10 // a slow machine must not drown in clicks
		}
		now := time.Now()
		due, at = due+rate*now.Sub(at).Seconds(), now
		select {
		case <-ctx.Done():
			return n, nil
		case <-homecoming:
			homecoming, last = nil, max(t.Total, n+afterwards)
			continue
		case <-ticker.C:
		}
		var names []string
		for ; due >= 1 && n < last; n++ {
			names = append(names, strconv.Itoa(n+1))
			due--
		}
		if len(names) == 0 {
			continue
		}
		if err := a.produce(names...); err != nil {
			return n, err
		}
	}
	return n, nil
}
