package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// script is the other end of a connection, played by a test.
type script struct {
	*testing.T
	conn net.Conn
}

// request reads one request and answers with its correlation id and its size.
func (s *script) request() (correlation int32, body []byte) {
	s.Helper()
	var size [4]byte
	if _, err := io.ReadFull(s.conn, size[:]); err != nil {
		s.Error(err)
		return 0, nil
	}
	body = make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(s.conn, body); err != nil {
		s.Error(err)
		return 0, nil
	}
	return int32(binary.BigEndian.Uint32(body[4:])), body
}

func (s *script) answer(correlation int32, body []byte) {
	frame := binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))
	frame = binary.BigEndian.AppendUint32(frame, uint32(correlation))
	_, _ = s.conn.Write(append(frame, body...)) // the other end may be gone: the test looks there
}

func testOptions() Options {
	return Options{ClientID: "test", Timeout: 10 * time.Second, DialTimeout: 10 * time.Second, MaxFrame: 1 << 24, Pool: &Pool{Poison: true}}
}

// pair is a connection over TCP and its other end.
func pair(t *testing.T, opts Options, wrap func(net.Conn) net.Conn) (*Conn, *script) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if wrap != nil {
		near = wrap(near)
	}
	return ends(t, opts, near, far)
}

// ends is a connection over what two ends there are. Those of a net.Pipe go by synctest's clock, so that a machine which
// has no time for a test changes nothing in it.
func ends(t *testing.T, opts Options, near, far net.Conn) (*Conn, *script) {
	t.Helper()
	c := newConn(t.Context(), near, far.LocalAddr().String(), opts)
	t.Cleanup(func() {
		far.Close()
		c.Close()
		if n := opts.Pool.Lent(); n != 0 {
			t.Errorf("%d bytes of answers were not given back", n)
		}
	})
	return c, &script{t, far}
}

// ping is a request whose body is text.
func ping(text string) Request {
	return Request{Key: keyFetch, Version: 12, Parts: net.Buffers{[]byte(text)}}
}

type outcome struct {
	n    int
	body string
	err  error
}

// send sends numbered requests, whose outcomes come to the channel.
func send(c *Conn, n int) <-chan outcome {
	out := make(chan outcome, n)
	for i := range n {
		c.Send(ping(fmt.Sprint("request ", i)), func(a Answer) {
			out <- outcome{i, string(a.Body), a.Err}
			a.Release()
		})
	}
	return out
}

func TestRequestsFollowEachOtherWithoutWaitingAndAreAnsweredInOrder(t *testing.T) {
	c, s := pair(t, testOptions(), nil)
	const n = 50
	out := send(c, n)
	for range n { // none is answered before all are there
		correlation, body := s.request()
		defer s.answer(correlation, nil)
		if key := int16(binary.BigEndian.Uint16(body)); key != keyFetch {
			t.Fatalf("request of key %d", key)
		}
		if !bytes.Contains(body, []byte("\x00\x04test")) {
			t.Fatalf("no client id in %q", body)
		}
	}
	select {
	case o := <-out:
		t.Fatalf("an outcome before any answer: %+v", o)
	default:
	}
	for i := range n {
		s.answer(int32(i), fmt.Append(nil, "answer ", i))
		if o := <-out; o.n != i || o.body != fmt.Sprint("answer ", i) || o.err != nil {
			t.Fatalf("answer %d: %+v", i, o)
		}
	}
	s.conn.Close() // the deferred answers go nowhere
}

func TestWhateverIsNoAnswerEndsTheConnection(t *testing.T) {
	for name, tc := range map[string]struct {
		play func(s *script)
		says string
	}{
		"out of turn":   {func(s *script) { s.answer(1, []byte("x")) }, "correlation id 1 that belongs to no request"},
		"too large":     {func(s *script) { _, _ = s.conn.Write([]byte{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0}) }, "2147483647 bytes, at most 16777216"},
		"negative":      {func(s *script) { _, _ = s.conn.Write([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}) }, "-1 bytes"},
		"TLS":           {func(s *script) { _, _ = s.conn.Write([]byte("\x15\x03\x03\x00\x02\x02\x28\x00")) }, "no Kafka broker, or TLS on one side"},
		"end":           {func(s *script) { s.conn.Close() }, "closed it"},
		"end in answer": {func(s *script) { _, _ = s.conn.Write([]byte{0, 0, 0, 9, 0, 0, 0, 0, 1}); s.conn.Close() }, "closed it"},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t, testOptions(), nil)
			out := send(c, 3)
			for range 3 { // or the end would be a reset
				s.request()
			}
			tc.play(s)
			for i := range 3 {
				o := <-out
				var lost *LostError
				if o.n != i || !errors.As(o.err, &lost) || !strings.Contains(o.err.Error(), tc.says) || !strings.Contains(o.err.Error(), c.Addr()) {
					t.Errorf("request %d: %+v", i, o)
				}
			}
			<-c.Lost()
			if o := <-send(c, 1); o.err == nil || !strings.Contains(o.err.Error(), tc.says) {
				t.Errorf("a request on the lost connection: %+v", o)
			}
		})
	}
}

func TestAConnectionThatDoesNotAnswerIsLostForAllWhoWait(t *testing.T) {
	opts := testOptions()
	opts.Timeout = 300 * time.Millisecond
	c, _ := pair(t, opts, nil)
	began := time.Now()
	for i, out := 0, send(c, 4); i < 4; i++ {
		if o := <-out; o.n != i || o.err == nil || !strings.Contains(o.err.Error(), "no answer to Fetch within 300ms (3 more requests waited behind it)") {
			t.Errorf("request %d: %+v", i, o)
		}
	}
	if took := time.Since(began); took < opts.Timeout || took > 100*opts.Timeout {
		t.Errorf("took %s", took)
	}
}

func TestAConnectionThatDoesNotTakeARequestIsLost(t *testing.T) {
	opts := testOptions()
	opts.Timeout = 300 * time.Millisecond
	c, _ := pair(t, opts, nil)
	out := make(chan error, 1)
	c.Send(Request{Key: keyProduce, Version: 9, Parts: net.Buffers{make([]byte, 64<<20)}}, func(a Answer) { out <- a.Err })
	if err := <-out; err == nil || !strings.Contains(err.Error(), "within 300ms") {
		t.Errorf("got %v", err)
	}
}

// A broker that needs most of the time for each request is slow, not lost: it
// did not look at the second one before it had answered the first.
func TestARequestsTimeBeginsWithTheAnswerBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := testOptions()
		near, far := net.Pipe()
		c, s := ends(t, opts, near, far)
		go func() { // a pipe holds nothing
			for range 4 {
				s.request()
			}
		}()
		out := send(c, 4)
		for i := range 4 {
			<-time.After(opts.Timeout * 5 / 8)
			s.answer(int32(i), nil)
			if o := <-out; o.err != nil {
				t.Fatalf("request %d: %v", i, o.err)
			}
		}
	})
}

// A large answer over a slow line takes longer than a request may wait.
func TestAnAnswerThatComesInSlowlyIsNoLostConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := testOptions()
		near, far := net.Pipe()
		c, s := ends(t, opts, near, far)
		go s.request() // a pipe holds nothing
		out := send(c, 1)
		body := bytes.Repeat([]byte("slow"), 4)
		frame := append(binary.BigEndian.AppendUint32(nil, uint32(4+len(body))), 0, 0, 0, 0)
		if _, err := s.conn.Write(frame); err != nil {
			t.Fatal(err)
		}
		for _, b := range body {
			<-time.After(opts.Timeout / 8)
			if _, err := s.conn.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		if o := <-out; o.err != nil || o.body != string(body) {
			t.Errorf("got %+v", o)
		}
	})
}

func TestABrokersThrottleGivesWhatWaitsMoreTime(t *testing.T) {
	opts := testOptions()
	opts.Timeout = 250 * time.Millisecond
	c, s := pair(t, opts, nil)
	c.Excuse(time.Minute)
	out := send(c, 1)
	correlation, _ := s.request()
	<-time.After(2 * opts.Timeout)
	s.answer(correlation, []byte("late"))
	if o := <-out; o.err != nil || o.body != "late" {
		t.Errorf("got %+v", o)
	}
}

func TestTheEndOfTheContextEndsTheConnectionAtOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	opts := testOptions()
	opts.Timeout = time.Hour
	c := newConn(ctx, nc, l.Addr().String(), opts)
	out := send(c, 2)
	cancel()
	for range 2 {
		if o := <-out; !errors.Is(o.err, ErrClosed) {
			t.Errorf("got %+v", o)
		}
	}
	<-c.Lost()
}

func TestAskEndsWithItsContextAndLeavesNoBuffer(t *testing.T) {
	opts := testOptions()
	opts.Timeout = time.Hour
	c, s := pair(t, opts, nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { s.request(); cancel() }()
	req := kmsg.NewPtrFetchRequest()
	req.Version = 12
	if _, err := c.Ask(ctx, req); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// slowWriter is a connection whose writes end only when they are told to, even
// if it was closed meanwhile: as a kernel may still be copying.
type slowWriter struct {
	net.Conn
	writing atomic.Bool
	begun   chan struct{}
	end     chan struct{}
	once    sync.Once
}

func (w *slowWriter) Write(p []byte) (int, error) {
	w.writing.Store(true)
	w.once.Do(func() { close(w.begun) })
	<-w.end
	w.writing.Store(false)
	return 0, net.ErrClosed
}

// The bytes of a request belong to its connection until done is called: the
// owner of a batch may then use them for other things. A connection that is lost
// in the middle of a write must not tell so before the write has ended.
func TestNobodyIsToldOfALossWhileItsBytesAreBeingWritten(t *testing.T) {
	w := &slowWriter{begun: make(chan struct{}), end: make(chan struct{})}
	c, s := pair(t, testOptions(), func(nc net.Conn) net.Conn { w.Conn = nc; return w })
	told := make(chan bool, 1)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		c.Send(ping("batch"), func(Answer) { told <- w.writing.Load() })
	}()
	<-w.begun
	s.conn.Close()
	for c.Err() == nil { // the reader has noticed
		select {
		case <-told:
			t.Fatal("told while the write was under way")
		case <-time.After(time.Millisecond):
		}
	}
	select {
	case <-told:
		t.Fatal("told while the write was under way")
	case <-time.After(50 * time.Millisecond):
	}
	close(w.end)
	if <-told {
		t.Fatal("told while the write was under way")
	}
	<-sent
}
