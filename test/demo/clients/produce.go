package clients

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/test/demo/check"
)

// ProducerConfig says what a sample producer sends where.
type ProducerConfig struct {
	Place Place
	Topic string
	// Input is a file with a record's number per line; what is added to it is
	// sent as it comes.
	Input string
	// Journal gets a line before each attempt and one with its outcome.
	Journal string
	// Keys is how many keys records have; 0: records have no key.
	Keys uint32
	Log  *slog.Logger
}

// inFlight bounds what has no outcome yet, and with it what is unknown when a
// cluster dies.
const inFlight = 100

// failurePause is how long nothing is sent after a failed attempt.
const failurePause = 500 * time.Millisecond

// inputPoll is how often the input is looked at.
const inputPoll = 20 * time.Millisecond

type producer struct {
	cfg     ProducerConfig
	client  *kgo.Client
	journal *Journal[check.Attempt]
	slots   chan struct{} // one per attempt without an outcome

	mu     sync.Mutex // guards what follows
	next   int64      // sequence number of the next attempt
	tries  map[check.Name]int
	again  []check.Name // outcome unknown: to be sent again
	failed time.Time    // when an attempt last failed
	fault  error        // of the journal
}

// Produce sends until ctx ends. Attempts that have no outcome then, or had none
// when an earlier life ended, are unknown; their records are sent again under a
// new attempt number.
func Produce(ctx context.Context, cfg ProducerConfig) error {
	journal, past, err := OpenJournal[check.Attempt](cfg.Journal)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer journal.Close()
	client, err := kgo.NewClient(append(cfg.Place.options("demo-producer-"+cfg.Topic),
		kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(2*inFlight), kgo.DefaultProduceTopic(cfg.Topic),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), kgo.ProduceRequestTimeout(5*time.Second))...)
	if err != nil {
		return err
	}
	p := &producer{cfg: cfg, client: client, journal: journal, slots: make(chan struct{}, inFlight), tries: map[check.Name]int{}}
	if err := p.remember(past); err != nil {
		return err
	}
	cfg.Log.Info("producing", "topic", cfg.Topic, "site", cfg.Place.Site, "already_sent", len(p.tries), "to_send_again", len(p.again))
	err = p.run(ctx)
	if flush := flush(context.WithoutCancel(ctx), client); flush != nil {
		cfg.Log.Warn("stopped with records of unknown outcome", "topic", cfg.Topic, "records", client.BufferedProduceRecords(), "error", flush)
	}
	client.Close() // what is left gets its promise, with an error
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(err, p.fault)
}

// flush waits for what is under way: for long only if somebody is there who may still take it.
func flush(ctx context.Context, client *kgo.Client) error {
	bye, cancel := context.WithTimeout(ctx, deadTimeout)
	defer cancel()
	err := client.Flush(bye)
	if err == nil {
		return nil
	}
	bye, cancel = context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if client.Ping(bye) != nil {
		return err
	}
	return client.Flush(bye)
}

// remember takes up where the last life ended.
func (p *producer) remember(past []check.Attempt) error {
	type key struct {
		record  check.Name
		attempt int
	}
	last := map[check.Name]string{} // outcome of the last attempt
	open := map[key]check.Attempt{}
	var order []check.Name
	for _, a := range past {
		p.next = max(p.next, a.Seq+1)
		k := key{a.Record, a.Attempt}
		if a.Outcome == check.Sent {
			if p.tries[a.Record] == 0 {
				order = append(order, a.Record)
			}
			p.tries[a.Record] = max(p.tries[a.Record], a.Attempt)
			open[k] = a
		} else {
			delete(open, k)
		}
		if a.Attempt == p.tries[a.Record] {
			last[a.Record] = a.Outcome
		}
	}
	for _, a := range past { // in the order of sending
		if _, ok := open[key{a.Record, a.Attempt}]; !ok || a.Outcome != check.Sent {
			continue
		}
		a.At, a.Outcome, a.Error = time.Now().UTC(), check.Unknown, "the producer ended before it knew"
		if err := p.journal.Append(a); err != nil {
			return err
		}
	}
	for _, r := range order {
		if last[r] != check.Acked {
			p.again = append(p.again, r)
		}
	}
	return nil
}

func (p *producer) run(ctx context.Context) error {
	ticker := time.NewTicker(inputPoll)
	defer ticker.Stop()
	in := input{path: p.cfg.Input, skip: len(p.tries)} // everything that was sent once is behind us
	var waiting []check.Name
	for ctx.Err() == nil && !p.faulty() {
		lines, err := in.more()
		if err != nil {
			return err
		}
		waiting = append(waiting, lines...)
		for _, r := range p.takeAgain(&waiting) {
			sent, err := p.send(ctx, r)
			if err != nil {
				return err
			}
			if !sent { // nothing behind it either: what was sent is a beginning of the input
				return nil
			}
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
	return nil // a fault of the journal is returned by Produce
}

// input reads a growing file, line by line.
type input struct {
	path string
	skip int   // lines that are passed over
	at   int64 // what is behind it has been returned
}

// more returns the whole lines that were added; none if the file is not there yet.
func (in *input) more() ([]check.Name, error) {
	file, err := os.Open(in.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("input: %w", err)
	}
	defer file.Close()
	raw, err := io.ReadAll(io.NewSectionReader(file, in.at, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("input: %w", err)
	}
	raw = raw[:bytes.LastIndexByte(raw, '\n')+1]
	in.at += int64(len(raw))
	var lines []check.Name
	for line := range bytes.Lines(raw) {
		if in.skip > 0 {
			in.skip--
			continue
		}
		lines = append(lines, check.Name(bytes.TrimSpace(line)))
	}
	return lines, nil
}

// takeAgain is what to send now: first what is to be sent again. After a failure
// it is nothing for a while, or a refused producer would number attempts as fast
// as it can.
func (p *producer) takeAgain(waiting *[]check.Name) []check.Name {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.failed) < failurePause {
		return nil
	}
	out := append(p.again, *waiting...)
	p.again, *waiting = nil, nil
	return out
}

func (p *producer) faulty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault != nil
}

// send writes the attempt down and hands it to the Kafka client. It waits while
// too many are in flight; a record that is not sent because ctx ended meanwhile
// is the next life's, as are all behind it.
func (p *producer) send(ctx context.Context, r check.Name) (sent bool, err error) {
	select {
	case <-ctx.Done():
		return false, nil
	case p.slots <- struct{}{}:
	}
	p.mu.Lock()
	p.tries[r]++
	a := check.Attempt{At: time.Now().UTC(), Outcome: check.Sent, Topic: p.cfg.Topic, Record: r, Attempt: p.tries[r], Seq: p.next, Site: p.cfg.Place.Site}
	p.next++
	p.mu.Unlock()
	if err := p.journal.Append(a); err != nil {
		return false, fmt.Errorf("journal: %w", err)
	}
	rec := &kgo.Record{
		Key: p.key(r), Value: fmt.Appendf(nil, "%s: record %s, attempt %d", p.cfg.Topic, r, a.Attempt),
		Headers: []kgo.RecordHeader{{Key: headerRecord, Value: []byte(r)}, {Key: headerAttempt, Value: fmt.Append(nil, a.Attempt)}},
	}
	// Not with ctx: what is on its way when we are told to stop may still be acknowledged.
	p.client.Produce(context.WithoutCancel(ctx), rec, func(rec *kgo.Record, err error) {
		p.learn(a, rec, err)
		<-p.slots
	})
	return true, nil
}

// learn notes an attempt's outcome. An error says that no acknowledgement came,
// not that nothing was written: the answer may have been lost.
func (p *producer) learn(a check.Attempt, rec *kgo.Record, err error) {
	a.At = time.Now().UTC()
	if err == nil {
		a.Outcome, a.Partition, a.Offset = check.Acked, rec.Partition, rec.Offset
	} else {
		a.Outcome, a.Error = check.Unknown, err.Error()
	}
	fault := p.journal.Append(a)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.again, p.failed = append(p.again, a.Record), time.Now()
	}
	p.fault = errors.Join(p.fault, fault)
}

func (p *producer) key(r check.Name) []byte {
	if p.cfg.Keys == 0 {
		return nil
	}
	h := fnv.New32a()
	h.Write([]byte(r))
	return fmt.Appendf(nil, "user-%d", h.Sum32()%p.cfg.Keys)
}
