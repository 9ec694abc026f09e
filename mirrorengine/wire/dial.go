package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
)

// Api keys (kafka.apache.org/protocol, "Api Keys").
const (
	keyProduce     int16 = 0
	keyFetch       int16 = 1
	keyAPIVersions int16 = 18
)

// maxLogin bounds a login's life, so that no broker's number overflows a time.
const maxLogin = 30 * 24 * time.Hour

// Dial makes a usable connection: versions are agreed on and the login is done.
// The connection ends with ctx.
func Dial(ctx context.Context, addr string, opts Options) (*Conn, error) {
	dctx, cancel := context.WithTimeout(ctx, opts.DialTimeout)
	defer cancel()
	nc, err := opts.Dial(dctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	c := newConn(ctx, nc, addr, opts)
	if err = c.agree(dctx); err == nil {
		err = c.login(dctx)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return c, nil
}

// agree asks for the broker's versions. One that does not know the request's
// version says so in version 0 (KIP-511).
func (c *Conn) agree(ctx context.Context) error {
	req := kmsg.NewPtrApiVersionsRequest()
	if c.opts.Software != "" { // version 3 wants a name
		req.Version = 3
		req.ClientSoftwareName, req.ClientSoftwareVersion = c.opts.Software, c.opts.SoftwareVersion
	}
	for {
		a, err := c.Ask(ctx, req)
		if err != nil {
			return err
		}
		res := kmsg.NewPtrApiVersionsResponse()
		res.Version = req.Version
		if len(a.Body) >= 2 && int16(binary.BigEndian.Uint16(a.Body)) == kerr.UnsupportedVersion.Code {
			res.Version = 0
		}
		err = res.ReadFrom(a.Body)
		a.Release()
		if err != nil {
			return fmt.Errorf("answer to ApiVersions: %w", err)
		}
		err = kerr.ErrorForCode(res.ErrorCode)
		if errors.Is(err, kerr.UnsupportedVersion) && req.Version > 0 {
			req.Version = 0
			continue
		}
		if err != nil {
			return fmt.Errorf("ApiVersions: %w", err)
		}
		c.ranges = make(map[int16]versionRange, len(res.ApiKeys))
		for _, k := range res.ApiKeys {
			c.ranges[k.ApiKey] = versionRange{k.MinVersion, k.MaxVersion}
		}
		return nil
	}
}

// login goes through SaslHandshake and SaslAuthenticate (KIP-152).
func (c *Conn) login(ctx context.Context) error {
	if len(c.opts.SASL) == 0 {
		return nil
	}
	mechanism, err := c.handshake(ctx)
	if err != nil {
		return err
	}
	version, err := c.Version((*kmsg.SASLAuthenticateRequest)(nil).Key(), 0, 2)
	if err != nil {
		return err
	}
	session, say, err := mechanism.Authenticate(ctx, c.addr)
	if err != nil {
		return fmt.Errorf("login by %s: %w", mechanism.Name(), err)
	}
	for done := false; !done || len(say) > 0; {
		asked := time.Now()
		req, res := kmsg.NewPtrSASLAuthenticateRequest(), kmsg.NewPtrSASLAuthenticateResponse()
		req.Version, req.SASLAuthBytes = version, say
		if err := c.exchange(ctx, req, res); err != nil {
			return fmt.Errorf("login by %s: %w", mechanism.Name(), err)
		}
		if err := kerr.ErrorForCode(res.ErrorCode); err != nil {
			if res.ErrorMessage != nil && *res.ErrorMessage != "" {
				err = fmt.Errorf("%w (%s)", err, *res.ErrorMessage)
			}
			return fmt.Errorf("login by %s: %w", mechanism.Name(), err)
		}
		if life := time.Duration(min(res.SessionLifetimeMillis, maxLogin.Milliseconds())) * time.Millisecond; life > 0 {
			// The broker closes a connection that is used after that (KIP-368). A new
			// one is made in time instead of logging in anew on this one.
			c.expires = asked.Add(life * 8 / 10)
		}
		say = nil
		if !done {
			if done, say, err = session.Challenge(res.SASLAuthBytes); err != nil {
				return fmt.Errorf("login by %s: %w", mechanism.Name(), err)
			}
		}
	}
	return nil
}

// handshake agrees on a mechanism.
func (c *Conn) handshake(ctx context.Context) (sasl.Mechanism, error) {
	// Version 0 is followed by bare tokens; brokers since 1.0 have version 1.
	version, err := c.Version((*kmsg.SASLHandshakeRequest)(nil).Key(), 1, 1)
	if err != nil {
		return nil, err
	}
	mechanism := c.opts.SASL[0]
	for {
		req, res := kmsg.NewPtrSASLHandshakeRequest(), kmsg.NewPtrSASLHandshakeResponse()
		req.Version, req.Mechanism = version, mechanism.Name()
		if err := c.exchange(ctx, req, res); err != nil {
			return nil, fmt.Errorf("login by %s: %w", mechanism.Name(), err)
		}
		err := kerr.ErrorForCode(res.ErrorCode)
		if err == nil {
			return mechanism, nil
		}
		next := slices.IndexFunc(c.opts.SASL, func(m sasl.Mechanism) bool { return slices.Contains(res.SupportedMechanisms, m.Name()) })
		if !errors.Is(err, kerr.UnsupportedSaslMechanism) || next < 0 || c.opts.SASL[next] == mechanism {
			return nil, fmt.Errorf("login by %s (the broker has %v): %w", mechanism.Name(), res.SupportedMechanisms, err)
		}
		mechanism = c.opts.SASL[next]
	}
}

// Line leads to one broker: it gives a connection that is dialled when it is
// needed, and anew when it was lost, when its login runs out, or when the broker
// has moved. Conn is for one goroutine.
type Line struct {
	ctx  context.Context
	opts Options

	mu   sync.Mutex // guards conn
	conn *Conn
}

// NewLine makes a line; its connection ends with ctx. Close it in the end.
func NewLine(ctx context.Context, opts Options) *Line { return &Line{ctx: ctx, opts: opts} }

// Conn is a connection to the broker, which is at addr. A connection that is
// given up is drained first, so that requests keep their order.
func (l *Line) Conn(addr string) (*Conn, error) {
	l.mu.Lock()
	c := l.conn
	l.mu.Unlock()
	if c != nil {
		fresh := c.expires.IsZero() || time.Now().Before(c.expires)
		if c.Err() == nil && c.addr == addr && fresh {
			return c, nil
		}
		c.Drain()
		c.Close()
	}
	c, err := Dial(l.ctx, addr, l.opts)
	l.mu.Lock()
	l.conn = c
	l.mu.Unlock()
	return c, err
}

// Close ends the line's connection and waits for its end.
func (l *Line) Close() {
	l.mu.Lock()
	c := l.conn
	l.conn = nil
	l.mu.Unlock()
	if c != nil {
		c.Close()
	}
}
