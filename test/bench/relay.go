package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/bench/measure"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// relayFrame is the size of what the relay receives and sends at a time; larger than most batches, as requests are.
const relayFrame = 1 * mib

// relayProcess makes the relay's process a mirror to read.
type relayProcess struct{ proc *local.Process }

func (r relayProcess) name() string                        { return "relay" }
func (r relayProcess) process() *local.Process             { return r.proc }
func (r relayProcess) begin(context.Context, string) error { return nil }
func (r relayProcess) end(context.Context, string) error   { return nil }

// relay measures the floor: what the CPU must do for a byte that is received, read once and sent on, whatever is done
// with it. Source, relay and sink are processes of their own, as brokers and mirror are.
func (s *stage) relay(ctx context.Context, size int64, repeat int) (_ measure.Relay, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("case %s, repeat %d: %w", partRelay, repeat, err)
		}
	}()
	self, err := os.Executable()
	if err != nil {
		return measure.Relay{}, err
	}
	ports, err := local.FreePorts(2)
	if err != nil {
		return measure.Relay{}, err
	}
	relayAt, sinkAt := net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0])), net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[1]))
	var procs []*local.Process
	defer func() {
		for _, p := range procs {
			err = errors.Join(err, p.Kill())
		}
	}()
	start := func(args ...string) (*local.Process, error) {
		p, err := local.Start(local.Spec{Name: args[0], Path: self, Args: args, LogFile: filepath.Join(s.dir, "relay.log")})
		if err == nil {
			procs = append(procs, p)
		}
		return p, err
	}
	sink, err := start("relay-sink", sinkAt)
	if err != nil {
		return measure.Relay{}, err
	}
	relay, err := start("relay", relayAt, sinkAt, readyFile(s.dir, relayAt))
	if err != nil {
		return measure.Relay{}, err
	}
	m := relayProcess{relay}
	s.mirrors = append(s.mirrors, m)
	defer func() { s.mirrors = s.mirrors[:len(s.mirrors)-1] }()
	// The relay listens when the sink has its connection: nothing but bytes is measured.
	err = relay.WaitReady(ctx, "the relay to listen", func(context.Context) error {
		_, err := os.Stat(readyFile(s.dir, relayAt))
		return err
	})
	if err != nil {
		return measure.Relay{}, err
	}
	from, err := s.read(m)
	if err != nil {
		return measure.Relay{}, err
	}
	source, err := start("relay-source", relayAt, strconv.FormatInt(size, 10))
	if err != nil {
		return measure.Relay{}, err
	}
	for _, p := range []*local.Process{source, sink} {
		select {
		case <-p.Done():
		case <-relay.Done():
			return measure.Relay{}, alive(m)
		case <-ctx.Done():
			return measure.Relay{}, context.Cause(ctx)
		}
		if err := p.Err(); err != nil {
			return measure.Relay{}, fmt.Errorf("%s: %w\n%s", p.Spec().Name, err, p.Log(5))
		}
	}
	to, err := s.read(m)
	if err != nil {
		return measure.Relay{}, err
	}
	r := measure.Relay{Repeat: repeat, Bytes: size, FrameBytes: relayFrame}
	var cpu measure.CPU
	r.Seconds, cpu, r.Load = to.since(from)
	r.CPUSeconds = cpu.Mirror
	r.CPUPerGB = cpu.Mirror / (float64(size) / 1e9)
	return r, nil
}

func readyFile(dir, address string) string {
	_, port, _ := net.SplitHostPort(address)
	return filepath.Join(dir, "relay-"+port)
}

// relayMain is one of the three processes.
func relayMain(ctx context.Context, part string, args []string) error {
	switch {
	case part == "relay-source" && len(args) == 2:
		size, err := strconv.ParseInt(args[1], 10, 64)
		if err != nil {
			return err
		}
		return relaySource(ctx, args[0], size)
	case part == "relay" && len(args) == 3:
		return relayBetween(ctx, args[0], args[1], args[2])
	case part == "relay-sink" && len(args) == 1:
		return relaySink(args[0])
	}
	return fmt.Errorf("%s %v: bench starts this itself", part, args)
}

// relaySource sends frames, each with its length before it.
func relaySource(ctx context.Context, to string, size int64) error {
	conn, err := dial(ctx, to)
	if err != nil {
		return err
	}
	frame := make([]byte, 4+relayFrame)
	binary.BigEndian.PutUint32(frame, relayFrame)
	for i := range frame[4:] {
		frame[4+i] = byte(i * 7)
	}
	for sent := int64(0); sent < size; sent += relayFrame {
		if _, err := conn.Write(frame); err != nil {
			return err
		}
	}
	return conn.Close()
}

// relayBetween receives frames, reads each once, and sends it on. It stays when all is done, to be looked at.
func relayBetween(ctx context.Context, at, to, ready string) error {
	out, err := dial(ctx, to)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		return err
	}
	if err := os.WriteFile(ready, nil, 0o644); err != nil {
		return err
	}
	in, err := l.Accept()
	if err != nil {
		return err
	}
	frame := make([]byte, 4+relayFrame)
	var sum uint32
	for {
		if _, err := io.ReadFull(in, frame[:4]); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		body := frame[4:][:binary.BigEndian.Uint32(frame)]
		if _, err := io.ReadFull(in, body); err != nil {
			return err
		}
		sum ^= crc32.Checksum(body, castagnoli)
		if _, err := out.Write(frame[:4+len(body)]); err != nil {
			return err
		}
	}
	fmt.Fprintf(os.Stderr, "relayed, checksum %08x\n", sum) // the sum must be wanted, or a compiler may leave it out
	if err := out.Close(); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// relaySink drops what comes, frame by frame as a broker would take it.
func relaySink(at string) error {
	l, err := net.Listen("tcp", at)
	if err != nil {
		return err
	}
	in, err := l.Accept()
	if err != nil {
		return err
	}
	frame := make([]byte, relayFrame)
	for {
		if _, err := io.ReadFull(in, frame); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// dial waits for its listener, which another process is about to make.
func dial(ctx context.Context, to string) (conn net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	err = local.WaitFor(ctx, "a listener at "+to, func(ctx context.Context) error {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", to)
		return err
	})
	return conn, err
}
