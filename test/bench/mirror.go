package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/bench/measure"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// mirror is what is raced: a running process that can be given topics.
type mirror interface {
	name() string
	process() *local.Process
	// begin makes it mirror a topic of the source, which it may need a while to find.
	begin(ctx context.Context, topic string) error
	// end makes it let go of a topic that is to be deleted.
	end(ctx context.Context, topic string) error
}

// stopTimeout is how long a process may take to end by itself.
const stopTimeout = 20 * time.Second

// stop ends a mirror's process.
func (s *stage) stop(m mirror) error {
	s.mirrors = slices.DeleteFunc(s.mirrors, func(other mirror) bool { return other == m })
	return m.process().Stop(stopTimeout)
}

// alive is an error if a mirror has ended.
func alive(m mirror) error {
	p := m.process()
	if p.Running() {
		return nil
	}
	return fmt.Errorf("%s has ended (%w); end of its log:\n%s", m.name(), errors.Join(p.Err(), errors.New("nobody asked it to")), p.Log(30))
}

// reading is what all processes have used at a moment.
type reading struct {
	at                   time.Time
	mirror, source, dest time.Duration
	ours                 time.Duration // of all processes of the race, this one too
	system               measure.System
}

func (s *stage) read(m mirror) (r reading, err error) {
	cpu := func(pid int) time.Duration {
		d, cpuErr := measure.ProcessCPU(pid)
		err = errors.Join(err, cpuErr)
		return d
	}
	r.at = time.Now()
	r.mirror, r.source, r.dest = cpu(m.process().Pid()), cpu(s.src.Pids()[0]), cpu(s.dst.Pids()[0])
	r.ours = r.source + r.dest + cpu(os.Getpid())
	for _, other := range s.mirrors {
		r.ours += cpu(other.process().Pid())
	}
	system, systemErr := measure.SystemCPU()
	r.system = system
	return r, errors.Join(err, systemErr)
}

// since is what was used between two readings.
func (r reading) since(from reading) (seconds float64, cpu measure.CPU, load measure.Load) {
	elapsed := r.at.Sub(from.at)
	cpu = measure.CPU{
		Mirror: (r.mirror - from.mirror).Seconds(), SourceBroker: (r.source - from.source).Seconds(), DestBroker: (r.dest - from.dest).Seconds(),
	}
	return elapsed.Seconds(), cpu, measure.LoadBetween(from.system, r.system, r.ours-from.ours, elapsed)
}
