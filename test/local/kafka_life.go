package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kill ends all brokers by SIGKILL, as a lost site would; the proxies stay and refuse. Restart brings the cluster back.
func (k *Kafka) Kill() error {
	return k.each(func(_ int, n *node) error { return n.proc.Kill() })
}

// KillBroker ends one broker (0 is the first in Bootstrap) by SIGKILL. kfake's brokers live in one process, so that of
// several none can be killed alone.
func (k *Kafka) KillBroker(i int) error {
	return k.one(i, func(n *node) error { return n.proc.Kill() })
}

// RestartBroker starts a broker again, on its ports and data, and waits until the whole cluster answers.
func (k *Kafka) RestartBroker(ctx context.Context, i int) error {
	if err := k.one(i, (*node).start); err != nil {
		return err
	}
	return k.ready(ctx)
}

// PauseBroker freezes one broker (SIGSTOP), ResumeBroker lets it go on.
func (k *Kafka) PauseBroker(i int) error {
	return k.one(i, func(n *node) error { return n.proc.Pause() })
}

// ResumeBroker lets a paused broker go on.
func (k *Kafka) ResumeBroker(i int) error {
	return k.one(i, func(n *node) error { return n.proc.Resume() })
}

// HoldFollower keeps a broker from following the others, as a slow disk or network would: it is alive, serves its clients
// and holds its session, but fetches nothing, so that no high watermark of what it follows in sync moves before
// replica.lag.time.max.ms has passed. ReleaseFollower ends it. The cluster must be ProxiedReplication.
func (k *Kafka) HoldFollower(i int) { k.between.Hold(fetchers(i)) }

// ReleaseFollower ends HoldFollower.
func (k *Kafka) ReleaseFollower(i int) { k.between.Release(fetchers(i)) }

// fetchers begins the client ids of a broker's replica fetchers (ReplicaFetcherManager.createFetcherThread).
func fetchers(i int) string { return fmt.Sprintf("broker-%d-fetcher-", i+1) }

// Pause freezes all brokers: connections stay open and nothing answers.
func (k *Kafka) Pause() error {
	return k.each(func(_ int, n *node) error { return n.proc.Pause() })
}

// Resume lets paused brokers go on.
func (k *Kafka) Resume() error {
	return k.each(func(_ int, n *node) error { return n.proc.Resume() })
}

// Restart starts every broker that is not running, on the same ports and data, and waits until all answer.
func (k *Kafka) Restart(ctx context.Context) error {
	if err := k.each(func(_ int, n *node) error { return n.start() }); err != nil {
		return err
	}
	return k.ready(ctx)
}

// Running reports whether all brokers run.
func (k *Kafka) Running() bool {
	running := true
	_ = k.each(func(_ int, n *node) error { // no error comes back
		running = running && n.proc != nil && n.proc.Running()
		return nil
	})
	return running
}

// Pids are the process ids of the brokers that were started, in broker order; kfake's brokers are one process.
func (k *Kafka) Pids() []int {
	var pids []int
	_ = k.each(func(_ int, n *node) error { // no error comes back
		if n.proc != nil {
			pids = append(pids, n.proc.Pid())
		}
		return nil
	})
	return pids
}

// Stop ends brokers and proxies. The data stay in Dir. Stopping twice is harmless.
//
// Apache brokers are killed: after Stop nobody needs their orderly end, which takes seconds each.
func (k *Kafka) Stop() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var procs []*Process
	var errs []error
	for _, n := range k.nodes {
		if n.proc == nil {
			continue
		}
		if k.cfg.Kind == Apache {
			errs = append(errs, n.proc.Kill())
			continue
		}
		procs = append(procs, n.proc)
	}
	errs = append(errs, stopAll(procs, stopTimeout))
	for _, p := range slices.Concat(k.proxies, k.between) {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// Log returns the last lines of every broker's log.
func (k *Kafka) Log(lines int) string {
	var out strings.Builder
	_ = k.each(func(_ int, n *node) error { // no error comes back
		fmt.Fprintf(&out, "--- %s (%s)\n%s\n", n.spec.Name, n.spec.LogFile, tail(n.spec.LogFile, lines))
		return nil
	})
	return out.String()
}

func (n *node) start() error {
	if n.proc != nil && n.proc.Running() {
		return nil
	}
	proc, err := Start(n.spec)
	if err != nil {
		return err
	}
	n.proc = proc
	return nil
}

func (k *Kafka) each(do func(int, *node) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var errs []error
	for i, n := range k.nodes {
		errs = append(errs, do(i, n))
	}
	return errors.Join(errs...)
}

func (k *Kafka) one(i int, do func(*node) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if i < 0 || i >= len(k.brokers) {
		return fmt.Errorf("kafka %s has no broker %d: it has %d, counted from 0", k.cfg.Name, i, len(k.brokers))
	}
	if len(k.nodes) != len(k.brokers) {
		return fmt.Errorf("kafka %s: kfake's %d brokers are one process, none can be stopped alone: use Kill or an Apache cluster", k.cfg.Name, len(k.brokers))
	}
	return do(k.nodes[i])
}

// ready waits until every broker answers the super user, and lists all brokers and a controller.
func (k *Kafka) ready(ctx context.Context) error {
	k.mu.Lock()
	procs := make([]*Process, len(k.nodes))
	for i, n := range k.nodes {
		procs[i] = n.proc
	}
	k.mu.Unlock()
	for i, b := range k.brokers {
		// Only the address itself is asked: what the metadata advertise may be held in a proxy.
		cl, err := kgo.NewClient(kgo.SeedBrokers(b.direct), login(k.cfg.SuperUser), kgo.ClientID("drawbridge-local"),
			kgo.DialTimeout(2*time.Second), kgo.RequestTimeoutOverhead(5*time.Second))
		if err != nil {
			return err
		}
		what := fmt.Sprintf("broker %d of kafka %s at %s", i, k.cfg.Name, b.direct)
		err = procs[min(i, len(procs)-1)].WaitReady(ctx, what, func(ctx context.Context) error {
			req := kmsg.NewPtrMetadataRequest()
			req.Topics = []kmsg.MetadataRequestTopic{}
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			resp, err := req.RequestWith(ctx, cl.SeedBrokers()[0])
			switch {
			case err != nil:
				return err
			case len(resp.Brokers) != len(k.brokers):
				return fmt.Errorf("it sees %d of %d brokers", len(resp.Brokers), len(k.brokers))
			case resp.ControllerID < 0:
				return errors.New("no controller is known")
			case resp.ClusterID == nil || *resp.ClusterID != k.clusterID:
				return fmt.Errorf("another cluster answers there: %v", resp.ClusterID)
			}
			return nil
		})
		cl.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// dialDirect dials a broker itself when asked for its proxy.
func (k *Kafka) dialDirect(ctx context.Context, network, addr string) (net.Conn, error) {
	for _, b := range k.brokers {
		if addr == b.advertised {
			addr = b.direct
		}
	}
	return (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, network, addr)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
