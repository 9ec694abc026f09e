package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy passes Kafka connections on to one broker, and hinders those of chosen clients.
//
// It reads Kafka's framing: a size, then, of a request, api key, version, correlation id and client id (the request header
// is the same in all versions up to the client id; kafka.apache.org/protocol, "Request Headers"), of an answer the
// correlation id. A client is chosen by a prefix of its client id; the empty prefix chooses all. It does not
// speak TLS. Frames are passed whole: a frame that had begun to be passed when Hold was called still arrives.
type Proxy struct {
	upstream string
	listener net.Listener
	wg       sync.WaitGroup // the accept loop and all connections
	ctx      context.Context
	cancel   context.CancelFunc

	mu       sync.Mutex // guards the fields below
	conns    map[*proxyConn]struct{}
	accepted int
	held     map[string]bool
	delays   map[string]time.Duration
	rules    []*rule
	changed  chan struct{} // closed and replaced at each change of held
}

// Answer is what a broker answered to one request, as a rule of [Proxy.Judge] sees it.
type Answer struct {
	Key      int16 // of the request's api
	Version  int16
	ClientID string
	Body     []byte // behind the correlation id: tagged fields of the header, if the version has them, then the answer's own fields
}

// Verdict is what a rule wants done with an answer.
type Verdict int

const (
	// Pass gives it to the client.
	Pass Verdict = iota + 1
	// Cut ends the connection in its place: the client knows that it does not know.
	Cut
	// Keep never gives it to the client and leaves the connection open: the client waits.
	Keep
)

// rule is what Judge and DropResponse made.
type rule struct {
	key    int16
	prefix string
	judge  func(Answer) Verdict
	after  func() // called when a verdict of Cut is carried out; nil: nothing
}

// StartProxy listens at addr and passes connections on to upstream, which need not be there yet: while it refuses, so
// does the proxy.
func StartProxy(addr, upstream string) (*Proxy, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Proxy{
		upstream: upstream, listener: l, ctx: ctx, cancel: cancel,
		conns: make(map[*proxyConn]struct{}), held: make(map[string]bool), delays: make(map[string]time.Duration),
		changed: make(chan struct{}),
	}
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is the address that clients use.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close closes the listener and all connections and waits for their end.
func (p *Proxy) Close() error {
	p.cancel()
	err := p.listener.Close()
	p.Cut("")
	p.wg.Wait()
	if errors.Is(err, net.ErrClosed) { // closed before
		return nil
	}
	return err
}

// Hold lets nothing pass in either direction on connections of clients whose id begins with the prefix, new
// ones included, until Release. Only the end of a connection is passed on.
func (p *Proxy) Hold(clientIDPrefix string) { p.setHeld(clientIDPrefix, true) }

// Release ends a Hold of the same prefix; what was held is then passed.
func (p *Proxy) Release(clientIDPrefix string) { p.setHeld(clientIDPrefix, false) }

func (p *Proxy) setHeld(prefix string, held bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if held {
		p.held[prefix] = true
	} else {
		delete(p.held, prefix)
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// Cut closes the present connections of such clients on both sides. They may connect again.
func (p *Proxy) Cut(clientIDPrefix string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if strings.HasPrefix(c.clientID, clientIDPrefix) {
			c.close()
		}
	}
}

// Delay makes the answers to such clients arrive d later; 0 ends it. The longest matching prefix counts.
func (p *Proxy) Delay(clientIDPrefix string, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d <= 0 {
		delete(p.delays, clientIDPrefix)
		return
	}
	p.delays[clientIDPrefix] = d
}

// Judge shows rule every answer to the requests with this api key that such clients send from now on, until stop is called;
// the first rule that does not say Pass decides. rule is called from one connection's goroutine at a time, but for several
// connections at once, and should not block.
func (p *Proxy) Judge(apiKey int16, clientIDPrefix string, judge func(Answer) Verdict) (stop func()) {
	r := &rule{key: apiKey, prefix: clientIDPrefix, judge: judge}
	p.add(r)
	return func() { p.remove(r) }
}

func (p *Proxy) add(r *rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, r)
}

func (p *Proxy) remove(r *rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = slices.DeleteFunc(p.rules, func(o *rule) bool { return o == r })
}

// DropResponse passes the next n requests of that api key (0 Produce, 1 Fetch …) from such clients to the broker, but
// instead of its answer the client gets the end of the connection: a lost acknowledgement. The returned channel is closed
// when n answers have been dropped.
func (p *Proxy) DropResponse(apiKey int16, clientIDPrefix string, n int) <-chan struct{} {
	done := make(chan struct{})
	if n <= 0 {
		close(done)
		return done
	}
	var chosen, dropped atomic.Int32
	r := &rule{key: apiKey, prefix: clientIDPrefix, judge: func(Answer) Verdict {
		if int(chosen.Add(1)) > n {
			return Pass
		}
		return Cut
	}}
	r.after = func() {
		if int(dropped.Add(1)) == n {
			p.remove(r)
			close(done)
		}
	}
	p.add(r)
	return done
}

// Connections counts the open connections of such clients; one that has not sent a request yet has the empty id.
func (p *Proxy) Connections(clientIDPrefix string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for c := range p.conns {
		if strings.HasPrefix(c.clientID, clientIDPrefix) {
			n++
		}
	}
	return n
}

// Held counts the connections of such clients on which a request with this api key is held: the client has sent it, and
// the broker will not have it before Release.
func (p *Proxy) Held(apiKey int16, clientIDPrefix string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for c := range p.conns {
		if c.next != nil && c.next.key == apiKey && p.holds(c.clientID) && strings.HasPrefix(c.clientID, clientIDPrefix) {
			n++
		}
	}
	return n
}

// Accepted counts all connections so far.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// holds needs p.mu.
func (p *Proxy) holds(clientID string) bool {
	for prefix := range p.held {
		if strings.HasPrefix(clientID, prefix) {
			return true
		}
	}
	return false
}

// pass waits until nothing holds the client.
func (p *Proxy) pass(ctx context.Context, clientID string) error {
	for {
		p.mu.Lock()
		held, changed := p.holds(clientID), p.changed
		p.mu.Unlock()
		if !held {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("connection of %q ended while held: %w", clientID, ctx.Err())
		case <-changed:
		}
	}
}

func (p *Proxy) delay(clientID string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	longest, found := -1, time.Duration(0)
	for prefix, d := range p.delays {
		if len(prefix) > longest && strings.HasPrefix(clientID, prefix) {
			longest, found = len(prefix), d
		}
	}
	return found
}

// rulesFor returns the rules that want to see the answer to this request.
func (p *Proxy) rulesFor(apiKey int16, clientID string) []*rule {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []*rule
	for _, r := range p.rules {
		if r.key == apiKey && strings.HasPrefix(clientID, r.prefix) {
			found = append(found, r)
		}
	}
	return found
}

// stands reports whether a rule has not been removed meanwhile.
func (p *Proxy) stands(r *rule) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.rules, r)
}

// Proxies are the proxies of a cluster; its methods do the same on each.
type Proxies []*Proxy

// Hold is [Proxy.Hold] on each.
func (ps Proxies) Hold(clientIDPrefix string) {
	for _, p := range ps {
		p.Hold(clientIDPrefix)
	}
}

// Release is [Proxy.Release] on each.
func (ps Proxies) Release(clientIDPrefix string) {
	for _, p := range ps {
		p.Release(clientIDPrefix)
	}
}

// Cut is [Proxy.Cut] on each.
func (ps Proxies) Cut(clientIDPrefix string) {
	for _, p := range ps {
		p.Cut(clientIDPrefix)
	}
}

// Delay is [Proxy.Delay] on each.
func (ps Proxies) Delay(clientIDPrefix string, d time.Duration) {
	for _, p := range ps {
		p.Delay(clientIDPrefix, d)
	}
}

// Connections is the sum of [Proxy.Connections].
func (ps Proxies) Connections(clientIDPrefix string) int {
	n := 0
	for _, p := range ps {
		n += p.Connections(clientIDPrefix)
	}
	return n
}

// Held is the sum of [Proxy.Held].
func (ps Proxies) Held(apiKey int16, clientIDPrefix string) int {
	n := 0
	for _, p := range ps {
		n += p.Held(apiKey, clientIDPrefix)
	}
	return n
}

// Judge is [Proxy.Judge] on each.
func (ps Proxies) Judge(apiKey int16, clientIDPrefix string, judge func(Answer) Verdict) (stop func()) {
	var stops []func()
	for _, p := range ps {
		stops = append(stops, p.Judge(apiKey, clientIDPrefix, judge))
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}
