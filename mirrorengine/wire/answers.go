package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Answer is what came of a request: an error, or a body in a buffer that is the
// receiver's to release.
type Answer struct {
	Err    error
	Body   []byte // behind the header
	Buffer *Buffer
}

// Release gives the answer's buffer back, if there is one.
func (a Answer) Release() {
	if a.Buffer != nil {
		a.Buffer.Release()
	}
}

// run reads answers until the connection is lost, then tells those who wait.
func (c *Conn) run() {
	defer close(c.ended)
	c.lose(c.readAll())
	c.stop()
	// A write may be under way: the socket is closed, so it ends. Only behind it
	// may the owners of its bytes hear of the loss and use them for other things.
	c.writing.Lock()
	c.mu.Lock()
	waiting, err := c.waiting, c.lost
	c.waiting = nil
	c.mu.Unlock()
	c.writing.Unlock()
	for _, w := range waiting {
		w.done(Answer{Err: err})
	}
}

func (c *Conn) readAll() error {
	for {
		cl, a, err := c.readOne()
		if err != nil {
			return err
		}
		cl.done(a)
	}
}

// readOne reads one answer and takes its request from the queue.
func (c *Conn) readOne() (call, Answer, error) {
	var head [8]byte // size, correlation id
	if err := c.fill(head[:], false); err != nil {
		return call{}, Answer{}, err
	}
	size := int64(int32(binary.BigEndian.Uint32(head[:])))
	correlation := int32(binary.BigEndian.Uint32(head[4:]))
	if size < 4 || size > int64(c.opts.MaxFrame) {
		return call{}, Answer{}, fmt.Errorf("an answer of %d bytes, at most %d are taken: no Kafka broker, or TLS on one side only?", size, c.opts.MaxFrame)
	}
	c.mu.Lock()
	if len(c.waiting) == 0 || c.waiting[0].correlation != correlation {
		c.mu.Unlock()
		return call{}, Answer{}, fmt.Errorf("an answer with correlation id %d that belongs to no request or comes out of turn", correlation)
	}
	flexible := c.waiting[0].flexible
	c.mu.Unlock()

	buf := c.opts.Pool.Get(int(size) - 4)
	if err := c.fill(buf.Bytes(), true); err != nil {
		buf.Release()
		return call{}, Answer{}, err
	}
	body := buf.Bytes()
	if flexible {
		r := kbin.Reader{Src: body}
		kmsg.SkipTags(&r)
		if !r.Ok() {
			buf.Release()
			return call{}, Answer{}, errors.New("an answer whose header cannot be read")
		}
		body = r.Src
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	cl := c.waiting[0]
	c.waiting[0] = call{}
	c.waiting = c.waiting[1:]
	var deadline time.Time // none while nothing is due
	if len(c.waiting) > 0 {
		if now := time.Now().Add(c.opts.Timeout); c.waiting[0].deadline.Before(now) {
			c.waiting[0].deadline = now
		}
		deadline = c.waiting[0].deadline
	} else {
		c.waiting = nil
		c.empty.Broadcast()
	}
	_ = c.nc.SetReadDeadline(deadline) // an error shows at the next read
	return cl, Answer{Body: body, Buffer: buf}, nil
}

// fill reads all of p. coming: an answer has begun, so what arrives gives the
// rest new time: a large one over a slow line is not lost.
func (c *Conn) fill(p []byte, coming bool) error {
	for len(p) > 0 {
		n, err := c.nc.Read(p)
		p = p[n:]
		switch {
		case len(p) == 0:
		case errors.Is(err, os.ErrDeadlineExceeded):
			return c.overdue()
		case err != nil:
			if errors.Is(err, io.EOF) {
				err = errors.New("the broker, or somebody on the way, has closed it")
			}
			return err
		case coming:
			_ = c.nc.SetReadDeadline(time.Now().Add(c.opts.Timeout)) // an error shows at the next read
		}
	}
	return nil
}

// overdue says which request was not answered in time.
func (c *Conn) overdue() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	what, behind := "a request", 0
	if len(c.waiting) > 0 {
		what, behind = kmsg.NameForKey(c.waiting[0].key), len(c.waiting)-1
	}
	return fmt.Errorf("no answer to %s within %s (%d more requests waited behind it)", what, c.opts.Timeout, behind)
}
