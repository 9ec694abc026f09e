package activities

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// slackEvery is how often Slack takes a message for one channel, threads among it
// (docs.slack.dev, Rate limits: "1 message per second to a specific channel").
const slackEvery = time.Second

// pace gives each message for a channel its second. It is this process's own: what others
// write there is found out by Slack's asking for a pause, which holds for all.
type pace struct {
	every time.Duration // 0: slackEvery

	mu   sync.Mutex           // guards next
	next map[string]time.Time // channel → not before
}

// turn waits until a message may be written. Whoever cannot be served within its time
// takes no second of anybody else's.
func (p *pace) turn(ctx context.Context, channel string) error {
	every := p.every
	if every == 0 {
		every = slackEvery
	}
	now := time.Now()
	p.mu.Lock()
	at := p.next[channel]
	if at.Before(now) {
		at = now
	}
	if till, ok := ctx.Deadline(); ok && till.Before(at) {
		p.mu.Unlock()
		return fmt.Errorf("slack takes a message every %s in channel %s, and others come first", every, channel)
	}
	if len(p.next) > 1000 { // of channels that nobody has written to lately
		p.next = nil
	}
	if p.next == nil {
		p.next = map[string]time.Time{}
	}
	p.next[channel] = at.Add(every)
	p.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(at.Sub(now)):
		return nil
	}
}

// rest keeps everybody from a channel for a pause that Slack has asked for.
func (p *pace) rest(channel string, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := time.Now().Add(wait); p.next != nil && p.next[channel].Before(at) {
		p.next[channel] = at
	}
}
