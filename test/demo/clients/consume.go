package clients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/test/demo/check"
)

// ConsumerConfig says what a sample consumer reads.
type ConsumerConfig struct {
	Place Place
	Topic string
	Group string
	// Journal gets a line per record, before its offset is committed.
	Journal string
	// Limits is a file with a JSON object: how many records the group may read at
	// a site in all, as in {"east": 5}. A site that is not named has no limit, and
	// neither has a file that is not there. A member at its limit stays in its
	// group and rests.
	Limits string
	Log    *slog.Logger
}

const (
	// pollRecords bounds what is read and not committed yet.
	pollRecords = 200
	// restPoll is how often a resting member looks whether it may go on.
	restPoll = 50 * time.Millisecond
)

// Consume reads, writes down and commits until ctx ends; then it commits what it
// has written down and leaves the group.
func Consume(ctx context.Context, cfg ConsumerConfig) error {
	journal, past, err := OpenJournal[check.Read](cfg.Journal)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer journal.Close()
	client, err := kgo.NewClient(append(cfg.Place.options("demo-consumer-"+cfg.Topic),
		kgo.ConsumerGroup(cfg.Group), kgo.ConsumeTopics(cfg.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.SessionTimeout(45*time.Second), kgo.RetryTimeout(deadTimeout), kgo.RequestTimeoutOverhead(stopTimeout), kgo.HeartbeatInterval(time.Second), kgo.RebalanceTimeout(10*time.Second))...)
	if err != nil {
		return err
	}
	c := &consumer{cfg: cfg, client: client, journal: journal}
	for _, r := range past {
		if r.Site == cfg.Place.Site {
			c.read++
		}
	}
	cfg.Log.Info("consuming", "topic", cfg.Topic, "group", cfg.Group, "site", cfg.Place.Site, "read_here", c.read)
	err = c.run(ctx)
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if leave := client.LeaveGroupContext(bye); leave != nil {
		cfg.Log.Warn("group not left in order", "group", cfg.Group, "error", leave)
	}
	client.CloseAllowingRebalance()
	return err
}

type consumer struct {
	cfg     ConsumerConfig
	client  *kgo.Client
	journal *Journal[check.Read]
	read    int // at this site
}

func (c *consumer) run(ctx context.Context) error {
	for ctx.Err() == nil {
		n, err := c.allowed()
		if err != nil {
			return err
		}
		if n <= 0 {
			c.client.AllowRebalance()
			pause(ctx, restPoll)
			continue
		}
		if err := c.once(ctx, min(n, pollRecords)); err != nil {
			return err
		}
	}
	return nil
}

// once reads at most n records, writes them down and commits them.
func (c *consumer) once(ctx context.Context, n int) error {
	// A short poll, so that a changed limit is seen soon.
	poll, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	fetches := c.client.PollRecords(poll, n)
	cancel()
	defer c.client.AllowRebalance()
	fetches.EachError(func(topic string, partition int32, err error) {
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			c.cfg.Log.Warn("fetch", "topic", topic, "partition", partition, "error", err)
		}
	})
	records := fetches.Records()
	if len(records) == 0 {
		return nil
	}
	lines := make([]check.Read, len(records))
	for i, r := range records {
		name, attempt, recovered := Numbered(r)
		lines[i] = check.Read{
			At: time.Now().UTC(), Topic: r.Topic, Partition: r.Partition, Offset: r.Offset,
			Record: check.Name(name), Attempt: attempt, Site: c.cfg.Place.Site, Recovered: recovered,
		}
	}
	if err := c.journal.Append(lines...); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	c.read += len(records)
	// Also when we are told to stop: what is written down is committed.
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := c.client.CommitRecords(bye, records...); err != nil {
		c.cfg.Log.Warn("not committed: the group will get these again", "group", c.cfg.Group, "records", len(records), "error", err)
	}
	return nil
}

// allowed is how many records may still be read here.
func (c *consumer) allowed() (int, error) {
	raw, err := os.ReadFile(c.cfg.Limits)
	if errors.Is(err, fs.ErrNotExist) {
		return pollRecords, nil
	}
	if err != nil {
		return 0, fmt.Errorf("limits: %w", err)
	}
	var limits map[string]int
	if err := json.Unmarshal(raw, &limits); err != nil {
		return 0, fmt.Errorf("limits %s: %w", c.cfg.Limits, err)
	}
	limit, ok := limits[c.cfg.Place.Site]
	if !ok {
		return pollRecords, nil
	}
	return limit - c.read, nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
