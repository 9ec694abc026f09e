//go:build unix

package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/drawbridge-dr/drawbridge/client"
)

// Config of one supervised command.
type Config struct {
	Pair, Group string
	// Instance names this process among the group's, in its acknowledgements.
	Instance string
	// Command is the program and its arguments, which may hold placeholders (see values).
	Command []string
	// Credentials are env files by site; empty: the child gets none. With some, a site without one is a fault.
	Credentials map[string]string
	// Resolve puts secrets in the place of references in the values of those files, at each start; nil: values are as
	// they stand there.
	Resolve func(value string) (string, error)
	// Pass names variables of drctl's own credentials that the child gets all the same.
	Pass []string
	// KillTimeout is how long the child has between SIGTERM and SIGKILL. It should exceed what a producer needs to flush
	// (delivery.timeout.ms), and a freeze waits for it.
	KillTimeout time.Duration
	// Splay bounds a random pause before a start that the record causes, so that a fleet does not reconnect at once. The
	// first start and every stop are immediate.
	Splay time.Duration
	// Restart starts a child that ended by itself again, after 1 s doubling to 30 s; without it its end is ours.
	Restart bool
	// Stdin, Stdout and Stderr are the child's.
	Stdin, Stdout, Stderr *os.File
	// Ack writes an acknowledgement.
	Ack func(context.Context, client.Ack) error
	Log *slog.Logger
}

// Validate reports all faults at once.
func (c Config) Validate() error {
	_, err := newCommand(c)
	faults := []error{err, client.Ack{Pair: c.Pair, Group: c.Group, Instance: c.Instance, State: client.Stopped}.Validate()}
	if c.KillTimeout <= 0 {
		faults = append(faults, fmt.Errorf("kill timeout %s: it must be positive, or nothing could flush", c.KillTimeout))
	}
	if c.Splay < 0 {
		faults = append(faults, fmt.Errorf("splay %s is negative", c.Splay))
	}
	for site, file := range c.Credentials {
		if _, err := readEnvFile(file); err != nil {
			faults = append(faults, fmt.Errorf("site %s: %w", site, err))
		}
	}
	return errors.Join(append(faults, mayPass(c.Pass)...)...)
}

// Run follows updates until the command has ended for good, and returns the exit code to end with: the child's own, 128 + n
// when signal n ended it (or us, while no child ran), 126 or 127 when it could not be started. Signals that come in are
// passed on to the child's process group; SIGINT and SIGTERM also end the supervision. When ctx ends the child is stopped as
// for a freeze.
func Run(ctx context.Context, cfg Config, updates <-chan client.Update, signals <-chan os.Signal) (int, error) {
	if err := cfg.Validate(); err != nil {
		return 0, err
	}
	cmd, err := newCommand(cfg)
	if err != nil {
		return 0, err
	}
	runtime.LockOSThread() // see dieWithParent; no child is left when we return
	defer runtime.UnlockOSThread()
	s := &supervisor{Config: cfg, command: cmd, acks: client.NewAcknowledger(cfg.Ack, cfg.Log), backOff: firstBackOff}
	ackCtx, stopAcks := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stopAcks()
	wg.Go(func() { s.acks.Run(ackCtx) })
	return s.run(ctx, updates, signals)
}

const (
	firstBackOff = time.Second
	maxBackOff   = 30 * time.Second
	// groupPoll is the pause between two looks at a process group whose leader has ended.
	groupPoll = 20 * time.Millisecond
)

// supervisor is one Run; only its goroutine touches it.
type supervisor struct {
	Config
	command command
	acks    *client.Acknowledger

	want    *target // what the newest record asks; nil before the first
	child   *child  // nil: none runs
	start   *time.Timer
	backOff time.Duration
	started bool // a child was started before: the next start is splayed

	stopping bool        // the child was sent SIGTERM by us
	kill     *time.Timer // when it runs out the child's group is killed
	ending   bool        // no further start
	code     int
}

func (s *supervisor) run(ctx context.Context, updates <-chan client.Update, signals <-chan os.Signal) (int, error) {
	done := ctx.Done()
	for {
		if s.child == nil && s.ending {
			return s.code, nil
		}
		select {
		case <-done:
			done = nil
			s.end(codeSignalBase + int(syscall.SIGTERM))
			s.stop("asked to end")
		case u, ok := <-updates:
			if !ok {
				updates = nil
				continue
			}
			s.follow(u)
		case sig := <-signals:
			s.pass(sig)
		case <-fires(s.start):
			s.start = nil
			if code, err := s.launch(); err != nil {
				// What ran before is brought up again as soon as it can be: a flip is no time to give up because a vault, or
				// the file that its agent writes, comes a moment later.
				if !s.Restart && !s.started {
					return code, err
				}
				s.Log.Error("child not started, will try again", "site", s.want.place.Site, "err", err)
				s.later(s.nextBackOff())
			}
		case <-fires(s.kill):
			s.kill = nil
			s.Log.Warn("child still there after the kill timeout, killing its process group", "timeout", s.KillTimeout)
			s.signal(syscall.SIGKILL)
		case <-s.childDone():
			if err := s.ended(); err != nil {
				return 1, err
			}
		}
	}
}

// follow takes a new record.
func (s *supervisor) follow(u client.Update) {
	t, err := aim(u.Record, s.Group)
	if err != nil {
		s.Log.Error("record names no servers for this group; what runs goes on as it is", "group", s.Group, "err", err)
		return
	}
	s.want = &t
	s.settle()
}

// settle brings what runs nearer to what is wanted. It is called after every event and does nothing twice.
func (s *supervisor) settle() {
	switch {
	case s.want == nil, s.stopping:
	case s.child != nil && !s.child.target.keeps(*s.want):
		s.stop(fmt.Sprintf("record of epoch %d: phase %s, site %s", s.want.epoch, s.want.phase, s.want.place.Site))
	case s.child != nil:
		s.acknowledge(client.Running, s.child.target.place.Site)
	case s.ending:
	case !s.want.begin:
		s.cancelStart()
		s.acknowledge(client.Stopped, "")
	case s.start == nil && !s.started:
		s.later(0)
	case s.start == nil:
		s.later(splay(s.Splay))
	}
}

// launch starts the child; on a fault it returns the exit code to end with.
func (s *supervisor) launch() (int, error) {
	argv, env, err := s.command.forTarget(*s.want)
	if err != nil {
		return 1, err
	}
	c, err := startChild(argv, env, *s.want, s.Stdin, s.Stdout, s.Stderr)
	if err != nil {
		return startFailureCode(err), err
	}
	s.child, s.started = c, true
	s.Log.Info("child started", "pid", c.cmd.Process.Pid, "site", s.want.place.Site, "epoch", s.want.epoch, "group", s.Group)
	s.settle()
	return 0, nil
}

// stop sends SIGTERM and arms the kill timeout.
func (s *supervisor) stop(why string) {
	s.cancelStart()
	if s.child == nil || s.stopping {
		return
	}
	s.Log.Info("stopping child", "pid", s.child.cmd.Process.Pid, "reason", why)
	s.stopping = true
	s.kill = time.NewTimer(s.KillTimeout)
	s.signal(syscall.SIGTERM)
	s.signal(syscall.SIGCONT) // a stopped process does not see SIGTERM
}

// ended: the child's leader has ended, by us or by itself.
func (s *supervisor) ended() error {
	c, byUs := s.child, s.stopping
	if err := s.awaitGroup(c); err != nil {
		return err
	}
	s.child, s.stopping = nil, false
	if s.kill != nil {
		s.kill.Stop()
		s.kill = nil
	}
	s.Log.Info("child ended", "pid", c.cmd.Process.Pid, "code", c.code, "stopped_by_us", byUs)
	switch {
	case s.ending, !byUs && !s.Restart:
		s.ending, s.code = true, c.code
	case !byUs:
		if time.Since(c.began) > time.Minute {
			s.backOff = firstBackOff
		}
		s.acknowledge(client.Stopped, "")
		if s.want.begin {
			s.later(s.nextBackOff())
		}
	default:
		s.acknowledge(client.Stopped, "")
		s.settle()
	}
	return nil
}

// awaitGroup waits until nothing that the child has started is left, killing it when the kill timeout is over:
// acknowledging while a forgotten grandchild still produces would be a lie.
func (s *supervisor) awaitGroup(c *child) error {
	if c.gone() {
		return nil
	}
	if s.kill == nil {
		s.Log.Warn("child has ended and left processes behind, telling them to stop; a command must stay in the foreground", "pgid", c.cmd.Process.Pid)
		s.kill = time.NewTimer(s.KillTimeout)
		s.signal(syscall.SIGTERM)
	}
	poll := time.NewTicker(groupPoll)
	defer poll.Stop()
	killed := 0
	for !c.gone() {
		select {
		case <-poll.C:
			// Zombies that nobody reaps keep a group's id in use (we may be process 1 of a container); they do nothing.
			if killed++; s.kill == nil && killed > int(5*time.Second/groupPoll) {
				s.Log.Warn("process group is not empty after SIGKILL; taken for zombies", "pgid", c.cmd.Process.Pid)
				return nil
			}
		case <-fires(s.kill):
			s.kill, killed = nil, 0
			if err := c.signal(syscall.SIGKILL); err != nil {
				return err
			}
		}
	}
	return nil
}

// pass hands a signal on. INT and TERM also end the supervision; after TERM the kill timeout runs.
func (s *supervisor) pass(sig os.Signal) {
	n, ok := sig.(syscall.Signal)
	if !ok {
		return
	}
	if n == syscall.SIGINT || n == syscall.SIGTERM {
		s.cancelStart()
		s.end(codeSignalBase + int(n))
	}
	if s.child == nil {
		return
	}
	s.signal(n)
	if n == syscall.SIGTERM && s.kill == nil {
		s.kill = time.NewTimer(s.KillTimeout)
	}
}

// end makes the next end of the child, or its absence, our own.
func (s *supervisor) end(code int) {
	if !s.ending {
		s.ending, s.code = true, code
	}
}

func (s *supervisor) signal(n syscall.Signal) {
	if err := s.child.signal(n); err != nil {
		s.Log.Error("signal child", "err", err)
	}
}

func (s *supervisor) acknowledge(state client.AckState, site string) {
	if s.want == nil {
		return
	}
	s.acks.Say(client.Ack{Pair: s.Pair, Group: s.Group, Instance: s.Instance, Epoch: s.want.epoch, Phase: s.want.phase, State: state, Site: site})
}

func (s *supervisor) childDone() <-chan struct{} {
	if s.child == nil {
		return nil
	}
	return s.child.done
}

func (s *supervisor) later(d time.Duration) { s.start = time.NewTimer(d) }

func (s *supervisor) cancelStart() {
	if s.start != nil {
		s.start.Stop()
		s.start = nil
	}
}

func (s *supervisor) nextBackOff() time.Duration {
	d := s.backOff
	s.backOff = min(2*s.backOff, maxBackOff)
	return d/2 + rand.N(d/2+1)
}

// splay is a random part of d.
func splay(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}

// fires is a timer's channel, nil (never) for no timer.
func fires(t *time.Timer) <-chan time.Time {
	if t == nil {
		return nil
	}
	return t.C
}
